//! The leader is lost under load: for how long can nobody write?
//!
//! Clients with a session each write in a closed loop, spread over all members. Each reconnects at
//! once when its connection ends, to the next member, with its session; a library waits longer,
//! but that is not the ensemble's time. Two losses: the leader's process is killed, and the kernel
//! tells everybody; or it stops (SIGSTOP) as if its host were unreachable, and nobody hears of it.

use std::time::Instant;

use rustix::process::Signal;

use crate::compare::ensemble::Ensemble;
use crate::error::Result;
use crate::loads::writers::Writers;
use crate::metric::{Metric, Spread, Values, milliseconds};

/// Clients, with one write under way each.
const CLIENTS: usize = 16;

/// How the leader is lost.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Loss {
    /// Its process is killed.
    Killed,
    /// It answers nobody, and nobody is told.
    Unreachable,
}

impl Loss {
    /// How often in a round: the longest counts. Apache needs 10 s to notice an unreachable one.
    const fn times(self) -> usize {
        match self {
            Loss::Killed => 3,
            Loss::Unreachable => 1,
        }
    }
}

/// Loses the leader several times. Every session must live on, and no write may be lost.
pub fn run(ensemble: &mut Ensemble<'_>, loss: Loss, root: &str) -> Result<Values> {
    let mut writers = Writers::start(&ensemble.target(), CLIENTS, root)?;
    let mut losses = Vec::new();
    for _ in 0..loss.times() {
        writers.wait_for_all()?;
        let leader = ensemble.leader(None)?;
        let lost_at = Instant::now();
        match loss {
            Loss::Killed => ensemble.member(leader).kill(),
            Loss::Unreachable => ensemble.member(leader).signal(Signal::STOP),
        }
        ensemble.leader(Some(leader))?;
        writers.wait_for_all()?;
        losses.push((lost_at, Instant::now()));
        match loss {
            Loss::Killed => ensemble.restart(leader, &[])?,
            Loss::Unreachable => {
                ensemble.member(leader).signal(Signal::CONT);
                ensemble.wait_until_follows(leader)?;
            }
        }
        ensemble.first_answer("/")?;
    }
    let written = writers.finish()?;
    let mut values = Values::default();
    let of_a_client = |loss| {
        let gaps = written.iter().map(|times| longest_gap(times, loss));
        gaps.fold(0.0, f64::max)
    };
    if let Some(gaps) = Spread::of(losses.iter().map(|&loss| of_a_client(loss))) {
        values.put(Metric::WriteGapMs, gaps.max);
        values.put(Metric::TypicalWriteGapMs, gaps.median);
    }
    let mut all = written.concat();
    all.sort_unstable();
    let outages = losses.iter().map(|&loss| longest_gap(&all, loss));
    values.put(Metric::OutageMs, outages.fold(0.0, f64::max));
    Ok(values)
}

/// The longest time in ms between two of these moments, in order, that ends within the window.
fn longest_gap(times: &[Instant], (from, to): (Instant, Instant)) -> f64 {
    let pairs = times.windows(2).filter(|pair| from < pair[1] && pair[1] <= to);
    pairs.map(|pair| milliseconds(pair[1] - pair[0])).fold(0.0, f64::max)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn a_gap_counts_where_it_ends() {
        let begin = Instant::now();
        let at = |ms| begin + Duration::from_millis(ms);
        let times = [0, 500, 510, 640, 650, 1000].map(at);
        // The one before the loss and the one that ends after it was over do not.
        assert_eq!(longest_gap(&times, (at(505), at(700))), 130.0);
        assert_eq!(longest_gap(&times, (at(700), at(900))), 0.0);
    }
}
