//! Fast leader election (quorum-protocol 2.4 to 2.7). Mirrors `FastLeaderElection`; differs in: the
//! end of an election needs no wait when nobody is left who could change it
//! ([`Election::refused`]), what comes during the last wait is counted like everything else, a
//! configuration that must not be installed does not begin the election anew, who looks again is no
//! longer counted among the followers of its old leader, who has no vote answers nobody (in
//! Apache's an observer and a voter can answer one another without end), and who is about to become
//! a voter does not stand in the way of one that all know (`Election::stands_back`).

mod ballot;
mod founding;
mod round;

pub use ballot::{Candidate, Standing};

use std::collections::{BTreeMap, BTreeSet};

use ballot::Heard;
use founding::Founding;
use round::{Round, is_established};
use zk_proto::election::{Notification, ServerState, VERSION_WITH_CONFIG};
use zk_proto::{Sid, Zxid};

use crate::{Configs, Ensemble, Role};

/// How long what takes, in ms.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ElectionTimes {
    /// `fastleader.minNotificationInterval`: the vote is told again after it.
    pub resend_min_ms: u64,
    /// `fastleader.maxNotificationInterval`: and after the double each time, up to this.
    pub resend_max_ms: u64,
    /// How long a better vote is waited for when a quorum agrees (`finalizeWait`).
    pub last_wait_ms: u64,
}

impl Default for ElectionTimes {
    fn default() -> ElectionTimes {
        ElectionTimes { resend_min_ms: 200, resend_max_ms: 60_000, last_wait_ms: 200 }
    }
}

/// After so many shortest pauses between votes (3 s) who is about to become a voter stands back.
const STAND_BACK: u64 = 15;
/// What it stands for then: anybody who has anything is better. It is not nothing: whoever is empty
/// counts those that are.
const LEAST: Standing = Standing { zxid: Zxid(1), epoch: 0 };

/// What an election wants done, in order.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Output {
    /// Tell a member something; the newest such message replaces one that has not left.
    Send {
        /// Whom.
        to: Sid,
        /// What.
        notification: Notification<'static>,
    },
    /// Dial every voter that there is no connection to.
    Dial,
    /// Install a newer configuration, durably, before anything else is carried out.
    Adopt(Ensemble),
    /// There is an ensemble already, and this member, which is empty, has lost what it had there:
    /// it has no vote. Nothing follows.
    Wiped,
    /// Too few of those that elected this member still want it, and it does not lead yet: look
    /// again. Nothing follows.
    Outvoted,
    /// It is over.
    Elected {
        /// What this member does now: not [`ServerState::Looking`].
        state: ServerState,
        /// Who leads.
        leader: Sid,
    },
}

/// One member's part in elections: the vote that it tells others, and the rounds in which it looks
/// for a leader.
///
/// The driver calls a method for everything that happens and carries out what was appended to the
/// outputs. Times are of one monotonic clock in ms. It stays in use while the member follows or
/// leads, to answer those that still look.
///
/// What is proposed in the name of this member ([`Standing`]) must be on its disk: the election is
/// about who has the longest history, and a member that names more than it can show after a crash
/// makes others throw theirs away (quorum-protocol 15.1, 15.4). A damaged or wiped member does not
/// take part under its own sid (rule R5).
#[derive(Clone, Debug)]
pub struct Election {
    me: Sid,
    role: Role,
    configs: Configs,
    accepts_configs: bool,
    times: ElectionTimes,
    /// The number of this member's round (`logicalclock`); in memory only.
    clock: i64,
    standing: Standing,
    /// Since when it looks, or stands back.
    since_ms: u64,
    /// It wants nobody's vote.
    is_back: bool,
    phase: Phase,
    /// Of an empty member: whether its ensemble is new.
    founding: Option<Founding>,
    /// Who elected this member, until it leads.
    backers: BTreeSet<Sid>,
    /// Who has no vote and was answered a moment ago: when, to what, and what it was told.
    answered: BTreeMap<Sid, (u64, Heard, Heard)>,
}

#[derive(Clone, Debug)]
enum Phase {
    Looking(Round),
    /// It follows or leads; the vote by which others may join.
    Settled(Heard),
}

impl Election {
    /// A member that begins to look for a leader. `role` is what it does when no configuration
    /// knows it (`peerType`); `accepts_configs` is `reconfigEnabled`.
    #[must_use]
    pub fn new(
        me: Sid,
        role: Role,
        configs: Configs,
        accepts_configs: bool,
        times: ElectionTimes,
    ) -> Election {
        let standing = Standing { zxid: Zxid::ZERO, epoch: 0 };
        let phase = Phase::Looking(Round::new(Candidate::NOBODY, 0, times.resend_min_ms));
        Election {
            me,
            role,
            configs,
            accepts_configs,
            times,
            clock: 0,
            standing,
            since_ms: 0,
            is_back: false,
            phase,
            founding: None,
            backers: BTreeSet::new(),
            answered: BTreeMap::new(),
        }
    }

    /// Begins a round: the member has no leader (any more).
    pub fn look(&mut self, now_ms: u64, standing: Standing, out: &mut Vec<Output>) {
        (self.founding, self.is_back) = (None, false);
        self.begin_round(now_ms, standing, out);
        self.judge(now_ms, out);
    }

    /// Somebody leads without an election: the ensemble was reconfigured.
    pub fn designate(&mut self, standing: Standing, leader: Sid, out: &mut Vec<Output>) {
        self.founding = None;
        self.standing = standing;
        self.settle(Candidate::new(leader, standing), out);
    }

    /// A new round, in which this member stands itself, if it has a vote.
    fn begin_round(&mut self, now_ms: u64, standing: Standing, out: &mut Vec<Output>) {
        self.clock += 1;
        self.backers.clear();
        (self.standing, self.since_ms) = (standing, now_ms);
        let own = match self.configs.is_voter(self.me) {
            true if self.is_back => Candidate::new(self.me, LEAST),
            true => Candidate::new(self.me, standing),
            false => Candidate::NOBODY,
        };
        self.phase = Phase::Looking(Round::new(own, now_ms, self.times.resend_min_ms));
        out.push(Output::Dial);
        self.tell_all(out);
    }

    /// Whether it has looked for long and is a voter of the proposed configuration alone. Those
    /// that have not heard of it cannot vote for this member, and where they are needed, nobody's
    /// quorum is complete as long as those that have heard of it do. What is committed is on a
    /// quorum of the old voters, so one of them may lead as well; this one begins a new round, in
    /// which everybody is better, and votes for them.
    fn stands_back(&self, now_ms: u64) -> bool {
        let is_new = self.configs.is_voter(self.me) && !self.configs.committed.is_voter(self.me);
        is_new
            && !self.is_back
            && self.founding.is_none()
            && now_ms >= self.since_ms + STAND_BACK * self.times.resend_min_ms
    }

    /// A member said something.
    pub fn heard(
        &mut self,
        now_ms: u64,
        from: Sid,
        notification: &Notification<'_>,
        out: &mut Vec<Output>,
    ) {
        let was_founding = self.founding.is_some();
        if from == self.me || self.adopts(now_ms, notification, out) && !was_founding {
            return;
        }
        if self.founding.is_some() {
            return self.heard_while_founding(now_ms, from, notification, out);
        }
        if self.is_behind(notification) && self.is_news(now_ms, from, notification) {
            self.tell(from, out);
        }
        if !self.configs.is_voter(from) {
            if self.is_news(now_ms, from, notification) {
                self.answer(from, out);
            }
            return;
        }
        let their_is_looking = notification.state == ServerState::Looking;
        let Phase::Looking(round) = &mut self.phase else {
            if their_is_looking {
                self.answer(from, out);
                self.reconsider(from, notification, out);
            }
            return;
        };
        round.is_there(from);
        if !self.configs.is_voter(notification.leader) {
            return;
        }
        match notification.state {
            ServerState::Looking => self.heard_looking(now_ms, from, notification, out),
            ServerState::Observing => {}
            ServerState::Following | ServerState::Leading => {
                self.heard_settled(from, notification, out);
            }
        }
    }

    /// A connection to this member is there: what the other side missed is told again.
    pub fn connected(&mut self, to: Sid, out: &mut Vec<Output>) {
        if let Phase::Looking(round) = &mut self.phase {
            round.is_there(to);
            self.tell(to, out);
        }
    }

    /// The connection to this member has ended: its vote is waited for only if it can be reached.
    /// Once in a round: it might end again and again.
    pub fn lost(&mut self, sid: Sid, out: &mut Vec<Output>) {
        if let Phase::Looking(round) = &mut self.phase
            && round.is_lost(sid)
            && self.configs.is_voter(sid)
        {
            out.push(Output::Dial);
        }
    }

    /// This member's host refused a connection: there is no such process, and so it takes no part
    /// in the round. When all others agree there is no vote to wait for (rule R7).
    pub fn refused(&mut self, now_ms: u64, sid: Sid, out: &mut Vec<Output>) {
        if let Phase::Looking(round) = &mut self.phase {
            round.is_gone(sid);
            self.judge(now_ms, out);
        }
    }

    /// One that elected this member wants a better one, which was not there before: without a
    /// quorum behind it, it would wait in vain for followers until `initLimit`.
    fn reconsider(&mut self, from: Sid, notification: &Notification<'_>, out: &mut Vec<Output>) {
        let Phase::Settled(vote) = &self.phase else { return };
        let their = Heard::of(notification);
        let wants_another = their.candidate > vote.candidate
            && their.election_epoch >= self.clock
            && self.configs.may_lead(their.candidate.leader);
        if wants_another && self.backers.remove(&from) && !self.configs.has_quorum(&self.backers) {
            self.backers.clear();
            out.push(Output::Outvoted);
        }
    }

    /// The leader's new epoch is established: those who join late are told it (ZOOKEEPER-1732).
    pub fn established(&mut self, epoch: i64) {
        if let Phase::Settled(vote) = &mut self.phase {
            vote.candidate.peer_epoch = epoch;
        }
        self.backers.clear();
    }

    /// The configurations that count.
    #[must_use]
    pub fn configs(&self) -> &Configs {
        &self.configs
    }

    /// The same, for a change otherwise than by [`Output::Adopt`].
    pub fn configs_mut(&mut self) -> &mut Configs {
        &mut self.configs
    }

    /// When [`Election::tick`] has something to do.
    #[must_use]
    pub fn next_tick_ms(&self) -> Option<u64> {
        match &self.phase {
            Phase::Looking(round) => Some(round.next_tick_ms()),
            Phase::Settled(_) => None,
        }
    }

    /// Time has passed.
    pub fn tick(&mut self, now_ms: u64, out: &mut Vec<Output>) {
        if matches!(self.phase, Phase::Looking(_)) && self.stands_back(now_ms) {
            self.is_back = true;
            self.begin_round(now_ms, self.standing, out);
            return self.judge(now_ms, out);
        }
        let Phase::Looking(round) = &mut self.phase else { return };
        if round.resends(now_ms, self.times.resend_max_ms) {
            out.push(Output::Dial);
            self.tell_all(out);
        } else if round.redials(now_ms) {
            out.push(Output::Dial);
        }
        self.judge(now_ms, out);
    }

    /// What this member does.
    #[must_use]
    pub fn state(&self) -> ServerState {
        match &self.phase {
            Phase::Looking(_) => ServerState::Looking,
            Phase::Settled(vote) => vote.state,
        }
    }

    /// Who leads, as far as this member knows.
    #[must_use]
    pub fn leader(&self) -> Option<Sid> {
        match &self.phase {
            Phase::Looking(_) => None,
            Phase::Settled(vote) => Some(vote.candidate.leader),
        }
    }

    /// What it does under this leader (`QuorumPeer.learningState`).
    fn state_under(&self, leader: Sid) -> ServerState {
        if leader == self.me {
            return ServerState::Leading;
        }
        match self.configs.committed.members.get(&self.me).map_or(self.role, |me| me.role) {
            Role::Participant => ServerState::Following,
            Role::Observer => ServerState::Observing,
        }
    }

    /// A newer configuration comes along with a vote: the election begins anew under it
    /// (quorum-protocol 2.7). Says whether it did.
    fn adopts(
        &mut self,
        now_ms: u64,
        notification: &Notification<'_>,
        out: &mut Vec<Output>,
    ) -> bool {
        if !matches!(self.phase, Phase::Looking(_)) {
            return false;
        }
        let (true, Some(text)) = (self.accepts_configs, &notification.config) else { return false };
        let committed = &self.configs.committed;
        // A configuration that cannot be read does no harm to the vote beside it.
        let Ok(config) = Ensemble::parse(text) else { return false };
        if config.version <= committed.version {
            return false;
        }
        let is_other = !config.is_same_as(committed);
        self.configs.committed = config.clone();
        out.push(Output::Adopt(config));
        match self.founding.is_some() {
            // Who is empty has no vote under any configuration before all others are empty.
            true if is_other => self.look_empty(now_ms, out),
            false if is_other => self.look(now_ms, self.standing, out),
            _ => {}
        }
        is_other
    }

    /// Whether one that looks for a leader among the members of an older configuration must hear of
    /// this one from a member without a vote: no voter of its own may be left.
    fn is_behind(&self, notification: &Notification<'_>) -> bool {
        let is_asked = self.accepts_configs && notification.state == ServerState::Looking;
        is_asked
            && !self.configs.is_voter(self.me)
            && notification.config.as_deref().is_some_and(|text| {
                let theirs = Ensemble::parse(text);
                theirs.is_ok_and(|theirs| theirs.version < self.configs.committed.version)
            })
    }

    fn heard_looking(
        &mut self,
        now_ms: u64,
        from: Sid,
        notification: &Notification<'_>,
        out: &mut Vec<Output>,
    ) {
        let Phase::Looking(round) = &mut self.phase else { return };
        let their = Heard::of(notification);
        round.elsewhere.remove(&from);
        if their.election_epoch < self.clock {
            self.answer(from, out);
            return;
        }
        if round.own.is_unusable() || their.candidate.is_unusable() {
            return;
        }
        let is_later = their.election_epoch > self.clock;
        let best = if is_later { round.own } else { round.proposal };
        let is_better = their.candidate > best && self.configs.may_lead(their.candidate.leader);
        let proposal = if is_better { their.candidate } else { best };
        if is_later {
            self.clock = their.election_epoch;
            round.restart(proposal);
        } else if is_better {
            round.propose(proposal);
        }
        round.votes.insert(from, their);
        if is_later || is_better {
            self.tell_all(out);
        }
        self.judge(now_ms, out);
    }

    /// Somebody has a leader already: it is joined when a quorum follows it and it says itself that
    /// it leads.
    fn heard_settled(&mut self, from: Sid, notification: &Notification<'_>, out: &mut Vec<Output>) {
        let Phase::Looking(round) = &mut self.phase else { return };
        let their = Heard::of(notification);
        round.elsewhere.insert(from, their);
        let (me, clock, configs) = (self.me, self.clock, &self.configs);
        let is_same_round = their.election_epoch == clock;
        if is_same_round {
            round.votes.insert(from, Heard { has_version: false, ..their });
        }
        if is_same_round && is_established(&round.votes, &their, configs, me, clock)
            || is_established(&round.elsewhere, &their, configs, me, clock)
        {
            self.clock = their.election_epoch;
            self.settle(their.candidate, out);
        }
    }

    /// Ends the round if its proposal has won.
    fn judge(&mut self, now_ms: u64, out: &mut Vec<Output>) {
        let Phase::Looking(round) = &mut self.phase else { return };
        if self.founding.is_some() {
            return;
        }
        let mine = Heard::proposal(round.proposal, self.clock);
        if self.configs.is_voter(self.me) {
            round.votes.insert(self.me, mine);
        }
        if round.is_won(now_ms, &mine, &self.configs, self.times.last_wait_ms) {
            let winner = round.proposal;
            self.settle(winner, out);
        }
    }

    fn settle(&mut self, candidate: Candidate, out: &mut Vec<Output>) {
        let (state, leader) = (self.state_under(candidate.leader), candidate.leader);
        let election_epoch = self.clock;
        self.backers = match &self.phase {
            Phase::Looking(round) if leader == self.me => round.backers(candidate, election_epoch),
            _ => BTreeSet::new(),
        };
        self.phase = Phase::Settled(Heard { candidate, election_epoch, state, has_version: true });
        out.push(Output::Elected { state, leader });
    }

    fn tell_all(&self, out: &mut Vec<Output>) {
        for to in self.configs.voters().into_iter().filter(|sid| *sid != self.me) {
            self.tell(to, out);
        }
    }

    /// Whether one that has no vote here has said something else than a moment ago, or would be
    /// told something else. It may think that it votes and this member does not: then each would
    /// answer the other, as fast as the network lets them.
    fn is_news(&mut self, now_ms: u64, from: Sid, notification: &Notification<'_>) -> bool {
        let pause_ms = self.times.resend_min_ms / 2;
        self.answered.retain(|_, (at_ms, ..)| now_ms < *at_ms + pause_ms);
        let (theirs, mine) = (Heard::of(notification), self.vote());
        let is_same = self.answered.get(&from).is_some_and(|(_, a, b)| (*a, *b) == (theirs, mine));
        if !is_same {
            self.answered.insert(from, (now_ms, theirs, mine));
        }
        !is_same
    }

    /// What this member tells.
    fn vote(&self) -> Heard {
        match &self.phase {
            Phase::Looking(round) => Heard::proposal(round.proposal, self.clock),
            Phase::Settled(vote) => *vote,
        }
    }

    /// Answers one that has spoken. Voters answer whatever a member without a vote says: if that
    /// one answered too, the two would never stop.
    fn answer(&self, to: Sid, out: &mut Vec<Output>) {
        if self.configs.is_voter(self.me) {
            self.tell(to, out);
        }
    }

    /// Tells one member this one's vote, round and configuration.
    fn tell(&self, to: Sid, out: &mut Vec<Output>) {
        let vote = self.vote();
        let notification = Notification {
            state: vote.state,
            leader: vote.candidate.leader,
            zxid: vote.candidate.zxid,
            election_epoch: vote.election_epoch,
            peer_epoch: vote.candidate.peer_epoch,
            version: VERSION_WITH_CONFIG,
            config: Some(self.configs.committed.to_string().into()),
        };
        out.push(Output::Send { to, notification });
    }
}
