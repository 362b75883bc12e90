//! Strangers at the quorum port, which as in Apache lets everybody in where nothing guards it: what
//! they may cost the members.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use zk_proto::quorum::{FromLeader, FromLearner, LearnerInfo, PROTOCOL_VERSION};
use zk_proto::request::CreateMode;
use zk_proto::{Epoch, Limits, Zxid};
use zk_testkit::{Engine, Ensemble, Error};

/// More than connections and what waits for them hold.
const ZNODES: usize = 40;
const ZNODE_BYTES: usize = 500_000;
/// Less than `initLimit`, after which the stranger is let go in any case: 20 ticks of 500 ms.
const SOON: Duration = Duration::from_secs(8);

fn send(stream: &mut TcpStream, packet: &FromLearner<'_>) -> Result<(), Error> {
    let mut bytes = Vec::new();
    packet.put(&mut bytes);
    Ok(stream.write_all(&bytes)?)
}

/// An observer that nobody knows: it wants everything, and reads nothing of it.
fn lazy_stranger(ensemble: &Ensemble, leader: i64) -> Result<TcpStream, Error> {
    let line = ensemble.line(leader, "participant")?;
    let ports = line.split_once("127.0.0.1:").map(|(_, ports)| ports).unwrap_or_default();
    let port = ports.split(':').next().unwrap_or_default();
    let mut stream = TcpStream::connect(format!("127.0.0.1:{port}"))?;
    stream.set_read_timeout(Some(SOON))?;
    let info = LearnerInfo { sid: 77, protocol_version: PROTOCOL_VERSION, config_version: 0 };
    let accepted_epoch = Epoch(0);
    let info = FromLearner::Info { is_observer: true, accepted_epoch, info: Some(info) };
    send(&mut stream, &info)?;
    let (mut bytes, mut buffer) = (Vec::new(), [0; 1024]);
    while FromLeader::read(&bytes, Limits::default()).is_ok_and(|packet| packet.is_none()) {
        let count = stream.read(&mut buffer)?;
        assert_ne!(count, 0, "the leader has closed the connection");
        bytes.extend_from_slice(&buffer[..count]);
    }
    let ack = FromLearner::AckEpoch { last_zxid: Zxid(0), current_epoch: Some(Epoch(0)) };
    send(&mut stream, &ack)?;
    Ok(stream)
}

#[test]
fn a_stranger_that_reads_nothing_holds_up_no_member() -> Result<(), Error> {
    let mut ensemble = Ensemble::start(&[Engine::Ours; 3], &["jute.maxbuffer=1000000"])?;
    let leader = ensemble.leader()?;
    let mut client = ensemble.connect(leader, 15_000)?;
    for znode in 0..ZNODES {
        client.create(&format!("/large{znode}"), &vec![7; ZNODE_BYTES], CreateMode::Persistent)?;
    }
    client.close()?;
    let wiped = if leader == 1 { 2 } else { 1 };
    ensemble.member(wiped)?.kill()?;
    ensemble.wipe(wiped)?;

    let mut stranger = lazy_stranger(&ensemble, leader)?;
    // Its snapshot is under way.
    let mut first = [0; 64];
    stranger.read_exact(&mut first)?;
    let started = Instant::now();
    ensemble.restart(&[wiped])?;
    assert!(started.elapsed() < SOON, "the member waited {:?}", started.elapsed());
    assert!(ensemble.tree(wiped)? == ensemble.tree(leader)?, "not all of it is there");
    Ok(())
}
