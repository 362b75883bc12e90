//! A driver for one member.

use std::collections::BTreeMap;

use zk_proto::election::ServerState;
use zk_proto::quorum::{FromLeader, FromLearner, Touched};
use zk_proto::{Epoch, Limits, Sid, Zxid};
use zk_zab::election::{ElectionTimes, Output as Elect};
use zk_zab::leader::{LeaderTimes, LinkId, Output as Lead, Plan};
use zk_zab::learner::Output as Learn;
use zk_zab::peer::{History, Peer, PeerOptions, Rest, Turn, Wants, ZabState};
use zk_zab::{Configs, Ensemble, Role};

use super::Message;
use super::disk::{Disk, Io, Txn};
use super::view::{Branch, MemberView, marks};

const TIMES: LeaderTimes = LeaderTimes { tick_ms: 100, init_ms: 1000, sync_ms: 500 };

/// A learner dials so often, so many ms apart, before it looks again.
const DIALS: u32 = 5;
const REDIAL_MS: u64 = 100;
/// And so long, where nobody answers.
const PATIENCE_MS: u64 = 300;

/// What a member does to the world.
pub enum Effect {
    Send(Sid, Message),
    /// It dials the quorum port of this one.
    Join(Sid),
    /// It dials everybody: who is dead refuses.
    Probe,
    /// It leads in an epoch, with this history.
    Leads(i32, Vec<Txn>),
    /// It commits or serves these.
    Committed(Vec<Txn>),
    /// It was damaged, and votes again with this history.
    Mended(Vec<Txn>),
    /// It proposes this one.
    Broadcast(Txn),
    /// These are no part of its history any more.
    Cut(Vec<Txn>),
    /// Something happens that should not.
    Odd(Branch, String),
}

pub struct Member {
    pub sid: Sid,
    pub disk: Disk,
    /// `None` while it is down.
    peer: Option<Peer>,
    part: Part,
    /// When it looks again: at once it would be as busy as the network lets it be.
    look_ms: Option<u64>,
    /// Connections that came while it was not known who leads.
    waiting: Vec<(Sid, LinkId)>,
    /// What it has delivered since it started.
    delivered: Vec<Txn>,
    /// What is wrong with its machines.
    #[cfg(feature = "planted")]
    pub fault: Option<zk_zab::Planted>,
}

/// What it does.
enum Part {
    Looking,
    /// It dials somebody, for the how many-th time, and again at that time.
    Joining {
        leader: Sid,
        dials: u32,
        redial_ms: Option<u64>,
        link: LinkId,
    },
    Learning(Box<Following>),
    Leading(Box<Reign>),
}

struct Following {
    leader: Sid,
    link: LinkId,
    /// The snapshot that is taken, beside the log.
    staged: Option<Vec<Txn>>,
    /// Appended, on disk or not.
    log: Vec<Txn>,
    /// How far it was told to apply.
    applied: Zxid,
    is_serving: bool,
}

struct Reign {
    links: BTreeMap<LinkId, Sid>,
    /// All of its history, on disk or not.
    log: Vec<Txn>,
    committed: Zxid,
    epoch: Option<Epoch>,
    /// What each learner has acknowledged last.
    acked: BTreeMap<LinkId, Zxid>,
}

impl Member {
    pub fn new(sid: Sid, configs: &Configs) -> Member {
        Member {
            sid,
            disk: Disk::new(configs.clone()),
            peer: None,
            part: Part::Looking,
            look_ms: None,
            waiting: Vec::new(),
            delivered: Vec::new(),
            #[cfg(feature = "planted")]
            fault: None,
        }
    }

    /// What an invariant may see of it.
    pub fn view(&self) -> MemberView {
        let peer = self.peer.as_ref();
        let leader = peer.and_then(Peer::leader).filter(|_| !self.disk.is_damaged);
        let (learners, history) = match &self.part {
            Part::Leading(reign) => (reign.links.values().copied().collect(), marks(&reign.log)),
            _ => (Default::default(), self.disk.history()),
        };
        MemberView {
            state: peer
                .filter(|_| leader.is_some())
                .map_or(ServerState::Looking, |peer| peer.state()),
            zab_state: peer
                .filter(|_| leader.is_some())
                .map_or(ZabState::Election, |peer| peer.zab_state()),
            leader,
            learners,
            accepted: self.disk.accepted,
            current: self.disk.current,
            history,
            logged: self.disk.history(),
            delivered: marks(&self.delivered),
        }
    }

    pub fn is_up(&self) -> bool {
        self.peer.is_some()
    }

    pub fn leads(&self) -> bool {
        self.serves_under() == Some(self.sid)
    }

    pub fn serves_under(&self) -> Option<Sid> {
        self.peer.as_ref().filter(|peer| peer.is_serving()).and_then(Peer::leader)
    }

    /// For a look at what went wrong.
    pub fn describe(&self) -> String {
        let Configs { committed, proposed } = &self.disk.configs;
        format!(
            "{} {:?} under {:?}, last {}, {} damaged: {}\n{committed}\nproposed {}",
            self.sid,
            self.peer.as_ref().map(Peer::state),
            self.serves_under(),
            self.disk.last(),
            self.disk.current.0,
            self.disk.is_damaged,
            proposed.as_ref().map_or(String::new(), Ensemble::to_string),
        )
    }

    pub fn has_work(&self) -> bool {
        self.disk.has_work()
    }

    /// Starts if it is down.
    pub fn start(&mut self, now_ms: u64) -> Vec<Effect> {
        if self.is_up() {
            return Vec::new();
        }
        let options = PeerOptions {
            sid: self.sid,
            role: Role::Observer,
            accepts_configs: true,
            election: ElectionTimes::default(),
            times: TIMES,
            epoch_floor: Epoch(0),
            admits_strangers: true,
            window: 4,
            feeds: false,
        };
        let peer = self.peer.insert(Peer::new(options, self.disk.configs.clone()));
        #[cfg(feature = "planted")]
        if let Some(fault) = self.fault {
            peer.plant(fault);
        }
        let _ = peer;
        self.look(now_ms)
    }

    pub fn crash(&mut self, kept: usize) -> bool {
        let was_up = self.peer.take().is_some();
        self.waiting.clear();
        self.delivered.clear();
        self.look_ms = None;
        self.part = Part::Looking;
        self.disk.crash(kept);
        was_up
    }

    /// Everything on its disk is gone.
    pub fn wipe(&mut self) {
        // Configurations are in other files.
        let configs = std::mem::take(&mut self.disk.configs);
        self.disk = Disk::new(configs);
    }

    /// Looks for a leader; whatever is on its way to the disk gets there first.
    fn look(&mut self, now_ms: u64) -> Vec<Effect> {
        self.look_ms = None;
        while self.disk.complete(0).is_some() {}
        self.part = Part::Looking;
        let history = History {
            accepted_epoch: self.disk.accepted,
            current_epoch: self.disk.current,
            last_zxid: self.disk.last(),
            // A short window, so that the log is looked at too.
            window: self.disk.log.iter().rev().take(4).rev().map(|txn| txn.zxid).collect(),
            is_damaged: self.disk.is_damaged,
            is_empty: self.disk.is_empty(),
        };
        self.with(now_ms, |peer, wants| peer.look(now_ms, history, wants))
    }

    /// Lets the machines do something, and carries out what they want.
    fn with<'a>(
        &mut self,
        now_ms: u64,
        act: impl FnOnce(&mut Peer, &mut Wants<'a>),
    ) -> Vec<Effect> {
        let Some(peer) = &mut self.peer else { return Vec::new() };
        let mut wants = Wants::default();
        act(peer, &mut wants);
        let Wants { elect, learn, lead, turn } = wants;
        let mut effects = Vec::new();
        for output in elect {
            match output {
                Elect::Send { to, notification } => {
                    effects.push(Effect::Send(to, Message::Vote(notification)));
                }
                Elect::Dial => effects.push(Effect::Probe),
                Elect::Adopt(config) => self.disk.configs.committed = config,
                Elect::Outvoted | Elect::Elected { .. } | Elect::Wiped => {}
            }
        }
        // It leads from now on, and its first wishes are those of a leader.
        if turn == Some(Turn::Reign) {
            let (log, committed) = (self.disk.log.clone(), self.disk.last());
            let (links, acked) = Default::default();
            let reign = Reign { links, log, committed, epoch: None, acked };
            self.part = Part::Leading(Box::new(reign));
        }
        self.follow(learn, &mut effects);
        self.reign(now_ms, lead, &mut effects);
        match turn {
            Some(Turn::Reign) => {
                for (from, link) in std::mem::take(&mut self.waiting) {
                    effects.extend(self.receive(now_ms, from, Message::Dial(link)));
                }
            }
            Some(turn) => {
                for (from, link) in std::mem::take(&mut self.waiting) {
                    effects.push(Effect::Send(from, Message::Refused(link)));
                }
                effects.extend(self.take(now_ms, turn));
            }
            None => {}
        }
        effects
    }

    fn take(&mut self, now_ms: u64, turn: Turn) -> Vec<Effect> {
        let join = |leader| {
            let (dials, redial_ms, link) = (0, Some(now_ms), LinkId(0));
            Part::Joining { leader, dials, redial_ms, link }
        };
        match turn {
            Turn::Join(leader) => {
                self.part = join(leader);
                vec![Effect::Join(leader)]
            }
            Turn::JoinAnybody => {
                // Before it writes anything that would look like a part in the ensemble.
                self.disk.is_damaged = true;
                self.part = join(self.other(0));
                vec![Effect::Join(self.other(0))]
            }
            Turn::Reign => Vec::new(),
            Turn::Rest(why) => {
                let mut effects = self.close_all();
                if let Rest::Mended(_) = why {
                    while self.disk.complete(0).is_some() {}
                    self.disk.is_damaged = false;
                    effects.push(Effect::Mended(self.disk.log.clone()));
                }
                self.look_ms = Some(now_ms + REDIAL_MS);
                effects
            }
        }
    }

    /// The n-th of the other members.
    fn other(&self, n: u32) -> Sid {
        let members = self.disk.configs.all().flat_map(|config| config.members.keys().copied());
        let others: Vec<_> = members.filter(|sid| *sid != self.sid).collect();
        others.get(n as usize % others.len().max(1)).copied().unwrap_or(self.sid)
    }

    fn close_all(&mut self) -> Vec<Effect> {
        match std::mem::replace(&mut self.part, Part::Looking) {
            Part::Learning(it) => vec![Effect::Send(it.leader, Message::Closed(it.link))],
            Part::Leading(reign) => {
                let links = reign.links.into_iter();
                links.map(|(link, sid)| Effect::Send(sid, Message::Closed(link))).collect()
            }
            Part::Looking | Part::Joining { .. } => Vec::new(),
        }
    }

    /// It dials on a new connection.
    pub fn dial(&mut self, now_ms: u64, leader: Sid, new: LinkId) -> Vec<Effect> {
        match &mut self.part {
            Part::Joining { leader: wanted, link, redial_ms, .. } if *wanted == leader => {
                (*link, *redial_ms) = (new, Some(now_ms + PATIENCE_MS));
                vec![Effect::Send(leader, Message::Dial(new))]
            }
            _ => Vec::new(),
        }
    }

    pub fn tick(&mut self, now_ms: u64) -> Vec<Effect> {
        if self.is_up() && self.look_ms.is_some_and(|at| now_ms >= at) {
            return self.look(now_ms);
        }
        match &mut self.part {
            Part::Joining { dials, redial_ms, .. } if redial_ms.is_some_and(|at| now_ms >= at) => {
                *dials += 1;
                *redial_ms = Some(now_ms + REDIAL_MS);
                let dials = *dials;
                if dials % DIALS == 0 {
                    return self.with(now_ms, |peer, wants| peer.unreachable(wants));
                }
                let other = self.other(dials);
                let Part::Joining { leader, .. } = &mut self.part else { return Vec::new() };
                if self.disk.is_damaged {
                    *leader = other;
                }
                vec![Effect::Join(*leader)]
            }
            _ => self.with(now_ms, |peer, wants| peer.tick(now_ms, wants)),
        }
    }

    pub fn refused(&mut self, now_ms: u64, other: Sid) -> Vec<Effect> {
        self.with(now_ms, |peer, wants| peer.vote_refused(now_ms, other, wants))
    }

    /// A new connection on the election port.
    pub fn reconnected(&mut self, other: Sid) -> Vec<Effect> {
        self.with(0, |peer, wants| peer.vote_connected(other, wants))
    }

    /// The connection to another member broke.
    pub fn lost(&mut self, now_ms: u64, other: Sid) -> Vec<Effect> {
        self.waiting.retain(|(from, _)| *from != other);
        match &mut self.part {
            Part::Learning(following) if following.leader == other => {
                self.with(now_ms, |peer, wants| peer.leader_lost(wants))
            }
            Part::Joining { leader, redial_ms, .. } if *leader == other => {
                *redial_ms = Some(now_ms + REDIAL_MS);
                Vec::new()
            }
            Part::Leading(reign) => {
                let links = reign.links.extract_if(.., |_, sid| *sid == other);
                let gone: Vec<_> = links.map(|(link, _)| link).collect();
                self.with(now_ms, |peer, _| gone.iter().for_each(|link| peer.learner_lost(*link)))
            }
            _ => Vec::new(),
        }
    }

    pub fn receive(&mut self, now_ms: u64, from: Sid, message: Message) -> Vec<Effect> {
        let Some(peer) = &mut self.peer else { return Vec::new() };
        match (message, &mut self.part) {
            (Message::Vote(notification), _) => {
                self.with(now_ms, |peer, wants| peer.heard_vote(now_ms, from, &notification, wants))
            }
            (Message::Dial(link), Part::Leading(reign)) => {
                reign.links.insert(link, from);
                let there = peer.learner_connected(now_ms, link);
                assert!(there, "it leads");
                vec![Effect::Send(from, Message::Welcome(link))]
            }
            (Message::Dial(link), _) if peer.may_lead_soon() => {
                self.waiting.push((from, link));
                Vec::new()
            }
            // Nobody listens there yet, or any more.
            (Message::Dial(link) | Message::ToLeader(link, _), Part::Looking)
            | (
                Message::Dial(link) | Message::ToLeader(link, _),
                Part::Learning(_) | Part::Joining { .. },
            ) => {
                vec![Effect::Send(from, Message::Refused(link))]
            }
            (Message::ToLeader(link, bytes), Part::Leading(_)) => {
                self.hear_learner(now_ms, link, &bytes)
            }
            (Message::Welcome(link), Part::Joining { link: dialled, leader, .. })
                if *dialled == link =>
            {
                let (leader, log) = (*leader, self.disk.log.clone());
                let (staged, applied, is_serving) = (None, self.disk.last(), false);
                let following = Following { leader, link, staged, log, applied, is_serving };
                self.part = Part::Learning(Box::new(following));
                self.with(now_ms, |peer, wants| peer.joined(now_ms, leader, wants))
            }
            (Message::ToLearner(link, bytes), Part::Learning(following))
                if following.link == link =>
            {
                self.hear_leader(now_ms, &bytes)
            }
            (Message::Snapshot(link, txns), Part::Learning(following))
                if following.link == link =>
            {
                following.log = txns.clone();
                following.staged = Some(txns);
                peer.installed();
                Vec::new()
            }
            (Message::Closed(link), Part::Leading(reign)) => {
                reign.links.remove(&link);
                peer.learner_lost(link);
                Vec::new()
            }
            (Message::Refused(link), Part::Joining { link: dialled, redial_ms, .. })
                if *dialled == link =>
            {
                *redial_ms = Some(now_ms + REDIAL_MS);
                Vec::new()
            }
            (Message::Closed(link) | Message::Refused(link), Part::Learning(following))
                if following.link == link =>
            {
                self.with(now_ms, |peer, wants| peer.leader_lost(wants))
            }
            _ => Vec::new(),
        }
    }

    fn hear_leader(&mut self, now_ms: u64, bytes: &[u8]) -> Vec<Effect> {
        let packet = FromLeader::read(bytes, Limits::NONE).unwrap().unwrap().0;
        let mut effects = Vec::new();
        // The connection is read again when the log is cut.
        while self.disk.is_cutting() {
            effects.extend(self.complete(now_ms, 1));
        }
        effects.extend(self.with(now_ms, |peer, wants| peer.heard_leader(now_ms, packet, wants)));
        effects
    }

    fn hear_learner(&mut self, now_ms: u64, link: LinkId, bytes: &[u8]) -> Vec<Effect> {
        let Part::Leading(reign) = &mut self.part else { return Vec::new() };
        let packet = FromLearner::read(bytes, Limits::NONE).unwrap().unwrap().0;
        let odd = reign.odd_ack(link, &packet, self.disk.current);
        let mut effects =
            self.with(now_ms, |peer, wants| peer.heard_learner(now_ms, link, packet, wants));
        effects.extend(odd.map(|what| Effect::Odd(Branch::Ack, what)));
        effects
    }

    /// A client writes.
    pub fn propose(&mut self, now_ms: u64, tag: u64) -> Vec<Effect> {
        let Some(zxid) = self.next_zxid() else { return Vec::new() };
        let mut effects = self.append(Txn { zxid, tag, config: None });
        effects.extend(self.with(now_ms, |peer, wants| peer.propose(now_ms, zxid, wants)));
        effects
    }

    /// Somebody changes who votes, if that can be done now.
    pub fn reconfigure(&mut self, now_ms: u64, tag: u64, mut config: Ensemble) -> Vec<Effect> {
        let Some(zxid) = self.next_zxid() else { return Vec::new() };
        let is_free = self.disk.configs.proposed.is_none();
        if !is_free || !self.peer.as_ref().is_some_and(|peer| peer.is_synced(&config)) {
            return Vec::new();
        }
        config.version = zxid.0;
        let mut effects = self.append(Txn { zxid, tag, config: Some(config.to_string()) });
        let act = |peer: &mut Peer, wants: &mut _| peer.reconfigure(now_ms, zxid, config, wants);
        effects.extend(self.with(now_ms, act));
        effects
    }

    /// The zxid of the next txn, if this one leads.
    fn next_zxid(&self) -> Option<Zxid> {
        let (true, Part::Leading(reign)) = (self.leads(), &self.part) else { return None };
        let epoch = reign.epoch?;
        let last = reign.log.last().map_or(Zxid::ZERO, |txn| txn.zxid);
        Some(if last.epoch() == epoch { last.next() } else { Zxid::new(epoch, 1) })
    }

    fn append(&mut self, txn: Txn) -> Vec<Effect> {
        let Part::Leading(reign) = &mut self.part else { return Vec::new() };
        reign.log.push(txn.clone());
        self.disk.begin(Io::Append(txn.clone()));
        vec![Effect::Broadcast(txn)]
    }

    /// The disk has done the oldest thing.
    pub fn complete(&mut self, now_ms: u64, file: usize) -> Vec<Effect> {
        let before = self.disk.log.clone();
        let Some(io) = self.disk.complete(file) else { return Vec::new() };
        let (last, log) = (self.disk.last(), &self.disk.log);
        let cut = before.into_iter().filter(|txn| !log.contains(txn)).collect();
        let mut effects = vec![Effect::Cut(cut)];
        if let (Io::Truncate(wanted), Part::Learning(following)) = (&io, &mut self.part) {
            following.log.clone_from(log);
            following.applied = last;
            if last != *wanted {
                effects.push(Effect::Odd(Branch::Proposal, format!("TRUNC {wanted}: {last}")));
            }
        }
        effects.extend(self.with(now_ms, |peer, wants| match io {
            Io::Accepted(epoch) => peer.accepted_written(now_ms, epoch, wants),
            Io::Current(epoch) => peer.current_written(now_ms, epoch, wants),
            Io::Append(txn) => peer.logged(txn.zxid, wants),
            Io::Settle(_) => peer.settled(wants),
            Io::Truncate(_) => peer.truncated(Some(last), wants),
        }));
        effects
    }

    /// Carries out what the learner wants.
    fn follow(&mut self, out: Vec<Learn<'_>>, effects: &mut Vec<Effect>) {
        for output in out {
            let Part::Learning(following) = &mut self.part else { break };
            let (leader, link) = (following.leader, following.link);
            let send = |packet: FromLearner<'_>| {
                let mut bytes = Vec::new();
                packet.put(&mut bytes);
                Effect::Send(leader, Message::ToLeader(link, bytes))
            };
            match output {
                Learn::Send(packet) => effects.push(send(packet)),
                Learn::AnswerPing(zxid) => {
                    effects.push(send(FromLearner::Ping { zxid, touched: Touched::default() }));
                }
                Learn::WriteAccepted(epoch) => self.disk.begin(Io::Accepted(epoch)),
                Learn::WriteCurrent(epoch) => self.disk.begin(Io::Current(epoch)),
                Learn::Truncate(zxid) => self.disk.begin(Io::Truncate(zxid)),
                Learn::Install(zxid) => following.applied = zxid,
                Learn::Settle => {
                    let staged = following.staged.take().unwrap_or_default();
                    following.applied = staged.last().map_or(Zxid::ZERO, |txn| txn.zxid);
                    following.log = staged.clone();
                    self.disk.begin(Io::Settle(staged));
                }
                Learn::Append { txn, .. } => {
                    let txn = Txn::read(&txn);
                    following.log.push(txn.clone());
                    self.disk.begin(Io::Append(txn));
                }
                Learn::Apply(zxid) => {
                    following.applied = zxid;
                    if following.is_serving {
                        self.delivered = upto(&following.log, zxid);
                        effects.push(Effect::Committed(self.delivered.clone()));
                    }
                }
                // Now it is known that a quorum has what came before.
                Learn::Serve => {
                    following.is_serving = true;
                    self.delivered = upto(&following.log, following.applied);
                    effects.push(Effect::Committed(self.delivered.clone()));
                }
                Learn::Leave(leave) => {
                    let branch = Branch::of_leave(&leave);
                    effects.extend(branch.map(|branch| Effect::Odd(branch, leave.to_string())));
                }
                Learn::Proposed(config) => self.disk.configs.propose(config),
                Learn::Activate { config, .. } => self.disk.configs.activate(config),
                _ => {}
            }
        }
    }

    /// Carries out what the leader wants.
    fn reign(&mut self, now_ms: u64, out: Vec<Lead<'_>>, effects: &mut Vec<Effect>) {
        let mut looked_up = Vec::new();
        for output in out {
            let Part::Leading(reign) = &mut self.part else { break };
            match output {
                Lead::Send { to, packet } => effects.extend(reign.send(to, &packet)),
                Lead::Close { link, why } => {
                    let branch = Branch::of_refusal(&why);
                    effects.extend(branch.map(|branch| Effect::Odd(branch, why.to_string())));
                    if let Some(sid) = reign.links.remove(&link) {
                        effects.push(Effect::Send(sid, Message::Closed(link)));
                    }
                }
                Lead::WriteAccepted(epoch) => self.disk.begin(Io::Accepted(epoch)),
                Lead::WriteCurrent(epoch) => self.disk.begin(Io::Current(epoch)),
                Lead::LookUp { link, zxid } => {
                    looked_up.push((link, reign.log.iter().any(|txn| txn.zxid == zxid)));
                }
                Lead::Synchronize { link, plan } => effects.extend(reign.synchronize(link, plan)),
                Lead::Lead(epoch) => {
                    reign.epoch = Some(epoch);
                    self.delivered.clone_from(&reign.log);
                    effects.push(Effect::Leads(epoch.0, reign.log.clone()));
                }
                Lead::Propose { zxid, to } => {
                    let txn = reign.txn(zxid);
                    for link in to.iter() {
                        effects
                            .extend(reign.send(*link, &FromLeader::Proposal { zxid, txn: &txn }));
                    }
                }
                Lead::Commit { zxid, followers, observers } => {
                    effects.extend(reign.commit(zxid, &followers, &observers, None));
                    self.delivered = upto(&reign.log, zxid);
                }
                Lead::Proposed(config) => self.disk.configs.propose(config),
                Lead::Activate(config) => self.disk.configs.activate(config),
                Lead::CommitAndActivate { zxid, config, leader, followers, observers } => {
                    self.disk.configs.activate(config);
                    effects.extend(reign.commit(zxid, &followers, &observers, Some(leader)));
                    self.delivered = upto(&reign.log, zxid);
                }
                _ => {}
            }
        }
        for (link, is_there) in looked_up {
            effects.extend(self.with(now_ms, |peer, wants| peer.looked_up(link, is_there, wants)));
        }
    }
}

impl Reign {
    /// Tells everybody that a txn is committed, and with a leader that its configuration counts.
    fn commit(
        &mut self,
        zxid: Zxid,
        followers: &[LinkId],
        observers: &[LinkId],
        leader: Option<Sid>,
    ) -> Vec<Effect> {
        self.committed = zxid;
        let mut effects = vec![Effect::Committed(upto(&self.log, zxid))];
        let txn = self.txn(zxid);
        let commit = match leader {
            Some(leader) => FromLeader::CommitAndActivate { zxid, leader },
            None => FromLeader::Commit(zxid),
        };
        effects.extend(followers.iter().filter_map(|link| self.send(*link, &commit)));
        let inform = match leader {
            Some(leader) => FromLeader::InformAndActivate { zxid, leader, txn: &txn },
            None => FromLeader::Inform { zxid, txn: &txn },
        };
        effects.extend(observers.iter().filter_map(|link| self.send(*link, &inform)));
        effects
    }

    /// An ACK must be that of NEWLEADER, or of the proposal behind the last one that this learner
    /// has acknowledged.
    fn odd_ack(&mut self, link: LinkId, packet: &FromLearner<'_>, epoch: Epoch) -> Option<String> {
        let (FromLearner::Ack(zxid), true) = (packet, self.links.contains_key(&link)) else {
            return None;
        };
        if zxid.counter() == 0 {
            return (zxid.epoch() != epoch).then(|| format!("ACK of {zxid} in {}", epoch.0));
        }
        let at = |zxid: Zxid| self.log.iter().position(|txn| txn.zxid == zxid);
        let (before, now) = (self.acked.get(&link).copied(), at(*zxid));
        let follows = before.is_none_or(|before| at(before).map(|at| at + 1) == now);
        self.acked.insert(link, *zxid);
        (now.is_none() || !follows).then(|| format!("ACK of {zxid} behind {before:?}"))
    }

    fn txn(&self, zxid: Zxid) -> Vec<u8> {
        self.log.iter().find(|txn| txn.zxid == zxid).unwrap().to_bytes()
    }

    fn send(&self, to: LinkId, packet: &FromLeader<'_>) -> Option<Effect> {
        let mut bytes = Vec::new();
        packet.put(&mut bytes);
        self.links.get(&to).map(|sid| Effect::Send(*sid, Message::ToLearner(to, bytes)))
    }

    /// Sends the history: a snapshot of what is committed, or what is committed behind a zxid.
    fn synchronize(&self, link: LinkId, plan: Plan) -> Vec<Effect> {
        let committed = upto(&self.log, self.committed);
        let (first, after) = match plan {
            Plan::Window(after) | Plan::Log(after) => (FromLeader::Diff(self.committed), after),
            Plan::Trunc(zxid) => (FromLeader::Trunc(zxid), zxid),
            Plan::Snap => {
                let snapshot = Message::Snapshot(link, committed);
                let snap = self.send(link, &FromLeader::Snap(self.committed));
                let sid = self.links.get(&link);
                return snap
                    .into_iter()
                    .chain(sid.map(|sid| Effect::Send(*sid, snapshot)))
                    .collect();
            }
        };
        let mut effects: Vec<Effect> = self.send(link, &first).into_iter().collect();
        for txn in committed.iter().filter(|txn| txn.zxid > after) {
            let (zxid, bytes) = (txn.zxid, txn.to_bytes());
            effects.extend(self.send(link, &FromLeader::Proposal { zxid, txn: &bytes }));
            effects.extend(self.send(link, &FromLeader::Commit(zxid)));
        }
        effects
    }
}

fn upto(log: &[Txn], zxid: Zxid) -> Vec<Txn> {
    log.iter().filter(|txn| txn.zxid <= zxid).cloned().collect()
}
