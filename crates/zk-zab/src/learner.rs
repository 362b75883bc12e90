//! A follower or an observer under its leader (quorum-protocol 5, 7, 8). Mirrors `Learner`,
//! `Follower` and `Observer`; differs in: a COMMIT that does not fit ends the connection and never
//! the process, nothing is applied that is not on the own disk (ZOOKEEPER-4882), and a hole in the
//! history is refused (ZOOKEEPER-4925).

mod broadcast;
mod discovery;
mod synchronization;

use std::borrow::Cow;
use std::collections::VecDeque;

use zk_proto::quorum::{FromLeader, FromLearner};
use zk_proto::{Epoch, SessionId, Sid, Zxid};

use crate::peer::ZabState;
use crate::planted::{Faults, Planted};
use crate::{Ensemble, EnsembleError, Role};

/// Who connects, and what it has on its disk.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Arrival {
    /// Its sid.
    pub sid: Sid,
    /// Whether it votes.
    pub role: Role,
    /// The version of its committed configuration.
    pub config_version: i64,
    /// `acceptedEpoch`.
    pub accepted_epoch: Epoch,
    /// `currentEpoch`.
    pub current_epoch: Epoch,
    /// The last zxid of its log or snapshot; 0 for one that wants a snapshot.
    pub last_zxid: Zxid,
    /// What is on its disk must not be built upon, whatever the leader has.
    pub forgets: bool,
}

/// How long the leader may be silent, in ms.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Silence {
    /// Until the synchronisation is acknowledged: `initLimit` ticks.
    pub init_ms: u64,
    /// Afterwards: `syncLimit` ticks.
    pub sync_ms: u64,
}

/// What a learner wants done, in order.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Output<'a> {
    /// Send a packet to the leader.
    Send(FromLearner<'a>),
    /// Answer a PING, with the sessions that were heard since the last one.
    AnswerPing(Zxid),
    /// Write `acceptedEpoch`, durably; then [`Learner::accepted_written`].
    WriteAccepted(Epoch),
    /// Write `currentEpoch`, durably; then [`Learner::current_written`].
    WriteCurrent(Epoch),
    /// Cut the log behind this zxid, durably, and read tree and sessions anew; then
    /// [`Learner::truncated`]. No packet is given to the learner before that.
    Truncate(Zxid),
    /// Take the snapshot of this zxid that follows on the connection, beside what the disk holds;
    /// then [`Learner::installed`]. No packet is given to the learner before that.
    Install(Zxid),
    /// Make the snapshot that was taken the only history on the disk, durably, or nothing, if there
    /// was none; then [`Learner::settled`].
    Settle,
    /// Append a txn to the log; [`Learner::logged`] when it is on disk.
    Append {
        /// Its zxid.
        zxid: Zxid,
        /// Header, body and digest.
        txn: Cow<'a, [u8]>,
    },
    /// Apply what was appended, up to this zxid: it is committed, and on the own disk.
    Apply(Zxid),
    /// Serve clients.
    Serve,
    /// The next one that was asked: answer the oldest sync.
    Synced,
    /// Whether a session that moved here is alive.
    Revalidated {
        /// Which.
        session: SessionId,
        /// Whether it is alive, and now this member's.
        is_valid: bool,
    },
    /// Let the client go that has this session here: it was asked for elsewhere since.
    Moved(SessionId),
    /// A configuration was proposed.
    Proposed(Ensemble),
    /// The configuration that was proposed counts from here on.
    Activate {
        /// The configuration.
        config: Ensemble,
        /// Who leads under it, if it was a reconfiguration.
        leader: Option<Sid>,
    },
    /// Close the connection, forget what is only in memory, and look for a leader. Nothing follows.
    Leave(Leave),
}

/// Why a learner leaves its leader.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Leave {
    /// It has promised a later epoch to somebody else.
    #[error("the leader's epoch {leaders} is behind the promised {promised}")]
    OldEpoch {
        /// The leader's.
        leaders: i32,
        /// What this member has promised.
        promised: i32,
    },
    /// A packet that does not belong here.
    #[error("{packet} while {phase}")]
    Unexpected {
        /// Which.
        packet: &'static str,
        /// What this member was doing.
        phase: &'static str,
    },
    /// A txn that does not follow the last one. In a synchronisation it would come again, so the
    /// member needs a snapshot.
    #[error("txn {next} does not follow {last}")]
    Gap {
        /// The last one.
        last: Zxid,
        /// The one that came.
        next: Zxid,
    },
    /// A COMMIT of something else than the oldest proposal.
    #[error("commit of {committed} where {oldest:?} is the oldest proposal")]
    WrongCommit {
        /// What it commits.
        committed: Zxid,
        /// The oldest proposal, if there is any.
        oldest: Option<Zxid>,
    },
    /// A txn that is no txn.
    #[error("txn {0} cannot be read")]
    BadTxn(Zxid),
    /// A configuration that is none.
    #[error("the leader's configuration: {0}")]
    BadConfig(#[from] EnsembleError),
    /// The leader says nothing any more.
    #[error("no packet for {0} ms")]
    Silent(u64),
    /// The own disk is so far behind what is committed: what is read here is older than that.
    #[error("the own log is {0} ms behind the leader")]
    Behind(u64),
    /// The log could not be cut where the leader wants it.
    #[error("the log cannot be cut behind {0}; a snapshot is needed")]
    CannotTruncate(Zxid),
}

/// A member's part under one leader, from the first packet to the last.
///
/// The driver gives it each packet and each completion, and carries out the outputs in order.
/// **The durability rule:** `acceptedEpoch` is on disk before ACKEPOCH leaves; the history, then
/// `currentEpoch`, are on disk before NEWLEADER is acknowledged; a proposal is on disk before its
/// ACK leaves, and no ACK leaves before that of NEWLEADER (ZOOKEEPER-4643, 4646, 4685). The types
/// show it: each step begins in the method that the completion calls.
#[derive(Debug)]
pub struct Learner {
    arrival: Arrival,
    silence: Silence,
    heard_ms: u64,
    phase: Phase,
    /// The leader's epoch, once it is known.
    epoch: Epoch,
    /// The zxid of the last txn that came or is on disk.
    last: Zxid,
    /// What came before UPTODATE: first what is committed, then what is not.
    held: VecDeque<Held>,
    /// How many of them are committed.
    held_committed: usize,
    /// The configuration of NEWLEADER: it counts from UPTODATE on.
    newleader: Option<Ensemble>,
    /// The configuration that a txn has proposed, and that is not active.
    proposed: Option<Ensemble>,
    /// The version of the one that was made active last.
    active_version: i64,
    /// Appended and not yet on disk.
    unlogged: VecDeque<Zxid>,
    /// Proposed and not committed.
    uncommitted: VecDeque<Zxid>,
    /// What the leader has answered, and what was committed then: that is applied first.
    answers: VecDeque<(Zxid, LeadersAnswer)>,
    /// On disk; `applied <= logged`.
    logged: Zxid,
    /// Committed by the leader; `applied <= committed <= last`.
    committed: Zxid,
    applied: Zxid,
    /// What was committed at this time, and is not on disk yet.
    lags: Option<(Zxid, u64)>,
    pub(crate) faults: Faults,
}

/// An answer that stands behind txns.
#[derive(Clone, Copy, Debug)]
enum LeadersAnswer {
    /// To the oldest sync.
    Sync,
    /// Whether a session is alive, and now this member's: what it has asked for elsewhere must not
    /// be taken for what it asks for here.
    Revalidate { session: SessionId, is_valid: bool },
}

/// A txn that is neither logged nor applied yet.
#[derive(Debug)]
struct Held {
    zxid: Zxid,
    txn: Vec<u8>,
}

/// Where in its life a learner is. Waits for the disk are phases of their own.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Phase {
    /// FOLLOWERINFO or OBSERVERINFO is sent.
    Greeting,
    /// `acceptedEpoch` is being written.
    Promising,
    /// ACKEPOCH is sent.
    Promised,
    /// The log is being cut.
    Truncating,
    /// A snapshot is being taken.
    Installing,
    /// The history comes; whether it began with a snapshot.
    Synchronizing { is_installed: bool },
    /// NEWLEADER came: the snapshot becomes the history.
    Settling,
    /// The history goes to the log, up to this zxid.
    Logging(Zxid),
    /// `currentEpoch` is being written.
    Entering,
    /// NEWLEADER is acknowledged.
    Ready,
    /// UPTODATE came.
    Broadcasting,
    /// Nothing more.
    Left,
}

impl Phase {
    fn name(self) -> &'static str {
        match self {
            Phase::Greeting | Phase::Promising => "in discovery",
            Phase::Promised => "waiting for DIFF, TRUNC or SNAP",
            Phase::Truncating => "cutting the log",
            Phase::Installing => "taking a snapshot",
            Phase::Synchronizing { .. } => "synchronising",
            Phase::Settling | Phase::Logging(_) | Phase::Entering => "writing the history",
            Phase::Ready => "waiting for UPTODATE",
            Phase::Broadcasting => "following",
            Phase::Left => "leaving",
        }
    }
}

impl Learner {
    /// A learner that has just connected to its leader.
    pub fn new(
        now_ms: u64,
        arrival: Arrival,
        silence: Silence,
        out: &mut Vec<Output<'_>>,
    ) -> Learner {
        let last = arrival.last_zxid;
        let learner = Learner {
            epoch: arrival.accepted_epoch,
            arrival,
            silence,
            heard_ms: now_ms,
            phase: Phase::Greeting,
            last,
            held: VecDeque::new(),
            held_committed: 0,
            newleader: None,
            proposed: None,
            active_version: 0,
            unlogged: VecDeque::new(),
            uncommitted: VecDeque::new(),
            answers: VecDeque::new(),
            logged: last,
            committed: last,
            applied: last,
            lags: None,
            faults: Faults::default(),
        };
        learner.greet(out);
        learner
    }

    /// The leader said something.
    pub fn heard<'a>(&mut self, now_ms: u64, packet: FromLeader<'a>, out: &mut Vec<Output<'a>>) {
        self.heard_ms = now_ms;
        let done = match self.phase {
            Phase::Greeting => self.discover(packet, out),
            Phase::Promised => self.begin_synchronization(packet, out),
            Phase::Synchronizing { is_installed } => self.synchronize(packet, is_installed, out),
            Phase::Settling | Phase::Logging(_) | Phase::Entering | Phase::Ready => {
                self.hold(packet, out)
            }
            Phase::Broadcasting => self.follow(packet, out),
            Phase::Left => Ok(()),
            Phase::Promising | Phase::Truncating | Phase::Installing => {
                Err(self.unexpected(&packet))
            }
        };
        if let Err(leave) = done {
            self.leave(leave, out);
        }
    }

    /// Time has passed.
    pub fn tick(&mut self, now_ms: u64, out: &mut Vec<Output<'_>>) {
        let limit_ms = match self.phase {
            Phase::Ready | Phase::Broadcasting => self.silence.sync_ms,
            Phase::Left => return,
            _ => self.silence.init_ms,
        };
        let silent_ms = now_ms.saturating_sub(self.heard_ms);
        if silent_ms > limit_ms {
            return self.leave(Leave::Silent(silent_ms), out);
        }
        // Nobody else notices: an observer owes no ACK, and a follower may owe only the newest.
        match self.lags {
            Some((zxid, since_ms)) if self.logged < zxid => {
                let lags_ms = now_ms.saturating_sub(since_ms);
                if lags_ms > self.silence.sync_ms {
                    self.leave(Leave::Behind(lags_ms), out);
                }
            }
            _ => self.lags = (self.committed > self.logged).then_some((self.committed, now_ms)),
        }
    }

    /// How far it was told to apply.
    pub(crate) fn applied(&self) -> Zxid {
        self.applied
    }

    /// Whether clients may be served.
    #[must_use]
    pub fn is_serving(&self) -> bool {
        self.phase == Phase::Broadcasting
    }

    /// How far it has come.
    #[must_use]
    pub fn zab_state(&self) -> ZabState {
        match self.phase {
            Phase::Greeting | Phase::Promising => ZabState::Discovery,
            Phase::Broadcasting => ZabState::Broadcast,
            Phase::Left => ZabState::Election,
            _ => ZabState::Synchronization,
        }
    }

    fn leave(&mut self, leave: Leave, out: &mut Vec<Output<'_>>) {
        self.phase = Phase::Left;
        out.push(Output::Leave(leave));
    }

    fn unexpected(&self, packet: &FromLeader<'_>) -> Leave {
        Leave::Unexpected { packet: packet.name(), phase: self.phase.name() }
    }

    /// Takes note of the next txn of the history; it must follow the last one without a hole, and
    /// be of no later epoch than the leader's.
    fn extend(&mut self, zxid: Zxid) -> Result<(), Leave> {
        let last = self.last;
        let is_later = zxid.epoch() > last.epoch() && zxid.epoch() <= self.epoch;
        let begins_epoch = is_later && zxid.counter() == 1;
        if zxid != last.next() && !begins_epoch && !self.faults.has(Planted::TakesGaps) {
            return Err(Leave::Gap { last, next: zxid });
        }
        self.last = zxid;
        Ok(())
    }
}

#[cfg(test)]
mod tests;
