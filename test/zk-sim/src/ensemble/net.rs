//! The network: what is connected, what is cut off from what, and what waits for the way to open.
//!
//! A connection keeps the order of what is sent on it, as TCP does. What a broken way holds up is
//! not lost but comes when the way is open again, if the connection still is: TCP sends it again.

use super::event::Payload;
use crate::record::Conn;
use std::collections::BTreeMap;
use std::rc::Rc;
use zk_proto::Sid;
use zk_proto::election::Notification;

/// A connection between a leader and a learner.
#[derive(Debug)]
pub(crate) struct Link {
    pub(crate) learner: (Sid, u32),
    pub(crate) leader: (Sid, u32),
    /// Whether the learner's end is open, and the leader's.
    pub(crate) open: [bool; 2],
    /// When the last thing that was sent arrives, to the leader and to the learner.
    pub(crate) last_us: [u64; 2],
    /// What waits for the way to open, the end of the connection being `None`.
    pub(crate) held: [Vec<Option<Payload>>; 2],
}

/// Which way on a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Way {
    ToLeader,
    ToLearner,
}

/// A client's connection.
#[derive(Debug)]
pub(crate) struct ClientLink {
    pub(crate) client: usize,
    pub(crate) sid: Sid,
    pub(crate) life: u32,
    /// Whether the member knows it; it may close it.
    pub(crate) is_accepted: bool,
    pub(crate) is_closed_by_member: bool,
    /// Something on it was lost: nothing comes any more but its end.
    pub(crate) is_torn: bool,
    pub(crate) last_us: [u64; 2],
}

/// See the module.
#[derive(Debug, Default)]
pub(crate) struct Net {
    pub(crate) links: BTreeMap<u64, Link>,
    pub(crate) conns: BTreeMap<Conn, ClientLink>,
    /// How many faults are in the way from one member to another.
    blocked: BTreeMap<(Sid, Sid), u32>,
    /// Votes that wait: only the newest.
    pub(crate) votes: BTreeMap<(Sid, Sid), Rc<Notification<'static>>>,
    /// When the last vote from one to another arrives.
    pub(crate) vote_us: BTreeMap<(Sid, Sid), u64>,
    /// Clients that are cut off from members: from all, if there is no sid.
    pub(crate) deaf: BTreeMap<usize, u32>,
    next: u64,
    /// All delays are so many times as long.
    pub(crate) slowness: u64,
    /// Nothing is lost any more.
    pub(crate) is_calm: bool,
}

impl Net {
    pub(crate) fn new() -> Net {
        Net { slowness: 1, ..Net::default() }
    }

    pub(crate) fn next(&mut self) -> u64 {
        self.next += 1;
        self.next
    }

    pub(crate) fn is_blocked(&self, from: Sid, to: Sid) -> bool {
        self.blocked.get(&(from, to)).is_some_and(|count| *count > 0)
    }

    pub(crate) fn block(&mut self, from: Sid, to: Sid) {
        *self.blocked.entry((from, to)).or_default() += 1;
    }

    /// Takes one fault out of the way; whether it is open now.
    pub(crate) fn unblock(&mut self, from: Sid, to: Sid) -> bool {
        let count = self.blocked.entry((from, to)).or_default();
        *count = count.saturating_sub(1);
        *count == 0
    }

    /// The connections between two members.
    pub(crate) fn between(&self, a: Sid, b: Sid) -> Vec<u64> {
        let joins = |link: &Link| {
            let ends = (link.learner.0, link.leader.0);
            ends == (a, b) || ends == (b, a)
        };
        self.links.iter().filter(|(_, link)| joins(link)).map(|(id, _)| *id).collect()
    }
}

impl Link {
    /// Who sends that way, and who gets it.
    pub(crate) fn ends(&self, way: Way) -> ((Sid, u32), (Sid, u32)) {
        match way {
            Way::ToLeader => (self.learner, self.leader),
            Way::ToLearner => (self.leader, self.learner),
        }
    }
}
