//! Packets byte by byte, and what is refused.

use super::*;
use crate::{Epoch, SessionId, Sid, Zxid};
use proptest::prelude::*;

fn hex(text: &str) -> Vec<u8> {
    let digits: Vec<u8> = text.bytes().filter(|b| !b.is_ascii_whitespace()).collect();
    let byte = |pair: &[u8]| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap();
    digits.chunks(2).map(byte).collect()
}

#[track_caller]
fn learner(packet: FromLearner<'_>, bytes: &str) {
    let mut out = Vec::new();
    packet.put(&mut out);
    assert_eq!(out, hex(bytes), "{packet:?}");
    for len in 0..out.len() {
        assert_eq!(FromLearner::read(&out[..len], Limits::default()), Ok(None), "{len}");
    }
    let len = out.len();
    out.push(7);
    assert_eq!(FromLearner::read(&out, Limits::default()), Ok(Some((packet, len))));
}

#[track_caller]
fn leader(packet: FromLeader<'_>, bytes: &str) {
    let mut out = Vec::new();
    packet.put(&mut out);
    assert_eq!(out, hex(bytes), "{packet:?}");
    let len = out.len();
    out.push(7);
    assert_eq!(FromLeader::read(&out, Limits::default()), Ok(Some((packet, len))));
}

/// What was seen between a tap and a 3.8.0 (quorum-protocol 17.1), and one of each other kind.
#[test]
fn what_learners_say() {
    let info = Some(LearnerInfo::new(Sid(-1), 0));
    learner(
        FromLearner::Info { is_observer: true, accepted_epoch: Epoch(0), info },
        "00000010 0000000000000000 00000014 ffffffffffffffff 00010000 0000000000000000 ffffffff",
    );
    learner(
        FromLearner::Info { is_observer: false, accepted_epoch: Epoch(2), info: None },
        "0000000b 0000000200000000 ffffffff ffffffff",
    );
    learner(
        FromLearner::AckEpoch { last_zxid: Zxid(0x1_0000_0003), current_epoch: None },
        "00000012 0000000100000003 00000004 ffffffff ffffffff",
    );
    learner(
        FromLearner::AckEpoch { last_zxid: Zxid(0), current_epoch: Some(Epoch(5)) },
        "00000012 0000000000000000 00000004 00000005 ffffffff",
    );
    learner(FromLearner::Ack(Zxid(0x1_0000_0000)), "00000003 0000000100000000 ffffffff ffffffff");
    learner(
        FromLearner::Ping { zxid: Zxid(9), touched: Touched::default() },
        "00000005 0000000000000009 00000000 ffffffff",
    );
    learner(
        FromLearner::Revalidate { session: SessionId(0x1ff), timeout_ms: 10_000 },
        "00000006 ffffffffffffffff 0000000c 00000000000001ff 00002710 ffffffff",
    );
    let identities = vec![Id { scheme: Some("ip".into()), id: Some("::1".into()) }];
    let (session, body) = (SessionId(2), &b"\x05"[..]);
    learner(
        FromLearner::Request(Forwarded { session, cxid: 3, op: 2, body, identities }),
        "00000001 ffffffffffffffff 00000011 0000000000000002 00000003 00000002 05
         00000001 00000002 6970 00000003 3a3a31",
    );
}

#[test]
fn what_leaders_say() {
    let zxid = Zxid(0x1_0000_0001);
    leader(
        FromLeader::LeaderInfo(Epoch(1)),
        "00000011 0000000100000000 00000004 00010000 ffffffff",
    );
    leader(FromLeader::Diff(zxid), "0000000d 0000000100000001 ffffffff ffffffff");
    leader(FromLeader::Trunc(zxid), "0000000e 0000000100000001 ffffffff ffffffff");
    leader(FromLeader::Snap(zxid), "0000000f 0000000100000001 ffffffff ffffffff");
    leader(
        FromLeader::NewLeader { zxid: Zxid(0x1_0000_0000), config: Some("version=0".into()) },
        "0000000a 0000000100000000 00000009 76657273696f6e3d30 ffffffff",
    );
    leader(
        FromLeader::NewLeader { zxid: Zxid(0x1_0000_0000), config: None },
        "0000000a 0000000100000000 ffffffff ffffffff",
    );
    leader(FromLeader::UpToDate, "0000000c ffffffffffffffff ffffffff ffffffff");
    let txn = &[1, 2][..];
    leader(FromLeader::Proposal { zxid, txn }, "00000002 0000000100000001 00000002 0102 ffffffff");
    leader(FromLeader::Inform { zxid, txn }, "00000008 0000000100000001 00000002 0102 ffffffff");
    leader(FromLeader::Commit(zxid), "00000004 0000000100000001 ffffffff ffffffff");
    leader(
        FromLeader::CommitAndActivate { zxid, leader: Sid(3) },
        "00000009 0000000100000001 00000008 0000000000000003 ffffffff",
    );
    leader(
        FromLeader::InformAndActivate { zxid, leader: Sid(3), txn },
        "00000013 0000000100000001 0000000a 0000000000000003 0102 ffffffff",
    );
    leader(FromLeader::Ping(zxid), "00000005 0000000100000001 ffffffff ffffffff");
    leader(FromLeader::Sync, "00000007 0000000000000000 ffffffff ffffffff");
    leader(
        FromLeader::Revalidate { session: SessionId(1), is_valid: true },
        "00000006 ffffffffffffffff 00000009 0000000000000001 01 ffffffff",
    );
    leader(
        FromLeader::Moved(SessionId(1)),
        "000003e8 ffffffffffffffff 00000008 0000000000000001 ffffffff",
    );
}

#[test]
fn older_learners_say_less_of_themselves() {
    for (length, data, want) in [
        (8, "0000000000000004", LearnerInfo { sid: 4, protocol_version: 1, config_version: 0 }),
        (
            12,
            "0000000000000004 00010000",
            LearnerInfo { sid: 4, protocol_version: PROTOCOL_VERSION, config_version: 0 },
        ),
    ] {
        let bytes = hex(&format!("0000000b 0000000000000000 {length:08x} {data} ffffffff"));
        let Ok(Some((FromLearner::Info { info, .. }, _))) =
            FromLearner::read(&bytes, Limits::default())
        else {
            panic!("{length}");
        };
        assert_eq!(info, Some(want));
    }
}

#[test]
fn touched_sessions_are_listed_and_half_ones_left_out() {
    let mut bytes = Vec::new();
    Touched::put(&mut bytes, SessionId(7), 4000);
    Touched::put(&mut bytes, SessionId(8), 6000);
    bytes.push(0);
    let all: Vec<_> = Touched::of(&bytes).iter().collect();
    assert_eq!(all, [(SessionId(7), 4000), (SessionId(8), 6000)]);
}

#[test]
fn what_cannot_be_is_refused_and_not_waited_for() {
    let limits = Limits { max_len: 16 };
    // A packet that the other side sends, data that is too long, and none where some is needed.
    for bytes in [
        "00000002 0000000000000001 00000001 00 ffffffff",
        "00000003 0000000000000001 00000011",
        "00000003 0000000000000001 fffffffe",
        "00000005 0000000000000001 ffffffff ffffffff",
        "00000012 0000000000000001 00000003 000000 ffffffff",
        "00000001 ffffffffffffffff 0000000c 000000000000000000000000 ffffffff",
    ] {
        assert!(FromLearner::read(&hex(bytes), limits).is_err(), "{bytes}");
    }
    for bytes in [
        "0000000b 0000000000000001 ffffffff ffffffff",
        "00000002 0000000000000001 ffffffff ffffffff",
        "00000009 0000000000000001 00000007 00000000000000 ffffffff",
    ] {
        assert!(FromLeader::read(&hex(bytes), limits).is_err(), "{bytes}");
    }
    assert_eq!(longest(limits), 16 + 20 + (1 << 20));
}

proptest! {
    #[test]
    fn any_bytes_are_refused_or_read_never_a_panic(kind in 0u8..22, rest: Vec<u8>) {
        let bytes = [&[0, 0, 0, kind], &rest[..]].concat();
        let _ = FromLearner::read(&bytes, Limits::default());
        let _ = FromLeader::read(&bytes, Limits::default());
    }

    #[test]
    fn what_is_read_is_written_as_it_came(kind in 1u8..20, zxid: i64, data: Option<Vec<u8>>) {
        let mut bytes = vec![0, 0, 0, kind];
        zxid.write(&mut bytes);
        data.as_deref().write(&mut bytes);
        (-1i32).write(&mut bytes);
        if let Ok(Some((packet, len))) = FromLeader::read(&bytes, Limits::default()) {
            prop_assert_eq!(len, bytes.len());
            let mut again = Vec::new();
            packet.put(&mut again);
            prop_assert_eq!(
                FromLeader::read(&again, Limits::default()).unwrap().unwrap().0, packet
            );
        }
    }
}
