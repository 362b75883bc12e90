//! Request frames made once and patched per use: the load generator must not be the slow side.

use zk_proto::Jute;
use zk_proto::jute::put_frame;
use zk_proto::request::{Request, RequestHeader};

/// Digits at the end of every numbered path.
pub const DIGITS: usize = 7;
/// How many numbers these digits hold.
pub const NUMBERS: u64 = 10_000_000;
/// Bytes at the beginning of the data that say which znode and which write it is.
pub const STAMP: usize = 16;
/// Where a path begins in a frame: length, xid, opcode and the path's own length stand before it.
const PATH_AT: usize = 16;

/// A request frame. Each use copies it and sets the xid, the number that ends the path, and the
/// stamp that begins the data.
#[derive(Clone, Debug)]
pub struct Template {
    bytes: Vec<u8>,
    digits_at: usize,
    stamp_at: Option<usize>,
}

impl Template {
    /// A request whose first field is a path made by [`path`]. With `stamped` its second is data
    /// of at least [`STAMP`] bytes.
    #[must_use]
    pub fn new(request: &Request<'_>, stamped: bool) -> Template {
        let bytes = frame(0, request);
        let path_bytes =
            bytes[PATH_AT - 4..].first_chunk().map_or(0, |len| i32::from_be_bytes(*len));
        let path_end = PATH_AT + path_bytes as usize;
        Template { bytes, digits_at: path_end - DIGITS, stamp_at: stamped.then_some(path_end + 4) }
    }

    /// The same request without frame and header, to stand inside a multi.
    #[must_use]
    pub fn body(&self) -> Template {
        const HEAD: usize = 12;
        Template {
            bytes: self.bytes[HEAD..].to_vec(),
            digits_at: self.digits_at - HEAD,
            stamp_at: self.stamp_at.map(|at| at - HEAD),
        }
    }

    /// Appends the frame.
    pub fn append(&self, out: &mut Vec<u8>, xid: i32, number: u64, generation: u64) {
        let start = out.len();
        self.append_body(out, number, generation);
        out[start + 4..start + 8].copy_from_slice(&xid.to_be_bytes());
    }

    /// Appends the request without setting an xid, as it stands inside a multi.
    pub fn append_body(&self, out: &mut Vec<u8>, number: u64, generation: u64) {
        let start = out.len();
        out.extend_from_slice(&self.bytes);
        put_digits(&mut out[start + self.digits_at..][..DIGITS], number);
        if let Some(at) = self.stamp_at {
            out[start + at..][..STAMP].copy_from_slice(&stamp(number, generation));
        }
    }
}

/// The path of a numbered znode.
#[must_use]
pub fn path(prefix: &str, number: u64) -> String {
    format!("{prefix}{number:0DIGITS$}")
}

/// The whole frame of a request.
#[must_use]
pub fn frame(xid: i32, request: &Request<'_>) -> Vec<u8> {
    let mut out = Vec::new();
    put_frame(&mut out, |out| {
        RequestHeader { xid, op: request.opcode().code() }.write(out);
        request.write(out);
    });
    out
}

/// The data that belongs to a znode's write: the stamp, then bytes that hardly compress. Loads
/// need at least [`STAMP`] bytes.
#[must_use]
pub fn data(len: usize, number: u64, generation: u64) -> Vec<u8> {
    let mut random = Random(0x9e37_79b9_7f4a_7c15);
    let mut bytes = Vec::with_capacity(len + 8);
    bytes.extend_from_slice(&stamp(number, generation));
    while bytes.len() < len {
        bytes.extend_from_slice(&random.next().to_le_bytes());
    }
    bytes.truncate(len);
    bytes
}

/// Number and generation of stored data; `None` when it is no data of ours.
#[must_use]
pub fn read_stamp(data: &[u8]) -> Option<(u64, u64)> {
    let (number, rest) = data.split_first_chunk::<8>()?;
    let (generation, _) = rest.split_first_chunk::<8>()?;
    Some((u64::from_be_bytes(*number), u64::from_be_bytes(*generation)))
}

/// The number at the end of a path made by a [`Template`]; 0 when there is none.
#[must_use]
pub fn number_of(path: &str) -> u64 {
    path.as_bytes()
        .iter()
        .rev()
        .take_while(|byte| byte.is_ascii_digit())
        .zip(std::iter::successors(Some(1u64), |place| place.checked_mul(10)))
        .map(|(digit, place)| u64::from(digit - b'0') * place)
        .sum()
}

fn stamp(number: u64, generation: u64) -> [u8; STAMP] {
    let mut bytes = [0; STAMP];
    bytes[..8].copy_from_slice(&number.to_be_bytes());
    bytes[8..].copy_from_slice(&generation.to_be_bytes());
    bytes
}

fn put_digits(place: &mut [u8], mut number: u64) {
    for digit in place.iter_mut().rev() {
        *digit = b'0' + (number % 10) as u8;
        number /= 10;
    }
}

/// xorshift64*: the same numbers in every run.
#[derive(Clone, Debug)]
pub struct Random(pub u64);

impl Random {
    /// The next number.
    #[expect(clippy::should_implement_trait, reason = "it never ends, so Option would only cost")]
    pub fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }

    /// A number below `limit`.
    pub fn below(&mut self, limit: u64) -> u64 {
        ((u128::from(self.next()) * u128::from(limit)) >> 64) as u64
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use zk_proto::request::SetDataRequest;
    use zk_proto::{OpCode, Reader};

    fn set<'a>(path: &'a str, data: &'a [u8]) -> Request<'a> {
        Request::SetData(SetDataRequest { path: path.into(), data: Some(data), version: -1 })
    }

    proptest! {
        #[test]
        fn a_patched_frame_is_the_encoded_request(xid: i32, number in 0u64..10_000_000, generation: u64) {
            let template = Template::new(&set(&path("/a/n", 0), &data(40, 0, 0)), true);
            let mut out = vec![9; 3];
            template.append(&mut out, xid, number, generation);
            let (path, data) = (path("/a/n", number), data(40, number, generation));
            let request = set(&path, &data);
            prop_assert_eq!(&out[3..], frame(xid, &request));

            let mut body = Vec::new();
            template.body().append_body(&mut body, number, generation);
            prop_assert_eq!(Request::read(OpCode::SetData, &mut Reader::new(&body)), Ok(Some(request)));
            prop_assert_eq!(read_stamp(&data), Some((number, generation)));
            prop_assert_eq!(number_of(&path), number);
        }
    }

    #[test]
    fn paths_without_a_number_have_number_zero() {
        assert_eq!(number_of("/a/b"), 0);
        assert_eq!(number_of(""), 0);
    }

    #[test]
    fn random_numbers_stay_below_the_limit_and_reach_all_of_it() {
        let mut random = Random(7);
        let mut seen = [false; 10];
        (0..1000).for_each(|_| seen[random.below(10) as usize] = true);
        assert_eq!(seen, [true; 10]);
    }
}
