//! Each fault does what it says, to bytes and to connections.

use std::io::{ErrorKind, Read, Write};
use std::time::Instant;

use zk_proto::Sid;
use zk_proto::election::Greeting;

use super::*;
use crate::PATIENCE;

/// What is not there after this is not on its way.
const SHORT: Duration = Duration::from_millis(50);

struct Pair {
    network: Network,
    quorum: TcpListener,
    election: TcpListener,
}

fn pair() -> Pair {
    let network = Network::new(&[1, 2]).unwrap();
    let ports = network.shared.members[&2];
    let quorum = TcpListener::bind(ports.quorum).unwrap();
    let election = TcpListener::bind(ports.election).unwrap();
    Pair { network, quorum, election }
}

fn dial(addr: SocketAddr) -> TcpStream {
    let stream = TcpStream::connect(addr).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream
}

impl Pair {
    fn forwarder(&self) -> Ports {
        self.network.shared.forwarders[&(1, 2)]
    }

    fn set(&self, way: Way, flow: Flow) {
        self.network.set(&BTreeMap::from([(way, flow)]));
    }

    fn mend(&self) {
        self.network.set(&BTreeMap::new());
    }

    /// Both ends of a connection from 1 to 2.
    fn connect(&self) -> (TcpStream, TcpStream) {
        let near = dial(self.forwarder().quorum);
        let far = self.quorum.accept().unwrap().0;
        far.set_read_timeout(Some(PATIENCE)).unwrap();
        (near, far)
    }
}

fn carries(mut from: &TcpStream, mut to: &TcpStream) {
    from.write_all(b"hello").unwrap();
    let mut bytes = [0; 5];
    to.read_exact(&mut bytes).unwrap();
    assert_eq!(&bytes, b"hello");
}

/// Nothing comes, and no end.
fn is_silent(mut stream: &TcpStream) {
    stream.set_read_timeout(Some(SHORT)).unwrap();
    let read = stream.read(&mut [0]).map_err(|e| e.kind());
    assert_eq!(read, Err(ErrorKind::WouldBlock));
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
}

fn is_ended(mut stream: &TcpStream) {
    let read = stream.read(&mut [0]).map_err(|e| e.kind());
    assert!(matches!(read, Ok(0) | Err(ErrorKind::ConnectionReset)), "{read:?}");
}

#[test]
fn it_carries_bytes_and_the_end() {
    let pair = pair();
    let (near, far) = pair.connect();
    carries(&near, &far);
    carries(&far, &near);
    near.shutdown(std::net::Shutdown::Write).unwrap();
    is_ended(&far);
    carries(&far, &near);
    drop(far);
    is_ended(&near);
}

#[test]
fn a_cut_resets_and_refuses() {
    let pair = pair();
    let (near, far) = pair.connect();
    pair.set((2, 1), Flow::Cut);
    is_ended(&near);
    is_ended(&far);
    for _ in 0..3 {
        let refused = TcpStream::connect(pair.forwarder().quorum).unwrap_err();
        assert_eq!(refused.kind(), ErrorKind::ConnectionRefused);
        pair.mend();
        let (near, far) = pair.connect();
        carries(&near, &far);
        pair.set((1, 2), Flow::Cut);
    }
}

#[test]
fn silence_holds_bytes_and_ends_of_one_way_back() {
    let pair = pair();
    let (near, far) = pair.connect();
    pair.set((1, 2), Flow::Silent);
    (&near).write_all(b"hello").unwrap();
    is_silent(&far);
    carries(&far, &near);
    drop(near);
    is_silent(&far);
    pair.mend();
    let mut bytes = Vec::new();
    (&far).read_to_end(&mut bytes).unwrap();
    assert_eq!(bytes, b"hello");
}

#[test]
fn no_connection_comes_about_in_silence() {
    let pair = pair();
    for way in [(1, 2), (2, 1)] {
        pair.set(way, Flow::Silent);
        let near = dial(pair.forwarder().quorum);
        is_silent(&near);
        pair.mend();
        let far = pair.quorum.accept().unwrap().0;
        far.set_read_timeout(Some(PATIENCE)).unwrap();
        carries(&near, &far);
    }
}

#[test]
fn who_says_something_and_closes_is_heard() {
    let pair = pair();
    let near = dial(pair.forwarder().quorum);
    (&near).write_all(b"hello").unwrap();
    drop(near);
    let far = pair.quorum.accept().unwrap().0;
    let mut bytes = Vec::new();
    (&far).read_to_end(&mut bytes).unwrap();
    assert_eq!(bytes, b"hello");
}

#[test]
fn a_delay_is_one() {
    let pair = pair();
    let (near, far) = pair.connect();
    pair.set((1, 2), Flow::Passes(SHORT));
    let started = Instant::now();
    carries(&near, &far);
    assert!(started.elapsed() >= SHORT);
}

#[test]
fn nobody_learns_the_way_around_it() {
    let pair = pair();
    let real = pair.network.shared.members[&1].election.to_string();
    let greeting = Greeting { sid: Sid(1), addresses: vec![real] };
    let near = dial(pair.forwarder().election);
    (&near).write_all(&greeting.to_bytes()).unwrap();
    let far = pair.election.accept().unwrap().0;
    let mut bytes = [0; 100];
    let n = (&far).read(&mut bytes).unwrap();
    let (told, _) = Greeting::read(&bytes[..n]).unwrap().unwrap();
    let back = pair.network.shared.forwarders[&(2, 1)].election;
    assert_eq!((told.sid, told.addresses), (Sid(1), vec![back.to_string()]));
}

#[test]
fn an_end_that_is_not_there_is_a_reset() {
    let Pair { network, quorum, .. } = pair();
    drop(quorum);
    is_ended(&dial(network.shared.forwarders[&(1, 2)].quorum));
}

#[test]
fn each_member_knows_itself_and_forwarders() {
    let network = Network::new(&[1, 2, 3]).unwrap();
    let lines = network.lines(2);
    assert!(lines[0].starts_with("server.1=127.0.2.2:"), "{lines:?}");
    assert!(lines[1].starts_with("server.2=127.0.1.2:"), "{lines:?}");
    assert!(lines[2].starts_with("server.3=127.0.2.2:"), "{lines:?}");
}
