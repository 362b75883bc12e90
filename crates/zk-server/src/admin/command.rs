//! The commands of the admin server: names, fields and their order as in Apache (operations 4).

use std::collections::BTreeMap;
use std::sync::atomic::Ordering::Relaxed;

use zk_proto::SessionId;

use super::facts::{ConnectionFacts, ExpiryFacts, Inspect};
use super::json::Json;
use super::metrics::Sizes;
use super::monitor::{Value, figures};
use super::text::{NOT_SERVING, operation};
use super::{ensemble, environment, full_version, java};

/// What a command does.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Command {
    Configuration,
    ConnectionStatReset,
    Connections,
    Dirs,
    Dump,
    Environment,
    GetTraceMask,
    Hash,
    InitialConfiguration,
    IsReadOnly,
    LastSnapshot,
    Leader,
    Monitor,
    ObserverConnectionStatReset,
    Observers,
    Restore,
    Ruok,
    ServerStats,
    SetTraceMask,
    Snapshot,
    StatReset,
    Stats,
    SystemProperties,
    VotingView,
    WatchSummary,
    Watches,
    WatchesByPath,
    ZabState,
}

/// Commands with their names; the first is the primary one. In the order of the index.
pub(super) const COMMANDS: [(Command, &[&str]); 28] = [
    (Command::Configuration, &["configuration", "conf", "config"]),
    (Command::ConnectionStatReset, &["connection_stat_reset", "crst"]),
    (Command::Connections, &["connections", "cons"]),
    (Command::Dirs, &["dirs"]),
    (Command::Dump, &["dump"]),
    (Command::Environment, &["environment", "env", "envi"]),
    (Command::GetTraceMask, &["get_trace_mask", "gtmk"]),
    (Command::Hash, &["hash"]),
    (Command::InitialConfiguration, &["initial_configuration", "icfg"]),
    (Command::IsReadOnly, &["is_read_only", "isro"]),
    (Command::LastSnapshot, &["last_snapshot", "lsnp"]),
    (Command::Leader, &["leader", "lead"]),
    (Command::Monitor, &["monitor", "mntr"]),
    (Command::ObserverConnectionStatReset, &["observer_connection_stat_reset", "orst"]),
    (Command::Observers, &["observers", "obsr"]),
    (Command::Restore, &["restore", "rest"]),
    (Command::Ruok, &["ruok"]),
    (Command::ServerStats, &["server_stats", "srvr"]),
    (Command::SetTraceMask, &["set_trace_mask", "stmk"]),
    (Command::Snapshot, &["snapshot", "snap"]),
    (Command::StatReset, &["stat_reset", "srst"]),
    (Command::Stats, &["stats", "stat"]),
    (Command::SystemProperties, &["system_properties", "sysp"]),
    (Command::VotingView, &["voting_view"]),
    (Command::WatchSummary, &["watch_summary", "wchs"]),
    (Command::Watches, &["watches", "wchc"]),
    (Command::WatchesByPath, &["watches_by_path", "wchp"]),
    (Command::ZabState, &["zabstate"]),
];

/// The command of a name or alias, and its primary name.
pub(super) fn find(name: &str) -> Option<(Command, &'static str)> {
    let hit = COMMANDS.iter().find(|(_, names)| names.contains(&name));
    hit.map(|(command, names)| (*command, names[0]))
}

impl Command {
    /// Whether it answers while the server does not serve.
    pub(super) fn works_without_server(self) -> bool {
        matches!(
            self,
            Command::Environment
                | Command::GetTraceMask
                | Command::SetTraceMask
                | Command::SystemProperties
                | Command::ZabState
        )
    }

    /// Whether the identity of the caller must have all permissions at `/`.
    pub(super) fn needs_authorization(self) -> bool {
        matches!(self, Command::Snapshot | Command::Restore)
    }

    /// Whether its answer grows with znodes, sessions, connections or watches, or takes the disk's
    /// time.
    pub(super) fn is_list(self) -> bool {
        matches!(
            self,
            Command::Connections
                | Command::Dirs
                | Command::Dump
                | Command::Restore
                | Command::Snapshot
                | Command::Stats
                | Command::Watches
                | Command::WatchesByPath
        )
    }

    /// Whether it changes something although nobody has to prove who he is.
    pub(super) fn changes_unasked(self) -> bool {
        matches!(
            self,
            Command::ConnectionStatReset
                | Command::ObserverConnectionStatReset
                | Command::SetTraceMask
                | Command::StatReset
        )
    }
}

/// The body of an answer: the fields of the command, then its name and the error.
pub(super) fn body(mut fields: Vec<(String, Json)>, command: &str, error: Option<&str>) -> String {
    fields.push(("command".to_owned(), command.into()));
    fields.push(("error".to_owned(), error.map_or(Json::Null, Json::from)));
    Json::Map(fields).print()
}

/// Runs a command that answers with fields; arguments by name. `Err` is the text of the field
/// `error`, which Apache answers with status 200.
pub(super) fn run(
    command: Command,
    arguments: &[(String, String)],
    server: &dyn Inspect,
) -> Result<Vec<(String, Json)>, String> {
    if !command.works_without_server() && !server.is_serving() {
        return Err(NOT_SERVING.to_owned());
    }
    let fields = match command {
        Command::SetTraceMask => return set_trace_mask(arguments, server),
        Command::Leader => ensemble::leader(server)?,
        Command::Monitor => return Ok(monitor(server)),
        Command::Environment => return Ok(environment()),
        Command::SystemProperties => return Ok(properties(server)),
        Command::ServerStats => server_stats(server),
        Command::Stats => {
            let Json::Map(mut fields) = server_stats(server) else { return Ok(Vec::new()) };
            fields.extend(connections(server, true));
            return Ok(fields);
        }
        Command::Connections => return Ok(connections(server, false)),
        Command::Configuration => configuration(server),
        Command::Dump => dump(server),
        Command::ConnectionStatReset => {
            server.reset_connections();
            return Ok(Vec::new());
        }
        Command::StatReset => {
            server.metrics().reset();
            return Ok(Vec::new());
        }
        other => short(other, server),
    };
    match fields {
        Json::Map(fields) => Ok(fields),
        _ => Ok(Vec::new()),
    }
}

/// Commands whose fields fit on a line or two.
fn short(command: Command, server: &dyn Inspect) -> Json {
    match command {
        Command::Dirs => {
            let [data, log] = server.directory_bytes();
            Json::map([("datadir_size", data.into()), ("logdir_size", log.into())])
        }
        Command::GetTraceMask => {
            Json::map([("tracemask", server.trace_mask().load(Relaxed).into())])
        }
        Command::Hash => {
            let digests = server.digests().into_iter().map(|facts| {
                Json::map([
                    ("zxid", facts.zxid.0.into()),
                    ("digest", (facts.digest as i64).into()),
                    ("digest_version", i64::from(facts.version).into()),
                ])
            });
            Json::map([("digests", Json::List(digests.collect()))])
        }
        Command::InitialConfiguration => {
            Json::map([("initial_configuration", server.config().initial_text.as_str().into())])
        }
        Command::IsReadOnly => Json::map([("read_only", is_read_only(server))]),
        Command::LastSnapshot => {
            let last = server.last_snapshot();
            let zxid = last.map_or(-1, |facts| facts.zxid.0);
            let time = last.map_or(-1, |facts| facts.unix_s);
            Json::map([("zxid", format!("{zxid:x}").into()), ("timestamp", time.into())])
        }
        Command::Observers => ensemble::observers(server),
        Command::VotingView => ensemble::voting_view(server),
        Command::WatchSummary => {
            let facts = server.watch_summary();
            Json::map([
                ("num_connections", facts.connections.into()),
                ("num_paths", facts.paths.into()),
                ("num_total_watches", facts.total.into()),
            ])
        }
        Command::Watches => Json::map([(
            "session_id_to_watched_paths",
            grouped(server.watches_by_session(), session_key, Json::Text),
        )]),
        Command::WatchesByPath => Json::map([(
            "path_to_session_ids",
            grouped(server.watches_by_path(), |path| path, |id| Json::Int(id.0)),
        )]),
        Command::ZabState => ensemble::zab_state(server),
        _ => Json::Map(Vec::new()),
    }
}

fn is_read_only(server: &dyn Inspect) -> Json {
    server.mode().is_read_only().into()
}

fn session_key(id: SessionId) -> String {
    id.0.to_string()
}

fn grouped<K, V>(
    entries: Vec<(K, Vec<V>)>,
    key: impl Fn(K) -> String,
    value: impl Fn(V) -> Json + Copy,
) -> Json {
    let list = |values: Vec<V>| Json::List(values.into_iter().map(value).collect());
    Json::Map(entries.into_iter().map(|(one, values)| (key(one), list(values))).collect())
}

fn set_trace_mask(
    arguments: &[(String, String)],
    server: &dyn Inspect,
) -> Result<Vec<(String, Json)>, String> {
    let wanted = "setTraceMask requires long traceMask argument";
    let argument = arguments.iter().find(|(name, _)| name == "traceMask");
    let (_, text) = argument.ok_or_else(|| wanted.to_owned())?;
    let mask = text.parse::<i64>().map_err(|_| format!("{wanted}, got {text}"))?;
    server.trace_mask().store(mask, Relaxed);
    Ok(vec![("tracemask".to_owned(), mask.into())])
}

fn configuration(server: &dyn Inspect) -> Json {
    let config = server.config();
    let dir = |dir: &std::path::Path| Json::from(dir.join("version-2").display().to_string());
    let [plain, _] = server.client_ports().map(|port| port.map_or(-1, i64::from));
    Json::map([
        ("client_port", plain.into()),
        ("data_dir", dir(&config.data_dir)),
        ("data_log_dir", dir(&config.data_log_dir)),
        ("tick_time", config.tick_time_ms.into()),
        ("max_client_cnxns", config.limits.connections_per_ip.unwrap_or(0).into()),
        ("min_session_timeout", config.sessions.min_timeout_ms.into()),
        ("max_session_timeout", config.sessions.max_timeout_ms.into()),
        ("server_id", ensemble::server_id(server).into()),
        ("client_port_listen_backlog", config.listeners.backlog_set.map_or(-1, i64::from).into()),
    ])
}

fn connections(server: &dyn Inspect, brief: bool) -> Vec<(String, Json)> {
    let list = |secure| {
        let all = server.connections(secure).into_iter();
        Json::List(all.map(|facts| connection(&facts, brief)).collect())
    };
    vec![("connections".to_owned(), list(false)), ("secure_connections".to_owned(), list(true))]
}

fn connection(facts: &ConnectionFacts, brief: bool) -> Json {
    let mut fields = vec![
        ("remote_socket_address", java::address(facts.peer).into()),
        ("interest_ops", Json::Int(facts.interest_ops.into())),
        ("outstanding_requests", facts.outstanding.into()),
        ("packets_received", facts.received.into()),
        ("packets_sent", facts.sent.into()),
    ];
    if let Some(session) = facts.session.as_ref().filter(|_| !brief) {
        fields.extend([
            ("session_id", session.id.0.into()),
            ("last_operation", operation(session.last_operation).into()),
            ("established", session.established_ms.into()),
            ("session_timeout", session.timeout_ms.into()),
            ("last_cxid", i64::from(session.last_xid.0).into()),
            ("last_zxid", session.last_zxid.0.into()),
            ("last_response_time", session.last_response_ms.into()),
            ("last_latency", session.last_latency_ms.into()),
            ("min_latency", session.min_latency_ms.into()),
            ("avg_latency", session.avg_latency_ms.into()),
            ("max_latency", session.max_latency_ms.into()),
        ]);
    }
    Json::Map(fields.into_iter().map(|(key, value)| (key.to_owned(), value)).collect())
}

fn dump(server: &dyn Inspect) -> Json {
    // Only a leader knows when they end, and of those that only it knows too.
    let is_learner = server.quorum().is_some_and(|facts| facts.is_learner());
    let mut expiry: BTreeMap<i64, Vec<SessionId>> = BTreeMap::new();
    if !is_learner {
        let local = server.local_sessions().unwrap_or_default();
        for ExpiryFacts { at_ms, members } in local.into_iter().chain(server.sessions()) {
            expiry.entry(at_ms).or_default().extend(members);
        }
    }
    Json::map([
        (
            "expiry_time_to_session_ids",
            grouped(expiry.into_iter().collect(), |at_ms| at_ms.to_string(), |id| Json::Int(id.0)),
        ),
        ("session_id_to_ephemeral_paths", grouped(server.ephemerals(), session_key, Json::Text)),
    ])
}

fn environment() -> Vec<(String, Json)> {
    let entries = environment::entries().into_iter();
    entries.map(|(key, value)| (key.to_owned(), value.into())).collect()
}

/// Apache shows every system property, with passwords; here it is the configuration, without.
fn properties(server: &dyn Inspect) -> Vec<(String, Json)> {
    let all = server.config().properties.iter();
    all.map(|(key, value)| (format!("zookeeper.{key}"), value.as_str().into())).collect()
}

fn monitor(server: &dyn Inspect) -> Vec<(String, Json)> {
    let json = |value| match value {
        Value::Text(text) => Json::Text(text),
        Value::Whole(number) => Json::Int(number),
        Value::Real(number) => Json::Real(number),
    };
    figures(server).into_iter().map(|(name, value)| (name, json(value))).collect()
}

fn buffer_sizes(sizes: &Sizes) -> Json {
    let [last, least, greatest] = sizes.last_least_greatest();
    Json::map([
        ("last_buffer_size", last.into()),
        ("min_buffer_size", least.into()),
        ("max_buffer_size", greatest.into()),
    ])
}

fn server_stats(server: &dyn Inspect) -> Json {
    let (stats, tree) = (&server.metrics().stats, server.tree());
    let [data, log] = server.directory_bytes();
    let sizes = buffer_sizes(&stats.responses);
    let all = Json::map([
        ("packets_sent", stats.packets_sent.get().into()),
        ("packets_received", stats.packets_received.get().into()),
        ("fsync_threshold_exceed_count", stats.fsync_threshold_exceed_count.get().into()),
        ("client_response_stats", sizes.clone()),
        ("provider_null", Json::Bool(false)),
        ("data_dir_size", data.into()),
        ("log_dir_size", log.into()),
        ("last_processed_zxid", tree.last_zxid.0.into()),
        ("outstanding_requests", (server.outstanding_count() as u64).into()),
        ("server_state", server.mode().name().into()),
        ("avg_latency", Json::Real(stats.latency.avg())),
        ("max_latency", (stats.latency.max() as u64).into()),
        ("min_latency", (stats.latency.min() as u64).into()),
        ("num_alive_client_connections", (server.connection_count() as u64).into()),
        ("auth_failed_count", stats.auth_failed_count.get().into()),
        ("non_mtlsremote_conn_count", stats.non_mtls_remote_conn_count.get().into()),
        ("non_mtlslocal_conn_count", stats.non_mtls_local_conn_count.get().into()),
        ("uptime", server.uptime_ms().into()),
    ]);
    let mut fields = vec![
        ("version", full_version().into()),
        ("read_only", is_read_only(server)),
        ("server_stats", all),
        ("client_response", sizes),
    ];
    if server.quorum().is_some_and(|facts| facts.reign.is_some()) {
        fields.push(("proposal_stats", buffer_sizes(&server.metrics().quorum.proposals)));
    }
    fields.push(("node_count", tree.shown_node_count().into()));
    Json::Map(fields.into_iter().map(|(key, value)| (key.to_owned(), value)).collect())
}
