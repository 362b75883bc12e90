//! A member and what it does in its ensemble: it looks for a leader, and then follows, observes or
//! leads, until it looks again (Apache `QuorumPeer`).
//!
//! The parts have their own modules; here is when which of them plays, and what the member's disk
//! says at that moment. A member that is damaged or wiped plays none of them under its own sid
//! (rule R5): it asks everybody who leads, takes the history from there as a stranger would, and
//! looks for a leader only when an ensemble has shown that it works without it.

mod feeding;
mod view;

pub use view::ZabState;

use std::collections::BTreeMap;

use zk_proto::election::{Notification, ServerState};
use zk_proto::quorum::{FromLeader, FromLearner};
use zk_proto::{Epoch, Sid, Zxid};

use crate::election::{Election, ElectionTimes, Output as Elect, Standing};
use crate::leader::{Feeder, Incumbent, Leader, LeaderTimes, LinkId, Output as Lead, StepDown};
use crate::learner::{Arrival, Learner, Leave, Output as Learn, Silence};
use crate::planted::Faults;
use crate::{Configs, Ensemble, Role};

/// What a member is told of itself.
#[derive(Clone, Debug)]
pub struct PeerOptions {
    /// Its sid.
    pub sid: Sid,
    /// What it does when no configuration knows it (`peerType`).
    pub role: Role,
    /// `reconfigEnabled`: configurations that come with votes are taken.
    pub accepts_configs: bool,
    /// Times of elections.
    pub election: ElectionTimes,
    /// Times of a leader; a learner has patience for as long.
    pub times: LeaderTimes,
    /// The least epoch in which it leads (rule R9).
    pub epoch_floor: Epoch,
    /// Whether it takes in learners that no configuration knows (rule R6).
    pub admits_strangers: bool,
    /// So many committed txns the driver keeps for learners (`commitLogCount`).
    pub window: usize,
    /// Whether it feeds observers while it follows (`observerMasterPort`).
    pub feeds: bool,
}

/// What is on a member's disk, all of it durable.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct History {
    /// `acceptedEpoch`.
    pub accepted_epoch: Epoch,
    /// `currentEpoch`.
    pub current_epoch: Epoch,
    /// The last zxid of its log or snapshot.
    pub last_zxid: Zxid,
    /// The last txns of it that are in memory too, oldest first.
    pub window: Vec<Zxid>,
    /// Whether something is missing, or may be: the member has no vote.
    pub is_damaged: bool,
    /// There is nothing, neither a history nor an epoch, and nobody says that the ensemble is new:
    /// the member votes only if all others are empty too.
    pub is_empty: bool,
}

/// What a member wants done; each list in order, `elect` first, `turn` last.
#[derive(Debug, Default)]
pub struct Wants<'a> {
    /// On the election port; never [`Elect::Elected`], [`Elect::Outvoted`] or [`Elect::Wiped`].
    pub elect: Vec<Elect>,
    /// As a learner.
    pub learn: Vec<Learn<'a>>,
    /// As a leader.
    pub lead: Vec<Lead<'a>>,
    /// What it does from now on.
    pub turn: Option<Turn>,
}

/// A member begins to do something else.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Turn {
    /// Dial the quorum port of a member that leads, as long as `initLimit` allows; then
    /// [`Peer::joined`] or [`Peer::unreachable`].
    Join(Sid),
    /// Dial the quorum ports of all members: only who leads speaks there, and observers may vote by
    /// now. It must be known after a crash that this member has no vote, before anything is
    /// written. Then [`Peer::joined`] or [`Peer::unreachable`].
    JoinAnybody,
    /// Take learners; those that came before count.
    Reign,
    /// Close all quorum connections, and what only a member with a leader does. When everything
    /// that was begun is on the disk, go on with [`Peer::look`].
    Rest(Rest),
}

/// Why a member has no leader any more.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Rest {
    /// It has left its leader.
    #[error(transparent)]
    Left(#[from] Leave),
    /// It led, and leads no more.
    #[error(transparent)]
    SteppedDown(#[from] StepDown),
    /// The connection to its leader has ended, or there was none.
    #[error("no connection to server {0}")]
    NoConnection(Sid),
    /// The ensemble was reconfigured: another member leads, or this one has another role.
    #[error("the ensemble was reconfigured; server {0} leads it")]
    Reconfigured(Sid),
    /// It was elected, and a better one came before anybody followed it.
    #[error("a better leader has come, and too few still want this one")]
    Outvoted,
    /// Its disk is full: it cannot promise anything.
    #[error("the disk is full")]
    DiskFull,
    /// It was damaged, and has the history of a working ensemble now.
    #[error("the history was taken from server {0}; this member votes again")]
    Mended(Sid),
}

/// One member, from its start to its end. The driver gives it all that happens on its ports and its
/// disk, and carries out what it wants.
#[derive(Debug)]
pub struct Peer {
    options: PeerOptions,
    /// It has the configurations too.
    election: Election,
    history: History,
    /// Its history could not be made that of a leader txn by txn.
    wants_snapshot: bool,
    /// What others said last while this member rested.
    unheard: BTreeMap<Sid, Notification<'static>>,
    /// Who leads next, as the reconfiguration says that ended the last part.
    designated: Option<Sid>,
    /// How far a damaged member must have come before it votes again.
    mends: Mends,
    /// From when on the word of its leader is enough for that.
    mends_from_ms: u64,
    /// When the leader spoke last.
    heard_ms: u64,
    part: Part,
    faults: Faults,
}

/// So many members are remembered.
const MOST_UNHEARD: usize = 256;

/// A damaged member that serves may have had more than its leader's snapshot: it may have
/// acknowledged, before it lost its disk, what the leader had not committed yet, and the ACK may
/// still come. It votes again when it has everything that was proposed by then.
///
/// Who is no leader any more does not know that at once. In such a one's history what was committed
/// since is missing, perhaps with an ACK of this very member. But without a quorum it leads for
/// `syncLimit` and a tick at most, and for as long again if its process stood still meanwhile (for
/// longer, and it would have been left): who still leads after that has had a quorum since this
/// member came. So has who commits what it had not proposed yet when it said what it had: those
/// that logged it followed this leader, and so no other with a later history, after this member
/// came. Leaders of ours propose something for that ([`Lead::Prove`]).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Mends {
    /// It has not taken the history of a working ensemble.
    NotYet,
    /// It has; the next PING says what is proposed.
    Asks,
    /// It needs everything up to there, and more where it is not sure that who said so leads.
    Until { last: Zxid, is_sure: bool },
}

impl Mends {
    /// A PING says what is proposed; who says so now is sure to lead, or not.
    fn after(self, last: Zxid, is_sure: bool) -> Mends {
        match self {
            Mends::Asks => Mends::Until { last, is_sure },
            Mends::Until { is_sure: false, .. } if is_sure => Mends::Until { last, is_sure },
            other => other,
        }
    }

    fn has_enough(self, applied: Zxid) -> bool {
        match self {
            Mends::Until { last, is_sure: true } => applied >= last,
            Mends::Until { last, is_sure: false } => applied > last,
            Mends::NotYet | Mends::Asks => false,
        }
    }
}

#[derive(Debug)]
enum Part {
    /// Nothing: the driver cleans up.
    Resting,
    /// It looks for a leader.
    Looking,
    /// It dials its leader; `NOBODY` if it does not know who leads.
    Joining(Sid),
    /// It follows, observes or mends.
    Learning {
        leader: Sid,
        learner: Box<Learner>,
        /// Its observers, while it serves as a follower.
        feeder: Option<Box<Feeder>>,
    },
    /// It leads.
    Leading(Box<Leader>),
}

impl Peer {
    /// A member that does nothing yet; [`Peer::look`] begins.
    #[must_use]
    pub fn new(options: PeerOptions, configs: Configs) -> Peer {
        let election = Election::new(
            options.sid,
            options.role,
            configs,
            options.accepts_configs,
            options.election,
        );
        let (history, part) = (History::default(), Part::Resting);
        let mends = Mends::NotYet;
        Peer {
            options,
            election,
            history,
            wants_snapshot: false,
            designated: None,
            unheard: BTreeMap::new(),
            mends,
            mends_from_ms: 0,
            heard_ms: 0,
            part,
            faults: Faults::default(),
        }
    }

    /// It breaks a rule from now on.
    #[cfg(feature = "planted")]
    pub fn plant(&mut self, fault: crate::Planted) {
        self.faults = Faults::only(fault);
    }

    /// Looks for a leader, with what is on the disk.
    pub fn look(&mut self, now_ms: u64, history: History, wants: &mut Wants<'_>) {
        self.history = history;
        if self.history.is_damaged {
            self.unheard.clear();
            self.part = Part::Joining(Sid::NOBODY);
            wants.turn = Some(Turn::JoinAnybody);
            return;
        }
        self.part = Part::Looking;
        let standing = Standing {
            zxid: self.history.last_zxid,
            epoch: i64::from(self.history.current_epoch.0),
        };
        match self.designated.take() {
            // No election: others do not vote now, but wait for this leader (Apache
            // `QuorumPeer.updateServerState`). If it does not come, there is one afterwards.
            Some(leader) => self.election.designate(standing, leader, &mut wants.elect),
            None if self.history.is_empty => self.election.look_empty(now_ms, &mut wants.elect),
            None => self.election.look(now_ms, standing, &mut wants.elect),
        }
        self.turn(now_ms, wants);
        for (from, vote) in std::mem::take(&mut self.unheard) {
            self.heard_vote(now_ms, from, &vote, wants);
        }
    }

    /// A member said something on the election port.
    pub fn heard_vote(
        &mut self,
        now_ms: u64,
        from: Sid,
        vote: &Notification<'_>,
        wants: &mut Wants<'_>,
    ) {
        // Who rests has no leader any more, and no vote yet. It will not be told again.
        if matches!(self.part, Part::Resting) {
            if self.unheard.len() < MOST_UNHEARD || self.unheard.contains_key(&from) {
                let config = vote.config.as_ref().map(|text| text.to_string().into());
                self.unheard.insert(from, Notification { config, ..*vote });
            }
        } else if !self.history.is_damaged {
            self.election.heard(now_ms, from, vote, &mut wants.elect);
            self.turn(now_ms, wants);
        }
    }

    /// There is a connection to a member's election port.
    pub fn vote_connected(&mut self, to: Sid, wants: &mut Wants<'_>) {
        if matches!(self.part, Part::Looking) {
            self.election.connected(to, &mut wants.elect);
        }
    }

    /// The connection to a member's election port has ended.
    pub fn vote_lost(&mut self, sid: Sid, wants: &mut Wants<'_>) {
        if matches!(self.part, Part::Looking) {
            self.election.lost(sid, &mut wants.elect);
        }
    }

    /// A member's host has refused a connection to the election port: there is no such process.
    pub fn vote_refused(&mut self, now_ms: u64, sid: Sid, wants: &mut Wants<'_>) {
        if matches!(self.part, Part::Looking) {
            self.election.refused(now_ms, sid, &mut wants.elect);
            self.turn(now_ms, wants);
        }
    }

    /// The quorum port of `leader` is reached.
    pub fn joined(&mut self, now_ms: u64, leader: Sid, wants: &mut Wants<'_>) {
        let Part::Joining(wanted) = self.part else { return };
        if wanted != leader && wanted != Sid::NOBODY {
            return;
        }
        let History { accepted_epoch, current_epoch, last_zxid, is_damaged, .. } = self.history;
        let config_version = self.configs().committed.version;
        let arrival = match is_damaged {
            // As a stranger with nothing: what it has must not be built upon.
            true => Arrival {
                sid: Sid::NOBODY,
                role: Role::Observer,
                config_version: 0,
                accepted_epoch: Epoch(0),
                current_epoch: Epoch(0),
                last_zxid: Zxid::ZERO,
                forgets: true,
            },
            false => Arrival {
                sid: self.options.sid,
                role: self.role(),
                config_version,
                accepted_epoch,
                current_epoch,
                last_zxid: if self.wants_snapshot { Zxid::ZERO } else { last_zxid },
                forgets: self.wants_snapshot,
            },
        };
        let LeaderTimes { tick_ms, init_ms, sync_ms } = self.options.times;
        self.mends_from_ms = now_ms + 2 * (sync_ms + tick_ms);
        let silence = Silence { init_ms, sync_ms };
        let mut learner = Learner::new(now_ms, arrival, silence, &mut wants.learn);
        learner.faults = self.faults;
        let learner = Box::new(learner);
        self.part = Part::Learning { leader, learner, feeder: None };
    }

    /// Nobody could be reached in time.
    pub fn unreachable(&mut self, wants: &mut Wants<'_>) {
        if let Part::Joining(leader) = self.part {
            self.rest(Rest::NoConnection(leader), wants);
        }
    }

    /// The leader said something.
    pub fn heard_leader<'a>(&mut self, now_ms: u64, packet: FromLeader<'a>, wants: &mut Wants<'a>) {
        self.heard_ms = now_ms;
        if let FromLeader::CommitAndActivate { zxid, leader } = packet
            && let Some(feeder) = self.feeder()
        {
            feeder.will_activate(zxid, leader);
        }
        self.learn(wants, |learner, out| learner.heard(now_ms, packet, out));
    }

    /// The snapshot that the leader sent is taken, whole.
    pub fn installed(&mut self) {
        if let Part::Learning { learner, .. } = &mut self.part {
            learner.installed();
        }
    }

    /// The connection to the leader has ended.
    pub fn leader_lost(&mut self, wants: &mut Wants<'_>) {
        if let Part::Learning { leader, .. } = self.part {
            self.rest(Rest::NoConnection(leader), wants);
        }
    }

    /// What this member was to write does not fit on its disk. It looks again when there is room.
    pub fn disk_full(&mut self, wants: &mut Wants<'_>) {
        if !matches!(self.part, Part::Resting) {
            self.rest(Rest::DiskFull, wants);
        }
    }

    /// A learner connected to the quorum port. Whoever does not lead has nothing to say to it, and
    /// `false` means to close it; while a leader is looked for, it may wait.
    pub fn learner_connected(&mut self, now_ms: u64, link: LinkId) -> bool {
        match &mut self.part {
            Part::Leading(leader) => {
                leader.connected(now_ms, link);
                true
            }
            _ => false,
        }
    }

    /// Whether a learner that connects may find a leader here soon.
    #[must_use]
    pub fn may_lead_soon(&self) -> bool {
        matches!(self.part, Part::Looking | Part::Resting)
    }

    /// A learner's connection has ended.
    pub fn learner_lost(&mut self, link: LinkId) {
        match &mut self.part {
            Part::Leading(leader) => leader.disconnected(link),
            Part::Learning { feeder: Some(feeder), .. } => feeder.disconnected(link),
            _ => {}
        }
    }

    /// A learner said something.
    pub fn heard_learner<'a>(
        &mut self,
        now_ms: u64,
        link: LinkId,
        packet: FromLearner<'a>,
        wants: &mut Wants<'a>,
    ) {
        match self.feeder() {
            Some(feeder) => feeder.heard(now_ms, link, packet, &mut wants.lead),
            None => self.lead(wants, |leader, out| leader.heard(now_ms, link, packet, out)),
        }
    }

    /// Whether the log has what a learner needs ([`Lead::LookUp`]).
    pub fn looked_up(&mut self, link: LinkId, is_there: bool, wants: &mut Wants<'_>) {
        match self.feeder() {
            Some(feeder) => feeder.looked_up(link, is_there, &mut wants.lead),
            None => self.lead(wants, |leader, out| leader.looked_up(link, is_there, out)),
        }
    }

    /// The pipeline has made a txn.
    pub fn propose(&mut self, now_ms: u64, zxid: Zxid, wants: &mut Wants<'_>) {
        self.lead(wants, |leader, out| leader.propose(now_ms, zxid, out));
    }

    /// A sync of an own client, or of a learner's: answered when what was proposed is committed.
    pub fn sync(&mut self, link: Option<LinkId>, wants: &mut Wants<'_>) {
        self.lead(wants, |leader, out| leader.sync(link, out));
    }

    /// `acceptedEpoch` is on disk.
    pub fn accepted_written(&mut self, now_ms: u64, epoch: Epoch, wants: &mut Wants<'_>) {
        self.history.accepted_epoch = epoch;
        self.learn(wants, |learner, out| learner.accepted_written(out));
        self.lead(wants, |leader, out| leader.accepted_written(now_ms, out));
    }

    /// `currentEpoch` is on disk.
    pub fn current_written(&mut self, now_ms: u64, epoch: Epoch, wants: &mut Wants<'_>) {
        self.history.current_epoch = epoch;
        self.learn(wants, |learner, out| learner.current_written(out));
        self.lead(wants, |leader, out| leader.current_written(now_ms, out));
    }

    /// The log is on disk up to this zxid.
    pub fn logged(&mut self, zxid: Zxid, wants: &mut Wants<'_>) {
        self.learn(wants, |learner, out| learner.logged(zxid, out));
        self.lead(wants, |leader, out| leader.logged(zxid, out));
    }

    /// The log was cut ([`Learn::Truncate`]).
    pub fn truncated(&mut self, last: Option<Zxid>, wants: &mut Wants<'_>) {
        self.learn(wants, |learner, out| learner.truncated(last, out));
    }

    /// The snapshot that was taken is the history ([`Learn::Settle`]).
    pub fn settled(&mut self, wants: &mut Wants<'_>) {
        self.learn(wants, |learner, out| learner.settled(out));
    }

    /// Time has passed.
    pub fn tick(&mut self, now_ms: u64, wants: &mut Wants<'_>) {
        if matches!(self.part, Part::Looking) {
            self.election.tick(now_ms, &mut wants.elect);
            self.turn(now_ms, wants);
        }
        self.learn(wants, |learner, out| learner.tick(now_ms, out));
        self.lead(wants, |leader, out| leader.tick(now_ms, out));
        if let Some(feeder) = self.feeder() {
            feeder.tick(now_ms, &mut wants.lead);
        }
    }

    /// What it does, as four-letter words tell it.
    #[must_use]
    pub fn state(&self) -> ServerState {
        self.election.state()
    }

    /// Who leads, if this member has a leader.
    #[must_use]
    pub fn leader(&self) -> Option<Sid> {
        match &self.part {
            Part::Learning { leader, .. } => Some(*leader),
            Part::Leading(_) => Some(self.options.sid),
            Part::Resting | Part::Looking | Part::Joining(_) => None,
        }
    }

    /// Whether clients may be served.
    #[must_use]
    pub fn is_serving(&self) -> bool {
        match &self.part {
            Part::Learning { learner, .. } => learner.is_serving() && !self.history.is_damaged,
            Part::Leading(leader) => leader.is_leading(),
            Part::Resting | Part::Looking | Part::Joining(_) => false,
        }
    }

    /// The configurations that count.
    #[must_use]
    pub fn configs(&self) -> &Configs {
        self.election.configs()
    }

    /// Whether a quorum of a configuration follows this leader: only then may it be proposed.
    #[must_use]
    pub fn is_synced(&self, config: &Ensemble) -> bool {
        matches!(&self.part, Part::Leading(leader) if leader.is_synced(config))
    }

    /// The pipeline has made a txn that changes the configuration.
    pub fn reconfigure(
        &mut self,
        now_ms: u64,
        zxid: Zxid,
        config: Ensemble,
        wants: &mut Wants<'_>,
    ) {
        self.lead(wants, |leader, out| leader.reconfigure(now_ms, zxid, config, out));
    }

    /// Its number.
    #[must_use]
    pub fn sid(&self) -> Sid {
        self.options.sid
    }

    /// What it does under a leader.
    #[must_use]
    pub fn role(&self) -> Role {
        let me = self.configs().committed.members.get(&self.options.sid);
        me.map_or(self.options.role, |me| me.role)
    }

    fn rest(&mut self, why: Rest, wants: &mut Wants<'_>) {
        self.designated = match &why {
            Rest::Reconfigured(leader) => Some(*leader),
            Rest::SteppedDown(StepDown::NotDesignated(leader)) => Some(*leader),
            _ => None,
        };
        self.part = Part::Resting;
        self.mends = Mends::NotYet;
        wants.turn = Some(Turn::Rest(why));
    }

    /// Plays the part for which this member is elected.
    fn turn(&mut self, now_ms: u64, wants: &mut Wants<'_>) {
        if wants.elect.pop_if(|last| *last == Elect::Wiped).is_some() {
            self.history.is_damaged = true;
            self.part = Part::Joining(Sid::NOBODY);
            wants.turn = Some(Turn::JoinAnybody);
            return;
        }
        if wants.elect.pop_if(|last| *last == Elect::Outvoted).is_some() {
            if matches!(&self.part, Part::Leading(leader) if !leader.is_leading()) {
                self.rest(Rest::Outvoted, wants);
            }
            return;
        }
        let Some(Elect::Elected { state, leader }) =
            wants.elect.pop_if(|last| matches!(last, Elect::Elected { .. }))
        else {
            return;
        };
        if state != ServerState::Leading {
            self.part = Part::Joining(leader);
            wants.turn = Some(Turn::Join(leader));
            return;
        }
        let (own, window) = (self.incumbent(), self.history.window.iter().copied());
        let mut leader = Leader::new(now_ms, own, self.options.times, window, &mut wants.lead);
        leader.faults = self.faults;
        self.part = Part::Leading(Box::new(leader));
        wants.turn = Some(Turn::Reign);
        self.led(0, wants);
    }

    /// What it is to its learners.
    fn incumbent(&self) -> Incumbent {
        let history = &self.history;
        Incumbent {
            sid: self.options.sid,
            configs: self.configs().clone(),
            accepted_epoch: history.accepted_epoch,
            current_epoch: history.current_epoch,
            last_zxid: history.last_zxid,
            epoch_floor: self.options.epoch_floor,
            admits_strangers: self.options.admits_strangers,
            window: self.options.window,
            reconfig_enabled: self.options.accepts_configs,
        }
    }

    fn learn<'a>(
        &mut self,
        wants: &mut Wants<'a>,
        act: impl FnOnce(&mut Learner, &mut Vec<Learn<'a>>),
    ) {
        let Part::Learning { leader, learner, .. } = &mut self.part else { return };
        let (leader, before, was_serving) = (*leader, wants.learn.len(), learner.is_serving());
        act(learner, &mut wants.learn);
        let accepts = self.options.accepts_configs;
        let present = self.election.configs().committed.version;
        let is_wanted = |output: &Learn<'a>| match output {
            Learn::Proposed(_) => accepts,
            // One that counts already (Apache `QuorumPeer.setQuorumVerifier`).
            Learn::Activate { config, .. } => accepts && config.version > present,
            _ => true,
        };
        // What was wanted before may be long.
        let mut at = before;
        while let Some(output) = wants.learn.get(at) {
            if is_wanted(output) {
                at += 1;
            } else {
                wants.learn.remove(at);
            }
        }
        let applied = learner.applied();
        let served = wants.learn[before..].contains(&Learn::Serve);
        let (mut why, role) = (None, self.role());
        for output in &wants.learn[before..] {
            match output {
                Learn::Proposed(config) => self.election.configs_mut().propose(config.clone()),
                Learn::Activate { config, leader: designated } => {
                    self.election.configs_mut().activate(config.clone());
                    let leads = designated.unwrap_or(leader);
                    if leads != leader || self.role() != role {
                        why = Some(Rest::Reconfigured(leads));
                    }
                }
                Learn::Serve if self.history.is_damaged => self.mends = Mends::Asks,
                Learn::AnswerPing(last) => {
                    self.mends = self.mends.after(*last, self.heard_ms >= self.mends_from_ms);
                }
                Learn::Serve => {
                    self.wants_snapshot = false;
                    self.election.established(i64::from(self.history.current_epoch.0));
                }
                Learn::Leave(leave) => {
                    // It would be the same the next time.
                    let is_lasting = matches!(leave, Leave::Gap { .. } | Leave::CannotTruncate(_));
                    self.wants_snapshot |= is_lasting && !was_serving;
                    why = Some(Rest::Left(leave.clone()));
                }
                _ => {}
            }
        }
        if self.mends.has_enough(applied) {
            why = why.or(Some(Rest::Mended(leader)));
        }
        self.pass_on(before, wants);
        if let Some(why) = why {
            self.rest(why, wants);
        } else if served {
            self.begin_to_feed(applied);
        }
    }

    fn feeder(&mut self) -> Option<&mut Feeder> {
        match &mut self.part {
            Part::Learning { feeder, .. } => feeder.as_deref_mut(),
            _ => None,
        }
    }

    /// A follower that serves takes observers, if it is to.
    fn begin_to_feed(&mut self, applied: Zxid) {
        let is_follower = self.role() == Role::Participant && !self.history.is_damaged;
        let own = Incumbent { last_zxid: applied, ..self.incumbent() };
        if let Part::Learning { feeder, .. } = &mut self.part
            && self.options.feeds
            && is_follower
        {
            let mut feeds = Feeder::new(own, self.options.times);
            feeds.plant(self.faults);
            *feeder = Some(Box::new(feeds));
        }
    }

    /// What was learned goes on to observers, and what the leader answers to who has asked.
    fn pass_on(&mut self, before: usize, wants: &mut Wants<'_>) {
        let Wants { learn, lead, .. } = wants;
        let has_changed = learn[before..].iter().any(|it| matches!(it, Learn::Activate { .. }));
        let configs = has_changed.then(|| self.configs().clone());
        let Some(feeder) = self.feeder() else { return };
        let mut at = before;
        while at < learn.len() {
            let is_theirs = match &learn[at] {
                Learn::Synced => feeder.synced(lead),
                Learn::Revalidated { session, is_valid } => {
                    feeder.revalidated(*session, *is_valid, lead)
                }
                Learn::Apply(upto) => {
                    feeder.learned(*upto, lead);
                    false
                }
                Learn::Activate { .. } => {
                    if let Some(configs) = &configs {
                        feeder.reconfigured(configs.clone());
                    }
                    false
                }
                _ => false,
            };
            if is_theirs {
                learn.remove(at);
            } else {
                at += 1;
            }
        }
    }

    fn lead<'a>(
        &mut self,
        wants: &mut Wants<'a>,
        act: impl FnOnce(&mut Leader, &mut Vec<Lead<'a>>),
    ) {
        let Part::Leading(leader) = &mut self.part else { return };
        let before = wants.lead.len();
        act(leader, &mut wants.lead);
        self.led(before, wants);
    }

    /// Looks at what the leader wanted.
    fn led(&mut self, before: usize, wants: &mut Wants<'_>) {
        let mut why = None;
        for output in &wants.lead[before..] {
            match output {
                Lead::Proposed(config) => self.election.configs_mut().propose(config.clone()),
                Lead::Activate(config) | Lead::CommitAndActivate { config, .. } => {
                    self.election.configs_mut().activate(config.clone());
                }
                Lead::Lead(epoch) => self.election.established(i64::from(epoch.0)),
                Lead::StepDown(step_down) => why = Some(Rest::SteppedDown(*step_down)),
                _ => {}
            }
        }
        if let Some(why) = why {
            self.rest(why, wants);
        }
    }
}
