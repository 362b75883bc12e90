//! A driver for the machines of one member.

use std::collections::BTreeMap;

use zk_proto::election::ServerState;
use zk_proto::quorum::{FromLeader, FromLearner, Touched};
use zk_proto::{Epoch, Limits, Sid, Zxid};
use zk_zab::election::{Election, ElectionTimes, Output as Elect, Standing};
use zk_zab::leader::{Incumbent, Leader, LeaderTimes, LinkId, Output as Lead, Plan};
use zk_zab::learner::{Arrival, Learner, Output as Learn, Silence};
use zk_zab::{Configs, Role};

use super::Message;
use super::disk::{Disk, Io, Txn};

const TIMES: LeaderTimes = LeaderTimes { tick_ms: 100, init_ms: 1000, sync_ms: 500 };

/// A learner dials so often, so many ms apart, before it looks again.
const DIALS: u32 = 5;
const REDIAL_MS: u64 = 100;

/// What a member does to the world.
pub enum Effect {
    Send(Sid, Message),
    /// It follows this one from now on.
    Join(Sid),
    /// It dials everybody: who is dead refuses.
    Probe,
    /// It leads in an epoch, with this history.
    Leads(i32, Vec<Txn>),
    /// It commits or serves these.
    Committed(Vec<Txn>),
}

pub struct Member {
    pub sid: Sid,
    pub disk: Disk,
    configs: Configs,
    election: Election,
    part: Part,
    dials: u32,
}

/// What it does.
enum Part {
    Down,
    Looking,
    Learning(Box<Following>),
    Leading(Box<Reign>),
}

struct Following {
    learner: Learner,
    leader: Sid,
    link: LinkId,
    /// The snapshot that is taken, beside the log.
    staged: Option<Vec<Txn>>,
    /// Appended, on disk or not.
    log: Vec<Txn>,
    is_serving: bool,
    /// When it dials again, since nobody listened.
    redial_ms: Option<u64>,
}

struct Reign {
    leader: Leader,
    links: BTreeMap<LinkId, Sid>,
    /// All of its history, on disk or not.
    log: Vec<Txn>,
    committed: Zxid,
    epoch: Option<Epoch>,
}

impl Member {
    pub fn new(sid: Sid, configs: &Configs) -> Member {
        let role = Role::Observer;
        let election = Election::new(sid, role, configs.clone(), false, ElectionTimes::default());
        Member {
            sid,
            disk: Disk::default(),
            configs: configs.clone(),
            election,
            part: Part::Down,
            dials: 0,
        }
    }

    pub fn is_up(&self) -> bool {
        !matches!(self.part, Part::Down)
    }

    pub fn leads(&self) -> bool {
        matches!(&self.part, Part::Leading(reign) if reign.leader.is_leading())
    }

    pub fn serves_under(&self) -> Option<Sid> {
        match &self.part {
            Part::Leading(reign) if reign.leader.is_leading() => Some(self.sid),
            Part::Learning(following) if following.is_serving => Some(following.leader),
            _ => None,
        }
    }

    pub fn has_work(&self) -> bool {
        self.disk.has_work()
    }

    /// Starts if it is down.
    pub fn start(&mut self, now_ms: u64) -> Vec<Effect> {
        if self.is_up() {
            return Vec::new();
        }
        self.election = Election::new(
            self.sid,
            Role::Observer,
            self.configs.clone(),
            false,
            ElectionTimes::default(),
        );
        self.look(now_ms)
    }

    pub fn crash(&mut self, kept: usize) -> bool {
        let was_up = self.is_up();
        self.part = Part::Down;
        self.disk.crash(kept);
        was_up
    }

    /// Looks for a leader; whatever is on its way to the disk gets there first.
    fn look(&mut self, now_ms: u64) -> Vec<Effect> {
        while self.disk.complete(0).is_some() {}
        self.part = Part::Looking;
        let standing = Standing { zxid: self.disk.last(), epoch: i64::from(self.disk.current.0) };
        let mut out = Vec::new();
        self.election.look(now_ms, standing, &mut out);
        self.elect(now_ms, out)
    }

    fn elect(&mut self, now_ms: u64, out: Vec<Elect>) -> Vec<Effect> {
        let mut effects = Vec::new();
        for output in out {
            match output {
                Elect::Send { to, notification } => {
                    effects.push(Effect::Send(to, Message::Vote(notification)));
                }
                Elect::Dial => effects.push(Effect::Probe),
                Elect::Adopt(_) => {}
                Elect::Elected { state: ServerState::Leading, .. } => {
                    effects.extend(self.lead(now_ms));
                }
                Elect::Elected { leader, .. } => effects.push(Effect::Join(leader)),
            }
        }
        effects
    }

    fn lead(&mut self, now_ms: u64) -> Vec<Effect> {
        let own = Incumbent {
            sid: self.sid,
            configs: self.configs.clone(),
            accepted_epoch: self.disk.accepted,
            current_epoch: self.disk.current,
            last_zxid: self.disk.last(),
            epoch_floor: Epoch(0),
            admits_strangers: false,
        };
        let log = self.disk.log.clone();
        // A short window, so that the log is looked at too.
        let window: Vec<_> = log.iter().rev().take(4).rev().map(|txn| txn.zxid).collect();
        let mut out = Vec::new();
        let leader = Leader::new(now_ms, own, TIMES, window, &mut out);
        let committed = self.disk.last();
        let reign = Reign { leader, links: BTreeMap::new(), log, committed, epoch: None };
        self.part = Part::Leading(Box::new(reign));
        self.reign(now_ms, out)
    }

    pub fn join(&mut self, now_ms: u64, leader: Sid, link: LinkId) -> Vec<Effect> {
        let arrival = Arrival {
            sid: self.sid,
            role: self.configs.committed.members[&self.sid].role,
            config_version: 0,
            accepted_epoch: self.disk.accepted,
            current_epoch: self.disk.current,
            last_zxid: self.disk.last(),
        };
        let silence = Silence { init_ms: TIMES.init_ms, sync_ms: TIMES.sync_ms };
        let mut out = Vec::new();
        let learner = Learner::new(now_ms, arrival, silence, &mut out);
        let log = self.disk.log.clone();
        let following = Following {
            learner,
            leader,
            link,
            staged: None,
            log,
            is_serving: false,
            redial_ms: None,
        };
        self.part = Part::Learning(Box::new(following));
        let mut effects = vec![Effect::Send(leader, Message::Dial(link))];
        effects.extend(self.follow(now_ms, out));
        effects
    }

    pub fn tick(&mut self, now_ms: u64) -> Vec<Effect> {
        match &mut self.part {
            Part::Down => Vec::new(),
            Part::Looking => {
                let mut out = Vec::new();
                self.election.tick(now_ms, &mut out);
                self.elect(now_ms, out)
            }
            Part::Learning(following) if following.redial_ms.is_some_and(|at| now_ms >= at) => {
                self.dials += 1;
                match self.dials % DIALS {
                    0 => self.look(now_ms),
                    _ => vec![Effect::Join(following.leader)],
                }
            }
            Part::Learning(following) => {
                let mut out = Vec::new();
                following.learner.tick(now_ms, &mut out);
                self.follow(now_ms, out)
            }
            Part::Leading(reign) => {
                let mut out = Vec::new();
                reign.leader.tick(now_ms, &mut out);
                self.reign(now_ms, out)
            }
        }
    }

    pub fn refused(&mut self, now_ms: u64, other: Sid) -> Vec<Effect> {
        let mut out = Vec::new();
        if matches!(self.part, Part::Looking) {
            self.election.refused(now_ms, other, &mut out);
        }
        self.elect(now_ms, out)
    }

    /// A new connection on the election port.
    pub fn reconnected(&mut self, other: Sid) -> Vec<Effect> {
        let mut out = Vec::new();
        if matches!(self.part, Part::Looking) {
            self.election.connected(other, &mut out);
        }
        self.elect(0, out)
    }

    /// The connection to another member broke.
    pub fn lost(&mut self, now_ms: u64, other: Sid) -> Vec<Effect> {
        match &mut self.part {
            Part::Learning(following) if following.leader == other => self.look(now_ms),
            Part::Leading(reign) => {
                let gone: Vec<_> =
                    reign.links.iter().filter(|(_, sid)| **sid == other).map(|(l, _)| *l).collect();
                for link in gone {
                    reign.links.remove(&link);
                    reign.leader.disconnected(link);
                }
                Vec::new()
            }
            _ => Vec::new(),
        }
    }

    pub fn receive(&mut self, now_ms: u64, from: Sid, message: Message) -> Vec<Effect> {
        if !self.is_up() {
            return Vec::new();
        }
        match (message, &mut self.part) {
            (Message::Vote(notification), _) => {
                let mut out = Vec::new();
                self.election.heard(now_ms, from, &notification, &mut out);
                self.elect(now_ms, out)
            }
            (Message::Dial(link), Part::Leading(reign)) => {
                reign.links.insert(link, from);
                reign.leader.connected(now_ms, link);
                Vec::new()
            }
            // Nobody listens there yet, or any more.
            (
                Message::Dial(link) | Message::ToLeader(link, _),
                Part::Looking | Part::Learning(_),
            ) => {
                vec![Effect::Send(from, Message::Refused(link))]
            }
            (Message::ToLeader(link, bytes), Part::Leading(reign)) => {
                let packet = FromLearner::read(&bytes, Limits::NONE).unwrap().unwrap().0;
                let mut out = Vec::new();
                reign.leader.heard(now_ms, link, packet, &mut out);
                let out = out.into_iter().map(own_lead).collect();
                self.reign(now_ms, out)
            }
            (Message::ToLearner(link, bytes), Part::Learning(following))
                if following.link == link =>
            {
                let packet = FromLeader::read(&bytes, Limits::NONE).unwrap().unwrap().0;
                let mut out = Vec::new();
                following.learner.heard(now_ms, packet, &mut out);
                let out = out.into_iter().map(own_learn).collect();
                self.follow(now_ms, out)
            }
            (Message::Snapshot(link, txns), Part::Learning(following))
                if following.link == link =>
            {
                following.log = txns.clone();
                following.staged = Some(txns);
                following.learner.installed();
                Vec::new()
            }
            (Message::Closed(link), Part::Leading(reign)) => {
                reign.links.remove(&link);
                reign.leader.disconnected(link);
                Vec::new()
            }
            (Message::Refused(link), Part::Learning(following)) if following.link == link => {
                following.redial_ms = Some(now_ms + REDIAL_MS);
                Vec::new()
            }
            (Message::Closed(link), Part::Learning(following)) if following.link == link => {
                self.look(now_ms)
            }
            _ => Vec::new(),
        }
    }

    /// A client writes.
    pub fn propose(&mut self, now_ms: u64, tag: u64) -> Vec<Effect> {
        let Part::Leading(reign) = &mut self.part else { return Vec::new() };
        let (Some(epoch), true) = (reign.epoch, reign.leader.is_leading()) else {
            return Vec::new();
        };
        let last = reign.log.last().map_or(Zxid::ZERO, |txn| txn.zxid);
        let zxid = if last.epoch() == epoch { last.next() } else { Zxid::new(epoch, 1) };
        let txn = Txn { zxid, tag };
        reign.log.push(txn.clone());
        self.disk.begin(Io::Append(txn));
        let mut out = Vec::new();
        reign.leader.propose(now_ms, zxid, &mut out);
        self.reign(now_ms, out)
    }

    /// The disk has done the oldest thing.
    pub fn complete(&mut self, now_ms: u64, file: usize) -> Vec<Effect> {
        let Some(io) = self.disk.complete(file) else { return Vec::new() };
        match &mut self.part {
            Part::Learning(following) => {
                let (learner, mut out) = (&mut following.learner, Vec::new());
                match io {
                    Io::Accepted(_) => learner.accepted_written(&mut out),
                    Io::Current(_) => learner.current_written(&mut out),
                    Io::Append(txn) => learner.logged(txn.zxid, &mut out),
                    Io::Settle(_) => learner.settled(&mut out),
                    Io::Truncate(_) => {
                        following.log = self.disk.log.clone();
                        learner.truncated(Some(self.disk.last()), &mut out);
                    }
                }
                self.follow(now_ms, out)
            }
            Part::Leading(reign) => {
                let (leader, mut out) = (&mut reign.leader, Vec::new());
                match io {
                    Io::Accepted(_) => leader.accepted_written(now_ms, &mut out),
                    Io::Current(_) => leader.current_written(now_ms, &mut out),
                    Io::Append(txn) => leader.logged(txn.zxid, &mut out),
                    Io::Truncate(_) | Io::Settle(_) => {}
                }
                self.reign(now_ms, out)
            }
            Part::Down | Part::Looking => Vec::new(),
        }
    }

    /// Carries out what the learner wants.
    fn follow(&mut self, now_ms: u64, out: Vec<Learn<'static>>) -> Vec<Effect> {
        let mut effects = Vec::new();
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
                Learn::Install(_) => {}
                Learn::Settle => {
                    let staged = following.staged.take().unwrap();
                    self.disk.begin(Io::Settle(staged));
                }
                Learn::Append { txn, .. } => {
                    let txn = Txn::read(&txn);
                    following.log.push(txn.clone());
                    self.disk.begin(Io::Append(txn));
                }
                Learn::Apply(zxid) if following.is_serving => {
                    effects.push(Effect::Committed(upto(&following.log, zxid)));
                }
                Learn::Serve => {
                    following.is_serving = true;
                    self.election.established(i64::from(self.disk.current.0));
                }
                Learn::Leave(_) => {
                    effects.push(Effect::Send(leader, Message::Closed(link)));
                    effects.extend(self.look(now_ms));
                }
                _ => {}
            }
        }
        effects
    }

    /// Carries out what the leader wants.
    fn reign(&mut self, now_ms: u64, out: Vec<Lead<'static>>) -> Vec<Effect> {
        let mut effects = Vec::new();
        let mut later = Vec::new();
        for output in out {
            let Part::Leading(reign) = &mut self.part else { break };
            match output {
                Lead::Send { to, packet } => effects.extend(reign.send(to, &packet)),
                Lead::Close { link, .. } => {
                    if let Some(sid) = reign.links.remove(&link) {
                        effects.push(Effect::Send(sid, Message::Closed(link)));
                    }
                }
                Lead::WriteAccepted(epoch) => self.disk.begin(Io::Accepted(epoch)),
                Lead::WriteCurrent(epoch) => self.disk.begin(Io::Current(epoch)),
                Lead::LookUp { link, zxid } => {
                    let is_there = reign.log.iter().any(|txn| txn.zxid == zxid);
                    reign.leader.looked_up(link, is_there, &mut later);
                }
                Lead::Synchronize { link, plan } => effects.extend(reign.synchronize(link, plan)),
                Lead::Lead(epoch) => {
                    reign.epoch = Some(epoch);
                    self.election.established(i64::from(epoch.0));
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
                    reign.committed = zxid;
                    effects.push(Effect::Committed(upto(&reign.log, zxid)));
                    let txn = reign.txn(zxid);
                    for link in followers.iter() {
                        effects.extend(reign.send(*link, &FromLeader::Commit(zxid)));
                    }
                    for link in observers.iter() {
                        effects.extend(reign.send(*link, &FromLeader::Inform { zxid, txn: &txn }));
                    }
                }
                Lead::StepDown(_) => {
                    let links = std::mem::take(&mut reign.links);
                    effects.extend(
                        links.into_iter().map(|(l, sid)| Effect::Send(sid, Message::Closed(l))),
                    );
                    effects.extend(self.look(now_ms));
                }
                _ => {}
            }
        }
        if !later.is_empty() {
            effects.extend(self.reign(now_ms, later));
        }
        effects
    }
}

impl Reign {
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

/// Without what it borrows of the packet.
fn own_learn(output: Learn<'_>) -> Learn<'static> {
    match output {
        Learn::Send(FromLearner::Info { is_observer, accepted_epoch, info }) => {
            Learn::Send(FromLearner::Info { is_observer, accepted_epoch, info })
        }
        Learn::Send(FromLearner::AckEpoch { last_zxid, current_epoch }) => {
            Learn::Send(FromLearner::AckEpoch { last_zxid, current_epoch })
        }
        Learn::Send(FromLearner::Ack(zxid)) => Learn::Send(FromLearner::Ack(zxid)),
        Learn::Send(packet) => panic!("{packet:?}"),
        Learn::AnswerPing(zxid) => Learn::AnswerPing(zxid),
        Learn::WriteAccepted(epoch) => Learn::WriteAccepted(epoch),
        Learn::WriteCurrent(epoch) => Learn::WriteCurrent(epoch),
        Learn::Truncate(zxid) => Learn::Truncate(zxid),
        Learn::Install(zxid) => Learn::Install(zxid),
        Learn::Settle => Learn::Settle,
        Learn::Append { zxid, txn } => Learn::Append { zxid, txn: txn.into_owned().into() },
        Learn::Apply(zxid) => Learn::Apply(zxid),
        Learn::Serve => Learn::Serve,
        Learn::Synced => Learn::Synced,
        Learn::Revalidated { session, is_valid } => Learn::Revalidated { session, is_valid },
        Learn::Proposed(config) => Learn::Proposed(config),
        Learn::Activate { config, leader } => Learn::Activate { config, leader },
        Learn::Leave(leave) => Learn::Leave(leave),
    }
}

/// The same of a leader; no client asks for anything here.
fn own_lead(output: Lead<'_>) -> Lead<'static> {
    match output {
        Lead::Send { to, packet } => {
            let packet = match packet {
                FromLeader::LeaderInfo(epoch) => FromLeader::LeaderInfo(epoch),
                FromLeader::NewLeader { zxid, config } => {
                    let config = config.map(|text| text.into_owned().into());
                    FromLeader::NewLeader { zxid, config }
                }
                FromLeader::UpToDate => FromLeader::UpToDate,
                FromLeader::Ping(zxid) => FromLeader::Ping(zxid),
                packet => panic!("{packet:?}"),
            };
            Lead::Send { to, packet }
        }
        Lead::Close { link, why } => Lead::Close { link, why },
        Lead::WriteAccepted(epoch) => Lead::WriteAccepted(epoch),
        Lead::WriteCurrent(epoch) => Lead::WriteCurrent(epoch),
        Lead::LookUp { link, zxid } => Lead::LookUp { link, zxid },
        Lead::Synchronize { link, plan } => Lead::Synchronize { link, plan },
        Lead::Lead(epoch) => Lead::Lead(epoch),
        Lead::Propose { zxid, to } => Lead::Propose { zxid, to },
        Lead::Commit { zxid, followers, observers } => Lead::Commit { zxid, followers, observers },
        Lead::Synced(link) => Lead::Synced(link),
        Lead::StepDown(why) => Lead::StepDown(why),
        Lead::Touched { link, .. } => Lead::Touched { link, touched: Touched::default() },
        Lead::Request { .. } | Lead::Revalidate { .. } => panic!("{output:?}"),
    }
}
