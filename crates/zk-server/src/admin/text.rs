//! The answers of the four-letter words, byte for byte as Apache 3.9 gives them (operations 3).

use std::fmt::Write;
use std::sync::atomic::Ordering::Relaxed;

use zk_proto::{OpCode, SessionId};

use super::facts::{ConnectionFacts, ExpiryFacts, Inspect, Mode};
use super::word::{FourLetterWord, Whitelist};
use super::{ensemble, environment, full_version, java, monitor};

/// What is said when there is nothing to ask.
pub(super) const NOT_SERVING: &str = "This ZooKeeper instance is not currently serving requests";

/// Writing to a `String` cannot fail, so its results are dropped here and nowhere else.
macro_rules! put {
    ($out:expr, $($arg:tt)*) => { let _ = write!($out, $($arg)*); };
}

/// The whole answer of a word; the connection is closed after it. `argument` are the bytes after
/// the word that belong to it. May build long texts: see [`Inspect`].
#[must_use]
pub fn four_letter_answer(
    word: FourLetterWord,
    argument: &[u8],
    whitelist: Whitelist,
    server: &dyn Inspect,
) -> String {
    let mut out = String::new();
    // Clients of a read-only server look for a writable one with isro, so it is always allowed
    // there.
    let is_probe = word == FourLetterWord::Isro && server.mode().is_read_only();
    if !whitelist.allows(word) && !is_probe {
        put!(out, "{word} is not executed because it is not in the whitelist.\n");
    } else if server.is_serving() {
        serving(&mut out, word, argument, server);
    } else {
        not_serving(&mut out, word, argument, server);
    }
    out
}

fn not_serving(out: &mut String, word: FourLetterWord, argument: &[u8], server: &dyn Inspect) {
    match word {
        FourLetterWord::Ruok
        | FourLetterWord::Envi
        | FourLetterWord::Gtmk
        | FourLetterWord::Stmk => {
            serving(out, word, argument, server);
        }
        FourLetterWord::Isro => out.push_str("null"),
        FourLetterWord::Hash => out.push_str(NOT_SERVING),
        _ => {
            put!(out, "{NOT_SERVING}\n");
        }
    }
}

fn serving(out: &mut String, word: FourLetterWord, argument: &[u8], server: &dyn Inspect) {
    match word {
        FourLetterWord::Ruok => out.push_str("imok"),
        FourLetterWord::Isro => {
            out.push_str(if server.mode().is_read_only() { "ro" } else { "rw" });
        }
        FourLetterWord::Srvr => {
            version(out, server);
            stats(out, server);
        }
        FourLetterWord::Stat => {
            version(out, server);
            out.push_str("Clients:\n");
            connections(out, server, true);
            out.push('\n');
            stats(out, server);
        }
        FourLetterWord::Cons => {
            connections(out, server, false);
            out.push('\n');
        }
        FourLetterWord::Conf => conf(out, server),
        FourLetterWord::Dump => dump(out, server),
        FourLetterWord::Wchs => {
            let watches = server.watch_summary();
            put!(out, "{} connections watching {} paths\n", watches.connections, watches.paths);
            put!(out, "Total watches:{}\n", watches.total);
        }
        FourLetterWord::Wchc => {
            tree(out, &server.watches_by_session(), "");
            out.push('\n');
        }
        FourLetterWord::Wchp => {
            tree(out, &server.watches_by_path(), "");
            out.push('\n');
        }
        FourLetterWord::Dirs => {
            let [data, log] = server.directory_bytes();
            put!(out, "datadir_size: {data}\nlogdir_size: {log}\n");
        }
        FourLetterWord::Hash => {
            for digest in server.digests() {
                put!(out, "{:x}: {}\n", digest.zxid.0, digest.digest as i64);
            }
        }
        FourLetterWord::Envi => {
            out.push_str("Environment:\n");
            for (key, value) in environment::entries() {
                put!(out, "{key}={value}\n");
            }
        }
        FourLetterWord::Mntr => monitor::text(out, server),
        FourLetterWord::Crst => {
            server.reset_connections();
            out.push_str("Connection stats reset.\n");
        }
        FourLetterWord::Srst => {
            server.metrics().reset();
            out.push_str("Server stats reset.\n");
        }
        FourLetterWord::Gtmk => {
            put!(out, "{}", server.trace_mask().load(Relaxed));
        }
        FourLetterWord::Stmk => {
            if let Ok(mask) = <[u8; 8]>::try_from(argument) {
                server.trace_mask().store(i64::from_be_bytes(mask), Relaxed);
            }
            put!(out, "{}", server.trace_mask().load(Relaxed));
        }
    }
}

fn version(out: &mut String, server: &dyn Inspect) {
    put!(out, "Zookeeper version: {}\n", full_version());
    // Apache has the first line alone, which on a full disk would promise too much.
    out.push_str(match server.mode() {
        Mode::ReadOnly => "READ-ONLY mode; serving only read-only clients\n",
        Mode::DiskFull => {
            "READ-ONLY mode; the disk is full: serving only reads of sessions that are there, \
             and opening none\n"
        }
        _ => "",
    });
}

fn stats(out: &mut String, server: &dyn Inspect) {
    let (stats, tree) = (&server.metrics().stats, server.tree());
    let latency = &stats.latency;
    let (min, avg, max) = (latency.min() as u64, java::double(latency.avg()), latency.max() as u64);
    put!(out, "Latency min/avg/max: {min}/{avg}/{max}\n");
    put!(out, "Received: {}\n", stats.packets_received.get());
    put!(out, "Sent: {}\n", stats.packets_sent.get());
    put!(out, "Connections: {}\n", server.connection_count());
    put!(out, "Outstanding: {}\n", server.outstanding_count());
    put!(out, "Zxid: {}\n", tree.last_zxid);
    put!(out, "Mode: {}\n", server.mode().name());
    put!(out, "Node count: {}\n", tree.shown_node_count());
    ensemble::proposal_sizes(out, server);
}

fn connections(out: &mut String, server: &dyn Inspect, brief: bool) {
    for secure in [false, true] {
        for connection in server.connections(secure) {
            connection_line(out, &connection, brief);
        }
    }
}

fn connection_line(out: &mut String, facts: &ConnectionFacts, brief: bool) {
    put!(
        out,
        " /{}[{:x}](queued={},recved={},sent={}",
        java::address(facts.peer),
        facts.interest_ops,
        facts.outstanding,
        facts.received,
        facts.sent
    );
    if let Some(session) = facts.session.as_ref().filter(|_| !brief) {
        let lop = operation(session.last_operation);
        put!(out, ",sid={},lop={lop},est={}", session.id, session.established_ms);
        put!(out, ",to={}", session.timeout_ms);
        if session.last_xid.0 >= 0 {
            put!(out, ",lcxid=0x{:x}", session.last_xid.0);
        }
        put!(out, ",lzxid={},lresp={}", session.last_zxid, session.last_response_ms);
        put!(out, ",llat={},minlat={}", session.last_latency_ms, session.min_latency_ms);
        put!(out, ",avglat={},maxlat={}", session.avg_latency_ms, session.max_latency_ms);
    }
    out.push_str(")\n");
}

/// The four letters by which Apache names an operation (`FinalRequestProcessor`).
pub(super) fn operation(op: Option<OpCode>) -> &'static str {
    let Some(op) = op else { return "NA" };
    match op {
        OpCode::Ping => "PING",
        OpCode::CreateSession => "SESS",
        OpCode::Multi => "MULT",
        OpCode::MultiRead => "MLTR",
        OpCode::Create | OpCode::Create2 | OpCode::CreateTtl | OpCode::CreateContainer => "CREA",
        OpCode::Delete | OpCode::DeleteContainer => "DELE",
        OpCode::SetData => "SETD",
        OpCode::Reconfig => "RECO",
        OpCode::SetAcl => "SETA",
        OpCode::CloseSession => "CLOS",
        OpCode::Sync => "SYNC",
        OpCode::Check => "CHEC",
        OpCode::Exists => "EXIS",
        OpCode::GetData => "GETD",
        OpCode::SetWatches => "SETW",
        OpCode::SetWatches2 => "STW2",
        OpCode::AddWatch => "ADDW",
        OpCode::GetAcl => "GETA",
        OpCode::GetChildren | OpCode::GetChildren2 => "GETC",
        OpCode::GetAllChildrenNumber => "GETACN",
        OpCode::CheckWatches => "CHKW",
        OpCode::RemoveWatches => "REMW",
        OpCode::WhoAmI => "HOMI",
        OpCode::GetEphemerals => "GETE",
        OpCode::Auth | OpCode::Sasl | OpCode::Error => "NA",
    }
}

fn conf(out: &mut String, server: &dyn Inspect) {
    let config = server.config();
    let [data, log] = server.directory_bytes();
    let [plain, secure] = server.client_ports().map(|port| port.map_or(-1, i32::from));
    let backlog = config.listeners.backlog_set.map_or(-1, i64::from);
    put!(out, "clientPort={plain}\nsecureClientPort={secure}\n");
    put!(out, "dataDir={}\n", config.data_dir.join("version-2").display());
    put!(out, "dataDirSize={data}\n");
    put!(out, "dataLogDir={}\n", config.data_log_dir.join("version-2").display());
    put!(out, "dataLogSize={log}\ntickTime={}\n", config.tick_time_ms);
    put!(out, "maxClientCnxns={}\n", config.limits.connections_per_ip.unwrap_or(0));
    put!(out, "minSessionTimeout={}\n", config.sessions.min_timeout_ms);
    put!(out, "maxSessionTimeout={}\n", config.sessions.max_timeout_ms);
    put!(out, "clientPortListenBacklog={backlog}\n");
    put!(out, "serverId={}\n", ensemble::server_id(server));
    ensemble::conf(out, server);
}

fn dump(out: &mut String, server: &dyn Inspect) {
    out.push_str("SessionTracker dump:\n");
    let local = server.local_sessions();
    if let Some(local) = &local {
        expiry(out, "Local Session Sets", local, |id| id.to_string());
    }
    // Only a leader knows when they end.
    if server.quorum().is_some_and(|facts| facts.is_learner()) {
        let sessions = server.session_timeouts();
        put!(out, "Global Sessions({}):\n", sessions.len());
        for (id, timeout_ms) in sessions {
            put!(out, "{id}\t{timeout_ms}ms\n");
        }
    } else {
        let title = if local.is_some() { "Global Session Sets" } else { "Session Sets" };
        expiry(out, title, &server.sessions(), |id| id.to_string());
    }
    let ephemerals = server.ephemerals();
    out.push_str("ephemeral nodes dump:\n");
    put!(out, "Sessions with Ephemerals ({}):\n", ephemerals.len());
    tree(out, &ephemerals, ":");
    out.push_str("Connections dump:\n");
    expiry(out, "Connections Sets", &server.connection_expiry(), |(peer, id)| {
        format!("ip: /{} sessionId: {id}", java::address(*peer))
    });
}

fn expiry<T>(out: &mut String, title: &str, sets: &[ExpiryFacts<T>], show: impl Fn(&T) -> String) {
    let total = sets.iter().map(|set| set.members.len()).sum::<usize>();
    put!(out, "{title} ({})/({total}):\n", sets.len());
    for set in sets {
        put!(out, "{} expire at {}:\n", set.members.len(), java::date(set.at_ms));
        for member in &set.members {
            put!(out, "\t{}\n", show(member));
        }
    }
}

/// A line per key, and below it an indented line per value.
fn tree<K: Shown, V: Shown>(out: &mut String, entries: &[(K, Vec<V>)], after_key: &str) {
    for (key, values) in entries {
        key.show(out);
        out.push_str(after_key);
        out.push('\n');
        for value in values {
            out.push('\t');
            value.show(out);
            out.push('\n');
        }
    }
}

trait Shown {
    fn show(&self, out: &mut String);
}

impl Shown for String {
    fn show(&self, out: &mut String) {
        out.push_str(self);
    }
}

impl Shown for SessionId {
    fn show(&self, out: &mut String) {
        put!(out, "{self}");
    }
}
