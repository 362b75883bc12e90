//! Hostile clients do what strangers can do to a server, all of it at once, while others keep to
//! the rules: these get no error, lose no session and miss no event; the server keeps its memory,
//! and stops as it should. Nothing is timed here; `zkfleet-bench compare --loads hostile` does
//! that.
//!
//! `ZKFLEET_ATTACK=TEXT` lets only attacks happen whose names contain TEXT.

mod good;
mod memory;

use std::net::Ipv4Addr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use zk_proto::request::CreateMode;
use zk_testkit::hostile::{Attack, Attackers, Flood, Flooders, Ground, Tally, attacks, wanted};
use zk_testkit::{Client, Engine, Error, PATIENCE, Server, ServerConfig, free_port};

use memory::Memory;

/// How long attacks go on: what they fill is full by then.
const ATTACKED_FOR: Duration = Duration::from_secs(10);
/// Until what they have left must be gone: their sessions live for ten seconds.
const GONE_AFTER: Duration = Duration::from_secs(20);
/// So many flood a server for so long, and so many writes are the least that somebody else gets
/// done meanwhile: each may wait for a large one of theirs, on a busy machine.
const FLOODERS: usize = 24;
const FLOODED_FOR: Duration = Duration::from_secs(6);
const LEAST_SERVED: usize = 6;
const LOOK: Duration = Duration::from_millis(100);

/// One server at a time: memory and processors are what this is about.
static TURN: Mutex<()> = Mutex::new(());

/// A server, and what is wrong with it.
struct Bout {
    server: Server,
    ground: Ground,
    pid: u32,
    wrongs: Vec<String>,
}

impl Bout {
    /// A server with the default limits, but for that of connections from one address, where all
    /// attackers are; with an admin server, and all four-letter words. A longer queue in front of
    /// its door lets attackers in who would wait for a second when it overflows.
    fn start(lines: &[&str]) -> Result<Bout, Error> {
        let mut config = ServerConfig::new(Engine::Ours);
        let admin = free_port()?;
        config.lines.extend([
            "admin.enableServer=true".to_owned(),
            "admin.serverAddress=127.0.0.1".to_owned(),
            format!("admin.serverPort={admin}"),
            "clientPortListenBacklog=1024".to_owned(),
        ]);
        config.lines.extend(lines.iter().map(|line| (*line).to_owned()));
        let server = Server::start(config)?;
        let ground = Ground { client: server.addr(), admin: (Ipv4Addr::LOCALHOST, admin).into() };
        ground.prepare()?;
        let pid = server.pid().ok_or(Error::Stopped)?;
        Ok(Bout { server, ground, pid, wrongs: Vec::new() })
    }

    /// Good clients and hostile ones, side by side; then memory and metrics are looked at.
    fn fight(&mut self, attacks: &[Attack], most: Duration) -> Result<(), Error> {
        let before = Memory::of(self.pid)?;
        let stop = AtomicBool::new(false);
        let wrongs = thread::scope(|scope| {
            let good = good::start(scope, &self.ground, &stop)?;
            let attackers = Attackers::start(&self.ground, attacks, 0);
            self.wait(most, |now| before.taken(now).is_none());
            let tallies = attackers.finish();
            stop.store(true, Ordering::Relaxed);
            let wrongs = good.into_iter().filter_map(|client| client.join().expect("no panics"));
            Ok::<_, Error>(wrongs.chain(tallies.iter().filter_map(missed)).collect::<Vec<_>>())
        })?;
        self.wrongs.extend(wrongs);
        if let Some(status) = self.server.exit_status()? {
            self.wrongs.push(format!("the server ended: {status}"));
            return Ok(());
        }
        let after = self.wait(GONE_AFTER, |now| before.left(now).is_some());
        println!("memory: {before}, and after the attacks {after}");
        self.wrongs.extend(before.taken(after));
        self.wrongs.extend(before.left(after));
        if !good::has_metrics(self.ground.admin)? {
            self.wrongs.push("the server has no metrics any more".to_owned());
        }
        Ok(())
    }

    /// Waits so long, and no longer than it goes on; the memory at the end.
    fn wait(&self, most: Duration, goes_on: impl Fn(Memory) -> bool) -> Memory {
        let began = Instant::now();
        loop {
            // Of a process that has ended there is none.
            let now = Memory::of(self.pid).unwrap_or_default();
            if began.elapsed() > most || !goes_on(now) {
                return now;
            }
            thread::sleep(LOOK);
        }
    }

    /// Stops the server; what was wrong, and the end of its log.
    fn stop(mut self) -> Result<(Vec<String>, String), Error> {
        let tail = self.server.log_tail(20);
        let status = self.server.terminate()?;
        if status.code() != Some(0) {
            self.wrongs.push(format!("the server stopped with {status}"));
        }
        self.wrongs.extend(self.server.complaints());
        Ok((self.wrongs, tail))
    }
}

/// An attack of which no strike lands tests nothing.
fn missed(tally: &Tally) -> Option<String> {
    let Tally { name, landed, missed, why } = tally;
    println!("{landed:>7} strikes, and {missed} that missed: {name}");
    (*landed == 0).then(|| format!("no strike landed: {name}, {why:?}"))
}

#[test]
fn good_clients_do_not_feel_hostile_ones() -> Result<(), Error> {
    let _turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
    let mut bout = Bout::start(&[])?;
    bout.fight(&wanted(), ATTACKED_FOR)?;
    let (wrongs, tail) = bout.stop()?;
    assert!(wrongs.is_empty(), "{wrongs:#?}\n{tail}");
    Ok(())
}

/// Whoever sends without a pause, and as much as may be under way, keeps nobody else from being
/// served: no session expires, and whoever asks for little gets on.
#[test]
fn nobody_is_kept_from_being_served() -> Result<(), Error> {
    let _turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
    for flood in Flood::ALL {
        let mut bout = Bout::start(&[])?;
        let stop = AtomicBool::new(false);
        let (served, wrongs) = thread::scope(|scope| {
            let good = good::start(scope, &bout.ground, &stop)?;
            let flooders = Flooders::start(&bout.ground, flood, FLOODERS)?;
            let mut lone = Client::connect(bout.ground.client, good::SESSION_TIMEOUT_MS)?;
            let (began, mut served) = (Instant::now(), 0);
            while began.elapsed() < FLOODED_FOR {
                lone.create("/lone", b"", CreateMode::PersistentSequential)?;
                served += 1;
            }
            stop.store(true, Ordering::Relaxed);
            drop(flooders);
            let wrongs = good.into_iter().filter_map(|client| client.join().expect("no panics"));
            Ok::<_, Error>((served, wrongs.collect::<Vec<_>>()))
        })?;
        bout.wrongs.extend(wrongs);
        println!("{served} lone writes under {flood:?}");
        if served < LEAST_SERVED {
            bout.wrongs.push(format!("{served} writes in {FLOODED_FOR:?}"));
        }
        let (wrongs, tail) = bout.stop()?;
        assert!(wrongs.is_empty(), "{flood:?}: {wrongs:#?}\n{tail}");
    }
    Ok(())
}

/// The test of the test: a server that lets any amount wait for clients is caught.
#[test]
fn a_server_without_limits_is_caught() -> Result<(), Error> {
    let _turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
    let mut bout = Bout::start(&["maxUnsentBytes=0", "maxUnsentBytesOfAll=0"])?;
    // It ends when too much has been taken.
    bout.fight(&attacks("everything"), PATIENCE)?;
    let wrongs = &bout.wrongs;
    assert!(wrongs.iter().any(|wrong| wrong.starts_with("attackers took")), "{wrongs:?}");
    Ok(())
}
