//! Answers compared with what Apache 3.9.4 gave for the same state: here is the state, the words
//! are in `words.rs`, the HTTP commands in `web.rs`.

mod ensemble;
mod web;
mod words;

use std::io::Read;
use std::net::{IpAddr, SocketAddr};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering::Relaxed};
use std::time::Duration;

use zk_proto::{OpCode, SessionId, Xid, Zxid};

use super::facts::ConnectionSession;
use super::*;
use crate::config::{self, Options, ServerConfig};

/// A server in the state that Apache was in: two clients, ephemerals, watches.
struct Fake {
    serving: AtomicBool,
    mode: Mode,
    quorum: Option<QuorumFacts>,
    has_local_sessions: bool,
    /// Paths with a watch, besides Apache's two.
    watched: usize,
    config: ServerConfig,
    metrics: Metrics,
    mask: AtomicI64,
    restored: Mutex<Vec<u8>>,
}

const A: SessionId = SessionId(72_057_692_606_627_840);
const B: SessionId = SessionId(72_057_692_606_627_841);
/// One that only its member knows.
const C: SessionId = SessionId(72_057_692_606_627_842);

fn peer(port: u16) -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], port))
}

impl Fake {
    fn new() -> Fake {
        Fake::with("")
    }

    fn with(lines: &str) -> Fake {
        let text = format!(
            "dataDir=/data\nclientPort=2181\ntickTime=500\nmaxClientCnxns=0\n\
             ssl.keyStore.password=canary\n4lw.commands.whitelist=*\n{lines}"
        );
        let loaded = config::parse("zoo.cfg", text.as_bytes(), &[], Options::default()).unwrap();
        let metrics = Metrics::default();
        for ms in [0, 0, 1, 2, 2, 3, 3, 4, 7, 11] {
            metrics.stats.latency.record_time(Duration::from_millis(ms));
        }
        metrics.stats.packets_received.add(14);
        metrics.stats.packets_sent.add(13);
        [89, 22].iter().for_each(|bytes| metrics.stats.responses.record(*bytes, 1));
        Fake {
            serving: AtomicBool::new(true),
            mode: Mode::Standalone,
            quorum: None,
            has_local_sessions: false,
            watched: 0,
            config: loaded.config,
            metrics,
            mask: AtomicI64::new(306),
            restored: Mutex::default(),
        }
    }
}

impl Inspect for Fake {
    fn is_serving(&self) -> bool {
        self.serving.load(Relaxed)
    }
    fn config(&self) -> &ServerConfig {
        &self.config
    }
    fn metrics(&self) -> &Metrics {
        &self.metrics
    }
    fn client_ports(&self) -> [Option<u16>; 2] {
        [Some(2181), None]
    }
    fn mode(&self) -> Mode {
        self.mode
    }
    fn quorum(&self) -> Option<QuorumFacts> {
        self.quorum.clone()
    }
    fn uptime_ms(&self) -> u64 {
        27_877
    }
    fn tree(&self) -> TreeFacts {
        TreeFacts {
            last_zxid: Zxid(6),
            node_count: 8,
            ephemeral_count: 3,
            watch_count: 4,
            data_bytes: 63,
            session_count: 2,
            local_session_count: u64::from(self.has_local_sessions),
        }
    }
    fn connections(&self, secure: bool) -> Vec<ConnectionFacts> {
        if secure {
            return Vec::new();
        }
        let session = ConnectionSession {
            id: A,
            last_operation: Some(OpCode::GetChildren2),
            established_ms: 1_795_367_821_594,
            timeout_ms: 10_000,
            last_xid: Xid(6),
            last_zxid: Zxid(4),
            last_response_ms: 1_531_239,
            last_latency_ms: 2,
            min_latency_ms: 0,
            avg_latency_ms: 4,
            max_latency_ms: 11,
        };
        let pinged = ConnectionSession {
            id: B,
            last_operation: Some(OpCode::Ping),
            last_xid: Xid::PING,
            ..session.clone()
        };
        let one = |port, interest_ops, received, sent, session| ConnectionFacts {
            peer: peer(port),
            interest_ops,
            outstanding: 0,
            received,
            sent,
            session,
        };
        vec![
            one(35446, 1, 7, 7, Some(session)),
            one(35462, 1, 3, 3, Some(pinged)),
            one(35484, 0, 1, 0, None),
        ]
    }
    fn connection_count(&self) -> usize {
        3
    }
    fn tls_handshake_count(&self) -> usize {
        0
    }
    fn quotas(&self) -> Vec<(String, QuotaFacts)> {
        let quota = QuotaFacts { count_limit: 10, bytes_limit: -1, count: 2, bytes: 30 };
        vec![("app".to_owned(), quota), ("o\"dd\\".to_owned(), QuotaFacts::default())]
    }

    fn connection_drop_probability(&self) -> f64 {
        0.25
    }

    fn outstanding_count(&self) -> usize {
        0
    }
    fn sessions(&self) -> Vec<ExpiryFacts<SessionId>> {
        vec![ExpiryFacts { at_ms: 1_795_367_831_500, members: vec![B, A] }]
    }
    fn local_sessions(&self) -> Option<Vec<ExpiryFacts<SessionId>>> {
        let set = ExpiryFacts { at_ms: 1_795_367_831_000, members: vec![C] };
        self.has_local_sessions.then(|| vec![set])
    }
    fn session_timeouts(&self) -> Vec<(SessionId, i32)> {
        vec![(A, 10_000), (B, 4000)]
    }
    fn connection_expiry(&self) -> Vec<ExpiryFacts<(SocketAddr, SessionId)>> {
        let members = vec![(peer(35462), B), (peer(35506), SessionId::NONE)];
        vec![ExpiryFacts { at_ms: 1_795_367_840_000, members }]
    }
    fn ephemerals(&self) -> Vec<(SessionId, Vec<String>)> {
        vec![(B, vec!["/z".into()]), (A, vec!["/app/f".into(), "/app/e".into()])]
    }
    fn watch_summary(&self) -> WatchFacts {
        WatchFacts { connections: 2, paths: 2, total: 3 }
    }
    fn watches_by_session(&self) -> Vec<(SessionId, Vec<String>)> {
        vec![(B, vec!["/app".into()]), (A, vec!["/app".into(), "/app/e".into()])]
    }
    fn watches_by_path(&self) -> Vec<(String, Vec<SessionId>)> {
        let more = (0..self.watched).map(|n| (format!("/many/{n:020}"), vec![A]));
        [("/app".into(), vec![A, B]), ("/app/e".into(), vec![A])].into_iter().chain(more).collect()
    }
    fn digests(&self) -> Vec<DigestFacts> {
        vec![DigestFacts { zxid: Zxid(0x80), digest: u64::MAX, version: 2 }]
    }
    fn directory_bytes(&self) -> [u64; 2] {
        [358, 67_109_358]
    }
    fn last_snapshot(&self) -> Option<LastSnapshot> {
        Some(LastSnapshot { zxid: Zxid(0x1f), unix_s: 1_795_367_794 })
    }
    fn reset_connections(&self) {}
    fn trace_mask(&self) -> &AtomicI64 {
        &self.mask
    }
    fn authorize(&self, scheme: &str, auth: Option<&[u8]>, _peer: IpAddr) -> Authorization {
        match (scheme, auth) {
            ("digest", Some(b"root:pw")) => Authorization::Granted,
            ("digest", Some(_)) => Authorization::NotAuthorized,
            _ => Authorization::NotAuthenticated,
        }
    }
    fn snapshot(&self) -> Result<SnapshotStream, AdminError> {
        let content = std::io::repeat(7).take(200_000);
        Ok(SnapshotStream { zxid: Zxid(0x1f), len: 200_000, content: Box::new(content) })
    }
    fn restore(&self, snapshot: &mut dyn Read) -> Result<Zxid, AdminError> {
        let mut restored = self.restored.lock().unwrap();
        snapshot.read_to_end(&mut restored).map_err(|error| AdminError(error.into()))?;
        Ok(Zxid(77))
    }
}
