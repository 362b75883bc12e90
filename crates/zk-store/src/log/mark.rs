//! The durable mark (rule R3): up to where a log is known to have been on the disk.
//!
//! Two slots stand at the end of a log of ours, behind the zeros that end it for Apache. They are
//! written in turns together with each batch of records, so that the batch's own fdatasync carries
//! them. A slot says what was durable *before* that batch. Format: docs/formats/durable-mark.md.

use crate::disk::{DiskFile, read_full};
use flate2::Crc;
use std::io;
use zk_proto::Zxid;

/// `zkfmark1`.
const MAGIC: [u8; 8] = *b"zkfmark1";
/// Bytes of a slot; far below the smallest unit that a disk writes whole.
pub(crate) const SLOT_LEN: usize = 64;
/// Slots lie in different blocks, so that one torn block cannot take both.
pub(super) const SLOT_STRIDE: u64 = 4096;
/// The room of both slots at the end of the file, in bytes.
pub(crate) const SLOTS_LEN: u64 = 2 * SLOT_STRIDE;

/// A position in a log that was durable when the mark was written.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Mark {
    /// Counts the writings; the higher one of two slots is the valid one.
    pub sequence: u64,
    /// The first zxid of the file, as in its name: a mark in a file of another name is none.
    pub file: Zxid,
    /// Where the last durable record ends, in bytes.
    pub end: u64,
    /// The last durable record's zxid (its epoch is the high half); 0 when there is none.
    pub zxid: Zxid,
    /// The last durable record's checksum; 0 when there is none.
    pub checksum: u32,
    /// Nothing but zeros was ever written from here to the slots, in bytes.
    pub zeroed_to: u64,
}

impl Mark {
    /// The slot's bytes.
    #[must_use]
    pub(crate) fn to_bytes(self) -> [u8; SLOT_LEN] {
        let mut bytes = [0; SLOT_LEN];
        let numbers = [
            self.sequence,
            self.file.0 as u64,
            self.end,
            self.zxid.0 as u64,
            u64::from(self.checksum),
            self.zeroed_to,
        ];
        bytes[..8].copy_from_slice(&MAGIC);
        for (field, number) in bytes[8..56].chunks_exact_mut(8).zip(numbers) {
            field.copy_from_slice(&number.to_be_bytes());
        }
        let crc = crc32(&bytes[..60]);
        bytes[60..].copy_from_slice(&crc.to_be_bytes());
        bytes
    }

    /// Reads a slot; `None` if it is damaged or was never written.
    #[must_use]
    pub(crate) fn from_bytes(bytes: &[u8; SLOT_LEN]) -> Option<Mark> {
        let number = |at: usize| {
            bytes[at..].first_chunk::<8>().map_or(0, |field| u64::from_be_bytes(*field))
        };
        if bytes[..8] != MAGIC || number(56) != u64::from(crc32(&bytes[..60])) {
            return None;
        }
        Some(Mark {
            sequence: number(8),
            file: Zxid(number(16) as i64),
            end: number(24),
            zxid: Zxid(number(32) as i64),
            checksum: u32::try_from(number(40)).ok()?,
            zeroed_to: number(48),
        })
    }

    /// Where this mark's slot is in a file of `extent` bytes.
    pub(crate) fn offset(self, extent: u64) -> u64 {
        extent - SLOTS_LEN + (self.sequence % 2) * SLOT_STRIDE
    }

    /// The newest valid mark of a log named after `file`.
    pub(crate) fn read(file: &dyn DiskFile, name: Zxid) -> io::Result<Option<Mark>> {
        let extent = file.len()?;
        let mut newest: Option<Mark> = None;
        for slot in 0..2 {
            let Some(offset) = (extent + slot * SLOT_STRIDE).checked_sub(SLOTS_LEN) else {
                return Ok(None);
            };
            let mut bytes = [0; SLOT_LEN];
            read_full(file, &mut bytes, offset)?;
            let mark = Mark::from_bytes(&bytes).filter(|mark| {
                mark.file == name
                    && mark.sequence % 2 == slot
                    && mark.zeroed_to <= extent - SLOTS_LEN
            });
            if let Some(mark) = mark
                && newest.is_none_or(|newest| mark.sequence > newest.sequence)
            {
                newest = Some(mark);
            }
        }
        Ok(newest)
    }
}

pub(crate) fn crc32(bytes: &[u8]) -> u32 {
    let mut crc = Crc::new();
    crc.update(bytes);
    crc.sum()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::disk::{Access, Disk};
    use crate::sim::SimDisk;
    use std::path::Path;

    const MARK: Mark = Mark {
        sequence: 4,
        file: Zxid(0x1_0000_0001),
        end: 1234,
        zxid: Zxid(0x1_0000_0005),
        checksum: 0xdead_beef,
        zeroed_to: 8000,
    };

    #[test]
    fn any_flipped_bit_makes_a_slot_invalid() {
        let bytes = MARK.to_bytes();
        assert_eq!(Mark::from_bytes(&bytes), Some(MARK));
        for bit in 0..SLOT_LEN * 8 {
            let mut bad = bytes;
            bad[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(Mark::from_bytes(&bad), None, "bit {bit}");
        }
        assert_eq!(Mark::from_bytes(&[0; SLOT_LEN]), None);
    }

    #[test]
    fn the_newer_slot_counts_and_only_in_its_own_file() {
        let disk = SimDisk::new(512);
        disk.create_dir_all(Path::new("/")).unwrap();
        let file = disk.open(Path::new("/f"), Access::Create).unwrap();
        assert_eq!(Mark::read(&*file, MARK.file).unwrap(), None);
        let extent = 32 * 1024;
        file.set_len(extent).unwrap();
        let newer = Mark { sequence: 5, end: 2000, ..MARK };
        for mark in [MARK, newer] {
            file.write_at(&mark.to_bytes(), mark.offset(extent)).unwrap();
        }
        assert_eq!(Mark::read(&*file, MARK.file).unwrap(), Some(newer));
        assert_eq!(Mark::read(&*file, Zxid(1)).unwrap(), None);
        file.write_at(&[0; SLOT_LEN], newer.offset(extent)).unwrap();
        assert_eq!(Mark::read(&*file, MARK.file).unwrap(), Some(MARK));
        file.set_len(extent - 1).unwrap();
        assert_eq!(Mark::read(&*file, MARK.file).unwrap(), None, "a cut file has no mark");
    }
}
