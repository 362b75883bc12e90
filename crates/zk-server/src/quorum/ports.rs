//! Sockets: the election port, the quorum port, and the way to a leader's.

use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::mpsc;
use zk_proto::Sid;
use zk_quorum::election::{ElectionEvent, ElectionPortOptions};
use zk_quorum::link::Link;
use zk_quorum::{DialError, DialOptions, Wire, join};
use zk_zab::leader::LinkId;
use zk_zab::{Ensemble, HostPort, MemberAddress, Role};

use super::driver::{Dialled, Driver};
use super::links::{Learners, Upstream};
use super::listen::{Bound, ObserverPort};
use super::state::Held;
use super::tally::{LearnerLink, LinkTally};
use crate::server::random_seed;

/// Listeners that are bound, and how others are dialled.
pub(crate) struct Ports {
    pub(crate) bound: Bound,
    /// Whether it listens on all addresses of the machine.
    pub(crate) on_all: bool,
    /// `observerMasterPort`.
    pub(crate) observer_master: Option<u16>,
    pub(crate) options: ElectionPortOptions,
    /// For a connection to a leader.
    pub(crate) join: JoinOptions,
}

/// How a leader is dialled.
#[derive(Clone, Debug)]
pub(crate) struct JoinOptions {
    /// For each attempt.
    pub(crate) dial: DialOptions,
    /// Between two attempts.
    pub(crate) pause: Duration,
    /// For all of them.
    pub(crate) patience: Duration,
}

/// So often a leader is dialled.
const DIALS: u32 = 5;
/// How often the machine is told the time: elections count in so many ms.
const TICK: Duration = Duration::from_millis(10);
/// So often it is tried whether a full disk has room again.
const FULL_PAUSE: Duration = Duration::from_millis(500);
/// So much may wait for a member that does not read.
const MAX_UNSENT_BYTES: usize = 256 << 20;
/// So many learners wait until it is known who leads.
const MAX_WAITING: usize = 64;

/// Whether one end does not believe the other.
fn is_denied(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::PermissionDenied
}

/// Where followers feed observers: all that vote, in an order of chance, as in Apache
/// (`QuorumPeer.updateObserverMasterList`). Who leads does not listen there.
fn observer_masters(ensemble: &Ensemble, port: u16) -> Vec<(Sid, Vec<HostPort>)> {
    let voters = ensemble.voters().filter_map(|sid| Some((sid, ensemble.members.get(&sid)?)));
    let at = |address: &MemberAddress| HostPort { host: address.host.clone(), port };
    let mut all: Vec<_> = voters
        .map(|(sid, member)| (random_seed(), sid, member.addresses.iter().map(at).collect()))
        .collect();
    all.sort_by_key(|(order, ..)| *order);
    all.into_iter().map(|(_, sid, addresses)| (sid, addresses)).collect()
}

impl Driver {
    /// Serves the ports until it is dropped, or this member has failed.
    pub(super) async fn run(self: &Arc<Driver>, ports: Ports) {
        let Ports { bound, on_all, observer_master, options, join } = ports;
        let (learners, mut come) = mpsc::channel(1);
        let (observers, mut observers_come) = mpsc::channel(1);
        let mut observer_port =
            observer_master.map(|port| ObserverPort::new(port, on_all, options.clone()));
        let (dialled, mut answers): (_, Dialled) = mpsc::unbounded_channel();
        let Ok(mut listening) = self.open(bound, options.clone(), &learners) else {
            tracing::error!("cannot listen for other members");
            return self.engine.poison();
        };
        let mut tick = tokio::time::interval(TICK);
        tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        let mut dials = 0;
        self.look_again();
        loop {
            tokio::select! {
                Some(event) = listening.events.recv() => self.heard_election(&event),
                Some(wire) = come.recv() => self.learner_comes(wire),
                Some(wire) = observers_come.recv() => self.observer_comes(wire),
                Some((leader, wire)) = answers.recv() => self.dialled(leader, wire),
                () = self.quorum.news.notified() => {}
                _ = tick.tick() => {
                    drop(self.quorum.act(|peer, now_ms, wants| peer.tick(now_ms, wants)));
                    self.watch_log();
                    self.open_if_alone();
                }
            }
            self.settle();
            if self.engine.is_poisoned() {
                // The others need not find out by themselves.
                return;
            }
            self.move_if_wanted(&mut listening, &options, on_all, &learners).await;
            if let Some(port) = &mut observer_port {
                let feeds = self.quorum.lock().state.peer.fed_upto().is_some();
                port.set(feeds, &self.listens_at.lock(), &observers);
            }
            self.hear_promises();
            self.end_rest();
            self.look_if_due();
            if let Some(leader) = self.to_join.lock().take() {
                dials += 1;
                self.dial(leader, dials, observer_master, join.clone(), dialled.clone());
            }
        }
    }

    fn heard_election(&self, event: &ElectionEvent) {
        let act = |peer: &mut zk_zab::peer::Peer, now_ms, wants: &mut _| match event {
            ElectionEvent::Heard { from, vote } => peer.heard_vote(now_ms, *from, vote, wants),
            ElectionEvent::Connected(sid) => peer.vote_connected(*sid, wants),
            ElectionEvent::Lost(sid) => peer.vote_lost(*sid, wants),
            ElectionEvent::Refused(sid) => peer.vote_refused(now_ms, *sid, wants),
        };
        drop(self.quorum.act(act));
    }

    fn look_if_due(self: &Arc<Driver>) {
        let is_due = self.look_at.lock().take_if(|at| *at <= Instant::now()).is_some();
        if !is_due || self.engine.is_poisoned() {
            return;
        }
        let last = self.engine.tree.read().last_zxid();
        self.quorum.lock().state.committed = last;
        let stand = self.stand(last).and_then(|history| {
            // Who cannot write must not be elected: it would be again and again.
            let is_full = self.is_full() && !self.history.has_room(history.accepted_epoch)?;
            Ok((!is_full).then_some(history))
        });
        match stand {
            Ok(Some(history)) => {
                if self.full(false) {
                    tracing::info!("the disk has room again: this member takes part");
                }
                self.quorum.note_looking();
                *self.looks_since.lock() = (!history.is_empty).then(Instant::now);
                drop(self.quorum.act(|peer, now_ms, wants| peer.look(now_ms, history, wants)));
                self.settle();
            }
            Ok(None) => self.look_in(FULL_PAUSE),
            Err(error) => self.fail(&error),
        }
    }

    /// Dials a leader, or whoever may be one.
    fn dial(
        &self,
        leader: Option<Sid>,
        turn: usize,
        observer_master: Option<u16>,
        options: JoinOptions,
        dialled: mpsc::UnboundedSender<(Sid, Option<(Sid, Wire)>)>,
    ) {
        let (sid, ways) = {
            let held = self.quorum.lock();
            let configs = held.state.peer.configs();
            let me = held.state.peer.sid();
            let members = configs.all().flat_map(|config| config.members.keys().copied());
            let others: Vec<Sid> = members.filter(|sid| *sid != me).collect();
            let anybody = others.get(turn % others.len().max(1)).copied();
            let Some(sid) = leader.or(anybody) else { return };
            // One that is only proposed may lead already, and one that moves may be here or there.
            let lines = configs.all().filter_map(|config| config.members.get(&sid));
            let addresses = lines.flat_map(|member| &member.addresses);
            let at = |address: &zk_zab::MemberAddress| HostPort {
                host: address.host.clone(),
                port: address.quorum_port,
            };
            let mut found: Vec<HostPort> = Vec::new();
            addresses.map(at).for_each(|at| {
                if !found.contains(&at) {
                    found.push(at);
                }
            });
            match (held.state.peer.role(), observer_master) {
                (Role::Observer, Some(port)) => (sid, observer_masters(&configs.committed, port)),
                _ => (sid, vec![(sid, found)]),
            }
        };
        tokio::spawn(async move {
            let tries = async {
                for attempt in 0..DIALS {
                    if attempt > 0 {
                        tokio::time::sleep(options.pause).await;
                    }
                    for (master, addresses) in &ways {
                        match join(addresses, &options.dial).await {
                            Ok(wire) => return Some((*master, wire)),
                            Err(DialError::Failed(error)) if is_denied(&error) => {
                                tracing::warn!("server {master} cannot be followed: {error}");
                            }
                            Err(DialError::Failed(error)) => {
                                tracing::debug!("the way to server {master}: {error}");
                            }
                            Err(DialError::Refused) => {}
                        }
                    }
                }
                None
            };
            let wire = tokio::time::timeout(options.patience, tries).await.ok().flatten();
            let _ = dialled.send((sid, wire));
        });
    }

    /// A leader was dialled, with success or without.
    fn dialled(self: &Arc<Driver>, leader: Sid, wire: Option<(Sid, Wire)>) {
        let Some((master, wire)) = wire else {
            drop(self.quorum.act(|peer, _, wants| peer.unreachable(wants)));
            return;
        };
        let attempt = {
            let mut held = self.quorum.lock();
            held.state.attempt += 1;
            held.state.attempt
        };
        let hear = Upstream { driver: self.clone(), attempt };
        let link = Link::start(wire, MAX_UNSENT_BYTES, hear);
        let mut held = self.quorum.lock();
        held.state.upstream = Some(link);
        held.state.master = Some(master);
        held.act(|peer, now_ms, wants| peer.joined(now_ms, leader, wants), &mut Vec::new());
    }

    /// A learner connects: it is taken in by who leads, waits where that is not decided, and is
    /// told nothing elsewhere.
    fn learner_comes(self: &Arc<Driver>, wire: Wire) {
        let link = LinkId(self.next_link());
        let mut held = self.quorum.lock();
        let now_ms = self.quorum.now_ms();
        let may_wait = held.state.peer.may_lead_soon();
        if !held.state.peer.learner_connected(now_ms, link) {
            let mut waiting = self.waiting.lock();
            if may_wait && waiting.len() < MAX_WAITING {
                waiting.push(wire);
            }
            return;
        }
        self.take_in(held, link, wire);
    }

    /// An observer connects to a follower.
    fn observer_comes(self: &Arc<Driver>, wire: Wire) {
        let link = LinkId(self.next_link());
        let mut held = self.quorum.lock();
        if held.state.peer.observer_connected(self.quorum.now_ms(), link) {
            self.take_in(held, link, wire);
        }
    }

    fn take_in(self: &Arc<Driver>, mut held: Held<'_>, link: LinkId, wire: Wire) {
        let tally = LinkTally::new(wire.peer());
        let hear = Learners { driver: self.clone(), link, tally: tally.clone() };
        let started = Link::start(wire, MAX_UNSENT_BYTES, hear);
        held.state.links.insert(link, LearnerLink::new(started, tally));
    }

    /// Takes those in who came before this member led.
    pub(super) fn admit_waiting(self: &Arc<Driver>) {
        let waiting = std::mem::take(&mut *self.waiting.lock());
        waiting.into_iter().for_each(|wire| self.learner_comes(wire));
    }
}
