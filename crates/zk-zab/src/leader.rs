//! A leader and its learners (quorum-protocol 5, 6, 8, 12). Mirrors `Leader` and `LearnerHandler`;
//! differs in: only voters that came as followers are counted, the accepted epoch of strangers is
//! not heard, a voter that has promised a later epoch is taken in by a new one and not left out
//! until the leader ends, one sid has one connection, outstanding proposals follow NEWLEADER and do
//! not stand in front of it (ZOOKEEPER-4394), and an ACK stands for everything before it.

mod broadcast;
mod census;
mod discovery;
mod feeder;
mod liveness;
mod reconfiguration;
mod synchronization;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

use zk_proto::quorum::{Forwarded, FromLeader, FromLearner, Touched};
use zk_proto::{Epoch, SessionId, Sid, Zxid};

use crate::planted::Faults;
use crate::{Configs, Ensemble, Role};

pub use census::Census;
pub use feeder::Feeder;

/// A connection of a learner; the driver numbers them and uses no number twice.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct LinkId(pub u64);

/// Who leads, and what it has on its disk.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Incumbent {
    /// Its sid.
    pub sid: Sid,
    /// Who votes.
    pub configs: Configs,
    /// `acceptedEpoch`.
    pub accepted_epoch: Epoch,
    /// `currentEpoch`.
    pub current_epoch: Epoch,
    /// The last zxid of its log or snapshot.
    pub last_zxid: Zxid,
    /// The epoch must not be below this one (rule R9).
    pub epoch_floor: Epoch,
    /// Whether learners that no configuration knows may come (rule R6). They may follow, and ask
    /// for nothing.
    pub admits_strangers: bool,
    /// `reconfigEnabled`: its configuration gets a version when it begins to lead.
    pub reconfig_enabled: bool,
    /// So many committed txns are kept for learners that come back (`commitLogCount`). It must be
    /// what the driver keeps: a DIFF out of more has a hole, which a learner cannot see where a new
    /// epoch begins behind it.
    pub window: usize,
}

/// How long what takes, in ms.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct LeaderTimes {
    /// `tickTime`.
    pub tick_ms: u64,
    /// `initLimit` ticks: each of the waits before the broadcast.
    pub init_ms: u64,
    /// `syncLimit` ticks: how long a learner may be silent, or owe an ACK.
    pub sync_ms: u64,
}

/// How a learner's history becomes that of the leader.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Plan {
    /// DIFF, then what is committed behind this zxid, of the window in memory.
    Window(Zxid),
    /// The same, of the log and then of the window.
    Log(Zxid),
    /// TRUNC to this zxid, which is the last committed one.
    Trunc(Zxid),
    /// SNAP of everything that is committed.
    Snap,
}

/// What a leader wants done, in order. What goes to one link leaves in this order.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Output<'a> {
    /// Send a packet to a learner.
    Send {
        /// To which.
        to: LinkId,
        /// What.
        packet: FromLeader<'a>,
    },
    /// Close a learner's connection; it is forgotten already.
    Close {
        /// Which.
        link: LinkId,
        /// Why.
        why: Refusal,
    },
    /// Write `acceptedEpoch`, durably; then [`Leader::accepted_written`].
    WriteAccepted(Epoch),
    /// Write `currentEpoch`, durably; then [`Leader::current_written`].
    WriteCurrent(Epoch),
    /// Say by [`Leader::looked_up`] whether this zxid is in the log, and all behind it up to the
    /// window.
    LookUp {
        /// For whom.
        link: LinkId,
        /// What.
        zxid: Zxid,
    },
    /// Begin to synchronise a learner; commits that were wanted before are applied.
    Synchronize {
        /// Whom.
        link: LinkId,
        /// How.
        plan: Plan,
    },
    /// Lead: the history is committed, and the first txn has the counter 1.
    Lead(Epoch),
    /// Send a proposal, as PROPOSAL.
    Propose {
        /// Which.
        zxid: Zxid,
        /// To whom.
        to: Arc<[LinkId]>,
    },
    /// A proposal is committed: apply it, tell followers by COMMIT and observers by INFORM.
    Commit {
        /// Which.
        zxid: Zxid,
        /// Who has it already.
        followers: Arc<[LinkId]>,
        /// Who gets it only now.
        observers: Arc<[LinkId]>,
    },
    /// A configuration is proposed from here on; write it, durably, before anything else.
    Proposed(Ensemble),
    /// The configuration of NEWLEADER counts from here on.
    Activate(Ensemble),
    /// A reconfiguration is committed, and counts from here on: as [`Output::Commit`], by
    /// COMMITANDACTIVATE and INFORMANDACTIVATE.
    CommitAndActivate {
        /// Its txn.
        zxid: Zxid,
        /// The configuration.
        config: Ensemble,
        /// Who leads under it.
        leader: Sid,
        /// Who has the txn already.
        followers: Arc<[LinkId]>,
        /// Who gets it only now.
        observers: Arc<[LinkId]>,
    },
    /// This is committed and on the own disk: what was applied since the last one, up to this zxid,
    /// goes to a follower's observers, as INFORM.
    Inform {
        /// The last one.
        upto: Zxid,
        /// Who leads from that one on: it is a reconfiguration, and told by INFORMANDACTIVATE.
        leader: Option<Sid>,
        /// To whom.
        observers: Arc<[LinkId]>,
    },
    /// Send what an observer wants to the leader, at once: answers come in the order of what was
    /// asked.
    Upstream(FromLearner<'a>),
    /// A learner's client asks for something.
    Request {
        /// Whose.
        link: LinkId,
        /// What.
        request: Forwarded<'a>,
    },
    /// Everything that was proposed before it is committed: answer a sync; of an own client where
    /// there is no link, in order.
    Synced(Option<LinkId>),
    /// A session has moved to a learner: say by REVALIDATE whether it is alive. A follower that
    /// feeds observers ends what an own client of it still does, and then asks
    /// ([`Feeder::ask_move`]).
    Revalidate {
        /// To whom.
        link: LinkId,
        /// Which session.
        session: SessionId,
        /// The timeout in ms that it asks for.
        timeout_ms: i32,
    },
    /// Make a txn that changes nothing: a member without a vote needs to see that a quorum still
    /// logs what this leader proposes.
    Prove,
    /// A learner has heard these sessions.
    Touched {
        /// Which learner.
        link: LinkId,
        /// The sessions.
        touched: Touched<'a>,
    },
    /// Stop to lead: close everything, and look for a leader. Nothing follows.
    StepDown(StepDown),
}

/// Why a learner's connection is closed.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Refusal {
    /// It says something that does not belong there.
    #[error("{0} does not belong here")]
    Unexpected(&'static str),
    /// It knows a later configuration than its leader.
    #[error("its configuration {theirs:x} is later than {ours:x}")]
    LaterConfig {
        /// Its.
        theirs: i64,
        /// The leader's.
        ours: i64,
    },
    /// Its history is longer; it must not be cut by this leader.
    #[error("it is ahead: epoch {epoch}, zxid {zxid}")]
    Ahead {
        /// Its current epoch.
        epoch: i32,
        /// Its last zxid.
        zxid: Zxid,
    },
    /// Another connection with this sid is alive.
    #[error("sid {0} is connected already")]
    Twice(Sid),
    /// No configuration knows it, and strangers may not come.
    #[error("sid {0} is in no configuration")]
    Stranger(Sid),
    /// It goes on asking in the name of a session that has moved away from it, and of which it was
    /// told so.
    #[error("it goes on asking for session {id:x}, which has moved away", id = .0.0)]
    Moved(SessionId),
    /// It was silent, or owed an ACK, for so many ms.
    #[error("nothing came for {0} ms")]
    Silent(u64),
}

/// Why a leader stops.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StepDown {
    /// Not enough learners came in time.
    #[error("no quorum {0} within initLimit")]
    NoQuorum(&'static str),
    /// Too few learners are left.
    #[error("no quorum of learners is connected")]
    LostQuorum,
    /// The own log does not get on: it is full, or the disk does not answer.
    #[error("the own log has not got on for {0} ms")]
    OwnLog(u64),
    /// The counter of the epoch is used up (ZOOKEEPER-1277).
    #[error("the counter of the epoch is used up")]
    CounterEnds,
    /// A voter has promised a later epoch, and so cannot follow in this one.
    #[error("server {sid} has promised epoch {epoch}; a later one takes it in")]
    LaterPromise {
        /// Who.
        sid: Sid,
        /// What it has promised.
        epoch: i32,
    },
    /// The ensemble was reconfigured, and another member leads it.
    #[error("server {0} leads under the new configuration")]
    NotDesignated(Sid),
    /// There is no later epoch.
    #[error(
        "an epoch of {0} was promised, and there is no later one; look at the acceptedEpoch files"
    )]
    EpochsEnd(i32),
}

/// Txns of one epoch beyond this counter are not proposed.
pub const LAST_COUNTER: u32 = 0xffff_fff0;

/// A member's reign, from its election to its end; or the part of it that observers see, under
/// another leader ([`Feeder`]).
///
/// The driver gives it what learners say, completions and ticks, and carries out the outputs in
/// order. **The durability rule:** the promised epoch is on disk before a learner hears of it, the
/// own history before the election that won (it is what the member stood for), the current epoch
/// before its own vote for NEWLEADER counts, and a txn before its own ACK counts.
#[derive(Debug)]
pub struct Leader {
    own: Incumbent,
    times: LeaderTimes,
    phase: Phase,
    /// When the wait of this phase is over.
    deadline_ms: u64,
    epoch: Epoch,
    links: BTreeMap<LinkId, Link>,
    /// The zxids of what is in memory and committed, without a hole.
    window: VecDeque<Zxid>,
    /// The last one that is committed.
    committed: Zxid,
    /// Proposed and not committed, with the time of the proposal.
    outstanding: VecDeque<(Zxid, u64)>,
    /// On the own disk.
    logged: Zxid,
    /// Who waits until what is committed.
    syncs: VecDeque<(Zxid, Option<LinkId>)>,
    /// Whom proposals and commits go to; made anew when links change.
    followers: Arc<[LinkId]>,
    observers: Arc<[LinkId]>,
    ping_at_ms: u64,
    check_at_ms: u64,
    pub(crate) faults: Faults,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Phase {
    /// Learners come and say what they have promised.
    Discovering,
    /// `acceptedEpoch` is being written.
    Promising,
    /// Learners promise the epoch.
    Collecting,
    /// `currentEpoch` is being written.
    Entering,
    /// Learners take over the history.
    Synchronizing,
    /// A quorum has it.
    Leading,
    /// Another member leads, and this one feeds observers with what it learns.
    Feeding,
    /// Nothing more.
    Left,
}

/// One learner.
#[derive(Debug)]
struct Link {
    stage: Stage,
    sid: Sid,
    role: Role,
    heard_ms: u64,
    /// The last proposal that it has acknowledged.
    acked: Zxid,
    /// It has no vote, and was shown that this leader has a quorum, or will be.
    is_shown: bool,
    /// Since when there is one that it has not acknowledged, without a word about any other.
    owes_since_ms: Option<u64>,
}

/// What a learner has got so far.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
enum Stage {
    /// It has said nothing.
    Connected,
    /// It waits for LEADERINFO.
    Informed(Epoch),
    /// It has LEADERINFO.
    Told,
    /// It has promised the epoch, and has this history.
    Promised {
        zxid: Zxid,
        /// Whether the promise is new. One that was given before may have been given to another
        /// leader of the same epoch, and must not count for this one.
        is_new: bool,
    },
    /// NEWLEADER is on its way, behind everything that was committed; proposals follow.
    Synchronizing,
    /// It has acknowledged NEWLEADER.
    Ready,
    /// It has UPTODATE.
    UpToDate,
}

impl Leader {
    /// A member that has just won an election. `window` are the last txns of its history.
    pub fn new(
        now_ms: u64,
        own: Incumbent,
        times: LeaderTimes,
        window: impl IntoIterator<Item = Zxid>,
        out: &mut Vec<Output<'_>>,
    ) -> Leader {
        let last = own.last_zxid;
        let mut leader = Leader {
            times,
            phase: Phase::Discovering,
            deadline_ms: now_ms + times.init_ms,
            epoch: own.accepted_epoch,
            links: BTreeMap::new(),
            window: window.into_iter().collect(),
            committed: last,
            outstanding: VecDeque::new(),
            logged: last,
            syncs: VecDeque::new(),
            followers: Arc::default(),
            observers: Arc::default(),
            ping_at_ms: now_ms + times.tick_ms / 2,
            check_at_ms: now_ms + times.tick_ms,
            faults: Faults::default(),
            own,
        };
        leader.propose_epoch(now_ms, out);
        leader
    }

    /// A learner connected.
    pub fn connected(&mut self, now_ms: u64, link: LinkId) {
        let learner = Link {
            stage: Stage::Connected,
            sid: Sid::NOBODY,
            role: Role::Observer,
            heard_ms: now_ms,
            acked: Zxid::ZERO,
            is_shown: false,
            owes_since_ms: None,
        };
        self.links.insert(link, learner);
    }

    /// A learner's connection is gone.
    pub fn disconnected(&mut self, link: LinkId) {
        self.links.remove(&link);
        self.syncs.retain(|(_, waiting)| *waiting != Some(link));
        self.list_links();
    }

    /// A learner said something.
    pub fn heard<'a>(
        &mut self,
        now_ms: u64,
        link: LinkId,
        packet: FromLearner<'a>,
        out: &mut Vec<Output<'a>>,
    ) {
        if self.phase == Phase::Left {
            return;
        }
        let Some(learner) = self.links.get_mut(&link) else { return };
        learner.heard_ms = now_ms;
        let done = match (learner.stage, packet) {
            (Stage::Connected, FromLearner::Info { is_observer, accepted_epoch, info }) => {
                let role = if is_observer { Role::Observer } else { Role::Participant };
                self.informed(now_ms, link, role, accepted_epoch, info, out)
            }
            (Stage::Told, FromLearner::AckEpoch { last_zxid, current_epoch }) => {
                self.promised(now_ms, link, last_zxid, current_epoch, out)
            }
            (Stage::Synchronizing, FromLearner::Ack(zxid)) => {
                self.acknowledged(link, zxid, out);
                Ok(())
            }
            (Stage::Ready | Stage::UpToDate, FromLearner::Ack(zxid)) => {
                self.acked(now_ms, link, zxid, out);
                Ok(())
            }
            (Stage::Synchronizing | Stage::Ready | Stage::UpToDate, packet) => {
                self.serve(link, packet, out)
            }
            (_, packet) => Err(Refusal::Unexpected(packet.name())),
        };
        if let Err(why) = done {
            self.close(link, why, out);
        }
    }

    /// Whether it leads, and txns may be proposed.
    #[must_use]
    pub fn is_leading(&self) -> bool {
        self.phase == Phase::Leading
    }

    /// Whether learners that have the history are told so at once.
    fn is_established(&self) -> bool {
        matches!(self.phase, Phase::Leading | Phase::Feeding)
    }

    fn close(&mut self, link: LinkId, why: Refusal, out: &mut Vec<Output<'_>>) {
        self.disconnected(link);
        out.push(Output::Close { link, why });
    }

    fn step_down(&mut self, why: StepDown, out: &mut Vec<Output<'_>>) {
        self.phase = Phase::Left;
        out.push(Output::StepDown(why));
    }

    fn enter(&mut self, phase: Phase, now_ms: u64) {
        self.phase = phase;
        self.deadline_ms = now_ms + self.times.init_ms;
    }

    fn links_at(&self, is_there: impl Fn(Stage) -> bool) -> Vec<LinkId> {
        let there = self.links.iter().filter(|(_, learner)| is_there(learner.stage));
        there.map(|(link, _)| *link).collect()
    }

    /// Whether this member and the voters among the followers that `has` are a quorum. An observer
    /// with a voter's sid is none (quorum-protocol 17.4).
    fn has_quorum(&self, has: impl Fn(&Link) -> bool) -> bool {
        let sids = self.with_followers(has);
        self.own.configs.is_voter(self.own.sid) && self.own.configs.has_quorum(&sids)
    }

    fn followers(&self) -> impl Iterator<Item = &Link> {
        self.links.values().filter(|link| link.role == Role::Participant)
    }

    /// This member and those of its followers that `has`.
    fn with_followers(&self, has: impl Fn(&Link) -> bool) -> BTreeSet<Sid> {
        let followers = self.followers().filter(|link| has(link)).map(|link| link.sid);
        followers.chain([self.own.sid]).collect()
    }
}

#[cfg(test)]
mod tests;
