//! Sessions that open, create an ephemeral znode, and close, again and again.

use std::time::Duration;

use zk_proto::request::CreateMode;

use crate::client;
use crate::drive::histogram;
use crate::error::{Error, Result, Wrong};
use crate::loads::Check;
use crate::metric::Values;
use crate::proc::Cpu;
use crate::run::{Target, Timing};
use crate::session::{Heard, Nanos, Sent, Sessions};
use crate::wire;

/// The tag of a create; a closeSession has 0.
const CREATE: u64 = 1;

/// Keeps `conns` sessions under way. A cycle's latency is from the dial to the end of the
/// connection.
pub fn run(
    target: &Target,
    timing: &Timing,
    conns: usize,
    value_bytes: usize,
    root: &str,
) -> Result<Values> {
    let mut client = target.client()?;
    client.create_all(root)?;
    client.close()?;

    let mut sessions = Sessions::new(&target.addrs)?;
    let mut churn = Churn {
        prefix: format!("{root}/e"),
        data: wire::data(value_bytes, 0, 0),
        created: 0,
        dialled: vec![0; conns],
    };
    for _ in 0..conns {
        churn.dial(&mut sessions)?;
    }
    let warm_until = sessions.now() + timing.warm.as_nanos() as Nanos;
    while sessions.now() < warm_until {
        churn.turn(&mut sessions, true, |_| {})?;
    }
    let mut cycles = histogram();
    let (begin, cpu) = (sessions.now(), Cpu::now(&target.pids)?);
    let end = begin + timing.measured.as_nanos() as Nanos;
    while sessions.now() < end {
        churn.turn(&mut sessions, true, |latency| cycles.saturating_record(latency))?;
    }
    let seconds = (sessions.now() - begin) as f64 / 1e9;
    let used = Cpu::now(&target.pids)?.since(&cpu);
    let mut left = conns;
    sessions.pump_until("all sessions to close", |sessions| {
        churn.turn(sessions, false, |_| left -= 1)?;
        Ok(left == 0)
    })?;

    let mut client = target.client()?;
    let got = client.children(root)?.len() as u64;
    if target.check == Check::Content && got != 0 {
        // Ephemerals of closed sessions must be gone.
        return Err(Error::wrong(Wrong::Count { path: root.to_owned(), got, want: 0 }));
    }
    client.close()?;
    let mut values = Values::default();
    values.put_latencies(&cycles);
    values.put_costs(cycles.len(), seconds, used, &target.pids)?;
    Ok(values)
}

struct Churn {
    prefix: String,
    data: Vec<u8>,
    created: u64,
    /// When each session began.
    dialled: Vec<Nanos>,
}

impl Churn {
    fn dial(&mut self, sessions: &mut Sessions) -> Result<()> {
        let at = sessions.now();
        let conn = sessions.dial()?;
        self.dialled[conn] = at;
        Ok(())
    }

    /// Moves every session that heard something one step on.
    fn turn(
        &mut self,
        sessions: &mut Sessions,
        again: bool,
        mut ended: impl FnMut(Nanos),
    ) -> Result<()> {
        let Churn { prefix, data, created, .. } = self;
        sessions.pump(Duration::from_millis(100), |turn, heard| {
            match heard {
                Heard::Opened => {
                    let path = wire::path(prefix, *created);
                    *created += 1;
                    let create = client::create(&path, data, CreateMode::Ephemeral);
                    turn.session.send(turn.out, &create, Sent { at: turn.at, tag: CREATE });
                }
                Heard::Answer(Sent { tag: CREATE, .. }, _) => {
                    turn.session.send_close(turn.out, Sent { at: turn.at, tag: 0 });
                }
                Heard::Answer(..) | Heard::Event(_) => {}
            }
            Ok(())
        })?;
        for conn in sessions.take_ended() {
            ended(sessions.now() - self.dialled[conn]);
            if again {
                self.dial(sessions)?;
            }
        }
        Ok(())
    }
}
