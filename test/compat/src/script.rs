//! The language of the case files.
//!
//! ```text
//! config tickTime=2000              a line of zoo.cfg for the whole file
//! property some.name=value          a Java system property
//!
//! case name-of-the-case [fresh]     fresh: on a server that nobody has used before
//! a connect timeout=5000            connection a: opens and shakes hands
//! a create /p "data" flags=1        a request, sent and answered; see `request` for the fields
//! b connect session=a               another connection that resumes the session of a
//! a multi                           a block, to the next `end`
//!   check /p 0
//!   setData /p "x"
//! end
//! a pipeline [await=N]              all requests in one write, then all answers (or N)
//!   getData /p
//!   times 3 setData /p "$i"         $i counts from 0; multis know it too
//! end
//! ```
//!
//! Other steps of a connection: `open` (TCP only), `send` and `frame` (raw bytes without and with a
//! length in front), `op NUMBER-OR-NAME` (a request with a raw body), `read [OP]` (one frame),
//! `events N [sorted]` (wait for that many), `closed [within=A..B]` (wait for the end), `quiet`
//! (nothing comes until a ping is answered), `drop` (close our side), `hangup` (stop sending).
//! Steps of no connection: `word WORD` (four letters), `gone PATH [within=A..B]` (wait until the
//! znode is gone), `restart kill|term`, `audit` (the lines of the audit log since the last one, or
//! since the case began; the file wants `config audit.enable=true`, and it takes a zxid). Times are
//! milliseconds. Any request takes `xid=N`. Every server knows the superuser `super:zkfleet` of
//! scheme digest.

use crate::SyntaxError;
use crate::request::{self, Body, Op};
use crate::token::{Token, tokens};

/// A file of cases for one configuration.
#[derive(Clone, Debug)]
pub struct CaseFile {
    /// The file's name without `.txt`.
    pub name: String,
    /// Lines for `zoo.cfg`, `key=value`.
    pub config: Vec<(String, String)>,
    /// Java system properties.
    pub properties: Vec<(String, String)>,
    /// In order.
    pub cases: Vec<Case>,
}

/// A script that starts with an empty tree and leaves nothing behind.
#[derive(Clone, Debug, PartialEq)]
pub struct Case {
    /// Unique in its file.
    pub name: String,
    /// Whether it wants a server of its own.
    pub fresh: bool,
    /// What to do.
    pub steps: Vec<Step>,
}

/// One step and how it was written.
#[derive(Clone, Debug, PartialEq)]
pub struct Step {
    /// The lines, without comments and indentation outside of blocks.
    pub text: Vec<String>,
    /// What they mean.
    pub action: Action,
}

/// A range of milliseconds.
pub type Within = Option<(u64, u64)>;

/// What a step does.
#[derive(Clone, Debug, PartialEq)]
pub enum Action {
    /// Something on a named connection.
    On(String, Deed),
    /// A four-letter word on a connection of its own.
    Word(Vec<u8>),
    /// Wait until a znode is gone.
    Gone(String, Within),
    /// Show what is new in the audit log.
    Audit,
    /// Stop the server, with kill -9 or SIGTERM, and start it again.
    Restart {
        /// kill -9.
        hard: bool,
    },
}

/// What is done on a connection.
#[derive(Clone, Debug, PartialEq)]
pub enum Deed {
    /// Open it and send a handshake.
    Connect(Handshake),
    /// Open it.
    Open,
    /// Send bytes.
    Send(Body),
    /// Send a frame.
    Frame(Body),
    /// Send requests in one write and wait for answers.
    Requests {
        /// In order.
        requests: Vec<RequestSpec>,
        /// How many answers to wait for; else all, and after closeSession the end.
        answers: Option<usize>,
    },
    /// Wait for a frame; a reply is read as one to this operation.
    Read(i32),
    /// Wait for events.
    Events {
        /// How many.
        count: usize,
        /// Whether their order is left open.
        sorted: bool,
        /// When they are due.
        within: Within,
    },
    /// Wait for the end.
    Closed(Within),
    /// See that nothing comes.
    Quiet,
    /// Close our side.
    Drop,
    /// Stop sending, go on reading.
    Hangup,
}

/// A request, ready to be sent.
#[derive(Clone, Debug, PartialEq)]
pub struct RequestSpec {
    /// Its number, which says how to read the answer.
    pub op: i32,
    /// Chosen by the script, or else by the connection.
    pub xid: Option<i32>,
    /// The path it is about, if it has one; the root's stat is shown relative.
    pub about_root: bool,
    /// The record after the header.
    pub body: Body,
}

/// The fields of a handshake.
#[derive(Clone, Debug, PartialEq)]
pub struct Handshake {
    /// `timeout=`, ms.
    pub timeout_ms: i32,
    /// `session=`: go on with the session that this connection has or had, or a number.
    pub session: Option<Token>,
    /// `password=`: `null`, `wrong`, `hex:..`; else the right one.
    pub password: Option<Token>,
    /// `lastzxid=`.
    pub last_zxid: Body,
    /// `protocol=`.
    pub protocol: i32,
    /// `readonly=no|yes|absent`.
    pub read_only: Option<bool>,
}

/// A ping as clients send it.
#[must_use]
pub fn ping() -> RequestSpec {
    RequestSpec { op: 11, xid: Some(-2), about_root: false, body: Body::default() }
}

/// Reads a case file.
pub fn parse(name: &str, text: &str) -> Result<CaseFile, SyntaxError> {
    let mut file =
        CaseFile { name: name.to_owned(), config: vec![], properties: vec![], cases: vec![] };
    let mut lines = text.lines().enumerate();
    while let Some((index, line)) = lines.next() {
        let fault =
            |what: String| SyntaxError { file: format!("{name}.txt"), line: index + 1, what };
        let words = tokens(line).map_err(fault)?;
        let Some(first) = words.first() else { continue };
        match first.bare() {
            Some("config" | "property") => {
                let setting = words[1..].iter().map(Token::show).collect::<Vec<_>>().join(" ");
                let (key, value) =
                    setting.split_once('=').ok_or_else(|| fault("want key=value".into()))?;
                let list = if first.is("config") { &mut file.config } else { &mut file.properties };
                list.push((key.to_owned(), value.to_owned()));
            }
            Some("case") => {
                let name = words.get(1).ok_or_else(|| fault("want a name".into()))?.show();
                if file.cases.iter().any(|case| case.name == name) {
                    return Err(fault(format!("there is a case {name} already")));
                }
                let fresh = words.get(2).is_some_and(|w| w.is("fresh"));
                file.cases.push(Case { name, fresh, steps: Vec::new() });
            }
            _ => {
                let mut block = Vec::new();
                if opens_block(&words) {
                    for (_, line) in lines.by_ref() {
                        let words = tokens(line).map_err(fault)?;
                        if words.first().is_some_and(|w| w.is("end")) {
                            break;
                        }
                        if !words.is_empty() {
                            block.push(line.to_owned());
                        }
                    }
                }
                let action = action(&words, &block).map_err(fault)?;
                let mut text = vec![line.trim_end().to_owned()];
                if opens_block(&words) {
                    text.extend(block);
                    text.push("end".to_owned());
                }
                let case = file.cases.last_mut();
                let case = case.ok_or_else(|| fault("a step before the first case".into()))?;
                case.steps.push(Step { text, action });
            }
        }
    }
    Ok(file)
}

fn opens_block(words: &[Token]) -> bool {
    words.get(1).is_some_and(|w| w.is("multi") || w.is("multiRead") || w.is("pipeline"))
}

/// Takes `name=value` out of the words.
fn take(words: &mut Vec<Token>, name: &str) -> Option<Token> {
    let at = words.iter().position(|w| w.split_key(b'=').is_some_and(|(key, _)| key == name))?;
    words.remove(at).split_key(b'=').map(|(_, value)| value)
}

fn take_number(words: &mut Vec<Token>, name: &str) -> Result<Option<i64>, String> {
    take(words, name).map(|value| request::number(&value)).transpose()
}

fn within(words: &mut Vec<Token>) -> Result<Within, String> {
    let Some(value) = take(words, "within") else { return Ok(None) };
    let text = value.show();
    let range = text.split_once("..").and_then(|(a, b)| Some((a.parse().ok()?, b.parse().ok()?)));
    range.map(Some).ok_or_else(|| format!("within={text} is not within=A..B"))
}

fn action(words: &[Token], block: &[String]) -> Result<Action, String> {
    let mut words = words.to_vec();
    let first = words.remove(0).show();
    match first.as_str() {
        "word" => Ok(Action::Word(words.first().ok_or("want a word")?.bytes.clone())),
        "gone" => {
            let within = within(&mut words)?;
            Ok(Action::Gone(words.first().ok_or("want a path")?.show(), within))
        }
        "audit" => Ok(Action::Audit),
        "restart" => Ok(Action::Restart { hard: words.first().is_some_and(|w| w.is("kill")) }),
        _ => Ok(Action::On(first, deed(words, block)?)),
    }
}

fn deed(mut words: Vec<Token>, block: &[String]) -> Result<Deed, String> {
    if words.is_empty() {
        return Err("want a step after the connection's name".into());
    }
    let verb = words.remove(0);
    let raw = |words: &[Token]| {
        let mut body = Body::default();
        request::raw(words, &mut body).map(|()| body)
    };
    Ok(match verb.bare().unwrap_or_default() {
        "connect" => Deed::Connect(handshake(words)?),
        "open" => Deed::Open,
        "send" => Deed::Send(raw(&words)?),
        "frame" => Deed::Frame(raw(&words)?),
        "read" => Deed::Read(words.first().map_or(Ok(0), op_number)?),
        "drop" => Deed::Drop,
        "hangup" => Deed::Hangup,
        "quiet" => Deed::Quiet,
        "closed" => Deed::Closed(within(&mut words)?),
        "events" => {
            let within = within(&mut words)?;
            let count = request::number(words.first().ok_or("want a number")?)? as usize;
            let sorted = words.get(1).is_some_and(|w| w.is("sorted"));
            Deed::Events { count, sorted, within }
        }
        "pipeline" => {
            let answers = take_number(&mut words, "await")?.map(|n| n as usize);
            Deed::Requests { requests: pipeline(block)?, answers }
        }
        _ => {
            words.insert(0, verb);
            Deed::Requests { requests: vec![request_spec(words, block)?], answers: None }
        }
    })
}

fn handshake(mut words: Vec<Token>) -> Result<Handshake, String> {
    let mut last_zxid = Body::default();
    match take(&mut words, "lastzxid") {
        Some(value) => match value.bare().and_then(|v| v.strip_prefix('+')) {
            Some(offset) => last_zxid.0.push(request::Part::Zxid(
                offset.parse().map_err(|_| String::from("lastzxid=+N"))?,
            )),
            None => last_zxid.out().extend_from_slice(&request::number(&value)?.to_be_bytes()),
        },
        None => last_zxid.out().extend_from_slice(&[0; 8]),
    }
    let handshake = Handshake {
        timeout_ms: take_number(&mut words, "timeout")?.unwrap_or(10_000) as i32,
        session: take(&mut words, "session"),
        password: take(&mut words, "password"),
        last_zxid,
        protocol: take_number(&mut words, "protocol")?.unwrap_or(0) as i32,
        read_only: match take(&mut words, "readonly") {
            None => Some(false),
            Some(value) if value.is("absent") => None,
            Some(value) => Some(value.is("yes")),
        },
    };
    match words.first() {
        Some(word) => Err(format!("a handshake has no {}", word.show())),
        None => Ok(handshake),
    }
}

fn pipeline(block: &[String]) -> Result<Vec<RequestSpec>, String> {
    expanded(block)?.iter().map(|line| request_spec(tokens(line)?, &[])).collect()
}

/// The lines of a block, those of `times` as often as they say. Several requests of one round stand
/// between semicolons.
fn expanded(block: &[String]) -> Result<Vec<String>, String> {
    let mut lines = Vec::new();
    for line in block {
        let words = tokens(line)?;
        if !words[0].is("times") {
            lines.push(line.clone());
            continue;
        }
        let count = request::number(words.get(1).ok_or("times wants a number")?)?;
        let (_, template) = line.split_once("times").ok_or("times")?;
        let template = template.trim_start().trim_start_matches(|c: char| c.is_ascii_digit());
        for i in 0..count {
            lines.extend(template.split(';').map(|line| line.replace("$i", &i.to_string())));
        }
    }
    Ok(lines)
}

fn request_spec(mut words: Vec<Token>, block: &[String]) -> Result<RequestSpec, String> {
    let chosen_xid = take_number(&mut words, "xid")?.map(|n| n as i32);
    let verb = words.remove(0);
    let name = verb.bare().unwrap_or_default();
    let about_root = words.first().is_some_and(|w| w.bytes == b"/" || w.bytes.is_empty());
    let mut body = Body::default();
    let (op, reserved) = match name {
        "multi" | "multiRead" => {
            multi(block, words.first().is_some_and(|w| w.is("noend")), &mut body)?;
            (if name == "multi" { request::MULTI } else { request::MULTI_READ }, None)
        }
        "op" if words.is_empty() => return Err("op wants a number or a name".into()),
        "op" => {
            let which = words.remove(0);
            request::raw(&words, &mut body)?;
            (op_number(&which)?, None)
        }
        _ => {
            let op = Op::find(name).ok_or_else(|| format!("{name} is no operation"))?;
            op.encode(&words, &mut body)?;
            (op.code, op.reserved_xid())
        }
    };
    Ok(RequestSpec { op, xid: chosen_xid.or(reserved), about_root, body })
}

fn op_number(which: &Token) -> Result<i32, String> {
    match which.bare().unwrap_or_default() {
        "multi" => Ok(request::MULTI),
        "multiRead" => Ok(request::MULTI_READ),
        name => match Op::find(name) {
            Some(op) => Ok(op.code),
            None => request::number(which).map(|n| n as i32),
        },
    }
}

/// The operations of a multi, each with a header in front (client-protocol 6.1).
fn multi(block: &[String], no_end: bool, body: &mut Body) -> Result<(), String> {
    let header = |op: i32, done: bool, body: &mut Body| {
        let out = body.out();
        out.extend_from_slice(&op.to_be_bytes());
        out.push(u8::from(done));
        out.extend_from_slice(&(-1i32).to_be_bytes());
    };
    for line in &expanded(block)? {
        let mut words = tokens(line)?;
        let verb = words.remove(0);
        match verb.bare().unwrap_or_default() {
            "raw" => request::raw(&words, body)?,
            "op" if !words.is_empty() => {
                let which = words.remove(0);
                header(op_number(&which)?, false, body);
                request::raw(&words, body)?;
            }
            name => {
                let op = Op::find(name).ok_or_else(|| format!("{name} is no operation"))?;
                header(op.code, false, body);
                op.encode(&words, body)?;
            }
        }
    }
    if !no_end {
        header(-1, true, body);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_with_everything() {
        let file = parse(
            "x",
            "config tickTime=2000\nproperty a.b=c\n# comment\ncase one fresh\na connect timeout=5 \
             session=b password=null lastzxid=+3 readonly=absent\na multi xid=4\n  check /p 0\nend\n\
             word ruok\ncase two\nb pipeline\n  times 2 setData /p \"$i\"; getData /p\nend\n\
             gone /p within=1..2\n",
        )
        .unwrap();
        assert_eq!(file.config, [("tickTime".into(), "2000".into())]);
        assert_eq!(file.properties, [("a.b".into(), "c".into())]);
        let [one, two] = &file.cases[..] else { panic!("{file:?}") };
        assert!(one.fresh && !two.fresh);
        assert_eq!(one.steps[1].text, ["a multi xid=4", "  check /p 0", "end"]);
        assert_eq!(one.steps[2].action, Action::Word(b"ruok".to_vec()));
        let Action::On(_, Deed::Requests { requests, .. }) = &two.steps[0].action else { panic!() };
        assert_eq!(requests.iter().map(|r| r.op).collect::<Vec<_>>(), [5, 4, 5, 4]);
        assert_eq!(two.steps[1].action, Action::Gone("/p".into(), Some((1, 2))));
    }

    #[test]
    fn mistakes_have_a_line() {
        let error = |text: &str| parse("x", text).unwrap_err().to_string();
        assert_eq!(error("case a\n\na fly /x\n"), "x.txt:3: fly is no operation");
        assert_eq!(error("a connect\n"), "x.txt:1: a step before the first case");
        assert_eq!(error("case a\ncase a\n"), "x.txt:2: there is a case a already");
        assert_eq!(error("case a\na connect tomeout=1\n"), "x.txt:2: a handshake has no tomeout=1");
    }
}
