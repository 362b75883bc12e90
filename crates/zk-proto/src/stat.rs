//! The two forms of a znode's metadata, and what an ephemeral owner means.

use crate::record::record;

record! {
    /// What clients see (68 bytes). `cversion` and `ephemeral_owner` differ from the stored form.
    #[derive(Copy, Default)]
    pub struct Stat {
        /// zxid of the creation.
        pub czxid: i64,
        /// zxid of the last data change.
        pub mzxid: i64,
        /// Creation time in ms since the Unix epoch, the leader's clock.
        pub ctime: i64,
        /// Time of the last data change.
        pub mtime: i64,
        /// Number of data changes.
        pub version: i32,
        /// Number of changes of the list of children (creates and deletes).
        pub cversion: i32,
        /// Number of ACL changes.
        pub aversion: i32,
        /// The session that owns an ephemeral; 0 for all other znodes.
        pub ephemeral_owner: i64,
        /// Length of the data, 0 for null.
        pub data_length: i32,
        /// Number of children.
        pub num_children: i32,
        /// zxid of the last change of the list of children.
        pub pzxid: i64,
    }

    /// What snapshots store (60 bytes). `cversion` counts creates only and is the counter of
    /// sequential names; `ephemeral_owner` is coded (see [`EphemeralOwner`]).
    #[derive(Copy, Default)]
    pub struct StatPersisted {
        /// zxid of the creation.
        pub czxid: i64,
        /// zxid of the last data change.
        pub mzxid: i64,
        /// Creation time in ms.
        pub ctime: i64,
        /// Time of the last data change.
        pub mtime: i64,
        /// Number of data changes.
        pub version: i32,
        /// Number of children ever created.
        pub cversion: i32,
        /// Number of ACL changes.
        pub aversion: i32,
        /// Coded owner.
        pub ephemeral_owner: i64,
        /// zxid of the last change of the list of children.
        pub pzxid: i64,
    }
}

impl StatPersisted {
    /// The client's view (`DataNode.copyStat`, `getClientEphemeralOwner`): cversion counts creates
    /// and deletes, the owner is shown only for real ephemerals.
    #[must_use]
    pub fn to_stat(&self, data_length: i32, num_children: i32, extended_types: bool) -> Stat {
        let owner = EphemeralOwner(self.ephemeral_owner);
        Stat {
            czxid: self.czxid,
            mzxid: self.mzxid,
            ctime: self.ctime,
            mtime: self.mtime,
            version: self.version,
            cversion: self.cversion.wrapping_mul(2).wrapping_sub(num_children),
            aversion: self.aversion,
            ephemeral_owner: match owner.kind(extended_types) {
                OwnerKind::Ephemeral(session) => session.0,
                _ => 0,
            },
            data_length,
            num_children,
            pzxid: self.pzxid,
        }
    }

    /// The 60 bytes that go into the tree digest: pzxid stands third here, unlike in snapshots
    /// (disk-formats 4.2).
    #[must_use]
    pub fn digest_bytes(&self) -> [u8; 60] {
        let mut out = [0u8; 60];
        let (longs, rest) = out.split_at_mut(40);
        let values = [self.czxid, self.mzxid, self.pzxid, self.ctime, self.mtime];
        for (slot, value) in longs.chunks_exact_mut(8).zip(values) {
            slot.copy_from_slice(&value.to_be_bytes());
        }
        let (ints, owner) = rest.split_at_mut(12);
        for (slot, value) in
            ints.chunks_exact_mut(4).zip([self.version, self.cversion, self.aversion])
        {
            slot.copy_from_slice(&value.to_be_bytes());
        }
        owner.copy_from_slice(&self.ephemeral_owner.to_be_bytes());
        out
    }
}

/// A stored `ephemeralOwner` (client-protocol 7.4; Apache `EphemeralType`).
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct EphemeralOwner(pub i64);

/// What a stored owner says about its znode.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum OwnerKind {
    /// No owner.
    Persistent,
    /// Lives as long as the session.
    Ephemeral(crate::SessionId),
    /// Removed once its last child is gone.
    Container,
    /// Removed when childless and unchanged for so many ms.
    Ttl(i64),
}

impl EphemeralOwner {
    /// A persistent znode.
    pub const PERSISTENT: EphemeralOwner = EphemeralOwner(0);
    /// A container.
    pub const CONTAINER: EphemeralOwner = EphemeralOwner(i64::MIN);
    /// The longest TTL: 40 bits of ms, about 35 years.
    pub const MAX_TTL_MS: i64 = 0xff_ffff_ffff;
    const TTL_TAG: i64 = 0xffu8 as i64;

    /// The owner of a TTL znode; `None` if the TTL is not in 1..=[`Self::MAX_TTL_MS`].
    #[must_use]
    pub fn ttl(ttl_ms: i64) -> Option<EphemeralOwner> {
        (1..=Self::MAX_TTL_MS)
            .contains(&ttl_ms)
            .then_some(EphemeralOwner((Self::TTL_TAG << 56) | ttl_ms))
    }

    /// What it means. Without extended types a TTL owner is an ordinary session id.
    #[must_use]
    pub fn kind(self, extended_types: bool) -> OwnerKind {
        match self.0 {
            0 => OwnerKind::Persistent,
            i64::MIN => OwnerKind::Container,
            owner if extended_types && (owner >> 40) as u32 & 0xff_ffff == 0xff_0000 => {
                OwnerKind::Ttl(owner & Self::MAX_TTL_MS)
            }
            owner => OwnerKind::Ephemeral(crate::SessionId(owner)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Jute, SessionId};

    #[test]
    fn ttl_owner_has_apaches_bits() {
        let owner = EphemeralOwner::ttl(600_000).unwrap();
        assert_eq!(owner.0 as u64, 0xff00_0000_0009_27c0);
        assert_eq!(owner.kind(true), OwnerKind::Ttl(600_000));
        assert_eq!(owner.kind(false), OwnerKind::Ephemeral(SessionId(owner.0)));
        assert_eq!(EphemeralOwner::ttl(0), None);
        assert_eq!(EphemeralOwner::ttl(EphemeralOwner::MAX_TTL_MS + 1), None);
        assert_eq!(EphemeralOwner::CONTAINER.kind(true), OwnerKind::Container);
        assert_eq!(
            EphemeralOwner(0x0100_0000_0000_0001).kind(true),
            OwnerKind::Ephemeral(SessionId(0x0100_0000_0000_0001))
        );
    }

    #[test]
    fn the_clients_cversion_counts_creates_and_deletes() {
        let stored = StatPersisted { cversion: 8, ..Default::default() };
        assert_eq!(stored.to_stat(0, 7, false).cversion, 9);
        let fresh_root = StatPersisted::default();
        assert_eq!(fresh_root.to_stat(0, 1, false).cversion, -1);
    }

    #[test]
    fn sizes_on_the_wire() {
        assert_eq!(Stat::default().to_bytes().len(), 68);
        assert_eq!(StatPersisted::default().to_bytes().len(), 60);
        assert_eq!(Stat::MIN_LEN, 68);
    }
}
