//! The member: the real pipeline, tree and watches, driven as a server drives them. Effects are
//! carried out one by one; between any two of them the member may die.

use super::mutate;
use super::{Stop, World};
use crate::oracle::SUPER_DIGEST;
use crate::record::{Conn, Record};
use crate::settings::{Mutant, Settings};
use crate::storage::{Found, picture};
use std::collections::{BTreeMap, VecDeque};
use std::rc::Rc;
use std::sync::Arc;
use zk_core::{Admission, Core, CoreOptions, Effect, Effects, Times};
use zk_proto::{Limits, SessionId, Zxid};
use zk_session::password::Passwords;
use zk_tree::auth::{AuthOptions, Identity};
use zk_tree::{ConnId, PrepareOptions, ReapWalk, Tree, TreeOptions, Watches};

/// What a running process holds.
pub(super) struct Member {
    pub(super) core: Core,
    pub(super) tree: Tree,
    pub(super) watches: Watches,
    pub(super) conns: BTreeMap<Conn, Serving>,
    /// Connections that were closed, but not yet taken out of the pipeline.
    pub(super) closing: BTreeMap<Conn, i64>,
    /// On disk, but the pipeline has not heard of it.
    pub(super) synced: VecDeque<i64>,
    /// The pipeline has more to do up to here.
    pub(super) unfinished: Option<i64>,
    /// A snapshot is being written.
    pub(super) is_snapshotting: bool,
    /// For [`Mutant::StaleRead`]: the tree as it was once.
    pub(super) old_tree: Option<Tree>,
}

/// A connection that the member has.
#[derive(Debug)]
pub(super) struct Serving {
    pub(super) is_new: bool,
    pub(super) is_live: bool,
    pub(super) is_admitted: bool,
    pub(super) session: SessionId,
    pub(super) identities: Arc<[Identity]>,
    pub(super) heard_ms: i64,
    /// Requests given to the pipeline and not answered.
    pub(super) under_way: usize,
}

/// An effect on its own.
#[derive(Clone, Debug)]
pub(super) enum Out {
    Append(Zxid, Rc<[u8]>),
    /// A frame without its length, and whether it answers a request.
    Send(Conn, Rc<[u8]>, bool),
    /// The requests of a connection that were answered.
    Answered(Conn),
    Established(Conn, SessionId),
    Identities(Conn, Arc<[Identity]>, bool),
    Close(Conn),
}

pub(super) fn tree_options(settings: &Settings) -> TreeOptions {
    TreeOptions {
        extended_types: settings.terms.rules.extended_types,
        hash_seed: settings.hash_seed,
    }
}

pub(super) fn auth_options() -> AuthOptions {
    AuthOptions { super_digest: Some(SUPER_DIGEST.into()), ..AuthOptions::default() }
}

fn core_options(settings: &Settings, passwords: Passwords) -> CoreOptions {
    CoreOptions {
        prepare: PrepareOptions {
            auth: auth_options(),
            enforce_quota: settings.terms.rules.enforce_quota,
            close_session_txn: settings.close_session_txn,
            digest: settings.digest,
            ..PrepareOptions::default()
        },
        tick_ms: settings.terms.tick_ms as u32,
        min_session_timeout_ms: settings.terms.min_timeout_ms,
        max_session_timeout_ms: settings.terms.max_timeout_ms,
        server_id: 1,
        passwords,
        enforced_schemes: settings.terms.enforces_digest.then(|| vec!["digest".into()]),
        max_sessions: usize::MAX,
        max_response_bytes: settings.terms.max_response_bytes,
        max_answer_bytes: usize::MAX,
        limits: Limits::default(),
        throttle: None,
        reconfig_enabled: false,
        local_sessions: None,
        audit: false,
        hash_seed: settings.hash_seed,
    }
}

impl Member {
    pub(super) fn new(
        settings: &Settings,
        found: Found,
        passwords: Passwords,
        now: Times,
    ) -> Member {
        let options = core_options(settings, passwords);
        let core = Core::new(options, &found.tree, found.sessions, now);
        Member {
            core,
            tree: found.tree,
            watches: Watches::new(settings.hash_seed),
            conns: BTreeMap::new(),
            closing: BTreeMap::new(),
            synced: VecDeque::new(),
            unfinished: None,
            is_snapshotting: false,
            old_tree: None,
        }
    }
}

/// Effects one by one; what one effect sends as several frames is taken apart.
fn outs(fx: &Effects) -> Vec<Out> {
    let mut outs = Vec::new();
    for effect in &fx.list {
        match effect {
            Effect::Append { zxid, txn } => outs.push(Out::Append(*zxid, fx.get(*txn).into())),
            Effect::Send { conn, frame, is_reply } => {
                frames(conn.0, fx.get(*frame), *is_reply, &mut outs);
                if *is_reply {
                    outs.push(Out::Answered(conn.0));
                }
            }
            Effect::Established { conn, session, .. } => {
                outs.push(Out::Established(conn.0, *session));
            }
            Effect::Identities { conn, identities, admitted } => {
                outs.push(Out::Identities(conn.0, identities.clone(), *admitted));
            }
            Effect::Close { conn } => outs.push(Out::Close(conn.0)),
            // Nobody here asks for it.
            Effect::Forward { .. } | Effect::Revalidate { .. } | Effect::Audit(_) => {}
        }
    }
    outs
}

/// Cuts a run of frames.
pub(super) fn frames(conn: Conn, mut bytes: &[u8], is_reply: bool, outs: &mut Vec<Out>) {
    while let Some((length, rest)) = bytes.split_first_chunk::<4>() {
        let length = usize::try_from(i32::from_be_bytes(*length)).unwrap_or(usize::MAX);
        let Some((frame, rest)) = rest.split_at_checked(length) else { break };
        let is_event = frame.starts_with(&(-1i32).to_be_bytes());
        outs.push(Out::Send(conn, frame.into(), is_reply && !is_event));
        bytes = rest;
    }
}

impl World {
    pub(super) fn times(&self) -> Times {
        Times { monotonic_ms: self.now.monotonic_ms, wall_ms: self.now.wall_ms }
    }

    /// Lets the pipeline do something and carries out what it wants.
    pub(super) fn drive(
        &mut self,
        act: impl FnOnce(&mut Member, Times, &mut Effects),
    ) -> Result<(), Stop> {
        let now = self.times();
        let Some(member) = &mut self.member else { return Ok(()) };
        let mut fx = Effects::new();
        act(member, now, &mut fx);
        let mut outs = outs(&fx);
        if let Some(mutant) = self.mutant {
            mutate::outs(mutant, member, &mut outs, &mut self.rng);
        }
        for out in outs {
            self.effects += 1;
            if self.rng.chance(self.odds().crash) || self.crash_at == Some(self.effects) {
                self.mark("crash between effects");
                return self.crash();
            }
            self.carry_out(out)?;
        }
        Ok(())
    }

    pub(super) fn carry_out(&mut self, out: Out) -> Result<(), Stop> {
        let Some(member) = &mut self.member else { return Ok(()) };
        match out {
            Out::Append(zxid, txn) => {
                self.storage.append(zxid.0, &txn);
                if self.mutant == Some(Mutant::ReplyBeforeSync) {
                    member.synced.push_back(zxid.0);
                }
                self.emit(Record::Appended { zxid: zxid.0, txn })?;
            }
            Out::Send(conn, frame, _) if member.conns.contains_key(&conn) => {
                if let Some(link) = self.net.links.get_mut(&conn).filter(|link| !link.is_left) {
                    link.outbound.push_back(frame.clone());
                }
                self.emit(Record::Sent { conn, frame })?;
            }
            Out::Send(..) => {}
            Out::Answered(conn) => {
                if let Some(serving) = member.conns.get_mut(&conn) {
                    serving.under_way = serving.under_way.saturating_sub(1);
                }
            }
            Out::Established(conn, session) => {
                if let Some(serving) = member.conns.get_mut(&conn) {
                    (serving.is_live, serving.session) = (true, session);
                    serving.under_way = 0;
                }
            }
            Out::Identities(conn, identities, is_admitted) => {
                if let Some(serving) = member.conns.get_mut(&conn) {
                    (serving.identities, serving.is_admitted) = (identities, is_admitted);
                }
            }
            Out::Close(conn) => {
                if let Some(serving) = member.conns.remove(&conn) {
                    member.closing.insert(conn, serving.heard_ms);
                    self.emit(Record::Closed { conn })?;
                    if let Some(link) = self.net.links.get_mut(&conn) {
                        link.is_closed = true;
                        link.inbound.clear();
                    }
                }
            }
        }
        Ok(())
    }

    /// Takes a closed connection out of the pipeline, as a server does when the socket is gone.
    pub(super) fn forget_closed(&mut self) {
        let Some(member) = &mut self.member else { return };
        let Some((conn, heard_ms)) = member.closing.pop_first() else { return };
        member.core.disconnected(ConnId(conn), heard_ms);
        member.watches.remove_connection(ConnId(conn));
    }

    /// The member accepts a connection.
    pub(super) fn accept(&mut self, conn: Conn, ip: String) -> Result<(), Stop> {
        let Some(member) = &mut self.member else { return Ok(()) };
        let identities = member.core.connected(ConnId(conn), ip.parse().ok(), Vec::new());
        let serving = Serving {
            is_new: true,
            is_live: false,
            is_admitted: !self.settings.terms.enforces_digest,
            session: SessionId::NONE,
            identities,
            heard_ms: self.now.monotonic_ms,
            under_way: 0,
        };
        member.conns.insert(conn, serving);
        self.emit(Record::Accepted { conn, ip })
    }

    /// Applies what is on disk, a random part of it.
    pub(super) fn report(&mut self) -> Result<(), Stop> {
        let Some(member) = &mut self.member else { return Ok(()) };
        let zxid = match (member.unfinished.take(), member.synced.pop_front()) {
            (Some(old), None) => old,
            (_, Some(new)) => new,
            (None, None) => return Ok(()),
        };
        let keeps_old = matches!(self.mutant, Some(Mutant::StaleRead | Mutant::StaleSync));
        if keeps_old && member.old_tree.is_none() {
            member.old_tree = mutate::copy(member, &self.settings);
        }
        let most = self.rng.between(1, 6) as usize;
        self.emit(Record::Logged { zxid, now: self.now })?;
        self.drive(|member, now, fx| {
            let Member { core, tree, watches, unfinished, .. } = member;
            let more = core.committed(tree, watches, now.monotonic_ms, Zxid(zxid), most, fx);
            *unfinished = more.then_some(zxid);
        })?;
        if self.mutates(Mutant::DoubleApply, 100) {
            mutate::apply_again(self);
        }
        let Some(member) = &self.member else { return Ok(()) };
        let (zxid, digest) = (member.tree.last_zxid().0, member.tree.digest());
        self.known = paths(&member.tree);
        self.emit(Record::Applied { zxid, digest })
    }

    /// Looks for sessions to expire.
    pub(super) fn tick(&mut self) -> Result<(), Stop> {
        if self.member.is_none() || self.follow_disk()? {
            return Ok(());
        }
        self.emit(Record::Ticked { now: self.now })?;
        let mutant = self.mutant;
        self.drive(|member, now, fx| {
            let Member { core, tree, conns, closing, .. } = member;
            let heard = |conn: ConnId| match mutant {
                Some(Mutant::DeafServer) => None,
                _ => conns.get(&conn.0).map(|s| s.heard_ms).or(closing.get(&conn.0).copied()),
            };
            if mutant == Some(Mutant::ImmortalSession) {
                core.tick(tree, now, |_| Some(now.monotonic_ms), fx);
            } else {
                core.tick(tree, now, heard, fx);
            }
        })
    }

    /// Looks for containers and TTL znodes that are due, and reaps some of them later.
    pub(super) fn reap(&mut self) -> Result<(), Stop> {
        let wall_ms = self.now.wall_ms;
        // Containers that nobody used stay, unless a fault is planted.
        let never_used_ms = i64::from(self.mutant == Some(Mutant::EagerReaper));
        if self.follow_disk()? {
            return Ok(());
        }
        if let Some(path) = self.due.pop() {
            self.emit(Record::Reaped { path: path.clone(), now: self.now })?;
            return self.drive(|m, now, fx| m.core.reap(&m.tree, now, &path, never_used_ms, fx));
        }
        if let Some(member) = &self.member {
            let walk = &mut ReapWalk::default();
            self.due = member.tree.due_for_reaping(walk, wall_ms, never_used_ms, 4);
        }
        Ok(())
    }

    /// The log's disk is full, or has space again.
    pub(super) fn fill(&mut self, is_full: bool) -> Result<(), Stop> {
        if self.settings.reserve_bytes.is_none() {
            return self.admit(is_full);
        }
        if is_full {
            let what = self.storage.fill(&mut self.rng);
            self.emit(Record::Noted(what))?;
        } else {
            self.storage.make_space();
        }
        self.follow_disk().map(|_| ())
    }

    /// The member looks what its log says before it lets the pipeline make transactions; whether it
    /// takes none.
    pub(super) fn follow_disk(&mut self) -> Result<bool, Stop> {
        if self.settings.reserve_bytes.is_none() {
            return Ok(false);
        }
        let is_full = self.storage.is_full();
        if is_full {
            self.mark("the disk is full");
        }
        self.admit(is_full)?;
        Ok(is_full)
    }

    /// The pipeline is told whether writes are taken.
    fn admit(&mut self, is_full: bool) -> Result<(), Stop> {
        let Some(member) = &mut self.member else { return Ok(()) };
        if (member.core.admission() == Admission::ReadOnly) == is_full {
            return Ok(());
        }
        member.core.set_admission(if is_full { Admission::ReadOnly } else { Admission::Serving });
        self.mark("writes are refused");
        self.emit(Record::Admitted { is_read_only: is_full })
    }

    /// Takes a picture of everything the member holds.
    pub(super) fn inspect(&mut self) -> Result<(), Stop> {
        let Some(member) = &self.member else { return Ok(()) };
        let picture = picture(&member.tree, &member.core.sessions().to_sorted());
        self.emit(Record::Inspected { picture: Rc::new(picture) })
    }
}

/// All paths but the system's, for clients to use.
fn paths(tree: &Tree) -> Vec<String> {
    let mut paths = Vec::new();
    let mut todo: Vec<_> = tree.root().children().collect();
    while let Some(node) = todo.pop() {
        let path = node.path();
        if path != zk_proto::path::ZOOKEEPER {
            paths.push(path);
            todo.extend(node.children());
        }
    }
    paths
}
