//! A client's session and a server that sends anything: every request is answered once, the newest
//! zxid never goes back, and every body can be read.
#![no_main]

use libfuzzer_sys::fuzz_target;
use std::collections::{BTreeMap, VecDeque};
use zk_proto::connect::ConnectResponse;
use zk_proto::request::{ReadRequest, Request, RequestHeader};
use zk_proto::response::*;
use zk_proto::watch::{WatcherEvent, WatcherType};
use zk_proto::{Jute, Reader, SessionId, Zxid};
use zk_session::client::{BODY_AT, ClientSession, Config, Effect, Input, Output};
use zkfleet_fuzz::{Tape, reads_back};

#[derive(PartialEq)]
enum Line {
    Idle,
    Dialling,
    Fresh,
    Up,
}

struct World {
    client: ClientSession<usize>,
    now_ms: i64,
    line: Line,
    wire: VecDeque<i32>,
    answers: BTreeMap<usize, u32>,
    asked: usize,
    seen: Zxid,
}

impl World {
    fn new(shape: u8) -> World {
        let config = Config {
            server_count: 3,
            timeout_ms: 6000,
            allows_read_only: shape & 1 == 1,
            uses_sasl: shape & 2 == 2,
            in_flight_count_max: 4,
            ..Config::default()
        };
        World {
            client: ClientSession::new(config, 0),
            now_ms: 0,
            line: Line::Idle,
            wire: VecDeque::new(),
            answers: BTreeMap::new(),
            asked: 0,
            seen: Zxid::ZERO,
        }
    }

    fn step(&mut self, input: Input<'_, usize>) {
        let mut out = Output::default();
        self.client.step(self.now_ms, input, &mut out);
        for effect in out.effects {
            match effect {
                Effect::Dial { server } => {
                    assert!(server < 3 && self.line == Line::Idle, "a dial beside a connection");
                    self.line = Line::Dialling;
                }
                Effect::Hangup => {
                    assert!(self.line != Line::Idle, "nothing to hang up");
                    self.line = Line::Idle;
                    self.wire.clear();
                }
                Effect::Reply { token, .. } | Effect::Failed { token, .. } => {
                    *self.answers.entry(token).or_default() += 1;
                }
                _ => {}
            }
        }
        self.read(&out.bytes);
        assert!(self.client.session().last_zxid >= self.seen, "the newest zxid went back");
        self.seen = self.client.session().last_zxid;
    }

    fn read(&mut self, mut bytes: &[u8]) {
        while let Some((length, rest)) = bytes.split_first_chunk::<4>() {
            let (frame, rest) = rest.split_at(u32::from_be_bytes(*length) as usize);
            bytes = rest;
            match self.line {
                Line::Fresh => self.line = Line::Up,
                Line::Up => {
                    let header = RequestHeader::read(&mut Reader::new(frame)).expect("own frame");
                    self.wire.push_back(header.xid);
                }
                _ => panic!("bytes without a connection"),
            }
        }
    }

    fn token(&mut self) -> usize {
        self.asked += 1;
        self.asked
    }

    /// Frames of a server that keeps to the protocol, as far as the tape does.
    fn frame(&mut self, kind: u8, tape: &mut Tape<'_>) {
        let frame = match kind {
            0 => tape.part().to_vec(),
            1 => ConnectResponse {
                protocol_version: 0,
                timeout_ms: i32::from(tape.byte()) * 100,
                session_id: SessionId(5),
                password: [1; 16],
                read_only: Some(tape.byte() & 1 == 1),
            }
            .to_bytes(),
            2 => {
                let header = ReplyHeader { xid: -1, zxid: i64::MAX, err: 0 }.to_bytes();
                let (event_type, path) = (i32::from(tape.byte()), tape.part());
                let path = String::from_utf8_lossy(path);
                [header, WatcherEvent { event_type, state: 3, path }.to_bytes()].concat()
            }
            _ => {
                let Some(xid) = self.wire.pop_front() else { return };
                let (zxid, err) = (i64::from(tape.byte() as i8), i32::from(tape.byte() as i8));
                let header = ReplyHeader { xid, zxid, err: err.min(0) }.to_bytes();
                [&header, tape.part()].concat()
            }
        };
        self.step(Input::Frame(&frame));
        bodies(frame.get(BODY_AT..).unwrap_or_default());
    }

    fn play(&mut self, tape: &mut Tape<'_>) {
        let kind = tape.byte() % 20;
        match kind {
            0 | 1 => {
                let wait = i64::from(tape.byte()) * 20;
                let timer = self.client.next_timer_ms().unwrap_or(0);
                self.now_ms = if kind == 0 { self.now_ms + wait } else { self.now_ms.max(timer) };
                self.step(Input::Tick);
            }
            2 | 3 if self.line == Line::Dialling => {
                self.line = Line::Fresh;
                self.step(Input::Connected);
            }
            4 if self.line != Line::Idle => {
                self.line = Line::Idle;
                self.wire.clear();
                self.step(Input::Disconnected);
            }
            5..=10 if self.line == Line::Up => self.frame(kind - 5, tape),
            11 | 12 => {
                let (token, path) = (self.token(), String::from_utf8_lossy(tape.part()));
                let request = Request::GetData(ReadRequest { path, watch: kind == 11 });
                self.step(Input::Request { token, request: &request });
            }
            13 => {
                let (token, auth) = (self.token(), tape.part());
                self.step(Input::Auth { token, scheme: "digest", auth: Some(auth) });
            }
            14 => {
                let path = String::from_utf8_lossy(tape.part());
                self.step(Input::ForgetWatch(WatcherType::Any, &path));
            }
            15 => {
                let current = usize::from(tape.byte() % 4);
                self.step(Input::Servers { count: 3, current: (current < 3).then_some(current) });
            }
            16 => self.step(Input::ReadWriteServer(usize::from(tape.byte() % 3))),
            17 if self.line == Line::Up => self.step(Input::SaslToken(tape.part())),
            18 if self.line == Line::Up => self.step(Input::SaslDone),
            19 => {
                let token = self.token();
                self.step(Input::Close { token });
            }
            _ => {}
        }
    }
}

fn bodies(body: &[u8]) {
    reads_back!(
        body,
        ReplyHeader,
        CreateResponse,
        Create2Response,
        StatResponse,
        GetDataResponse,
        GetAclResponse,
        GetChildrenResponse,
        GetChildren2Response,
        SyncResponse,
        GetAllChildrenNumberResponse,
        WhoAmIResponse,
        MultiResponse,
        WatcherEvent,
    );
}

fuzz_target!(|input: &[u8]| {
    let mut tape = Tape(input);
    let mut world = World::new(tape.byte());
    bodies(tape.0);
    world.step(Input::Tick);
    while !tape.is_empty() {
        world.play(&mut tape);
    }
    world.step(Input::Detach);
    assert!(world.client.state().is_over());
    let answers = world.answers.iter().map(|(token, count)| (*token, *count));
    assert!(answers.eq((1..=world.asked).map(|token| (token, 1))), "{:?}", world.answers);
});
