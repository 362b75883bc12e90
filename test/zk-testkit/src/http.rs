//! HTTP as an operator's tools speak it: one request a connection, and the whole answer.

use std::io::Write as _;
use std::net::SocketAddr;

use crate::{Connection, Error, PATIENCE};

/// An answer.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct HttpAnswer {
    /// 200 and so on.
    pub status: u16,
    /// Names in small letters, and values.
    pub headers: Vec<(String, String)>,
    /// Without its transfer encoding.
    pub body: Vec<u8>,
}

impl HttpAnswer {
    /// The value of a header.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }

    /// The body as text.
    #[must_use]
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }
}

/// Sends a request, `GET /path` for instance, and reads the answer until the server closes.
pub fn http(
    addr: SocketAddr,
    request: &str,
    headers: &[(&str, &str)],
    body: &[u8],
) -> Result<HttpAnswer, Error> {
    let mut bytes = Vec::new();
    write!(bytes, "{request} HTTP/1.1\r\nHost: {addr}\r\nConnection: close\r\n")?;
    for (name, value) in headers {
        write!(bytes, "{name}: {value}\r\n")?;
    }
    if !body.is_empty() || request.starts_with("POST") {
        write!(bytes, "Content-Length: {}\r\n", body.len())?;
    }
    bytes.extend_from_slice(b"\r\n");
    bytes.extend_from_slice(body);
    let mut connection = Connection::open(addr)?;
    connection.send(&bytes)?;
    let has_body = !request.starts_with("HEAD ");
    parse(&connection.read_to_end(PATIENCE)?, has_body).ok_or(Error::Closed)
}

/// `None` for what is no whole answer.
fn parse(bytes: &[u8], has_body: bool) -> Option<HttpAnswer> {
    let end = bytes.windows(4).position(|four| four == b"\r\n\r\n")?;
    let head = std::str::from_utf8(&bytes[..end]).ok()?;
    let mut lines = head.split("\r\n");
    let status = lines.next()?.strip_prefix("HTTP/1.1 ")?.split(' ').next()?.parse().ok()?;
    let pair = |line: &str| {
        let (name, value) = line.split_once(':')?;
        Some((name.to_ascii_lowercase(), value.trim().to_owned()))
    };
    let headers = lines.map(pair).collect::<Option<Vec<_>>>()?;
    let mut answer = HttpAnswer { status, headers, body: bytes[end + 4..].to_vec() };
    if !has_body {
        return answer.body.is_empty().then_some(answer);
    }
    if answer.header("transfer-encoding") == Some("chunked") {
        answer.body = unchunked(&answer.body)?;
    }
    match answer.header("content-length").map(str::parse) {
        Some(length) if length != Ok(answer.body.len()) => None,
        _ => Some(answer),
    }
}

fn unchunked(mut rest: &[u8]) -> Option<Vec<u8>> {
    let mut body = Vec::new();
    loop {
        let line = rest.windows(2).position(|two| two == b"\r\n")?;
        let size = std::str::from_utf8(&rest[..line]).ok()?.split(';').next()?;
        let size = usize::from_str_radix(size, 16).ok()?;
        rest = &rest[line + 2..];
        if size == 0 {
            return Some(body);
        }
        body.extend_from_slice(rest.get(..size)?);
        rest = rest.get(size..)?.strip_prefix(b"\r\n")?;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_with_a_length_in_chunks_and_cut_off() {
        let whole = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nX-Y: z\r\n\r\nhi";
        let answer = parse(whole, true).unwrap();
        assert_eq!((answer.status, answer.header("x-y"), &*answer.text()), (200, Some("z"), "hi"));
        assert_eq!(parse(&whole[..whole.len() - 1], true), None);
        assert_eq!(parse(whole, false), None);
        assert_eq!(parse(&whole[..whole.len() - 2], false).unwrap().status, 200);
        let chunks = b"HTTP/1.1 404 N\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n1;x\r\nd\r\n0\r\n\r\n";
        assert_eq!(parse(chunks, true).unwrap().text(), "abcd");
        assert_eq!(parse(&chunks[..chunks.len() - 8], true), None);
    }
}
