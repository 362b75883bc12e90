//! A window on a stream of bytes: big reads, records borrowed from the buffer, a running checksum.

use simd_adler32::Adler32;
use std::io::{self, Read};

/// How much is read at once.
const READ_BYTES: usize = 1 << 20;

/// The bytes of a stream from a position on, as far as they were asked for.
pub(crate) struct Window<R> {
    source: R,
    buf: Vec<u8>,
    /// The next byte, and the end of what was read.
    start: usize,
    end: usize,
    /// Position in the stream of `buf[0]`.
    base: u64,
    ended: bool,
    adler: Adler32,
    /// How far into `buf` the checksum reaches.
    summed: usize,
}

impl<R> std::fmt::Debug for Window<R> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Window").field("base", &self.base).finish_non_exhaustive()
    }
}

impl<R: Read> Window<R> {
    pub(crate) fn new(source: R) -> Window<R> {
        Window {
            source,
            buf: Vec::new(),
            start: 0,
            end: 0,
            base: 0,
            ended: false,
            adler: Adler32::new(),
            summed: 0,
        }
    }

    /// Position of the next byte in the stream.
    pub(crate) fn position(&self) -> u64 {
        self.base + self.start as u64
    }

    /// What was read and not consumed.
    #[inline]
    pub(crate) fn ready(&self) -> &[u8] {
        &self.buf[self.start..self.end]
    }

    /// The next bytes: at least `n`, or all there are.
    #[inline]
    pub(crate) fn peek(&mut self, n: usize) -> io::Result<&[u8]> {
        if self.end - self.start < n && !self.ended {
            self.fill(n)?;
        }
        Ok(self.ready())
    }

    /// Goes past `n` bytes that [`Window::peek`] gave.
    #[inline]
    pub(crate) fn consume(&mut self, n: usize) {
        debug_assert!(n <= self.end - self.start, "only what was read can be consumed");
        self.start += n;
    }

    /// Adler-32 of everything consumed so far.
    pub(crate) fn checksum(&mut self) -> u32 {
        self.sum();
        self.adler.finish()
    }

    fn sum(&mut self) {
        self.adler.write(&self.buf[self.summed..self.start]);
        self.summed = self.start;
    }

    #[cold]
    fn fill(&mut self, n: usize) -> io::Result<()> {
        self.sum();
        self.buf.copy_within(self.start..self.end, 0);
        self.base += self.start as u64;
        self.end -= self.start;
        (self.start, self.summed) = (0, 0);
        while self.end < n && !self.ended {
            // Grow with what is really there, never by what a length promises.
            if self.buf.len() < self.end + READ_BYTES {
                self.buf.resize(self.end + READ_BYTES, 0);
            }
            match self.source.read(&mut self.buf[self.end..]) {
                Ok(0) => self.ended = true,
                Ok(more) => self.end += more,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Gives one byte at a time.
    struct Drip<'a>(&'a [u8]);

    impl Read for Drip<'_> {
        fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
            let n = self.0.len().min(1);
            buf[..n].copy_from_slice(&self.0[..n]);
            self.0 = &self.0[n..];
            Ok(n)
        }
    }

    #[test]
    fn bytes_positions_and_checksums_are_those_of_the_stream() {
        let bytes: Vec<u8> = (0..200).collect();
        let mut window = Window::new(Drip(&bytes));
        assert!(window.peek(10).unwrap().len() >= 10);
        window.consume(10);
        assert_eq!(window.checksum(), simd_adler32::adler32(&&bytes[..10]));
        assert_eq!(&window.peek(100).unwrap()[..100], &bytes[10..110]);
        window.consume(50);
        assert_eq!(
            (window.position(), window.checksum()),
            (60, simd_adler32::adler32(&&bytes[..60]))
        );
        assert_eq!(window.peek(1000).unwrap(), &bytes[60..]);
        window.consume(140);
        assert_eq!(window.checksum(), simd_adler32::adler32(&&bytes[..]));
        assert!(window.peek(1).unwrap().is_empty());
    }
}
