//! A learner's life, as lists of what it wants done.

use super::*;
use zk_proto::Jute;
use zk_proto::quorum::LearnerInfo;
use zk_proto::txn::{SetDataTxn, TxnHeader};

const SILENCE: Silence = Silence { init_ms: 20_000, sync_ms: 10_000 };

/// Epoch and counter.
fn z(epoch: i32, counter: u32) -> Zxid {
    Zxid::new(Epoch(epoch), counter)
}

fn txn(zxid: Zxid) -> Vec<u8> {
    let op = zk_proto::OpCode::Error.code();
    let mut out = TxnHeader { client_id: 1, cxid: 2, zxid: zxid.0, time_ms: 3, op }.to_bytes();
    (-101i32).write(&mut out);
    out
}

fn reconfig(zxid: Zxid, config: &str) -> Vec<u8> {
    let op = zk_proto::OpCode::Reconfig.code();
    let mut out = TxnHeader { client_id: 1, cxid: 2, zxid: zxid.0, time_ms: 3, op }.to_bytes();
    let data = Some(config.as_bytes());
    SetDataTxn { path: "/zookeeper/config".into(), data, version: -1 }.write(&mut out);
    out
}

/// A learner, and what it wanted done so far.
struct Life {
    learner: Learner,
    out: Vec<Output<'static>>,
}

fn arrival(role: Role) -> Arrival {
    Arrival {
        sid: Sid(1),
        role,
        config_version: 0,
        accepted_epoch: Epoch(1),
        current_epoch: Epoch(1),
        last_zxid: z(1, 5),
        forgets: false,
    }
}

impl Life {
    fn new(arrival: Arrival) -> Life {
        let mut out = Vec::new();
        let learner = Learner::new(0, arrival, SILENCE, &mut out);
        Life { learner, out }
    }

    /// After discovery: ACKEPOCH of epoch 2 is sent.
    fn promised(role: Role) -> Life {
        let mut life = Life::new(arrival(role));
        life.hear(FromLeader::LeaderInfo(Epoch(2)));
        life.learner.accepted_written(&mut life.out);
        life.out.clear();
        life
    }

    /// Following in epoch 2, with nothing to synchronise.
    fn following(role: Role) -> Life {
        let mut life = Life::promised(role);
        life.hear(FromLeader::Diff(z(1, 5)));
        life.new_leader();
        life.learner.current_written(&mut life.out);
        life.hear(FromLeader::UpToDate);
        assert!(life.learner.is_serving());
        life.out.clear();
        life
    }

    fn hear(&mut self, packet: FromLeader<'static>) {
        self.learner.heard(0, packet, &mut self.out);
    }

    fn new_leader(&mut self) {
        self.hear(FromLeader::NewLeader { zxid: z(2, 0), config: None });
    }

    fn propose(&mut self, zxid: Zxid) {
        self.hear(FromLeader::Proposal { zxid, txn: txn(zxid).leak() });
    }

    fn inform(&mut self, zxid: Zxid) {
        self.hear(FromLeader::Inform { zxid, txn: txn(zxid).leak() });
    }

    fn commit(&mut self, zxid: Zxid) {
        self.hear(FromLeader::Commit(zxid));
    }

    fn logged(&mut self, zxid: Zxid) {
        self.learner.logged(zxid, &mut self.out);
    }

    #[track_caller]
    fn wants(&mut self, want: &[Output<'static>]) {
        assert_eq!(std::mem::take(&mut self.out), want);
    }

    #[track_caller]
    fn leaves(&mut self, why: &str) {
        let out = std::mem::take(&mut self.out);
        let Some(Output::Leave(leave)) = out.last() else { panic!("{out:?}") };
        assert_eq!(leave.to_string(), why);
        self.hear(FromLeader::Ping(z(2, 0)));
        self.wants(&[]);
    }
}

fn append(zxid: Zxid) -> Output<'static> {
    Output::Append { zxid, txn: txn(zxid).into() }
}

fn ack(zxid: Zxid) -> Output<'static> {
    Output::Send(FromLearner::Ack(zxid))
}

#[test]
fn the_promise_is_on_disk_before_it_is_given() {
    let mut life = Life::new(arrival(Role::Participant));
    let info = Some(LearnerInfo::new(Sid(1), 0));
    life.wants(&[Output::Send(FromLearner::Info {
        is_observer: false,
        accepted_epoch: Epoch(1),
        info,
    })]);
    life.hear(FromLeader::LeaderInfo(Epoch(3)));
    life.wants(&[Output::WriteAccepted(Epoch(3))]);
    life.learner.accepted_written(&mut life.out);
    let current_epoch = Some(Epoch(1));
    life.wants(&[Output::Send(FromLearner::AckEpoch { last_zxid: z(1, 5), current_epoch })]);
    life.learner.accepted_written(&mut life.out);
    life.wants(&[]);
}

#[test]
fn an_epoch_is_promised_once_and_never_an_older_one() {
    let mut again = Life::new(arrival(Role::Observer));
    again.hear(FromLeader::LeaderInfo(Epoch(1)));
    let last = again.out.pop();
    let ack = FromLearner::AckEpoch { last_zxid: z(1, 5), current_epoch: None };
    assert_eq!(last, Some(Output::Send(ack)));
    let mut observer = Life::new(arrival(Role::Observer));
    observer.hear(FromLeader::LeaderInfo(Epoch(0)));
    let ack = FromLearner::AckEpoch { last_zxid: z(1, 5), current_epoch: None };
    assert_eq!(observer.out.pop(), Some(Output::Send(ack)), "its promise binds nobody");
    let mut old = Life::new(arrival(Role::Participant));
    old.hear(FromLeader::LeaderInfo(Epoch(0)));
    old.leaves("the leader's epoch 0 is behind the promised 1");
}

/// History, then epoch, then ACK (ZOOKEEPER-4643, 4646).
#[test]
fn the_history_is_on_disk_before_the_epoch_and_both_before_the_ack() {
    let mut life = Life::promised(Role::Participant);
    life.hear(FromLeader::Diff(z(1, 7)));
    for counter in [6, 7] {
        life.propose(z(1, counter));
        life.commit(z(1, counter));
    }
    life.wants(&[]);
    life.new_leader();
    life.wants(&[append(z(1, 6)), append(z(1, 7))]);
    life.logged(z(1, 6));
    life.wants(&[]);
    life.logged(z(1, 7));
    life.wants(&[Output::WriteCurrent(Epoch(2))]);
    life.learner.current_written(&mut life.out);
    life.wants(&[ack(z(2, 0)), Output::Apply(z(1, 7))]);
    life.hear(FromLeader::UpToDate);
    life.wants(&[ack(z(2, 0)), Output::Serve]);
}

#[test]
fn a_diff_of_nothing_needs_only_the_epoch() {
    let mut life = Life::promised(Role::Participant);
    life.hear(FromLeader::Diff(z(1, 5)));
    life.new_leader();
    life.wants(&[Output::WriteCurrent(Epoch(2))]);
}

/// ZOOKEEPER-4685, 4394, 3023: proposals around NEWLEADER are neither acknowledged before it nor
/// forgotten by it.
#[test]
fn what_is_not_committed_waits_for_uptodate() {
    let mut life = Life::promised(Role::Participant);
    life.hear(FromLeader::Diff(z(1, 6)));
    life.propose(z(1, 6));
    life.commit(z(1, 6));
    life.propose(z(1, 7));
    life.new_leader();
    life.wants(&[append(z(1, 6))]);
    life.propose(z(1, 8));
    life.logged(z(1, 6));
    life.commit(z(1, 7));
    life.learner.current_written(&mut life.out);
    life.wants(&[Output::WriteCurrent(Epoch(2)), ack(z(2, 0)), Output::Apply(z(1, 6))]);
    life.hear(FromLeader::UpToDate);
    life.wants(&[ack(z(2, 0)), append(z(1, 7)), append(z(1, 8)), Output::Serve]);
    life.logged(z(1, 8));
    life.wants(&[ack(z(1, 7)), ack(z(1, 8)), Output::Apply(z(1, 7))]);
    life.commit(z(1, 8));
    life.wants(&[Output::Apply(z(1, 8))]);
}

/// ZOOKEEPER-3642: nothing of a snapshot counts before it is the only history on the disk.
#[test]
fn a_snapshot_is_settled_before_what_follows_it() {
    let mut life = Life::promised(Role::Participant);
    life.hear(FromLeader::Snap(z(1, 90)));
    life.wants(&[Output::Install(z(1, 90))]);
    life.learner.installed();
    life.propose(z(1, 91));
    life.commit(z(1, 91));
    life.new_leader();
    life.wants(&[Output::Settle]);
    life.learner.settled(&mut life.out);
    life.wants(&[append(z(1, 91))]);
    life.logged(z(1, 91));
    life.wants(&[Output::WriteCurrent(Epoch(2))]);
    life.learner.current_written(&mut life.out);
    life.wants(&[ack(z(2, 0)), Output::Apply(z(1, 91))]);
}

#[test]
fn a_log_is_cut_before_it_goes_on() {
    let mut life = Life::promised(Role::Participant);
    life.hear(FromLeader::Trunc(z(1, 3)));
    life.wants(&[Output::Truncate(z(1, 3))]);
    life.learner.truncated(Some(z(1, 3)), &mut life.out);
    life.propose(z(1, 4));
    life.commit(z(1, 4));
    life.new_leader();
    life.wants(&[append(z(1, 4))]);
    let mut other = Life::promised(Role::Participant);
    other.hear(FromLeader::Trunc(z(1, 3)));
    other.learner.truncated(None, &mut other.out);
    other.leaves("the log cannot be cut behind 0x100000005; a snapshot is needed");
}

/// A hole in the leader's history must not become one here (ZOOKEEPER-4925).
#[test]
fn holes_are_refused() {
    let cases = [
        (z(1, 7), "txn 0x100000007 does not follow 0x100000005"),
        (z(1, 5), "txn 0x100000005 does not follow 0x100000005"),
        (z(2, 2), "txn 0x200000002 does not follow 0x100000005"),
        (z(0, 6), "txn 0x6 does not follow 0x100000005"),
    ];
    for (zxid, why) in cases {
        let mut life = Life::promised(Role::Participant);
        life.hear(FromLeader::Diff(zxid));
        life.propose(zxid);
        life.leaves(why);
        let mut life = Life::following(Role::Participant);
        life.propose(zxid);
        life.leaves(why);
    }
    let mut life = Life::following(Role::Participant);
    life.propose(z(2, 1));
    life.wants(&[append(z(2, 1))]);
}

/// A leader has no txns of a later epoch than its own, and proposes none of an earlier one.
#[test]
fn other_epochs_are_refused() {
    for zxid in [z(3, 1), z(1, 6)] {
        let mut life = Life::following(Role::Participant);
        life.propose(zxid);
        life.leaves(&format!("txn {zxid} does not follow 0x100000005"));
    }
    let mut life = Life::promised(Role::Participant);
    life.hear(FromLeader::Diff(z(3, 1)));
    life.propose(z(3, 1));
    life.leaves("txn 0x300000001 does not follow 0x100000005");
}

/// A COMMIT for something else is never dropped, as Apache does where nothing is pending.
#[test]
fn a_commit_must_fit() {
    let mut life = Life::following(Role::Participant);
    life.commit(z(2, 1));
    life.leaves("commit of 0x200000001 where None is the oldest proposal");
    let mut life = Life::promised(Role::Participant);
    life.hear(FromLeader::Diff(z(1, 6)));
    life.propose(z(1, 6));
    life.commit(z(1, 7));
    life.leaves("commit of 0x100000007 where Some(0x100000006) is the oldest proposal");
}

/// ZOOKEEPER-4882: a quorum without this member may commit what is not on its disk yet.
#[test]
fn nothing_is_applied_that_is_not_on_the_own_disk() {
    let mut life = Life::following(Role::Participant);
    life.propose(z(2, 1));
    life.propose(z(2, 2));
    life.commit(z(2, 1));
    life.wants(&[append(z(2, 1)), append(z(2, 2))]);
    life.hear(FromLeader::Sync);
    life.wants(&[]);
    life.logged(z(2, 2));
    let want = [ack(z(2, 1)), ack(z(2, 2)), Output::Apply(z(2, 1)), Output::Synced];
    life.wants(&want);
    life.hear(FromLeader::Sync);
    life.wants(&[Output::Synced]);
}

/// The pipeline's queue has it between the two, however they get to the disk.
#[test]
fn a_sync_is_answered_between_the_txns_where_its_answer_came() {
    let mut life = Life::following(Role::Participant);
    life.propose(z(2, 1));
    life.propose(z(2, 2));
    life.commit(z(2, 1));
    life.hear(FromLeader::Sync);
    life.commit(z(2, 2));
    life.wants(&[append(z(2, 1)), append(z(2, 2))]);
    life.logged(z(2, 2));
    let acks = [ack(z(2, 1)), ack(z(2, 2))];
    let [first, second] = [z(2, 1), z(2, 2)].map(Output::Apply);
    life.wants(&[&acks[..], &[first, Output::Synced, second]].concat());
}

/// The session may have asked for them at another member, with the same xids as here.
#[test]
fn a_session_that_moves_here_stands_behind_what_is_not_on_disk_yet() {
    let mut life = Life::following(Role::Participant);
    life.propose(z(2, 1));
    life.commit(z(2, 1));
    let session = zk_proto::SessionId(7);
    life.hear(FromLeader::Revalidate { session, is_valid: true });
    life.wants(&[append(z(2, 1))]);
    life.logged(z(2, 1));
    let moved = Output::Revalidated { session, is_valid: true };
    life.wants(&[ack(z(2, 1)), Output::Apply(z(2, 1)), moved]);
}

#[test]
fn an_observer_logs_without_an_ack() {
    let mut life = Life::promised(Role::Observer);
    life.hear(FromLeader::Diff(z(1, 7)));
    life.propose(z(1, 6));
    life.commit(z(1, 6));
    life.inform(z(1, 7));
    life.new_leader();
    life.logged(z(1, 7));
    life.learner.current_written(&mut life.out);
    life.inform(z(2, 1));
    life.hear(FromLeader::UpToDate);
    life.out.clear();
    life.inform(z(2, 2));
    life.logged(z(2, 2));
    life.wants(&[append(z(2, 2)), Output::Apply(z(2, 2))]);
}

#[test]
fn pings_and_revalidations_are_answered() {
    let mut life = Life::promised(Role::Participant);
    life.hear(FromLeader::Diff(z(1, 5)));
    life.hear(FromLeader::Ping(z(1, 5)));
    life.wants(&[Output::AnswerPing(z(1, 5))]);
    let mut life = Life::following(Role::Participant);
    life.hear(FromLeader::Ping(z(2, 0)));
    let (session, is_valid) = (SessionId(7), true);
    life.hear(FromLeader::Revalidate { session, is_valid });
    life.wants(&[Output::AnswerPing(z(2, 0)), Output::Revalidated { session, is_valid }]);
}

#[test]
fn configurations_are_proposed_and_activated() {
    let config = "server.1=a:1:2:participant\nversion=200000001";
    let parsed = Ensemble::parse(config).unwrap();
    let mut life = Life::promised(Role::Participant);
    life.hear(FromLeader::Diff(z(1, 5)));
    life.hear(FromLeader::NewLeader { zxid: z(2, 0), config: Some(config.into()) });
    life.wants(&[Output::Proposed(parsed.clone()), Output::WriteCurrent(Epoch(2))]);
    life.learner.current_written(&mut life.out);
    life.hear(FromLeader::UpToDate);
    let activate = |leader| Output::Activate { config: parsed.clone(), leader };
    life.wants(&[ack(z(2, 0)), activate(None), ack(z(2, 0)), Output::Serve]);
    let (zxid, txn) = (z(2, 1), reconfig(z(2, 1), config));
    life.hear(FromLeader::Proposal { zxid, txn: txn.clone().leak() });
    let append = Output::Append { zxid, txn: txn.clone().into() };
    life.wants(&[Output::Proposed(parsed.clone()), append.clone()]);
    life.logged(zxid);
    life.hear(FromLeader::CommitAndActivate { zxid, leader: Sid(3) });
    life.wants(&[ack(zxid), Output::Apply(zxid), activate(Some(Sid(3)))]);
    let mut observer = Life::following(Role::Observer);
    observer.hear(FromLeader::InformAndActivate { zxid, leader: Sid(3), txn: txn.leak() });
    observer.wants(&[Output::Proposed(parsed.clone()), append, activate(Some(Sid(3)))]);
}

#[test]
fn what_cannot_be_ends_the_connection() {
    let mut life = Life::promised(Role::Participant);
    life.new_leader();
    life.leaves("NEWLEADER while waiting for DIFF, TRUNC or SNAP");
    let mut life = Life::promised(Role::Participant);
    life.hear(FromLeader::Diff(z(1, 5)));
    life.hear(FromLeader::UpToDate);
    life.leaves("UPTODATE while synchronising");
    let mut life = Life::promised(Role::Participant);
    life.hear(FromLeader::Diff(z(1, 5)));
    life.hear(FromLeader::NewLeader { zxid: z(3, 0), config: None });
    life.leaves("txn 0x300000000 does not follow 0x200000000");
    let mut life = Life::following(Role::Participant);
    life.hear(FromLeader::Proposal { zxid: z(2, 1), txn: txn(z(2, 2)).leak() });
    life.leaves("txn 0x200000001 cannot be read");
    // It would be in the log, and nobody could read it at the next start.
    let mut life = Life::following(Role::Participant);
    let cut = &txn(z(2, 1)).leak()[..34];
    life.hear(FromLeader::Proposal { zxid: z(2, 1), txn: cut });
    life.leaves("txn 0x200000001 cannot be read");
    let mut life = Life::following(Role::Participant);
    life.hear(FromLeader::Proposal { zxid: z(2, 1), txn: reconfig(z(2, 1), "x").leak() });
    life.leaves("the leader's configuration: \"x\" is no key=value");
}

#[test]
fn a_silent_leader_is_left() {
    let mut life = Life::promised(Role::Participant);
    life.learner.tick(SILENCE.init_ms, &mut life.out);
    life.wants(&[]);
    life.learner.tick(SILENCE.init_ms + 1, &mut life.out);
    life.leaves("no packet for 20001 ms");
    let mut life = Life::following(Role::Participant);
    life.learner.heard(500, FromLeader::Sync, &mut life.out);
    life.out.clear();
    life.learner.tick(500 + SILENCE.sync_ms, &mut life.out);
    life.wants(&[]);
    life.learner.tick(501 + SILENCE.sync_ms, &mut life.out);
    life.leaves("no packet for 10001 ms");
}

/// What is proposed behind NEWLEADER counts when it is committed, and nothing older afterwards.
#[test]
fn a_reconfiguration_may_be_under_way_when_a_learner_comes() {
    let config = |version: i64| format!("server.1=a:1:2:participant\nversion={version:x}");
    let parsed = |version| Ensemble::parse(&config(version)).unwrap();
    let (zxid, old) = (z(2, 1), z(2, 0).0);
    let activations = |life: &mut Life| -> Vec<i64> {
        let out = std::mem::take(&mut life.out).into_iter();
        out.filter_map(|output| match output {
            Output::Activate { config, .. } => Some(config.version),
            _ => None,
        })
        .collect()
    };
    for is_committed_before in [false, true] {
        let mut life = Life::promised(Role::Participant);
        life.hear(FromLeader::Diff(z(1, 5)));
        let text = config(old).leak();
        life.hear(FromLeader::NewLeader { zxid: z(2, 0), config: Some((&*text).into()) });
        life.hear(FromLeader::Proposal { zxid, txn: reconfig(zxid, &config(zxid.0)).leak() });
        life.learner.current_written(&mut life.out);
        assert!(life.out.contains(&Output::Proposed(parsed(zxid.0))));
        let commit = || FromLeader::CommitAndActivate { zxid, leader: Sid(3) };
        if is_committed_before {
            life.hear(commit());
            assert_eq!(activations(&mut life), [zxid.0]);
        }
        life.hear(FromLeader::UpToDate);
        if is_committed_before {
            assert_eq!(activations(&mut life), [0; 0], "it would be the older one");
        } else {
            assert_eq!(activations(&mut life), [old]);
            life.hear(commit());
            assert_eq!(activations(&mut life), [zxid.0]);
        }
    }
}

/// An observer owes no ACK: nobody but itself notices that its disk is far behind.
#[test]
fn who_is_far_behind_what_is_committed_leaves() {
    let mut life = Life::new(arrival(Role::Observer));
    life.learner.phase = Phase::Broadcasting;
    let inform =
        |counter| FromLeader::Inform { zxid: z(1, counter), txn: txn(z(1, counter)).leak() };
    life.hear(inform(6));
    life.learner.heard_ms = 100_000;
    life.learner.tick(1_000, &mut life.out);
    life.hear(inform(7));
    life.learner.heard_ms = 100_000;
    life.learner.tick(11_000, &mut life.out);
    // It gets on, and that was in time.
    life.learner.logged(z(1, 6), &mut life.out);
    life.learner.tick(11_001, &mut life.out);
    life.learner.tick(21_001, &mut life.out);
    assert!(!life.out.iter().any(|it| matches!(it, Output::Leave(_))), "{:?}", life.out);
    life.learner.tick(21_002, &mut life.out);
    assert_eq!(life.out.last(), Some(&Output::Leave(Leave::Behind(10_001))));
}
