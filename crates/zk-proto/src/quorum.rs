//! Packets of the quorum port (quorum-protocol 3): one type for what a learner says and one for
//! what its leader says. Mirrors `QuorumPacket` of `zookeeper.jute`.
//!
//! On the wire they follow one another without frames, so they are read from the beginning of what
//! came: `Ok(None)` means that more must come first. A reader's [`Limits`] bound the data of a
//! packet; who collects bytes for one closes the connection at [`longest`].

mod auth;
mod from_leader;
mod from_learner;

pub use auth::{AuthPacket, AuthStatus};
pub use from_leader::FromLeader;
pub use from_learner::{Forwarded, FromLearner, LearnerInfo, Touched};

use crate::record::record;
use crate::{DecodeError, Jute, Limits, Reader, Text};

/// The version that both sides say they speak (`Learner`: 3.4 and later).
pub const PROTOCOL_VERSION: i32 = 0x1_0000;

/// What the type, the zxid and two lengths take.
const MIN_PACKET_BYTES: usize = 20;
/// What the identities of a forwarded request may take; Apache has no such limit.
const MAX_IDENTITY_BYTES: usize = 1 << 20;

/// The longest packet under these limits.
#[must_use]
pub fn longest(limits: Limits) -> usize {
    limits.max_len.saturating_add(MIN_PACKET_BYTES + MAX_IDENTITY_BYTES)
}

record! {
    /// An identity of the client whose request is forwarded.
    pub struct Id<'a> {
        /// The scheme.
        pub scheme: Option<Text<'a>>,
        /// The name in it.
        pub id: Option<Text<'a>>,
    }
}

/// The numbers of the packet types (`Leader.java`).
mod number {
    pub(super) const REQUEST: i32 = 1;
    pub(super) const PROPOSAL: i32 = 2;
    pub(super) const ACK: i32 = 3;
    pub(super) const COMMIT: i32 = 4;
    pub(super) const PING: i32 = 5;
    pub(super) const REVALIDATE: i32 = 6;
    pub(super) const SYNC: i32 = 7;
    pub(super) const INFORM: i32 = 8;
    pub(super) const COMMIT_AND_ACTIVATE: i32 = 9;
    pub(super) const NEW_LEADER: i32 = 10;
    pub(super) const FOLLOWER_INFO: i32 = 11;
    pub(super) const UP_TO_DATE: i32 = 12;
    pub(super) const DIFF: i32 = 13;
    pub(super) const TRUNC: i32 = 14;
    pub(super) const SNAP: i32 = 15;
    pub(super) const OBSERVER_INFO: i32 = 16;
    pub(super) const LEADER_INFO: i32 = 17;
    pub(super) const ACK_EPOCH: i32 = 18;
    pub(super) const INFORM_AND_ACTIVATE: i32 = 19;
    /// Not Apache's, whose observers pass over types that they do not know (`Observer`).
    pub(super) const MOVED: i32 = 1000;
}

/// A packet as it stands on the wire.
#[derive(Debug)]
struct Packet<'a> {
    number: i32,
    zxid: i64,
    data: Option<&'a [u8]>,
    identities: Option<Vec<Id<'a>>>,
}

impl<'a> Packet<'a> {
    /// The first packet of `bytes` and its length, if it is whole.
    fn read(bytes: &'a [u8], limits: Limits) -> Result<Option<(Packet<'a>, usize)>, DecodeError> {
        let mut r = Reader::with_limits(bytes, limits);
        let mut read = || {
            let (number, zxid, data) = (r.i32()?, r.i64()?, r.buffer()?);
            Ok(Packet { number, zxid, data, identities: Option::<Vec<Id<'_>>>::read(&mut r)? })
        };
        match read() {
            Ok(packet) => Ok(Some((packet, r.position()))),
            Err(DecodeError::Truncated { .. }) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// The data where there must be some.
    fn data(&self) -> Result<&'a [u8], DecodeError> {
        self.data.ok_or(DecodeError::Null { at: 12 })
    }
}

/// Appends a packet with neither data nor identities.
fn put_bare(out: &mut Vec<u8>, number: i32, zxid: i64) {
    number.write(out);
    zxid.write(out);
    (-1i32).write(out);
    (-1i32).write(out);
}

/// Appends a packet without identities, with what `data` appends.
fn put_with(out: &mut Vec<u8>, number: i32, zxid: i64, data: impl FnOnce(&mut Vec<u8>)) {
    number.write(out);
    zxid.write(out);
    crate::jute::put_frame(out, data);
    (-1i32).write(out);
}

#[cfg(test)]
mod tests;
