//! One real leader or learner, whose disk and network are the test.

use zk_proto::quorum::{FromLeader, FromLearner, LearnerInfo};
use zk_proto::{Epoch, Sid, Zxid};
use zk_zab::leader::{Incumbent, Leader, LeaderTimes, LinkId, Output as Lead};
use zk_zab::learner::{Arrival, Learner, Leave, Output as Learn, Silence};
use zk_zab::{Configs, Ensemble, Role};

/// Epoch and counter.
pub fn z(epoch: i32, counter: u32) -> Zxid {
    Zxid::new(Epoch(epoch), counter)
}

pub fn ensemble(voters: i64) -> Ensemble {
    let text: String = (1..=voters).map(|sid| format!("server.{sid}=h{sid}:1:2\n")).collect();
    Ensemble::parse(&text).unwrap()
}

/// Member 3 of so many voters, whose history ends with 5 txns of epoch 1, and which was elected.
pub struct Reign {
    pub leader: Leader,
    pub out: Vec<Lead<'static>>,
}

impl Reign {
    pub fn of(voters: i64) -> Reign {
        let own = Incumbent {
            sid: Sid(3),
            configs: Configs::new(ensemble(voters)),
            accepted_epoch: Epoch(1),
            current_epoch: Epoch(1),
            last_zxid: z(1, 5),
            epoch_floor: Epoch(0),
            admits_strangers: true,
            reconfig_enabled: false,
            window: 500,
        };
        let times = LeaderTimes { tick_ms: 2000, init_ms: 20_000, sync_ms: 10_000 };
        let (mut out, window) = (Vec::new(), (1..=5).map(|counter| z(1, counter)));
        let leader = Leader::new(0, own, times, window, &mut out);
        Reign { leader, out }
    }

    /// Established in epoch 2 by follower 1, of three voters.
    pub fn established() -> Reign {
        let mut reign = Reign::of(3);
        reign.comes(1, Epoch(1));
        reign.leader.accepted_written(0, &mut reign.out);
        reign.promises(1, z(1, 5), Some(Epoch(1)));
        reign.leader.current_written(0, &mut reign.out);
        reign.acks(1, z(2, 0));
        assert!(reign.leader.is_leading());
        reign.out.clear();
        reign
    }

    pub fn hears(&mut self, sid: i64, packet: FromLearner<'static>) {
        self.leader.heard(0, LinkId(sid as u64), packet, &mut self.out);
    }

    /// A follower connects: CEPOCH.
    pub fn comes(&mut self, sid: i64, accepted_epoch: Epoch) {
        self.leader.connected(0, LinkId(sid as u64));
        let info = Some(LearnerInfo::new(Sid(sid), 0));
        self.hears(sid, FromLearner::Info { is_observer: false, accepted_epoch, info });
    }

    /// ACK-E; without an epoch where the promise is not new.
    pub fn promises(&mut self, sid: i64, last_zxid: Zxid, current_epoch: Option<Epoch>) {
        self.hears(sid, FromLearner::AckEpoch { last_zxid, current_epoch });
    }

    pub fn acks(&mut self, sid: i64, zxid: Zxid) {
        self.hears(sid, FromLearner::Ack(zxid));
    }

    pub fn proposes(&mut self, zxid: Zxid) {
        self.leader.propose(0, zxid, &mut self.out);
    }

    pub fn logs(&mut self, zxid: Zxid) {
        self.leader.logged(zxid, &mut self.out);
    }

    /// What it wanted since the last time.
    pub fn wants(&mut self) -> Vec<Lead<'static>> {
        std::mem::take(&mut self.out)
    }

    /// What is committed by what it wanted since the last time.
    pub fn commits(&mut self) -> Vec<Zxid> {
        let committed = |output| match output {
            Lead::Commit { zxid, .. } | Lead::CommitAndActivate { zxid, .. } => Some(zxid),
            _ => None,
        };
        self.wants().into_iter().filter_map(committed).collect()
    }
}

/// Follower 1, whose history ends with 5 txns of epoch 1.
pub struct Life {
    pub learner: Learner,
    pub out: Vec<Learn<'static>>,
}

impl Life {
    pub fn with_promise(accepted: i32) -> Life {
        let arrival = Arrival {
            sid: Sid(1),
            role: Role::Participant,
            config_version: 0,
            accepted_epoch: Epoch(accepted),
            current_epoch: Epoch(1),
            last_zxid: z(1, 5),
            forgets: false,
        };
        let mut out = Vec::new();
        let silence = Silence { init_ms: 20_000, sync_ms: 10_000 };
        let learner = Learner::new(0, arrival, silence, &mut out);
        Life { learner, out }
    }

    /// It has promised epoch 2, and waits for the history.
    pub fn promised() -> Life {
        let mut life = Life::with_promise(1);
        life.hears(FromLeader::LeaderInfo(Epoch(2)));
        life.learner.accepted_written(&mut life.out);
        life.out.clear();
        life
    }

    /// It follows in epoch 2.
    pub fn following() -> Life {
        let mut life = Life::promised();
        life.hears(FromLeader::Diff(z(1, 5)));
        life.new_leader(2);
        life.learner.current_written(&mut life.out);
        life.hears(FromLeader::UpToDate);
        assert!(life.learner.is_serving());
        life.out.clear();
        life
    }

    pub fn hears(&mut self, packet: FromLeader<'static>) {
        self.learner.heard(0, packet, &mut self.out);
    }

    pub fn new_leader(&mut self, epoch: i32) {
        self.hears(FromLeader::NewLeader { zxid: z(epoch, 0), config: None });
    }

    pub fn proposal(&mut self, zxid: Zxid) {
        self.hears(FromLeader::Proposal { zxid, txn: super::world::txn_of(zxid, 1).leak() });
    }

    pub fn commit(&mut self, zxid: Zxid) {
        self.hears(FromLeader::Commit(zxid));
    }

    pub fn logs(&mut self, zxid: Zxid) {
        self.learner.logged(zxid, &mut self.out);
    }

    pub fn wants(&mut self) -> Vec<Learn<'static>> {
        std::mem::take(&mut self.out)
    }

    /// What it has accepted since the last time: what goes to its log.
    pub fn accepts(&mut self) -> Vec<Zxid> {
        let accepted = |output| match output {
            Learn::Append { zxid, .. } => Some(zxid),
            _ => None,
        };
        self.wants().into_iter().filter_map(accepted).collect()
    }

    /// It leaves its leader, and accepts nothing before that.
    #[track_caller]
    pub fn leaves(&mut self) -> Leave {
        match &self.wants()[..] {
            [Learn::Leave(leave)] => leave.clone(),
            other => panic!("{other:?}"),
        }
    }
}

pub fn ack(zxid: Zxid) -> Learn<'static> {
    Learn::Send(FromLearner::Ack(zxid))
}
