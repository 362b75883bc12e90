//! What clients did and what the server says afterwards: a checker for crashes.
//!
//! Each client writes to znodes of its own, one operation at a time, so its history is a list. An
//! operation without an answer may or may not have happened: then both states are kept until an
//! observation of the tree decides. After each crash the observed tree must be exactly one of the
//! states that the history allows: no acknowledged write lost, none done twice, nothing there that
//! nobody wrote, no znode of a closed session, every ephemeral of a live one, no half of a multi.
//! Across clients: zxids of writes follow real time and are unique, and sequence numbers are unique
//! and grow with the zxid. And where it is told which servers were cut off from any quorum, and
//! when: what such a server was asked meanwhile it has not acknowledged meanwhile.
//!
//! The names in the messages (Z5, C1, S2, S3 ...) are those of RELIABILITY.md, section 3.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use zk_proto::ErrorCode;

/// What a server says whose disk is full.
const NOT_READ_ONLY: i32 = ErrorCode::NotReadOnly.code();

/// What a client asked for. `value` is unique to the operation.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Op {
    /// A create, of an ephemeral if `owner` is a session.
    Create {
        /// Its path, or the prefix of a sequential name.
        path: String,
        /// Its data.
        value: u64,
        /// The session that owns it, or 0.
        owner: i64,
        /// Whether a number is appended.
        sequential: bool,
    },
    /// A setData with the version that the client expects.
    Set {
        /// The znode.
        path: String,
        /// The new data.
        value: u64,
        /// The expected version.
        version: i32,
    },
    /// A delete.
    Delete {
        /// The znode.
        path: String,
    },
    /// A multi of a setData with any version and a create of a persistent znode.
    SetAndCreate {
        /// The znode to set.
        set: String,
        /// The znode to create.
        create: String,
        /// The data of both.
        value: u64,
    },
    /// A closeSession.
    Close {
        /// The session.
        session: i64,
    },
}

/// What the client was told.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Outcome {
    /// It is done.
    Done {
        /// Its transaction, where the answer tells it exactly.
        zxid: Option<i64>,
        /// The name of a sequential znode.
        path: Option<String>,
    },
    /// An error code: nothing was done.
    Refused(i32),
    /// No answer.
    Unknown,
}

/// A time, in the ticks of the entries, through which a server could not reach a quorum.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct CutOff {
    /// Its sid.
    pub server: i64,
    /// Since then.
    pub from: u64,
    /// Until then.
    pub to: u64,
}

/// An operation and its outcome. `started` and `ended` come from one clock for all clients, of
/// which only the order counts.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Entry {
    /// Which client.
    pub client: usize,
    /// The sid of the server that it asked.
    pub server: i64,
    /// Before the request was sent.
    pub started: u64,
    /// After the answer was there.
    pub ended: u64,
    /// The request.
    pub op: Op,
    /// The answer.
    pub outcome: Outcome,
}

/// A znode as it was found.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Observed {
    /// Its path.
    pub path: String,
    /// Its data; `None` if that is no number.
    pub value: Option<u64>,
    /// Stat.
    pub czxid: i64,
    /// Stat.
    pub mzxid: i64,
    /// Stat.
    pub version: i32,
    /// Stat.
    pub owner: i64,
}

/// A znode as it must be. Transactions of unanswered operations are not known.
#[derive(Clone, PartialEq, Eq, Debug)]
struct Expected {
    value: u64,
    version: i32,
    owner: i64,
    czxid: Option<i64>,
    mzxid: Option<i64>,
}

/// By path. A sequential znode whose name was never told has its prefix, a `?` and its value.
type State = BTreeMap<String, Expected>;

/// Checks histories as they grow.
#[derive(Debug)]
pub struct Checker {
    clients: Vec<Vec<State>>,
    /// Started, ended, zxid.
    writes: Vec<(u64, u64, i64)>,
    /// What was acknowledged: server, started, ended.
    acknowledged: Vec<(i64, u64, u64)>,
    violations: Vec<String>,
}

impl Checker {
    /// For so many clients, on an empty tree.
    #[must_use]
    pub fn new(clients: usize) -> Checker {
        Checker {
            clients: vec![vec![State::new()]; clients],
            writes: Vec::new(),
            acknowledged: Vec::new(),
            violations: Vec::new(),
        }
    }

    /// Everything that was found wrong.
    #[must_use]
    pub fn violations(&self) -> &[String] {
        &self.violations
    }

    /// Takes the next operation of a client.
    pub fn record(&mut self, entry: &Entry) {
        if let Outcome::Done { zxid: Some(zxid), .. } = entry.outcome {
            self.writes.push((entry.started, entry.ended, zxid));
        }
        if matches!(entry.outcome, Outcome::Done { .. }) {
            self.acknowledged.push((entry.server, entry.started, entry.ended));
        }
        let states = &mut self.clients[entry.client];
        let next = states.iter().flat_map(|state| after(state, entry)).collect::<Vec<_>>();
        if next.is_empty() {
            self.violations.push(format!("C2: impossible answer {entry:?} in {states:?}"));
        } else {
            *states = next;
        }
    }

    /// Compares the whole tree, as it is when no client is at work, with what it must be.
    pub fn observe(&mut self, nodes: &[Observed], client_of: impl Fn(&str) -> Option<usize>) {
        for (client, states) in self.clients.iter_mut().enumerate() {
            let own = nodes.iter().filter(|node| client_of(&node.path) == Some(client));
            let own = own.collect::<Vec<_>>();
            // All that match have become what was observed, so that one of them is enough.
            match states.iter().find_map(|state| matched(state, &own).ok()) {
                Some(found) => *states = vec![found],
                None => {
                    for state in states.iter() {
                        let why = matched(state, &own).err().unwrap_or_default();
                        self.violations.push(format!("client {client}: {why}"));
                    }
                }
            }
        }
        for node in nodes.iter().filter(|node| client_of(&node.path).is_none()) {
            self.violations.push(format!("C2: nobody wrote {node:?}"));
        }
        self.check_sequence(nodes);
    }

    /// S3: the numbers at the end of sequential names are unique and follow the transactions.
    fn check_sequence(&mut self, nodes: &[Observed]) {
        let number = |node: &Observed| node.path.rsplit_once('-')?.1.parse::<i64>().ok();
        let mut numbers =
            nodes.iter().filter_map(|n| Some((number(n)?, n.czxid))).collect::<Vec<_>>();
        numbers.sort_unstable();
        for pair in numbers.windows(2) {
            if pair[0].0 == pair[1].0 || pair[0].1 >= pair[1].1 {
                self.violations.push(format!("S3: numbers and transactions {pair:x?}"));
            }
        }
    }

    /// Z5: without a quorum nothing is committed. What a server was asked before it was cut off may
    /// have been on its way back already.
    pub fn check_minorities(&mut self, times: &[CutOff]) {
        for CutOff { server, from, to } in times {
            let own = self.acknowledged.iter().filter(|(by, ..)| by == server);
            for (_, started, ended) in
                own.filter(|(_, started, ended)| started > from && ended < to)
            {
                let what = format!("acknowledged what it was asked at {started}, at {ended}");
                let why = format!("without a quorum from {from} to {to}");
                self.violations.push(format!("Z5: server {server} {what}, {why}"));
            }
        }
    }

    /// C1: writes that did not overlap have rising zxids, and no zxid is used twice.
    pub fn check_order(&mut self) {
        let mut by_zxid = self.writes.clone();
        by_zxid.sort_unstable_by_key(|&(.., zxid)| zxid);
        let mut latest_start = 0;
        let mut last_zxid = 0;
        for &(started, ended, zxid) in &by_zxid {
            if zxid == last_zxid {
                self.violations.push(format!("C1: zxid 0x{zxid:x} was used twice"));
            }
            if ended < latest_start {
                self.violations.push(format!("C1: 0x{zxid:x} ended before an earlier one began"));
            }
            latest_start = latest_start.max(started);
            last_zxid = zxid;
        }
    }
}

/// The states after an operation: none if its outcome is impossible, two if it is unknown.
fn after(state: &State, entry: &Entry) -> Vec<State> {
    match &entry.outcome {
        Outcome::Done { zxid, path } => {
            applied(state, &entry.op, *zxid, path.as_deref()).into_iter().collect()
        }
        Outcome::Unknown => {
            let done = applied(state, &entry.op, None, None);
            std::iter::once(state.clone()).chain(done).collect()
        }
        // The server takes no writes at all.
        Outcome::Refused(NOT_READ_ONLY) => vec![state.clone()],
        // Any other refusal is right only where carrying it out is impossible.
        Outcome::Refused(_) => match applied(state, &entry.op, None, None) {
            None => vec![state.clone()],
            Some(_) => Vec::new(),
        },
    }
}

fn applied(state: &State, op: &Op, zxid: Option<i64>, name: Option<&str>) -> Option<State> {
    let mut state = state.clone();
    let created = |value, owner| Expected { value, version: 0, owner, czxid: zxid, mzxid: zxid };
    let set = |node: &mut Expected, value| {
        node.value = value;
        node.version += 1;
        node.mzxid = zxid;
    };
    match op {
        Op::Create { path, value, owner, sequential } => {
            let path = match (sequential, name) {
                (false, _) => path.clone(),
                (true, Some(name)) => name.to_owned(),
                (true, None) => format!("{path}?{value}"),
            };
            if state.insert(path, created(*value, *owner)).is_some() {
                return None;
            }
        }
        Op::Set { path, value, version } => {
            let node = state.get_mut(path).filter(|node| node.version == *version)?;
            set(node, *value);
        }
        Op::Delete { path } => {
            state.remove(path)?;
        }
        Op::SetAndCreate { set: path, create, value } => {
            set(state.get_mut(path)?, *value);
            if state.insert(create.clone(), created(*value, 0)).is_some() {
                return None;
            }
        }
        Op::Close { session } => state.retain(|_, node| node.owner != *session),
    }
    Some(state)
}

/// The state with everything filled in that the observation tells, or what does not fit.
fn matched(state: &State, nodes: &[&Observed]) -> Result<State, String> {
    let mut open = state.clone();
    let mut found = State::new();
    let mut wrong = String::new();
    for node in nodes {
        let nameless = || {
            let prefix = node.path.rsplit_once('-').map_or("", |(prefix, _)| prefix);
            node.value.map(|value| format!("{prefix}-?{value}"))
        };
        let expected =
            open.remove(&node.path).or_else(|| nameless().and_then(|key| open.remove(&key)));
        let Some(expected) = expected else {
            let _ = write!(wrong, "S2/C2: {node:?} must not be there; ");
            continue;
        };
        let fits = node.value == Some(expected.value)
            && node.version == expected.version
            && node.owner == expected.owner
            && expected.czxid.is_none_or(|zxid| zxid == node.czxid)
            && expected.mzxid.is_none_or(|zxid| zxid == node.mzxid);
        if !fits {
            let _ = write!(wrong, "C2: {node:?} must be {expected:?}; ");
        }
        let (czxid, mzxid) = (Some(node.czxid), Some(node.mzxid));
        found.insert(node.path.clone(), Expected { czxid, mzxid, ..expected });
    }
    for (path, expected) in open {
        let _ = write!(wrong, "Z5: {path} is lost, {expected:?}; ");
    }
    if wrong.is_empty() { Ok(found) } else { Err(wrong) }
}

#[cfg(test)]
mod tests;
