//! What a running member tells operators: the facts behind four-letter words and HTTP commands.

use crate::admin::{
    AdminError, Authorization, ConnectionFacts, ConnectionSession, DigestFacts, ExpiryFacts,
    Inspect, LastSnapshot, MOST_NAMESPACES, Metrics, Mode, QuorumFacts, QuotaFacts, SnapshotStream,
    TreeFacts, WatchFacts,
};
use crate::config::ServerConfig;
use crate::engine::{Engine, Gate};
use crate::net::conn::{Conn, ConnStats, Phase};
use crate::net::{ClientPorts, Gatekeeper};
use crate::quorum::Quorum;
use crate::storage::{Restorer, Snapshots};
use std::collections::{BTreeMap, BTreeSet};
use std::io::Read;
use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::{Instant, UNIX_EPOCH};
use zk_core::{Admission, Core, Owner};
use zk_proto::acl::{self, Acl, AclBytes};
use zk_proto::{Perms, SessionId, Xid, Zxid};
use zk_session::tracker::SessionTable;
use zk_store::names::Name;
use zk_tree::auth::{AuthOptions, AuthOutcome, Identity};
use zk_tree::{ConnId, StatsTrack};
use zk_zab::Role;

/// Watches that are listed without a rest for others: some tens of microseconds.
const WATCHES_AT_ONCE: usize = 256;

/// A member, seen from outside.
pub(crate) struct Member {
    pub(crate) config: ServerConfig,
    pub(crate) engine: Arc<Engine>,
    pub(crate) gatekeeper: Arc<Gatekeeper>,
    pub(crate) snapshots: Arc<Snapshots>,
    pub(crate) restorer: Restorer,
    pub(crate) snapshot_dir: PathBuf,
    pub(crate) log_dir: PathBuf,
    pub(crate) ports: Arc<ClientPorts>,
    pub(crate) quorum: Option<Arc<Quorum>>,
    pub(crate) started: Instant,
    pub(crate) trace_mask: AtomicI64,
}

impl Member {
    fn conns(&self) -> Vec<Arc<Conn>> {
        let mut conns: Vec<_> = self.engine.gate.lock().conns.values().cloned().collect();
        conns.sort_unstable_by_key(|conn| conn.id);
        conns
    }

    /// When the sessions of a table expire.
    fn expiry(
        &self,
        gate: &Gate,
        table: impl Fn(&Core) -> &SessionTable<Owner>,
    ) -> Vec<ExpiryFacts<SessionId>> {
        let tick = i64::from(self.config.tick_time_ms);
        let now = self.engine.times();
        let table = table(&gate.core);
        let mut due: BTreeMap<i64, Vec<SessionId>> = BTreeMap::new();
        for (id, timeout_ms) in table.to_sorted() {
            let owner = table.get(id).and_then(|session| session.owner?.conn());
            let heard = owner
                .and_then(|conn| gate.conns.get(&conn))
                .map(|conn| conn.heard_ms.load(Ordering::Relaxed));
            let end = heard.unwrap_or(now.monotonic_ms) + i64::from(timeout_ms);
            let at = (end / tick + 1) * tick;
            due.entry(at - now.monotonic_ms + now.wall_ms).or_default().push(id);
        }
        due.into_iter().map(|(at_ms, members)| ExpiryFacts { at_ms, members }).collect()
    }

    /// All data watches by path, a part at a time: who watches or changes something waits for the
    /// lock. A path may be told twice.
    fn list_watches(&self, mut tell: impl FnMut(String, Vec<ConnId>)) {
        let mut from = Some(0);
        while let Some(at) = from {
            let mut part = Vec::new();
            let watches = self.engine.watches.lock();
            from = watches.list(at, WATCHES_AT_ONCE, |path, conns| {
                part.push((path.to_owned(), conns));
            });
            drop(watches);
            part.into_iter().for_each(|(path, conns)| tell(path, conns));
        }
    }

    fn sessions_of(&self) -> BTreeMap<ConnId, SessionId> {
        self.conns().iter().map(|conn| (conn.id, conn.state.lock().session)).collect()
    }
}

fn facts(conn: &Conn) -> ConnectionFacts {
    let state = conn.state.lock();
    let ConnStats {
        received,
        sent,
        last_operation,
        last_xid,
        last_zxid,
        last_response_ms,
        latency,
    } = state.stats;
    let session = (state.phase == Phase::Live).then(|| ConnectionSession {
        id: state.session,
        last_operation,
        established_ms: conn.established_ms,
        timeout_ms: state.timeout_ms.max(0).unsigned_abs(),
        last_xid: Xid(last_xid),
        last_zxid: Zxid(last_zxid),
        last_response_ms,
        last_latency_ms: latency.last.into(),
        min_latency_ms: latency.min.into(),
        avg_latency_ms: latency.avg(),
        max_latency_ms: latency.max.into(),
    });
    ConnectionFacts {
        peer: conn.line.peer,
        interest_ops: u8::from(!matches!(state.phase, Phase::Connecting | Phase::Asking)),
        outstanding: state.in_flight.into(),
        received,
        sent,
        session,
    }
}

fn directory_bytes(dir: &Path) -> u64 {
    let entries = std::fs::read_dir(dir).into_iter().flatten().flatten();
    entries
        .filter_map(|entry| entry.metadata().ok())
        .filter(|meta| meta.is_file())
        .map(|meta| meta.len())
        .sum()
}

/// Limits and usage of quotas by namespace, the first ones by name. The figures are what clients
/// wrote: they may be anything.
fn sum_quotas(
    quotas: impl IntoIterator<Item = (impl AsRef<str>, [StatsTrack; 2])>,
) -> Vec<(String, QuotaFacts)> {
    let mut all = BTreeMap::<String, QuotaFacts>::new();
    for (path, [limits, usage]) in quotas {
        let name = path.as_ref().split('/').nth(1).unwrap_or_default();
        let sum = all.entry(name.to_owned()).or_default();
        let limit = |hard: i64, soft| if hard > -1 { hard } else { soft };
        let add = |to: &mut i64, more| *to = to.saturating_add(more);
        add(&mut sum.count_limit, limit(limits.count_hard_limit, limits.count));
        add(&mut sum.bytes_limit, limit(limits.byte_hard_limit, limits.bytes));
        add(&mut sum.count, usage.count);
        add(&mut sum.bytes, usage.bytes);
        if all.len() > MOST_NAMESPACES {
            all.pop_last();
        }
    }
    all.into_iter().collect()
}

impl Inspect for Member {
    fn is_serving(&self) -> bool {
        let serves_alone = || self.engine.gate.lock().core.admission() == Admission::Alone;
        let serves = self.quorum.as_ref().is_none_or(|quorum| quorum.part().2 || serves_alone());
        serves && !self.engine.is_poisoned()
    }

    fn config(&self) -> &ServerConfig {
        &self.config
    }

    fn metrics(&self) -> &Metrics {
        self.engine.count();
        &self.engine.metrics
    }

    fn client_ports(&self) -> [Option<u16>; 2] {
        self.ports.get()
    }

    fn mode(&self) -> Mode {
        match self.engine.gate.lock().core.admission() {
            Admission::ReadOnly => Mode::DiskFull,
            Admission::Alone => Mode::ReadOnly,
            Admission::Serving | Admission::Closed => match &self.quorum {
                None => Mode::Standalone,
                Some(quorum) => match quorum.part() {
                    (Some(leader), _, true) if leader == quorum.sid() => Mode::Leader,
                    (_, Role::Participant, _) => Mode::Follower,
                    (_, Role::Observer, _) => Mode::Observer,
                },
            },
        }
    }

    fn quorum(&self) -> Option<QuorumFacts> {
        self.quorum.as_ref().map(|quorum| quorum.facts())
    }

    fn uptime_ms(&self) -> u64 {
        self.started.elapsed().as_millis() as u64
    }

    fn tree(&self) -> TreeFacts {
        let [session_count, local_session_count] = {
            let gate = self.engine.gate.lock();
            [gate.core.sessions(), gate.core.local_sessions()].map(|table| table.len() as u64)
        };
        let watch_count = self.engine.watches.lock().counts().total as u64;
        let tree = self.engine.tree.read();
        TreeFacts {
            last_zxid: tree.last_zxid(),
            node_count: tree.node_count() as u64,
            ephemeral_count: tree.ephemeral_count() as u64,
            watch_count,
            data_bytes: tree.data_bytes(),
            session_count,
            local_session_count,
        }
    }

    fn quotas(&self) -> Vec<(String, QuotaFacts)> {
        sum_quotas(self.engine.tree.read().quotas())
    }

    fn connections(&self, secure: bool) -> Vec<ConnectionFacts> {
        self.conns()
            .iter()
            .filter(|conn| conn.line.is_secure == secure)
            .map(|conn| facts(conn))
            .collect()
    }

    fn connection_count(&self) -> usize {
        self.engine.gate.lock().conns.len()
    }

    fn tls_handshake_count(&self) -> usize {
        self.gatekeeper.handshakes.load(Ordering::Relaxed)
    }

    fn connection_drop_probability(&self) -> f64 {
        self.engine.gate.lock().core.drop_probability()
    }

    fn outstanding_count(&self) -> usize {
        self.engine.gate.lock().core.outstanding() + self.engine.pipe.posted()
    }

    fn sessions(&self) -> Vec<ExpiryFacts<SessionId>> {
        self.expiry(&self.engine.gate.lock(), Core::sessions)
    }

    fn local_sessions(&self) -> Option<Vec<ExpiryFacts<SessionId>>> {
        self.engine.options.core.local_sessions?;
        Some(self.expiry(&self.engine.gate.lock(), Core::local_sessions))
    }

    fn session_timeouts(&self) -> Vec<(SessionId, i32)> {
        self.engine.gate.lock().core.sessions().to_sorted()
    }

    fn connection_expiry(&self) -> Vec<ExpiryFacts<(SocketAddr, SessionId)>> {
        let now = self.engine.times();
        let mut due: BTreeMap<i64, Vec<(SocketAddr, SessionId)>> = BTreeMap::new();
        for conn in self.conns() {
            let state = conn.state.lock();
            let at = conn.heard_ms.load(Ordering::Relaxed) + i64::from(state.timeout_ms);
            due.entry(at - now.monotonic_ms + now.wall_ms)
                .or_default()
                .push((conn.line.peer, state.session));
        }
        due.into_iter().map(|(at_ms, members)| ExpiryFacts { at_ms, members }).collect()
    }

    fn ephemerals(&self) -> Vec<(SessionId, Vec<String>)> {
        // Nobody waits for more than one session's.
        let sessions = self.engine.tree.read().sessions_with_ephemerals();
        let of = |id| self.engine.tree.read().ephemerals_of(id).collect::<Vec<_>>();
        let all = sessions.into_iter().map(|id| (id, of(id)));
        all.filter(|(_, paths)| !paths.is_empty()).collect()
    }

    fn watch_summary(&self) -> WatchFacts {
        let counts = self.engine.watches.lock().counts();
        WatchFacts {
            connections: counts.connections as u64,
            paths: counts.paths as u64,
            total: counts.data as u64,
        }
    }

    fn watches_by_session(&self) -> Vec<(SessionId, Vec<String>)> {
        let sessions = self.sessions_of();
        let mut by_session: BTreeMap<SessionId, BTreeSet<String>> = BTreeMap::new();
        self.list_watches(|path, conns| {
            for session in conns.iter().filter_map(|conn| sessions.get(conn)) {
                by_session.entry(*session).or_default().insert(path.clone());
            }
        });
        let sorted = |(session, paths): (_, BTreeSet<_>)| (session, paths.into_iter().collect());
        by_session.into_iter().map(sorted).collect()
    }

    fn watches_by_path(&self) -> Vec<(String, Vec<SessionId>)> {
        let sessions = self.sessions_of();
        let mut by_path = BTreeMap::new();
        self.list_watches(|path, conns| {
            let of = conns.iter().filter_map(|conn| sessions.get(conn).copied());
            let of = of.collect::<Vec<_>>();
            // What a connection left that has ended is still being removed.
            if !of.is_empty() {
                by_path.insert(path, of);
            }
        });
        by_path.into_iter().collect()
    }

    fn digests(&self) -> Vec<DigestFacts> {
        let tree = self.engine.tree.read();
        let version = zk_proto::txn::DIGEST_VERSION;
        tree.digest_history().map(|(zxid, digest)| DigestFacts { zxid, digest, version }).collect()
    }

    fn directory_bytes(&self) -> [u64; 2] {
        [directory_bytes(&self.snapshot_dir), directory_bytes(&self.log_dir)]
    }

    fn last_snapshot(&self) -> Option<LastSnapshot> {
        let entries = std::fs::read_dir(&self.snapshot_dir).ok()?.flatten();
        let newest = entries.filter_map(|entry| {
            let name = entry.file_name();
            let Name::Snapshot(zxid, _) = Name::parse(name.to_str()?) else { return None };
            let modified = entry.metadata().ok()?.modified().ok()?;
            let unix_s = modified.duration_since(UNIX_EPOCH).ok()?.as_secs() as i64;
            Some(LastSnapshot { zxid, unix_s })
        });
        newest.max_by_key(|snapshot| snapshot.zxid)
    }

    fn reset_connections(&self) {
        for conn in self.conns() {
            conn.state.lock().stats = ConnStats::default();
        }
    }

    fn trace_mask(&self) -> &AtomicI64 {
        &self.trace_mask
    }

    fn authorize(&self, scheme: &str, auth: Option<&[u8]>, peer: IpAddr) -> Authorization {
        let identities = match self.engine.auth.authenticate(scheme, auth, Some(peer)) {
            AuthOutcome::Granted(identities) if !identities.is_empty() => identities,
            _ => return Authorization::NotAuthenticated,
        };
        let root = self.engine.tree.read().root().acl().clone();
        if may_have_all(&self.engine.auth, &root, &identities) {
            return Authorization::Granted;
        }
        tracing::warn!(
            "an HTTP command that shows or replaces all data is refused to {scheme} from {peer}: it needs \
             the superuser (DigestAuthenticationProvider.superDigest), or one whom the ACL of / names \
             with all permissions"
        );
        Authorization::NotAuthorized
    }

    fn snapshot(&self) -> Result<SnapshotStream, AdminError> {
        let taken = self.snapshots.take();
        let (zxid, file) = taken
            .ok_or_else(|| {
                AdminError("a snapshot is being written already; try again when it is done".into())
            })?
            .map_err(|error| AdminError(Box::new(error)))?;
        let content =
            std::fs::File::open(&file.path).map_err(|error| AdminError(Box::new(error)))?;
        Ok(SnapshotStream { zxid, len: file.bytes, content: Box::new(content) })
    }

    fn restore(&self, snapshot: &mut dyn Read) -> Result<Zxid, AdminError> {
        if self.quorum.is_some() {
            return Err(AdminError(
                "a member of an ensemble has the data of its leader: restore into a server that runs \
                 alone, and give its directory to the members, all of them stopped"
                    .into(),
            ));
        }
        self.restorer.restore(snapshot).map_err(|error| AdminError(Box::new(error)))
    }
}

/// Whether somebody may see or replace everything there is: a superuser, or one whom the ACL of `/`
/// names. What holds for everybody, or for an address, is no permission for that (RELIABILITY T6).
fn may_have_all(auth: &AuthOptions, root: &[u8], identities: &[Identity]) -> bool {
    if identities.iter().any(|identity| identity.scheme == "super") {
        return true;
    }
    let Ok(list) = AclBytes::parse(root) else { return false };
    let is_name = |entry: &Acl<'_>| !matches!(entry.scheme.as_deref(), Some("world" | "ip"));
    let names: Vec<Acl<'_>> = list.iter().filter(is_name).collect();
    let names = if names.is_empty() { return false } else { acl::encode(&names) };
    let all = [Perms::READ, Perms::WRITE, Perms::CREATE, Perms::DELETE, Perms::ADMIN];
    all.iter().all(|perm| auth.allows(&names, *perm, identities).is_ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quotas_of_any_size_and_number_are_summed() {
        let quota = |n| StatsTrack { count: n, bytes: n, count_hard_limit: n, byte_hard_limit: n };
        let of = |name: String| [format!("{name}/a"), format!("{name}/b")];
        let paths = (0..150).rev().flat_map(|n| of(format!("/{n:03}")));
        let all = sum_quotas(paths.map(|path| (path, [quota(i64::MAX), quota(i64::MAX)])));
        assert_eq!(all.len(), MOST_NAMESPACES);
        for (n, (name, sum)) in all.iter().enumerate() {
            assert_eq!(*name, format!("{n:03}"));
            let QuotaFacts { count_limit, bytes_limit, count, bytes } = *sum;
            assert_eq!([count_limit, bytes_limit, count, bytes], [i64::MAX; 4], "{name}");
        }
        let least = sum_quotas(of("/x".into()).map(|path| (path, [quota(-2), quota(i64::MIN)])));
        assert_eq!((least[0].1.count_limit, least[0].1.bytes), (-4, i64::MIN));
    }
}
