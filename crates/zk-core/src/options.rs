//! What the pipeline is told from outside: configuration, time, admission.

use crate::throttle::ThrottleOptions;
use zk_proto::request::ReconfigRequest;
use zk_proto::{ErrorCode, Zxid};
use zk_session::password::Passwords;
use zk_tree::PrepareOptions;

/// Configuration of a member's pipeline.
#[derive(Clone)]
pub struct CoreOptions {
    /// How writes are checked.
    pub prepare: PrepareOptions,
    /// `tickTime` in ms.
    pub tick_ms: u32,
    /// `minSessionTimeout` in ms.
    pub min_session_timeout_ms: i32,
    /// `maxSessionTimeout` in ms.
    pub max_session_timeout_ms: i32,
    /// The top byte of new session ids: myid, 1 when standalone.
    pub server_id: u8,
    /// So many sessions at most; beyond them none opens. A session that is there is never touched.
    pub max_sessions: usize,
    /// How many connect requests are taken in a time; `None` for all.
    pub throttle: Option<ThrottleOptions>,
    /// How session passwords are made (DESIGN R2).
    pub passwords: Passwords,
    /// `enforce.auth.schemes`, if it is enabled: a connection must have one of them.
    pub enforced_schemes: Option<Vec<String>>,
    /// The most bytes that the answer to one multiRead may have (RELIABILITY T11).
    pub max_response_bytes: usize,
    /// The most bytes that any other answer may have.
    pub max_answer_bytes: usize,
    /// The longest string or buffer in a request.
    pub limits: zk_proto::Limits,
    /// `audit.enable`: whether there are [`Effect::Audit`](crate::Effect::Audit)s.
    pub audit: bool,
    /// `reconfigEnabled`.
    pub reconfig_enabled: bool,
    /// `localSessionsEnabled`, in an ensemble: new sessions are of their member alone.
    pub local_sessions: Option<LocalSessions>,
    /// Seed of the hash tables.
    pub hash_seed: u64,
}

/// How sessions of one member alone are treated.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct LocalSessions {
    /// `localSessionsUpgradingEnabled`: one that wants to own an ephemeral becomes one of the
    /// ensemble; else it may own none.
    pub upgrading: bool,
}

/// What a leader knows of its ensemble, where a client wants to change that.
pub trait Membership: Send + Sync {
    /// The text of the configuration that the transaction `zxid` would make; a quorum of it follows
    /// already.
    ///
    /// # Errors
    /// What the client is told.
    fn next(&self, request: &ReconfigRequest<'_>, zxid: Zxid) -> Result<String, ErrorCode>;
}

/// A member that sets nothing: Apache's limits, and none where it has none. Its hashes can be
/// foreseen: a server must draw a seed.
impl Default for CoreOptions {
    fn default() -> CoreOptions {
        CoreOptions {
            prepare: PrepareOptions::default(),
            tick_ms: 2000,
            min_session_timeout_ms: 4000,
            max_session_timeout_ms: 40_000,
            server_id: 1,
            max_sessions: usize::MAX,
            throttle: None,
            passwords: Passwords::apache(),
            enforced_schemes: None,
            max_response_bytes: 4 * zk_proto::Limits::DEFAULT_MAX_BUFFER,
            max_answer_bytes: usize::MAX,
            limits: zk_proto::Limits::default(),
            audit: false,
            reconfig_enabled: false,
            local_sessions: None,
            hash_seed: 1,
        }
    }
}

/// The most identities of one connection: each is looked at for every ACL.
pub(crate) const MAX_IDENTITIES: usize = 64;

/// The most bytes of them: an `auth` entry of an ACL stands for all.
pub(crate) const MAX_IDENTITY_BYTES: usize = 64 << 10;

/// Now, by both clocks.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Times {
    /// A clock that never jumps: sessions live by it.
    pub monotonic_ms: i64,
    /// Wall clock since the Unix epoch: znodes are stamped with it.
    pub wall_ms: i64,
}

/// Whether clients are served (DESIGN R1).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Admission {
    /// Everything; only now may a client be told that its session is gone.
    Serving,
    /// Reads, and sessions that exist; writes are refused and no session opens, expires or closes:
    /// nothing can be logged at the moment.
    ReadOnly,
    /// Reads of clients that ask for no more, in sessions that only this member knows: it has no
    /// quorum (`readonlymode.enabled`; client-protocol 15).
    Alone,
    /// Nothing: connections are closed without an answer.
    Closed,
}
