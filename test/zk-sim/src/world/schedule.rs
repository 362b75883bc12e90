//! What happens next, and the two halves of a run: first with faults, then until everything is
//! answered and everybody is gone.

use super::workload::{Workload, frame};
use super::{Stop, World};
use crate::record::Record;
use zk_proto::Text;
use zk_proto::request::{ReadRequest, Request, SyncRequest};
use zk_session::client::Input;

/// Steps after which everything must have been answered.
const CALM_STEPS: usize = 20_000;
/// How often an application may look whether it is time to dial.
const APP_TRIES: usize = 40;
/// How often a client may be turned away when all faults are over.
const TRIES: usize = 6;

impl World {
    /// The whole run.
    pub(super) fn live(&mut self) -> Result<(), Stop> {
        self.start()?;
        for _ in 0..self.settings.steps {
            self.step()?;
        }
        self.is_calm = true;
        self.fill(false)?;
        self.become_quiet()?;
        self.last_questions()?;
        self.expire_everybody()?;
        self.restart_once_more()
    }

    fn step(&mut self) -> Result<(), Stop> {
        self.pass_time();
        let odds = self.odds();
        if self.member.is_none() {
            return self.start();
        }
        if self.rng.chance(odds.crash) {
            return self.crash();
        }
        if self.rng.chance(odds.harm) && !self.storage.is_harmed() {
            self.harm()?;
        }
        if self.rng.chance(odds.fill) {
            let is_full = self.rng.chance(500);
            return self.fill(is_full);
        }
        if self.rng.chance(odds.inspect) {
            return self.inspect();
        }
        match self.rng.weighted(&self.settings.weights) {
            0 => {
                let number = self.rng.below(self.clients.len() + self.apps.len());
                match number.checked_sub(self.clients.len()) {
                    Some(app) => self.act_app(app),
                    None => self.act(number),
                }
            }
            1 => self.read_somewhere(),
            2 => self.deliver_somewhere(),
            3 => self.commit(),
            4 => self.report(),
            5 => self.snapshot(),
            _ => match self.rng.below(4) {
                0 => self.reap(),
                1 => {
                    self.forget_closed();
                    Ok(())
                }
                _ => self.tick(),
            },
        }
    }

    fn pass_time(&mut self) {
        let odds = self.odds();
        let mut passed_ms = self.rng.between(0, 20);
        if self.rng.chance(odds.pause) {
            passed_ms += self.rng.between(0, i64::from(self.settings.terms.max_timeout_ms));
        }
        self.elapsed_ms += passed_ms;
        self.now.monotonic_ms += passed_ms;
        self.now.wall_ms += passed_ms;
        if self.rng.chance(odds.wall_jump) {
            self.now.wall_ms += self.rng.between(-3_600_000, 3_600_000);
        }
    }

    fn read_somewhere(&mut self) -> Result<(), Stop> {
        let ready = self.net.those(|link| !link.inbound.is_empty() || link.is_left);
        if ready.is_empty() {
            return Ok(());
        }
        let conn = *self.rng.pick(&ready);
        self.read(conn)
    }

    fn deliver_somewhere(&mut self) -> Result<(), Stop> {
        let ready = self.net.those(|link| !link.outbound.is_empty() || link.is_closed);
        if ready.is_empty() {
            return Ok(());
        }
        let conn = *self.rng.pick(&ready);
        self.deliver(conn)
    }

    /// Whether anything is under way anywhere.
    fn is_busy(&self) -> bool {
        let on_the_way = self.net.links.values().any(|link| {
            !link.inbound.is_empty() || !link.outbound.is_empty() || link.is_left || link.is_closed
        });
        let inside = self.member.as_ref().is_none_or(|member| {
            !member.synced.is_empty() || member.unfinished.is_some() || !member.closing.is_empty()
        });
        on_the_way || inside || self.storage.waiting() > 0
    }

    /// Lets everything come to its end: nobody asks anything new.
    fn become_quiet(&mut self) -> Result<(), Stop> {
        if self.storage.is_harmed() {
            self.crash()?;
        }
        for _ in 0..CALM_STEPS {
            if !self.is_busy() {
                return self.emit(Record::Quiet);
            }
            if self.member.is_none() {
                self.start()?;
            }
            match self.rng.below(5) {
                0 => self.commit()?,
                1 => self.report()?,
                2 => self.read_somewhere()?,
                3 => self.deliver_somewhere()?,
                _ => self.forget_closed(),
            }
        }
        Err(self.fail("L1 liveness", "something is still under way after all faults ended".into()))
    }

    /// Everybody comes back with the session it has, sees everything, and is answered.
    fn last_questions(&mut self) -> Result<(), Stop> {
        for number in 0..self.clients.len() {
            for _ in 0..TRIES {
                if self.clients[number].is_live {
                    break;
                }
                self.connect(number)?;
                self.become_quiet()?;
            }
            let (Some(conn), true) = (self.clients[number].conn, self.clients[number].is_live)
            else {
                let what = format!("client {number} is turned away again and again");
                return Err(self.fail("L1 liveness", what));
            };
            let path = || Text::Borrowed("/a");
            self.ask_frame(number, conn, -4, frame(-4, &Workload::good_auth()))?;
            for request in [
                Request::Sync(SyncRequest { path: Some(path()) }),
                Request::GetData(ReadRequest { path: path(), watch: true }),
                Request::GetChildren2(ReadRequest { path: path(), watch: true }),
            ] {
                self.clients[number].xid += 1;
                let xid = self.clients[number].xid;
                self.ask_frame(number, conn, xid, frame(xid, &request))?;
            }
        }
        self.become_quiet()?;
        self.connect_apps()?;
        self.inspect()
    }

    /// Every application finds its way back by itself, and has all its watches again.
    fn connect_apps(&mut self) -> Result<(), Stop> {
        for number in 0..self.apps.len() {
            for _ in 0..APP_TRIES {
                if self.apps[number].session.state().is_connected() {
                    break;
                }
                // Pauses between dials grow to 2 s.
                self.elapsed_ms += 500;
                self.act_app(number)?;
                self.become_quiet()?;
            }
            if !self.apps[number].session.state().is_connected() {
                let what = format!("app {number} does not find its way back");
                return Err(self.fail("L1 liveness", what));
            }
        }
        self.become_quiet()?;
        self.compare_watches()?;
        for number in 0..self.apps.len() {
            self.feed(number, Input::Detach)?;
        }
        self.become_quiet()
    }

    /// Nobody says anything any more: every session expires, in its time.
    fn expire_everybody(&mut self) -> Result<(), Stop> {
        let tick_ms = self.settings.terms.tick_ms;
        let most_ms = i64::from(self.settings.terms.max_timeout_ms) + 2 * tick_ms;
        let mut ticks = 0..=most_ms / tick_ms;
        while ticks.next().is_some() {
            let starts = self.starts;
            self.now.monotonic_ms += tick_ms;
            self.now.wall_ms += tick_ms;
            self.tick()?;
            self.become_quiet()?;
            if self.starts > starts {
                // A new process gives all sessions their whole time.
                ticks = 0..=most_ms / tick_ms;
            }
        }
        let sessions = self.member.as_ref().map_or(0, |member| member.core.sessions().len());
        if sessions > 0 {
            return Err(self.fail("S1 session", format!("{sessions} sessions live for ever")));
        }
        self.nothing_is_left()?;
        self.inspect()
    }

    /// With the last connection everything goes that was kept for connections.
    fn nothing_is_left(&self) -> Result<(), Stop> {
        let Some(member) = &self.member else { return Ok(()) };
        let under_way = member.core.outstanding();
        if under_way > 0 {
            return Err(self.fail("L1 liveness", format!("{under_way} requests are stuck")));
        }
        if member.conns.is_empty() && !member.watches.is_empty() {
            let counts = member.watches.counts();
            return Err(self.fail("L1 liveness", format!("watches of nobody: {counts:?}")));
        }
        Ok(())
    }

    /// A clean end and another beginning.
    fn restart_once_more(&mut self) -> Result<(), Stop> {
        self.crash()?;
        self.start()
    }
}
