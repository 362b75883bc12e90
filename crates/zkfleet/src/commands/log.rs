//! `zkfleet log FILE...`: the transactions of log files, as text or JSON, one a line.

use super::{DAMAGED, UNREADABLE, text, told};
use serde_json::{Value, json};
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use zk_proto::txn::{Txn, TxnEntry};
use zk_proto::{ErrorCode, Zxid};
use zk_store::disk::RealDisk;
use zk_store::log::{Damage, LogReader, Mark, OpenLog, Step, scan_beyond};
use zk_store::names::Name;
use zk_store::recover::Why;

const EXIT_CODES: &str = "\
Exit codes:
  0  every file is whole; what a crash has left behind the durable mark of one is told
  1  a file is damaged or ends early; what is whole in front of that was printed
  2  a file is no log or cannot be read";

/// Arguments of `zkfleet log`.
#[derive(clap::Args)]
#[command(after_help = EXIT_CODES)]
pub(crate) struct Args {
    /// Files named log.<zxid>, or zkfleet.cut.log.<zxid> as --accept keeps them
    #[arg(value_name = "FILE", required = true)]
    files: Vec<PathBuf>,
    /// Only from this zxid on (hexadecimal, 0x may stand before it)
    #[arg(long, value_parser = zxid)]
    from: Option<Zxid>,
    /// Only up to this zxid
    #[arg(long, value_parser = zxid)]
    to: Option<Zxid>,
    /// Show the hashes in ACLs of the digest scheme
    #[arg(long)]
    secrets: bool,
    /// One JSON object a line; data in base64
    #[arg(long)]
    json: bool,
}

fn zxid(text: &str) -> Result<Zxid, String> {
    let digits = text.trim_start_matches("0x");
    i64::from_str_radix(digits, 16)
        .map(Zxid)
        .map_err(|_| format!("{text:?} is not a hexadecimal zxid"))
}

pub(crate) fn run(args: &Args) -> ExitCode {
    let mut out = BufWriter::new(io::stdout().lock());
    let mut worst = 0;
    for file in &args.files {
        let (code, why) = match print(args, file, &mut out) {
            Ok(()) => continue,
            Err(Stop::Output(error)) => return told(Err(error)).err().unwrap_or(ExitCode::SUCCESS),
            Err(Stop::Damaged(why)) => (DAMAGED, why),
            Err(Stop::Unreadable(why)) => (UNREADABLE, why),
        };
        if let Err(code) = told(out.flush()) {
            return code;
        }
        eprintln!("{}: {why}", file.display());
        worst = worst.max(code);
    }
    told(out.flush()).err().unwrap_or(ExitCode::from(worst))
}

enum Stop {
    /// The output takes no more.
    Output(io::Error),
    /// The file is not as it should be.
    Damaged(String),
    /// It is no log, or the disk refuses.
    Unreadable(String),
}

impl From<io::Error> for Stop {
    fn from(error: io::Error) -> Stop {
        Stop::Unreadable(error.to_string())
    }
}

fn print(args: &Args, file: &Path, out: &mut impl Write) -> Result<(), Stop> {
    let damaged = |why: &dyn std::fmt::Display| Stop::Damaged(why.to_string());
    let name = file.file_name().and_then(|name| name.to_str()).unwrap_or_default();
    let Some(first) = first_zxid(name) else {
        let why = "not a log: its name must be log.<first zxid in hexadecimal>";
        return Err(Stop::Unreadable(why.to_owned()));
    };
    let mut reader = match LogReader::open(&RealDisk, file, first)? {
        OpenLog::Log(reader) => reader,
        OpenLog::Damaged(damage) => return Err(damaged(&damage)),
    };
    let mut last = Zxid::ZERO;
    loop {
        match reader.step()? {
            Step::End => return judge_end(file, &reader, last, None),
            Step::Damage(damage) => return judge_end(file, &reader, last, Some(damage)),
            Step::Record(record) => {
                last = record.zxid;
                if args.to.is_some_and(|to| record.zxid > to) {
                    return Ok(());
                }
                if args.from.is_some_and(|from| record.zxid < from) {
                    continue;
                }
                let entry = record
                    .entry()
                    .map_err(|error| damaged(&format!("{}: {error}", record.zxid)))?;
                let line = if args.json {
                    json_line(&entry, args.secrets)
                } else {
                    text_line(&entry, args.secrets)
                };
                writeln!(out, "{line}").map_err(Stop::Output)?;
            }
        }
    }
}

/// The first zxid by a log's name, or by that of one that `server --accept` has kept as it was
/// (`zkfleet.cut.log.1`, and `.2` behind it for the second of that name).
fn first_zxid(name: &str) -> Option<Zxid> {
    let parse = |name: &str| match Name::parse(name) {
        Name::Log(first) => Some(first),
        _ => None,
    };
    let Some(kept) = name.strip_prefix("zkfleet.cut.") else { return parse(name) };
    parse(kept).or_else(|| {
        let (kept, count) = kept.rsplit_once('.')?;
        count.parse::<u32>().ok().and_then(|_| parse(kept))
    })
}

/// Whether a log may end where it does, as `zkfleet doctor` judges it.
fn judge_end(
    file: &Path,
    reader: &LogReader,
    last: Zxid,
    damage: Option<Damage>,
) -> Result<(), Stop> {
    let at = reader.position();
    let why = match (damage, reader.mark()) {
        (None, Some(Mark { end, zxid, .. })) if end > at => Why::BeforeMark { end, zxid },
        (Some(damage), mark) => {
            let why = Why::Damage(damage);
            if mark.is_some_and(|mark| mark.end <= at) {
                let file = file.display();
                eprintln!("{file}: at byte {at}: {why}; a torn write behind the durable mark");
                return Ok(());
            }
            why
        }
        (None, mark) => {
            let beyond = scan_beyond(reader.file().clone(), at, reader.limit(), last)?;
            if mark.is_some() || beyond.first_nonzero.is_none() {
                return Ok(());
            }
            Why::Behind(beyond)
        }
    };
    Err(Stop::Damaged(format!("at byte {at}: {why}")))
}

fn text_line(entry: &TxnEntry<'_>, secrets: bool) -> String {
    let header = &entry.header;
    format!(
        "{} session {} cxid {} zxid {} {}",
        text::time(header.time_ms),
        entry.session(),
        header.cxid,
        entry.zxid(),
        describe(&entry.txn, secrets)
    )
}

fn describe(txn: &Txn<'_>, secrets: bool) -> String {
    let op = txn.opcode();
    match txn {
        Txn::CreateSession(timeout_ms) => format!("{op} timeout {timeout_ms} ms"),
        Txn::CloseSession(paths) => {
            format!("{op} deletes {:?}", paths.as_deref().unwrap_or_default())
        }
        Txn::Create(body) | Txn::Create2(body) => format!(
            "{op} {:?} data {} acl {}{} parent cversion {}",
            body.path,
            text::data(body.data),
            text::acl(body.acl, secrets),
            if body.ephemeral { " ephemeral" } else { "" },
            body.parent_cversion
        ),
        Txn::CreateContainer(body) => {
            let acl = text::acl(body.acl, secrets);
            format!(
                "{op} {:?} data {} acl {acl} parent cversion {}",
                body.path,
                text::data(body.data),
                body.parent_cversion
            )
        }
        Txn::CreateTtl(body) => {
            let acl = text::acl(body.acl, secrets);
            format!(
                "{op} {:?} data {} acl {acl} ttl {} ms",
                body.path,
                text::data(body.data),
                body.ttl_ms
            )
        }
        Txn::Delete(body) | Txn::DeleteContainer(body) => format!("{op} {:?}", body.path),
        Txn::SetData(body) | Txn::Reconfig(body) => {
            format!("{op} {:?} data {} version {}", body.path, text::data(body.data), body.version)
        }
        Txn::SetAcl(body) => format!(
            "{op} {:?} acl {} version {}",
            body.path,
            text::acl(body.acl, secrets),
            body.version
        ),
        Txn::Check(body) => format!("{op} {:?} version {}", body.path, body.version),
        Txn::Error(code) => format!("{op} {}", error_name(*code)),
        Txn::Multi(parts) => {
            let what = if txn.is_failure() { "multi, failed as a whole" } else { "multi" };
            let parts: Vec<String> = parts.iter().map(|part| describe(part, secrets)).collect();
            format!("{what} [{}]", parts.join("; "))
        }
    }
}

fn error_name(code: i32) -> String {
    ErrorCode::from_code(code).map_or_else(|| code.to_string(), |known| known.to_string())
}

fn json_line(entry: &TxnEntry<'_>, secrets: bool) -> String {
    let header = &entry.header;
    let mut object = json!({
        "zxid": text::hex(header.zxid),
        "session": text::hex(header.client_id),
        "cxid": header.cxid,
        "time_ms": header.time_ms,
        "txn": body(&entry.txn, secrets),
    });
    if let Some(digest) = entry.digest {
        object["digest"] = text::hex(digest.tree_digest);
    }
    object.to_string()
}

fn body(txn: &Txn<'_>, secrets: bool) -> Value {
    let op = txn.opcode().name();
    match txn {
        Txn::CreateSession(timeout_ms) => json!({ "op": op, "timeout_ms": timeout_ms }),
        Txn::CloseSession(paths) => json!({ "op": op, "paths": paths }),
        Txn::Create(body) | Txn::Create2(body) => json!({
            "op": op, "path": body.path, "data": text::data_json(body.data), "acl": text::acl(body.acl, secrets),
            "ephemeral": body.ephemeral, "parent_cversion": body.parent_cversion,
        }),
        Txn::CreateContainer(body) => json!({
            "op": op, "path": body.path, "data": text::data_json(body.data), "acl": text::acl(body.acl, secrets),
            "parent_cversion": body.parent_cversion,
        }),
        Txn::CreateTtl(body) => json!({
            "op": op, "path": body.path, "data": text::data_json(body.data), "acl": text::acl(body.acl, secrets),
            "parent_cversion": body.parent_cversion, "ttl_ms": body.ttl_ms,
        }),
        Txn::Delete(body) | Txn::DeleteContainer(body) => json!({ "op": op, "path": body.path }),
        Txn::SetData(body) | Txn::Reconfig(body) => json!({
            "op": op, "path": body.path, "data": text::data_json(body.data), "version": body.version,
        }),
        Txn::SetAcl(body) => json!({
            "op": op, "path": body.path, "acl": text::acl(body.acl, secrets), "version": body.version,
        }),
        Txn::Check(body) => json!({ "op": op, "path": body.path, "version": body.version }),
        Txn::Error(code) => json!({ "op": op, "error": error_name(*code), "code": code }),
        Txn::Multi(parts) => json!({
            "op": op, "failed": txn.is_failure(),
            "parts": parts.iter().map(|part| body(part, secrets)).collect::<Vec<_>>(),
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn logs_that_were_kept_are_logs() {
        for (name, first) in [
            ("log.1f", Some(0x1f)),
            ("zkfleet.cut.log.1f", Some(0x1f)),
            ("zkfleet.cut.log.1f.2", Some(0x1f)),
            ("zkfleet.cut.snapshot.1", None),
            ("zkfleet.logs", None),
        ] {
            assert_eq!(first_zxid(name), first.map(Zxid), "{name}");
        }
    }
}
