//! What the fuzz targets share: cutting an input into parts, and the law of every encoding.

pub mod disk;
pub mod member;

/// An input that is used up from the front; where it ends, it goes on with zeros.
pub struct Tape<'a>(pub &'a [u8]);

impl<'a> Tape<'a> {
    /// The next byte.
    pub fn byte(&mut self) -> u8 {
        let Some((first, rest)) = self.0.split_first() else { return 0 };
        self.0 = rest;
        *first
    }

    /// A part with its length in front, in two bytes; the last one may be cut.
    pub fn part(&mut self) -> &'a [u8] {
        let length = usize::from(u16::from_be_bytes([self.byte(), self.byte()]));
        let (part, rest) = self.0.split_at(length.min(self.0.len()));
        self.0 = rest;
        part
    }

    /// Whether all is used up.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

/// What is read and written again reads as the same value and writes as the same bytes. Without
/// limits the second time: an invalid byte becomes a replacement character of three.
#[macro_export]
macro_rules! reads_back {
    ($bytes:expr, $($type:ty),+ $(,)?) => {$({
        use zk_proto::{Jute, Limits, Reader};
        let bytes: &[u8] = $bytes;
        if let Ok(value) = <$type>::read(&mut Reader::new(bytes)) {
            let written = value.to_bytes();
            let mut reader = Reader::with_limits(&written, Limits { max_len: usize::MAX });
            let again = <$type>::read(&mut reader).expect("what was written can be read");
            assert_eq!(value, again);
            assert_eq!(written, again.to_bytes());
        }
    })+};
}
