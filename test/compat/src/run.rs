//! Runs a case on a server and records what comes back.

use std::collections::{BTreeMap, BTreeSet};
use std::thread;
use std::time::{Duration, Instant};

use zk_proto::connect::ConnectResponse;
use zk_proto::request::RequestHeader;
use zk_proto::{Jute, Reader, SessionId};
use zk_testkit::{Connection, Error, Incoming, four_letter_word};

use crate::request::{self, CLOSE_SESSION};
use crate::script::{Action, Case, Deed, Handshake, RequestSpec, Within};
use crate::symbols::Symbols;
use crate::transcript::{CaseRecord, StepRecord};
use crate::words;
use crate::world::World;
use crate::{render, script};

/// How long an answer may take. Longer than any wait that a case asks for.
const PATIENCE: Duration = Duration::from_secs(6);
/// Between two looks at something that is about to happen.
const POLL: Duration = Duration::from_millis(20);

/// A line of the record; an event knows its zxid.
type Line = (Option<i64>, String);

/// A connection of the script.
struct Wire {
    connection: Connection,
    last_xid: i32,
    /// Sent and not answered: xid, what it asks for, its place in the pipeline.
    pending: Vec<(i32, RequestSpec, Option<usize>)>,
    /// How to read a reply to a request that was sent as raw bytes.
    awaited_op: i32,
    has_session: bool,
}

/// What a connection brought.
enum Came {
    Event(i64, String),
    Reply { op: i32, ok: bool, zxid: i64, lines: Vec<String> },
    Closed,
    Silence,
}

/// Runs one case; the server is clean again afterwards.
pub fn run_case(world: &mut World, case: &Case) -> Result<CaseRecord, Error> {
    let symbols = world.begin(case.fresh)?;
    let mut run = Run { world, symbols, wires: BTreeMap::new(), closings: BTreeSet::new() };
    let mut record = CaseRecord { name: case.name.clone(), steps: Vec::new() };
    for step in &case.steps {
        let output = run.step(&step.action)?;
        record.steps.push(StepRecord { step: step.text.clone(), output });
    }
    for name in run.wires.keys().cloned().collect::<Vec<_>>() {
        let output = run.quiet(&name)?;
        record.steps.push(StepRecord { step: vec![format!("end {name}")], output });
    }
    let output = run.world.tree(&mut run.symbols)?;
    record.steps.push(StepRecord { step: vec!["tree".to_owned()], output });
    let Run { world, symbols, wires, .. } = run;
    drop(wires);
    world.end(&symbols)?;
    Ok(record)
}

struct Run<'a> {
    world: &'a mut World,
    symbols: Symbols,
    wires: BTreeMap<String, Wire>,
    /// Transactions that closed a session: their events come in no order.
    closings: BTreeSet<i64>,
}

impl Run<'_> {
    fn step(&mut self, action: &Action) -> Result<Vec<String>, Error> {
        match action {
            Action::On(name, deed) => self.deed(name, deed),
            Action::Word(word) => {
                let answer = four_letter_word(self.world.server().addr(), word, PATIENCE)?;
                Ok(words::lines(word, &answer, self.world.server()))
            }
            Action::Gone(path, within) => {
                let started = Instant::now();
                while self.world.exists(path)? {
                    if started.elapsed() > PATIENCE {
                        return Ok(vec!["still there".to_owned()]);
                    }
                    thread::sleep(POLL);
                }
                Ok(vec![timed("gone", started, *within)])
            }
            Action::Audit => self.world.audit(&self.symbols),
            Action::Restart { hard } => {
                self.wires.clear();
                self.world.restart(*hard)?;
                Ok(Vec::new())
            }
        }
    }

    fn deed(&mut self, name: &str, deed: &Deed) -> Result<Vec<String>, Error> {
        // A connection shakes hands once; after that a connect means a new one.
        if matches!(deed, Deed::Connect(_)) && self.wires.get(name).is_some_and(|w| w.has_session) {
            self.wires.remove(name);
        }
        if matches!(deed, Deed::Open | Deed::Connect(_)) && !self.wires.contains_key(name) {
            let connection = Connection::open(self.world.server().addr())?;
            let wire = Wire {
                connection,
                last_xid: 0,
                pending: Vec::new(),
                awaited_op: 0,
                has_session: false,
            };
            self.wires.insert(name.to_owned(), wire);
        }
        let base = self.symbols.base();
        let Some(wire) = self.wires.get_mut(name) else {
            return Ok(vec![format!("there is no connection {name}")]);
        };
        match deed {
            Deed::Open => Ok(Vec::new()),
            Deed::Connect(handshake) => self.connect(name, handshake),
            Deed::Send(body) => wire.connection.send(&body.bytes(base)).map(|()| Vec::new()),
            Deed::Frame(body) => wire.connection.send_frame(&body.bytes(base)).map(|()| Vec::new()),
            Deed::Hangup => {
                wire.connection.shut_down_sending();
                Ok(Vec::new())
            }
            Deed::Drop => {
                self.wires.remove(name);
                Ok(Vec::new())
            }
            Deed::Requests { requests, answers } => self.requests(name, requests, *answers),
            Deed::Read(op) => {
                wire.awaited_op = *op;
                let came = self.next(name, PATIENCE)?;
                Ok(self.finish(vec![came]))
            }
            Deed::Events { count, sorted, within } => self.events(name, *count, *sorted, *within),
            Deed::Closed(within) => self.closed(name, *within),
            Deed::Quiet => self.quiet(name),
        }
    }

    fn connect(&mut self, name: &str, handshake: &Handshake) -> Result<Vec<String>, Error> {
        let bytes = self.handshake_bytes(handshake);
        let Some(wire) = self.wires.get_mut(name) else { return Err(Error::Stopped) };
        wire.connection.send_frame(&bytes)?;
        let frame = match wire.connection.read(PATIENCE)? {
            Incoming::Frame(frame) => frame,
            Incoming::Closed => return Ok(vec!["closed".to_owned()]),
            Incoming::Silence => return Ok(vec!["no answer".to_owned()]),
        };
        let came = self.session_opened(name, &frame);
        Ok(self.finish(vec![came]))
    }

    /// The answer to a handshake, wanted or not.
    fn session_opened(&mut self, name: &str, frame: &[u8]) -> Came {
        if let (Ok(response), Some(wire)) =
            (ConnectResponse::read(&mut Reader::new(frame)), self.wires.get_mut(name))
        {
            let id = response.session_id;
            wire.has_session = id != SessionId::NONE;
            if wire.has_session && self.symbols.session(id) == "unknown" {
                self.symbols.add_session(name, response);
            }
        }
        let lines = vec![render::handshake(frame, &self.symbols)];
        Came::Reply { op: 0, ok: true, zxid: 0, lines }
    }

    fn handshake_bytes(&self, handshake: &Handshake) -> Vec<u8> {
        let known = handshake
            .session
            .as_ref()
            .and_then(|token| self.symbols.find_session(&token.show()))
            .map(|session| &session.response);
        let id = match (known, &handshake.session) {
            (Some(response), _) => response.session_id.0,
            (None, Some(token)) => request::number(token).unwrap_or_default(),
            (None, None) => 0,
        };
        let mut password = known.map_or([0; 16], |response| response.password).to_vec();
        let password = match handshake.password.as_ref() {
            None => Some(password),
            Some(token) if token.is("null") => None,
            Some(token) if token.is("wrong") => {
                password[0] ^= 1;
                Some(password)
            }
            Some(token) => Some(token.bytes.clone()),
        };
        let mut bytes = Vec::new();
        handshake.protocol.write(&mut bytes);
        bytes.extend(handshake.last_zxid.bytes(self.symbols.base()));
        handshake.timeout_ms.write(&mut bytes);
        id.write(&mut bytes);
        password.as_deref().write(&mut bytes);
        if let Some(flag) = handshake.read_only {
            flag.write(&mut bytes);
        }
        bytes
    }

    fn requests(
        &mut self,
        name: &str,
        requests: &[RequestSpec],
        answers: Option<usize>,
    ) -> Result<Vec<String>, Error> {
        let base = self.symbols.base();
        let Some(wire) = self.wires.get_mut(name) else { return Err(Error::Stopped) };
        let mut bytes = Vec::new();
        for (i, spec) in requests.iter().enumerate() {
            let xid = spec.xid.unwrap_or_else(|| {
                wire.last_xid += 1;
                wire.last_xid
            });
            let mut frame = RequestHeader { xid, op: spec.op }.to_bytes();
            frame.extend(spec.body.bytes(base));
            zk_proto::jute::put_buffer(&mut bytes, Some(&frame));
            wire.pending.push((xid, spec.clone(), (requests.len() > 1).then_some(i + 1)));
        }
        wire.connection.send(&bytes)?;
        let mut all = Vec::new();
        let mut left = answers.unwrap_or(requests.len());
        while left > 0 {
            let came = self.next(name, PATIENCE)?;
            match &came {
                Came::Reply { op: CLOSE_SESSION, ok: true, zxid, .. } => {
                    self.closings.insert(*zxid);
                    // The connection ends here, so one more thing is to come.
                    left -= usize::from(answers.is_some());
                }
                Came::Reply { .. } => left -= 1,
                Came::Event(..) => {}
                Came::Closed | Came::Silence => left = 0,
            }
            all.push(came);
        }
        Ok(self.finish(all))
    }

    fn events(
        &mut self,
        name: &str,
        count: usize,
        sorted: bool,
        within: Within,
    ) -> Result<Vec<String>, Error> {
        let started = Instant::now();
        let mut all = Vec::new();
        while all.iter().filter(|came| matches!(came, Came::Event(..))).count() < count {
            let came = self.next(name, PATIENCE)?;
            let over = matches!(came, Came::Closed | Came::Silence);
            all.push(came);
            if over {
                break;
            }
        }
        let mut lines = self.finish(all);
        if sorted {
            lines.sort();
        }
        if within.is_some() {
            lines.push(timed("came", started, within));
        }
        Ok(lines)
    }

    fn closed(&mut self, name: &str, within: Within) -> Result<Vec<String>, Error> {
        let started = Instant::now();
        let mut all = Vec::new();
        loop {
            match self.next(name, PATIENCE)? {
                Came::Closed => {
                    let mut lines = self.finish(all);
                    lines.push(timed("closed", started, within));
                    return Ok(lines);
                }
                Came::Silence => {
                    let mut lines = self.finish(all);
                    lines.push("still open".to_owned());
                    return Ok(lines);
                }
                came => all.push(came),
            }
        }
    }

    /// Events that came unasked, up to the answer to a ping.
    fn quiet(&mut self, name: &str) -> Result<Vec<String>, Error> {
        match self.wires.get(name) {
            Some(wire) if wire.has_session => {}
            _ => return Ok(Vec::new()),
        }
        let ping = script::ping();
        let mut lines = self.requests(name, &[ping], None)?;
        // The ping is the harness's own; only a failure of it is worth a line.
        lines.retain(|line| !line.ends_with(" ok"));
        Ok(lines)
    }

    fn next(&mut self, name: &str, timeout: Duration) -> Result<Came, Error> {
        let Some(wire) = self.wires.get_mut(name) else { return Err(Error::Stopped) };
        let frame = match wire.connection.read(timeout)? {
            Incoming::Frame(frame) => frame,
            Incoming::Closed => return Ok(Came::Closed),
            Incoming::Silence => return Ok(Came::Silence),
        };
        if let Some((zxid, line)) = render::event(&frame, &self.symbols) {
            return Ok(Came::Event(zxid, line));
        }
        if render::is_handshake(&frame) {
            return Ok(self.session_opened(name, &frame));
        }
        let mut r = Reader::new(&frame);
        let (Ok(xid), Ok(zxid), Ok(err)) = (r.i32(), r.i64(), r.i32()) else {
            let lines = vec![format!("frame {}", render::hex(&frame))];
            return Ok(Came::Reply { op: 0, ok: false, zxid: 0, lines });
        };
        let at = wire.pending.iter().position(|(pending, ..)| *pending == xid);
        let (op, about_root, mut head) = match at.map(|at| wire.pending.remove(at)) {
            Some((_, spec, None)) => (spec.op, spec.about_root, String::new()),
            Some((_, spec, Some(i))) => (spec.op, spec.about_root, format!("#{i} ")),
            None => (wire.awaited_op, false, format!("xid={xid} ")),
        };
        head.push_str(&format!("{} {}", self.symbols.zxid(zxid), render::error(err)));
        let mut lines = render::body(op, err, r.rest(), about_root, &mut self.symbols);
        lines[0] = format!("{head} {}", lines[0]).trim_end().to_owned();
        Ok(Came::Reply { op, ok: err == 0, zxid, lines })
    }

    /// The lines of what came, events of a closed session in alphabetical order.
    fn finish(&self, all: Vec<Came>) -> Vec<String> {
        let mut lines: Vec<Line> = Vec::new();
        for came in all {
            match came {
                Came::Event(zxid, line) => lines.push((Some(zxid), line)),
                Came::Reply { lines: more, .. } => {
                    lines.extend(more.into_iter().map(|line| (None, line)));
                }
                Came::Closed => lines.push((None, "closed".to_owned())),
                Came::Silence => lines.push((None, "no answer".to_owned())),
            }
        }
        for run in lines.chunk_by_mut(|a, b| a.0.is_some() && a.0 == b.0) {
            if run[0].0.is_some_and(|zxid| self.closings.contains(&zxid)) {
                run.sort();
            }
        }
        lines.into_iter().map(|(_, line)| line).collect()
    }
}

fn timed(what: &str, started: Instant, within: Within) -> String {
    let ms = started.elapsed().as_millis() as u64;
    match within {
        None => what.to_owned(),
        Some((from, to)) if (from..=to).contains(&ms) => format!("{what} in time"),
        Some(_) => format!("{what} after {ms} ms"),
    }
}
