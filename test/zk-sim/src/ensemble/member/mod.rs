//! A member: the real machines, and what the server's threads do around them.
//!
//! As in the server there are a quorum's thread, which does what it hears and its chores one after
//! the other, a log's thread, and a pipeline. Here each has its turn when an event says so, and
//! between any two of their effects the process may end.

mod changes;
mod chores;
mod clients;
mod fed;
mod learned;
mod led;
mod part;
mod spoil;

use super::coverage::Point;
use super::event::{Event, Inbound, Payload};
use super::hub::Hub;
use super::mutant::Mutant;
use super::net::Way;
use super::record::Record;
use super::store::{Entry, Image, Io, Store};
use crate::oracle::SUPER_DIGEST;
use changes::Foreseen;
pub(crate) use changes::reconfiguration;
use chores::Chore;
use clients::Serving;
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::rc::Rc;
use std::sync::Arc;
use zk_core::{Core, CoreOptions, Effects, Times};
use zk_proto::election::Notification;
use zk_proto::quorum::{Forwarded, FromLeader, FromLearner, Touched};
use zk_proto::{Epoch, Limits, SessionId, Sid, Zxid};
use zk_tree::auth::AuthOptions;
use zk_tree::{PrepareOptions, Tree, TreeOptions, Watches};
use zk_zab::election::{ElectionTimes, Output as Elect};
use zk_zab::leader::{LeaderTimes, LinkId};
use zk_zab::peer::{Peer, PeerOptions, Turn, Wants};
use zk_zab::{Configs, Ensemble, Role};

/// Between two ticks of a learner that serves; the server's come a hundred times a second.
pub(crate) const LEARNER_TICK_US: u64 = 500_000;

/// What all members are told.
#[derive(Clone, Debug)]
pub(crate) struct Terms {
    pub(crate) tick_ms: u64,
    pub(crate) init_ticks: u64,
    pub(crate) sync_ticks: u64,
    pub(crate) configs: Configs,
    /// `reconfigEnabled`.
    pub(crate) reconfigures: bool,
    /// `observerMasterPort`: followers feed observers.
    pub(crate) feeds: bool,
    /// So many committed txns are kept for learners.
    pub(crate) window: usize,
    /// A member takes a snapshot of its own tree after so many txns.
    pub(crate) snap_count: u32,
    pub(crate) hash_seed: u64,
    /// How long a leader waits for a better vote.
    pub(crate) last_wait_ms: u64,
}

/// A member's clocks, which agree with nobody's.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Clock {
    /// Of a million µs so many more.
    pub(crate) ppm: i64,
    /// The wall clock at the beginning of all, in ms.
    pub(crate) wall_ms: i64,
    /// When the drift began, and what the clock said.
    pub(crate) since: (u64, i64),
}

impl Clock {
    pub(crate) fn local_us(&self, now_us: u64) -> i64 {
        let passed = (now_us - self.since.0) as i64;
        self.since.1 + passed + passed * self.ppm / 1_000_000
    }

    /// It goes at another speed from now on.
    pub(crate) fn drift(&mut self, now_us: u64, ppm: i64) {
        *self = Clock { ppm, since: (now_us, self.local_us(now_us)), ..*self };
    }

    fn times(&self, now_us: u64) -> Times {
        let monotonic_ms = self.local_us(now_us) / 1000;
        Times { monotonic_ms, wall_ms: self.wall_ms + monotonic_ms }
    }
}

/// See the module.
pub(crate) struct Member {
    pub(crate) sid: Sid,
    /// Counts its processes.
    pub(crate) life: u32,
    pub(crate) clock: Clock,
    pub(crate) store: Box<dyn Store>,
    /// The files of its configuration: not with the data.
    pub(crate) configs: Configs,
    pub(crate) process: Option<Box<Process>>,
    /// How many times as long its disk takes.
    pub(crate) slow_disk: u64,
    /// The next sync of the log fails.
    pub(crate) has_bad_disk: bool,
    /// It stands still, and this comes to it when it goes on.
    pub(crate) paused: Option<Vec<Event>>,
}

/// What ends with a process.
pub(crate) struct Process {
    pub(crate) peer: Peer,
    /// A leader's learners.
    links: BTreeSet<LinkId>,
    /// A learner's connection to its leader.
    upstream: Option<LinkId>,
    /// The last txns that are committed, without a hole.
    window: VecDeque<Entry>,
    /// So many of them.
    window_size: usize,
    committed: Zxid,
    /// Those that are logged, or about to be, and not committed.
    under_way: VecDeque<Entry>,
    chores: VecDeque<Chore>,
    turn: Option<Turn>,
    /// What the quorum's thread waits for.
    io: Option<(Io, After)>,
    inbox: VecDeque<Inbound>,
    /// The snapshot that a leader sent, before it is the history.
    staged: Option<Rc<Image>>,
    tail: Vec<Entry>,
    moves: VecDeque<(Zxid, LinkId, SessionId, bool)>,
    /// What was applied and not told to the observers of this follower yet.
    fresh: VecDeque<Entry>,
    /// The sessions that its observers have heard since the last PING.
    touched: BTreeMap<SessionId, i32>,
    /// Learners that came before it was known who leads, and what they have said.
    waiting: Vec<(LinkId, Vec<Payload>)>,
    dials: usize,
    has_served: bool,
    /// So many txns are being written.
    writing: Option<usize>,
    pub(crate) core: Core,
    pub(crate) tree: Tree,
    watches: Watches,
    fx: Effects,
    conns: BTreeMap<u64, Serving>,
    lessons: VecDeque<Lesson>,
    /// What a leader's pipeline may apply.
    due: Zxid,
    /// The pipeline will have a turn.
    pipe_is_awake: bool,
    since_snapshot: u32,
    clock: Clock,
    core_options: CoreOptions,
    foreseen: Arc<Foreseen>,
    /// The configuration that was activated last has this member.
    was_listed: bool,
}

/// What comes after something that the quorum's thread waited for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum After {
    Chore,
    Rest(bool),
}

/// What a leader teaches a learner's pipeline.
#[derive(Debug)]
enum Lesson {
    Txn(Rc<[u8]>),
    Synced,
    Revalidated(SessionId, bool),
    Moved(SessionId),
}

/// What needs the pipeline, in order.
#[derive(Debug)]
pub(super) enum Ask<'a> {
    Request(LinkId, Forwarded<'a>),
    Revalidate(LinkId, SessionId, i32),
    Touched(Touched<'a>),
}

/// A process at work.
pub(crate) struct Driver<'d> {
    pub(crate) sid: Sid,
    life: u32,
    p: &'d mut Process,
    store: &'d mut dyn Store,
    configs: &'d mut Configs,
    pub(crate) hub: &'d mut Hub,
    slow_disk: u64,
    has_bad_disk: &'d mut bool,
}

pub(crate) fn tree_options(terms: &Terms) -> TreeOptions {
    TreeOptions { extended_types: true, hash_seed: terms.hash_seed }
}

fn core_options(terms: &Terms, sid: Sid) -> CoreOptions {
    CoreOptions {
        prepare: PrepareOptions {
            auth: AuthOptions { super_digest: Some(SUPER_DIGEST.into()), ..AuthOptions::default() },
            enforce_quota: false,
            close_session_txn: true,
            digest: true,
            ..PrepareOptions::default()
        },
        tick_ms: terms.tick_ms as u32,
        min_session_timeout_ms: 2 * terms.tick_ms as i32,
        max_session_timeout_ms: 20 * terms.tick_ms as i32,
        server_id: sid.0 as u8,
        hash_seed: terms.hash_seed,
        reconfig_enabled: terms.reconfigures,
        ..CoreOptions::default()
    }
}

impl Member {
    pub(crate) fn new(sid: Sid, clock: Clock, store: Box<dyn Store>, configs: Configs) -> Member {
        Member {
            sid,
            life: 0,
            clock,
            store,
            configs,
            process: None,
            slow_disk: 1,
            has_bad_disk: false,
            paused: None,
        }
    }

    pub(crate) fn is_up(&self) -> bool {
        self.process.is_some()
    }

    pub(crate) fn is_serving(&self) -> bool {
        self.process.as_ref().is_some_and(|p| p.peer.is_serving())
    }

    /// Whether it is a follower that takes observers.
    pub(crate) fn feeds(&self) -> bool {
        self.process.as_ref().is_some_and(|p| p.peer.fed_upto().is_some())
    }

    pub(crate) fn leads(&self) -> bool {
        self.process.as_ref().is_some_and(|p| p.peer.is_serving() && p.peer.census().is_some())
    }

    /// What it has come to.
    pub(crate) fn describe(&self) -> Option<Record> {
        let p = self.process.as_ref()?;
        Some(Record::Rested {
            sid: self.sid,
            serves: p.peer.is_serving(),
            leader: p.peer.leader().unwrap_or(Sid::NOBODY),
            zxid: p.tree.last_zxid(),
            digest: p.tree.digest(),
            under_way: p.core.outstanding() + p.under_way.len() + self.store.waiting(),
        })
    }

    /// The configuration of its leader, as far as it knows.
    pub(crate) fn ensemble(&self) -> Option<&Ensemble> {
        self.process.as_ref().map(|p| &p.peer.configs().committed)
    }

    /// The last txn that it has applied.
    pub(crate) fn zxid(&self) -> Option<Zxid> {
        self.process.as_ref().map(|p| p.tree.last_zxid())
    }

    /// Whether nothing is under way.
    pub(crate) fn is_quiet(&self) -> bool {
        self.process.as_ref().is_some_and(|p| {
            p.core.outstanding() + p.under_way.len() + self.store.waiting() + p.lessons.len() == 0
                // A learner takes no note of what is committed.
                && p.tree.last_zxid() >= p.committed.max(p.due)
        })
    }

    /// A look at its sessions and who has ephemerals.
    pub(crate) fn inspect(&self) -> Option<Record> {
        let p = self.process.as_ref()?;
        Some(Record::Inspected {
            sid: self.sid,
            zxid: p.tree.last_zxid(),
            owners: p.tree.sessions_with_ephemerals().iter().map(|it| it.0).collect(),
            sessions: p.core.sessions().to_sorted().iter().map(|(it, _)| it.0).collect(),
        })
    }

    fn cannot_start(&self, hub: &mut Hub, refused: &impl std::fmt::Display) {
        hub.fail("Z5 durability", format!("{} cannot start: {refused}", self.sid));
    }

    /// Its process begins: it finds what is on the disk, and looks for a leader.
    pub(crate) fn start(&mut self, hub: &mut Hub, terms: &Terms) {
        self.life += 1;
        let recovered = self.store.recover();
        let (found, survivors) = match recovered {
            Ok(found) => found,
            Err(refused) => return self.cannot_start(hub, &refused),
        };
        for (zxid, txn) in survivors {
            hub.tell(Record::Logged { sid: self.sid, zxid, hash: super::hub::hash_of(&txn) });
        }
        let last = found.tree.last_zxid();
        let epochs = self.store.epochs(last);
        let (accepted, current) = match epochs {
            Ok(epochs) => epochs,
            Err(refused) => return self.cannot_start(hub, &refused),
        };
        let digest = found.tree.digest();
        let (sid, life, is_damaged) = (self.sid, self.life, self.store.is_damaged());
        hub.tell(Record::Started { sid, zxid: last, digest, is_damaged, accepted, current });
        let times = self.clock.times(hub.now_us);
        if hub.has(Mutant::ForgetsConfig) {
            self.configs = terms.configs.clone();
        }
        let core_options = core_options(terms, self.sid);
        let core = Core::learning(core_options.clone(), &found.tree, found.sessions, times);
        let mut process = Process {
            peer: Peer::new(self.peer_options(terms, hub), self.configs.clone()),
            links: BTreeSet::new(),
            upstream: None,
            window: VecDeque::new(),
            window_size: terms.window,
            committed: last,
            under_way: VecDeque::new(),
            chores: VecDeque::new(),
            turn: None,
            io: None,
            inbox: VecDeque::new(),
            staged: None,
            tail: Vec::new(),
            moves: VecDeque::new(),
            fresh: VecDeque::new(),
            touched: BTreeMap::new(),
            waiting: Vec::new(),
            dials: 0,
            has_served: true,
            writing: None,
            core,
            tree: found.tree,
            watches: Watches::new(terms.hash_seed),
            fx: Effects::new(),
            conns: BTreeMap::new(),
            lessons: VecDeque::new(),
            due: last,
            pipe_is_awake: false,
            since_snapshot: 0,
            clock: self.clock,
            core_options,
            foreseen: Foreseen::new(),
            was_listed: self.configs.committed.members.contains_key(&self.sid),
        };
        process.core.set_admission(zk_core::Admission::Closed);
        if let Some(fault) = hub.mutant.and_then(Mutant::planted) {
            process.peer.plant(fault);
        }
        self.process = Some(Box::new(process));
        // Before it hears anything.
        hub.after(0, Event::Look { sid, life });
        hub.after(2_000, Event::Tick { sid, life });
        hub.after(1_000_000, Event::Reap { sid, life });
    }

    fn peer_options(&self, terms: &Terms, hub: &Hub) -> PeerOptions {
        let tick_ms = terms.tick_ms;
        let times = LeaderTimes {
            tick_ms,
            init_ms: terms.init_ticks * tick_ms,
            sync_ms: terms.sync_ticks * tick_ms,
        };
        let role = match terms.configs.is_voter(self.sid) {
            true => Role::Participant,
            false => Role::Observer,
        };
        let election =
            ElectionTimes { last_wait_ms: terms.last_wait_ms, ..ElectionTimes::default() };
        PeerOptions {
            sid: self.sid,
            role,
            accepts_configs: terms.reconfigures,
            election,
            times,
            epoch_floor: Epoch(0),
            admits_strangers: true,
            window: if hub.has(Mutant::WindowIsLonger) { 500 } else { terms.window },
            feeds: terms.feeds,
        }
    }

    /// Lets its process do something.
    pub(crate) fn drive(&mut self, hub: &mut Hub, act: impl FnOnce(&mut Driver<'_>)) {
        let Some(p) = &mut self.process else { return };
        p.clock = self.clock;
        let mut driver = Driver {
            sid: self.sid,
            life: self.life,
            p,
            store: &mut *self.store,
            configs: &mut self.configs,
            hub,
            slow_disk: self.slow_disk,
            has_bad_disk: &mut self.has_bad_disk,
        };
        act(&mut driver);
    }

    /// The process is no more. `drops` is the chance that its connections end without a word.
    pub(crate) fn crash(&mut self, hub: &mut Hub, is_power_loss: bool) {
        let Some(process) = self.process.take() else { return };
        self.paused = None;
        self.has_bad_disk = false;
        let under_way = process.io.as_ref().map(|(io, _)| io);
        self.store.crash(&mut hub.rng, under_way);
        hub.tell(Record::Crashed { sid: self.sid });
        let conns: Vec<u64> = process.conns.keys().copied().collect();
        for conn in conns {
            hub.tell(Record::Gone { sid: self.sid, conn });
        }
        if is_power_loss {
            return;
        }
        let links: Vec<LinkId> = process.links.iter().copied().chain(process.upstream).collect();
        let waiting = process.waiting.into_iter().map(|(link, _)| link);
        links.into_iter().chain(waiting).for_each(|link| hub.shut(link, self.sid));
    }
}

impl Driver<'_> {
    fn now_ms(&self) -> u64 {
        self.times().monotonic_ms as u64
    }

    fn times(&self) -> Times {
        self.p.clock.times(self.hub.now_us)
    }

    fn event(&mut self, us: u64, what: Inbound) {
        let (sid, life) = (self.sid, self.life);
        self.hub.after(us, Event::Quorum { sid, life, what });
    }

    /// Lets the machine do something, and carries out what it wants; what needs the pipeline comes
    /// back.
    fn act<'a>(
        &mut self,
        act: impl FnOnce(&mut Peer, u64, &mut Wants<'a>),
        asks: &mut Vec<Ask<'a>>,
    ) {
        let now_ms = self.now_ms();
        let mut wants = Wants::default();
        act(&mut self.p.peer, now_ms, &mut wants);
        let Wants { elect, learn, lead, turn } = wants;
        for output in elect {
            self.elect(output);
        }
        self.follow(learn);
        self.note_fed();
        self.lead(lead, asks);
        if turn.is_some() {
            self.p.turn = turn;
        }
    }

    fn act_alone(&mut self, act: impl FnOnce(&mut Peer, u64, &mut Wants<'_>)) {
        self.act(act, &mut Vec::new());
    }

    fn elect(&mut self, output: Elect) {
        match output {
            Elect::Send { to, notification } => {
                if self.hub.survives(self.sid, Point::SendVote) {
                    self.send_vote(to, notification);
                }
            }
            Elect::Adopt(config) => self.chore(Chore::Activated(config)),
            // Connections come by themselves here; who is not there is told by the world.
            Elect::Dial | Elect::Outvoted | Elect::Elected { .. } | Elect::Wiped => {}
        }
    }

    fn send_vote(&mut self, to: Sid, vote: Notification<'static>) {
        self.hub.vote(self.sid, to, Rc::new(vote), 0);
    }

    /// The quorum's thread hears something, now or when it has done what it does.
    pub(crate) fn hear(&mut self, what: Inbound) {
        if self.p.io.is_some() {
            self.p.inbox.push_back(what);
            return;
        }
        self.take(what);
        self.settle();
    }

    /// Hears what came meanwhile.
    fn catch_up(&mut self) {
        while self.p.io.is_none() {
            let Some(what) = self.p.inbox.pop_front() else { return };
            self.take(what);
            self.settle();
        }
    }

    fn take(&mut self, what: Inbound) {
        match what {
            Inbound::Vote(from, vote) => {
                self.act_alone(|peer, now, wants| peer.heard_vote(now, from, &vote, wants));
            }
            Inbound::VoteConnected(sid) => {
                self.act_alone(|peer, _, wants| peer.vote_connected(sid, wants));
            }
            Inbound::VoteLost(sid) => self.act_alone(|peer, _, wants| peer.vote_lost(sid, wants)),
            Inbound::VoteRefused(sid) => {
                self.act_alone(|peer, now, wants| peer.vote_refused(now, sid, wants));
            }
            Inbound::Comes(link) => self.learner_comes(link),
            Inbound::ObserverComes(link) => self.observer_comes(link),
            Inbound::Dialled(leader, link) => self.dialled(leader, link),
            Inbound::Arrived(link, payload) => self.arrived(link, &payload),
            Inbound::Ended(link) => self.ended(link),
            Inbound::LookedUp(link, tail) => {
                self.p.chores.push_back(Chore::LookedUp(link, tail));
            }
        }
    }

    fn learner_comes(&mut self, link: LinkId) {
        let may_wait = self.p.peer.may_lead_soon();
        let now_ms = self.now_ms();
        if self.p.peer.learner_connected(now_ms, link) {
            self.p.links.insert(link);
        } else if may_wait {
            self.p.waiting.push((link, Vec::new()));
        } else {
            self.hub.close_link(link, self.sid);
        }
    }

    fn dialled(&mut self, leader: Sid, link: Option<LinkId>) {
        let Some(link) = link else {
            return self.act_alone(|peer, _, wants| peer.unreachable(wants));
        };
        if let Some(old) = self.p.upstream.replace(link) {
            self.hub.close_link(old, self.sid);
        }
        self.hub.mark(Point::Joined);
        self.act_alone(|peer, now, wants| peer.joined(now, leader, wants));
    }

    fn arrived(&mut self, link: LinkId, payload: &Payload) {
        match payload {
            Payload::Packet(bytes) if self.p.upstream == Some(link) => {
                match FromLeader::read(bytes, Limits::NONE) {
                    Ok(Some((packet, _))) => {
                        let mut asks = Vec::new();
                        self.act(|peer, now, w| peer.heard_leader(now, packet, w), &mut asks);
                    }
                    _ => self.hub.fail("Z2 integrity", "a packet cannot be read".into()),
                }
            }
            Payload::Packet(bytes) if self.p.links.contains(&link) => {
                match FromLearner::read(bytes, Limits::NONE) {
                    Ok(Some((packet, _))) => self.heard_learner(link, packet),
                    _ => self.hub.fail("Z2 integrity", "a packet cannot be read".into()),
                }
            }
            Payload::Snapshot(image) if self.p.upstream == Some(link) => {
                self.p.staged = Some(image.clone());
                self.p.peer.installed();
            }
            // What waits to be heard, or comes on a connection that is left.
            Payload::Packet(_) | Payload::Snapshot(_) => {
                if let Some((_, said)) = self.p.waiting.iter_mut().find(|it| it.0 == link) {
                    said.push(payload.clone());
                }
            }
        }
    }

    fn heard_learner(&mut self, link: LinkId, packet: FromLearner<'_>) {
        // It may begin the synchronisation, which is with everything that is committed.
        if matches!(packet, FromLearner::AckEpoch { .. }) {
            return self.at_rest(|peer, now, wants| peer.heard_learner(now, link, packet, wants));
        }
        let mut asks = Vec::new();
        self.act(|peer, now, wants| peer.heard_learner(now, link, packet, wants), &mut asks);
        self.settle();
        self.answer(asks);
    }

    fn ended(&mut self, link: LinkId) {
        self.hub.close_link(link, self.sid);
        self.p.waiting.retain(|(waiting, _)| *waiting != link);
        if self.p.links.remove(&link) {
            self.p.peer.learner_lost(link);
        } else if self.p.upstream == Some(link) {
            self.leave();
        }
    }

    /// The leader is lost, and the connection to it ends.
    fn leave(&mut self) {
        if let Some(link) = self.p.upstream.take() {
            self.hub.close_link(link, self.sid);
        }
        self.act_alone(|peer, _, wants| peer.leader_lost(wants));
    }

    /// Sends a packet to the leader.
    fn send_up(&mut self, packet: &FromLearner<'_>, point: Point) {
        let Some(link) = self.p.upstream else { return };
        if self.hub.survives(self.sid, point) {
            let mut bytes = Vec::new();
            packet.put(&mut bytes);
            self.hub.send(link, Way::ToLeader, Some(Payload::Packet(bytes.into())));
        }
    }

    /// Time has passed.
    pub(crate) fn tick(&mut self) {
        let (sid, life) = (self.sid, self.life);
        if self.p.io.is_none() {
            self.act_alone(|peer, now, wants| peer.tick(now, wants));
            self.settle();
            self.tick_sessions();
            self.settle();
        }
        let has_learners = self.p.peer.census().is_some() || !self.p.links.is_empty();
        let us = match (self.p.peer.is_serving(), has_learners) {
            (true, true) => 250_000,
            (true, false) => LEARNER_TICK_US,
            _ => 50_000,
        };
        self.hub.after(us, Event::Tick { sid, life });
    }

    /// Takes txns for the log's thread, if it has nothing to do.
    fn wake_log(&mut self) {
        let waiting = self.store.waiting();
        if self.p.writing.is_some() || waiting == 0 {
            return;
        }
        let count = if waiting > 3 && self.hub.rng.chance(500) { waiting / 2 } else { waiting };
        self.p.writing = Some(count);
        let us = self.disk_us();
        let (sid, life) = (self.sid, self.life);
        self.hub.after(us, Event::LogDone { sid, life });
    }

    /// How long the disk takes.
    fn disk_us(&mut self) -> u64 {
        let draw = self.hub.rng.draw();
        let us = match draw % 256 {
            // Not as many times longer where all is slow.
            0 if !self.hub.net.is_calm => {
                return (20_000 + (draw >> 16) % 100_000) * self.slow_disk.min(20);
            }
            _ => 200 + (draw >> 16) % 2_000,
        };
        us * self.slow_disk
    }

    /// Appends a txn to the log.
    fn append(&mut self, entry: Entry) {
        if !self.hub.survives(self.sid, Point::Append) {
            return;
        }
        let zxid = entry.0;
        self.store.append(entry);
        self.wake_log();
        if self.hub.has(Mutant::AckBeforeLogged) {
            self.told_logged(zxid);
        }
    }

    /// The log's thread is done.
    pub(crate) fn log_done(&mut self) {
        let Some(count) = self.p.writing.take() else { return };
        if !self.hub.survives(self.sid, Point::LogDone) {
            return;
        }
        if std::mem::take(self.has_bad_disk) {
            // Nothing is acknowledged any more, and the process ends.
            self.hub.dead = Some(self.sid);
            return;
        }
        if !self.commit_log(count) {
            return;
        }
        self.wake_log();
        self.settle();
    }

    /// So many txns are on the disk; whether there were any.
    fn commit_log(&mut self, count: usize) -> bool {
        let done = match self.store.commit(count) {
            Ok(done) => done,
            Err(_) => {
                self.hub.dead = Some(self.sid);
                return false;
            }
        };
        for (zxid, txn) in &done {
            let hash = super::hub::hash_of(txn);
            self.hub.tell(Record::Logged { sid: self.sid, zxid: *zxid, hash });
        }
        if let Some((zxid, _)) = done.last()
            && self.hub.survives(self.sid, Point::LogTold)
        {
            self.told_logged(*zxid);
        }
        !done.is_empty()
    }

    fn told_logged(&mut self, zxid: Zxid) {
        self.act_alone(|peer, _, wants| peer.logged(zxid, wants));
    }
}
