//! A member from start to stop.

mod ensemble;
mod readers;

use ensemble::Joined;

use crate::admin::{AdminServer, Inspect, Metrics};
use crate::config::{DEFAULT_BACKLOG, HostPort, ServerConfig, SessionPassword};
use crate::engine::{AuditSink, Auditing, Engine, EngineOptions, SaslOptions};
use crate::engine::{log_audit, tell_failed_start};
use crate::inspect::Member;
use crate::net::{
    self, ClientPorts, Gatekeeper, Listening, Seats, Seldom, Speaks, Workers, descriptors,
};
use crate::quorum::QuorumThread;
use crate::storage::{Recovered, Storage, StorageError};
use crate::tls::{SaslFileError, Secret, TlsContext, TlsError, load_jaas};
use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicUsize};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};
use tokio::runtime::Runtime;
use tokio::sync::oneshot;
use zk_core::CoreOptions;
use zk_proto::Limits;
use zk_sasl::Users;
use zk_session::password::{PasswordRuleError, Passwords};
use zk_store::disk::{Disk, RealDisk};
use zk_store::recover::Accept;
use zk_tree::auth::AuthOptions;
use zk_tree::{PrepareOptions, TreeOptions};

/// Why a member does not start. The exit codes are Apache's (operations 2).
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StartError {
    /// The data directory cannot be used, or what is in it cannot be trusted.
    #[error(transparent)]
    Storage(#[from] StorageError),
    /// A listener cannot be opened.
    #[error("cannot listen on {address}: {source}; {}", advice(source))]
    Listen {
        /// Where.
        address: HostPort,
        /// Why not.
        source: io::Error,
    },
    /// The admin server cannot be opened.
    #[error(
        "cannot open the admin server on {address}: {source}; set admin.serverPort or admin.enableServer=false"
    )]
    Admin {
        /// Where.
        address: HostPort,
        /// Why not.
        source: io::Error,
    },
    /// The listener of the Prometheus provider cannot be opened.
    #[error(
        "cannot serve metrics on {address}: {source}; set metricsProvider.httpPort, or leave \
         metricsProvider.className out"
    )]
    Metrics {
        /// Where.
        address: HostPort,
        /// Why not.
        source: io::Error,
    },
    /// The secret of the session passwords cannot be read.
    #[error("cannot read the session secret {}: {source}; see sessionPasswordFile", .path.display())]
    Secret {
        /// The file.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// The secret cannot be used.
    #[error(transparent)]
    Password(#[from] PasswordRuleError),
    /// The TLS stores cannot be used.
    #[error(transparent)]
    Tls(#[from] TlsError),
    /// The users of SASL cannot be read.
    #[error(transparent)]
    Users(#[from] SaslFileError),
    /// A thread cannot be started.
    #[error("cannot start a thread: {0}")]
    Thread(#[source] io::Error),
}

/// What to do when there can be no listener.
fn advice(error: &io::Error) -> &'static str {
    match error.kind() {
        io::ErrorKind::AddrInUse => "is another server running there?",
        io::ErrorKind::PermissionDenied => "take a port from 1024 on, or give the right to bind it",
        _ => "the address must be one of this machine's",
    }
}

impl StartError {
    /// What the process should exit with.
    #[must_use]
    pub fn exit_code(&self) -> u8 {
        match self {
            StartError::Storage(error) => error.exit_code(),
            StartError::Admin { .. } | StartError::Metrics { .. } => 4,
            StartError::Secret { .. }
            | StartError::Password(_)
            | StartError::Tls(_)
            | StartError::Users(_) => 2,
            StartError::Listen { .. } | StartError::Thread(_) => 1,
        }
    }
}

/// Why a stop is not complete.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StopError {
    /// The log cannot be completed.
    #[error(transparent)]
    Storage(#[from] StorageError),
    /// The audit log has failed, now or before.
    #[error("lines of the audit log could not be written, see the error about it above")]
    Audit,
}

/// A running member.
pub struct Server {
    member: Arc<Member>,
    workers: Workers,
    storage: Storage,
    housekeeping: Housekeeping,
    auditing: Auditing,
    quorum: Option<QuorumThread>,
}

impl Server {
    /// Recovers the data and begins to serve.
    pub fn start(config: ServerConfig) -> Result<Server, StartError> {
        Server::start_on(config, Arc::new(RealDisk))
    }

    /// The same on a disk of the caller's: tests bring one that is slow, or full when they say so.
    pub fn start_on(config: ServerConfig, disk: Arc<dyn Disk>) -> Result<Server, StartError> {
        let audit: AuditSink = Arc::new(|line| {
            log_audit(line);
            Ok(())
        });
        Server::start_accepting(config, disk, &[], audit, || {})
    }

    /// The same, letting losses pass that recovery refuses otherwise. It is for one start: when
    /// there is nothing to let pass, the member does not start. Lines of the audit log go to
    /// `audit`. `loaded` is called when the data is read: until then nothing depends on this
    /// process.
    pub fn start_accepting(
        config: ServerConfig,
        disk: Arc<dyn Disk>,
        accept: &[Accept],
        audit: AuditSink,
        loaded: impl FnOnce(),
    ) -> Result<Server, StartError> {
        let is_audited = config.service.audit;
        readers::warn(&config);
        let started = Server::start_all(config, disk, accept, audit.clone(), loaded);
        if is_audited && started.is_err() {
            tell_failed_start(audit);
        }
        started
    }

    fn start_all(
        config: ServerConfig,
        disk: Arc<dyn Disk>,
        accept: &[Accept],
        audit: AuditSink,
        loaded: impl FnOnce(),
    ) -> Result<Server, StartError> {
        let started = Instant::now();
        descriptors::raise();
        let hash_seed = random_seed();
        let passwords = passwords(&config)?;
        let metrics = Arc::new(Metrics::default());
        let mut options = engine_options(&config, passwords.clone(), hash_seed)?;
        let tls = config.tls.clone().map(TlsContext::new).transpose()?.map(Arc::new);
        let tree = TreeOptions { extended_types: config.storage.extended_types, hash_seed };
        // Before the data is read: a second server must not read it for nothing.
        let mut listeners = Vec::new();
        let on_client_port =
            if config.listeners.port_unification { Speaks::Either } else { Speaks::Plain };
        let ports = ClientPorts::new([
            listen(config.listeners.client.as_ref(), &config, on_client_port, &mut listeners)?,
            listen(config.listeners.secure.as_ref(), &config, Speaks::Tls, &mut listeners)?,
        ]);
        let (mut storage, recovered) = Storage::open(&config, disk, accept, tree, &metrics)?;
        loaded();
        let Recovered { tree, sessions, log } = recovered;
        options.core.passwords = storage.settle_passwords(passwords, &sessions)?;
        let engine = Engine::new(options, tree, sessions, metrics, storage.appender());
        let joined = Joined::new(&config, &engine, &storage)?;
        let snapshots = storage.start(&engine, log)?;
        let runtime = runtime()?;
        let gatekeeper = Arc::new(gatekeeper(&config, &engine, tls.as_ref()));
        let member = Arc::new(Member {
            engine: engine.clone(),
            gatekeeper: gatekeeper.clone(),
            snapshots: snapshots.clone(),
            restorer: storage.restorer(&engine, &snapshots),
            snapshot_dir: storage.snapshot_dir(),
            log_dir: storage.log_dir(),
            ports: ports.clone(),
            quorum: joined.as_ref().map(Joined::quorum),
            started,
            trace_mask: AtomicI64::new(DEFAULT_TRACE_MASK),
            config,
        });
        let inspect: Arc<dyn Inspect> = member.clone();
        engine.answer_words_by(Arc::downgrade(&inspect));
        open_admin(&member.config, &inspect, &runtime)?;
        start_chores(&member, &runtime);
        if let Some(tls) = tls.filter(|tls| tls.reloads()) {
            watch_certificates(&runtime, move || tls.refresh());
        }
        if let Some(tls) = joined.as_ref().and_then(Joined::tls).filter(|tls| tls.reloads()) {
            watch_certificates(&runtime, move || tls.refresh());
        }
        let auditing = engine.start_audit(audit).map_err(StartError::Thread)?;
        let count = std::thread::available_parallelism().map_or(2, std::num::NonZero::get);
        let workers = Workers::start(&gatekeeper, count, listeners, ports.clone(), &runtime)
            .map_err(StartError::Thread)?;
        let housekeeping = Housekeeping::start(runtime)?;
        let join = |joined: Joined| joined.start(&member, workers.entrance(), &storage);
        let quorum = joined.map(join).transpose()?;
        let [plain, secure] =
            ports.get().map(|port| port.map_or("-".to_owned(), |port| port.to_string()));
        tracing::info!(
            "serving clients on port {plain} (TLS: {secure}), started in {} ms",
            started.elapsed().as_millis()
        );
        Ok(Server { member, workers, storage, housekeeping, auditing, quorum })
    }

    /// The port for clients.
    #[must_use]
    pub fn client_port(&self) -> Option<u16> {
        self.member.ports.get()[0]
    }

    /// The port for clients with TLS.
    #[must_use]
    pub fn secure_client_port(&self) -> Option<u16> {
        self.member.ports.get()[1]
    }

    /// Whether the log or the audit log failed: nothing can be acknowledged any more, and the
    /// process should end with an error.
    #[must_use]
    pub fn has_failed(&self) -> bool {
        self.member.engine.is_poisoned()
    }

    /// Ends all connections, completes the log and stops.
    pub fn stop(self) -> Result<(), StopError> {
        // Before anything is waited for: it must not wait for who reads the audit log.
        self.auditing.announce_stop();
        // Who hears nothing more looks for another leader, and is told nothing about its sessions.
        if let Some(quorum) = &self.member.quorum {
            quorum.hang_up();
        }
        self.member.engine.close_all();
        // Their threads may wait for the disk; and again, for who came in the meantime.
        self.member.engine.shut_all();
        self.workers.stop();
        self.member.engine.shut_all();
        self.housekeeping.stop();
        if let Some(quorum) = self.quorum {
            quorum.stop();
        }
        let stopped = self.storage.stop();
        // Nothing is applied any more.
        let is_audited = self.auditing.end();
        stopped?;
        if is_audited { Ok(()) } else { Err(StopError::Audit) }
    }
}

fn runtime() -> Result<Runtime, StartError> {
    let built = tokio::runtime::Builder::new_current_thread().enable_all().build();
    built.map_err(StartError::Thread)
}

/// Who lets connections in.
fn gatekeeper(
    config: &ServerConfig,
    engine: &Arc<Engine>,
    tls: Option<&Arc<TlsContext>>,
) -> Gatekeeper {
    Gatekeeper {
        engine: engine.clone(),
        tls: tls.cloned(),
        super_dn: config.auth.x509_super_user.clone(),
        seats: Seats::new(
            config.limits.connections_per_ip.unwrap_or(0) as usize,
            descriptors::most_connections(config.limits.connections),
        ),
        seldom: Seldom::new(),
        detection: Duration::from_millis(
            config.tls.as_ref().map_or(HANDSHAKE_MS, |tls| tls.detection_timeout_ms).into(),
        ),
        keep_alive: config.listeners.tcp_keep_alive,
        handshakes: AtomicUsize::new(0),
        max_handshakes: config.limits.tls_handshakes.unwrap_or(0) as usize,
    }
}

/// The thread of everything that serves no client: clocks, operators' commands.
struct Housekeeping {
    thread: JoinHandle<()>,
    stop: oneshot::Sender<()>,
}

impl Housekeeping {
    fn start(runtime: Runtime) -> Result<Housekeeping, StartError> {
        let (stop, stopped) = oneshot::channel();
        let body = move || {
            let _ = runtime.block_on(stopped);
            runtime.shutdown_background();
        };
        let thread = std::thread::Builder::new()
            .name("zk-house".into())
            .spawn(body)
            .map_err(StartError::Thread)?;
        Ok(Housekeeping { thread, stop })
    }

    fn stop(self) {
        let _ = self.stop.send(());
        let _ = self.thread.join();
    }
}

/// What `gtmk` shows before `stmk` (Apache `ZooTrace`).
const DEFAULT_TRACE_MASK: i64 = 306;

/// How long a client has for TLS and its connect request (RELIABILITY 5: an absolute bound).
const HANDSHAKE_MS: u32 = 5_000;

/// What a record has beside the body of its transaction: header, digest, and the packet around it
/// when it goes to learners.
const RECORD_OVERHEAD: usize = 1 << 10;

/// An answer may be this many times as long as a request (RELIABILITY T11).
const RESPONSE_FACTOR: usize = 4;

/// A number that nobody can foresee.
pub(crate) fn random_seed() -> u64 {
    use std::hash::{BuildHasher, Hasher};
    // The standard library's own source of unpredictable hash keys.
    std::collections::hash_map::RandomState::new().build_hasher().finish()
}

fn passwords(config: &ServerConfig) -> Result<Passwords, StartError> {
    match &config.sessions.password {
        SessionPassword::Apache => Ok(Passwords::apache()),
        SessionPassword::Hmac { secret_file } => {
            let secret = std::fs::read(secret_file)
                .map_err(|source| StartError::Secret { path: secret_file.clone(), source })?;
            Ok(Passwords::hmac(secret.trim_ascii(), [])?)
        }
    }
}

fn engine_options(
    config: &ServerConfig,
    passwords: Passwords,
    hash_seed: u64,
) -> Result<EngineOptions, StartError> {
    let storage = &config.storage;
    let text = |secret: &Secret| String::from_utf8_lossy(secret.expose()).into_owned();
    let auth = AuthOptions {
        digest: config.auth.digest,
        super_digest: config.auth.super_digest.as_ref().map(text),
        x509: config.auth.x509_enabled,
        sasl: config.auth.sasl.acls_enabled,
        skip_acl: storage.skip_acl,
        any_sasl_user: config.auth.sasl.any_user_id.clone(),
        ensemble_names: config
            .auth
            .ensemble_enabled
            .then(|| config.auth.ensemble_names.iter().map(text).collect()),
    };
    let max_frame_bytes = storage.max_request_bytes as usize;
    let max_record_bytes = max_frame_bytes + storage.extra_record_bytes as usize;
    let enforced = &config.auth.required_schemes;
    let core = CoreOptions {
        prepare: PrepareOptions {
            auth,
            enforce_quota: storage.enforce_quota,
            close_session_txn: storage.close_session_paths,
            digest: storage.digest_enabled,
            max_txn_bytes: max_record_bytes - RECORD_OVERHEAD.min(max_record_bytes),
            max_list_bytes: max_frame_bytes,
        },
        tick_ms: config.tick_time_ms,
        min_session_timeout_ms: config.sessions.min_timeout_ms as i32,
        max_session_timeout_ms: config.sessions.max_timeout_ms as i32,
        server_id: config.server_id.map_or(1, |id| id as u8),
        passwords,
        enforced_schemes: (!enforced.is_empty()).then(|| enforced.clone()),
        max_sessions: config.limits.sessions.map_or(usize::MAX, |n| n as usize),
        throttle: config.limits.connect_throttle.clone(),
        max_response_bytes: RESPONSE_FACTOR * max_frame_bytes,
        max_answer_bytes: config.limits.unsent_bytes.unwrap_or(usize::MAX),
        limits: Limits { max_len: max_record_bytes },
        audit: config.service.audit,
        reconfig_enabled: config.quorum.reconfig_enabled,
        local_sessions: config.quorum.local_sessions.filter(|_| config.quorum.is_ensemble()),
        hash_seed,
    };
    Ok(EngineOptions {
        core,
        sasl: sasl_options(config)?,
        max_frame_bytes,
        max_outstanding: config.limits.outstanding_requests.map_or(usize::MAX, |n| n as usize),
        large_requests: config.limits.large_requests,
        max_unsent_bytes: config.limits.unsent_bytes.unwrap_or(usize::MAX),
        max_backlog_bytes: config.limits.unsent_bytes_of_all.unwrap_or(usize::MAX),
        handshake_deadline_ms: config.limits.sessionless_timeout_ms.min(HANDSHAKE_MS).into(),
    })
}

fn sasl_options(config: &ServerConfig) -> Result<SaslOptions, StartError> {
    let sasl = &config.auth.sasl;
    let Some(file) = &sasl.users_file else { return Ok(SaslOptions::default()) };
    let jaas = load_jaas(file)?;
    let is_required = config.auth.required_schemes.iter().any(|scheme| scheme == "sasl");
    if config.quorum.sasl.is_some() && !is_required && !jaas.has(&sasl.section) {
        let (file, section) = (file.display(), &sasl.section);
        tracing::info!("{file} has no section {section}: clients have no SASL, members do");
        return Ok(SaslOptions::default());
    }
    let mut users = Users::read(&jaas, &sasl.section).map_err(SaslFileError::Jaas)?;
    if let Some(password) = &sasl.super_password {
        users.set_password("super", password.clone());
    }
    Ok(SaslOptions {
        users: Some(Arc::new(users)),
        super_users: config.auth.super_users.clone(),
        allow_failed: sasl.allow_failed,
    })
}

/// Opens a listener, if there is to be one; its port.
fn listen(
    address: Option<&HostPort>,
    config: &ServerConfig,
    speaks: Speaks,
    listeners: &mut Vec<Listening>,
) -> Result<Option<u16>, StartError> {
    let Some(address) = address else { return Ok(None) };
    let open = || {
        let listener = net::listen(address, config.listeners.backlog())?;
        listener.local_addr().map(|local| (listener, local.port()))
    };
    let (listener, port) =
        open().map_err(|source| StartError::Listen { address: address.clone(), source })?;
    listeners.push((listener, speaks));
    Ok(Some(port))
}

fn open_admin(
    config: &ServerConfig,
    inspect: &Arc<dyn Inspect>,
    runtime: &Runtime,
) -> Result<(), StartError> {
    let settings = config.service.admin.clone().unwrap_or_default();
    let server = AdminServer::new(settings, inspect.clone());
    let open = |address: &HostPort| {
        let listener = net::listen(address, DEFAULT_BACKLOG)?;
        listener.set_nonblocking(true)?;
        let _entered = runtime.enter();
        tokio::net::TcpListener::from_std(listener)
    };
    if let Some(admin) = &config.service.admin {
        let address = admin.address.clone();
        let listener = open(&address).map_err(|source| StartError::Admin { address, source })?;
        runtime.spawn(server.clone().serve(listener));
    }
    if let Some(address) = config.service.metrics.clone() {
        let listener = open(&address).map_err(|source| StartError::Metrics { address, source })?;
        runtime.spawn(server.serve_metrics(listener));
    }
    Ok(())
}

/// How often changed key stores are looked for (`client.certReload`).
const RELOAD: Duration = Duration::from_secs(1);

fn watch_certificates(
    runtime: &Runtime,
    refresh: impl Fn() -> Result<bool, TlsError> + Send + Sync + 'static,
) {
    let refresh = Arc::new(refresh);
    runtime.spawn(async move {
        loop {
            tokio::time::sleep(RELOAD).await;
            let refresh = refresh.clone();
            match tokio::task::spawn_blocking(move || refresh()).await {
                Ok(Ok(true)) => {
                    tracing::info!("the key stores changed: new connections use the new ones")
                }
                Ok(Err(error)) => tracing::error!("the changed key stores are of no use: {error}"),
                Ok(Ok(false)) | Err(_) => {}
            }
        }
    });
}

/// What happens by the clock: sessions expire at the ends of ticks, containers are reaped. And what
/// connections leave is removed.
fn start_chores(member: &Arc<Member>, runtime: &Runtime) {
    let engine = member.engine.clone();
    runtime.spawn(async move { engine.see_leavers_off().await });
    let engine = member.engine.clone();
    let tick_ms = i64::from(member.config.tick_time_ms);
    runtime.spawn(async move {
        loop {
            // Deadlines of handshakes are looked at each second, sessions at the ends of ticks.
            let now_ms = engine.now_ms();
            let wait_ms = (tick_ms - now_ms % tick_ms).clamp(1, 1000);
            tokio::time::sleep(Duration::from_millis(wait_ms as u64)).await;
            engine.tick(now_ms + wait_ms);
        }
    });
    let containers = member.config.storage.containers.clone();
    let Some(interval_ms) = containers.check_interval_ms else { return };
    let engine = member.engine.clone();
    runtime.spawn(async move {
        let interval = Duration::from_millis(interval_ms.max(1));
        let most_each = |interval: Duration| {
            let share = interval.as_secs_f64() / 60.0 * f64::from(containers.max_per_minute);
            (share as usize).max(1)
        };
        let never_used_ms = containers.max_never_used_ms.map_or(0, |ms| ms as i64);
        loop {
            tokio::time::sleep(interval).await;
            engine.reap(never_used_ms, most_each(interval));
        }
    });
}

#[cfg(test)]
mod restoring;
#[cfg(test)]
mod tests;
