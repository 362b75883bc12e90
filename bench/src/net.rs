//! Non-blocking connections on one epoll: frames in, frames out, one read and one write a batch.
//!
//! Edge-triggered, so that no system call is spent on interest: a read that fills less than the
//! buffer has emptied the socket (epoll(7)), a write that is cut short waits for the next edge.

use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::fd::OwnedFd;
use std::time::Duration;

use rustix::buffer::spare_capacity;
use rustix::event::epoll::{self, CreateFlags, EventData, EventFlags};
use rustix::io::Errno;
use rustix::net::{AddressFamily, SocketFlags, SocketType, ipproto, sockopt};
use rustix::time::Timespec;

use crate::error::{Error, Result, Wrong};

/// Longer frames than any load asks for: an answer above it is nonsense.
const MAX_FRAME: usize = 64 << 20;
/// Room for the answers of a batch. Shared by all connections, so idle ones cost next to nothing.
const SCRATCH: usize = 256 << 10;
/// The event of the listener; connections are numbered from 0.
const LISTENER: u64 = u64::MAX;

/// What one wait found; reused from wait to wait.
pub type Events = Vec<epoll::Event>;

struct Conn {
    fd: OwnedFd,
    out: Vec<u8>,
    /// How much of `out` is written.
    sent: usize,
    /// The beginning of a frame whose end has not come.
    rest: Vec<u8>,
}

/// Whether a connection lives on.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Peer {
    /// It does.
    Open,
    /// The other side ended it.
    Closed,
}

/// All connections of a load, or of the floor server.
pub struct Net {
    epoll: OwnedFd,
    listener: Option<TcpListener>,
    conns: Vec<Option<Conn>>,
    free: Vec<usize>,
    scratch: Vec<u8>,
}

/// Which connection an event is for; `None` is the listener.
#[must_use]
pub fn token(event: &epoll::Event) -> Option<usize> {
    let data = event.data;
    (data.u64() != LISTENER).then(|| data.u64() as usize)
}

impl Net {
    /// No connections yet.
    pub fn new() -> Result<Net> {
        let epoll = epoll::create(CreateFlags::CLOEXEC).map_err(Error::io("create an epoll"))?;
        Ok(Net {
            epoll,
            listener: None,
            conns: Vec::new(),
            free: Vec::new(),
            scratch: vec![0; SCRATCH],
        })
    }

    /// Accepts connections from `listener` too.
    pub fn listen(&mut self, listener: TcpListener) -> Result<()> {
        listener.set_nonblocking(true).map_err(Error::io("make the listener non-blocking"))?;
        epoll::add(&self.epoll, &listener, EventData::new_u64(LISTENER), EventFlags::IN)
            .map_err(Error::io("watch the listener"))?;
        self.listener = Some(listener);
        Ok(())
    }

    /// Takes one waiting connection, if there is one.
    pub fn accept(&mut self) -> Result<Option<usize>> {
        let Some(listener) = &self.listener else { return Ok(None) };
        match listener.accept() {
            Ok((stream, _)) => {
                stream
                    .set_nonblocking(true)
                    .map_err(Error::io("make a connection non-blocking"))?;
                self.add(stream.into()).map(Some)
            }
            Err(e) if e.kind() == std::io::ErrorKind::WouldBlock => Ok(None),
            Err(e) => Err(Error::io("accept a connection")(e)),
        }
    }

    /// Begins a connection; what is queued on it goes out once it stands.
    pub fn connect(&mut self, addr: SocketAddr) -> Result<usize> {
        let family = if addr.is_ipv4() { AddressFamily::INET } else { AddressFamily::INET6 };
        let flags = SocketFlags::NONBLOCK | SocketFlags::CLOEXEC;
        let fd = rustix::net::socket_with(family, SocketType::STREAM, flags, Some(ipproto::TCP))
            .map_err(Error::io("make a socket (see ulimit -n)"))?;
        match rustix::net::connect(&fd, &addr) {
            Ok(()) | Err(Errno::INPROGRESS) => self.add(fd),
            Err(e) => Err(Error::io(format!("connect to {addr}"))(e)),
        }
    }

    fn add(&mut self, fd: OwnedFd) -> Result<usize> {
        sockopt::set_tcp_nodelay(&fd, true).map_err(Error::io("set TCP_NODELAY"))?;
        let token = self.free.pop().unwrap_or_else(|| {
            self.conns.push(None);
            self.conns.len() - 1
        });
        let flags = EventFlags::IN | EventFlags::OUT | EventFlags::RDHUP | EventFlags::ET;
        epoll::add(&self.epoll, &fd, EventData::new_u64(token as u64), flags)
            .map_err(Error::io("watch a connection"))?;
        self.conns[token] = Some(Conn { fd, out: Vec::new(), sent: 0, rest: Vec::new() });
        Ok(token)
    }

    /// Closes a connection; its number is given to the next one.
    pub fn close(&mut self, token: usize) {
        if self.conns[token].take().is_some() {
            self.free.push(token);
        }
    }

    /// Closes a connection once what is queued is written: the peer sees the end after the data.
    pub fn shut(&mut self, token: usize) -> Result<()> {
        self.flush(token)?;
        if let Some(conn) = &self.conns[token] {
            // It fails only when the peer is gone, and then there is nobody to tell.
            let _ = rustix::net::shutdown(&conn.fd, rustix::net::Shutdown::Write);
        }
        Ok(())
    }

    /// Waits until a connection can be read or written, at most `timeout`.
    pub fn wait(&self, events: &mut Events, timeout: Option<Duration>) -> Result<()> {
        events.clear();
        events.reserve(1024);
        let timeout = timeout
            .map(|t| Timespec { tv_sec: t.as_secs() as i64, tv_nsec: i64::from(t.subsec_nanos()) });
        match epoll::wait(&self.epoll, spare_capacity(events), timeout.as_ref()) {
            Ok(_) | Err(Errno::INTR) => Ok(()),
            Err(e) => Err(Error::io("wait for connections")(e)),
        }
    }

    /// Whether the connection is there.
    #[must_use]
    pub fn is_open(&self, token: usize) -> bool {
        self.conns.get(token).is_some_and(Option::is_some)
    }

    /// The bytes that the next [`Net::flush`] writes.
    pub fn out(&mut self, token: usize) -> &mut Vec<u8> {
        &mut self.conns[token].as_mut().expect("callers hold only tokens of open connections").out
    }

    /// Writes what is queued, as far as the socket takes it.
    pub fn flush(&mut self, token: usize) -> Result<()> {
        let Some(conn) = &mut self.conns[token] else { return Ok(()) };
        while conn.sent < conn.out.len() {
            match rustix::io::write(&conn.fd, &conn.out[conn.sent..]) {
                Ok(n) => conn.sent += n,
                Err(Errno::INTR) => {}
                Err(Errno::AGAIN | Errno::NOTCONN) => return Ok(()),
                // The read side tells of the end, after what came before it.
                Err(Errno::PIPE | Errno::CONNRESET) => break,
                Err(e) => return Err(Error::io("write to a connection")(e)),
            }
        }
        conn.out.clear();
        conn.sent = 0;
        Ok(())
    }

    /// Reads all there is after `event` and hands over each whole frame (without its length),
    /// together with the connection's outgoing bytes. An error of `each` ends it.
    pub fn read(
        &mut self,
        token: usize,
        event: &epoll::Event,
        mut each: impl FnMut(&mut Vec<u8>, &[u8]) -> Result<()>,
    ) -> Result<Peer> {
        let Some(conn) = &mut self.conns[token] else { return Ok(Peer::Open) };
        let flags = event.flags;
        let ending = flags.intersects(EventFlags::RDHUP | EventFlags::HUP | EventFlags::ERR);
        if !ending && !flags.contains(EventFlags::IN) {
            return Ok(Peer::Open);
        }
        loop {
            let kept = conn.rest.len();
            if kept == self.scratch.len() {
                self.scratch.resize(2 * kept, 0);
            }
            let filled = match rustix::io::read(&conn.fd, &mut self.scratch[kept..]) {
                Ok(0) | Err(Errno::CONNRESET) => return Ok(Peer::Closed),
                Ok(n) => kept + n,
                Err(Errno::AGAIN) => return Ok(Peer::Open),
                Err(Errno::INTR) => continue,
                Err(e) => return Err(Error::io("read from a connection")(e)),
            };
            self.scratch[..kept].copy_from_slice(&conn.rest);
            let bytes = &self.scratch[..filled];
            let used = split(bytes, |frame| each(&mut conn.out, frame))?;
            conn.rest.clear();
            conn.rest.extend_from_slice(&bytes[used..]);
            // The end of the stream is no new edge when it came together with its last bytes.
            if filled < self.scratch.len() && !ending {
                return Ok(Peer::Open);
            }
        }
    }
}

/// Hands over each whole frame of `bytes`; returns how many bytes they took.
fn split(bytes: &[u8], mut each: impl FnMut(&[u8]) -> Result<()>) -> Result<usize> {
    let mut used = 0;
    while let Some(head) = bytes[used..].first_chunk::<4>() {
        let length = i32::from_be_bytes(*head);
        let frame = match usize::try_from(length) {
            Ok(n) if n <= MAX_FRAME => n,
            _ => return Err(Error::wrong(Wrong::FrameLength(length))),
        };
        let Some(body) = bytes[used + 4..].get(..frame) else { break };
        each(body)?;
        used += 4 + frame;
    }
    Ok(used)
}

/// Ports of 127.0.0.1, all different, that were free a moment ago.
pub fn free_ports(count: usize) -> Result<Vec<u16>> {
    let doing = || Error::io("look for free ports on 127.0.0.1");
    // All held until the last is found, so that none is found twice.
    let held = (0..count).map(|_| TcpListener::bind("127.0.0.1:0").map_err(doing()));
    let held = held.collect::<Result<Vec<_>>>()?;
    let port = |listener: &TcpListener| Ok(listener.local_addr().map_err(doing())?.port());
    held.iter().map(port).collect()
}

/// A blocking connection, for what is not measured.
pub fn dial(addr: SocketAddr, timeout: Duration) -> Result<TcpStream> {
    let doing = || Error::io(format!("connect to {addr}"));
    let stream = TcpStream::connect_timeout(&addr, timeout).map_err(doing())?;
    stream.set_read_timeout(Some(timeout)).map_err(doing())?;
    stream.set_nodelay(true).map_err(doing())?;
    Ok(stream)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::io::Write;
    use std::time::Instant;

    #[test]
    fn impossible_lengths_are_refused() {
        for length in [-1, i32::MIN, i32::MAX] {
            let got = split(&length.to_be_bytes(), |_| Ok(()));
            assert!(
                matches!(got, Err(Error::Wrong { wrong: Wrong::FrameLength(l), .. }) if l == length)
            );
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(48))]
        #[test]
        fn frames_survive_any_cut(frames in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..300), 1..20), cut in 1usize..200) {
            let listener = TcpListener::bind("127.0.0.1:0").unwrap();
            let mut net = Net::new().unwrap();
            let token = net.connect(listener.local_addr().unwrap()).unwrap();
            let (mut peer, _) = listener.accept().unwrap();
            peer.set_nodelay(true).unwrap();
            let mut bytes = Vec::new();
            for frame in &frames {
                zk_proto::jute::put_frame(&mut bytes, |out| out.extend_from_slice(frame));
            }
            let mut got: Vec<Vec<u8>> = Vec::new();
            let mut events = Events::new();
            let mut pieces = bytes.chunks(cut);
            let deadline = Instant::now() + Duration::from_secs(10);
            while got.len() < frames.len() {
                prop_assert!(Instant::now() < deadline, "{} of {} came", got.len(), frames.len());
                if let Some(piece) = pieces.next() {
                    peer.write_all(piece).unwrap();
                }
                net.wait(&mut events, Some(Duration::from_millis(1))).unwrap();
                for event in &events {
                    net.read(token, event, |_, frame| { got.push(frame.to_vec()); Ok(()) }).unwrap();
                }
            }
            prop_assert_eq!(got, frames);
        }
    }
}
