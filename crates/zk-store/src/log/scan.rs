//! Looks behind the apparent end of a log for what should not be there.

use super::frame::{EOR, FRAME_HEAD, FRAME_LEN, MIN_PAYLOAD};
use super::source::FileSource;
use crate::disk::DiskFile;
use crate::window::Window;
use std::io;
use std::sync::Arc;
use zk_proto::txn::TxnHeader;
use zk_proto::{Jute, OpCode, Reader, Zxid};

/// What stands behind the apparent end.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Beyond {
    /// The first byte that is not zero.
    pub first_nonzero: Option<u64>,
    /// Offset and zxid of the first whole record with a right checksum and a plausible zxid.
    pub first: Option<(u64, Zxid)>,
    /// The zxid of the last such record.
    pub last: Option<Zxid>,
    /// How many there are.
    pub records: u64,
    /// The search for records was given up: too many places look like one.
    pub gave_up: bool,
}

/// Checksummed bytes per scanned byte before the search gives up. A made-up file could make it
/// quadratic; a real one has hardly a place that looks like a record and is none.
const EFFORT: u64 = 16;

/// Whether a file holds nothing but zeros.
pub(super) fn is_blank(file: Arc<dyn DiskFile>, len: u64) -> io::Result<bool> {
    let mut window = Window::new(FileSource::new(file, 0, len));
    loop {
        let ready = window.peek(1)?;
        let len = ready.len();
        if len == 0 || leading_zeros(ready) < len {
            return Ok(len == 0);
        }
        window.consume(len);
    }
}

/// Searches a file from `from` to `to` for records later than `after`.
pub fn scan_beyond(file: Arc<dyn DiskFile>, from: u64, to: u64, after: Zxid) -> io::Result<Beyond> {
    let mut found = Beyond::default();
    let mut budget = to.saturating_sub(from) * EFFORT + (1 << 20);
    let mut window = Window::new(FileSource::new(file, from, to));
    loop {
        let ready = window.peek(FRAME_LEN + MIN_PAYLOAD)?;
        if ready.is_empty() {
            return Ok(found);
        }
        let zeros = leading_zeros(ready);
        let (len, at) = (ready.len(), from + window.position());
        if zeros < len && found.first_nonzero.is_none() {
            found.first_nonzero = Some(at + zeros as u64);
        }
        // A frame begins with four zeros: the upper half of its checksum.
        if zeros > 8 {
            window.consume(if zeros == len { len - 8.min(len - 1) } else { zeros - 8 });
            continue;
        }
        match candidate(&mut window, after, to.saturating_sub(at), &mut budget)? {
            Some((zxid, frame_len)) => {
                found.first.get_or_insert((at, zxid));
                found.last = found.last.max(Some(zxid));
                found.records += 1;
                window.consume(frame_len);
            }
            None => window.consume(1),
        }
        if budget == 0 {
            found.gave_up = true;
            return Ok(found);
        }
    }
}

/// The zxid and length of the frame at the window's beginning, if one is there in the next `room`
/// bytes.
fn candidate(
    window: &mut Window<FileSource>,
    after: Zxid,
    room: u64,
    budget: &mut u64,
) -> io::Result<Option<(Zxid, usize)>> {
    let Some((head, rest)) = window.ready().split_first_chunk::<FRAME_HEAD>() else {
        return Ok(None);
    };
    let [0, 0, 0, 0, c0, c1, c2, c3, l0, l1, l2, l3] = *head else { return Ok(None) };
    let checksum = u32::from_be_bytes([c0, c1, c2, c3]);
    let length = u32::from_be_bytes([l0, l1, l2, l3]) as usize;
    let frame_len = length + FRAME_LEN;
    if length < MIN_PAYLOAD || frame_len as u64 > room {
        return Ok(None);
    }
    let Ok(header) = TxnHeader::read(&mut Reader::new(rest)) else { return Ok(None) };
    if header.zxid <= after.0 || OpCode::from_code(header.op).is_none() {
        return Ok(None);
    }
    let bytes = window.peek(frame_len)?;
    *budget = budget.saturating_sub(length as u64);
    let whole = bytes.len() >= frame_len
        && bytes[frame_len - 1] == EOR
        && simd_adler32::adler32(&&bytes[FRAME_HEAD..frame_len - 1]) == checksum;
    Ok(whole.then_some((Zxid(header.zxid), frame_len)))
}

/// How many zeros stand in front.
fn leading_zeros(bytes: &[u8]) -> usize {
    let (blocks, _) = bytes.as_chunks::<64>();
    let zero_blocks = blocks.iter().take_while(|block| **block == [0; 64]).count() * 64;
    zero_blocks + bytes[zero_blocks..].iter().take_while(|byte| **byte == 0).count()
}

#[cfg(test)]
mod tests {
    use super::super::frame::put_frame;
    use super::*;
    use crate::disk::{Access, Disk};
    use crate::sim::SimDisk;
    use crate::testing;
    use std::path::Path;

    fn scan(bytes: &[u8], after: i64) -> Beyond {
        let disk = SimDisk::new(4096);
        disk.plant(Path::new("/f"), bytes);
        let file = Arc::from(disk.open(Path::new("/f"), Access::Read).unwrap());
        scan_beyond(file, 0, bytes.len() as u64, Zxid(after)).unwrap()
    }

    #[test]
    fn offsets_are_those_of_the_file() {
        let disk = SimDisk::new(4096);
        disk.plant(Path::new("/f"), &[vec![1; 100], vec![0; 50], frame(5)].concat());
        let file = Arc::from(disk.open(Path::new("/f"), Access::Read).unwrap());
        let found = scan_beyond(file, 100, 10_000, Zxid(4)).unwrap();
        assert_eq!(found.first, Some((150, Zxid(5))));
        assert!(found.first_nonzero.is_some_and(|at| (150..162).contains(&at)));
    }

    fn frame(zxid: i64) -> Vec<u8> {
        let mut frame = Vec::new();
        put_frame(&mut frame, &testing::set_data(zxid, b"some data"));
        frame
    }

    #[test]
    fn nothing_but_zeros_is_nothing() {
        for len in [0, 1, 8, 63, 64, 65, 5000] {
            assert_eq!(scan(&vec![0; len], 0), Beyond::default(), "{len}");
        }
    }

    #[test]
    fn records_are_found_at_any_offset_behind_zeros_or_rubbish() {
        for gap in [0, 1, 3, 11, 12, 64, 100, 4096, 70_001] {
            for filler in [0, 7] {
                let mut bytes = vec![filler; gap];
                bytes.extend(frame(5));
                bytes.extend(frame(6));
                bytes.extend([0; 500]);
                let found = scan(&bytes, 4);
                assert_eq!(found.first, Some((gap as u64, Zxid(5))), "{gap} {filler}");
                assert_eq!((found.last, found.records), (Some(Zxid(6)), 2));
                assert_eq!(scan(&bytes, 5).records, 1, "only later ones count");
                assert_eq!(scan(&bytes, 6).records, 0);
            }
        }
    }

    #[test]
    fn bytes_that_are_no_record_are_told() {
        let mut bytes = vec![0; 3000];
        bytes[1234] = 1;
        assert_eq!(scan(&bytes, 0), Beyond { first_nonzero: Some(1234), ..Beyond::default() });
        let mut bad = frame(5);
        bad[20] ^= 1;
        assert_eq!(scan(&bad, 0).first, None);
    }

    #[test]
    fn a_file_made_to_be_slow_is_given_up() {
        // Every 44 bytes something that looks like a frame of 1 MiB.
        let mut head = vec![0, 0, 0, 0, 1, 1, 1, 1, 0, 0x0f, 0, 0];
        head.resize(44, 0);
        head[24..32].copy_from_slice(&9i64.to_be_bytes());
        head[40..44].copy_from_slice(&5i32.to_be_bytes());
        let bytes = head.repeat(40_000);
        assert!(scan(&bytes, 0).gave_up);
    }
}
