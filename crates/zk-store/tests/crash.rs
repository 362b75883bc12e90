//! What a loss of power, a kill and a failing disk leave behind: every state of a short run
//! recovers to a prefix that holds every acknowledged write (RELIABILITY G2, G5, Z5).

#![allow(clippy::unwrap_used, reason = "a test")]

mod support;

use std::collections::BTreeMap;
use support::{Server, StartError, Tree, dirs, open, path};
use zk_proto::Zxid;
use zk_store::Compression;
use zk_store::disk::Disk;
use zk_store::log::{Beyond, LogReader, OpenLog, Step, scan_beyond};
use zk_store::names::Name;
use zk_store::purge::purge;
use zk_store::recover::RecoverError;
use zk_store::sim::{EIO, EMFILE, ENOSPC, Seed, SimDisk};
use zk_store::snapshot::{ReadOptions, SnapshotOptions};

/// Something went wrong; what, does not matter here.
#[derive(Debug)]
struct Failed;

impl From<StartError> for Failed {
    fn from(_: StartError) -> Failed {
        Failed
    }
}
impl From<zk_store::log::LogError> for Failed {
    fn from(_: zk_store::log::LogError) -> Failed {
        Failed
    }
}
impl From<zk_store::FileError> for Failed {
    fn from(_: zk_store::FileError) -> Failed {
        Failed
    }
}

/// Starts, writes, rolls, takes snapshots, purges, stops, starts again, writes. `acked` is the last
/// acknowledged write whenever it ends.
fn run(disk: &SimDisk, acked: &mut Zxid) -> Result<(), Failed> {
    let gzip = SnapshotOptions { compression: Compression::Gzip, ..Default::default() };
    let mut server = Server::simulated(disk)?;
    server.snapshot(SnapshotOptions::default())?;
    for round in 0..3 {
        for _ in 0..3 {
            *acked = server.create()?;
        }
        let batch: Vec<Vec<u8>> = (0..3).map(|i| vec![i; 200]).collect();
        let version = round * 3;
        let sets: Vec<_> =
            (1..=3).map(|i| support::set("", &batch[i as usize - 1], version + i)).collect();
        *acked = server.commit(&sets)?;
        server.log.complete_mark()?;
        server.log.roll()?;
        server.snapshot(if round == 1 { gzip } else { SnapshotOptions::default() })?;
    }
    *acked = server.create()?;
    purge(disk, &dirs(), 3, &ReadOptions::default())?;
    server.log.close()?;
    let mut server = Server::simulated(disk)?;
    *acked = server.create()?;
    server.log.zero_ahead()?;
    *acked = server.create()?;
    Ok(())
}

/// The tree after each transaction of the run.
fn reference() -> BTreeMap<Zxid, Tree> {
    let disk = SimDisk::new(512);
    run(&disk, &mut Zxid(0)).unwrap();
    let last = open(&disk).unwrap().0.last;
    let mut trees = BTreeMap::new();
    // A failing call at each place gives each prefix.
    let mut server = Server::simulated(&SimDisk::new(512)).unwrap();
    trees.insert(Zxid(0), server.tree.clone());
    for round in 0..3 {
        for _ in 0..3 {
            server.create().unwrap();
            trees.insert(server.tree.last, server.tree.clone());
        }
        for i in 1..=3u8 {
            server.commit(&[support::set("", &[i - 1; 200], round * 3 + i32::from(i))]).unwrap();
            trees.insert(server.tree.last, server.tree.clone());
        }
    }
    while server.tree.last < last {
        server.create().unwrap();
        trees.insert(server.tree.last, server.tree.clone());
    }
    trees
}

/// A state after a crash holds what was acknowledged, and is a state that was.
fn check(disk: &SimDisk, acked: Zxid, trees: &BTreeMap<Zxid, Tree>, what: &str) {
    let server = match Server::simulated(disk) {
        Ok(server) => server,
        Err(error) => panic!("{what}: {error}\n{disk:?}"),
    };
    let last = server.tree.last;
    assert!(last >= acked, "{what}: {acked} was acknowledged, {last} was found");
    assert_eq!(Some(&server.tree), trees.get(&last), "{what}: not a prefix at {last}");
    check_for_apache(disk, what);
}

/// What we leave behind after a recovery has nothing that would stop Apache, or be dropped by it.
fn check_for_apache(disk: &SimDisk, what: &str) {
    for entry in disk.list(&dirs().logs()).unwrap() {
        let Name::Log(name) = Name::parse(&entry.name) else { continue };
        let opened = LogReader::open(disk, &path(&entry.name), name).unwrap();
        let OpenLog::Log(mut reader) = opened else { panic!("{what}: {opened:?}") };
        let end = loop {
            match reader.step().unwrap() {
                Step::Record(_) => {}
                end => break end,
            }
        };
        assert_eq!(end, Step::End, "{what}: {}", entry.name);
        let (from, to) = (reader.position(), reader.limit());
        let beyond = scan_beyond(reader.file().clone(), from, to, name).unwrap();
        assert_eq!(beyond, Beyond::default(), "{what}: {}", entry.name);
    }
}

#[test]
fn every_crash_state_recovers_to_a_prefix_with_all_acknowledged_writes() {
    let trees = reference();
    let whole = SimDisk::new(512);
    run(&whole, &mut Zxid(0)).unwrap();
    let (mut states, mut exhaustive) = (0, 0);
    for sector in [512, 4096] {
        for call in 0..whole.calls() {
            let (disk, mut acked) = (SimDisk::new(sector), Zxid(0));
            disk.cut_power_at(call);
            let _ = run(&disk, &mut acked);
            let (visited, all) = disk.crash_states(250, call, |after| {
                check(&after, acked, &trees, &format!("power cut at call {call}"));
            });
            states += visited;
            exhaustive += u64::from(all);
        }
    }
    println!("{states} crash states of {} calls; of {exhaustive} calls all", 2 * whole.calls());
    assert!(states >= 10_000 && whole.calls() >= 150);
}

#[test]
fn a_second_crash_while_recovering_changes_nothing() {
    let trees = reference();
    let whole = SimDisk::new(512);
    run(&whole, &mut Zxid(0)).unwrap();
    let mut seed = Seed::new(7);
    for call in 0..whole.calls() {
        let (disk, mut acked) = (SimDisk::new(512), Zxid(0));
        disk.cut_power_at(call);
        let _ = run(&disk, &mut acked);
        let first = disk.crash(&mut seed);
        // What a server showed after the first crash must be there after the second.
        let recovering = first.fork();
        recovering.cut_power_at(seed.next_u64() % 60);
        let shown = Server::simulated(&recovering).map_or(acked, |server| server.tree.last);
        check(&recovering.crash(&mut seed), shown, &trees, &format!("second crash, call {call}"));
    }
}

#[test]
fn what_was_shown_after_a_kill_survives_a_loss_of_power() {
    let trees = reference();
    let whole = SimDisk::new(512);
    run(&whole, &mut Zxid(0)).unwrap();
    for call in 0..whole.calls() {
        let (disk, mut acked) = (SimDisk::new(512), Zxid(0));
        disk.cut_power_at(call);
        let _ = run(&disk, &mut acked);
        // The page cache outlives the process, not the power.
        let killed = disk.fork();
        let shown = Server::simulated(&killed).unwrap().tree.last;
        killed.crash_states(4, call, |after| {
            check(&after, shown, &trees, &format!("killed at call {call}, then no power"));
        });
    }
}

#[test]
fn a_kill_loses_nothing_at_all() {
    let trees = reference();
    let whole = SimDisk::new(512);
    run(&whole, &mut Zxid(0)).unwrap();
    for call in 0..whole.calls() {
        let (disk, mut acked) = (SimDisk::new(512), Zxid(0));
        disk.cut_power_at(call);
        let _ = run(&disk, &mut acked);
        check(&disk.fork(), acked, &trees, &format!("killed at call {call}"));
    }
}

#[test]
fn every_failing_call_is_an_error_or_harmless_and_loses_nothing() {
    let trees = reference();
    let whole = SimDisk::new(512);
    run(&whole, &mut Zxid(0)).unwrap();
    let mut completed = BTreeMap::new();
    for errno in [EIO, ENOSPC, EMFILE] {
        for call in 0..whole.calls() {
            let (disk, mut acked) = (SimDisk::new(512), Zxid(0));
            disk.fail(call, errno);
            let result = run(&disk, &mut acked);
            *completed.entry(errno).or_insert(0) += u64::from(result.is_ok());
            let what = format!("call {call} failed with {errno}");
            check(&disk.fork(), acked, &trees, &what);
            disk.crash_states(6, call, |after| check(&after, acked, &trees, &what));
        }
    }
    // What begins a file is tried again when no descriptor was left.
    assert!(completed[&EMFILE] >= completed[&EIO] + 20, "{completed:?}");
}

#[test]
fn what_was_shown_after_a_failed_sync_survives_a_loss_of_power() {
    let trees = reference();
    let whole = SimDisk::new(512);
    run(&whole, &mut Zxid(0)).unwrap();
    for call in 0..whole.calls() {
        let (disk, mut acked) = (SimDisk::new(512), Zxid(0));
        disk.fail(call, EIO);
        let _ = run(&disk, &mut acked);
        // The pages are there and count as clean: they are read, and no sync writes them.
        let killed = disk.fork();
        let Ok(server) = Server::simulated(&killed) else { continue };
        let shown = server.tree.last;
        killed.crash_states(4, call, |after| {
            check(&after, shown, &trees, &format!("call {call} failed, killed, then no power"));
        });
    }
}

#[test]
fn a_failing_read_is_never_taken_for_damage_or_for_nothing() {
    let disk = SimDisk::new(512);
    run(&disk, &mut Zxid(0)).unwrap();
    let whole = disk.fork();
    let (recovered, tree) = open(&whole).unwrap();
    for call in 0..whole.calls() {
        let disk = disk.fork();
        disk.fail(call, EIO);
        match open(&disk) {
            Err(RecoverError::File(_)) => {}
            Err(other) => panic!("call {call}: {other}"),
            Ok((found, same)) => assert_eq!((found.last, &same), (recovered.last, &tree)),
        }
    }
}
