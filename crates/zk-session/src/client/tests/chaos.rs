//! Any inputs in any order: every request is answered exactly once, and the connection is used as
//! promised.

use std::collections::{BTreeMap, VecDeque};

use proptest::prelude::*;
use zk_proto::connect::ConnectResponse;
use zk_proto::jute::Reader;
use zk_proto::request::{ReadRequest, Request, RequestHeader};
use zk_proto::response::ReplyHeader;
use zk_proto::watch::{WatcherEvent, WatcherType};
use zk_proto::{Jute, SessionId, Zxid};

use crate::client::{ClientSession, Config, Effect, Input, Output, SessionState};

#[derive(Clone, Debug)]
enum Move {
    Wait(i64),
    Timer,
    Connected,
    Lost,
    Welcome {
        timeout_ms: i32,
        is_read_only: bool,
    },
    /// The reply to the oldest request on the wire.
    Reply {
        err: i32,
    },
    Event,
    Garbage(Vec<u8>),
    Ask {
        watch: bool,
    },
    Auth,
    Forget,
    Servers(Option<usize>),
    ReadWrite,
    Close,
}

fn moves() -> impl Strategy<Value = Move> {
    prop_oneof![
        4 => (0i64..3000).prop_map(Move::Wait),
        6 => Just(Move::Timer),
        8 => Just(Move::Connected),
        2 => Just(Move::Lost),
        8 => (prop_oneof![Just(6000), Just(6000), Just(4000), Just(0)], prop::bool::weighted(0.2))
            .prop_map(|(timeout_ms, is_read_only)| Move::Welcome { timeout_ms, is_read_only }),
        12 => prop_oneof![Just(0), Just(0), Just(-101)].prop_map(|err| Move::Reply { err }),
        2 => Just(Move::Event),
        1 => proptest::collection::vec(any::<u8>(), 0..40).prop_map(Move::Garbage),
        12 => any::<bool>().prop_map(|watch| Move::Ask { watch }),
        1 => Just(Move::Auth),
        1 => Just(Move::Forget),
        1 => prop::option::of(0usize..3).prop_map(Move::Servers),
        1 => Just(Move::ReadWrite),
        1 => Just(Move::Close),
    ]
}

#[derive(PartialEq, Eq, Debug)]
enum Line {
    Idle,
    Dialling,
    /// The connect request is the first frame.
    Fresh,
    Up,
}

struct Chaos {
    machine: ClientSession<usize>,
    now_ms: i64,
    line: Line,
    wire: VecDeque<i32>,
    answers: BTreeMap<usize, u32>,
    asked: usize,
    seen: Zxid,
}

impl Chaos {
    fn step(&mut self, input: Input<'_, usize>) {
        let mut out = Output::default();
        self.machine.step(self.now_ms, input, &mut out);
        for effect in out.effects {
            match effect {
                Effect::Dial { .. } => {
                    assert_eq!(self.line, Line::Idle, "a dial while there is a connection");
                    self.line = Line::Dialling;
                }
                Effect::Hangup => {
                    assert_ne!(self.line, Line::Idle, "nothing to hang up");
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
        assert!(self.machine.session().last_zxid >= self.seen, "the newest zxid went back");
        self.seen = self.machine.session().last_zxid;
        if self.machine.state().is_over() {
            assert_eq!(self.machine.next_timer_ms(), None);
            assert_eq!(self.machine.pending_count(), 0);
        }
    }

    fn read(&mut self, mut bytes: &[u8]) {
        while let Some((length, rest)) = bytes.split_first_chunk::<4>() {
            let (frame, rest) = rest.split_at(u32::from_be_bytes(*length) as usize);
            bytes = rest;
            match self.line {
                Line::Fresh => self.line = Line::Up,
                Line::Up => {
                    let header = RequestHeader::read(&mut Reader::new(frame)).unwrap();
                    self.wire.push_back(header.xid);
                }
                _ => panic!("bytes without a connection"),
            }
        }
    }

    fn ask(&mut self) -> usize {
        self.asked += 1;
        self.asked
    }

    fn play(&mut self, what: &Move) {
        match *what {
            Move::Wait(ms) => {
                self.now_ms += ms;
                self.step(Input::Tick);
            }
            Move::Timer => {
                self.now_ms = self.machine.next_timer_ms().unwrap_or(0).max(self.now_ms);
                self.step(Input::Tick);
            }
            Move::Connected if self.line == Line::Dialling => {
                self.line = Line::Fresh;
                self.step(Input::Connected);
            }
            Move::Lost if self.line != Line::Idle => {
                self.line = Line::Idle;
                self.wire.clear();
                self.step(Input::Disconnected);
            }
            Move::Welcome { timeout_ms, is_read_only } if self.line == Line::Up => {
                let answer = ConnectResponse {
                    protocol_version: 0,
                    timeout_ms,
                    session_id: SessionId(5),
                    password: [1; 16],
                    read_only: Some(is_read_only),
                };
                self.step(Input::Frame(&answer.to_bytes()));
            }
            Move::Reply { err } if self.line == Line::Up => {
                let Some(xid) = self.wire.pop_front() else { return };
                let zxid = self.now_ms;
                self.step(Input::Frame(&ReplyHeader { xid, zxid, err }.to_bytes()));
            }
            Move::Event if self.line == Line::Up => {
                let header = ReplyHeader { xid: -1, zxid: i64::MAX, err: 0 }.to_bytes();
                let event = WatcherEvent { event_type: 3, state: 3, path: "/a".into() };
                self.step(Input::Frame(&[header, event.to_bytes()].concat()));
            }
            Move::Garbage(ref bytes) if self.line == Line::Up => self.step(Input::Frame(bytes)),
            Move::Ask { watch } => {
                let token = self.ask();
                let request = Request::GetData(ReadRequest { path: "/a".into(), watch });
                self.step(Input::Request { token, request: &request });
            }
            Move::Auth => {
                let token = self.ask();
                self.step(Input::Auth { token, scheme: "digest", auth: Some(b"u:p") });
            }
            Move::Forget => self.step(Input::ForgetWatch(WatcherType::Any, "/a")),
            Move::Servers(current) => self.step(Input::Servers { count: 3, current }),
            Move::ReadWrite => self.step(Input::ReadWriteServer(1)),
            Move::Close => {
                let token = self.ask();
                self.step(Input::Close { token });
            }
            _ => {}
        }
    }
}

proptest! {
    #[test]
    fn every_request_is_answered_once(
        allows_read_only: bool,
        in_flight_count_max in 1usize..5,
        seed: u64,
        moves in proptest::collection::vec(moves(), 0..120),
    ) {
        let config = Config {
            server_count: 3,
            timeout_ms: 6000,
            queue_timeout_ms: 5000,
            allows_read_only,
            in_flight_count_max,
            seed,
            ..Config::default()
        };
        let mut chaos = Chaos {
            machine: ClientSession::new(config, 0),
            now_ms: 0,
            line: Line::Idle,
            wire: VecDeque::new(),
            answers: BTreeMap::new(),
            asked: 0,
            seen: Zxid::ZERO,
        };
        for what in &moves {
            chaos.play(what);
            prop_assert!(chaos.machine.in_flight.len() <= in_flight_count_max.max(1) + 1);
        }
        chaos.step(Input::Detach);
        prop_assert!(chaos.machine.state().is_over());
        prop_assert_ne!(chaos.machine.state(), SessionState::Disconnected);
        let answers = chaos.answers.iter().map(|(token, count)| (*token, *count));
        prop_assert!(answers.eq((1..=chaos.asked).map(|token| (token, 1))), "{:?}", chaos.answers);
    }
}
