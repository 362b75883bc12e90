//! The numbers that must not be mixed up: zxid, epoch, session id, xid.

use std::fmt;

/// A transaction id: the epoch in the high 32 bits, the counter in the low 32 bits. Printed as
/// `0x<hex>`, as Apache does everywhere.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Zxid(pub i64);

/// The number of a leader's reign.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Debug)]
pub struct Epoch(pub i32);

impl Zxid {
    /// Before the first transaction.
    pub const ZERO: Zxid = Zxid(0);

    /// The first zxid of an epoch has counter 0 and is never a transaction of a client.
    #[must_use]
    pub const fn new(epoch: Epoch, counter: u32) -> Zxid {
        Zxid(((epoch.0 as i64) << 32) | counter as i64)
    }

    /// The high half.
    #[must_use]
    pub const fn epoch(self) -> Epoch {
        Epoch((self.0 >> 32) as i32)
    }

    /// The low half.
    #[must_use]
    pub const fn counter(self) -> u32 {
        self.0 as u32
    }

    /// The zxid of the next transaction of the same epoch.
    #[must_use]
    pub const fn next(self) -> Zxid {
        Zxid(self.0 + 1)
    }

    /// Whether `self` may directly follow `before` in a log: the next counter of the same epoch,
    /// or anything of a later epoch (a new leader starts at counter 1, after an epoch marker that
    /// is not a transaction). A log that breaks this has lost records (RELIABILITY 2.2, case I).
    #[must_use]
    pub fn may_follow(self, before: Zxid) -> bool {
        self.0 == before.0 + 1 || self.epoch() > before.epoch()
    }
}

impl fmt::Display for Zxid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "0x{:x}", self.0)
    }
}

impl fmt::Debug for Zxid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "0x{:x}", self.0)
    }
}

/// A server's number in its ensemble: what its `myid` file says. Negative ones are given to
/// learners that name none.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Debug)]
pub struct Sid(pub i64);

impl Sid {
    /// Who does not vote proposes nobody (`FastLeaderElection.getInitId`).
    pub const NOBODY: Sid = Sid(i64::MIN);
}

impl fmt::Display for Sid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)
    }
}

/// A session id: the server id in the top byte, then a clock and a counter (client-protocol 2.3).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct SessionId(pub i64);

impl SessionId {
    /// No session: in a connect request "give me a new one", in a response "yours is gone".
    pub const NONE: SessionId = SessionId(0);
}

impl fmt::Display for SessionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "0x{:x}", self.0)
    }
}

impl fmt::Debug for SessionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "0x{:x}", self.0)
    }
}

/// A request number chosen by a client and echoed in the reply; some values are reserved.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Debug)]
pub struct Xid(pub i32);

impl Xid {
    /// A watch notification.
    pub const NOTIFICATION: Xid = Xid(-1);
    /// A ping and its answer.
    pub const PING: Xid = Xid(-2);
    /// An auth packet and its answer.
    pub const AUTH: Xid = Xid(-4);
    /// A setWatches of the C client.
    pub const SET_WATCHES: Xid = Xid(-8);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_zxid_is_an_epoch_and_a_counter() {
        let zxid = Zxid::new(Epoch(3), 7);
        assert_eq!(zxid.to_string(), "0x300000007");
        assert_eq!((zxid.epoch(), zxid.counter()), (Epoch(3), 7));
        assert!(zxid.next().may_follow(zxid));
        assert!(!Zxid(zxid.0 + 2).may_follow(zxid));
        assert!(!zxid.may_follow(zxid));
        assert!(Zxid::new(Epoch(4), 1).may_follow(zxid));
        assert!(!Zxid::new(Epoch(2), 8).may_follow(zxid));
    }
}
