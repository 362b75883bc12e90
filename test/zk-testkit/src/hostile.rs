//! Hostile clients: what strangers can do to a server without breaking in.
//!
//! An [`Attack`] is a small function that strikes at a fixed rate, and may keep connections between
//! two strikes. [`Attackers`] lets several strike at once, each in a thread of its own.
//! **Invariant:** an attack judges nobody. It says whether a strike landed: whether what it had to
//! send went out, and the answer that it waits for came. A test of which no strike lands has tested
//! nothing.

mod floods;
mod frames;
mod ground;
mod operators;
mod requests;
mod sessions;
mod watches;

pub use floods::{Flood, Flooders};
pub use ground::Ground;

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use crate::{Connection, Error};

/// One way to harm a server.
#[derive(Clone, Copy, Debug)]
pub struct Attack {
    /// In reports.
    pub name: &'static str,
    /// Between two strikes.
    every: Duration,
    /// So many connections stay open; the oldest is dropped for a new one.
    kept: usize,
    strike: fn(&Ground, &mut Kept) -> Result<(), Error>,
}

const fn attack(
    name: &'static str,
    every_ms: u64,
    kept: usize,
    strike: fn(&Ground, &mut Kept) -> Result<(), Error>,
) -> Attack {
    Attack { name, every: Duration::from_millis(every_ms), kept, strike }
}

/// All of them, with rates that a few clients reach easily.
const ATTACKS: &[Attack] = &[
    attack("random bytes", 20, 16, frames::random_bytes),
    attack("frames of bad lengths", 50, 0, frames::bad_lengths),
    attack("frames that never end", 100, 64, frames::endless),
    attack("connections that say nothing", 20, 300, frames::silence),
    attack("reads of a long znode, not read", 250, 32, requests::deaf_reads),
    attack("multiReads of 100 MB", 250, 0, requests::large_multi_reads),
    attack("multiReads of 4 MB, not read", 250, 16, requests::deaf_multi_reads),
    attack("multis of 20,000 checks", 500, 0, requests::large_multis),
    attack("children of a wide znode, not read", 250, 16, requests::deaf_children),
    attack("watches on everything, not read", 250, 60, watches::deaf),
    attack("writes that watches on everything tell", 10, 1, watches::noise),
    attack("thousands of watches", 1_000, 4, watches::thousands),
    attack("setWatches of many paths", 1_000, 2, watches::set_again),
    attack("setWatches of impossible counts", 100, 1, watches::impossible_counts),
    attack("more identities than may be", 100, 0, sessions::identities),
    attack("sessions without end", 5, 0, sessions::without_end),
    attack("connections that go at once", 2, 0, sessions::come_and_go),
    attack("requests behind closeSession", 50, 0, sessions::after_close),
    attack("four-letter words", 1, 64, operators::words),
    attack("commands over HTTP", 5, 16, operators::commands),
    attack("HTTP, not read or half a head", 50, 100, operators::deaf),
];

/// The attacks whose names contain a text.
#[must_use]
pub fn attacks(text: &str) -> Vec<Attack> {
    ATTACKS.iter().filter(|attack| attack.name.contains(text)).copied().collect()
}

/// The attacks that `ZKFLEET_ATTACK` names, or all of them.
#[must_use]
pub fn wanted() -> Vec<Attack> {
    attacks(&std::env::var("ZKFLEET_ATTACK").unwrap_or_default())
}

/// What an attack has between two strikes.
#[derive(Debug)]
struct Kept {
    connections: VecDeque<Connection>,
    most: usize,
    /// Strikes before this one.
    turn: u64,
}

impl Kept {
    /// Leaves a connection open, until younger ones take its place.
    fn keep(&mut self, connection: Connection) {
        self.connections.push_back(connection);
        while self.connections.len() > self.most {
            self.connections.pop_front();
        }
    }

    /// The only connection of an attack that needs no more, if the server has left it open: the
    /// attack takes it out, and keeps it again if all went well.
    fn take(&mut self) -> Option<Connection> {
        self.connections.pop_front()
    }

    /// One of several things to do, in turns.
    fn choose<T: Copy>(&self, of: &[T]) -> T {
        of[(self.turn % of.len() as u64) as usize]
    }
}

/// What an attack has done.
#[derive(Clone, Debug)]
pub struct Tally {
    /// The attack.
    pub name: &'static str,
    /// Strikes that were done.
    pub landed: u64,
    /// Strikes that were not.
    pub missed: u64,
    /// Why the last of these was not.
    pub why: Option<String>,
}

/// Attacks under way. Dropping this ends them.
#[derive(Debug)]
pub struct Attackers {
    stop: Arc<AtomicBool>,
    threads: Vec<JoinHandle<Tally>>,
}

impl Attackers {
    /// Begins these attacks. Strangers have processors of their own: with a niceness above 0 theirs
    /// are missed less by those who are measured here.
    #[must_use]
    pub fn start(ground: &Ground, attacks: &[Attack], niceness: i32) -> Attackers {
        let stop = Arc::new(AtomicBool::new(false));
        let begin = |attack: &Attack| {
            let (attack, ground, stop) = (*attack, ground.clone(), Arc::clone(&stop));
            thread::spawn(move || {
                // Of this thread alone; where it may not be had, all are equal.
                let _ = rustix::process::nice(niceness);
                attack.run(&ground, &stop)
            })
        };
        let threads = attacks.iter().map(begin).collect();
        Attackers { stop, threads }
    }

    /// Ends them and closes all their connections; what each has done.
    #[must_use]
    pub fn finish(mut self) -> Vec<Tally> {
        self.join()
    }

    fn join(&mut self) -> Vec<Tally> {
        self.stop.store(true, Ordering::Relaxed);
        let join = |thread: JoinHandle<Tally>| thread.join().expect("an attack returns errors");
        self.threads.drain(..).map(join).collect()
    }
}

impl Drop for Attackers {
    fn drop(&mut self) {
        self.join();
    }
}

impl Attack {
    fn run(&self, ground: &Ground, stop: &AtomicBool) -> Tally {
        let mut kept = Kept { connections: VecDeque::new(), most: self.kept, turn: 0 };
        let mut tally = Tally { name: self.name, landed: 0, missed: 0, why: None };
        let mut due = Instant::now();
        while !stop.load(Ordering::Relaxed) {
            match (self.strike)(ground, &mut kept) {
                Ok(()) => tally.landed += 1,
                Err(error) => {
                    tally.missed += 1;
                    tally.why = Some(error.to_string());
                }
            }
            kept.turn += 1;
            due += self.every;
            // What a slow server has kept it from is not made up for.
            due = due.max(Instant::now().checked_sub(self.every).unwrap_or(due));
            thread::sleep(due.saturating_duration_since(Instant::now()));
        }
        tally
    }
}
