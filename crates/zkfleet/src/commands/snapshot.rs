//! `zkfleet snapshot FILE`: the tree of a snapshot file, as text or JSON, one znode a line.

use super::{DAMAGED, UNREADABLE, text, told};
use serde_json::json;
use std::collections::HashMap;
use std::fmt;
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use zk_proto::acl::AclBytes;
use zk_proto::snapshot::{AclRecord, NodeRecord, OPEN_ACL_ID, SessionRecord};
use zk_proto::txn::TxnEntry;
use zk_proto::{StatPersisted, Zxid};
use zk_store::Restore;
use zk_store::disk::RealDisk;
use zk_store::names::{Compression, Name};
use zk_store::recover::RecoverOptions;
use zk_store::snapshot::{SnapshotDamage, SnapshotError, detect, read_snapshot};

const EXIT_CODES: &str = "\
Exit codes:
  0  the file is whole
  1  it is damaged, and what stands in front of the damage was printed; or --path is not in it
  2  it is no snapshot or cannot be read, or --path is no path";

/// Arguments of `zkfleet snapshot`.
#[derive(clap::Args)]
#[command(after_help = EXIT_CODES)]
pub(crate) struct Args {
    /// A file named snapshot.<zxid>, also with .gz or .snappy; one of another name, as from the
    /// AdminServer's command snapshot, is known by how it begins
    #[arg(value_name = "FILE")]
    file: PathBuf,
    /// Only znodes at or below this path
    #[arg(long, value_name = "PATH", default_value = "/")]
    path: String,
    /// Data and ACLs too
    #[arg(long)]
    data: bool,
    /// Show the hashes in ACLs of the digest scheme
    #[arg(long)]
    secrets: bool,
    /// One JSON object a line: sessions, then znodes; data in base64
    #[arg(long)]
    json: bool,
}

pub(crate) fn run(args: &Args) -> ExitCode {
    if !zk_proto::path::is_valid(&args.path) {
        eprintln!("{:?} is no path of a znode: it begins with / and ends without", args.path);
        return ExitCode::from(UNREADABLE);
    }
    let (named, compression) = match form(&args.file) {
        Ok(form) => form,
        Err(why) => {
            eprintln!("{why}");
            return ExitCode::from(UNREADABLE);
        }
    };
    let zxid = named.unwrap_or(Zxid::ZERO);
    let out = BufWriter::new(io::stdout().lock());
    let mut printer = Printer { args, out, acls: HashMap::new(), is_found: false, written: Ok(()) };
    // Whatever jute.maxbuffer it was written with.
    let options = RecoverOptions::default().read;
    let read = read_snapshot(&RealDisk, &args.file, (zxid, compression), &options, &mut printer);
    let Printer { mut out, written, is_found, .. } = printer;
    let is_cut_off = written.is_err();
    match told(written.and_then(|()| out.flush())) {
        Err(code) => return code,
        // Nobody reads on, so the end of the file is not known.
        Ok(()) if is_cut_off => return ExitCode::SUCCESS,
        Ok(()) => {}
    }
    match read {
        Ok(info) => {
            eprintln!(
                "{}: whole: {} znodes, {} sessions, {} ACLs up to zxid {}",
                args.file.display(),
                info.nodes,
                info.sessions,
                info.acls,
                named.unwrap_or(info.fuzzy_to())
            );
            if is_found {
                return ExitCode::SUCCESS;
            }
            eprintln!("{}: there is no znode {}", args.file.display(), args.path);
            ExitCode::from(DAMAGED)
        }
        // Compressed, and nothing but that says that it is a snapshot.
        Err(SnapshotError::Damaged { damage: SnapshotDamage::Header { .. }, .. })
            if named.is_none() =>
        {
            eprintln!("{}: {NO_SNAPSHOT}", args.file.display());
            ExitCode::from(UNREADABLE)
        }
        Err(error) => {
            eprintln!("{error}");
            ExitCode::from(match error {
                SnapshotError::File(_) => UNREADABLE,
                SnapshotError::Damaged { .. } => DAMAGED,
            })
        }
    }
}

const NO_SNAPSHOT: &str = "not a snapshot: its name must be snapshot.<zxid in hexadecimal>, or it \
                           must begin as one";

/// The zxid in a file's name, if that says one, and how the file is compressed.
fn form(file: &Path) -> Result<(Option<Zxid>, Compression), String> {
    let name = file.file_name().and_then(|name| name.to_str()).unwrap_or_default();
    if let Name::Snapshot(zxid, compression) = Name::parse(name) {
        return Ok((Some(zxid), compression));
    }
    match detect(&RealDisk, file) {
        Ok(Some(compression)) => Ok((None, compression)),
        Ok(None) => Err(format!("{}: {NO_SNAPSHOT}", file.display())),
        Err(error) => Err(error.to_string()),
    }
}

struct Printer<'a, W> {
    args: &'a Args,
    out: W,
    acls: HashMap<i64, Box<[u8]>>,
    /// Whether the path that was asked for is there.
    is_found: bool,
    /// The first failure of the output; the reader of the file would call it a damage.
    written: io::Result<()>,
}

impl<W: Write> Printer<'_, W> {
    /// A line; an error ends the reading.
    fn line(&mut self, line: fmt::Arguments<'_>) -> io::Result<()> {
        writeln!(self.out, "{line}").map_err(|error| {
            let kind = error.kind();
            self.written = Err(error);
            kind.into()
        })
    }

    fn acl_text(&self, id: i64) -> String {
        let bytes = match id {
            OPEN_ACL_ID => Some(AclBytes::OPEN),
            id => self.acls.get(&id).and_then(|bytes| AclBytes::parse(bytes).ok()),
        };
        bytes.map_or_else(|| format!("missing ACL {id}"), |list| text::acl(list, self.args.secrets))
    }
}

impl<W: Write> Restore for Printer<'_, W> {
    type Error = io::Error;

    fn reset(&mut self) {
        self.acls.clear();
    }

    fn session(&mut self, session: SessionRecord) -> io::Result<()> {
        if self.args.json {
            let line =
                json!({ "session": text::hex(session.id), "timeout_ms": session.timeout_ms });
            return self.line(format_args!("{line}"));
        }
        self.line(format_args!("session 0x{:x} timeout {} ms", session.id, session.timeout_ms))
    }

    fn acl(&mut self, acl: AclRecord<'_>) -> io::Result<()> {
        self.acls.insert(acl.id, acl.acl.as_bytes().into());
        Ok(())
    }

    fn node(&mut self, node: NodeRecord<'_>) -> io::Result<()> {
        let path = if node.path.is_empty() { "/" } else { &*node.path };
        if !zk_proto::path::is_at_or_below(path, &self.args.path) {
            return Ok(());
        }
        self.is_found = true;
        let StatPersisted {
            czxid,
            mzxid,
            ctime,
            mtime,
            version,
            cversion,
            aversion,
            ephemeral_owner,
            pzxid,
        } = node.stat;
        if self.args.json {
            let line = json!({
                "path": path, "czxid": text::hex(czxid), "mzxid": text::hex(mzxid), "pzxid": text::hex(pzxid),
                "ctime_ms": ctime, "mtime_ms": mtime, "version": version, "stored_cversion": cversion,
                "aversion": aversion, "ephemeral_owner": text::hex(ephemeral_owner),
                "data": text::data_json(node.data), "acl": self.acl_text(node.acl_id),
            });
            return self.line(format_args!("{line}"));
        }
        let length = node.data.map_or(0, <[u8]>::len);
        let shown = if self.args.data {
            format!(" acl {} data {}", self.acl_text(node.acl_id), text::data(node.data))
        } else {
            String::new()
        };
        self.line(format_args!(
            "{path:?} czxid 0x{czxid:x} mzxid 0x{mzxid:x} pzxid 0x{pzxid:x} version {version} cversion {cversion} \
             aversion {aversion} owner 0x{ephemeral_owner:x} mtime {} length {length}{shown}",
            text::time(mtime)
        ))
    }

    fn snapshot_done(&mut self, _: Zxid) -> io::Result<()> {
        Ok(())
    }

    fn txn(&mut self, _: &TxnEntry<'_>) -> io::Result<()> {
        Ok(())
    }

    fn replayed(&self) -> io::Result<()> {
        Ok(())
    }

    fn digest(&self) -> Option<u64> {
        None
    }
}
