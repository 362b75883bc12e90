//! Jute's binary encoding: big endian, lengths in front, no tags (client-protocol 1.2).

use std::borrow::Cow;

/// A string that borrows from the frame. Invalid UTF-8 becomes U+FFFD, as in Java's decoder.
pub type Text<'a> = Cow<'a, str>;

/// Why bytes are not the record they should be. A server answers it with
/// [`ErrorCode::MarshallingError`](crate::ErrorCode::MarshallingError).
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DecodeError {
    /// The record ends before its last field.
    #[error("the record ends {missing} bytes early, at byte {at}")]
    Truncated {
        /// Offset of the field that is cut.
        at: usize,
        /// How many bytes it still wants.
        missing: usize,
    },
    /// A length is negative (and not -1) or above the limit.
    #[error("unreasonable length {length} at byte {at}")]
    BadLength {
        /// Offset of the length.
        at: usize,
        /// The length as read.
        length: i32,
    },
    /// A field that must be there is null.
    #[error("null where a value is needed, at byte {at}")]
    Null {
        /// Offset of the field.
        at: usize,
    },
    /// A number stands for nothing that is known here.
    #[error("unknown {what} {value}")]
    Unknown {
        /// What the number should name.
        what: &'static str,
        /// The number.
        value: i64,
    },
}

/// How long one string or buffer may be. Apache: `jute.maxbuffer` plus
/// `zookeeper.jute.maxbuffer.extrasize`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// The longest string or buffer, in bytes.
    pub max_len: usize,
}

impl Limits {
    /// `jute.maxbuffer` of a server that sets nothing: 0xfffff.
    pub const DEFAULT_MAX_BUFFER: usize = 0xf_ffff;

    /// No limit but the bytes themselves, for what was checked when it came in: transactions that
    /// this server prepared, records under a checksum.
    pub const NONE: Limits = Limits { max_len: usize::MAX };
}

impl Default for Limits {
    fn default() -> Limits {
        Limits { max_len: 2 * Limits::DEFAULT_MAX_BUFFER }
    }
}

/// Reads records from a slice, without copying and without trusting any length.
#[derive(Clone, Debug)]
pub struct Reader<'a> {
    bytes: &'a [u8],
    at: usize,
    limits: Limits,
}

impl<'a> Reader<'a> {
    /// A reader with Apache's default limits.
    #[must_use]
    pub fn new(bytes: &'a [u8]) -> Reader<'a> {
        Reader::with_limits(bytes, Limits::default())
    }

    /// A reader with other limits.
    #[must_use]
    pub fn with_limits(bytes: &'a [u8], limits: Limits) -> Reader<'a> {
        Reader { bytes, at: 0, limits }
    }

    /// What it is bounded by.
    #[must_use]
    pub fn limits(&self) -> Limits {
        self.limits
    }

    /// Offset of the next byte.
    #[must_use]
    pub fn position(&self) -> usize {
        self.at
    }

    /// What has not been read yet.
    #[must_use]
    pub fn rest(&self) -> &'a [u8] {
        &self.bytes[self.at..]
    }

    /// The bytes from offset `from` to here; `from` is an earlier [`Reader::position`].
    #[must_use]
    pub fn since(&self, from: usize) -> &'a [u8] {
        &self.bytes[from.min(self.at)..self.at]
    }

    /// Whether everything was read.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.at == self.bytes.len()
    }

    /// The next `n` bytes.
    #[inline]
    pub fn take(&mut self, n: usize) -> Result<&'a [u8], DecodeError> {
        match self.bytes[self.at..].split_at_checked(n) {
            Some((head, _)) => {
                self.at += n;
                Ok(head)
            }
            None => Err(DecodeError::Truncated {
                at: self.at,
                missing: n - (self.bytes.len() - self.at),
            }),
        }
    }

    #[inline]
    fn array<const N: usize>(&mut self) -> Result<[u8; N], DecodeError> {
        match self.bytes[self.at..].first_chunk::<N>() {
            Some(chunk) => {
                self.at += N;
                Ok(*chunk)
            }
            None => Err(DecodeError::Truncated {
                at: self.at,
                missing: N - (self.bytes.len() - self.at),
            }),
        }
    }

    /// A byte; any value but 0 is true.
    pub fn bool(&mut self) -> Result<bool, DecodeError> {
        Ok(self.array::<1>()?[0] != 0)
    }

    /// A 32-bit number.
    #[inline]
    pub fn i32(&mut self) -> Result<i32, DecodeError> {
        self.array().map(i32::from_be_bytes)
    }

    /// A 64-bit number.
    #[inline]
    pub fn i64(&mut self) -> Result<i64, DecodeError> {
        self.array().map(i64::from_be_bytes)
    }

    /// A buffer; `None` is null, which is not the same as empty.
    #[inline]
    pub fn buffer(&mut self) -> Result<Option<&'a [u8]>, DecodeError> {
        let at = self.at;
        let length = self.i32()?;
        if length == -1 {
            return Ok(None);
        }
        match usize::try_from(length) {
            Ok(n) if n <= self.limits.max_len => self.take(n).map(Some),
            _ => Err(DecodeError::BadLength { at, length }),
        }
    }

    /// A string; `None` is null.
    #[inline]
    pub fn text_or_null(&mut self) -> Result<Option<Text<'a>>, DecodeError> {
        Ok(self.buffer()?.map(|bytes| match std::str::from_utf8(bytes) {
            Ok(text) => Text::Borrowed(text),
            Err(_) => String::from_utf8_lossy(bytes),
        }))
    }

    /// A string that must not be null.
    #[inline]
    pub fn text(&mut self) -> Result<Text<'a>, DecodeError> {
        let at = self.at;
        self.text_or_null()?.ok_or(DecodeError::Null { at })
    }

    /// The element count of a vector; `None` is null. Negative counts are empty, as in Java. The
    /// count is not checked against the bytes: never allocate by it.
    pub fn count(&mut self) -> Result<Option<usize>, DecodeError> {
        let count = self.i32()?;
        Ok(if count == -1 { None } else { Some(usize::try_from(count).unwrap_or(0)) })
    }
}

/// A value with a Jute form.
pub trait Jute<'a>: Sized {
    /// The least number of bytes a value takes; bounds allocation for vectors.
    const MIN_LEN: usize;

    /// Reads one value.
    fn read(r: &mut Reader<'a>) -> Result<Self, DecodeError>;

    /// Appends the value's bytes.
    fn write(&self, out: &mut Vec<u8>);

    /// The value's bytes, in a buffer of their own.
    fn to_bytes(&self) -> Vec<u8> {
        let mut out = Vec::new();
        self.write(&mut out);
        out
    }
}

/// Appends a buffer, or null.
#[inline]
pub fn put_buffer(out: &mut Vec<u8>, bytes: Option<&[u8]>) {
    match bytes {
        None => out.extend_from_slice(&(-1i32).to_be_bytes()),
        Some(bytes) => {
            out.extend_from_slice(&(bytes.len() as i32).to_be_bytes());
            out.extend_from_slice(bytes);
        }
    }
}

/// Appends a string.
#[inline]
pub fn put_text(out: &mut Vec<u8>, text: &str) {
    put_buffer(out, Some(text.as_bytes()));
}

/// Appends a frame: four bytes of length, then what `body` appends.
pub fn put_frame(out: &mut Vec<u8>, body: impl FnOnce(&mut Vec<u8>)) {
    let start = out.len();
    out.extend_from_slice(&[0; 4]);
    body(out);
    let length = (out.len() - start - 4) as i32;
    out[start..start + 4].copy_from_slice(&length.to_be_bytes());
}

impl<'a> Jute<'a> for bool {
    const MIN_LEN: usize = 1;
    fn read(r: &mut Reader<'a>) -> Result<Self, DecodeError> {
        r.bool()
    }
    fn write(&self, out: &mut Vec<u8>) {
        out.push(u8::from(*self));
    }
}

impl<'a> Jute<'a> for i32 {
    const MIN_LEN: usize = 4;
    #[inline]
    fn read(r: &mut Reader<'a>) -> Result<Self, DecodeError> {
        r.i32()
    }
    #[inline]
    fn write(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.to_be_bytes());
    }
}

impl<'a> Jute<'a> for i64 {
    const MIN_LEN: usize = 8;
    #[inline]
    fn read(r: &mut Reader<'a>) -> Result<Self, DecodeError> {
        r.i64()
    }
    #[inline]
    fn write(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.to_be_bytes());
    }
}

impl<'a> Jute<'a> for Text<'a> {
    const MIN_LEN: usize = 4;
    #[inline]
    fn read(r: &mut Reader<'a>) -> Result<Self, DecodeError> {
        r.text()
    }
    fn write(&self, out: &mut Vec<u8>) {
        put_text(out, self);
    }
}

impl<'a> Jute<'a> for Option<Text<'a>> {
    const MIN_LEN: usize = 4;
    fn read(r: &mut Reader<'a>) -> Result<Self, DecodeError> {
        r.text_or_null()
    }
    fn write(&self, out: &mut Vec<u8>) {
        put_buffer(out, self.as_ref().map(|text| text.as_bytes()));
    }
}

impl<'a> Jute<'a> for Option<&'a [u8]> {
    const MIN_LEN: usize = 4;
    #[inline]
    fn read(r: &mut Reader<'a>) -> Result<Self, DecodeError> {
        r.buffer()
    }
    fn write(&self, out: &mut Vec<u8>) {
        put_buffer(out, *self);
    }
}

/// A vector that must not be null.
impl<'a, T: Jute<'a>> Jute<'a> for Vec<T> {
    const MIN_LEN: usize = 4;
    fn read(r: &mut Reader<'a>) -> Result<Self, DecodeError> {
        let at = r.position();
        Option::<Vec<T>>::read(r)?.ok_or(DecodeError::Null { at })
    }
    fn write(&self, out: &mut Vec<u8>) {
        (self.len() as i32).write(out);
        for item in self {
            item.write(out);
        }
    }
}

/// A vector that may be null.
impl<'a, T: Jute<'a>> Jute<'a> for Option<Vec<T>> {
    const MIN_LEN: usize = 4;
    fn read(r: &mut Reader<'a>) -> Result<Self, DecodeError> {
        let Some(count) = r.count()? else { return Ok(None) };
        // A count of 2^31-1 with no elements behind it must cost nothing.
        let possible = r.rest().len() / T::MIN_LEN.max(1);
        let mut items = Vec::with_capacity(count.min(possible));
        for _ in 0..count {
            items.push(T::read(r)?);
        }
        Ok(Some(items))
    }
    fn write(&self, out: &mut Vec<u8>) {
        match self {
            None => (-1i32).write(out),
            Some(items) => items.write(out),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn null_is_not_empty() {
        let mut out = Vec::new();
        put_buffer(&mut out, None);
        put_buffer(&mut out, Some(b""));
        let mut r = Reader::new(&out);
        assert_eq!(r.buffer(), Ok(None));
        assert_eq!(r.buffer(), Ok(Some(&b""[..])));
        assert!(r.is_empty());
    }

    #[test]
    fn lengths_are_checked_before_they_are_used() {
        for (bytes, want) in [
            (i32::MAX.to_be_bytes(), DecodeError::BadLength { at: 0, length: i32::MAX }),
            ((-2i32).to_be_bytes(), DecodeError::BadLength { at: 0, length: -2 }),
            (5i32.to_be_bytes(), DecodeError::Truncated { at: 4, missing: 5 }),
        ] {
            assert_eq!(Reader::new(&bytes).buffer(), Err(want));
        }
        let huge = i32::MAX.to_be_bytes();
        assert!(matches!(
            Vec::<i64>::read(&mut Reader::new(&huge)),
            Err(DecodeError::Truncated { .. })
        ));
    }

    #[test]
    fn the_limit_itself_is_allowed() {
        let mut out = Vec::new();
        put_buffer(&mut out, Some(&[7; 10]));
        let limit = |max_len| Reader::with_limits(&out, Limits { max_len }).buffer().is_ok();
        assert!(limit(10));
        assert!(!limit(9));
    }

    #[test]
    fn invalid_utf8_becomes_the_replacement_character() {
        let mut out = Vec::new();
        put_buffer(&mut out, Some(b"/a\xff"));
        assert_eq!(Reader::new(&out).text().as_deref(), Ok("/a\u{fffd}"));
    }

    proptest! {
        #[test]
        fn values_round_trip(a: i32, b: i64, c: bool, s: String, v: Option<Vec<i64>>, d: Option<Vec<u8>>) {
            let text = Text::Borrowed(s.as_str());
            let mut out = Vec::new();
            a.write(&mut out);
            b.write(&mut out);
            c.write(&mut out);
            text.write(&mut out);
            v.write(&mut out);
            d.as_deref().write(&mut out);
            let mut r = Reader::new(&out);
            prop_assert_eq!(i32::read(&mut r).unwrap(), a);
            prop_assert_eq!(i64::read(&mut r).unwrap(), b);
            prop_assert_eq!(bool::read(&mut r).unwrap(), c);
            prop_assert_eq!(Text::read(&mut r).unwrap(), s.as_str());
            prop_assert_eq!(Option::<Vec<i64>>::read(&mut r).unwrap(), v);
            prop_assert_eq!(Option::<&[u8]>::read(&mut r).unwrap(), d.as_deref());
            prop_assert!(r.is_empty());
        }

        #[test]
        fn any_bytes_are_refused_or_read_never_a_panic(bytes: Vec<u8>) {
            let mut r = Reader::new(&bytes);
            let _ = Option::<Vec<Text<'_>>>::read(&mut r);
            let _ = r.buffer();
        }
    }
}
