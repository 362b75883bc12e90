//! Memory that can be written past the page cache.

use super::DIRECT_ALIGN;
use std::ops::{Deref, DerefMut};

/// Bytes, zeros at first, at an address that is a multiple of [`DIRECT_ALIGN`].
#[derive(Debug)]
pub(crate) struct Aligned {
    /// Never made longer, so its bytes stay where they are.
    bytes: Vec<u8>,
    start: usize,
    len: usize,
}

impl Aligned {
    pub(crate) fn new(len: usize) -> Aligned {
        let bytes = vec![0; len + DIRECT_ALIGN];
        let start = bytes.as_ptr().align_offset(DIRECT_ALIGN);
        Aligned { bytes, start, len }
    }
}

impl Deref for Aligned {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.bytes[self.start..self.start + self.len]
    }
}

impl DerefMut for Aligned {
    fn deref_mut(&mut self) -> &mut [u8] {
        &mut self.bytes[self.start..self.start + self.len]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_aligned_and_as_long_as_asked() {
        for len in [0, 1, 4096, 70_000] {
            let mut memory = Aligned::new(len);
            assert_eq!((memory.len(), memory.as_ptr() as usize % DIRECT_ALIGN), (len, 0));
            memory.fill(1);
            assert!(memory.iter().all(|&byte| byte == 1));
        }
    }
}
