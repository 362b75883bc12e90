//! The transactions under way, encoded, in order: a queue of bytes without an allocation for each.

use std::collections::VecDeque;

/// What is allocated at a time; a longer transaction has a piece of its own.
const PIECE_BYTES: usize = 64 << 10;

/// A queue of byte strings. Whoever takes from it knows their lengths.
#[derive(Debug, Default)]
pub(crate) struct Txns {
    pieces: VecDeque<Vec<u8>>,
    /// How much of the first piece is done with.
    at: usize,
    /// One that was done with, for the next.
    spare: Vec<u8>,
}

impl Txns {
    pub(crate) fn push(&mut self, txn: &[u8]) {
        match self.pieces.back_mut() {
            Some(piece) if piece.capacity() - piece.len() >= txn.len() => {
                piece.extend_from_slice(txn);
            }
            _ => {
                let mut piece = std::mem::take(&mut self.spare);
                piece.reserve(txn.len().max(PIECE_BYTES));
                piece.extend_from_slice(txn);
                self.pieces.push_back(piece);
            }
        }
    }

    /// Lends the first string, of `len` bytes; it goes back by [`Txns::take_back`].
    pub(crate) fn lend(&mut self, len: usize) -> Lent {
        let piece = self.pieces.pop_front().unwrap_or_default();
        let at = std::mem::take(&mut self.at);
        Lent { piece, at, end: at + len }
    }

    /// A string is done with.
    pub(crate) fn take_back(&mut self, lent: Lent) {
        let Lent { mut piece, end, .. } = lent;
        if end < piece.len() {
            self.at = end;
            self.pieces.push_front(piece);
        } else if piece.capacity() <= 2 * PIECE_BYTES {
            piece.clear();
            self.spare = piece;
        }
    }
}

/// A string on loan, and all behind it that was queued with it.
#[derive(Debug)]
pub(crate) struct Lent {
    piece: Vec<u8>,
    at: usize,
    end: usize,
}

impl Lent {
    pub(crate) fn bytes(&self) -> &[u8] {
        self.piece.get(self.at..self.end).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_went_in_comes_out_in_order() {
        let mut queue = Txns::default();
        let lens = [1, 0, 100, PIECE_BYTES - 50, 3 * PIECE_BYTES, 0, 7, PIECE_BYTES, 1];
        let txn = |i: usize| vec![i as u8; lens[i % lens.len()]];
        let (mut pushed, mut popped) = (0, 0);
        for round in 0..50 {
            for _ in 0..=round % 7 {
                queue.push(&txn(pushed));
                pushed += 1;
            }
            while popped < pushed - round % 3 {
                let want = txn(popped);
                let lent = queue.lend(want.len());
                assert_eq!(lent.bytes(), want);
                queue.take_back(lent);
                popped += 1;
            }
        }
        assert!(queue.pieces.len() <= 3 && queue.spare.capacity() <= 2 * PIECE_BYTES);
    }

    #[test]
    fn no_more_is_kept_than_one_piece() {
        let mut queue = Txns::default();
        for _ in 0..100 {
            queue.push(&[7; 1000]);
        }
        for _ in 0..100 {
            let lent = queue.lend(1000);
            assert_eq!(lent.bytes(), [7; 1000]);
            queue.take_back(lent);
        }
        assert!(queue.pieces.is_empty());
        assert!((1..=2 * PIECE_BYTES).contains(&queue.spare.capacity()));
    }
}
