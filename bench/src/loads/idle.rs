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
    let mut first = Sessions::new(&target.addrs)?;
    first.open(FIRST)?;
    first.close()?;
    let before = rss_bytes(&target.pids)?;
    let mut values = Values::default();
    for _ in 0..PASSES {
        let mut sessions = Sessions::new(&target.addrs)?;
        let (begin, cpu) = (sessions.now(), Cpu::now(&target.pids)?);
        sessions.open(count)?;
        let seconds = (sessions.now() - begin) as f64 / 1e9;
        let used = Cpu::now(&target.pids)?.since(&cpu);
        let with_sessions = rss_bytes(&target.pids)?;
        sessions.close()?;
        values.put_costs(count as u64, seconds, used, &target.pids)?;
        values.put(Metric::SessionsPerS, count as f64 / seconds);
        if !target.pids.is_empty() && values.get(Metric::RssBytesPerSession).is_none() {
            let each = with_sessions.saturating_sub(before) as f64 / count as f64;
            values.put(Metric::RssBytesPerSession, each);
        }
    }
    Ok(values)
}
