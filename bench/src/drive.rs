//! Drives a load over many sessions, in a closed or an open loop, and times it.

use std::num::NonZeroU64;
use std::time::{Duration, Instant};

use hdrhistogram::Histogram;

use crate::error::{Error, Result, Wrong};
use crate::proc::{Cpu, CpuUse, Pid};
use crate::run::Target;
use crate::session::{Heard, Nanos, Sent, Sessions, Turn};
use crate::spec::{OPEN_CONNS, Pace};

/// Which histogram an answer counts in.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Class {
    /// A read.
    Read,
    /// A write.
    Write,
}

/// A kind of work. One value serves all connections, in the order in which they ask.
pub trait Load {
    /// Appends the next request frame of connection `conn` and returns a tag that comes back with
    /// its answer; `None` when there is no more work.
    fn request(&mut self, conn: usize, xid: i32, out: &mut Vec<u8>) -> Option<u64>;

    /// Checks an answer; errors and order are checked already.
    fn answer(&mut self, conn: usize, tag: u64, body: &[u8]) -> Result<Class, Wrong>;
}

/// How long to drive.
#[derive(Clone, Copy, Debug)]
pub enum Span {
    /// First `warm` without measuring, then `measured`.
    For {
        /// Unmeasured.
        warm: Duration,
        /// Measured.
        measured: Duration,
    },
    /// Until the load has no more work; everything is measured.
    Exhausted,
}

/// How to drive.
#[derive(Clone, Copy, Debug)]
pub struct Plan {
    /// How requests are paced.
    pub pace: Pace,
    /// For how long.
    pub span: Span,
    /// Whether to keep every sample, not only the histograms.
    pub keep_samples: bool,
}

/// What came of it.
#[derive(Debug)]
pub struct Outcome {
    /// Latencies of reads in ns.
    pub reads: Histogram<u64>,
    /// Latencies of writes in ns.
    pub writes: Histogram<u64>,
    /// The measured time in s.
    pub seconds: f64,
    /// Processor time within it.
    pub cpu: CpuUse,
    /// When the clock of the samples was 0.
    pub began: Instant,
    /// Every measured request, if asked for: when it left or was due, and its latency, in ns.
    pub samples: Vec<(Nanos, Nanos)>,
}

/// A histogram of nanoseconds, up to an hour, three digits.
#[must_use]
pub fn histogram() -> Histogram<u64> {
    Histogram::new_with_bounds(1, 3_600_000_000_000, 3).expect("constant bounds are valid")
}

struct Driver<L> {
    load: L,
    plan: Plan,
    /// From when to when it is measured.
    window: (Nanos, Nanos),
    stopping: bool,
    outstanding: usize,
    reads: Histogram<u64>,
    writes: Histogram<u64>,
    samples: Vec<(Nanos, Nanos)>,
}

/// Opens the sessions, drives the load, and closes them.
pub fn drive<L: Load>(target: &Target, plan: Plan, load: L) -> Result<Outcome> {
    // The default slack of timers, 50 us, would be seen in open loops.
    let _ = rustix::thread::set_current_timer_slack(NonZeroU64::new(1));
    let mut sessions = Sessions::new(&target.addrs)?;
    sessions.open(plan.pace.conns())?;
    let mut driver = Driver {
        load,
        plan,
        window: (Nanos::MAX, Nanos::MAX),
        stopping: false,
        outstanding: 0,
        reads: histogram(),
        writes: histogram(),
        samples: Vec::new(),
    };
    let (seconds, cpu) = driver.run(&mut sessions, &target.pids)?;
    let Driver { reads, writes, samples, .. } = driver;
    let began = sessions.began();
    sessions.close()?;
    Ok(Outcome { reads, writes, seconds, cpu, began, samples })
}

impl<L: Load> Driver<L> {
    /// Returns the measured time in s and the processor time used in it.
    fn run(&mut self, sessions: &mut Sessions, members: &[Pid]) -> Result<(f64, CpuUse)> {
        let begin = sessions.now();
        let (warm, end) = match self.plan.span {
            Span::For { warm, measured } => {
                (begin + nanos(warm), begin + nanos(warm) + nanos(measured))
            }
            Span::Exhausted => (begin, Nanos::MAX),
        };
        let mut due = OpenLoop::new(self.plan.pace, begin);
        let mut measuring = None;
        self.fill(sessions)?;
        let to = loop {
            let now = sessions.now();
            if measuring.is_none() && now >= warm {
                measuring = Some(Cpu::now(members)?);
                self.window = (now, end);
            }
            let next = self.send_due(sessions, &mut due, now.min(end - 1))?;
            if now >= end || (self.stopping && self.outstanding == 0) {
                break now.min(end);
            }
            let until = if measuring.is_none() { next.min(warm) } else { next.min(end) };
            sessions.pump(wait(until.saturating_sub(now)), |turn, heard| self.hear(turn, heard))?;
        };
        let cpu = measuring
            .map_or(Ok(CpuUse::default()), |cpu| Cpu::now(members).map(|now| now.since(&cpu)))?;
        self.stopping = true;
        sessions.pump_until("the last answers", |sessions| {
            sessions.pump(Duration::from_millis(100), |turn, heard| self.hear(turn, heard))?;
            Ok(self.outstanding == 0)
        })?;
        Ok((to.saturating_sub(self.window.0) as f64 / 1e9, cpu))
    }

    /// Fills the pipeline of a closed loop.
    fn fill(&mut self, sessions: &mut Sessions) -> Result<()> {
        let Pace::Closed { conns, depth } = self.plan.pace else { return Ok(()) };
        for conn in 0..conns {
            for _ in 0..depth {
                self.send(sessions, conn, None);
            }
            sessions.flush(conn)?;
        }
        Ok(())
    }

    /// Sends what an open loop owes by now; returns when the next request is due.
    fn send_due(
        &mut self,
        sessions: &mut Sessions,
        due: &mut Option<OpenLoop>,
        now: Nanos,
    ) -> Result<Nanos> {
        let Some(due) = due else { return Ok(Nanos::MAX) };
        let mut sent = 0;
        while due.at() <= now && !self.stopping {
            self.send(sessions, due.conn(), Some(due.at()));
            due.count += 1;
            sent += 1;
        }
        if sent > 0 {
            (0..OPEN_CONNS).try_for_each(|conn| sessions.flush(conn))?;
        }
        Ok(due.at())
    }

    fn send(&mut self, sessions: &mut Sessions, conn: usize, due: Option<Nanos>) {
        let at = due.unwrap_or_else(|| sessions.now());
        let load = &mut self.load;
        let sent = sessions.queue(conn, |session, out| {
            let tag = load.request(conn, session.next_xid(), out)?;
            session.note(Sent { at, tag });
            Some(())
        });
        match sent {
            Some(()) => self.outstanding += 1,
            None => self.stopping = true,
        }
    }

    fn hear(&mut self, turn: Turn<'_>, heard: Heard<'_>) -> Result<()> {
        let Turn { conn, at, session, out } = turn;
        let Heard::Answer(sent, body) = heard else { return Ok(()) };
        self.outstanding -= 1;
        let class = self.load.answer(conn, sent.tag, body).map_err(|wrong| Error::Wrong {
            conn,
            xid: session.next_xid() - session.outstanding() as i32 - 1,
            wrong,
        })?;
        self.record(class, sent.at, at);
        if matches!(self.plan.pace, Pace::Closed { .. }) && !self.stopping {
            match self.load.request(conn, session.next_xid(), out) {
                Some(tag) => {
                    session.note(Sent { at, tag });
                    self.outstanding += 1;
                }
                None => self.stopping = true,
            }
        }
        Ok(())
    }

    /// A closed loop counts what was answered in the window, an open loop what was due in it:
    /// there the answers that come late, after the window, are the ones that matter.
    fn record(&mut self, class: Class, sent_at: Nanos, at: Nanos) {
        let counted_at = match self.plan.pace {
            Pace::Closed { .. } => at,
            Pace::Open { .. } => sent_at,
        };
        if counted_at < self.window.0 || counted_at >= self.window.1 {
            return;
        }
        let latency = at.saturating_sub(sent_at);
        match class {
            Class::Read => self.reads.saturating_record(latency),
            Class::Write => self.writes.saturating_record(latency),
        }
        if self.plan.keep_samples {
            self.samples.push((sent_at, latency));
        }
    }
}

/// The timetable of an open loop. Times are computed from the count, so they do not drift.
struct OpenLoop {
    begin: Nanos,
    interval: f64,
    count: u64,
}

impl OpenLoop {
    fn new(pace: Pace, begin: Nanos) -> Option<OpenLoop> {
        let Pace::Open { per_s } = pace else { return None };
        Some(OpenLoop { begin, interval: 1e9 / f64::from(per_s), count: 0 })
    }

    fn at(&self) -> Nanos {
        self.begin + (self.count as f64 * self.interval) as Nanos
    }

    fn conn(&self) -> usize {
        self.count as usize % OPEN_CONNS
    }
}

fn nanos(duration: Duration) -> Nanos {
    duration.as_nanos() as Nanos
}

/// A bounded wait: a load that hears nothing must still notice that its time is over.
fn wait(nanos: Nanos) -> Duration {
    Duration::from_nanos(nanos).min(Duration::from_millis(100))
}

impl Outcome {
    /// Latencies of all requests.
    #[must_use]
    pub fn all(&self) -> Histogram<u64> {
        let mut all = self.reads.clone();
        all.add(&self.writes).expect("both have the same bounds");
        all
    }
}
