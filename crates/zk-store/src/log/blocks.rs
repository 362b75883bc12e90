//! The end of a log in whole blocks, as what is written past the page cache must be.
//!
//! The page cache would have the processor copy each record once more, and make the log's thread
//! look for the pages again when it syncs them: a third of its time. The price is that the block in
//! which the log ends is written again with each batch, which a sync of the page cache does too.

use crate::disk::{Aligned, DIRECT_ALIGN, DiskFile};
use std::io;

/// What is written at a time.
const PIECE_BYTES: usize = 128 << 10;

/// Writes behind the end of a log, and knows the block in which that end is.
#[derive(Debug)]
pub(super) struct Blocks {
    piece: Aligned,
    /// What the last block has before the end.
    tail: Vec<u8>,
}

impl Blocks {
    /// For an empty file.
    pub(super) fn new() -> Blocks {
        Blocks { piece: Aligned::new(PIECE_BYTES), tail: Vec::new() }
    }

    /// Writes `bytes` behind the first `end` bytes of the file; the rest of the last block becomes
    /// zeros. After an error nothing was appended, and the same can be tried again.
    pub(super) fn append(&mut self, file: &dyn DiskFile, end: u64, bytes: &[u8]) -> io::Result<()> {
        let Blocks { piece, tail } = self;
        debug_assert_eq!(end % DIRECT_ALIGN as u64, tail.len() as u64);
        let mut at = end - tail.len() as u64;
        let mut filled = tail.len();
        piece[..filled].copy_from_slice(tail);
        let mut rest = bytes;
        loop {
            let (now, later) = rest.split_at(rest.len().min(piece.len() - filled));
            piece[filled..filled + now.len()].copy_from_slice(now);
            filled += now.len();
            let padded = filled.next_multiple_of(DIRECT_ALIGN);
            piece[filled..padded].fill(0);
            file.write_at(&piece[..padded], at)?;
            if later.is_empty() {
                break;
            }
            (rest, at, filled) = (later, at + padded as u64, 0);
        }
        tail.clear();
        tail.extend_from_slice(&piece[filled - filled % DIRECT_ALIGN..filled]);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::disk::{Access, Disk, RealDisk};
    use crate::sim::{ENOSPC, SimDisk};
    use std::path::Path;

    #[test]
    fn what_is_appended_is_there_whatever_its_length() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("f");
        let file = RealDisk.open(&path, Access::CreateDirect).unwrap();
        let (mut blocks, mut all) = (Blocks::new(), Vec::new());
        let piece = PIECE_BYTES;
        for len in [16, 1, 4079, 4096, 1, 4095, 0, 100, piece, 3 * piece - 7, 2 * piece, 5, 9000] {
            let bytes: Vec<u8> = (0..len).map(|n| (n + all.len()) as u8 | 1).collect();
            blocks.append(&*file, all.len() as u64, &bytes).unwrap();
            all.extend_from_slice(&bytes);
            let got = std::fs::read(&path).unwrap();
            assert!(got[..all.len()] == all, "{len}");
            assert!(got[all.len()..].iter().all(|&byte| byte == 0), "{len}");
        }
    }

    #[test]
    fn what_failed_can_be_tried_again() {
        let disk = SimDisk::new(512);
        disk.create_dir_all(Path::new("/")).unwrap();
        let file = disk.open(Path::new("/f"), Access::CreateDirect).unwrap();
        let mut blocks = Blocks::new();
        blocks.append(&*file, 0, &[1; 100]).unwrap();
        let bytes = vec![2; 2 * PIECE_BYTES];
        disk.fail(1, ENOSPC);
        assert!(blocks.append(&*file, 100, &bytes).is_err());
        blocks.append(&*file, 100, &bytes).unwrap();
        let mut got = vec![9; 100 + bytes.len()];
        crate::disk::read_full(&*file, &mut got, 0).unwrap();
        assert!(got[..100] == [1; 100] && got[100..] == bytes);
    }
}
