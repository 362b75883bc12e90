//! The threads behind a [`Network`](super::Network): one for each port, two for each connection.

use std::io::{self, ErrorKind, Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::thread;
use std::time::{Duration, Instant};

use zk_proto::election::Greeting;

use super::{Conn, Flow, Shared, Way};

/// So much is under way at most; who sends more has to wait, as behind a full window.
const WINDOW_BYTES: usize = 64 << 10;
/// After so long a writer looks whether its connection was reset.
const LOOK: Duration = Duration::from_millis(100);

/// Takes connections until the network is over.
pub(super) fn accept(shared: &Arc<Shared>, socket: &TcpListener, way: Way, is_election: bool) {
    loop {
        let accepted = socket.accept();
        let mut state = shared.state();
        let is_open = |state: &super::State| {
            let of_this = |it: &&super::Listener| std::ptr::eq(&*it.socket, socket);
            state.listeners.iter().find(of_this).is_some_and(|it| it.is_open)
        };
        if let Ok((source, _)) = accepted {
            let sink = Default::default();
            let conn = Arc::new(Conn { way, source, sink, is_reset: AtomicBool::new(false) });
            state.conns.push(Arc::downgrade(&conn));
            if is_open(&state) {
                let shared = shared.clone();
                thread::spawn(move || serve(&shared, &conn, is_election));
            } else {
                conn.reset();
            }
        }
        while !is_open(&state) {
            if state.is_over {
                return;
            }
            state = shared.wait(state);
        }
    }
}

fn back((from, to): Way) -> Way {
    (to, from)
}

/// One connection, from the moment it was accepted.
fn serve(shared: &Arc<Shared>, conn: &Arc<Conn>, is_election: bool) {
    let served = dial(shared, conn, is_election);
    let (Ok(()), Some(sink)) = (&served, conn.sink.get()) else { return conn.reset() };
    thread::scope(|scope| {
        scope.spawn(|| pump(shared, conn, (&conn.source, sink), conn.way));
        pump(shared, conn, (sink, &conn.source), back(conn.way));
    });
}

/// Reaches the other end, once packets come and go; even if whoever dialled has said all it has to
/// say and closed: the smaller sid does that on an election port, to be dialled back.
fn dial(shared: &Shared, conn: &Conn, is_election: bool) -> io::Result<()> {
    let gone = || io::Error::from(ErrorKind::ConnectionReset);
    // A handshake goes both ways.
    while !(passed(shared, conn, conn.way) && passed(shared, conn, back(conn.way))) {
        if conn.is_reset() {
            return Err(gone());
        }
    }
    let ports = shared.members.get(&conn.way.1).ok_or_else(gone)?;
    let sink = TcpStream::connect(if is_election { ports.election } else { ports.quorum })?;
    for stream in [&conn.source, &sink] {
        stream.set_nodelay(true)?;
        stream.set_write_timeout(Some(LOOK))?;
    }
    let sink = conn.sink.get_or_init(|| sink);
    if is_election {
        let greeting = readdressed(shared, conn)?;
        write(conn, sink, &greeting)?;
    }
    // A cut may have come before the other end was there to be reset.
    if conn.is_reset() { Err(gone()) } else { Ok(()) }
}

/// What a member begins with on an election port, with the address where the other one finds it.
fn readdressed(shared: &Shared, conn: &Conn) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    let (mut greeting, length) = loop {
        if let Some(found) = Greeting::read(&bytes).map_err(io::Error::other)? {
            break found;
        }
        let mut byte = [0];
        (&conn.source).read_exact(&mut byte)?;
        bytes.extend(byte);
    };
    let way_back = shared.forwarders.get(&back(conn.way));
    if !greeting.addresses.is_empty() {
        greeting.addresses = way_back.iter().map(|ports| ports.election.to_string()).collect();
    }
    // In one piece: Apache reads the addresses with a single call.
    Ok([greeting.to_bytes(), bytes.split_off(length)].concat())
}

/// Moves bytes until the connection ends, as the way allows.
fn pump(shared: &Shared, conn: &Conn, (from, to): (&TcpStream, &TcpStream), way: Way) {
    let mut buffer = vec![0; WINDOW_BYTES];
    loop {
        let read = { from }.read(&mut buffer);
        let came = Instant::now();
        match read {
            Err(e) if e.kind() == ErrorKind::Interrupted => continue,
            _ if !arrives(shared, conn, way, came) => return conn.reset(),
            Ok(0) => {
                // That the other side has gone first is no matter.
                let _ = to.shutdown(Shutdown::Write);
                return;
            }
            Ok(n) if write(conn, to, &buffer[..n]).is_ok() => {}
            _ => return conn.reset(),
        }
    }
}

/// Waits until what came at `came` is due at the other end; false if it never is.
fn arrives(shared: &Shared, conn: &Conn, way: Way, came: Instant) -> bool {
    loop {
        if !passed(shared, conn, way) {
            return false;
        }
        let delay = match shared.state().flow(way) {
            Flow::Passes(delay) => delay,
            Flow::Silent | Flow::Cut => continue,
        };
        let left = (came + delay).saturating_duration_since(Instant::now());
        if left.is_zero() {
            return !conn.is_reset();
        }
        thread::sleep(left);
    }
}

/// Waits until a way is not silent; false if the connection was reset meanwhile.
fn passed(shared: &Shared, conn: &Conn, way: Way) -> bool {
    let mut state = shared.state();
    while !conn.is_reset() {
        match state.flow(way) {
            Flow::Passes(_) => return true,
            Flow::Silent | Flow::Cut => state = shared.wait(state),
        }
    }
    false
}

/// Writes everything, unless the connection is reset.
fn write(conn: &Conn, mut to: &TcpStream, mut bytes: &[u8]) -> io::Result<()> {
    while !bytes.is_empty() {
        match to.write(bytes) {
            Ok(n) => bytes = &bytes[n..],
            Err(e) if matches!(e.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted) => {
                if conn.is_reset() {
                    return Err(ErrorKind::ConnectionReset.into());
                }
            }
            Err(e) => return Err(e),
        }
    }
    Ok(())
}
