//! What servers and our tools say about a directory and the tree in it.

use std::collections::BTreeSet;
use std::error::Error;
use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Output;

use serde_json::Value;
use zk_testkit::{Client, PATIENCE, four_letter_word, zkfleet};

/// Apache keeps one digest for so many transactions.
const KEPT_EVERY: i64 = 128;

/// The answer to a four-letter word.
pub(crate) fn word(addr: SocketAddr, word: &str) -> Result<String, zk_testkit::Error> {
    let answer = four_letter_word(addr, word.as_bytes(), PATIENCE)?;
    Ok(String::from_utf8_lossy(&answer).into_owned())
}

/// The last transaction that a server has.
pub(crate) fn last_zxid(addr: SocketAddr) -> Result<i64, Box<dyn Error>> {
    let text = word(addr, "srvr")?;
    let zxid = text.lines().find_map(|line| line.strip_prefix("Zxid: 0x"));
    Ok(i64::from_str_radix(zxid.ok_or("srvr says no zxid")?, 16)?)
}

/// A figure of `mntr`, 0 if it is not there.
pub(crate) fn figure(addr: SocketAddr, name: &str) -> Result<f64, Box<dyn Error>> {
    let text = word(addr, "mntr")?;
    let value = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix('\t'));
    Ok(value.unwrap_or("0").parse()?)
}

/// What `dump` says about ephemerals, sorted; the rest of it is times.
pub(crate) fn ephemerals(addr: SocketAddr) -> Result<BTreeSet<String>, Box<dyn Error>> {
    let text = word(addr, "dump")?;
    let (_, from) = text.split_once("ephemeral nodes dump:").ok_or("no ephemerals in dump")?;
    let (part, _) = from.split_once("Connections dump:").ok_or("no connections in dump")?;
    Ok(part.lines().map(str::to_owned).collect())
}

/// Writes to `path` until the server must have kept the digest of its tree, and returns that.
pub(crate) fn kept_digest(
    addr: SocketAddr,
    client: &mut Client,
    path: &str,
) -> Result<u64, Box<dyn Error>> {
    let mut round = 0u64;
    let zxid = loop {
        round += 1;
        let zxid = client.set_data(path, &round.to_be_bytes(), -1)?.mzxid;
        if zxid % KEPT_EVERY == 0 {
            break zxid;
        }
    };
    let text = word(addr, "hash")?;
    let line = text.lines().find(|line| line.starts_with(&format!("{zxid:x}:")));
    let told = line.and_then(|line| line.rsplit(' ').next()?.parse().ok());
    told.ok_or_else(|| format!("no digest of 0x{zxid:x}: {text}").into())
}

/// Where the files of a server are.
pub(crate) struct Dirs {
    /// `dataDir`.
    pub(crate) data: PathBuf,
    /// `dataLogDir`, if it is another one.
    pub(crate) logs: Option<PathBuf>,
}

fn run(arguments: &[&str], files: &[PathBuf]) -> Result<Output, Box<dyn Error>> {
    let mut command = zkfleet()?;
    Ok(command.args(arguments).args(files).output()?)
}

/// What `zkfleet doctor` says of directories that must be whole.
pub(crate) fn doctor(dirs: &Dirs) -> Result<Value, Box<dyn Error>> {
    let mut named = vec![dirs.data.clone()];
    if let Some(logs) = &dirs.logs {
        named.extend(["--log-dir".into(), logs.clone()]);
    }
    let output = run(&["doctor", "--json", "--extended-types"], &named)?;
    let text = String::from_utf8(output.stdout)?;
    assert!(output.status.success(), "{}: {text}", dirs.data.display());
    Ok(serde_json::from_str(&text)?)
}

/// Files of a data directory whose names begin so.
pub(crate) fn files(dir: &Path, prefix: &str) -> Result<Vec<PathBuf>, Box<dyn Error>> {
    let entries = fs::read_dir(dir.join("version-2"))?.collect::<Result<Vec<_>, _>>()?;
    let named = |path: &PathBuf| {
        path.file_name().is_some_and(|name| name.to_string_lossy().starts_with(prefix))
    };
    Ok(entries.iter().map(fs::DirEntry::path).filter(named).collect())
}

/// The kinds of transactions in all logs, as `zkfleet log` names them; those in a multi stand
/// behind `multi.`, and a multi that failed is `multi, failed`.
pub(crate) fn kinds(dirs: &Dirs) -> Result<BTreeSet<String>, Box<dyn Error>> {
    let logs = dirs.logs.as_ref().unwrap_or(&dirs.data);
    let output = run(&["log", "--json"], &files(logs, "log.")?)?;
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let mut kinds = BTreeSet::new();
    for line in String::from_utf8(output.stdout)?.lines() {
        let txn = &serde_json::from_str::<Value>(line)?["txn"];
        let op = |txn: &Value| txn["op"].as_str().map(str::to_owned).ok_or("a txn without op");
        kinds.insert(op(txn)? + if txn["failed"] == true { ", failed" } else { "" });
        for part in txn["parts"].as_array().into_iter().flatten() {
            kinds.insert(format!("multi.{}", op(part)?));
        }
    }
    Ok(kinds)
}

/// Ids and timeouts of the sessions in all whole snapshots that a report of [`doctor`] names.
pub(crate) fn sessions_in_snapshots(report: &Value) -> Result<Vec<(String, i64)>, Box<dyn Error>> {
    let mut sessions = Vec::new();
    for snapshot in report["snapshots"].as_array().into_iter().flatten() {
        if snapshot["ok"] != true {
            continue;
        }
        let file = snapshot["file"].as_str().ok_or("a snapshot without a file")?;
        let output = run(&["snapshot", "--json"], &[file.into()])?;
        assert!(output.status.success(), "{file}");
        for line in String::from_utf8(output.stdout)?.lines() {
            let record = serde_json::from_str::<Value>(line)?;
            if let (Some(id), Some(ms)) =
                (record["session"].as_str(), record["timeout_ms"].as_i64())
            {
                sessions.push((id.to_owned(), ms));
            }
        }
    }
    Ok(sessions)
}

/// Whether znodes of a snapshot refer to ACLs that it does not have.
pub(crate) fn lacks_acls(path: &Path) -> Result<bool, Box<dyn Error>> {
    let output = run(&["snapshot", "--data"], &[path.to_path_buf()])?;
    Ok(String::from_utf8_lossy(&output.stdout).contains("missing ACL"))
}
