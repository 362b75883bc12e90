//! Sessions that open and then do nothing: how fast, and what each costs in memory.

use crate::error::Result;
use crate::metric::{Metric, Values};
use crate::proc::{Cpu, rss_bytes};
use crate::run::Target;
use crate::session::Sessions;

/// Sessions opened and closed first, so that what a server sets up once is not counted.
const FIRST: usize = 100;
/// Memory is read in the first pass, before a heap has grown; the rate is that of the last, when a
/// JVM has seen the code.
const PASSES: usize = 3;

/// Opens `count` sessions as fast as the server grants them, and holds them while its memory is
/// read.
pub fn run(target: &Target, count: usize) -> Result<Values> {
    let mut first = Sessions::new(target.addr)?;
    first.open(FIRST)?;
    first.close()?;
    let before = target.pid.map(rss_bytes).transpose()?;
    let mut values = Values::default();
    for _ in 0..PASSES {
        let mut sessions = Sessions::new(target.addr)?;
        let (begin, cpu) = (sessions.now(), Cpu::now(target.pid)?);
        sessions.open(count)?;
        let seconds = (sessions.now() - begin) as f64 / 1e9;
        let used = Cpu::now(target.pid)?.since(&cpu);
        let with_sessions = target.pid.map(rss_bytes).transpose()?;
        sessions.close()?;
        values.put_costs(count as u64, seconds, used, target.pid)?;
        values.put(Metric::SessionsPerS, count as f64 / seconds);
        if let (Some(before), Some(with), None) =
            (before, with_sessions, values.get(Metric::RssBytesPerSession))
        {
            let each = with.saturating_sub(before) as f64 / count as f64;
            values.put(Metric::RssBytesPerSession, each);
        }
    }
    Ok(values)
}
