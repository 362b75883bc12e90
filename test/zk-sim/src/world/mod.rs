//! A world of one member and its clients. One seed decides everything that happens in it.

mod app;
pub(crate) mod client;
mod clients;
mod member;
mod mutate;
mod net;
mod reading;
mod schedule;
mod snapshots;
mod workload;

use crate::invariants::{Judge, Violation};
use crate::model::password::SECRET;
use crate::record::{Now, Record};
use crate::rng::Rng;
use crate::settings::{Mutant, Odds, Settings};
use crate::storage::{Files, Found, List, Refused, Storage, picture};
use app::App;
use client::Client;
use member::{Member, tree_options};
use net::Net;
use std::collections::{BTreeMap, BTreeSet};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::rc::Rc;
use workload::Workload;
use zk_proto::SessionId;
use zk_session::password::Passwords;

/// Why a run ended before its time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Stop(Violation);

/// What a run came to.
#[derive(Debug)]
pub struct Outcome {
    /// The seed.
    pub seed: u64,
    /// What did not hold, if anything.
    pub violation: Option<Violation>,
    /// All that happened.
    pub history: Vec<Record>,
    /// Hash of all that happened.
    pub hash: u64,
    /// How often rare things happened, by name.
    pub marks: BTreeMap<&'static str, u64>,
    /// How the world was made.
    pub settings: Settings,
    /// How many effects of the pipeline were to be carried out.
    pub effects: u64,
    /// See [`RunOptions::crash_at`].
    pub crash_at: Option<u64>,
}

impl Outcome {
    /// What to tell whoever started the run: what is wrong and how to see it again.
    #[must_use]
    pub fn report(&self) -> Option<String> {
        let violation = self.violation.as_ref()?;
        let mut text = format!("seed {}, record {}: {violation}\n", self.seed, self.history.len());
        let from = self.history.len().saturating_sub(12);
        for (at, record) in self.history.iter().enumerate().skip(from) {
            text += &format!("{at:6} {record}\n");
        }
        let crash_at = self.crash_at.map(|at| format!("ZKFLEET_SIM_CRASH_AT={at} "));
        text += &format!(
            "replay it with: {}ZKFLEET_SIM_SEED={} cargo test -p zk-sim --test seeds one -- \
             --nocapture",
            crash_at.unwrap_or_default(),
            self.seed
        );
        Some(text)
    }
}

/// How a run is made.
#[derive(Clone, Copy, Debug, Default)]
pub struct RunOptions {
    /// A fault to plant.
    pub mutant: Option<Mutant>,
    /// Judge by the invariant of this name alone.
    pub only: Option<&'static str>,
    /// Print each record as it happens.
    pub print: bool,
    /// The run is short, disk and process do nothing wrong, and the process dies once, before this
    /// effect of the pipeline, counted from 1: a test tries all of them.
    pub crash_at: Option<u64>,
}

/// Steps of a run that is made once for each of its effects.
const SHORT: usize = 150;

/// Runs the world of a seed to its end, or until something does not hold.
#[must_use]
pub fn run(seed: u64, options: RunOptions) -> Outcome {
    let mut world = World::new(seed, options);
    let violation = world.live().err().map(|stop| stop.0);
    let mut hasher = DefaultHasher::new();
    world.history.hash(&mut hasher);
    Outcome {
        seed,
        violation,
        hash: hasher.finish(),
        history: world.history,
        marks: world.marks,
        settings: world.settings,
        effects: world.effects,
        crash_at: world.crash_at,
    }
}

/// See the module.
struct World {
    rng: Rng,
    settings: Settings,
    mutant: Option<Mutant>,
    print: bool,
    crash_at: Option<u64>,
    /// Effects so far.
    effects: u64,
    now: Now,
    storage: Box<dyn Storage>,
    member: Option<Member>,
    /// How often it has started.
    starts: u32,
    net: Net,
    clients: Vec<Client>,
    apps: Vec<App>,
    /// Time for clients: it does not begin anew with the member.
    elapsed_ms: i64,
    workload: Workload,
    /// Paths that are there, or were just now.
    known: Vec<String>,
    /// Paths that were found due for reaping.
    due: Vec<String>,
    judge: Judge,
    history: Vec<Record>,
    marks: BTreeMap<&'static str, u64>,
    /// Faults are over.
    is_calm: bool,
    /// For [`Mutant::Undead`].
    undead: Option<(SessionId, i32)>,
}

/// When the worlds begin, in ms since the Unix epoch.
const FIRST_WALL_MS: i64 = 1_700_000_000_000;

/// Makes another stream of a seed, for what came into these worlds later: the first one goes on as
/// it was. Chosen so that seeds in regressions.txt get nothing from it and keep their meaning.
const MORE: u64 = 0x6d6f_9246;

/// What never happens any more when the faults are over.
const CALM: Odds = Odds {
    crash: 0,
    harm: 0,
    leave: 0,
    nonsense: 0,
    wall_jump: 0,
    pause: 0,
    direct_read: 500,
    inspect: 0,
    fill: 0,
};

impl World {
    fn new(seed: u64, options: RunOptions) -> World {
        let mut rng = Rng::new(seed);
        let mut settings = Settings::draw(&mut rng);
        settings.draw_more(&mut Rng::new(seed ^ MORE));
        if options.crash_at.is_some() {
            settings.steps = SHORT;
            settings.odds = Odds { crash: 0, harm: 0, fill: 0, ..settings.odds };
        }
        let storage: Box<dyn Storage> = match settings.has_files {
            true => {
                let reserve_bytes = settings.reserve_bytes.unwrap_or(0);
                Box::new(Files::new(tree_options(&settings), reserve_bytes, &mut rng))
            }
            false => Box::new(List::new(tree_options(&settings))),
        };
        World {
            now: Now { monotonic_ms: 0, wall_ms: FIRST_WALL_MS + rng.between(0, 1 << 30) },
            storage,
            member: None,
            starts: 0,
            net: Net::default(),
            clients: (0..settings.clients).map(Client::new).collect(),
            apps: (0..settings.apps).map(|n| App::new(n, rng.draw(), 0)).collect(),
            elapsed_ms: 0,
            workload: Workload::new(settings.loves_watches),
            known: Vec::new(),
            due: Vec::new(),
            judge: match options.only {
                Some(name) => Judge::only(settings.terms, name),
                None => Judge::new(settings.terms),
            },
            history: Vec::new(),
            marks: BTreeMap::new(),
            is_calm: false,
            undead: None,
            mutant: options.mutant,
            print: options.print,
            crash_at: options.crash_at,
            effects: 0,
            rng,
            settings,
        }
    }

    fn odds(&self) -> Odds {
        if self.is_calm { CALM } else { self.settings.odds }
    }

    fn mutates(&mut self, mutant: Mutant, in_thousand: u32) -> bool {
        self.mutant == Some(mutant) && self.rng.chance(in_thousand)
    }

    /// Notes that something rare happened: a test asks whether everything rare happens at all.
    fn mark(&mut self, name: &'static str) {
        *self.marks.entry(name).or_default() += 1;
    }

    /// Something happened.
    fn emit(&mut self, record: Record) -> Result<(), Stop> {
        if self.print {
            println!("{:6} {record}", self.history.len());
        }
        let verdict = self.judge.see(&record);
        self.history.push(record);
        verdict.map_err(Stop)
    }

    fn fail(&self, invariant: &'static str, what: String) -> Stop {
        Stop(Violation { invariant, what })
    }

    /// The process is no more.
    fn crash(&mut self) -> Result<(), Stop> {
        let how = self.storage.crash(&mut self.rng);
        self.emit(Record::Noted(how.into()))?;
        self.member = None;
        self.due.clear();
        self.net.member_is_gone();
        self.mark("crash");
        self.emit(Record::Crashed)
    }

    /// The disk will soon do what disks do.
    fn harm(&mut self) -> Result<(), Stop> {
        let what = self.storage.harm(&mut self.rng);
        self.emit(Record::Noted(what))
    }

    /// Storage refused: the process ends, unless nobody had harmed it.
    fn refused(&mut self, refused: &Refused) -> Result<(), Stop> {
        if !self.storage.is_harmed() {
            return Err(self.fail("Z5 durability", format!("storage refuses: {refused}")));
        }
        self.mark("crash by storage");
        self.emit(Record::Noted(refused.to_string()))?;
        self.crash()
    }

    /// The rule of session passwords for the next start.
    fn passwords(&mut self, found: &Found) -> Result<Passwords, Refused> {
        let keyed = || Passwords::hmac(SECRET, []).expect("the secret is long enough");
        let is_keyed = self.settings.terms.keyed_from.is_some_and(|from| from <= self.starts);
        let live = found.sessions.iter().map(|(id, _)| *id).collect();
        let wanted = if is_keyed { keyed() } else { Passwords::apache() };
        let settled = self.storage.settle_passwords(wanted, &live)?;
        let keep = settled.legacy().map_or(0, BTreeSet::len);
        if keep > 0 {
            self.mark("sessions keep their passwords");
        }
        Ok(if self.mutant == Some(Mutant::ForgottenLegacy) && keep > 0 { keyed() } else { settled })
    }

    /// Starts the process; the disk may fail it on the way.
    fn start(&mut self) -> Result<(), Stop> {
        let may_harm = !self.is_calm && self.crash_at.is_none();
        if self.rng.chance(self.odds().harm) || (may_harm && self.rng.chance(50)) {
            self.harm()?;
        }
        let mut found = match self.storage.recover() {
            Ok(found) => found,
            Err(refused) => {
                self.mark("crash in recovery");
                return self.refused(&refused);
            }
        };
        let passwords = match self.passwords(&found) {
            Ok(passwords) => passwords,
            Err(refused) => {
                self.mark("crash in recovery");
                return self.refused(&refused);
            }
        };
        if let Some(mutant) = self.mutant {
            mutate::found(mutant, &mut found, &mut self.undead);
        }
        // A new process counts its monotonic time from its start.
        self.now.monotonic_ms = 0;
        if self.settings.forgets_time {
            self.now.wall_ms = FIRST_WALL_MS;
        }
        let picture = Rc::new(picture(&found.tree, &found.sessions));
        self.member = Some(Member::new(&self.settings, found, passwords, self.times()));
        self.starts += 1;
        self.mark("start");
        self.emit(Record::Started { now: self.now, picture })
    }
}
