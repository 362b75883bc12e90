//! One TCP connection, frame by frame. It sends any bytes and believes nothing.

use std::io::{self, ErrorKind, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use zk_proto::connect::{ConnectRequest, ConnectResponse};
use zk_proto::jute::put_frame;
use zk_proto::{Jute, Reader};

use crate::{Error, PATIENCE};

/// What came next on a connection.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Incoming {
    /// A frame, without its length.
    Frame(Vec<u8>),
    /// The server closed the connection, gracefully or not.
    Closed,
    /// Nothing whole came in time.
    Silence,
}

/// A connection to a server.
#[derive(Debug)]
pub struct Connection {
    stream: TcpStream,
    /// Received and not yet handed out.
    buffer: Vec<u8>,
    closed: bool,
}

impl Connection {
    /// Connects; nothing is sent yet.
    pub fn open(addr: SocketAddr) -> Result<Connection, Error> {
        // Not connect_timeout: it takes a server that closes at once for one that is not there.
        let stream = TcpStream::connect(addr)?;
        stream.set_nodelay(true)?;
        // A server that does not read must not hang a test.
        stream.set_write_timeout(Some(PATIENCE))?;
        Ok(Connection { stream, buffer: Vec::new(), closed: false })
    }

    /// Sends bytes as they are. That the server may have closed already is no error here: the next
    /// [`Connection::read`] tells.
    pub fn send(&mut self, bytes: &[u8]) -> Result<(), Error> {
        match self.stream.write_all(bytes) {
            Err(e) if !is_disconnect(&e) => Err(e.into()),
            _ => Ok(()),
        }
    }

    /// Sends a frame with this body.
    pub fn send_frame(&mut self, body: &[u8]) -> Result<(), Error> {
        let mut frame = Vec::with_capacity(4 + body.len());
        put_frame(&mut frame, |out| out.extend_from_slice(body));
        self.send(&frame)
    }

    /// The next frame, the end, or silence.
    pub fn read(&mut self, timeout: Duration) -> Result<Incoming, Error> {
        let deadline = Instant::now() + timeout;
        loop {
            if let Some(frame) = self.take_frame() {
                return Ok(Incoming::Frame(frame));
            }
            if self.closed {
                return Ok(Incoming::Closed);
            }
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() || !self.fill(left)? {
                return Ok(Incoming::Silence);
            }
        }
    }

    /// Everything until the server closes, without looking for frames.
    pub fn read_to_end(&mut self, timeout: Duration) -> Result<Vec<u8>, Error> {
        let deadline = Instant::now() + timeout;
        while !self.closed {
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() || !self.fill(left)? {
                return Err(Error::Silence(timeout));
            }
        }
        Ok(std::mem::take(&mut self.buffer))
    }

    /// Sends a handshake and reads its answer.
    pub fn handshake(&mut self, request: &ConnectRequest<'_>) -> Result<ConnectResponse, Error> {
        self.handshake_within(request, PATIENCE)
    }

    /// The same, for who waits only so long.
    pub fn handshake_within(
        &mut self,
        request: &ConnectRequest<'_>,
        patience: Duration,
    ) -> Result<ConnectResponse, Error> {
        self.send_frame(&request.to_bytes())?;
        match self.read(patience)? {
            Incoming::Frame(frame) => Ok(ConnectResponse::read(&mut Reader::new(&frame))?),
            Incoming::Closed => Err(Error::Closed),
            Incoming::Silence => Err(Error::Silence(patience)),
        }
    }

    /// Tells the server that nothing more will come.
    pub fn shut_down_sending(&mut self) {
        // If the server has closed already, that is said.
        let _ = self.stream.shutdown(Shutdown::Write);
    }

    /// Waits for bytes and adds them to the buffer; false if none came.
    fn fill(&mut self, timeout: Duration) -> Result<bool, Error> {
        // A timeout of zero would mean none.
        self.stream.set_read_timeout(Some(timeout.max(Duration::from_millis(1))))?;
        let mut chunk = [0; 16 * 1024];
        match self.stream.read(&mut chunk) {
            Ok(0) => self.closed = true,
            Ok(n) => self.buffer.extend_from_slice(&chunk[..n]),
            Err(e) if is_disconnect(&e) => self.closed = true,
            Err(e) if matches!(e.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {
                return Ok(false);
            }
            Err(e) if e.kind() == ErrorKind::Interrupted => {}
            Err(e) => return Err(e.into()),
        }
        Ok(true)
    }

    fn take_frame(&mut self) -> Option<Vec<u8>> {
        let length = i32::from_be_bytes(*self.buffer.first_chunk()?);
        let end = 4 + usize::try_from(length).ok()?;
        let frame = self.buffer.get(4..end)?.to_vec();
        self.buffer.drain(..end);
        Some(frame)
    }
}

fn is_disconnect(e: &io::Error) -> bool {
    matches!(
        e.kind(),
        ErrorKind::BrokenPipe | ErrorKind::ConnectionReset | ErrorKind::ConnectionAborted
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::TcpListener;

    fn pair() -> (Connection, TcpStream) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let connection = Connection::open(listener.local_addr().unwrap()).unwrap();
        (connection, listener.accept().unwrap().0)
    }

    #[test]
    fn frames_come_whole_however_they_are_cut() {
        let (mut connection, mut peer) = pair();
        peer.write_all(&[0, 0, 0, 2, 7]).unwrap();
        assert_eq!(connection.read(Duration::from_millis(30)).unwrap(), Incoming::Silence);
        peer.write_all(&[8, 0, 0, 0, 0]).unwrap();
        assert_eq!(connection.read(PATIENCE).unwrap(), Incoming::Frame(vec![7, 8]));
        assert_eq!(connection.read(PATIENCE).unwrap(), Incoming::Frame(vec![]));
    }

    #[test]
    fn an_answer_before_the_end_is_not_lost() {
        let (mut connection, mut peer) = pair();
        peer.write_all(&[0, 0, 0, 1, 9]).unwrap();
        drop(peer);
        assert_eq!(connection.read(PATIENCE).unwrap(), Incoming::Frame(vec![9]));
        assert_eq!(connection.read(PATIENCE).unwrap(), Incoming::Closed);
    }
}
