//! A member without a quorum lets clients read that ask for no more (client-protocol 15).

use zk_proto::request::{Request, SyncRequest};

use crate::client::Client;
use crate::ensemble::Ensemble;
use crate::wait_until;

const NOT_READ_ONLY: i32 = -119;

/// The member that is left alone, once it serves.
fn alone(ensemble: &mut Ensemble) -> usize {
    let left = (ensemble.leader() + 1) % 3;
    for at in (0..3).filter(|at| *at != left) {
        ensemble.nodes[at].server.take().unwrap().stop().unwrap();
    }
    wait_until("it lets clients read", || ensemble.mode(left) == "read-only");
    left
}

#[test]
fn clients_that_only_read_are_let_in_and_others_not() {
    let mut ensemble = Ensemble::start("readonlymode.enabled=true\n");
    ensemble.wait_complete();
    let mut client = ensemble.client(ensemble.leader()).unwrap();
    assert_eq!(client.create("/w", b"data").unwrap(), 0);
    let global = (client.session.session_id, client.session.password);
    let left = alone(&mut ensemble);
    let addr = ensemble.addr(left);
    // Neither new sessions for more than reading, nor those of the ensemble.
    assert!(ensemble.client(left).is_none());
    assert!(Client::reads(addr, 60_000, Some(global)).is_err());
    let mut reads = Client::reads(addr, 60_000, None).unwrap();
    assert_eq!(reads.session.read_only, Some(true));
    assert_eq!(reads.get("/w"), Ok(b"data".to_vec()));
    assert_eq!(reads.set("/w", b"more"), NOT_READ_ONLY);
    assert_eq!(reads.create("/x", b"").unwrap(), NOT_READ_ONLY);
    let sync = Request::Sync(SyncRequest { path: Some("/w".into()) });
    assert_eq!(reads.call(&sync).unwrap().err, NOT_READ_ONLY);
    // The session goes on here on another connection, but not with another password.
    let own = (reads.session.session_id, reads.session.password);
    let mut again = Client::reads(addr, 60_000, Some(own)).unwrap();
    assert_eq!(again.session.session_id, own.0);
    assert_eq!(again.get("/w"), Ok(b"data".to_vec()));
    assert!(reads.ends());
    assert!(Client::reads(addr, 60_000, Some((own.0, [7; 16]))).is_err());
    assert_eq!(again.call(&Request::CloseSession).unwrap().err, 0);
    assert!(again.ends());
    assert!(Client::reads(addr, 60_000, Some(own)).is_err());
}

#[test]
fn it_is_over_when_there_is_a_quorum_again() {
    let mut ensemble = Ensemble::start("readonlymode.enabled=true\n");
    ensemble.wait_complete();
    let left = alone(&mut ensemble);
    let reads = Client::reads(ensemble.addr(left), 60_000, None).unwrap();
    let own = (reads.session.session_id, reads.session.password);
    // One whose client says nothing ends by itself.
    let mut silent = Client::reads(ensemble.addr(left), 1, None).unwrap();
    assert!(silent.session.timeout_ms < 1_000, "{:?}", silent.session);
    assert!(silent.reply().is_err());
    (0..3).filter(|at| *at != left).for_each(|at| ensemble.restart(at));
    ensemble.wait_complete();
    assert!(reads.ends());
    // Nobody else knows that session.
    let gone = Client::renew(ensemble.addr(left), own);
    assert_eq!(gone.session.timeout_ms, 0);
    assert_eq!(ensemble.client(left).unwrap().create("/w", b"").unwrap(), 0);
}

#[test]
fn without_the_setting_nobody_reads() {
    let mut ensemble = Ensemble::start("");
    ensemble.wait_complete();
    let left = (ensemble.leader() + 1) % 3;
    for at in (0..3).filter(|at| *at != left) {
        ensemble.nodes[at].server.take().unwrap().stop().unwrap();
    }
    wait_until("it serves nobody", || ensemble.mode(left).is_empty());
    std::thread::sleep(std::time::Duration::from_millis(2500));
    assert!(Client::reads(ensemble.addr(left), 60_000, None).is_err());
}
