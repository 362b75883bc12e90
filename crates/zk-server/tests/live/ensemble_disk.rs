//! An ensemble of members whose disks can be full, or break: the others go on, and nothing
//! acknowledged is lost.

use zk_store::sim::{EIO, ENOSPC};

use crate::client::Client;
use crate::ensemble::Ensemble;
use crate::wait_until;

/// Calls that a member makes while it changes its leader, and takes some writes.
const CALLS: u64 = 24;

fn with_data() -> Ensemble {
    let ensemble = Ensemble::start("");
    ensemble.wait_complete();
    let mut client = ensemble.client(ensemble.leader()).unwrap();
    assert_eq!(client.create("/w", b"").unwrap(), 0);
    ensemble
}

#[test]
fn a_leader_whose_disk_is_full_gives_way_and_comes_back() {
    let ensemble = with_data();
    let full = ensemble.leader();
    ensemble.nodes[full].disk.set_free_sectors(Some(0));
    // Until it notices it takes what its reserve holds.
    let mut client = ensemble.client(full);
    let takes = |client: &mut Client| matches!(client.try_set("/w", &[1; 5000]), Ok(0));
    while client.as_mut().is_some_and(takes) {}
    wait_until("another one leads", || {
        (0..3).any(|at| at != full && ensemble.mode(at) == "leader")
    });
    ensemble.write(b"without it", &[full]);
    assert!(!matches!(&*ensemble.mode(full), "leader" | "follower"));
    ensemble.nodes[full].disk.set_free_sectors(None);
    ensemble.wait_complete();
    assert_ne!(ensemble.leader(), full);
    ensemble.check(b"without it");
}

#[test]
fn a_follower_without_a_byte_left_is_waited_for_by_nobody() {
    let ensemble = with_data();
    let full = (ensemble.leader() + 1) % 3;
    ensemble.nodes[full].disk.set_free_sectors(Some(0));
    for number in 0..40_u8 {
        ensemble.write(&[number; 5000], &[full]);
    }
    ensemble.nodes[full].disk.set_free_sectors(None);
    ensemble.write(b"with it", &[]);
    ensemble.wait_complete();
    ensemble.check(b"with it");
}

/// A member loses its leader and gets it again while one call to its disk fails, each in turn: it
/// ends or goes on, and has everything in the end. How many ended.
fn fail_each(errno: i32) -> usize {
    let mut ensemble = with_data();
    let mut failed = 0;
    for call in 0..CALLS {
        let (leader, value) = (ensemble.leader(), format!("{errno} {call}"));
        let at = (leader + 1) % 3;
        ensemble.nodes[at].disk.fail(call, errno);
        // A new epoch, which all of them write.
        ensemble.restart(leader);
        ensemble.write(value.as_bytes(), &[at]);
        let mut has_ended = false;
        wait_until("all have it", || {
            // A call that came too late for its own round fails later.
            for it in (0..3).filter(|it| ensemble.has_failed(*it)).collect::<Vec<_>>() {
                has_ended = true;
                ensemble.restart(it);
            }
            ensemble.is_complete() && (0..3).all(|at| ensemble.has(at, value.as_bytes()))
        });
        failed += usize::from(has_ended);
    }
    println!("error {errno}: {failed} of {CALLS} ended the member");
    failed
}

#[test]
fn a_disk_that_refuses_ends_a_member_and_loses_nothing() {
    assert!(fail_each(EIO) > CALLS as usize / 2);
}

/// Only what a failed sync has lost cannot be waited for.
#[test]
fn a_moment_without_space_ends_few_members_and_loses_nothing() {
    assert!(fail_each(ENOSPC) < CALLS as usize / 2);
}
