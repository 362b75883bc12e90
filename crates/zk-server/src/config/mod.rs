//! `zoo.cfg`, as Apache reads it, into typed settings with units in their names.
//!
//! All problems are found at once, each with its line and what to do; unknown keys are named with a
//! suggestion. **Invariant:** nothing here opens a socket or writes a file, and no value of a
//! secret key is in any text.
//!
//! Read first: [`ServerConfig`], [`load`], [`schema::KEYS`].
//!
//! Mirrors `QuorumPeerConfig`; differs in: unknown keys are warned about instead of becoming system
//! properties, old files are purged by default, the admin server binds loopback by default, and
//! values that give data away are refused.

mod auth;
mod dynamic;
mod idle;
mod keys;
mod limits;
mod listen;
mod load;
mod problem;
pub mod properties;
mod quorum;
mod quorum_sasl;
pub mod schema;
mod service;
mod sessions;
mod storage;
#[cfg(test)]
mod tests;
mod tls_keys;

use std::path::PathBuf;

use zk_proto::Sid;

pub use auth::{AuthSettings, SaslSettings};
pub use dynamic::{DynamicError, DynamicFiles};
pub use limits::{LargeRequestSettings, LimitSettings};
pub(crate) use listen::DEFAULT_BACKLOG;
pub use listen::Listeners;
use load::is_dynamic;
pub use load::{Loaded, Options, Override, load, parse};
pub use problem::{ConfigError, Origin, Problem, Severity};
pub use quorum::QuorumSettings;
pub use quorum_sasl::QuorumSaslSettings;
pub use service::{AdminSettings, ServiceSettings};
pub use sessions::{SessionPassword, SessionSettings};
pub use storage::{Compression, ContainerSettings, PurgeSettings, StorageSettings};
pub use tls_keys::{ClientAuth, QuorumTlsSettings, StoreKind, StoreSettings, TlsSettings};
pub use zk_zab::{Ensemble, HostPort, Member, MemberAddress, Role};

/// Everything that a server is told before it starts.
#[derive(Clone, PartialEq, Debug)]
pub struct ServerConfig {
    /// `tickTime`: the unit of sessions and limits.
    pub tick_time_ms: u32,
    /// `dataDir`: snapshots and `myid`, in its folder `version-2`.
    pub data_dir: PathBuf,
    /// `dataLogDir`: the log; the same as `data_dir` when unset.
    pub data_log_dir: PathBuf,
    /// The number in the file `myid`; a standalone server needs none.
    pub server_id: Option<i64>,
    /// Where clients connect.
    pub listeners: Listeners,
    /// Timeouts and passwords of sessions.
    pub sessions: SessionSettings,
    /// Log, snapshots and tree.
    pub storage: StorageSettings,
    /// Bounds on connections and requests.
    pub limits: LimitSettings,
    /// Identities.
    pub auth: AuthSettings,
    /// TLS of the client listeners; `None` when no listener wants it.
    pub tls: Option<TlsSettings>,
    /// Operators' interfaces.
    pub service: ServiceSettings,
    /// What an ensemble would need.
    pub quorum: QuorumSettings,
    /// The text of the file with secret values masked: the admin server shows it.
    pub initial_text: String,
    /// All keys that are set, with secret values masked: the admin server shows them as system
    /// properties.
    pub properties: Vec<(String, String)>,
}

/// What `tickTime` is when unset, as in Apache's code; its sample file says 2000.
const DEFAULT_TICK_MS: u32 = 3000;

impl ServerConfig {
    /// Reads all keys; findings are in the keys afterwards.
    fn read(keys: &mut keys::Keys, options: Options) -> ServerConfig {
        let tick_time_ms = keys.num("tickTime", DEFAULT_TICK_MS, 1..=i32::MAX as u32);
        let data_dir = keys.path("dataDir");
        if data_dir.is_none() {
            keys.error("dataDir", "dataDir is not set; name the directory for the data");
        }
        let data_dir = data_dir.unwrap_or_default();
        let mut listeners = Listeners::read(keys);
        let quorum = QuorumSettings::read(keys);
        quorum.check(keys, options.server_id);
        let own = options.server_id.and_then(|sid| quorum.ensemble.members.get(&Sid(sid)));
        if let Some(client) = own.and_then(|member| member.client.clone()) {
            take_client_of_server_line(keys, &mut listeners, client);
        }
        // A port that is set and wrong has its own finding already.
        let has_client = listeners.client.is_some() || keys.values.contains_key("clientPort");
        let has_secure = listeners.secure.is_some() || keys.values.contains_key("secureClientPort");
        if !has_client && !has_secure {
            keys.error("clientPort", "neither clientPort nor secureClientPort is set; set one");
        }
        if listeners.port_unification && !has_client {
            keys.error("client.portUnification", "client.portUnification needs clientPort");
        }
        listeners.check(keys);
        let tls_wanted_by = listeners.tls_wanted_by();
        let config = ServerConfig {
            tick_time_ms,
            data_log_dir: keys.path("dataLogDir").unwrap_or_else(|| data_dir.clone()),
            data_dir,
            server_id: options.server_id,
            listeners,
            sessions: SessionSettings::read(keys, tick_time_ms),
            storage: StorageSettings::read(keys, options.unsafe_allowed),
            limits: LimitSettings::read(keys),
            auth: AuthSettings::read(keys, tls_wanted_by.is_some()),
            tls: TlsSettings::read(keys, tls_wanted_by),
            service: ServiceSettings::read(keys),
            quorum,
            initial_text: String::new(),
            properties: Vec::new(),
        };
        idle::check(keys, &config);
        config
    }
}

/// The client part of our own server line names the client port; a different `clientPort` is
/// refused (`QuorumPeerConfig.setupClientPort`).
fn take_client_of_server_line(keys: &mut keys::Keys, listeners: &mut Listeners, line: HostPort) {
    let fits =
        |own: &HostPort| own.port == line.port && (own.is_wildcard() || own.host == line.host);
    match &listeners.client {
        Some(own) if !fits(own) => {
            let text = format!(
                "clientPort: {own} differs from {line} in the server line of this member; remove \
                 one of them"
            );
            keys.error("clientPort", text);
        }
        _ => listeners.client = Some(line),
    }
}
