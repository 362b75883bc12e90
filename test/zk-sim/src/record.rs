//! One thing that happened in a simulated world. A run is a list of these; everything that judges
//! a run looks at nothing else.

use std::fmt;
use std::rc::Rc;
use zk_proto::request::{Request, RequestHeader};
use zk_proto::response::ReplyHeader;
use zk_proto::txn::TxnEntry;
use zk_proto::watch::WatcherEvent;
use zk_proto::{Jute, OpCode, Reader};

/// A connection's number; never used twice in a run.
pub type Conn = u64;

/// The time by both clocks of the member.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Now {
    /// ms of a clock that never jumps.
    pub monotonic_ms: i64,
    /// ms of the wall clock, which may.
    pub wall_ms: i64,
}

/// A znode of the real tree.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Portrait {
    /// Its path; the root is `/`.
    pub path: String,
    /// Data, or null.
    pub data: Option<Vec<u8>>,
    /// The ACL list, encoded.
    pub acl: Vec<u8>,
    /// czxid, mzxid, pzxid, ctime, mtime, owner as stored.
    pub longs: [i64; 6],
    /// version, cversion as stored, aversion.
    pub versions: [i32; 3],
}

impl Portrait {
    /// Whether it holds the usage of a quota: that is counted afresh when a snapshot is loaded, and
    /// may then differ from what counting along had come to (disk-formats 4.1).
    #[must_use]
    pub fn is_usage(&self) -> bool {
        self.path.starts_with("/zookeeper/quota/") && self.path.ends_with("/zookeeper_stats")
    }
}

/// Everything that a member holds at one zxid.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Picture {
    /// The last transaction in it.
    pub zxid: i64,
    /// The digest that it keeps.
    pub digest: u64,
    /// All znodes by path.
    pub nodes: Vec<Portrait>,
    /// All sessions by id, with their timeouts in ms.
    pub sessions: Vec<(i64, i32)>,
}

/// What happened. Frames are without their length.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Record {
    /// The member serves, with what it found on its disk.
    Started {
        /// When.
        now: Now,
        /// What it found.
        picture: Rc<Picture>,
    },
    /// The member is no more.
    Crashed,
    /// It accepted a connection.
    Accepted {
        /// Which.
        conn: Conn,
        /// The client's address.
        ip: String,
    },
    /// A client sent a frame: from its point of view the request begins.
    Invoked {
        /// On which connection.
        conn: Conn,
        /// What.
        frame: Rc<[u8]>,
    },
    /// The member took a client's frame in.
    Submitted {
        /// On which connection.
        conn: Conn,
        /// What.
        frame: Rc<[u8]>,
        /// When.
        now: Now,
    },
    /// Its log is full, or not any more: while it is, nothing may be written.
    Admitted {
        /// Whether writes are refused from now on.
        is_read_only: bool,
    },
    /// It looked for sessions to expire.
    Ticked {
        /// When.
        now: Now,
    },
    /// It tried to reap a container or TTL znode.
    Reaped {
        /// Which.
        path: String,
        /// When.
        now: Now,
    },
    /// It gave a transaction to its log.
    Appended {
        /// Which.
        zxid: i64,
        /// Header, body and digest.
        txn: Rc<[u8]>,
    },
    /// The log is on disk this far.
    Synced {
        /// Up to here.
        zxid: i64,
    },
    /// The pipeline heard of it.
    Logged {
        /// Up to here.
        zxid: i64,
        /// When.
        now: Now,
    },
    /// It has applied this far, and all effects of that were carried out.
    Applied {
        /// Up to here.
        zxid: i64,
        /// The digest that it keeps.
        digest: u64,
    },
    /// It sent a frame to a client.
    Sent {
        /// On which connection.
        conn: Conn,
        /// What.
        frame: Rc<[u8]>,
    },
    /// A client got a frame.
    Received {
        /// On which connection.
        conn: Conn,
        /// What.
        frame: Rc<[u8]>,
    },
    /// The member closed a connection.
    Closed {
        /// Which.
        conn: Conn,
    },
    /// A client left, or the network cut it off.
    Gone {
        /// Which connection.
        conn: Conn,
    },
    /// Somebody looked at everything the member holds.
    Inspected {
        /// What it holds.
        picture: Rc<Picture>,
    },
    /// A snapshot was finished; this is what loading it gives.
    Snapshotted {
        /// What it holds.
        picture: Rc<Picture>,
    },
    /// Something that clients and member do not see, for whoever reads the story.
    Noted(String),
    /// All faults are over and nothing is under way any more.
    Quiet,
}

impl fmt::Display for Record {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let sum = |p: &Picture| {
            format!("{:x} nodes={} sessions={}", p.zxid, p.nodes.len(), p.sessions.len())
        };
        match self {
            Record::Started { now, picture } => {
                write!(f, "start    {} at={}", sum(picture), now.monotonic_ms)
            }
            Record::Crashed => write!(f, "crash"),
            Record::Accepted { conn, ip } => write!(f, "accept   c{conn} from {ip}"),
            Record::Invoked { conn, frame } => write!(f, "invoke   c{conn} {}", request(frame)),
            Record::Submitted { conn, frame, now } => {
                write!(f, "submit   c{conn} {} at={}", request(frame), now.monotonic_ms)
            }
            Record::Admitted { is_read_only: true } => write!(f, "admit    reads"),
            Record::Admitted { is_read_only: false } => write!(f, "admit    writes"),
            Record::Ticked { now } => write!(f, "tick     at={}", now.monotonic_ms),
            Record::Reaped { path, now } => write!(f, "reap     {path} wall={}", now.wall_ms),
            Record::Appended { zxid, txn } => write!(f, "append   {zxid:x} {}", transaction(txn)),
            Record::Synced { zxid } => write!(f, "sync     {zxid:x}"),
            Record::Logged { zxid, now } => write!(f, "logged   {zxid:x} at={}", now.monotonic_ms),
            Record::Applied { zxid, .. } => write!(f, "applied  {zxid:x}"),
            Record::Sent { conn, frame } => write!(f, "send     c{conn} {}", reply(frame)),
            Record::Received { conn, frame } => write!(f, "receive  c{conn} {}", reply(frame)),
            Record::Closed { conn } => write!(f, "close    c{conn}"),
            Record::Gone { conn } => write!(f, "gone     c{conn}"),
            Record::Inspected { picture } => write!(f, "inspect  {}", sum(picture)),
            Record::Snapshotted { picture } => write!(f, "snapshot {}", sum(picture)),
            Record::Noted(text) => write!(f, "note     {text}"),
            Record::Quiet => write!(f, "quiet"),
        }
    }
}

/// A request in a few words. A handshake has no header; its first int is 0, which is no xid of
/// ours.
pub(crate) fn request(frame: &[u8]) -> String {
    let mut r = Reader::new(frame);
    let Ok(header) = RequestHeader::read(&mut r) else { return "short frame".into() };
    if header.xid == 0 {
        return "handshake".into();
    }
    let Some(op) = OpCode::from_code(header.op) else {
        return format!("x{} op {}", header.xid, header.op);
    };
    let body = match Request::read(op, &mut r) {
        Ok(Some(body)) => short(&format!("{body:?}")),
        _ => "(unreadable)".into(),
    };
    format!("x{} {op} {body}", header.xid)
}

pub(crate) fn transaction(txn: &[u8]) -> String {
    match TxnEntry::read(&mut Reader::new(txn)) {
        Ok(entry) => {
            format!("s={:x} {}", entry.header.client_id, short(&format!("{:?}", entry.txn)))
        }
        Err(error) => format!("unreadable: {error}"),
    }
}

pub(crate) fn reply(frame: &[u8]) -> String {
    let mut r = Reader::new(frame);
    let Ok(header) = ReplyHeader::read(&mut r) else { return "short frame".into() };
    match header.xid {
        0 => "handshake".into(),
        -1 => match WatcherEvent::read(&mut r) {
            Ok(event) => format!("event z{:x} {} {}", header.zxid, event.event_type, event.path),
            Err(_) => "unreadable event".into(),
        },
        xid => format!("x{xid} z{:x} err={} +{}", header.zxid, header.err, r.rest().len()),
    }
}

/// Debug output without its longest words.
fn short(text: &str) -> String {
    let mut text = text.replace("Some(", "(");
    if text.len() > 160 {
        let end = (0..=160).rev().find(|&at| text.is_char_boundary(at)).unwrap_or(0);
        text.truncate(end);
        text.push_str("...");
    }
    text
}
