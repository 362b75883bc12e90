//! One thing that happened in a simulated ensemble. Everything that judges a run looks at nothing
//! else, so a run that is made up can be judged like a real one.

use crate::record::Conn;
use std::fmt;
use std::rc::Rc;
use zk_proto::{Epoch, Sid, Zxid};

/// A member's word to its leader that rests on its disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Said {
    /// ACKEPOCH: it has promised the epoch.
    Promised(Epoch),
    /// ACK of NEWLEADER: it has the history and has entered the epoch.
    Entered(Epoch),
    /// ACK of a proposal.
    Acked(Zxid),
}

/// What happened. Frames are without their length.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Record {
    /// A process begins, with what it found on its disk.
    Started {
        /// Whose.
        sid: Sid,
        /// The last txn that it found.
        zxid: Zxid,
        /// The digest of its tree.
        digest: u64,
        /// It has no vote, and builds upon nothing that it has.
        is_damaged: bool,
        /// `acceptedEpoch`.
        accepted: Epoch,
        /// `currentEpoch`.
        current: Epoch,
    },
    /// A process is no more.
    Crashed {
        /// Whose.
        sid: Sid,
    },
    /// Everything on a member's disk is gone.
    Wiped {
        /// Whose.
        sid: Sid,
    },
    /// A leader has made a txn.
    Proposed {
        /// Which.
        sid: Sid,
        /// The txn.
        zxid: Zxid,
        /// Header, body and digest.
        txn: Rc<[u8]>,
    },
    /// A txn is on a member's disk.
    Logged {
        /// Whose.
        sid: Sid,
        /// The txn.
        zxid: Zxid,
        /// Its bytes' hash.
        hash: u64,
    },
    /// A member begins to change its history: until the end of it, either may be found.
    Changing {
        /// Whose.
        sid: Sid,
    },
    /// A member's log ends here now.
    Cut {
        /// Whose.
        sid: Sid,
        /// The last txn.
        zxid: Zxid,
    },
    /// A member's history is a leader's snapshot now.
    Replaced {
        /// Whose.
        sid: Sid,
        /// The last txn in it.
        zxid: Zxid,
    },
    /// An epoch is on a member's disk.
    Wrote {
        /// Whose.
        sid: Sid,
        /// `acceptedEpoch`, else `currentEpoch`.
        is_accepted: bool,
        /// The epoch.
        epoch: Epoch,
    },
    /// A learner tells its leader what is on its disk.
    Says {
        /// Which.
        sid: Sid,
        /// What.
        said: Said,
    },
    /// A member looks for a leader, and stands for this history.
    Looks {
        /// Which.
        sid: Sid,
        /// The last txn of it.
        zxid: Zxid,
        /// Whether it has a vote.
        has_vote: bool,
    },
    /// A member leads: what it has is committed.
    Leads {
        /// Which.
        sid: Sid,
        /// In which epoch.
        epoch: Epoch,
    },
    /// A leader says that a txn is committed.
    Committed {
        /// Which leader.
        sid: Sid,
        /// The txn.
        zxid: Zxid,
    },
    /// A member lets clients in.
    Serves {
        /// Which.
        sid: Sid,
    },
    /// A member with a leader has applied this far.
    Applied {
        /// Which.
        sid: Sid,
        /// Up to here.
        zxid: Zxid,
        /// The digest of its tree.
        digest: u64,
    },
    /// A member has a leader no more, and lets its clients go.
    Rests {
        /// Which.
        sid: Sid,
    },
    /// A member accepted a connection.
    Accepted {
        /// Which member.
        sid: Sid,
        /// Which connection.
        conn: Conn,
        /// The client's address.
        ip: Rc<str>,
    },
    /// A client sent a frame.
    Invoked {
        /// On which connection.
        conn: Conn,
        /// The session that it believes to have, or 0.
        session: i64,
        /// What.
        frame: Rc<[u8]>,
    },
    /// The member took a client's frame in.
    Submitted {
        /// Which member.
        sid: Sid,
        /// On which connection.
        conn: Conn,
        /// The member's clock.
        local_ms: i64,
    },
    /// The member sent a frame.
    Sent {
        /// Which member.
        sid: Sid,
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
    /// A connection is over for the member.
    Gone {
        /// Which member.
        sid: Sid,
        /// Which connection.
        conn: Conn,
    },
    /// A leader hears from a learner that these sessions live.
    Touched {
        /// Which leader.
        sid: Sid,
        /// The sessions.
        sessions: Rc<[i64]>,
        /// The leader's clock.
        local_ms: i64,
    },
    /// A learner answers a ping: the sessions that it says it has heard.
    Tells {
        /// Which learner.
        sid: Sid,
        /// The sessions.
        sessions: Rc<[i64]>,
    },
    /// A member's process or disk may be slow until then.
    Slow {
        /// Which member.
        sid: Sid,
        /// Until when, in µs.
        until_us: u64,
    },
    /// A leader lets a session expire.
    Expires {
        /// Which leader.
        sid: Sid,
        /// Which session.
        session: i64,
        /// Its timeout in ms.
        timeout_ms: i64,
        /// The leader's clock.
        local_ms: i64,
    },
    /// A look at a member: who has ephemerals, who has a session.
    Inspected {
        /// Which member.
        sid: Sid,
        /// Its last txn.
        zxid: Zxid,
        /// Sessions with ephemerals.
        owners: Rc<[i64]>,
        /// Sessions.
        sessions: Rc<[i64]>,
    },
    /// The faults are over.
    Healed,
    /// Everything must have come to rest: what a member is.
    Rested {
        /// Which.
        sid: Sid,
        /// Whether it serves.
        serves: bool,
        /// Whom it follows.
        leader: Sid,
        /// Its last txn.
        zxid: Zxid,
        /// Its digest.
        digest: u64,
        /// What is under way.
        under_way: usize,
    },
    /// The end: so many clients got in since the faults ended, of so many.
    Ended {
        /// Those.
        served: usize,
        /// All.
        clients: usize,
        /// How long it took until there was a leader, in ms.
        leader_after_ms: Option<u64>,
    },
}

impl fmt::Display for Record {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        use crate::record::{reply, request, transaction};
        match self {
            Record::Proposed { sid, zxid, txn } => {
                write!(f, "{sid} proposes {zxid} {}", transaction(txn))
            }
            Record::Logged { sid, zxid, .. } => write!(f, "{sid} logged {zxid}"),
            Record::Applied { sid, zxid, .. } => write!(f, "{sid} applied {zxid}"),
            Record::Committed { sid, zxid } => write!(f, "{sid} commits {zxid}"),
            Record::Invoked { conn, frame, .. } => write!(f, "c{conn} asks {}", request(frame)),
            Record::Sent { sid, conn, frame } => {
                write!(f, "{sid} answers c{conn} {}", reply(frame))
            }
            Record::Received { conn, frame } => write!(f, "c{conn} hears {}", reply(frame)),
            other => write!(f, "{other:?}"),
        }
    }
}
