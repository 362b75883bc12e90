//! An open loop charges a stalled server for every request that was due meanwhile; a closed loop
//! would hide all but one (coordinated omission).
#![allow(clippy::unwrap_used, reason = "a test's panic is its failure")]

use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use zk_proto::connect::ConnectResponse;
use zk_proto::jute::put_frame;
use zk_proto::request::RequestHeader;
use zk_proto::response::{ReplyHeader, StatResponse};
use zk_proto::{ErrorCode, Jute, OpCode, Reader, SessionId, Stat};
use zkfleet_bench::drive::{Outcome, Plan, Span};
use zkfleet_bench::loads::Check;
use zkfleet_bench::net::{Events, Net, Peer, token};
use zkfleet_bench::run::{Target, driven};
use zkfleet_bench::spec::Spec;

const STALL: Duration = Duration::from_millis(200);
/// Requests between two stalls: more than the set-up takes.
const EVERY: u64 = 1500;

/// Answers every request at once, but does nothing for a while after every 1,500 of them.
fn serve(listener: TcpListener, stop: &AtomicBool) {
    let mut net = Net::new().unwrap();
    net.listen(listener).unwrap();
    let (mut events, mut open, mut answered) = (Events::new(), Vec::new(), 0);
    while !stop.load(Ordering::Relaxed) {
        net.wait(&mut events, Some(Duration::from_millis(10))).unwrap();
        for event in &events {
            let Some(conn) = token(event) else {
                while let Some(conn) = net.accept().unwrap() {
                    open.resize(open.len().max(conn + 1), false);
                    open[conn] = false;
                }
                continue;
            };
            let mut ends = false;
            let peer = net.read(conn, event, |out, frame| {
                put_frame(out, |out| ends |= answer(&mut open[conn], frame, out));
                answered += 1;
                Ok(())
            });
            match peer {
                Ok(Peer::Open) if ends => net.shut(conn).unwrap(),
                Ok(Peer::Open) => net.flush(conn).unwrap(),
                _ => net.close(conn),
            }
        }
        if answered >= EVERY {
            answered = 0;
            std::thread::sleep(STALL);
        }
    }
}

/// Whether the session ends with it.
fn answer(open: &mut bool, frame: &[u8], out: &mut Vec<u8>) -> bool {
    if std::mem::replace(open, true) {
        let RequestHeader { xid, op } = Jute::read(&mut Reader::new(frame)).unwrap();
        ReplyHeader::new(xid, 1, ErrorCode::Ok).write(out);
        StatResponse { stat: Stat::default() }.write(out);
        op == OpCode::CloseSession.code()
    } else {
        let granted = ConnectResponse { timeout_ms: 1, ..ConnectResponse::expired(Some(false)) };
        ConnectResponse { session_id: SessionId(1), ..granted }.write(out);
        false
    }
}

fn outcome(addr: SocketAddr, load: &str) -> Outcome {
    let spec: Spec = load.parse().unwrap();
    let plan = Plan {
        pace: spec.kind.pace().unwrap(),
        span: Span::For { warm: Duration::from_millis(20), measured: Duration::from_secs(2) },
        keep_samples: true,
    };
    driven(&spec, &Target { addrs: vec![addr], pids: Vec::new(), check: Check::Framing }, plan)
        .unwrap()
}

#[test]
fn a_stall_is_charged_to_every_request_that_was_due() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let addr = listener.local_addr().unwrap();
    let stop = Arc::new(AtomicBool::new(false));
    let told = Arc::clone(&stop);
    let server = std::thread::spawn(move || serve(listener, &told));

    let begin = Instant::now();
    let mut samples = outcome(addr, "open-set-1000").samples;
    assert!(begin.elapsed() >= Duration::from_secs(2));
    // Two seconds at 1,000/s hold 2,000 requests, whatever the server does, each due 1 ms after
    // the one before; the 1,500 that passed before the stall leave it inside them.
    assert!((1990..=2000).contains(&samples.len()), "{}", samples.len());
    samples.sort_unstable();
    assert!(samples.windows(2).all(|pair| pair[1].0 - pair[0].0 == 1_000_000));
    // A stall of 200 ms delays 200 requests, half of them by more than 100 ms.
    let slow = samples.iter().filter(|(_, latency)| *latency > 100_000_000).count();
    assert!(slow >= 90, "{slow} requests were delayed by the stall");

    stop.store(true, Ordering::Relaxed);
    server.join().unwrap();
}
