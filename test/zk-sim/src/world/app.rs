//! Applications on the real client session: it dials, renews, restores watches and fails requests
//! by itself, and must never lose or double an answer, nor believe in watches that it has not.

use super::net::Frame;
use super::workload::Workload;
use super::{Stop, World};
use crate::record::{Conn, Record};
use std::collections::BTreeSet;
use zk_proto::request::Request;
use zk_session::client::{ClientSession, Config, Effect, Input, Output, WatchKind};

/// Name of what must hold for them.
const INVARIANT: &str = "K1 client session";

/// An application.
pub(super) struct App {
    pub(super) session: ClientSession<u64>,
    pub(super) conn: Option<Conn>,
    is_dialling: bool,
    /// Questions without an answer.
    asked: BTreeSet<u64>,
    last_asked: u64,
    /// The newest question that was answered by the member; auth packets are not counted.
    last_answered: u64,
    auths: BTreeSet<u64>,
    ip: String,
}

impl App {
    pub(super) fn new(number: usize, seed: u64, now_ms: i64) -> App {
        let config = Config { timeout_ms: 6000, queue_timeout_ms: 3000, seed, ..Config::default() };
        App {
            session: ClientSession::new(config, now_ms),
            conn: None,
            is_dialling: false,
            asked: BTreeSet::new(),
            last_asked: 0,
            last_answered: 0,
            auths: BTreeSet::new(),
            ip: format!("10.0.0.{}", number + 100),
        }
    }

    /// All its watches as the member should have them: one-shot data, one-shot child, persistent,
    /// recursive.
    pub(super) fn watches(&self) -> [BTreeSet<String>; 4] {
        let paths = |kinds: &[WatchKind]| {
            let of = |kind: &WatchKind| self.session.watches().paths(*kind).map(String::from);
            kinds.iter().flat_map(of).collect()
        };
        [
            paths(&[WatchKind::Data, WatchKind::Exist]),
            paths(&[WatchKind::Child]),
            paths(&[WatchKind::Persistent]),
            paths(&[WatchKind::PersistentRecursive]),
        ]
    }
}

impl World {
    /// An application does something.
    pub(super) fn act_app(&mut self, number: usize) -> Result<(), Stop> {
        if self.apps[number].session.state().is_over() {
            return self.begin_app(number);
        }
        if self.apps[number].is_dialling {
            return self.dial(number);
        }
        self.feed(number, Input::Tick)?;
        let odds = self.odds();
        let app = &mut self.apps[number];
        let Some(conn) = app.conn.filter(|_| app.session.state().is_connected()) else {
            return Ok(());
        };
        if self.rng.chance(odds.leave) {
            self.cut(conn);
            return self.lose(number);
        }
        let token = app.last_asked + 1;
        app.last_asked = token;
        app.asked.insert(token);
        match self.rng.below(80) {
            0 => self.feed(number, Input::Close { token }),
            1 => {
                self.apps[number].auths.insert(token);
                self.feed(number, Input::Auth { token, scheme: "digest", auth: Some(b"bob:b2") })
            }
            _ => {
                let workload = Workload::new(true);
                let request = loop {
                    match workload.request(&mut self.rng, &self.known) {
                        Request::Ping => {}
                        request => break request,
                    }
                };
                self.feed(number, Input::Request { token, request: &request })
            }
        }
    }

    /// The session is over; everything asked was answered or failed, and a new one begins.
    fn begin_app(&mut self, number: usize) -> Result<(), Stop> {
        let app = &self.apps[number];
        if let Some(token) = app.asked.first() {
            let what =
                format!("app {number}: question {token} has no answer, and the session is over");
            return Err(self.fail(INVARIANT, what));
        }
        if let Some(conn) = app.conn {
            self.cut(conn);
        }
        let seed = self.rng.draw();
        self.apps[number] = App::new(number, seed, self.elapsed_ms);
        if self.settings.terms.enforces_digest {
            let app = &mut self.apps[number];
            (app.last_asked, app.last_answered) = (1, 1);
            app.asked.insert(1);
            app.auths.insert(1);
            self.feed(number, Input::Auth { token: 1, scheme: "digest", auth: Some(b"ann:a1") })?;
        }
        Ok(())
    }

    fn dial(&mut self, number: usize) -> Result<(), Stop> {
        self.apps[number].is_dialling = false;
        if self.member.is_none() || (!self.is_calm && self.rng.chance(100)) {
            return self.feed(number, Input::Disconnected);
        }
        let conn = self.net.connect();
        self.apps[number].conn = Some(conn);
        self.accept(conn, self.apps[number].ip.clone())?;
        self.feed(number, Input::Connected)
    }

    /// The connection is gone.
    pub(super) fn lose(&mut self, number: usize) -> Result<(), Stop> {
        self.apps[number].conn = None;
        self.feed(number, Input::Disconnected)
    }

    /// A frame reached the application.
    pub(super) fn hear(&mut self, number: usize, frame: &Frame) -> Result<(), Stop> {
        self.feed(number, Input::Frame(frame))
    }

    /// Gives the session an input and carries out what it wants.
    pub(super) fn feed(&mut self, number: usize, input: Input<'_, u64>) -> Result<(), Stop> {
        let mut out = Output::default();
        self.apps[number].session.step(self.elapsed_ms, input, &mut out);
        // What was written before a connection was given up is lost with it.
        let mut bytes = &out.bytes[..];
        while let (Some((length, rest)), Some(conn)) =
            (bytes.split_first_chunk::<4>(), self.apps[number].conn)
        {
            let (frame, rest) = rest.split_at(i32::from_be_bytes(*length) as usize);
            self.send(conn, frame.into())?;
            bytes = rest;
        }
        for effect in out.effects {
            match effect {
                Effect::Dial { .. } => self.apps[number].is_dialling = true,
                Effect::Hangup => {
                    self.apps[number].is_dialling = false;
                    if let Some(conn) = self.apps[number].conn.take() {
                        self.cut(conn);
                    }
                }
                Effect::Reply { token, .. } => self.answered(number, token, true)?,
                Effect::Failed { token, .. } => self.answered(number, token, false)?,
                Effect::Event(_) => self.mark("event of an application"),
                Effect::State(state) => {
                    self.emit(Record::Noted(format!("app {number} is {}", state.name())))?;
                }
                Effect::Probe { .. } | Effect::SaslStart | Effect::SaslReply { .. } => {}
            }
        }
        Ok(())
    }

    /// A question was answered, or never will be.
    fn answered(&mut self, number: usize, token: u64, by_member: bool) -> Result<(), Stop> {
        let app = &mut self.apps[number];
        let waited = app.asked.remove(&token);
        let in_turn = token > app.last_answered || app.auths.contains(&token);
        if by_member && !app.auths.contains(&token) {
            app.last_answered = token;
        }
        if waited && (in_turn || !by_member) {
            return Ok(());
        }
        let what = format!("app {number}: question {token} is answered twice or out of turn");
        Err(self.fail(INVARIANT, what))
    }

    /// Everybody is connected and quiet: each application has the watches that it believes in.
    pub(super) fn compare_watches(&self) -> Result<(), Stop> {
        for (number, app) in self.apps.iter().enumerate() {
            let Some(conn) = app.conn.filter(|_| app.session.state().is_connected()) else {
                continue;
            };
            let Some(registry) = self.judge.watches(conn) else { continue };
            let (mine, there) = (app.watches(), registry.paths());
            let is_excused = |path: &&String| registry.silenced.contains(*path);
            let agree = mine.iter().zip(&there).all(|(mine, there)| {
                there.is_subset(mine) && mine.difference(there).all(|path| is_excused(&path))
            });
            if !agree {
                let what = format!("app {number} believes in {mine:?}, the member has {there:?}");
                return Err(self.fail(INVARIANT, what));
            }
        }
        Ok(())
    }
}
