//! A leader's reign, as lists of what it wants done.

use super::*;
use crate::Ensemble;
use crate::peer::ZabState;
use zk_proto::quorum::LearnerInfo;

pub(super) const TIMES: LeaderTimes =
    LeaderTimes { tick_ms: 2000, init_ms: 20_000, sync_ms: 10_000 };

/// Epoch and counter.
pub(super) fn z(epoch: i32, counter: u32) -> Zxid {
    Zxid::new(Epoch(epoch), counter)
}

/// Leader 3 of voters 1 to 3, with observer 4, whose history ends with 5 txns of epoch 1.
struct Reign {
    leader: Leader,
    now_ms: u64,
    out: Vec<Output<'static>>,
}

const WINDOW: usize = 500;

pub(super) fn incumbent() -> Incumbent {
    let line = |sid: i64| {
        let role = if sid > 3 { "observer" } else { "participant" };
        format!("server.{sid}=h{sid}:1:2:{role}\n")
    };
    let text: String = (1..=4).map(line).collect();
    Incumbent {
        sid: Sid(3),
        configs: Configs::new(Ensemble::parse(&text).unwrap()),
        accepted_epoch: Epoch(1),
        current_epoch: Epoch(1),
        last_zxid: z(1, 5),
        epoch_floor: Epoch(0),
        admits_strangers: true,
        reconfig_enabled: false,
        window: WINDOW,
    }
}

pub(super) fn info(sid: i64, is_observer: bool, accepted: i32) -> FromLearner<'static> {
    FromLearner::Info {
        is_observer,
        accepted_epoch: Epoch(accepted),
        info: Some(LearnerInfo::new(Sid(sid), 0)),
    }
}

pub(super) fn ack_epoch(zxid: Zxid, epoch: Option<i32>) -> FromLearner<'static> {
    FromLearner::AckEpoch { last_zxid: zxid, current_epoch: epoch.map(Epoch) }
}

pub(super) fn send(to: u64, packet: FromLeader<'static>) -> Output<'static> {
    Output::Send { to: LinkId(to), packet }
}

pub(super) fn links(ids: &[u64]) -> Arc<[LinkId]> {
    ids.iter().copied().map(LinkId).collect()
}

fn commit(zxid: Zxid, followers: &[u64], observers: &[u64]) -> Output<'static> {
    Output::Commit { zxid, followers: links(followers), observers: links(observers) }
}

impl Reign {
    fn of(own: Incumbent) -> Reign {
        let mut out = Vec::new();
        let window = (1..=own.last_zxid.counter()).map(|counter| z(1, counter));
        let leader = Leader::new(0, own, TIMES, window, &mut out);
        Reign { leader, now_ms: 0, out }
    }

    fn new() -> Reign {
        Reign::of(incumbent())
    }

    /// Leading in epoch 2, with follower 1 on link 1.
    fn leading() -> Reign {
        let mut reign = Reign::new();
        reign.join(1, info(1, false, 1));
        reign.leader.accepted_written(0, &mut reign.out);
        reign.hear(1, ack_epoch(z(1, 5), Some(1)));
        reign.leader.current_written(0, &mut reign.out);
        reign.hear(1, FromLearner::Ack(z(2, 0)));
        assert!(reign.leader.is_leading());
        reign.out.clear();
        reign
    }

    fn join(&mut self, link: u64, packet: FromLearner<'static>) {
        self.leader.connected(self.now_ms, LinkId(link));
        self.hear(link, packet);
    }

    fn hear(&mut self, link: u64, packet: FromLearner<'static>) {
        self.leader.heard(self.now_ms, LinkId(link), packet, &mut self.out);
    }

    /// A learner joins the leading member up to the choice of its synchronisation.
    fn arrive(&mut self, link: u64, sid: i64, is_observer: bool, zxid: Zxid) {
        self.join(link, info(sid, is_observer, 1));
        self.hear(link, ack_epoch(zxid, Some(1)));
    }

    fn propose(&mut self, zxid: Zxid) {
        self.leader.propose(self.now_ms, zxid, &mut self.out);
    }

    fn tick(&mut self, now_ms: u64) {
        self.now_ms = now_ms;
        self.leader.tick(now_ms, &mut self.out);
    }

    #[track_caller]
    fn wants(&mut self, want: &[Output<'static>]) {
        assert_eq!(std::mem::take(&mut self.out), want);
    }

    #[track_caller]
    fn closes(&mut self, link: u64, why: &str) {
        let out = std::mem::take(&mut self.out);
        let Some(Output::Close { link: closed, why: reason }) = out.last() else {
            panic!("{out:?}")
        };
        assert_eq!((*closed, reason.to_string().as_str()), (LinkId(link), why));
    }

    /// How the learner that came last is synchronised.
    #[track_caller]
    fn plan(&mut self) -> Plan {
        let out = std::mem::take(&mut self.out);
        let plan = out.iter().find_map(|output| match output {
            Output::Synchronize { plan, .. } => Some(*plan),
            _ => None,
        });
        plan.unwrap_or_else(|| panic!("{out:?}"))
    }
}

fn new_leader(to: u64) -> Output<'static> {
    let config = Some(incumbent().configs.committed.to_string().into());
    send(to, FromLeader::NewLeader { zxid: z(2, 0), config })
}

#[test]
fn a_reign_begins_when_a_quorum_has_promised_and_has_the_history() {
    let mut reign = Reign::new();
    reign.join(1, info(1, false, 1));
    reign.wants(&[Output::WriteAccepted(Epoch(2))]);
    reign.leader.accepted_written(0, &mut reign.out);
    reign.wants(&[send(1, FromLeader::LeaderInfo(Epoch(2)))]);
    reign.hear(1, ack_epoch(z(1, 3), Some(1)));
    reign.wants(&[Output::WriteCurrent(Epoch(2))]);
    reign.leader.current_written(0, &mut reign.out);
    let plan = Plan::Window(z(1, 3));
    reign.wants(&[Output::Synchronize { link: LinkId(1), plan }, new_leader(1)]);
    // A 3.8 follower may acknowledge txns of the history first (ZOOKEEPER-4685).
    reign.hear(1, FromLearner::Ack(z(1, 4)));
    reign.wants(&[]);
    reign.hear(1, FromLearner::Ack(z(2, 0)));
    reign.wants(&[Output::Lead(Epoch(2)), send(1, FromLeader::UpToDate)]);
    reign.hear(1, FromLearner::Ack(z(2, 0)));
    reign.wants(&[]);
}

#[test]
fn one_voter_is_a_quorum_of_itself() {
    let text = "server.3=h:1:2";
    let configs = Configs::new(Ensemble::parse(text).unwrap());
    let mut reign = Reign::of(Incumbent { configs, ..incumbent() });
    reign.leader.accepted_written(0, &mut reign.out);
    reign.leader.current_written(0, &mut reign.out);
    reign.propose(z(2, 1));
    let epoch = Epoch(2);
    reign.wants(&[Output::WriteAccepted(epoch), Output::WriteCurrent(epoch), Output::Lead(epoch)]);
    reign.leader.logged(z(2, 1), &mut reign.out);
    reign.wants(&[commit(z(2, 1), &[], &[])]);
}

/// The epoch is later than what any of the quorum has promised; strangers have no say in it, and an
/// observer with the sid of a voter is not that voter (quorum-protocol 17.4).
#[test]
fn the_epoch_is_of_members_and_the_quorum_of_followers() {
    let mut reign = Reign::new();
    reign.join(9, info(9, false, 1000));
    reign.join(8, info(1, true, 1));
    reign.wants(&[]);
    reign.join(4, info(4, true, 6));
    reign.join(2, info(2, false, 3));
    reign.wants(&[Output::WriteAccepted(Epoch(7))]);
    let mut floor = Reign::of(Incumbent { epoch_floor: Epoch(5000), ..incumbent() });
    floor.join(2, info(2, false, 3));
    floor.wants(&[Output::WriteAccepted(Epoch(5000))]);
    let mut last = Reign::new();
    last.join(2, info(2, false, i32::MAX));
    last.wants(&[Output::StepDown(StepDown::EpochsEnd(i32::MAX))]);
}

/// A promise that was given before may have been given to another leader.
#[test]
fn an_old_promise_does_not_count() {
    let mut reign = Reign::new();
    reign.join(1, info(1, false, 1));
    reign.leader.accepted_written(0, &mut reign.out);
    reign.hear(1, ack_epoch(z(1, 5), None));
    reign.out.clear();
    reign.join(2, info(2, false, 1));
    reign.hear(2, ack_epoch(z(1, 5), Some(1)));
    let told = send(2, FromLeader::LeaderInfo(Epoch(2)));
    reign.wants(&[told, Output::WriteCurrent(Epoch(2))]);
}

/// ZOOKEEPER-1154: a longer history must not be cut by a leader that does not have it.
#[test]
fn a_follower_that_is_ahead_is_refused_until_a_quorum_has_promised() {
    for (zxid, epoch) in [(z(1, 6), 1), (z(1, 1), 2)] {
        let mut reign = Reign::new();
        reign.join(1, info(1, false, 1));
        reign.leader.accepted_written(0, &mut reign.out);
        reign.hear(1, ack_epoch(zxid, Some(epoch)));
        reign.closes(1, &format!("it is ahead: epoch {epoch}, zxid {zxid}"));
    }
    let mut reign = Reign::new();
    reign.join(1, info(1, false, 1));
    reign.leader.accepted_written(0, &mut reign.out);
    reign.hear(1, ack_epoch(z(1, 5), Some(1)));
    reign.arrive(2, 2, false, z(1, 6));
    reign.out.clear();
    reign.leader.current_written(0, &mut reign.out);
    let [one, two] = [(1, Plan::Window(z(1, 5))), (2, Plan::Trunc(z(1, 5)))]
        .map(|(link, plan)| Output::Synchronize { link: LinkId(link), plan });
    reign.wants(&[one, new_leader(1), two, new_leader(2)]);
}

#[test]
fn who_comes_is_looked_at() {
    let mut reign = Reign::leading();
    reign.join(2, info(1, false, 1));
    reign.closes(2, "sid 1 is connected already");
    reign.join(3, info(3, false, 1));
    reign.closes(3, "sid 3 is connected already");
    reign.join(4, FromLearner::Ack(z(2, 0)));
    reign.closes(4, "ACK does not belong here");
    let info = Some(LearnerInfo::new(Sid(2), 7));
    reign.join(5, FromLearner::Info { is_observer: false, accepted_epoch: Epoch(1), info });
    reign.closes(5, "its configuration 7 is later than 0");
    let mut strict =
        Reign::of(Incumbent { admits_strangers: false, reconfig_enabled: false, ..incumbent() });
    strict.join(1, super::tests::info(9, true, 1));
    strict.closes(1, "sid 9 is in no configuration");
    // After it is gone it may come again.
    reign.leader.disconnected(LinkId(1));
    reign.join(6, super::tests::info(1, false, 2));
    reign.wants(&[send(6, FromLeader::LeaderInfo(Epoch(2)))]);
}

/// The cases of `LearnerHandler.syncFollower`, for a history of five txns in epoch 1, of which the
/// window has the last three, and of two in epoch 2.
#[test]
fn each_history_is_completed_in_its_own_way() {
    let leading = || {
        let mut reign = Reign::leading();
        reign.leader.window.drain(..2);
        for counter in [1, 2] {
            reign.propose(z(2, counter));
            reign.leader.logged(z(2, counter), &mut reign.out);
            reign.hear(1, FromLearner::Ack(z(2, counter)));
        }
        reign.out.clear();
        reign
    };
    for (theirs, want) in [
        (z(2, 2), Plan::Window(z(2, 2))),
        (z(2, 1), Plan::Window(z(2, 1))),
        (z(1, 4), Plan::Window(z(1, 4))),
        (z(2, 0), Plan::Window(z(2, 0))),
        // Its tail is of our epoch: all before it is ours.
        (z(2, 9), Plan::Trunc(z(2, 2))),
        // Its tail is of an older epoch, or it comes from elsewhere.
        (z(1, 9), Plan::Snap),
        (z(3, 1), Plan::Snap),
        (z(3, 0), Plan::Snap),
        (z(0, 0), Plan::Snap),
    ] {
        let mut reign = leading();
        reign.arrive(2, 2, false, theirs);
        assert_eq!(reign.plan(), want, "{theirs}");
    }
    for (is_there, want) in [(true, Plan::Log(z(1, 2))), (false, Plan::Snap)] {
        let mut reign = leading();
        reign.arrive(2, 2, false, z(1, 2));
        let look_up = Output::LookUp { link: LinkId(2), zxid: z(1, 2) };
        reign.wants(&[send(2, FromLeader::LeaderInfo(Epoch(2))), look_up]);
        reign.leader.looked_up(LinkId(2), is_there, &mut reign.out);
        assert_eq!(reign.plan(), want);
    }
}

/// Nothing was proposed in our epoch yet, and somebody who has begun it comes back.
#[test]
fn who_has_begun_our_epoch_misses_nothing() {
    let mut reign = Reign::leading();
    reign.arrive(2, 2, false, z(2, 0));
    assert_eq!(reign.plan(), Plan::Window(z(1, 5)));
}

/// ZOOKEEPER-4394: what is under way stands behind NEWLEADER; commits reach whoever has the
/// proposal.
#[test]
fn proposals_under_way_follow_newleader() {
    let mut reign = Reign::leading();
    reign.propose(z(2, 1));
    reign.wants(&[Output::Propose { zxid: z(2, 1), to: links(&[1]) }]);
    reign.join(2, info(2, false, 1));
    reign.out.clear();
    reign.hear(2, ack_epoch(z(1, 5), Some(1)));
    reign.wants(&[
        Output::Synchronize { link: LinkId(2), plan: Plan::Window(z(1, 5)) },
        new_leader(2),
        Output::Propose { zxid: z(2, 1), to: links(&[2]) },
    ]);
    reign.propose(z(2, 2));
    reign.wants(&[Output::Propose { zxid: z(2, 2), to: links(&[1, 2]) }]);
    reign.leader.logged(z(2, 2), &mut reign.out);
    // It has not acknowledged NEWLEADER, so this is no ACK of a proposal.
    reign.hear(2, FromLearner::Ack(z(2, 1)));
    reign.wants(&[]);
    reign.hear(2, FromLearner::Ack(z(2, 0)));
    reign.wants(&[send(2, FromLeader::UpToDate)]);
    reign.hear(2, FromLearner::Ack(z(2, 1)));
    reign.wants(&[commit(z(2, 1), &[1, 2], &[])]);
}

#[test]
fn a_txn_is_committed_in_order_by_a_quorum_of_disks() {
    let mut reign = Reign::leading();
    reign.propose(z(2, 1));
    reign.out.clear();
    reign.arrive(4, 4, true, z(1, 5));
    let plan = Plan::Window(z(1, 5));
    let told = send(4, FromLeader::LeaderInfo(Epoch(2)));
    reign.wants(&[told, Output::Synchronize { link: LinkId(4), plan }, new_leader(4)]);
    reign.hear(4, FromLearner::Ack(z(2, 0)));
    reign.propose(z(2, 2));
    reign.out.clear();
    // Followers alone are not enough, nor is the own disk, nor an observer.
    reign.hear(1, FromLearner::Ack(z(2, 2)));
    reign.hear(4, FromLearner::Ack(z(2, 2)));
    reign.wants(&[]);
    reign.leader.logged(z(2, 1), &mut reign.out);
    reign.wants(&[commit(z(2, 1), &[1], &[4])]);
    reign.leader.logged(z(2, 2), &mut reign.out);
    reign.wants(&[commit(z(2, 2), &[1], &[4])]);
    // What was never proposed cannot be acknowledged.
    reign.hear(1, FromLearner::Ack(z(2, 9)));
    reign.propose(z(2, 3));
    reign.leader.logged(z(2, 3), &mut reign.out);
    reign.wants(&[Output::Propose { zxid: z(2, 3), to: links(&[1]) }]);
}

#[test]
fn a_non_voting_follower_gets_proposals_and_does_not_count() {
    let mut reign = Reign::leading();
    reign.leader.disconnected(LinkId(1));
    reign.arrive(9, 9, false, z(1, 5));
    reign.hear(9, FromLearner::Ack(z(2, 0)));
    reign.out.clear();
    reign.propose(z(2, 1));
    reign.wants(&[Output::Propose { zxid: z(2, 1), to: links(&[9]) }]);
    reign.leader.logged(z(2, 1), &mut reign.out);
    reign.hear(9, FromLearner::Ack(z(2, 1)));
    reign.wants(&[]);
}

#[test]
fn a_sync_waits_for_what_was_proposed_before_it() {
    let mut reign = Reign::leading();
    reign.leader.sync(Some(LinkId(1)), &mut reign.out);
    reign.wants(&[Output::Synced(Some(LinkId(1)))]);
    reign.propose(z(2, 1));
    reign.out.clear();
    reign.leader.sync(Some(LinkId(1)), &mut reign.out);
    reign.leader.sync(None, &mut reign.out);
    reign.propose(z(2, 2));
    reign.leader.logged(z(2, 1), &mut reign.out);
    reign.out.clear();
    reign.hear(1, FromLearner::Ack(z(2, 1)));
    let synced = [Output::Synced(Some(LinkId(1))), Output::Synced(None)];
    let [learner, own] = synced;
    reign.wants(&[commit(z(2, 1), &[1], &[]), learner, own]);
}

/// A learner's queue has it between the two: answered behind both, the second one would not be
/// recognised there.
#[test]
fn a_sync_is_answered_between_the_commits_where_it_was_asked_for() {
    let mut reign = Reign::leading();
    reign.propose(z(2, 1));
    reign.leader.sync(Some(LinkId(1)), &mut reign.out);
    reign.propose(z(2, 2));
    reign.leader.logged(z(2, 2), &mut reign.out);
    reign.out.clear();
    reign.hear(1, FromLearner::Ack(z(2, 2)));
    let synced = Output::Synced(Some(LinkId(1)));
    reign.wants(&[commit(z(2, 1), &[1], &[]), synced, commit(z(2, 2), &[1], &[])]);
}

/// The others have committed without it; still it must not be kept for ever.
#[test]
fn who_owes_acks_for_too_long_is_let_go_whatever_is_committed() {
    let mut reign = Reign::leading();
    reign.arrive(2, 2, false, z(1, 5));
    reign.hear(2, FromLearner::Ack(z(2, 0)));
    reign.propose(z(2, 1));
    reign.leader.logged(z(2, 1), &mut reign.out);
    reign.hear(1, FromLearner::Ack(z(2, 1)));
    reign.out.clear();
    let touched = Touched::default();
    for _ in 0..3 {
        reign.now_ms += TIMES.sync_ms / 2;
        for link in [1, 2] {
            reign.hear(link, FromLearner::Ping { zxid: z(2, 1), touched });
        }
        reign.leader.tick(reign.now_ms, &mut reign.out);
    }
    let closed = |it: &&Output<'_>| matches!(it, Output::Close { .. });
    let closed: Vec<_> = reign.out.iter().filter(closed).collect();
    assert!(matches!(closed[..], [Output::Close { link: LinkId(2), .. }]), "{closed:?}");
}

/// Its own disk is full, or does not answer: others may lead with theirs.
#[test]
fn a_leader_whose_log_does_not_get_on_steps_down() {
    let mut reign = Reign::leading();
    reign.propose(z(2, 1));
    reign.hear(1, FromLearner::Ack(z(2, 1)));
    let touched = Touched::default();
    for _ in 0..4 {
        reign.now_ms += TIMES.sync_ms / 2;
        reign.hear(1, FromLearner::Ping { zxid: z(2, 1), touched });
        reign.leader.tick(reign.now_ms, &mut reign.out);
    }
    let is_it = |it: &Output<'_>| matches!(it, Output::StepDown(StepDown::OwnLog(_)));
    assert!(reign.out.iter().any(is_it), "{:?}", reign.out);
}

#[test]
fn operators_see_who_is_there_and_what_waits() {
    let mut reign = Reign::leading();
    assert_eq!(reign.leader.zab_state(), ZabState::Broadcast);
    reign.arrive(2, 9, false, z(1, 5));
    reign.arrive(3, 4, true, z(1, 5));
    reign.join(4, info(2, false, 1));
    reign.propose(z(2, 1));
    for link in [Some(LinkId(1)), None] {
        reign.leader.sync(link, &mut reign.out);
    }
    let want = Census {
        learners: 4,
        synced_followers: 2,
        synced_non_voting_followers: 1,
        synced_observers: vec![(LinkId(3), Sid(4))],
        pending_syncs: 1,
    };
    assert_eq!(reign.leader.census(), want);
    assert_eq!(reign.leader.sid_of(LinkId(2)), Some(Sid(9)));
    assert_eq!(Reign::new().leader.zab_state(), ZabState::Discovery);
}

#[test]
fn what_learners_ask_is_handed_on_and_strangers_ask_nothing() {
    let mut reign = Reign::leading();
    let request =
        Forwarded { session: SessionId(5), cxid: 1, op: 1, body: b"x", identities: Vec::new() };
    reign.hear(1, FromLearner::Request(request.clone()));
    reign.hear(1, FromLearner::Revalidate { session: SessionId(5), timeout_ms: 4000 });
    let touched = Touched::default();
    reign.hear(1, FromLearner::Ping { zxid: z(2, 0), touched });
    let (link, session) = (LinkId(1), SessionId(5));
    reign.wants(&[
        Output::Request { link, request: request.clone() },
        Output::Revalidate { link, session, timeout_ms: 4000 },
        Output::Touched { link, touched },
    ]);
    reign.arrive(9, 9, true, z(1, 5));
    reign.hear(9, FromLearner::Request(request));
    reign.closes(9, "sid 9 is in no configuration");
}

#[test]
fn silent_learners_are_closed_and_a_lost_quorum_ends_the_reign() {
    let mut reign = Reign::leading();
    reign.tick(999);
    reign.wants(&[]);
    reign.tick(1000);
    reign.wants(&[send(1, FromLeader::Ping(z(1, 5)))]);
    for now_ms in [2000, 4000, 6000, 8000, 10_000] {
        reign.tick(now_ms);
    }
    assert!(reign.leader.is_leading());
    reign.out.clear();
    reign.tick(10_001);
    let why = Refusal::Silent(10_001);
    reign.wants(&[Output::Close { link: LinkId(1), why }]);
    reign.tick(12_000);
    reign.wants(&[Output::StepDown(StepDown::LostQuorum)]);
}

#[test]
fn a_learner_that_owes_an_ack_for_too_long_is_closed() {
    let mut reign = Reign::leading();
    reign.propose(z(2, 1));
    for now_ms in [3000, 6000, 9000, 10_000] {
        reign.now_ms = now_ms;
        reign.hear(1, FromLearner::Ping { zxid: z(2, 1), touched: Touched::default() });
        reign.tick(now_ms);
    }
    assert!(reign.leader.is_leading());
    reign.out.clear();
    reign.hear(1, FromLearner::Ping { zxid: z(2, 1), touched: Touched::default() });
    reign.tick(10_001);
    reign.closes(1, "nothing came for 10001 ms");
}

#[test]
fn each_wait_before_the_reign_has_an_end() {
    let mut reign = Reign::new();
    reign.tick(20_000);
    reign.wants(&[]);
    reign.tick(20_001);
    reign.wants(&[Output::StepDown(StepDown::NoQuorum("has come"))]);
    let mut reign = Reign::new();
    reign.now_ms = 10_000;
    reign.join(1, info(1, false, 1));
    reign.leader.accepted_written(10_000, &mut reign.out);
    reign.out.clear();
    reign.hear(1, ack_epoch(z(1, 5), None));
    reign.tick(30_000);
    reign.wants(&[]);
    reign.hear(1, FromLearner::Ack(z(2, 0)));
    reign.out.clear();
    reign.tick(30_001);
    reign.wants(&[Output::StepDown(StepDown::NoQuorum("has promised the epoch"))]);
    reign.join(2, info(2, false, 1));
    reign.wants(&[]);
}

/// It tried to lead, and nobody came. It could not follow before the next reign, and would be
/// missed if another one failed.
#[test]
fn a_voter_with_a_later_promise_ends_the_reign() {
    let mut reign = Reign::leading();
    reign.join(4, info(4, true, 7));
    reign.join(9, info(9, false, 7));
    assert!(reign.leader.is_leading());
    reign.out.clear();
    reign.join(2, info(2, false, 3));
    reign.wants(&[Output::StepDown(StepDown::LaterPromise { sid: Sid(2), epoch: 3 })]);
}

#[test]
fn the_counter_of_an_epoch_has_an_end() {
    let mut reign = Reign::leading();
    reign.propose(z(2, LAST_COUNTER - 1));
    assert!(reign.leader.is_leading());
    reign.propose(z(2, LAST_COUNTER));
    assert_eq!(reign.out.pop(), Some(Output::StepDown(StepDown::CounterEnds)));
}

#[test]
fn the_window_is_bounded() {
    let mut reign = Reign::leading();
    for counter in 1..=600 {
        reign.propose(z(2, counter));
    }
    reign.leader.logged(z(2, 600), &mut reign.out);
    reign.hear(1, FromLearner::Ack(z(2, 600)));
    let window = &reign.leader.window;
    assert_eq!((window.len(), window[0]), (WINDOW, z(2, 101)));
}

fn config(text: &str, version: i64) -> Ensemble {
    Ensemble { version, ..Ensemble::parse(text).unwrap() }
}

/// Leading in epoch 2, with followers 1 and 2 on their links.
fn with_two_followers() -> Reign {
    let mut reign = Reign::leading();
    reign.arrive(2, 2, false, z(1, 5));
    reign.hear(2, FromLearner::Ack(z(2, 0)));
    reign.out.clear();
    reign
}

const TWO: &str = "server.2=h2:1:2\nserver.3=h3:1:2\n";

#[test]
fn a_reconfiguration_needs_both_quorums_and_counts_when_it_is_committed() {
    let mut reign = with_two_followers();
    let two = config(TWO, z(2, 1).0);
    reign.leader.reconfigure(0, z(2, 1), config(TWO, 0), &mut reign.out);
    let to = links(&[1, 2]);
    reign.wants(&[Output::Proposed(two.clone()), Output::Propose { zxid: z(2, 1), to }]);
    reign.leader.logged(z(2, 1), &mut reign.out);
    reign.hear(1, FromLearner::Ack(z(2, 1)));
    reign.wants(&[]);
    reign.hear(2, FromLearner::Ack(z(2, 1)));
    let (followers, observers) = (links(&[1, 2]), links(&[]));
    let leader = Sid(3);
    let zxid = z(2, 1);
    reign.wants(&[Output::CommitAndActivate { zxid, config: two, leader, followers, observers }]);
    // The new quorum alone counts: 3 and 2.
    reign.propose(z(2, 2));
    reign.out.clear();
    reign.leader.logged(z(2, 2), &mut reign.out);
    reign.hear(1, FromLearner::Ack(z(2, 2)));
    reign.wants(&[]);
    reign.hear(2, FromLearner::Ack(z(2, 2)));
    reign.wants(&[commit(z(2, 2), &[1, 2], &[])]);
}

/// Of Apache's leaders it gets the proposed one in NEWLEADER, and makes it count.
#[test]
fn who_comes_during_a_reconfiguration_gets_what_is_committed_first() {
    let mut reign = Reign::leading();
    reign.leader.reconfigure(0, z(2, 1), config(TWO, 0), &mut reign.out);
    reign.out.clear();
    reign.arrive(2, 2, false, z(1, 5));
    let to = links(&[2]);
    let plan = Output::Synchronize { link: LinkId(2), plan: Plan::Window(z(1, 5)) };
    let propose = Output::Propose { zxid: z(2, 1), to };
    let told = reign.out.split_off(reign.out.len() - 3);
    assert_eq!(told, [plan, new_leader(2), propose]);
}

#[test]
fn a_leader_that_does_not_vote_any_more_leaves_at_once() {
    for (text, next) in [
        // 2 has more than 1 when both have the txn.
        ("server.1=h1:1:2\nserver.2=h2:1:2\n", Sid(2)),
        // It votes, and somewhere else; 1 is enough for a quorum.
        ("server.1=h1:1:2\nserver.2=h2:1:2\nserver.3=h3:7:2\n", Sid(1)),
    ] {
        let mut reign = with_two_followers();
        reign.leader.reconfigure(0, z(2, 1), config(text, 0), &mut reign.out);
        reign.propose(z(2, 2));
        reign.leader.logged(z(2, 2), &mut reign.out);
        reign.out.clear();
        reign.hear(1, FromLearner::Ack(z(2, 1)));
        reign.hear(2, FromLearner::Ack(z(2, 2)));
        let [Output::CommitAndActivate { leader, .. }, Output::StepDown(why)] = &reign.out[..]
        else {
            panic!("{:?}", reign.out);
        };
        assert_eq!((*leader, why), (next, &StepDown::NotDesignated(next)), "{text}");
    }
}

#[test]
fn the_first_configuration_gets_a_version_from_its_leader() {
    let mut reign = Reign::of(Incumbent { reconfig_enabled: true, ..incumbent() });
    let named = Ensemble { version: z(2, 0).0, ..incumbent().configs.committed };
    reign.join(1, info(1, false, 1));
    reign.leader.accepted_written(0, &mut reign.out);
    reign.hear(1, ack_epoch(z(1, 5), Some(1)));
    reign.out.clear();
    reign.leader.current_written(0, &mut reign.out);
    let packet = FromLeader::NewLeader { zxid: z(2, 0), config: Some(named.to_string().into()) };
    let plan = Output::Synchronize { link: LinkId(1), plan: Plan::Window(z(1, 5)) };
    reign.wants(&[Output::Proposed(named.clone()), plan, send(1, packet)]);
    reign.hear(1, FromLearner::Ack(z(2, 0)));
    let up_to_date = send(1, FromLeader::UpToDate);
    reign.wants(&[Output::Lead(Epoch(2)), Output::Activate(named), up_to_date]);
}
