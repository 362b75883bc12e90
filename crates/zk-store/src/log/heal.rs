//! Finds a whole payload in a damaged frame.

use super::frame::{EOR, FRAME_HEAD, MIN_PAYLOAD};
use crate::disk::{DiskFile, read_full};
use std::io;
use zk_proto::txn::TxnHeader;
use zk_proto::{Jute, OpCode, Reader, Zxid};

const ADLER_MODULUS: u32 = 65_521;

/// The payload of the frame at `at` with its checksum and zxid, if one length makes the stored
/// checksum true and either the stored length or the end-of-record byte agrees with it.
pub(crate) fn heal(
    file: &dyn DiskFile,
    at: u64,
    limit: u64,
) -> io::Result<Option<(Vec<u8>, u32, Zxid)>> {
    let mut frame = vec![0; limit.saturating_sub(at) as usize];
    let n = read_full(file, &mut frame, at)?;
    frame.truncate(n);
    let Some((head, rest)) = frame.split_first_chunk::<FRAME_HEAD>() else { return Ok(None) };
    let [0, 0, 0, 0, c0, c1, c2, c3, l0, l1, l2, l3] = *head else { return Ok(None) };
    let stored = u32::from_be_bytes([c0, c1, c2, c3]);
    let length = u32::from_be_bytes([l0, l1, l2, l3]) as usize;
    let Ok(header) = TxnHeader::read(&mut Reader::new(rest)) else { return Ok(None) };
    if OpCode::from_code(header.op).is_none() {
        return Ok(None);
    }
    // Adler-32 byte by byte, so that every length is tried in one pass.
    let (mut a, mut b) = (1u32, 0u32);
    for (i, byte) in rest.iter().enumerate() {
        a = (a + u32::from(*byte)) % ADLER_MODULUS;
        b = (b + a) % ADLER_MODULUS;
        let len = i + 1;
        let is_framed = len == length || rest.get(len) == Some(&EOR);
        if len >= MIN_PAYLOAD && (b << 16 | a) == stored && is_framed {
            return Ok(Some((rest[..len].to_vec(), stored, Zxid(header.zxid))));
        }
    }
    Ok(None)
}
