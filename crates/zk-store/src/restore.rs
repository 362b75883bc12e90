//! Who receives what the files hold.

use std::error::Error;
use zk_proto::Zxid;
use zk_proto::snapshot::{AclRecord, NodeRecord, SessionRecord};
use zk_proto::txn::TxnEntry;

/// A tree (or whatever else wants to know) that is built from a snapshot and a log.
///
/// The calls come as: [`reset`](Restore::reset), sessions, ACLs, znodes,
/// [`snapshot_done`](Restore::snapshot_done), transactions. A snapshot that turns out to be damaged
/// is followed by another `reset`; then *everything* must be forgotten, sessions and indexes too.
/// Without any snapshot `reset` is followed by transactions: the tree is the empty one of a new
/// server, its system znodes included.
pub trait Restore {
    /// Why a record is refused; the file then counts as damaged.
    type Error: Error + Send + Sync + 'static;

    /// Forgets everything: what follows builds the state from nothing.
    fn reset(&mut self);

    /// A global session that was alive.
    fn session(&mut self, session: SessionRecord) -> Result<(), Self::Error>;

    /// An ACL list that znodes refer to by its number.
    fn acl(&mut self, acl: AclRecord<'_>) -> Result<(), Self::Error>;

    /// A znode; its parent came before it, or the snapshot must be refused.
    fn node(&mut self, node: NodeRecord<'_>) -> Result<(), Self::Error>;

    /// The snapshot was whole; it holds all transactions up to `zxid`, and maybe parts of later
    /// ones, which follow and are then applied a second time (disk-formats 4.1).
    fn snapshot_done(&mut self, zxid: Zxid) -> Result<(), Self::Error>;

    /// The next transaction. A failed one ([`is_failure`](zk_proto::txn::Txn::is_failure)) changes
    /// nothing but the zxid; so does a bare check, which is given as such a failure.
    fn txn(&mut self, entry: &TxnEntry<'_>) -> Result<(), Self::Error>;

    /// Nothing follows. What a snapshot left to the transactions behind it must be there now: an
    /// engine that writes while it changes lists ACLs first, and then znodes with later ones.
    fn replayed(&self) -> Result<(), Self::Error>;

    /// The tree digest (disk-formats 4.2) as it is now; `None` if it is not kept, then nothing is
    /// verified by it.
    fn digest(&self) -> Option<u64>;
}

/// Receives a file only to see whether it is whole.
#[derive(Clone, Copy, Default, Debug)]
pub struct Discard;

impl Restore for Discard {
    type Error = std::convert::Infallible;
    fn reset(&mut self) {}
    fn session(&mut self, _: SessionRecord) -> Result<(), Self::Error> {
        Ok(())
    }
    fn acl(&mut self, _: AclRecord<'_>) -> Result<(), Self::Error> {
        Ok(())
    }
    fn node(&mut self, _: NodeRecord<'_>) -> Result<(), Self::Error> {
        Ok(())
    }
    fn snapshot_done(&mut self, _: Zxid) -> Result<(), Self::Error> {
        Ok(())
    }
    fn txn(&mut self, _: &TxnEntry<'_>) -> Result<(), Self::Error> {
        Ok(())
    }
    fn replayed(&self) -> Result<(), Self::Error> {
        Ok(())
    }
    fn digest(&self) -> Option<u64> {
        None
    }
}
