//! One znode, many watchers: how long until the last one is told.
//!
//! A round: the writer sets the data, every watcher gets its event, and when the last has it all
//! read again, which arms their watches for the next round.

use std::time::Duration;

use zk_proto::request::CreateMode;
use zk_proto::response::GetDataResponse;
use zk_proto::watch::WatcherEvent;
use zk_proto::{Jute, Reader};

use crate::client;
use crate::drive::histogram;
use crate::error::{Error, Result, Wrong};
use crate::loads::Check;
use crate::loads::keyed::set;
use crate::metric::Values;
use crate::proc::Cpu;
use crate::run::{Target, Timing};
use crate::session::{Heard, Nanos, Sent, Sessions, Turn};
use crate::wire;

/// The session that writes; the others watch.
const WRITER: usize = 0;
const TICK: Duration = Duration::from_millis(100);
/// NodeDataChanged (client-protocol 9).
const DATA_CHANGED: i32 = 3;

struct Fan {
    path: String,
    watchers: usize,
    value_bytes: usize,
    check: Check,
    /// Writes so far.
    written: u64,
    /// In this round.
    told: usize,
    armed: usize,
    last_told: Nanos,
    set_answered: bool,
}

/// Runs it; a watch's operation is one notification with its re-arming.
pub fn run(
    target: &Target,
    timing: &Timing,
    watchers: usize,
    value_bytes: usize,
    root: &str,
) -> Result<Values> {
    let path = format!("{root}/watched");
    let mut client = target.client()?;
    client.create_all(root)?;
    let data = wire::data(value_bytes, 0, 0);
    client.call(&client::create(&path, &data, CreateMode::Persistent))?;
    client.close()?;

    let mut sessions = Sessions::new(&target.addrs)?;
    sessions.open(1 + watchers)?;
    let check = target.check;
    let mut fan = Fan {
        path,
        watchers,
        value_bytes,
        check,
        written: 0,
        told: 0,
        armed: 0,
        last_told: 0,
        set_answered: true,
    };
    fan.arm(&mut sessions)?;
    let warm_until = sessions.now() + timing.warm.as_nanos() as Nanos;
    while sessions.now() < warm_until {
        fan.round(&mut sessions)?;
    }
    let mut last_told = histogram();
    let (begin, cpu) = (sessions.now(), Cpu::now(&target.pids)?);
    let end = begin + timing.measured.as_nanos() as Nanos;
    while sessions.now() < end {
        last_told.saturating_record(fan.round(&mut sessions)?);
    }
    let seconds = (sessions.now() - begin) as f64 / 1e9;
    let used = Cpu::now(&target.pids)?.since(&cpu);
    sessions.close()?;

    let mut values = Values::default();
    values.put_latencies(&last_told);
    values.put_costs(last_told.len() * watchers as u64, seconds, used, &target.pids)?;
    Ok(values)
}

impl Fan {
    /// One round; returns the time from the write to the last event.
    fn round(&mut self, sessions: &mut Sessions) -> Result<Nanos> {
        self.written += 1;
        self.told = 0;
        self.set_answered = false;
        let at = sessions.now();
        let data = wire::data(self.value_bytes, 0, self.written);
        sessions.queue(WRITER, |session, out| {
            session.send(out, &set(&self.path, &data), Sent { at, tag: 0 });
        });
        sessions.flush(WRITER)?;
        sessions.pump_until("all watchers to be told", |sessions| {
            sessions.pump(TICK, |turn, heard| self.hear(&turn, heard))?;
            Ok(self.told == self.watchers && self.set_answered)
        })?;
        let last_told = self.last_told - at;
        self.arm(sessions)?;
        Ok(last_told)
    }

    /// Every watcher reads, leaving a watch.
    fn arm(&mut self, sessions: &mut Sessions) -> Result<()> {
        self.armed = 0;
        for watcher in 1..=self.watchers {
            let at = sessions.now();
            sessions.queue(watcher, |session, out| {
                session.send(out, &client::get(&self.path, true), Sent { at, tag: 0 });
            });
            sessions.flush(watcher)?;
        }
        sessions.pump_until("all watches to be armed", |sessions| {
            sessions.pump(TICK, |turn, heard| self.hear(&turn, heard))?;
            Ok(self.armed == self.watchers)
        })
    }

    fn hear(&mut self, turn: &Turn<'_>, heard: Heard<'_>) -> Result<()> {
        match heard {
            Heard::Event(body) => {
                self.check_event(body).map_err(|wrong| wrong_at(turn, wrong))?;
                self.told += 1;
                self.last_told = turn.at;
            }
            Heard::Answer(..) if turn.conn == WRITER => self.set_answered = true,
            Heard::Answer(_, body) => {
                self.check_read(body).map_err(|wrong| wrong_at(turn, wrong))?;
                self.armed += 1;
            }
            Heard::Opened => {}
        }
        Ok(())
    }

    fn check_event(&self, body: &[u8]) -> Result<(), Wrong> {
        let event = WatcherEvent::read(&mut Reader::new(body))?;
        if event.event_type != DATA_CHANGED || event.path != self.path {
            let path = event.path.into_owned();
            return Err(Wrong::Event { event: event.event_type, path });
        }
        Ok(())
    }

    /// Who was told of a write must not read an older one.
    fn check_read(&self, body: &[u8]) -> Result<(), Wrong> {
        let response = GetDataResponse::read(&mut Reader::new(body))?;
        let stored = wire::read_stamp(response.data.unwrap_or_default());
        if self.check == Check::Content && stored != Some((0, self.written)) {
            return Err(Wrong::Data { node: 0 });
        }
        Ok(())
    }
}

fn wrong_at(turn: &Turn<'_>, wrong: Wrong) -> Error {
    Error::Wrong { conn: turn.conn, xid: turn.session.next_xid() - 1, wrong }
}
