//! What operators' ports receive: four-letter words, and HTTP with its paths, queries and headers.
#![no_main]

use libfuzzer_sys::fuzz_target;
use std::io::{Cursor, Read};
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::AtomicI64;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use zk_proto::{SessionId, Zxid};
use zk_server::admin::*;
use zk_server::config::{Options, ServerConfig, parse};
use zkfleet_fuzz::Tape;

const CONFIG: &[u8] =
    b"dataDir=/data\nclientPort=2181\n4lw.commands.whitelist=*\nadmin.rateLimiterIntervalInMS=0\n";
const MAX_ANSWER_BYTES: u64 = 1 << 20;

/// A server with nothing in it.
struct Empty {
    config: ServerConfig,
    metrics: Metrics,
    mask: AtomicI64,
}

impl Inspect for Empty {
    fn is_serving(&self) -> bool {
        true
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
        Mode::Standalone
    }
    fn quorum(&self) -> Option<QuorumFacts> {
        None
    }
    fn local_sessions(&self) -> Option<Vec<ExpiryFacts<SessionId>>> {
        None
    }
    fn session_timeouts(&self) -> Vec<(SessionId, i32)> {
        Vec::new()
    }
    fn uptime_ms(&self) -> u64 {
        1
    }
    fn tree(&self) -> TreeFacts {
        TreeFacts {
            last_zxid: Zxid(6),
            node_count: 8,
            ephemeral_count: 3,
            watch_count: 4,
            data_bytes: 63,
            session_count: 2,
            local_session_count: 0,
        }
    }
    fn quotas(&self) -> Vec<(String, QuotaFacts)> {
        Vec::new()
    }
    fn connections(&self, _: bool) -> Vec<ConnectionFacts> {
        Vec::new()
    }
    fn connection_count(&self) -> usize {
        0
    }
    fn tls_handshake_count(&self) -> usize {
        0
    }
    fn connection_drop_probability(&self) -> f64 {
        0.0
    }
    fn outstanding_count(&self) -> usize {
        0
    }
    fn sessions(&self) -> Vec<ExpiryFacts<SessionId>> {
        Vec::new()
    }
    fn connection_expiry(&self) -> Vec<ExpiryFacts<(SocketAddr, SessionId)>> {
        Vec::new()
    }
    fn ephemerals(&self) -> Vec<(SessionId, Vec<String>)> {
        Vec::new()
    }
    fn watch_summary(&self) -> WatchFacts {
        WatchFacts { connections: 2, paths: 2, total: 3 }
    }
    fn watches_by_session(&self) -> Vec<(SessionId, Vec<String>)> {
        Vec::new()
    }
    fn watches_by_path(&self) -> Vec<(String, Vec<SessionId>)> {
        Vec::new()
    }
    fn digests(&self) -> Vec<DigestFacts> {
        Vec::new()
    }
    fn directory_bytes(&self) -> [u64; 2] {
        [1, 2]
    }
    fn last_snapshot(&self) -> Option<LastSnapshot> {
        None
    }
    fn reset_connections(&self) {}
    fn trace_mask(&self) -> &AtomicI64 {
        &self.mask
    }
    fn authorize(&self, scheme: &str, auth: Option<&[u8]>, _: IpAddr) -> Authorization {
        match (scheme, auth) {
            ("digest", Some(b"root:pw")) => Authorization::Granted,
            _ => Authorization::NotAuthorized,
        }
    }
    fn snapshot(&self) -> Result<SnapshotStream, AdminError> {
        let content = Box::new(Cursor::new([7; 100]));
        Ok(SnapshotStream { zxid: Zxid(0x1f), len: 100, content })
    }
    fn restore(&self, snapshot: &mut dyn Read) -> Result<Zxid, AdminError> {
        std::io::copy(snapshot, &mut std::io::sink()).map_err(|error| AdminError(error.into()))?;
        Ok(Zxid(77))
    }
}

fn words(bytes: &[u8], server: &Empty) {
    let Some((word, argument)) = bytes.split_first_chunk() else { return };
    let Some(word) = FourLetterWord::from_bytes(*word) else { return };
    let text = four_letter_answer(word, argument, Whitelist::all(), server);
    assert!(text.len() < 1 << 16);
}

/// The bytes come in two parts, and then no more.
async fn http(bytes: &[u8], cut: usize, server: Arc<Empty>) {
    let admin = AdminServer::new(server.config.service.admin.clone().expect("it is on"), server);
    let (mut client, inner) = tokio::io::duplex(64 << 10);
    let served = admin.serve_one(inner, SocketAddr::from(([127, 0, 0, 1], 1)));
    let asked = async {
        let (first, second) = bytes.split_at(cut.min(bytes.len()));
        // It may have hung up already.
        let _ = client.write_all(first).await;
        let _ = client.write_all(second).await;
        let _ = client.shutdown().await;
        let mut answer = Vec::new();
        let _ = client.take(MAX_ANSWER_BYTES).read_to_end(&mut answer).await;
        assert!((answer.len() as u64) < MAX_ANSWER_BYTES);
        assert!(answer.is_empty() || answer.starts_with(b"HTTP/1."), "{answer:?}");
    };
    tokio::join!(served, asked);
}

fuzz_target!(|input: &[u8]| {
    let mut tape = Tape(input);
    let (shape, cut) = (tape.byte(), usize::from(tape.byte()));
    let loaded = parse("zoo.cfg", CONFIG, &[], Options::default()).expect("a plain file");
    let (metrics, mask) = (Metrics::default(), AtomicI64::new(306));
    let server = Empty { config: loaded.config, metrics, mask };
    if shape & 1 == 0 {
        return words(tape.0, &server);
    }
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build();
    runtime.expect("a runtime").block_on(http(tape.0, cut, Arc::new(server)));
});
