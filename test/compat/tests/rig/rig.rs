//! Faults carried out on real members, and who of them can reach a quorum meanwhile.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::time::{Duration, Instant};

use compat::load::Load;
use compat::worker::tick;
use zk_testkit::history::CutOff;
use zk_testkit::{Engine, Ensemble, Error, Flow, Network, Way};

use crate::disk::{Disk, disks};
use crate::plan::{Fault, Faults, How, Whom};

/// Of every `zoo.cfg`: short times, and small logs, so that snapshots are under way at many faults.
const LINES: &[&str] = &["initLimit=10", "syncLimit=3", "maxSessionTimeout=60000", "snapCount=300"];

/// `initLimit` ticks of half a second.
pub(crate) const INIT_LIMIT: Duration = Duration::from_secs(5);

/// A fault under way, of members by their sids.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum Strike {
    Kill(i64),
    Pause(i64),
    /// In words, and way by way.
    Ways(String, BTreeMap<Way, Flow>),
    Full(i64),
}

impl fmt::Display for Strike {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Strike::Kill(sid) => write!(f, "server {sid} is killed"),
            Strike::Pause(sid) => write!(f, "server {sid} is stopped"),
            Strike::Full(sid) => write!(f, "the disk of server {sid} is full"),
            Strike::Ways(what, _) => f.write_str(what),
        }
    }
}

/// Members, a network between them, and what is wrong at present.
pub(crate) struct Rig {
    pub(crate) load: Load,
    network: Network,
    disks: Vec<(i64, Disk)>,
    active: Vec<Strike>,
    /// Who cannot reach a quorum, and since when.
    alone: BTreeMap<i64, u64>,
    pub(crate) cut_off: Vec<CutOff>,
    /// How often that was, and what they were asked meanwhile.
    pub(crate) alone_count: (usize, usize),
    pub(crate) counts: BTreeMap<String, usize>,
    /// From the end of the faults until all members served, at most.
    pub(crate) slowest: Duration,
    begun: Instant,
    pub(crate) told: Vec<String>,
}

impl Rig {
    pub(crate) fn start(engines: &[Engine], seed: u64, faults: Faults) -> Result<Rig, Error> {
        let sids: Vec<i64> = (1..).take(engines.len()).collect();
        let network = Network::new(&sids)?;
        let disks = match faults {
            Faults::Disks => disks(&seed.to_string(), &sids),
            Faults::All | Faults::Minorities => Vec::new(),
        };
        let own = |sid| {
            let disk = disks.iter().filter(|(of, _)| *of == sid).map(|(_, disk)| disk.line());
            network.lines(sid).into_iter().chain(disk).collect()
        };
        let load = Load::start(Ensemble::with_own_lines(engines, LINES, own)?, seed)?;
        Ok(Rig {
            load,
            network,
            disks,
            active: Vec::new(),
            alone: BTreeMap::new(),
            cut_off: Vec::new(),
            alone_count: (0, 0),
            counts: BTreeMap::new(),
            slowest: Duration::ZERO,
            begun: Instant::now(),
            told: Vec::new(),
        })
    }

    /// Adds a line to the time line.
    pub(crate) fn tell(&mut self, what: &str) {
        self.told.push(format!("{:9.3} s  {what}", self.begun.elapsed().as_secs_f64()));
    }

    fn is_up(&self, sid: i64) -> bool {
        let strikes = [Strike::Kill(sid), Strike::Pause(sid)];
        !self.active.iter().any(|strike| strikes.contains(strike))
    }

    /// Who leads, if somebody says so; members that are stopped are not asked.
    fn leader(&self) -> Option<i64> {
        let leads = |sid: &i64| self.load.ensemble.mode(*sid).as_deref() == Some("leader");
        self.load.ensemble.sids().into_iter().filter(|sid| self.is_up(*sid)).find(leads)
    }

    /// Puts sids into a planned fault. Nobody may lead at the moment: then the largest sid does,
    /// who is the likeliest to.
    pub(crate) fn aim(&mut self, fault: &Fault) -> Strike {
        *self.counts.entry(fault.kind()).or_default() += 1;
        let sids = self.load.ensemble.sids();
        let leader = self.leader().unwrap_or(sids.len() as i64);
        let others: Vec<i64> = sids.iter().copied().filter(|sid| *sid != leader).collect();
        let find = |whom: &Whom| match whom {
            Whom::Leader => leader,
            Whom::Other(n) => others[*n as usize % others.len()],
        };
        match fault {
            Fault::Kill(whom) => Strike::Kill(find(whom)),
            Fault::Pause(whom) => Strike::Pause(find(whom)),
            Fault::Full(whom) => Strike::Full(find(whom)),
            Fault::Between(a, b, how) => apart(&[find(a)], &[find(b)], *how),
            Fault::Apart(minority, how) => {
                let side: BTreeSet<i64> = minority.iter().map(find).collect();
                let rest: Vec<i64> = sids.into_iter().filter(|sid| !side.contains(sid)).collect();
                apart(&Vec::from_iter(side), &rest, *how)
            }
        }
    }

    /// A fault begins; one of a member that is not up any more does not.
    pub(crate) fn begin(&mut self, strike: &Strike) -> Result<bool, Error> {
        let possible = match strike {
            Strike::Kill(sid) | Strike::Pause(sid) => self.is_up(*sid),
            Strike::Full(sid) => {
                let has_disk = self.disks.iter().any(|(of, _)| of == sid);
                has_disk && !self.active.contains(strike)
            }
            Strike::Ways(..) => true,
        };
        if possible {
            self.tell(&format!("begins: {strike}"));
            let active = self.active.iter().cloned().chain([strike.clone()]).collect();
            self.change(active, |rig| match strike {
                Strike::Kill(sid) => rig.load.ensemble.member(*sid)?.kill(),
                Strike::Pause(sid) => rig.load.ensemble.member(*sid)?.pause(),
                Strike::Full(sid) => rig.disk(*sid, Disk::fill),
                Strike::Ways(..) => Ok(()),
            })?;
        }
        Ok(possible)
    }

    /// A fault ends. Who was killed is started, and not waited for.
    pub(crate) fn end(&mut self, strike: &Strike) -> Result<(), Error> {
        let mut active = self.active.clone();
        let Some(at) = active.iter().position(|other| other == strike) else { return Ok(()) };
        self.tell(&format!("ends:   {strike}"));
        active.remove(at);
        self.change(active, |rig| match strike {
            Strike::Kill(sid) => rig.load.ensemble.member(*sid)?.launch(),
            Strike::Pause(sid) => rig.load.ensemble.member(*sid)?.resume(),
            Strike::Full(sid) => rig.disk(*sid, Disk::clear),
            Strike::Ways(..) => Ok(()),
        })
    }

    fn disk(&self, sid: i64, act: fn(&Disk) -> std::io::Result<()>) -> Result<(), Error> {
        let mut own = self.disks.iter().filter(|(of, _)| *of == sid);
        Ok(own.try_for_each(|(_, disk)| act(disk))?)
    }

    /// From what is wrong now to what is wrong next. Each change ends the time for which somebody
    /// is known to have no quorum: who is deaf first and mute then may have asked in the one time
    /// and been answered in the other.
    fn change(
        &mut self,
        next: Vec<Strike>,
        act: impl FnOnce(&mut Rig) -> Result<(), Error>,
    ) -> Result<(), Error> {
        self.active = next;
        let to = tick();
        let ended = std::mem::take(&mut self.alone).into_iter();
        self.cut_off.extend(ended.map(|(server, from)| CutOff { server, from, to }));
        act(self)?;
        self.network.set(&self.flows());
        let from = tick();
        self.alone = self.without_quorum().into_iter().map(|server| (server, from)).collect();
        Ok(())
    }

    /// Every way with what is worst of all that is wrong.
    fn flows(&self) -> BTreeMap<Way, Flow> {
        let mut flows = BTreeMap::<Way, Flow>::new();
        let all = self.active.iter().filter_map(|strike| match strike {
            Strike::Ways(_, ways) => Some(ways),
            _ => None,
        });
        for (way, flow) in all.flatten() {
            let worst = flows.entry(*way).or_insert(*flow);
            *worst = (*worst).max(*flow);
        }
        flows
    }

    /// Who can have nothing committed: there is no leader that hears a quorum and is heard by it,
    /// and by this member.
    fn without_quorum(&self) -> Vec<i64> {
        let flows = self.flows();
        let passes = |way| matches!(flows.get(&way), None | Some(Flow::Passes(_)));
        let talk = |a: i64, b: i64| a == b || passes((a, b)) && passes((b, a));
        let sids = self.load.ensemble.sids();
        let up: Vec<i64> = sids.iter().copied().filter(|sid| self.is_up(*sid)).collect();
        let leads = |a: i64| up.iter().filter(|b| talk(a, **b)).count() > sids.len() / 2;
        let is_served =
            |sid: &i64| up.contains(sid) && up.iter().any(|l| leads(*l) && talk(*l, *sid));
        sids.iter().copied().filter(|sid| !is_served(sid)).collect()
    }

    /// Counts requests to members that could have nothing committed, while they could not.
    pub(crate) fn count_alone(&mut self) {
        self.alone_count.0 += self.cut_off.len();
        for entry in self.load.workers.iter().flat_map(|worker| &worker.entries) {
            let is_within = |time: &CutOff| {
                time.server == entry.server && (time.from..time.to).contains(&entry.started)
            };
            self.alone_count.1 += usize::from(self.cut_off.iter().any(is_within));
        }
    }

    /// Members that are up, by what is known here, and have ended all the same.
    pub(crate) fn ended(&mut self) -> Result<Vec<String>, Error> {
        let mut ended = Vec::new();
        for sid in self.load.ensemble.sids() {
            if let Some(status) = self.load.ensemble.member(sid)?.exit_status()? {
                ended.push(format!("server {sid} has ended: {status}"));
            }
        }
        Ok(ended)
    }

    /// Whether a member's ERROR is about what was done to its disk.
    pub(crate) fn is_expected(&self, complaint: &str) -> bool {
        let full = ["the disk of the transaction log is full", "the disk of the log is full"];
        !self.disks.is_empty() && full.iter().any(|text| complaint.contains(text))
    }

    /// The ends of all logs.
    pub(crate) fn logs(&mut self, lines: usize) -> String {
        let sids = self.load.ensemble.sids();
        let tail = |sid| Some((sid, self.load.ensemble.member(sid).ok()?.log_tail(lines)));
        let tails = sids.into_iter().filter_map(tail);
        tails.map(|(sid, tail)| format!("--- server {sid}\n{tail}\n")).collect()
    }
}

/// What is wrong between two sides.
fn apart(one: &[i64], other: &[i64], how: How) -> Strike {
    let mut ways = BTreeMap::new();
    for (a, b) in one.iter().flat_map(|a| other.iter().map(move |b| (*a, *b))) {
        let (there, back) = match how {
            How::Cut => (Some(Flow::Cut), Some(Flow::Cut)),
            How::Silent => (Some(Flow::Silent), Some(Flow::Silent)),
            How::Deaf => (None, Some(Flow::Silent)),
            How::Mute => (Some(Flow::Silent), None),
            How::Slow(by) => (Some(Flow::Passes(by)), Some(Flow::Passes(by))),
        };
        ways.extend(there.map(|flow| ((a, b), flow)));
        ways.extend(back.map(|flow| ((b, a), flow)));
    }
    let what = match how {
        How::Cut => format!("{one:?} and {other:?} are cut off from each other"),
        How::Silent => format!("{one:?} and {other:?} hear nothing of each other"),
        How::Deaf => format!("{one:?} hear nothing of {other:?}"),
        How::Mute => format!("{other:?} hear nothing of {one:?}"),
        How::Slow(by) => format!("{one:?} and {other:?} hear each other {by:?} later"),
    };
    Strike::Ways(what, ways)
}
