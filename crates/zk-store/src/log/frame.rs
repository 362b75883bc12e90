//! A record's frame: checksum (8 bytes), length (4), payload, end-of-record byte.
//!
//! The checksum is Adler-32 of the payload alone, zero-extended. A length of 0 ends the log.

use std::ops::Range;
use zk_proto::Zxid;
use zk_proto::txn::TxnHeader;
use zk_proto::{Jute, Reader};

/// Magic, version and dbid in front of the first record, in bytes.
pub const HEADER_LEN: u64 = 16;
/// What a record costs beside its payload, in bytes.
pub const FRAME_LEN: usize = FRAME_HEAD + 1;
/// Checksum and length, in bytes.
pub(crate) const FRAME_HEAD: usize = 12;
/// Ends every record.
pub const EOR: u8 = 0x42;
/// A payload is at least a transaction header.
pub(crate) const MIN_PAYLOAD: usize = 32;

/// The zxid of a payload that has at least a header.
pub(crate) fn zxid_of(payload: &[u8]) -> Option<Zxid> {
    TxnHeader::read(&mut Reader::new(payload)).ok().map(|header| Zxid(header.zxid))
}

/// Appends a frame.
pub fn put_frame(out: &mut Vec<u8>, payload: &[u8]) {
    out.reserve(payload.len() + FRAME_LEN);
    out.extend_from_slice(&u64::from(simd_adler32::adler32(&payload)).to_be_bytes());
    out.extend_from_slice(&(payload.len() as u32).to_be_bytes());
    out.extend_from_slice(payload);
    out.push(EOR);
}

/// What a run of frames holds.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Run {
    /// How many records.
    pub records: usize,
    /// The first record's zxid.
    pub first: Zxid,
    /// The last record's zxid.
    pub last: Zxid,
    /// The last record's checksum.
    pub checksum: u32,
}

impl Run {
    /// Looks at frames that [`put_frame`] made; `None` if there are none.
    #[must_use]
    pub fn of(frames: &[u8]) -> Option<Run> {
        let mut run: Option<Run> = None;
        let mut at = 0;
        while let Some(payload) = payload_at(frames, at) {
            let last = zxid_of(&frames[payload.clone()])?;
            let checksum = frames[at + 4..].first_chunk::<4>().copied().map(u32::from_be_bytes)?;
            at = payload.end + 1;
            let (records, first) = run.map_or((0, last), |run| (run.records, run.first));
            run = Some(Run { records: records + 1, first, last, checksum });
        }
        debug_assert_eq!(at, frames.len(), "frames are whole");
        run
    }
}

/// Where the payload of the frame at `at` lies.
pub(crate) fn payload_at(frames: &[u8], at: usize) -> Option<Range<usize>> {
    let length = frames.get(at + 8..at + FRAME_HEAD)?.try_into().ok()?;
    let start = at + FRAME_HEAD;
    let payload = start..start + u32::from_be_bytes(length) as usize;
    (payload.end < frames.len()).then_some(payload)
}

#[cfg(test)]
mod tests {
    use super::*;
    use zk_proto::txn::{Txn, TxnEntry};

    #[test]
    fn frames_are_apaches_bytes() {
        // disk-formats 11.1: the first record of log.1.
        let header = TxnHeader {
            client_id: 0x0100_000a_2834_0000,
            cxid: 0,
            zxid: 1,
            time_ms: 0x01a2_02e1_9af7,
            op: -10,
        };
        let digest = zk_proto::txn::TxnDigest { version: 2, tree_digest: 0x51c6_d660 };
        let entry = TxnEntry { header, txn: Txn::CreateSession(10_000), digest: Some(digest) };
        let mut frames = Vec::new();
        put_frame(&mut frames, &entry.to_bytes());
        let run = Run::of(&frames).unwrap();
        assert_eq!((run.records, run.last, run.checksum), (1, Zxid(1), 0xa970_09f9));
        assert_eq!(&frames[..12], b"\0\0\0\0\xa9\x70\x09\xf9\0\0\0\x30");
        assert_eq!((frames.len(), frames.last()), (48 + FRAME_LEN, Some(&EOR)));
        assert_eq!(Run::of(&[]), None);
    }
}
