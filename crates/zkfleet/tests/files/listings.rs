//! `zkfleet log` and `zkfleet snapshot`: what stands in files.

use std::fs::{self, File};
use std::process::Stdio;

use crate::place::{Place, run, zkfleet};

fn arg(path: &std::path::Path) -> String {
    path.display().to_string()
}

#[test]
fn every_transaction_of_a_log() {
    let place = Place::apaches("apache-3.9.4");
    let files = place.files("log.").iter().map(|path| arg(path)).collect::<Vec<_>>();
    let said = run(&["log", "--json", &files[0], &files[1]]);
    assert_eq!((said.code, &*said.err), (Some(0), ""));
    let records = said.json();
    let zxids = records.iter().map(|record| record["zxid"].as_str().unwrap().to_owned());
    assert_eq!(
        zxids.collect::<Vec<_>>(),
        (1..=0x20).map(|n| format!("0x{n:x}")).collect::<Vec<_>>()
    );
    for record in &records {
        let op = record["txn"]["op"].as_str().unwrap();
        assert!(record["session"].as_str().unwrap().starts_with("0x"), "{record}");
        assert!(record["cxid"].is_i64() && record["time_ms"].as_i64().unwrap() > 1_700_000_000_000);
        assert_eq!(record["digest"].is_null(), op == "error", "{record}");
    }
    assert_eq!(records[1]["txn"]["data"], "djE=", "base64 of v1");
    assert_eq!(records[8]["txn"]["parts"].as_array().unwrap().len(), 4);
    assert_eq!(records[9]["txn"]["failed"], true);
    assert_eq!(records[10]["txn"]["code"], -110);
    // As text, one line each, and the same numbers.
    let text = run(&["log", &files[0], &files[1]]);
    assert_eq!(text.code, Some(0));
    assert_eq!(text.out.lines().count(), records.len());
    let first = text.out.lines().nth(1).unwrap();
    assert!(first.ends_with(
        "zxid 0x2 create \"/app\" data \"v1\" acl world:anyone:cdrwa parent cversion 1"
    ));
}

#[test]
fn a_part_of_a_log_and_its_secrets() {
    let place = Place::apaches("apache-3.9.4");
    let file = arg(&place.files("log.")[0]);
    let said = run(&["log", "--json", "--from", "0x6", "--to", "8", &file]);
    let zxids = said.json().iter().map(|record| record["zxid"].clone()).collect::<Vec<_>>();
    assert_eq!(zxids, ["0x6", "0x7", "0x8"]);
    assert!(said.out.contains("digest:bob:x:cdrwa"), "{}", said.out);
    let shown = run(&["log", "--json", "--from", "6", "--to", "8", "--secrets", &file]);
    assert!(!shown.out.contains("digest:bob:x:cdrwa") && shown.out.contains("digest:bob:"));
}

#[test]
fn a_damaged_log_shows_what_is_whole() {
    let place = Place::ours();
    let whole = run(&["log", &arg(&place.newest("log."))]).out;
    place.change_log(|bytes, at| bytes[at[3] + 40] ^= 1);
    let file = arg(&place.newest("log."));
    let said = run(&["log", &file]);
    assert_eq!(said.code, Some(1));
    assert_eq!(said.out.lines().collect::<Vec<_>>(), whole.lines().take(3).collect::<Vec<_>>());
    assert!(said.err.starts_with(&format!("{file}: at byte ")), "{}", said.err);
    // Files behind it are shown all the same.
    let older = arg(&place.files("log.")[0]);
    let both = run(&["log", &file, &older]);
    assert_eq!(both.code, Some(1));
    assert!(both.out.lines().count() > 3 && both.out.contains("zxid 0x1 createSession"));
    fs::write(&file, b"ZKLG").unwrap();
    assert_eq!(run(&["log", &file]).code, Some(1));
}

#[test]
fn a_snapshot_in_every_form() {
    let place = Place::apaches("apache-3.9.4");
    let version_2 = place.dir().join("version-2");
    let plain = run(&["snapshot", "--json", &arg(&version_2.join("snapshot.20"))]);
    assert_eq!(plain.code, Some(0));
    assert!(plain.err.contains("whole: 15 znodes, 4 sessions"), "{}", plain.err);
    let records = plain.json();
    let sessions = records.iter().filter(|record| !record["session"].is_null());
    assert!(sessions.clone().all(|session| session["timeout_ms"] == 10_000));
    assert_eq!((sessions.count(), records.len()), (4, 19));
    let node = |path: &str| records.iter().find(|record| record["path"] == path).unwrap();
    assert_eq!(node("/container")["ephemeral_owner"], "0x-8000000000000000".replace("0x-", "0x"));
    assert_eq!(node("/null")["data"], serde_json::Value::Null);
    assert_eq!(node("/two")["data"], "YnkgY3JlYXRlMg==");
    assert_eq!(node("/zookeeper/config")["aversion"], -1);
    for ending in ["gz", "snappy"] {
        let file = arg(&version_2.join(format!("snapshot.20.{ending}")));
        assert_eq!(run(&["snapshot", "--json", &file]).out, plain.out, "{ending}");
    }
    let below =
        run(&["snapshot", "--data", "--path", "/two", &arg(&version_2.join("snapshot.20"))]);
    let lines = below.out.lines().filter(|line| !line.starts_with("session ")).collect::<Vec<_>>();
    let [line] = lines[..] else { panic!("{lines:?}") };
    assert!(line.starts_with("\"/two\" czxid 0xd mzxid 0xd pzxid 0xd version 0"), "{line}");
    assert!(line.ends_with("length 10 acl world:anyone:cdrwa data \"by create2\""), "{line}");
}

/// What the AdminServer streams lies under any name.
#[test]
fn a_snapshot_under_another_name() {
    let place = Place::apaches("apache-3.9.4");
    let version_2 = place.dir().join("version-2");
    let plain = run(&["snapshot", "--json", &arg(&version_2.join("snapshot.20"))]);
    for name in ["snapshot.20", "snapshot.20.gz", "snapshot.20.snappy"] {
        for other in ["snap.out", "snapshot.20.bak", "log.1.old"] {
            fs::copy(version_2.join(name), place.beside(other)).unwrap();
            let said = run(&["snapshot", "--json", &place.beside(other)]);
            assert_eq!((said.code, &said.out), (Some(0), &plain.out), "{name}: {}", said.err);
            assert!(said.err.contains("up to zxid 0x20"), "{}", said.err);
        }
    }
    // Cut off it is damaged, and something else is none.
    let whole = fs::read(version_2.join("snapshot.20")).unwrap();
    fs::write(place.beside("snap.out"), &whole[..whole.len() / 2]).unwrap();
    assert_eq!(run(&["snapshot", &place.beside("snap.out")]).code, Some(1));
    for content in [&b""[..], b"ZKLG\0\0\0\x02", b"text"] {
        fs::write(place.beside("snap.out"), content).unwrap();
        let said = run(&["snapshot", &place.beside("snap.out")]);
        assert_eq!((said.code, &*said.out), (Some(2), ""), "{}", said.err);
        assert!(said.err.contains("or it must begin as one"), "{}", said.err);
    }
}

#[test]
fn a_path_that_is_not_in_a_snapshot() {
    let place = Place::apaches("apache-3.9.4");
    let file = arg(&place.dir().join("version-2/snapshot.20"));
    for (path, code, wanted) in [
        ("/", 0, "whole: 15 znodes"),
        ("/zookeeper", 0, "whole: 15 znodes"),
        ("/nope", 1, "there is no znode /nope"),
        ("/tw", 1, "there is no znode /tw"),
        ("two", 2, "\"two\" is no path of a znode: it begins with /"),
        ("/two/", 2, "ends without"),
        ("", 2, "is no path"),
    ] {
        let said = run(&["snapshot", "--path", path, &file]);
        assert_eq!(said.code, Some(code), "{path}: {}", said.err);
        assert!(said.err.contains(wanted), "{path}: {}", said.err);
        let nodes = said.out.lines().filter(|line| line.starts_with("\"/")).count();
        assert_eq!(nodes > 0, code == 0, "{path}: {}", said.out);
    }
}

#[test]
fn a_damaged_snapshot() {
    let place = Place::ours();
    let file = place.newest("snapshot.");
    let whole = run(&["snapshot", &arg(&file)]);
    assert_eq!(whole.code, Some(0), "{}", whole.err);
    let end = fs::metadata(&file).unwrap().len() as usize;
    place.flip(&file, end - 60);
    let said = run(&["snapshot", &arg(&file)]);
    assert_eq!(said.code, Some(1));
    assert!(said.err.contains("is damaged at byte "), "{}", said.err);
    assert_eq!(said.out, whole.out, "what stands in front of the damage");
}

#[test]
fn what_is_not_there_or_no_such_file() {
    let place = Place::ours();
    let (log, snapshot) = (arg(&place.newest("log.")), arg(&place.newest("snapshot.")));
    let nowhere = [place.beside("log.1"), place.beside("snapshot.1")];
    for (arguments, wanted) in [
        (vec!["log"], "required arguments"),
        (vec!["log", &nowhere[0]], "No such file"),
        (vec!["log", &snapshot], "not a log: its name must be log.<first zxid in hexadecimal>"),
        (vec!["log", "--from", "zz", &log], "is not a hexadecimal zxid"),
        (vec!["snapshot"], "required arguments"),
        (vec!["snapshot", &nowhere[1]], "No such file"),
        (vec!["snapshot", &log], "not a snapshot: its name must be snapshot.<zxid"),
        (vec!["nonsense"], "unrecognized subcommand"),
        (vec![], "Usage: zkfleet"),
    ] {
        let said = run(&arguments);
        assert_eq!((said.code, &*said.out), (Some(2), ""), "{arguments:?}: {}", said.err);
        assert!(said.err.contains(wanted), "{arguments:?}: {}", said.err);
    }
    // One file of several.
    let said = run(&["log", &nowhere[0], &log]);
    assert_eq!(said.code, Some(2));
    assert!(!said.out.is_empty());
}

/// Nobody reads on: no failure, no panic. A full disk: a failure, for a part must not pass for all.
#[test]
fn output_that_ends_early() {
    let place = Place::apaches("apache-3.9.4");
    let (dir, log) = (place.arg(), arg(&place.files("log.")[0]));
    let snapshot = arg(&place.dir().join("version-2/snapshot.20"));
    for arguments in [
        vec!["doctor", &dir],
        vec!["doctor", "--json", &dir],
        vec!["log", &log],
        vec!["snapshot", "--data", &snapshot],
    ] {
        let (reader, writer) = std::io::pipe().unwrap();
        drop(reader);
        let output = zkfleet().args(&arguments).stdout(writer).output().unwrap();
        let errors = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(0), "{arguments:?}: {errors}");
        let full = File::options().write(true).open("/dev/full").unwrap();
        let output = zkfleet().args(&arguments).stdout(Stdio::from(full)).output().unwrap();
        let errors = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(2), "{arguments:?}: {errors}");
        assert!(errors.contains("the output cannot be written"), "{arguments:?}: {errors}");
    }
}
