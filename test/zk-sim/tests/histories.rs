//! Histories that are wrong in one place: the invariant that is about that place must refuse them,
//! on its own.

use std::rc::Rc;
use zk_proto::response::{MultiResponse, MultiResult};
use zk_proto::{Jute, OpCode, Reader};
use zk_sim::oracle::{Asked, Cause, Expected, Fact, Oracle, Terms};
use zk_sim::record::{Conn, Picture, Record};
use zk_sim::{Judge, RunOptions, run};

/// How many runs are looked through for places to spoil.
const SEEDS: u64 = 300;
/// How many places of a kind are tried.
const PLACES: usize = 6;

/// Where in a history something holds.
fn places(
    history: &[Record],
    terms: Terms,
    holds: impl Fn(&Record, &Oracle) -> bool,
) -> Vec<usize> {
    let mut oracle = Oracle::new(terms);
    let mut found = Vec::new();
    for (at, record) in history.iter().enumerate() {
        oracle.see(record);
        if holds(record, &oracle) {
            found.push(at);
        }
    }
    found
}

/// Spoils histories at places where `holds`, and asks the invariant about each.
fn check(
    invariant: &str,
    holds: impl Fn(&Record, &Oracle) -> bool,
    spoil: impl Fn(&mut Vec<Record>, usize) -> bool,
) {
    let mut tried = 0;
    for seed in 1..=SEEDS {
        let outcome = run(seed, RunOptions::default());
        let terms = outcome.settings.terms;
        for at in places(&outcome.history, terms, &holds) {
            let mut history = outcome.history.clone();
            if !spoil(&mut history, at) {
                continue;
            }
            tried += 1;
            let mut judge = Judge::only(terms, invariant);
            let verdict = history.iter().try_for_each(|record| judge.see(record));
            assert!(verdict.is_err(), "{invariant}: seed {seed}, spoiled record {at} passed");
            if tried == PLACES {
                return;
            }
        }
    }
    assert!(tried > 0, "{invariant}: no place to spoil in {SEEDS} seeds");
}

/// Changes bytes of a frame or transaction.
fn patch(record: &mut Record, change: impl Fn(&mut Vec<u8>)) -> bool {
    let (Record::Sent { frame: bytes, .. } | Record::Appended { txn: bytes, .. }) = record else {
        return false;
    };
    let mut changed = bytes.to_vec();
    change(&mut changed);
    *bytes = changed.into();
    true
}

fn flip(at: usize) -> impl Fn(&mut Vec<Record>, usize) -> bool {
    move |history, place| {
        patch(&mut history[place], |bytes| {
            let at = at.min(bytes.len() - 1);
            bytes[at] ^= 1;
        })
    }
}

fn remove(history: &mut Vec<Record>, at: usize) -> bool {
    history.remove(at);
    true
}

fn double(history: &mut Vec<Record>, at: usize) -> bool {
    history.insert(at, history[at].clone());
    true
}

fn with_picture(record: &mut Record, change: impl Fn(&mut Picture) -> bool) -> bool {
    let (Record::Started { picture, .. }
    | Record::Inspected { picture }
    | Record::Snapshotted { picture }) = record
    else {
        return false;
    };
    change(Rc::make_mut(picture))
}

fn replied(oracle: &Oracle, holds: impl Fn(&Asked) -> bool) -> bool {
    matches!(&oracle.fact, Fact::Replied { asked: Some(asked), .. } if holds(asked))
}

fn is_write(oracle: &Oracle) -> bool {
    replied(oracle, |asked| matches!(asked.expected, Expected::Write(_)))
}

fn is_op(oracle: &Oracle, op: OpCode) -> bool {
    replied(oracle, |asked| asked.op == op.code())
}

fn is_event(_: &Record, oracle: &Oracle) -> bool {
    matches!(&oracle.fact, Fact::Event { event, .. } if event.zxid > 0)
}

fn is_catch_up(_: &Record, oracle: &Oracle) -> bool {
    matches!(&oracle.fact, Fact::Event { event, .. } if event.zxid == -1)
}

/// Whether this is a reply to a request of `conn`.
fn is_reply_to(record: &Record, conn: Conn) -> bool {
    // Events have -1 in front, handshakes 0.
    matches!(record, Record::Sent { conn: c, frame }
        if *c == conn && frame[..4] != [0xff; 4] && frame[..4] != [0; 4])
}

fn zxid_of(record: &Record) -> i64 {
    let (Record::Sent { frame, .. } | Record::Received { frame, .. }) = record else { return 0 };
    frame[4..12].iter().fold(0, |zxid, byte| zxid << 8 | i64::from(*byte))
}

/// The next record behind `at`, on the same connection and in the same life of the member, for
/// which `holds`.
fn next(history: &[Record], at: usize, holds: impl Fn(&Record, Conn) -> bool) -> Option<usize> {
    let Record::Sent { conn, .. } = history[at] else { return None };
    let ends = |record: &Record| match record {
        Record::Crashed => true,
        Record::Gone { conn: c } | Record::Closed { conn: c } => *c == conn,
        _ => false,
    };
    let behind = history.iter().enumerate().skip(at + 1);
    behind.take_while(|(_, r)| !ends(r)).find(|(_, r)| holds(r, conn)).map(|(next, _)| next)
}

fn has_body(record: &Record) -> bool {
    matches!(record, Record::Sent { frame, .. } if frame.len() > 16)
}

#[test]
fn z3() {
    let name = "Z3 local primary order";
    let request = |_: &Record, oracle: &Oracle| {
        matches!(oracle.fact, Fact::Proposed { cause: Cause::Request(_), .. })
    };
    let not_last = |history: &mut Vec<Record>, at: usize| {
        let record = history.remove(at);
        matches!(record, Record::Appended { .. })
            && history[at..]
                .iter()
                .take_while(|r| !matches!(r, Record::Crashed))
                .any(|r| matches!(r, Record::Appended { .. }))
    };
    check(name, request, not_last);
    check(name, request, double);
    check(name, request, flip(7)); // the session
    check(name, request, flip(11)); // the xid
    check(name, request, flip(27)); // the time
}

#[test]
fn z5() {
    let name = "Z5 durability";
    let first = |record: &Record, _: &Oracle| matches!(record, Record::Synced { zxid: 1 });
    check(name, first, |history, _| {
        history.retain(|record| !matches!(record, Record::Synced { .. }));
        true
    });
    let shows = |record: &Record, oracle: &Oracle| {
        matches!(&oracle.fact, Fact::Replied { header, .. } if header.zxid == oracle.synced)
            && matches!(record, Record::Sent { .. })
    };
    check(name, shows, flip(8)); // a zxid far ahead
    check(name, is_event, flip(8));
    let later = |record: &Record, _: &Oracle| matches!(record, Record::Started { .. });
    check(name, later, |history, at| {
        let synced = history[..at].iter().rev().find_map(|record| match record {
            Record::Synced { zxid } => Some(*zxid),
            _ => None,
        });
        with_picture(&mut history[at], |picture| {
            let is_last = synced == Some(picture.zxid);
            picture.zxid -= 1;
            is_last
        })
    });
}

#[test]
fn z8() {
    let name = "Z8 tree digest";
    let applied = |record: &Record, _: &Oracle| matches!(record, Record::Applied { .. });
    check(name, applied, |history, at| {
        let Record::Applied { digest, .. } = &mut history[at] else { return false };
        *digest ^= 1;
        true
    });
    let digested =
        |_: &Record, oracle: &Oracle| matches!(oracle.fact, Fact::Proposed { digest: Some(_), .. });
    check(name, digested, flip(usize::MAX));
    let pictured = |record: &Record, _: &Oracle| matches!(record, Record::Snapshotted { .. });
    check(name, pictured, |history, at| {
        with_picture(&mut history[at], |picture| {
            picture.digest += 1;
            true
        })
    });
}

#[test]
fn c6() {
    let name = "C6 sync";
    let known = |_: &Record, oracle: &Oracle| {
        replied(oracle, |asked| asked.op == OpCode::Sync.code() && asked.after > 0)
    };
    // It shows less than what somebody knew.
    check(name, known, |history, at| patch(&mut history[at], |bytes| bytes[4..12].fill(0)));
}

#[test]
fn c2() {
    let name = "C2 model equality";
    check(name, |record, oracle| is_write(oracle) && has_body(record), flip(usize::MAX));
    check(name, |_, oracle| is_write(oracle), flip(15)); // the error
    check(name, |_, oracle| is_op(oracle, OpCode::Create2), flip(40)); // a Stat
}

#[test]
fn c3() {
    let name = "C3 FIFO client order";
    let any = |_: &Record, oracle: &Oracle| replied(oracle, |_| true);
    check(name, any, double);
    check(name, any, flip(3)); // the xid
    check(name, any, |history, at| {
        let Some(next) = next(history, at, is_reply_to) else { return false };
        let xid = |record: &Record| match record {
            Record::Sent { frame, .. } => frame[..4].to_vec(),
            _ => Vec::new(),
        };
        history.swap(at, next);
        xid(&history[at]) != xid(&history[next])
    });
}

#[test]
fn c4() {
    let name = "C4 single system image";
    let read = |record: &Record, oracle: &Oracle| {
        has_body(record) && replied(oracle, |asked| asked.expected == Expected::Read)
    };
    check(name, read, flip(usize::MAX));
    check(name, |_, oracle| is_op(oracle, OpCode::GetData), flip(15));
    // A session is led back to where it was before.
    check(
        name,
        |_, oracle| is_op(oracle, OpCode::Ping),
        |history, at| {
            let Record::Sent { conn, .. } = history[at] else { return false };
            let before =
                history[..at].iter().rev().find(|r| is_reply_to(r, conn)).map_or(0, zxid_of);
            before > 1
                && patch(&mut history[at], |bytes| {
                    bytes[4..12].copy_from_slice(&1i64.to_be_bytes())
                })
        },
    );
}

#[test]
fn c5() {
    let name = "C5 atomic multi";
    let parts = |record: &Record, oracle: &Oracle, wanted: bool| {
        let Record::Sent { frame, .. } = record else { return false };
        let response = MultiResponse::read(&mut Reader::new(&frame[16.min(frame.len())..]));
        is_op(oracle, OpCode::Multi)
            && response.is_ok_and(|response| {
                let is_error = |r: &MultiResult<'_>| matches!(r, MultiResult::Error(_));
                response.results.len() > 1 && response.results.iter().any(is_error) == wanted
            })
    };
    let rewrite = |result: MultiResult<'static>| {
        move |history: &mut Vec<Record>, at: usize| {
            patch(&mut history[at], |bytes| {
                let header = bytes[..16].to_vec();
                let body = bytes[16..].to_vec();
                let mut response = MultiResponse::read(&mut Reader::new(&body)).expect("it was");
                response.results[0] = result.clone();
                *bytes = header;
                response.write(bytes);
            })
        }
    };
    check(name, |r, o| parts(r, o, false), rewrite(MultiResult::Error(-101)));
    check(name, |r, o| parts(r, o, true), rewrite(MultiResult::Delete));
    check(
        name,
        |r, o| parts(r, o, true),
        |history, at| patch(&mut history[at], |bytes| bytes.truncate(bytes.len() - 1)),
    );
}

#[test]
fn s1() {
    let name = "S1 session";
    let expiry = |_: &Record, oracle: &Oracle| {
        matches!(oracle.fact, Fact::Proposed { cause: Cause::Expiry, .. })
    };
    check(name, expiry, remove);
    check(name, expiry, |history, at| {
        let tick = history[..at].iter().rposition(|r| matches!(r, Record::Ticked { .. }));
        let Some(Record::Ticked { now }) = tick.map(|tick| &mut history[tick]) else {
            return false;
        };
        now.monotonic_ms -= 100_000;
        true
    });
    let handshake = |record: &Record, oracle: &Oracle| {
        matches!(record, Record::Sent { .. }) && matches!(oracle.fact, Fact::Handshake { .. })
    };
    check(name, handshake, flip(7)); // the timeout
    check(name, handshake, flip(15)); // the session
    check(name, handshake, flip(30)); // the password
}

#[test]
fn s2() {
    let pictured = |record: &Record, _: &Oracle| {
        matches!(
            record,
            Record::Inspected { .. } | Record::Started { .. } | Record::Snapshotted { .. }
        )
    };
    check("S2 ephemeral", pictured, |history, at| {
        with_picture(&mut history[at], |picture| {
            let before = picture.sessions.len();
            let owns = |id: i64| picture.nodes.iter().any(|node| node.longs[5] == id);
            let Some(owner) = picture.sessions.iter().position(|(id, _)| owns(*id)) else {
                return false;
            };
            picture.sessions.remove(owner);
            before > picture.sessions.len()
        })
    });
    check("S2 ephemeral", pictured, |history, at| {
        with_picture(&mut history[at], |picture| {
            picture.nodes.last_mut().is_some_and(|node| {
                node.longs[5] = 0x0177_0000_0000_0000;
                true
            })
        })
    });
}

#[test]
fn s3() {
    let sequential = |record: &Record, oracle: &Oracle| {
        let Record::Sent { frame, .. } = record else { return false };
        // The flags are the last four bytes of the request.
        is_op(oracle, OpCode::Create)
            && frame[12..16] == [0; 4]
            && replied(oracle, |asked| asked.frame.ends_with(&[0, 0, 0, 2]))
    };
    let name = "S3 sequence";
    let rename = |suffix: &'static [u8; 10]| {
        move |history: &mut Vec<Record>, at: usize| {
            patch(&mut history[at], |bytes| {
                let from = bytes.len() - 10;
                bytes[from..].copy_from_slice(suffix);
            })
        }
    };
    check(name, sequential, rename(b"000000000x"));
    check(name, sequential, rename(b"-000000001"));
    // The root is always the same znode: its second sequential child is told to be the first.
    let told = std::cell::Cell::new(0);
    let second_of_root = |record: &Record, oracle: &Oracle| {
        if matches!(record, Record::Started { picture, .. } if picture.zxid == 0) {
            told.set(0);
        }
        let Record::Sent { frame, .. } = record else { return false };
        let of_root = sequential(record, oracle)
            && frame[20..].iter().filter(|byte| **byte == b'/').count() == 1;
        told.set(told.get() + u32::from(of_root));
        of_root && told.get() > 1
    };
    check(name, second_of_root, rename(b"0000000000"));
}

#[test]
fn s4() {
    let kept = |_: &Record, oracle: &Oracle| {
        matches!(&oracle.fact, Fact::Proposed { cause: Cause::Reaper, header: Some(header), .. }
            if header.op == OpCode::Error.code())
    };
    check("S4 reaping", kept, |history, at| {
        patch(&mut history[at], |bytes| {
            bytes[28..32].copy_from_slice(&OpCode::DeleteContainer.code().to_be_bytes());
            bytes.truncate(32);
            bytes.extend_from_slice(&[0, 0, 0, 2, b'/', b't']);
        })
    });
}

#[test]
fn w1() {
    let name = "W1 event order";
    check(name, is_event, |history, at| {
        let zxid = zxid_of(&history[at]);
        let shows = |record: &Record, conn| is_reply_to(record, conn) && zxid_of(record) >= zxid;
        let Some(reply) = next(history, at, shows) else { return false };
        let event = history.remove(at);
        history.insert(reply, event);
        true
    });
    // Events of two transactions change places.
    check(name, is_event, |history, at| {
        let zxid = zxid_of(&history[at]);
        let later = |record: &Record, conn| {
            matches!(record, Record::Sent { conn: c, .. } if *c == conn)
                && !is_reply_to(record, conn)
                && zxid_of(record) > zxid
        };
        let Some(next) = next(history, at, later) else { return false };
        history.swap(at, next);
        true
    });
}

#[test]
fn w2_and_w3() {
    check("W2 unique events", is_event, double);
    check("W2 unique events", is_event, flip(19)); // another event
    check("W2 unique events", is_catch_up, double);
    check("W3 reliable events", is_event, remove);
    check("W3 reliable events", is_event, flip(usize::MAX)); // another path
    check("W3 reliable events", is_catch_up, remove);
}

#[test]
fn w4() {
    // Nothing that changed there may be read, for there is no such change.
    check("W4 no foreign path", is_event, flip(usize::MAX));
    check("W4 no foreign path", is_event, flip(19));
}

#[test]
fn b1() {
    let name = "B1 exactness";
    let pictured = |record: &Record, _: &Oracle| {
        matches!(
            record,
            Record::Inspected { .. } | Record::Started { .. } | Record::Snapshotted { .. }
        )
    };
    let spoil = |change: fn(&mut Picture) -> bool| {
        move |history: &mut Vec<Record>, at: usize| with_picture(&mut history[at], change)
    };
    check(name, pictured, spoil(|p| p.nodes.pop().is_some()));
    check(name, pictured, spoil(|p| p.sessions.pop().is_some()));
    check(
        name,
        pictured,
        spoil(|p| {
            p.nodes[0].versions[1] += 1;
            true
        }),
    );
    check(
        name,
        pictured,
        spoil(|p| {
            p.nodes[1].acl.push(0);
            true
        }),
    );
    check(
        name,
        pictured,
        spoil(|p| {
            p.zxid += 1000;
            true
        }),
    );
}

#[test]
fn l1() {
    let name = "L1 liveness";
    let live = |record: &Record, oracle: &Oracle| {
        matches!(record, Record::Sent { .. }) && replied(oracle, |asked| asked.op == 4)
    };
    check(name, live, |history, at| {
        let Record::Sent { conn, .. } = history[at] else { return false };
        history.insert(at + 1, Record::Closed { conn });
        true
    });
    // The reply never came.
    check(name, live, |history, at| {
        let quiet = next(history, at, |record, _| *record == Record::Quiet);
        history.remove(at);
        quiet.is_some()
    });
    // What was given out was never applied.
    let quiet = |record: &Record, _: &Oracle| *record == Record::Quiet;
    check(name, quiet, |history, at| {
        let applied = history[..at].iter().rposition(|r| matches!(r, Record::Applied { .. }));
        let started = history[..at].iter().rposition(|r| matches!(r, Record::Started { .. }));
        let Some(Record::Applied { zxid, .. }) = applied.map(|applied| &mut history[applied])
        else {
            return false;
        };
        *zxid -= 1;
        applied > started
    });
}
