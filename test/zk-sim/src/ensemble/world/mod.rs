//! The world of an ensemble and its clients. One seed decides everything that happens in it.

mod faults;
mod heal;
mod quorum;

use super::checks::{Facts, Judge};
use super::client::Agent;
use super::coverage::Coverage;
use super::event::{Event, Queue};
use super::hub::Hub;
use super::member::{Clock, Member, Terms, tree_options};
use super::mutant::Mutant;
use super::net::Net;
use super::record::Record;
use super::settings::Settings;
use super::store::{FileStore, ListStore, Store};
use super::workload::Workload;
use crate::invariants::Violation;
use crate::record::Conn;
use crate::rng::Rng;
use faults::Mending;
use std::rc::Rc;
use zk_proto::Sid;

/// Makes another stream of a seed, for what came into these worlds later.
const MORE: u64 = 0x66_69_6c_65_73;

/// How a run is made.
#[derive(Clone, Debug, Default)]
pub struct RunOptions {
    /// A fault to plant.
    pub mutant: Option<Mutant>,
    /// Judge by the check of this name alone.
    pub only: Option<&'static str>,
    /// Print each record as it happens.
    pub prints: bool,
    /// Keep all records.
    pub keeps_story: bool,
    /// The world by which speed is measured.
    pub is_measured: bool,
    /// Members join, leave, and change their roles.
    pub reconfigures: bool,
    /// There are observers, and followers feed them.
    pub feeds: bool,
}

/// What a run came to.
#[derive(Debug)]
pub struct Outcome {
    /// The seed.
    pub seed: u64,
    /// What did not hold, if anything.
    pub violation: Option<Violation>,
    /// All that happened, with its time in µs, if it was kept.
    pub story: Vec<(u64, Record)>,
    /// Hash of all that happened.
    pub hash: u64,
    /// What happened how often.
    pub coverage: Coverage,
    /// How the world was made.
    pub settings: Settings,
    /// What a judge must know of it.
    pub facts: Facts,
    /// How long it lasted there, in ms.
    pub simulated_ms: u64,
    /// Requests of clients, and replies to them, until the faults ended.
    pub requests: u64,
    /// See there.
    pub replies: u64,
    /// Txns that were committed.
    pub committed: usize,
}

impl Outcome {
    /// What to tell whoever started the run: what is wrong and how to see it again.
    #[must_use]
    pub fn report(&self) -> Option<String> {
        let violation = self.violation.as_ref()?;
        let changes = if self.settings.reconfigures { "ZKFLEET_SIM_CHANGES=1 " } else { "" };
        let feeds = if self.settings.feeds { "ZKFLEET_SIM_FEEDS=1 " } else { "" };
        Some(format!(
            "seed {}, at {} ms: {violation}\nreplay it with: {changes}{feeds}ZKFLEET_SIM_SEED={} cargo test -p zk-sim \
             --release --test ensembles one -- --nocapture",
            self.seed, self.simulated_ms, self.seed
        ))
    }
}

/// Runs the world of a seed to its end, or until something does not hold.
#[must_use]
pub fn run(seed: u64, options: &RunOptions) -> Outcome {
    let mut world = World::new(seed, options);
    world.live();
    let World { hub, settings, facts, requests, replies, .. } = world;
    Outcome {
        seed,
        violation: hub.violation,
        story: hub.story.unwrap_or_default(),
        hash: hub.hash ^ hub.records ^ hub.rng.clone().draw(),
        coverage: hub.coverage,
        settings,
        facts,
        simulated_ms: hub.now_us / 1000,
        requests,
        replies,
        committed: hub.judge.committed(),
    }
}

/// See the module.
struct World {
    settings: Settings,
    facts: Facts,
    terms: Terms,
    hub: Hub,
    members: Vec<Member>,
    clients: Vec<Agent>,
    workload: Workload,
    /// Operations since the known paths were looked up.
    stale: u32,
    mendings: Vec<Mending>,
    is_calm: bool,
    /// Clients ask no more.
    is_over: bool,
    requests: u64,
    replies: u64,
}

impl World {
    fn new(seed: u64, options: &RunOptions) -> World {
        let mut rng = Rng::new(seed);
        let mut settings = match options.is_measured {
            true => Settings::measured(&mut rng),
            false => Settings::draw(&mut rng),
        };
        // From a stream of its own: old seeds keep their meaning.
        let mut more = Rng::new(seed ^ MORE);
        settings.has_files = !options.is_measured && more.chance(250);
        settings.add(options.reconfigures, options.feeds);
        let terms = settings.terms();
        let facts = Facts {
            voters: (1..=settings.voters).map(Sid).collect(),
            feeds: settings.feeds,
            tick_ms: settings.tick_ms as i64,
            sync_ms: (terms.tick_ms * terms.sync_ticks) as i64,
            init_ms: (terms.tick_ms * terms.init_ticks) as i64,
        };
        let mut hub = Hub {
            now_us: 0,
            rng,
            queue: Queue::default(),
            net: Net::new(),
            judge: match options.only {
                Some(name) => Judge::only(facts.clone(), name),
                None => Judge::new(facts.clone()),
            },
            coverage: Coverage::default(),
            mutant: options.mutant,
            violation: None,
            fuse: None,
            dead: None,
            prints: options.prints,
            story: options.keeps_story.then(Vec::new),
            hash: 0,
            records: 0,
        };
        let members = (1..=settings.voters + settings.observers)
            .map(|sid| {
                let rng = &mut hub.rng;
                let wall_ms = 1_700_000_000_000 + rng.between(-60_000, 60_000);
                let clock = Clock { ppm: rng.between(-200, 200), wall_ms, since: (0, 1_000) };
                let (tree, is_initial) = (tree_options(&terms), settings.is_initial);
                let store: Box<dyn Store> = match settings.has_files {
                    true => Box::new(FileStore::new(tree, is_initial, &mut more)),
                    false => Box::new(ListStore::new(tree, is_initial)),
                };
                Member::new(Sid(sid), clock, store, terms.configs.clone())
            })
            .collect();
        let clients = agents(&settings, &mut hub.rng);
        World {
            settings,
            facts,
            terms,
            hub,
            members,
            clients,
            workload: Workload::new(),
            stale: 0,
            mendings: Vec::new(),
            is_calm: false,
            is_over: false,
            requests: 0,
            replies: 0,
        }
    }

    /// The storm, then the calm.
    fn live(&mut self) {
        for at in 0..self.members.len() {
            self.start(at);
        }
        for at in 0..self.clients.len() {
            let us = self.hub.rng.below(500_000) as u64;
            self.hub.queue.push(us, Event::Client { at });
        }
        self.hub.queue.push(3_000_000, Event::Fault);
        self.run_until(self.settings.stormy_ms * 1000);
        self.requests = self.clients.iter().map(|client| client.asked).sum();
        self.replies = self.clients.iter().map(|client| client.answered).sum();
        self.heal();
    }

    fn run_until(&mut self, until_us: u64) {
        while self.hub.violation.is_none() {
            let Some((at_us, event)) = self.hub.queue.pop(until_us) else { break };
            self.hub.now_us = at_us;
            self.happen(event);
            self.bury();
        }
        if self.hub.violation.is_none() {
            self.hub.now_us = self.hub.now_us.max(until_us);
        }
    }

    /// Takes away the process that has just died.
    fn bury(&mut self) {
        if let Some(sid) = self.hub.dead.take() {
            let is_power_loss = self.hub.rng.chance(300);
            self.crash(at_of(sid), is_power_loss);
        }
    }

    fn happen(&mut self, event: Event) {
        if let Some((sid, life)) = whose(&event)
            && let Some(member) = self.members.get_mut(at_of(sid))
        {
            // Of a process that is no more.
            if life != 0 && life != member.life || !member.is_up() {
                return self.nobody_hears(event);
            }
            if let Some(paused) = &mut member.paused
                && !matches!(event, Event::Resume { .. })
            {
                paused.push(event);
                return;
            }
        }
        if self.is_over && is_of_clients(&event) {
            return;
        }
        // What comes to a process that stands still waits for it.
        if let Some(conn) = conn_of(&event)
            && let Some(link) = self.hub.net.conns.get(&conn)
            && let Some(paused) = &mut self.members[at_of(link.sid)].paused
        {
            return paused.push(event);
        }
        match event {
            Event::Client { at } => self.client_acts(at),
            Event::ToMember { conn, frame } => self.reaches_member(conn, &frame),
            Event::ToClient { conn, frame } => self.reaches_client(conn, &frame),
            Event::Connects { conn } => self.client_connects(conn),
            Event::ClosedByMember { conn } => self.closed_by_member(conn),
            Event::ClosedByClient { conn } => self.closed_by_client(conn),
            Event::Start { sid } => self.start(at_of(sid)),
            Event::Dial { sid, life, leader, tries } => self.dial(sid, life, leader, tries),
            Event::Fault => self.fault(),
            Event::Mend { fault } => self.mend(fault),
            Event::Resume { sid, .. } => self.resume(at_of(sid)),
            Event::ClientBack { at } => self.client_back(at),
            Event::QuickDisk { sid } => self.members[at_of(sid)].slow_disk = 1,
            Event::Quorum { sid, what, .. } => self.drive(sid, |driver| driver.hear(what)),
            Event::Tick { sid, .. } => self.drive(sid, |driver| driver.tick()),
            Event::LogDone { sid, .. } => self.drive(sid, |driver| driver.log_done()),
            Event::IoDone { sid, .. } => self.drive(sid, |driver| driver.io_done()),
            Event::Pipe { sid, .. } => {
                let snap_count = self.terms.snap_count;
                self.drive(sid, |driver| {
                    driver.pipe();
                    driver.own_snapshot(snap_count);
                });
            }
            Event::Look { sid, .. } => self.drive(sid, |driver| driver.look()),
            Event::Reap { sid, .. } => self.drive(sid, |driver| driver.reap()),
        }
    }

    fn drive(&mut self, sid: Sid, act: impl FnOnce(&mut super::member::Driver<'_>)) {
        self.members[at_of(sid)].drive(&mut self.hub, act);
    }

    fn client_acts(&mut self, at: usize) {
        if self.stale == 0 {
            self.workload.known = self.hub.judge.known_paths();
            self.stale = 24;
        }
        self.stale -= 1;
        let members: Vec<(Sid, u32)> = self.members.iter().map(|it| (it.sid, it.life)).collect();
        self.clients[at].act(&mut self.hub, &members, &self.workload, self.is_calm);
    }

    /// A client's connection and its member, if the member may hear of it.
    fn conn(&mut self, conn: Conn) -> Option<(usize, Sid)> {
        let link = self.hub.net.conns.get_mut(&conn)?;
        link.is_torn |= self.hub.net.deaf.contains_key(&link.client);
        let member = &self.members[at_of(link.sid)];
        let hears = member.is_up() && member.life == link.life && !link.is_torn;
        hears.then_some((link.client, link.sid))
    }

    fn client_connects(&mut self, conn: Conn) {
        let Some((client, sid)) = self.conn(conn) else {
            // Nobody listens there.
            let Some(link) = self.hub.net.conns.get(&conn) else { return };
            if !self.members[at_of(link.sid)].is_up() {
                self.hub.close_client(conn);
            }
            return;
        };
        let ip: Rc<str> = self.clients[client].ip();
        let mut is_in = false;
        self.drive(sid, |driver| is_in = driver.accept(conn, &ip));
        if let Some(link) = self.hub.net.conns.get_mut(&conn) {
            link.is_accepted = is_in;
        }
    }

    fn reaches_member(&mut self, conn: Conn, frame: &Rc<[u8]>) {
        if let Some((_, sid)) = self.conn(conn) {
            self.drive(sid, |driver| driver.submit(conn, frame));
        } else if let Some(link) = self.hub.net.conns.get(&conn) {
            // Whoever has started since does not know the connection.
            let member = &self.members[at_of(link.sid)];
            if member.is_up() && member.life != link.life && !link.is_closed_by_member {
                self.hub.close_client(conn);
            }
        }
    }

    fn reaches_client(&mut self, conn: Conn, frame: &Rc<[u8]>) {
        let Some(link) = self.hub.net.conns.get_mut(&conn) else { return };
        let client = link.client;
        link.is_torn |= self.hub.net.deaf.contains_key(&client);
        if !link.is_torn {
            self.clients[client].hear(&mut self.hub, conn, frame);
        }
    }

    fn closed_by_member(&mut self, conn: Conn) {
        let Some(link) = self.hub.net.conns.get(&conn) else { return };
        let client = link.client;
        if self.hub.net.deaf.contains_key(&client) {
            return;
        }
        self.hub.net.conns.remove(&conn);
        if self.clients[client].conn() == Some(conn) {
            self.clients[client].lose();
        }
    }

    fn closed_by_client(&mut self, conn: Conn) {
        let Some(link) = self.hub.net.conns.remove(&conn) else { return };
        let member = &self.members[at_of(link.sid)];
        if member.is_up() && member.life == link.life {
            self.drive(link.sid, |driver| driver.client_left(conn));
        }
    }

    /// A client that was cut off is heard again: its old connection is of no use.
    fn client_back(&mut self, at: usize) {
        self.hub.net.deaf.remove(&at);
        self.hub.note(|| format!("client {at} is heard again"));
        self.clients[at].leave(&mut self.hub);
    }
}

fn agents(settings: &Settings, rng: &mut Rng) -> Vec<Agent> {
    let agent = |at| {
        let timeout = rng.between(2, 8) as u64 * settings.tick_ms;
        Agent::new(at, settings.thinks_us, timeout, rng.chance(400))
    };
    let mut agents: Vec<Agent> = (0..settings.clients).map(agent).collect();
    if settings.reconfigures {
        agents.push(Agent::operator(settings.clients, 8 * settings.tick_ms));
    }
    agents
}

/// Where a member is in the list.
fn at_of(sid: Sid) -> usize {
    sid.0 as usize - 1
}

/// Whose process an event is for; 0 is whichever there is.
fn whose(event: &Event) -> Option<(Sid, u32)> {
    match event {
        Event::Quorum { sid, life, .. }
        | Event::Tick { sid, life }
        | Event::LogDone { sid, life }
        | Event::IoDone { sid, life }
        | Event::Pipe { sid, life }
        | Event::Look { sid, life }
        | Event::Reap { sid, life }
        | Event::Resume { sid, life }
        | Event::Dial { sid, life, .. } => Some((*sid, *life)),
        _ => None,
    }
}

/// The connection on which something comes from a client.
fn conn_of(event: &Event) -> Option<Conn> {
    match event {
        Event::ToMember { conn, .. }
        | Event::Connects { conn }
        | Event::ClosedByClient { conn } => Some(*conn),
        _ => None,
    }
}

/// Whether an event only concerns clients.
fn is_of_clients(event: &Event) -> bool {
    matches!(
        event,
        Event::Client { .. }
            | Event::ToClient { .. }
            | Event::ClosedByMember { .. }
            | Event::ClosedByClient { .. }
            | Event::Connects { .. }
            | Event::ToMember { .. }
            | Event::ClientBack { .. }
    )
}
