//! The checks of ensembles are checked: single records of real runs are spoiled, and the check that
//! is there for it must notice, alone.

#![allow(clippy::unwrap_used)]

use std::rc::Rc;
use zk_proto::response::{MultiResponse, MultiResult};
use zk_proto::{Epoch, Jute, Reader, Zxid};
use zk_sim::ensemble::{Facts, Judge, Outcome, Record, RunOptions, Said, run};

type Story = Vec<(u64, Record)>;

/// Spoils the record at a place, if there is something there to be spoiled.
type Plant = fn(&mut Story, usize) -> bool;

fn story(seed: u64) -> Outcome {
    let outcome = run(seed, &RunOptions { keeps_story: true, ..RunOptions::default() });
    assert!(outcome.violation.is_none(), "{:?}", outcome.report());
    outcome
}

/// Whether the check of this name is content.
fn accepts(facts: &Facts, name: &str, story: &Story) -> bool {
    let mut judge = Judge::only(facts.clone(), name);
    assert_eq!(judge.names().count(), 1, "{name}");
    story.iter().all(|(at_us, record)| judge.see(*at_us, record).is_ok())
}

fn frame_of(record: &mut Record) -> Option<&mut Rc<[u8]>> {
    match record {
        Record::Sent { frame, .. } | Record::Received { frame, .. } => Some(frame),
        _ => None,
    }
}

/// The xid, zxid, error and body of a reply that a member sent.
fn reply(record: &Record) -> Option<(i32, i64, i32, &[u8])> {
    let Record::Sent { frame, .. } = record else { return None };
    let mut r = Reader::new(frame);
    let (xid, zxid, err) = (r.i32().ok()?, r.i64().ok()?, r.i32().ok()?);
    (xid != 0 && xid < 1 << 20).then(|| (xid, zxid, err, &frame[16..]))
}

/// The operation of the request that a reply answers.
fn op_of(story: &Story, at: usize) -> Option<i32> {
    let Record::Sent { conn, .. } = &story[at].1 else { return None };
    let (xid, ..) = reply(&story[at].1)?;
    story[..at].iter().rev().find_map(|(_, record)| match record {
        Record::Invoked { conn: of, frame, .. } if of == conn && frame.len() >= 8 => {
            let mut r = Reader::new(frame);
            let (its, op) = (r.i32().ok()?, r.i32().ok()?);
            (its == xid).then_some(op)
        }
        _ => None,
    })
}

fn put(record: &mut Record, at: usize, bytes: &[u8]) -> bool {
    let Some(frame) = frame_of(record) else { return false };
    let mut spoiled = frame.to_vec();
    if spoiled.len() < at + bytes.len() || spoiled[at..at + bytes.len()] == *bytes {
        return false;
    }
    spoiled[at..at + bytes.len()].copy_from_slice(bytes);
    *frame = spoiled.into();
    true
}

fn flip_last(record: &mut Record) -> bool {
    let Some(frame) = frame_of(record) else { return false };
    let mut spoiled = frame.to_vec();
    let Some(last) = spoiled.last_mut() else { return false };
    *last ^= 1;
    *frame = spoiled.into();
    true
}

fn is_write_reply(story: &Story, at: usize) -> bool {
    matches!(op_of(story, at), Some(1 | 2 | 5 | 14 | 15)) && reply(&story[at].1).unwrap().0 > 0
}

fn is_event(record: &Record) -> bool {
    reply(record).is_some_and(|(xid, zxid, ..)| xid == -1 && zxid > 0)
}

fn conn_of(record: &Record) -> Option<u64> {
    match record {
        Record::Sent { conn, .. } => Some(*conn),
        _ => None,
    }
}

/// The next thing that is sent on the same connection.
fn next_sent(story: &Story, at: usize) -> Option<usize> {
    let conn = conn_of(&story[at].1)?;
    (at + 1..story.len().min(at + 2000)).find(|next| conn_of(&story[*next].1) == Some(conn))
}

/// Changes a record of one kind, if a condition holds.
macro_rules! alter {
    ($record:expr, $pattern:pat, $if:expr => $act:expr) => {
        match &mut $record.1 {
            $pattern if $if => {
                $act;
                true
            }
            _ => false,
        }
    };
}

/// What each check must reject.
#[rustfmt::skip]
const PLANTS: &[(&str, &[Plant])] = &[
    ("Z1 agreement", &[
        |s, i| alter!(s[i], Record::Applied { zxid, .. }, true => { zxid.0 += 1 << 16 }),
        |s, i| alter!(s[i], Record::Logged { hash, .. }, true => { *hash ^= 1 }),
        |s, i| { let is = matches!(s[i].1, Record::Logged { .. }); if is { s.remove(i); } is },
    ]),
    ("Z2 integrity", &[
        |s, i| alter!(s[i], Record::Proposed { sid, .. }, true => { sid.0 += 1 }),
        |s, i| { let is = matches!(s[i].1, Record::Proposed { .. }); if is { s.remove(i); } is },
        |s, i| { let is = matches!(s[i].1, Record::Submitted { .. }); if is { s.remove(i); } is },
    ]),
    ("Z3 local primary order", &[
        |s, i| alter!(s[i], Record::Proposed { zxid, .. }, true => { zxid.0 += 1 }),
        |s, i| { let is = matches!(s[i].1, Record::Proposed { .. }); if is { s.remove(i); } is },
        |s, i| matches!(s[i].1, Record::Proposed { .. }) && matches!(s[i + 1].1, Record::Proposed { .. })
            && { s.swap(i, i + 1); true },
    ]),
    ("Z4 global primary order", &[
        |s, i| { let is = matches!(s[i].1, Record::Leads { .. }); if is { s.remove(i); } is },
        |s, i| alter!(s[i], Record::Proposed { sid, .. }, true => { sid.0 = 9 }),
        |s, i| alter!(s[i], Record::Proposed { zxid, .. }, true => { zxid.0 += 1 << 32 }),
    ]),
    ("Z5 durability", &[
        |s, i| alter!(s[i], Record::Started { zxid, .. }, zxid.counter() > 1 => { zxid.0 -= 1 }),
        |s, i| alter!(s[i], Record::Looks { zxid, .. }, zxid.counter() > 1 => { zxid.0 -= 1 }),
        // Nobody but the leader has it.
        |s, i| {
            let Record::Committed { zxid: of, .. } = s[i].1 else { return false };
            let before = s.len();
            s.retain(|(_, it)| !matches!(it, Record::Logged { zxid, .. } if *zxid == of));
            s.len() < before
        },
    ]),
    ("Z6 one leader per epoch", &[
        |s, i| {
            let (at, Record::Leads { sid, epoch }) = s[i].clone() else { return false };
            s.insert(i + 1, (at, Record::Leads { sid: zk_proto::Sid(sid.0 + 1), epoch }));
            true
        },
        |s, i| alter!(s[i], Record::Leads { epoch, sid }, epoch.0 > 1 => { (epoch.0, sid.0) = (epoch.0 - 1, 9) }),
    ]),
    ("Z7 durability order", &[
        |s, i| alter!(s[i], Record::Says { said: Said::Acked(zxid), .. }, true => { zxid.0 += 1 }),
        |s, i| alter!(s[i], Record::Says { said: Said::Promised(epoch), .. }, true => { *epoch = Epoch(epoch.0 + 1) }),
        |s, i| { let is = matches!(s[i].1, Record::Wrote { is_accepted: false, .. }); if is { s.remove(i); } is },
    ]),
    ("Z8 tree digest", &[
        |s, i| alter!(s[i], Record::Applied { digest, .. }, true => { *digest ^= 1 }),
        |s, i| alter!(s[i], Record::Applied { zxid, .. }, zxid.counter() > 1 => { zxid.0 -= 1 }),
        |s, i| alter!(s[i], Record::Rested { digest, .. }, true => { *digest ^= 1 }),
    ]),
    ("C1 linearizable writes", &[
        // Somebody knew of a later write already.
        |s, i| {
            let Record::Received { frame, .. } = &s[i].1 else { return false };
            let zxid = Reader::new(&frame[4..]).i64().unwrap_or(0);
            zxid > 0 && put(&mut s[i].1, 4, &(zxid + 40).to_be_bytes())
        },
    ]),
    ("C2 model equality", &[
        |s, i| is_write_reply(s, i) && reply(&s[i].1).unwrap().3.len() > 4 && flip_last(&mut s[i].1),
        |s, i| is_write_reply(s, i) && put(&mut s[i].1, 12, &(-101i32).to_be_bytes()),
        |s, i| is_write_reply(s, i) && {
            let zxid = reply(&s[i].1).unwrap().1;
            put(&mut s[i].1, 4, &(zxid - 1).to_be_bytes())
        },
    ]),
    ("C3 FIFO client order", &[
        |s, i| next_sent(s, i).is_some_and(|next| {
            let two = reply(&s[i].1).is_some_and(|it| it.0 > 0) && reply(&s[next].1).is_some_and(|it| it.0 > 0);
            if two { s.swap(i, next); }
            two
        }),
        |s, i| reply(&s[i].1).is_some_and(|it| it.0 > 0) && { s.remove(i); true },
        |s, i| reply(&s[i].1).is_some_and(|it| it.0 > 0) && { let again = s[i].clone(); s.insert(i, again); true },
    ]),
    ("C4 single system image", &[
        |s, i| op_of(s, i) == Some(4) && flip_last(&mut s[i].1),
        |s, i| matches!(op_of(s, i), Some(3 | 4 | 12)) && put(&mut s[i].1, 12, &(-101i32).to_be_bytes()),
        // A client goes back in time.
        |s, i| {
            let Record::Received { frame, .. } = &s[i].1 else { return false };
            let (xid, zxid) = (Reader::new(frame).i32().unwrap(), Reader::new(&frame[4..]).i64().unwrap_or(0));
            xid > 0 && xid < 1 << 20 && Zxid(zxid).counter() > 40
                && put(&mut s[i].1, 4, &(zxid - 40).to_be_bytes())
        },
    ]),
    ("C5 atomic multi", &[
        |s, i| {
            if op_of(s, i) != Some(14) { return false; }
            let Record::Sent { frame, .. } = &mut s[i].1 else { return false };
            let Ok(mut response) = MultiResponse::read(&mut Reader::new(&frame[16..])) else { return false };
            if response.results.len() < 2 || matches!(response.results[0], MultiResult::Error(_)) { return false; }
            response.results[1] = MultiResult::Error(-2);
            let spoiled = [&frame[..16], &response.to_bytes()].concat();
            *frame = spoiled.into();
            true
        },
    ]),
    ("C6 sync", &[
        |s, i| op_of(s, i) == Some(9) && {
            let zxid = reply(&s[i].1).unwrap().1;
            Zxid(zxid).counter() > 60 && put(&mut s[i].1, 4, &(zxid - 60).to_be_bytes())
        },
    ]),
    ("C7 timeliness", &[
        // A member stops to learn, and goes on to answer.
        |s, i| {
            let (Some((_, zxid, ..)), Some(4)) = (reply(&s[i].1), op_of(s, i)) else { return false };
            if Zxid(zxid).counter() < 20 { return false; }
            s[i..].iter_mut().for_each(|it| it.0 += 200_000_000);
            put(&mut s[i].1, 4, &(zxid - 10).to_be_bytes())
        },
    ]),
    ("S1 session", &[
        |s, i| alter!(s[i], Record::Expires { local_ms, timeout_ms, .. }, true => { *local_ms -= *timeout_ms }),
        |s, i| alter!(s[i], Record::Tells { sessions, .. }, !sessions.is_empty() => { *sessions = Rc::from([]) }),
        // Somebody is told that a session is gone, and it is alive.
        |s, i| {
            let Record::Sent { frame, .. } = &s[i].1 else { return false };
            let mut r = Reader::new(frame);
            let is_handshake = r.i32() == Ok(0) && r.i32().is_ok_and(|it| it > 0) && frame.len() == 37;
            is_handshake && put(&mut s[i].1, 8, &[0; 8])
        },
    ]),
    ("S2 ephemerals", &[
        |s, i| alter!(s[i], Record::Inspected { owners, .. }, true => { *owners = Rc::from([77]) }),
        |s, i| alter!(s[i], Record::Inspected { sessions, .. }, true => { *sessions = sessions.iter().copied().chain([i64::MAX]).collect() }),
    ]),
    ("S3 sequence", &[
        |s, i| op_of(s, i) == Some(15) && {
            let (_, _, err, body) = reply(&s[i].1).unwrap();
            let length = Reader::new(body).i32().unwrap_or(0) as usize;
            let is_sequential = err == 0 && length > 12 && body.get(4 + length - 12) == Some(&b'n');
            is_sequential && put(&mut s[i].1, 16 + 4 + length - 10, b"0000000000")
        },
    ]),
    ("S4 containers and TTL", &[
        |s, i| {
            let Record::Proposed { txn, .. } = &mut s[i].1 else { return false };
            let mut spoiled = txn.to_vec();
            let is_reaping = spoiled.get(28..32) == Some(&20i32.to_be_bytes());
            let letter = spoiled.get_mut(37);
            if let (true, Some(letter)) = (is_reaping, letter) {
                *letter = b'z';
                *txn = spoiled.into();
                return true;
            }
            false
        },
    ]),
    ("W1 event order", &[
        |s, i| is_event(&s[i].1) && next_sent(s, i).is_some_and(|next| {
            let swaps = !is_event(&s[next].1);
            if swaps { s.swap(i, next); }
            swaps
        }),
        |s, i| is_event(&s[i].1) && next_sent(s, i).is_some_and(|next| {
            let swaps = is_event(&s[next].1) && s[i].1 != s[next].1;
            if swaps { s.swap(i, next); }
            swaps
        }),
    ]),
    ("W2 unique events", &[
        |s, i| is_event(&s[i].1) && { let again = s[i].clone(); s.insert(i, again); true },
        |s, i| is_event(&s[i].1) && put(&mut s[i].1, 16, &3i32.to_be_bytes()),
    ]),
    ("W3 reliable events", &[
        |s, i| is_event(&s[i].1) && { s.remove(i); true },
        |s, i| is_event(&s[i].1) && put(&mut s[i].1, 16, &3i32.to_be_bytes()),
    ]),
    ("W4 no foreign path", &[
        |s, i| is_event(&s[i].1) && flip_last(&mut s[i].1),
    ]),
    ("L1 liveness", &[
        |s, i| alter!(s[i], Record::Rested { serves, .. }, true => { *serves = false }),
        |s, i| alter!(s[i], Record::Rested { zxid, .. }, true => { zxid.0 -= 1 }),
        |s, i| alter!(s[i], Record::Ended { served, .. }, true => { *served -= 1 }),
    ]),
];

/// So many places are tried for a plant: some records do not matter.
const PLACES: usize = 60;

#[test]
fn spoiled_histories_are_rejected() {
    let stories: Vec<Outcome> = [3, 11, 29].map(story).into();
    for (name, plants) in PLANTS {
        for outcome in &stories {
            assert!(accepts(&outcome.facts, name, &outcome.story), "{name} rejects what is right");
        }
        for (number, plant) in plants.iter().enumerate() {
            let is_rejected = stories.iter().any(|outcome| {
                let length = outcome.story.len();
                // Places are spread over the whole story.
                let (mut tried, mut spoiled) = (0, outcome.story.clone());
                (0..length).map(|at| at * 7919 % length).any(|at| {
                    if tried >= PLACES || at + 1 >= length && !name.starts_with('L') {
                        return false;
                    }
                    if !may_hold(&outcome.story[at].1) {
                        return false;
                    }
                    // Who cannot be planted there leaves the story as it is.
                    if !plant(&mut spoiled, at) {
                        return false;
                    }
                    tried += 1;
                    let is_rejected = !accepts(&outcome.facts, name, &spoiled);
                    spoiled.clone_from(&outcome.story);
                    is_rejected
                })
            });
            assert!(is_rejected, "{name} accepts plant {number}");
        }
    }
    let judge = Judge::new(stories[0].facts.clone());
    let without: Vec<_> =
        judge.names().filter(|it| !PLANTS.iter().any(|(name, _)| it == name)).collect();
    assert!(without.is_empty(), "no plants for {without:?}");
}

/// Notes are no records, and what only counts time is not spoiled.
fn may_hold(record: &Record) -> bool {
    !matches!(record, Record::Healed | Record::Slow { .. })
}
