//! What the texts are made of, and the trait behind which the running server gives it.

use std::io::Read;
use std::net::{IpAddr, SocketAddr};
use std::sync::atomic::AtomicI64;

use zk_proto::{OpCode, SessionId, Xid, Zxid};

use super::ensemble::QuorumFacts;
use super::metrics::Metrics;
use crate::config::ServerConfig;

/// The running server, as operators may ask it. Calls may take locks for a moment and may build
/// long lists, so the caller keeps them off the threads that serve clients.
pub trait Inspect: Send + Sync + 'static {
    /// Whether requests are served; if not, most commands answer just that.
    fn is_serving(&self) -> bool;

    /// What it was told.
    fn config(&self) -> &ServerConfig;

    /// What it counts.
    fn metrics(&self) -> &Metrics;

    /// The ports that are bound: plain and TLS.
    fn client_ports(&self) -> [Option<u16>; 2];

    /// Its role.
    fn mode(&self) -> Mode;

    /// What it does in its ensemble, unless it is alone.
    fn quorum(&self) -> Option<QuorumFacts>;

    /// Time since start.
    fn uptime_ms(&self) -> u64;

    /// Figures of tree and sessions.
    fn tree(&self) -> TreeFacts;

    /// Limits and usage of quotas, by the first part of the paths that they are on.
    fn quotas(&self) -> Vec<(String, QuotaFacts)>;

    /// The connections of the plain listener, or of the TLS listener.
    fn connections(&self, secure: bool) -> Vec<ConnectionFacts>;

    /// Connections that are open, in both listeners.
    fn connection_count(&self) -> usize;

    /// TLS handshakes under way.
    fn tls_handshake_count(&self) -> usize;

    /// The chance of a connect request to be dropped by the throttle.
    fn connection_drop_probability(&self) -> f64;

    /// Requests in the pipeline.
    fn outstanding_count(&self) -> usize;

    /// When sessions expire, soonest first; but for those that only this member knows.
    fn sessions(&self) -> Vec<ExpiryFacts<SessionId>>;

    /// The same of sessions that only this member knows; `None` unless new ones are such.
    fn local_sessions(&self) -> Option<Vec<ExpiryFacts<SessionId>>>;

    /// Sessions and their timeouts in ms, by id.
    fn session_timeouts(&self) -> Vec<(SessionId, i32)>;

    /// When connections expire, soonest first.
    fn connection_expiry(&self) -> Vec<ExpiryFacts<(SocketAddr, SessionId)>>;

    /// Ephemeral paths by session.
    fn ephemerals(&self) -> Vec<(SessionId, Vec<String>)>;

    /// Number of data watches.
    fn watch_summary(&self) -> WatchFacts;

    /// Paths of data watches by session.
    fn watches_by_session(&self) -> Vec<(SessionId, Vec<String>)>;

    /// Sessions of data watches by path.
    fn watches_by_path(&self) -> Vec<(String, Vec<SessionId>)>;

    /// Digests of the tree, oldest first.
    fn digests(&self) -> Vec<DigestFacts>;

    /// Bytes in the snapshot and in the log directory.
    fn directory_bytes(&self) -> [u64; 2];

    /// The newest snapshot.
    fn last_snapshot(&self) -> Option<LastSnapshot>;

    /// Forgets the statistics of all connections.
    fn reset_connections(&self);

    /// The trace mask: shown and set as in Apache, without effect.
    fn trace_mask(&self) -> &AtomicI64;

    /// Whether the identity that a request proves has all permissions of the ACL of `/`. `auth` is
    /// what follows the scheme in the header.
    fn authorize(&self, scheme: &str, auth: Option<&[u8]>, peer: IpAddr) -> Authorization;

    /// Writes a snapshot and opens it. Blocks.
    fn snapshot(&self) -> Result<SnapshotStream, AdminError>;

    /// Replaces the tree by a snapshot and returns its zxid. Blocks.
    fn restore(&self, snapshot: &mut dyn Read) -> Result<Zxid, AdminError>;
}

/// What a member does at the moment.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Mode {
    /// Alone.
    Standalone,
    /// Of an ensemble.
    Leader,
    /// Of an ensemble.
    Follower,
    /// Of an ensemble, without a vote.
    Observer,
    /// Of an ensemble without a quorum.
    ReadOnly,
    /// Alone, on a full disk: sessions that are there read, and no new one opens.
    DiskFull,
}

impl Mode {
    /// Apache's word.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Mode::Standalone => "standalone",
            Mode::Leader => "leader",
            Mode::Follower => "follower",
            Mode::Observer => "observer",
            Mode::ReadOnly | Mode::DiskFull => "read-only",
        }
    }

    /// Whether no writes are taken.
    #[must_use]
    pub const fn is_read_only(self) -> bool {
        matches!(self, Mode::ReadOnly | Mode::DiskFull)
    }
}

/// Figures of tree and sessions.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct TreeFacts {
    /// The last applied txn.
    pub last_zxid: Zxid,
    /// Znodes, with `/` (once) and those below `/zookeeper`.
    pub node_count: u64,
    /// Ephemeral znodes.
    pub ephemeral_count: u64,
    /// Watches of all kinds.
    pub watch_count: u64,
    /// Bytes of data and paths; the path of `/` is empty.
    pub data_bytes: u64,
    /// Sessions of the ensemble.
    pub session_count: u64,
    /// Sessions that only this member knows.
    pub local_session_count: u64,
}

impl TreeFacts {
    /// The number of znodes that Apache shows: it counts `/` twice, under its two names `/` and the
    /// empty one, and operators compare members by this figure.
    pub(super) fn shown_node_count(&self) -> u64 {
        self.node_count + 1
    }

    /// The same of the bytes: the second root has a path of one byte.
    pub(super) fn shown_data_bytes(&self) -> u64 {
        self.data_bytes + 1
    }
}

/// Sums over the quotas below one znode of the root, as Apache shows them: -1 stands for no limit.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct QuotaFacts {
    /// The hard limit of znodes, or else the soft one.
    pub count_limit: i64,
    /// The same of bytes.
    pub bytes_limit: i64,
    /// Znodes.
    pub count: i64,
    /// Bytes of data.
    pub bytes: i64,
}

/// One connection.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ConnectionFacts {
    /// The client.
    pub peer: SocketAddr,
    /// Apache's selector bits: 1 when it is read from, 0 when not, 4 more when a reply waits.
    pub interest_ops: u8,
    /// Requests without a reply yet.
    pub outstanding: u64,
    /// Packets received.
    pub received: u64,
    /// Packets sent.
    pub sent: u64,
    /// Its session; `None` before the handshake.
    pub session: Option<ConnectionSession>,
}

/// The part of [`ConnectionFacts`] that exists after the handshake.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ConnectionSession {
    /// Its id.
    pub id: SessionId,
    /// The last operation answered.
    pub last_operation: Option<OpCode>,
    /// When it connected, ms since 1970.
    pub established_ms: i64,
    /// Its negotiated timeout.
    pub timeout_ms: u32,
    /// The xid of the last request; special ones are negative.
    pub last_xid: Xid,
    /// The zxid of the last reply.
    pub last_zxid: Zxid,
    /// When the last reply was sent, ms on the server's monotonic clock.
    pub last_response_ms: i64,
    /// Of the last request.
    pub last_latency_ms: u64,
    /// Least.
    pub min_latency_ms: u64,
    /// Average.
    pub avg_latency_ms: u64,
    /// Greatest.
    pub max_latency_ms: u64,
}

/// What expires at one moment.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ExpiryFacts<T> {
    /// Ms since 1970.
    pub at_ms: i64,
    /// Who.
    pub members: Vec<T>,
}

/// Number of data watches.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct WatchFacts {
    /// Connections that have one.
    pub connections: u64,
    /// Paths that have one.
    pub paths: u64,
    /// All.
    pub total: u64,
}

/// A digest of the tree.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct DigestFacts {
    /// After which txn.
    pub zxid: Zxid,
    /// The digest; shown as a signed number, as Java does.
    pub digest: u64,
    /// The version of its rule.
    pub version: i32,
}

/// The newest snapshot file.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct LastSnapshot {
    /// Of its name.
    pub zxid: Zxid,
    /// When it was written, seconds since 1970.
    pub unix_s: i64,
}

/// A snapshot on its way to an operator.
pub struct SnapshotStream {
    /// Of its name.
    pub zxid: Zxid,
    /// Its size in bytes.
    pub len: u64,
    /// Its content.
    pub content: Box<dyn Read + Send>,
}

/// What a proof of identity is good for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Authorization {
    /// Everything at `/`.
    Granted,
    /// No identity was proven.
    NotAuthenticated,
    /// The ACL of `/` does not give it everything.
    NotAuthorized,
}

/// Why a command of an operator failed; the text says what to do.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct AdminError(pub Box<dyn std::error::Error + Send + Sync>);
