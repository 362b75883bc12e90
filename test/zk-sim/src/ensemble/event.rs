//! What will happen, in the order of its time.

use super::store::{Entry, Image};
use crate::record::Conn;
use std::cmp::Ordering;
use std::collections::BinaryHeap;
use std::rc::Rc;
use zk_proto::Sid;
use zk_proto::election::Notification;
use zk_zab::leader::LinkId;

/// What travels on a connection between a leader and a learner.
#[derive(Clone, Debug)]
pub(crate) enum Payload {
    /// A packet's bytes.
    Packet(Rc<[u8]>),
    /// What follows SNAP.
    Snapshot(Rc<Image>),
}

/// What the thread of a member's quorum hears, one after the other.
#[derive(Clone, Debug)]
pub(crate) enum Inbound {
    Vote(Sid, Rc<Notification<'static>>),
    VoteConnected(Sid),
    VoteLost(Sid),
    VoteRefused(Sid),
    /// A learner has dialled.
    Comes(LinkId),
    /// An observer has dialled a follower.
    ObserverComes(LinkId),
    /// A leader was dialled: with success or without.
    Dialled(Sid, Option<LinkId>),
    Arrived(LinkId, Payload),
    /// The other side of a connection is gone.
    Ended(LinkId),
    LookedUp(LinkId, Option<Vec<Entry>>),
}

/// Something that will happen.
#[derive(Clone, Debug)]
pub(crate) enum Event {
    /// Something comes to a member; `life` says to which of its processes.
    Quorum {
        sid: Sid,
        life: u32,
        what: Inbound,
    },
    Tick {
        sid: Sid,
        life: u32,
    },
    /// The log's thread is done with so many txns.
    LogDone {
        sid: Sid,
        life: u32,
    },
    /// What the quorum's thread waits for is done.
    IoDone {
        sid: Sid,
        life: u32,
    },
    /// The pipeline's thread has its turn.
    Pipe {
        sid: Sid,
        life: u32,
    },
    Look {
        sid: Sid,
        life: u32,
    },
    Dial {
        sid: Sid,
        life: u32,
        leader: Sid,
        tries: u32,
    },
    Reap {
        sid: Sid,
        life: u32,
    },
    Start {
        sid: Sid,
    },
    /// A frame on its way from a client.
    ToMember {
        conn: Conn,
        frame: Rc<[u8]>,
    },
    /// A frame on its way to a client.
    ToClient {
        conn: Conn,
        frame: Rc<[u8]>,
    },
    /// A client's connection arrives.
    Connects {
        conn: Conn,
    },
    /// The member's end of the connection is closed.
    ClosedByMember {
        conn: Conn,
    },
    /// The client's end is.
    ClosedByClient {
        conn: Conn,
    },
    /// A client does something.
    Client {
        at: usize,
    },
    /// Something goes wrong.
    Fault,
    /// A fault of the network ends.
    Mend {
        fault: usize,
    },
    /// A member's process goes on.
    Resume {
        sid: Sid,
        life: u32,
    },
    /// A client is heard again.
    ClientBack {
        at: usize,
    },
    /// The disk is quick again.
    QuickDisk {
        sid: Sid,
    },
}

#[derive(Debug)]
struct Scheduled {
    at_us: u64,
    number: u64,
    event: Event,
}

impl PartialEq for Scheduled {
    fn eq(&self, other: &Scheduled) -> bool {
        self.number == other.number
    }
}

impl Eq for Scheduled {}

impl PartialOrd for Scheduled {
    fn partial_cmp(&self, other: &Scheduled) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Scheduled {
    fn cmp(&self, other: &Scheduled) -> Ordering {
        // The earliest is the greatest.
        (other.at_us, other.number).cmp(&(self.at_us, self.number))
    }
}

/// Events by time; those of one time in the order in which they were made.
#[derive(Debug, Default)]
pub(crate) struct Queue {
    heap: BinaryHeap<Scheduled>,
    next: u64,
}

impl Queue {
    pub(crate) fn push(&mut self, at_us: u64, event: Event) {
        let number = self.next;
        self.next += 1;
        self.heap.push(Scheduled { at_us, number, event });
    }

    /// The next event that happens until then.
    pub(crate) fn pop(&mut self, until_us: u64) -> Option<(u64, Event)> {
        if self.heap.peek()?.at_us > until_us {
            return None;
        }
        self.heap.pop().map(|it| (it.at_us, it.event))
    }
}
