//! Runs a script of inputs and writes down everything that the machine does.

use std::fmt::Write as _;

use zk_proto::acl::AclBytes;
use zk_proto::connect::{ConnectRequest, ConnectResponse};
use zk_proto::jute::Reader;
use zk_proto::request::{
    AddWatchRequest, Create, ReadRequest, Request, RequestHeader, VersionedPath, WatchesRequest,
};
use zk_proto::response::ReplyHeader;
use zk_proto::watch::{AddWatchMode, EventType, WatcherEvent, WatcherType};
use zk_proto::{Jute, OpCode, SessionId};

use crate::client::{ClientSession, Config, Effect, Input, Output, Phase};

/// A session under test; requests are named by what the script says.
pub(super) struct Story {
    config: Config,
    machine: ClientSession<String>,
    now_ms: i64,
    told: String,
}

impl Story {
    /// The whole transcript of a script, whatever outcome stood in it before.
    pub(super) fn tell(script: &str) -> String {
        let config = Config { server_count: 3, timeout_ms: 6000, ..Config::default() };
        let machine = ClientSession::new(config.clone(), 0);
        let mut story = Story { config, machine, now_ms: 0, told: String::new() };
        for line in script.lines().filter(|line| !line.starts_with(' ')) {
            writeln!(story.told, "{line}").unwrap();
            if !line.starts_with('#') {
                story.line(line);
            }
        }
        story.told
    }

    /// One input: `[+MS] WORD ARGS`.
    fn line(&mut self, line: &str) {
        let mut words = line.split(' ').collect::<Vec<_>>();
        if let Some(ms) = words[0].strip_prefix('+') {
            self.now_ms += number(ms);
            words.remove(0);
        }
        match *words {
            ["config", ref settings @ ..] => {
                for setting in settings {
                    self.configure(setting);
                }
                self.machine = ClientSession::new(self.config.clone(), self.now_ms);
                return;
            }
            ["resume"] => {
                let resume = Some(self.machine.session().clone());
                let config = Config { resume, ..self.config.clone() };
                self.machine = ClientSession::new(config, self.now_ms);
                return;
            }
            ["xid", xid] => {
                self.machine.xid = number(xid) as i32;
                return;
            }
            // A tick at the time that the machine asks for.
            ["timer"] => {
                self.now_ms = self.machine.next_timer_ms().unwrap_or(self.now_ms);
                writeln!(self.told, "    at {}", self.now_ms).unwrap();
            }
            _ => {}
        }
        let is_greeting = matches!(self.machine.phase, Phase::Dialling { .. });
        let mut out = Output::default();
        self.input(&words, &mut out);
        for effect in &out.effects {
            self.effect(effect);
        }
        self.sent(&out.bytes, is_greeting);
    }

    fn configure(&mut self, setting: &str) {
        let config = &mut self.config;
        match setting.split_once('=').unwrap() {
            ("in_flight_count_max", value) => config.in_flight_count_max = number(value) as usize,
            ("in_flight_bytes_max", value) => config.in_flight_bytes_max = number(value) as usize,
            ("request_bytes_max", value) => config.request_bytes_max = number(value) as usize,
            ("queue_timeout_ms", value) => config.queue_timeout_ms = number(value),
            ("allows_read_only", value) => config.allows_read_only = value == "true",
            ("uses_sasl", value) => config.uses_sasl = value == "true",
            _ => panic!("no such setting: {setting}"),
        }
    }

    fn input(&mut self, words: &[&str], out: &mut Output<String>) {
        let now_ms = self.now_ms;
        let machine = &mut self.machine;
        let token = words.join(" ");
        match *words {
            ["tick" | "timer"] => machine.step(now_ms, Input::Tick, out),
            ["connected"] => machine.step(now_ms, Input::Connected, out),
            ["lost"] => machine.step(now_ms, Input::Disconnected, out),
            ["close"] => machine.step(now_ms, Input::Close { token }, out),
            ["detach"] => machine.step(now_ms, Input::Detach, out),
            ["auth", scheme, auth] => {
                machine.step(
                    now_ms,
                    Input::Auth { token, scheme, auth: Some(auth.as_bytes()) },
                    out,
                );
            }
            ["sasl", sasl] => machine.step(now_ms, Input::SaslToken(sasl.as_bytes()), out),
            ["sasl-failed"] => machine.step(now_ms, Input::SaslFailed, out),
            ["sasl-done"] => machine.step(now_ms, Input::SaslDone, out),
            ["readwrite", server] => {
                machine.step(now_ms, Input::ReadWriteServer(number(server) as usize), out);
            }
            ["servers", count, ref current @ ..] => {
                let current = current.first().map(|current| number(current) as usize);
                let count = number(count) as usize;
                machine.step(now_ms, Input::Servers { count, current }, out);
            }
            ["forget", of, path] => {
                machine.step(now_ms, Input::ForgetWatch(watcher_type(of), path), out);
            }
            ["welcome" | "reply" | "pong" | "authed" | "event" | "raw", ..] => {
                machine.step(now_ms, Input::Frame(&frame(words)), out);
            }
            _ => machine.step(now_ms, Input::Request { token, request: &request(words) }, out),
        }
    }

    fn effect(&mut self, effect: &Effect<String>) {
        let told = &mut self.told;
        match effect {
            Effect::Dial { server } => writeln!(told, "    dial {server}"),
            Effect::Hangup => writeln!(told, "    hang up"),
            Effect::Reply { token, zxid, err } => {
                writeln!(told, "    answered: {token} ({zxid}, {err})")
            }
            Effect::Failed { token, failure } => {
                writeln!(told, "    failed: {token} ({failure:?})")
            }
            Effect::Event(event) => {
                writeln!(told, "    event {:?} {} {:?}", event.kind, event.path, event.zxid)
            }
            Effect::State(state) => writeln!(told, "    state {state:?}"),
            Effect::Probe { server } => writeln!(told, "    probe {server}"),
            Effect::SaslStart => writeln!(told, "    sasl start"),
            Effect::SaslReply { err } => writeln!(told, "    sasl reply {err}"),
        }
        .unwrap();
    }

    fn sent(&mut self, mut bytes: &[u8], is_greeting: bool) {
        while let Some((length, rest)) = bytes.split_first_chunk::<4>() {
            let (frame, rest) = rest.split_at(u32::from_be_bytes(*length) as usize);
            bytes = rest;
            let mut r = Reader::new(frame);
            if is_greeting {
                let hello = ConnectRequest::read(&mut r).unwrap();
                let ConnectRequest { session_id, last_zxid_seen, timeout_ms, .. } = hello;
                writeln!(
                    self.told,
                    "    send connect session={session_id} seen={last_zxid_seen:#x} \
                     timeout={timeout_ms} ro={:?}",
                    hello.read_only
                )
                .unwrap();
                continue;
            }
            let header = RequestHeader::read(&mut r).unwrap();
            let op = OpCode::from_code(header.op).unwrap();
            let request = Request::read(op, &mut r).unwrap().unwrap();
            assert!(r.is_empty());
            writeln!(self.told, "    send {} {op}{}", header.xid, summary(&request)).unwrap();
        }
    }
}

fn number(word: &str) -> i64 {
    match word.strip_prefix("0x") {
        Some(hex) => i64::from_str_radix(hex, 16).unwrap(),
        None => word.parse().unwrap(),
    }
}

fn watcher_type(word: &str) -> WatcherType {
    match word {
        "Data" => WatcherType::Data,
        "Any" => WatcherType::Any,
        _ => panic!("{word}"),
    }
}

fn request<'a>(words: &[&'a str]) -> Request<'a> {
    let read = |watch| ReadRequest { path: words[1].into(), watch };
    match *words {
        ["get", _] => Request::GetData(read(false)),
        ["get", _, "watch"] => Request::GetData(read(true)),
        ["exists", _] => Request::Exists(read(false)),
        ["exists", _, "watch"] => Request::Exists(read(true)),
        ["ls", _, "watch"] => Request::GetChildren2(read(true)),
        ["delete", path] => Request::Delete(VersionedPath { path: path.into(), version: -1 }),
        ["create", path] => Request::Create(Create {
            op: OpCode::Create2,
            path: path.into(),
            data: None,
            acl: AclBytes::OPEN,
            flags: 0,
            ttl_ms: 0,
        }),
        ["addwatch", path, mode] => {
            let mode = match mode {
                "recursive" => AddWatchMode::PersistentRecursive,
                _ => AddWatchMode::Persistent,
            };
            Request::AddWatch(AddWatchRequest { path: Some(path.into()), mode: mode.code() })
        }
        ["unwatch", of, path] => Request::RemoveWatches(WatchesRequest {
            path: Some(path.into()),
            watcher_type: watcher_type(of).code(),
        }),
        _ => panic!("no such word: {words:?}"),
    }
}

fn frame(words: &[&str]) -> Vec<u8> {
    let header = |xid: i64, zxid: i64, err: i64| {
        ReplyHeader { xid: xid as i32, zxid, err: err as i32 }.to_bytes()
    };
    match *words {
        ["welcome", id, timeout_ms, ref rest @ ..] => ConnectResponse {
            protocol_version: 0,
            timeout_ms: number(timeout_ms) as i32,
            session_id: SessionId(number(id)),
            password: [7; 16],
            read_only: Some(rest == ["ro"]),
        }
        .to_bytes(),
        ["pong"] => header(-2, 0x1, 0),
        ["authed", err] => header(-4, 0, number(err)),
        ["reply", xid, zxid] => header(number(xid), number(zxid), 0),
        ["reply", xid, zxid, err] => header(number(xid), number(zxid), number(err)),
        ["event", kind, path, ref zxid @ ..] => {
            let zxid = zxid.first().map_or(-1, |zxid| number(zxid));
            let kind = (1..5).filter_map(EventType::from_code).find(|k| k.name() == kind).unwrap();
            let event = WatcherEvent { event_type: kind.code(), state: 3, path: path.into() };
            [header(-1, zxid, 0), event.to_bytes()].concat()
        }
        ["raw", hex] => (0..hex.len() / 2)
            .map(|at| u8::from_str_radix(&hex[2 * at..2 * at + 2], 16).unwrap())
            .collect(),
        _ => panic!("no such word: {words:?}"),
    }
}

fn summary(request: &Request<'_>) -> String {
    match request {
        Request::Create(create) => format!(" {}", create.path),
        Request::Delete(delete) => format!(" {}", delete.path),
        Request::Exists(read) | Request::GetData(read) | Request::GetChildren2(read) => {
            format!(" {}{}", read.path, if read.watch { " watch" } else { "" })
        }
        Request::Auth(auth) => format!(" {:?} {:?}", auth.scheme, auth.auth.map(<[u8]>::len)),
        Request::SetWatches(w) | Request::SetWatches2(w) => {
            let lists = [&w.data, &w.exist, &w.child, &w.persistent, &w.persistent_recursive];
            let [data, exist, child, persistent, recursive] =
                lists.map(|list| list.iter().flatten().flatten().collect::<Vec<_>>());
            format!(
                " seen={:#x} data={data:?} exist={exist:?} child={child:?} \
                 persistent={persistent:?} recursive={recursive:?}",
                w.relative_zxid
            )
        }
        Request::AddWatch(add) => format!(" {:?} {}", add.path, add.mode),
        Request::RemoveWatches(remove) => {
            format!(" {} {}", remove.path.as_deref().unwrap_or_default(), remove.watcher_type)
        }
        Request::Sasl(sasl) => format!(" {:?}", sasl.token.map(String::from_utf8_lossy)),
        _ => String::new(),
    }
}
