//! Several servers in turn, round after round (A B C A B C ...), on the same loads, with the same
//! zoo.cfg; then medians, ratios and goals.

pub mod about;
pub mod disk;
pub mod ensemble;
pub mod failover;
pub mod goals;
pub mod hostile;
pub mod jobs;
pub mod rejoin;
pub mod report;
pub mod results;
pub mod running;
pub mod server;
pub mod snapshots;
pub mod znodes;

use std::path::PathBuf;
use std::time::Duration;

use crate::error::{Error, Result};
use crate::loads::Check;
use crate::metric::{Metric, Values, megabytes, milliseconds};
use crate::net;
use crate::proc::rss_bytes;
use crate::run::{self, Timing};
use crate::spec::{Pace, Spec};
use disk::Disk;
use ensemble::Ensemble;
use jobs::Job;
use results::{Results, Run};
use server::{Host, Server};

/// What an unwarmed JVM must have done before it is measured. Apache's own code is the same for
/// all reads and for all writes, so a few kinds are enough.
const WARM_UP: [&str; 5] =
    ["mixed50-16x32", "set-64x1", "createdelete-16x8", "multi10-4x4", "churn-8"];

/// What to compare, and how.
#[derive(Clone, Debug)]
pub struct Options {
    /// In the order of each round.
    pub servers: Vec<Server>,
    /// In the order of each round.
    pub jobs: Vec<Job>,
    /// Members of each server's ensemble; 1 is a standalone server.
    pub members: usize,
    /// How often.
    pub rounds: u32,
    /// Of each load.
    pub timing: Timing,
    /// How long a JVM is warmed up after its start.
    pub jvm_warm: Duration,
    /// How long at most a turn waits for the disk to be as fast as at its best.
    pub settle: Duration,
    /// How servers are started.
    pub host: Host,
    /// Where results.json and results.md go; written again after every round.
    pub out: PathBuf,
}

/// Measures, and writes the results.
pub fn compare(options: &Options) -> Result<Results> {
    if let Some(alone) = options.servers.iter().find(|server| !server.can_have(options.members)) {
        return Err(Error::BadServer { name: format!("{} of an ensemble", alone.name) });
    }
    let mut results = Results { about: about::about(options)?, runs: Vec::new() };
    let mut disk = Disk::of(&options.host.dir)?;
    for round in 1..=options.rounds {
        for server in &options.servers {
            disk.settle(options.settle)?;
            let (results, disk) = (&mut results, &mut disk);
            Turn { options, server, round, results, disk, running: None }.run();
        }
        results.about.load_average_after = crate::proc::load_average()?;
        results.write(&options.out)?;
    }
    Ok(results)
}

/// One server in one round.
struct Turn<'a> {
    options: &'a Options,
    server: &'a Server,
    round: u32,
    results: &'a mut Results,
    disk: &'a mut Disk,
    running: Option<Ensemble<'a>>,
}

impl<'a> Turn<'a> {
    /// Jobs that need a server of their own come after those that share one. A job that fails is
    /// written down and the others go on, on a new server.
    fn run(&mut self) {
        let jobs = self.options.jobs.iter().filter(|job| job.applies_to(self.server));
        let (own, shared): (Vec<Job>, Vec<Job>) = jobs.partition(|job| job.needs_own_server());
        for job in shared {
            let outcome = self.shared(&job);
            // A server that answered wrongly or not at all is in an unknown state.
            let failed = if outcome.is_err() { self.running.take() } else { None };
            self.note(&job, outcome, failed.map(|running| running.last_words()));
        }
        if let Some(running) = self.running.take() {
            running.stop();
        }
        for job in own {
            let outcome = self.disk.settle(self.options.settle).and_then(|()| self.own(&job));
            self.note(&job, outcome, None);
        }
    }

    fn shared(&mut self, job: &Job) -> Result<Values> {
        if self.running.as_mut().is_none_or(|running| !running.is_alive()) {
            self.running = None;
            let running = self.start()?;
            self.warm_up(&running)?;
            self.running = Some(running);
        }
        let running = self.running.as_mut().expect("started above");
        let fsync_us = self.disk.look()?;
        let timing = &self.options.timing;
        let mut values = match job {
            Job::Load(spec) => run::run(spec, &running.target(), &of_pace(spec, timing))?,
            Job::At { role, spec } => {
                run::run(spec, &running.target_at(*role)?, &of_pace(spec, timing))?
            }
            Job::Lose(loss) => failover::run(running, *loss, &run::fresh_root(job))?,
            Job::Empty | Job::Hostile | Job::Znodes { .. } | Job::Rejoin { .. } => {
                return Err(Error::BadLoad {
                    name: job.to_string(),
                    why: "it needs its own server",
                });
            }
        };
        values.put(Metric::FsyncUs, fsync_us);
        Ok(values)
    }

    fn own(&mut self, job: &Job) -> Result<Values> {
        let Options { host, members, timing, .. } = self.options;
        match job {
            Job::Empty => self.empty(),
            Job::Hostile => self.hostile(),
            Job::Znodes { count } => znodes::run_all(host, self.server, *count),
            Job::Rejoin { count } => rejoin::run_all(host, self.server, *members, *count),
            Job::Load(spec) | Job::At { spec, .. } => {
                let running = self.start()?;
                let values = run::run(spec, &running.target(), timing)?;
                running.stop();
                Ok(values)
            }
            Job::Lose(_) => {
                Err(Error::BadLoad { name: job.to_string(), why: "it shares a server with loads" })
            }
        }
    }

    fn empty(&self) -> Result<Values> {
        let Options { host, members, .. } = self.options;
        let mut running = Ensemble::start(host, self.server, *members, &[])?;
        let mut values = Values::default();
        if *members == 1 {
            values.put(Metric::FirstAnswerMs, milliseconds(running.first_answer("/")?));
        } else {
            values.put(Metric::FirstWriteMs, milliseconds(running.first_write()?));
            running.first_answer("/")?;
        }
        values.put(Metric::RssMb, megabytes(rss_bytes(&running.target().pids)?));
        running.stop();
        Ok(values)
    }

    fn hostile(&self) -> Result<Values> {
        let admin = net::free_ports(1)?[0];
        let mut running = self.start_with(&hostile::lines(admin))?;
        self.warm_up(&running)?;
        let timing = &self.options.timing;
        let timing = Timing { measured: timing.measured * OPEN_LOOPS, ..*timing };
        let values = hostile::run(&mut running, admin, &timing)?;
        running.stop();
        Ok(values)
    }

    /// A new server whose members all serve.
    fn start(&self) -> Result<Ensemble<'a>> {
        self.start_with(&[])
    }

    fn start_with(&self, further: &[String]) -> Result<Ensemble<'a>> {
        let Options { host, members, .. } = self.options;
        let mut running = Ensemble::start(host, self.server, *members, further)?;
        running.first_answer("/")?;
        Ok(running)
    }

    fn warm_up(&self, running: &Ensemble<'_>) -> Result<()> {
        if !self.server.is_java() {
            return Ok(());
        }
        let each = self.options.jvm_warm / WARM_UP.len() as u32;
        let timing = Timing { warm: Duration::ZERO, measured: each };
        for name in WARM_UP {
            run::run(&name.parse::<Spec>()?, &running.target(), &timing)?;
        }
        Ok(())
    }

    fn note(&mut self, job: &Job, outcome: Result<Values>, last_words: Option<String>) {
        let (values, failed) = match (outcome, last_words) {
            (Ok(values), _) => (values, None),
            (Err(error), Some(words)) if !words.is_empty() => {
                (Values::default(), Some(format!("{error}; its log ends: {words}")))
            }
            (Err(error), _) => (Values::default(), Some(error.to_string())),
        };
        let run = Run {
            load: job.to_string(),
            server: self.server.name.clone(),
            round: self.round,
            values,
            failed,
        };
        eprintln!("{}", report::progress(&run, self.options.rounds));
        self.results.runs.push(run);
    }
}

/// The tail of an open loop needs samples: at 500 a second three seconds would say nothing of
/// p99.9. So it takes so many times longer than others.
const OPEN_LOOPS: u32 = 3;

fn of_pace(spec: &Spec, timing: &Timing) -> Timing {
    match spec.kind.pace() {
        Some(Pace::Open { .. }) => Timing { measured: timing.measured * OPEN_LOOPS, ..*timing },
        _ => *timing,
    }
}

/// What is checked of a server's answers.
fn check_of(server: &Server) -> Check {
    if server.keeps_nothing() { Check::Framing } else { Check::Content }
}
