//! The network between clients and the member: frames in order, which may be lost with their
//! connection, but never alone.

use crate::record::Conn;
use std::collections::{BTreeMap, VecDeque};

pub(super) use super::client::Frame;

/// A connection seen from outside.
#[derive(Debug, Default)]
pub(super) struct Link {
    /// On the way to the member.
    pub(super) inbound: VecDeque<Frame>,
    /// On the way to the client.
    pub(super) outbound: VecDeque<Frame>,
    /// The member closed it: when `outbound` is empty, the client sees the end.
    pub(super) is_closed: bool,
    /// The client left; the member has not seen it yet.
    pub(super) is_left: bool,
}

/// All connections.
#[derive(Debug, Default)]
pub(super) struct Net {
    /// By number.
    pub(super) links: BTreeMap<Conn, Link>,
    last: Conn,
}

impl Net {
    /// A new connection.
    pub(super) fn connect(&mut self) -> Conn {
        self.last += 1;
        self.links.insert(self.last, Link::default());
        self.last
    }

    /// The member is gone: what was on its way to it is lost.
    pub(super) fn member_is_gone(&mut self) {
        for link in self.links.values_mut() {
            link.inbound.clear();
            link.is_closed = true;
        }
        self.links.retain(|_, link| !link.is_left);
    }

    /// Connections for which `holds` is true.
    pub(super) fn those(&self, holds: impl Fn(&Link) -> bool) -> Vec<Conn> {
        self.links.iter().filter(|(_, link)| holds(link)).map(|(conn, _)| *conn).collect()
    }
}
