//! What `zkfleet doctor` sees and says, and with which exit code.

use std::fs;

use serde_json::Value;

use crate::place::{Place, run};

/// Numbers stand as `0x...` in strings.
fn zxid(value: &Value) -> i64 {
    let text = value.as_str().unwrap_or_else(|| panic!("{value} is no string"));
    i64::from_str_radix(text.strip_prefix("0x").unwrap(), 16).unwrap()
}

/// Doctor's JSON, which must have all its fields, and the exit code.
fn report(place: &Place) -> (Value, Option<i32>) {
    let said = run(&["doctor", "--json", "--extended-types", &place.arg()]);
    assert_eq!(said.err, "");
    let [report] = &said.json()[..] else { panic!("{}", said.out) };
    for snapshot in report["snapshots"].as_array().unwrap() {
        let file = snapshot["file"].as_str().unwrap();
        assert_eq!(fs::metadata(file).unwrap().len(), snapshot["bytes"].as_u64().unwrap());
        assert!(file.contains(&format!("snapshot.{:x}", zxid(&snapshot["zxid"]))), "{file}");
        if snapshot["ok"].as_bool().unwrap() {
            assert!(snapshot["znodes"].as_u64().unwrap() >= 4);
            assert!(snapshot["sessions"].is_u64(), "{snapshot}");
            assert!(zxid(&snapshot["fuzzy_to"]) >= zxid(&snapshot["zxid"]));
        } else {
            assert!(!snapshot["error"].as_str().unwrap().is_empty());
        }
    }
    for log in report["logs"].as_array().unwrap() {
        let (first, last) = (zxid(&log["first"]), zxid(&log["last"]));
        assert!(log["file"].as_str().unwrap().ends_with(&format!("log.{first:x}")), "{log}");
        assert_eq!(log["records"].as_i64().unwrap(), last - first + 1);
        assert!(log["end"].as_u64().unwrap() <= log["bytes"].as_u64().unwrap());
    }
    match report["state"]["ok"].as_bool().unwrap() {
        true => {
            assert!(zxid(&report["state"]["last"]) > 0);
            assert!(report["state"]["notes"].as_array().unwrap().iter().all(Value::is_string));
        }
        false => assert!(report["state"]["error"].is_string(), "{report}"),
    }
    match report["apache"]["starts"].as_bool().unwrap() {
        true => assert!(zxid(&report["apache"]["last"]) > 0),
        false => assert!(report["apache"]["why"].is_string(), "{report}"),
    }
    (report.clone(), said.code)
}

/// The text for people, which must have every word in `wanted`, and come with this code.
#[track_caller]
fn check_text(place: &Place, code: i32, wanted: &[&str]) {
    let before = place.bytes();
    let said = run(&["doctor", "--extended-types", &place.arg()]);
    assert_eq!((said.code, &*said.err), (Some(code), ""), "{}", said.out);
    for words in wanted {
        assert!(said.out.contains(words), "no {words:?} in:\n{}", said.out);
    }
    let (json, json_code) = report(place);
    assert_eq!(json_code, Some(code), "{json}");
    assert!(place.bytes() == before, "doctor has changed something");
}

/// No transaction at all: the only thing to say is where else logs may be.
fn check_text_of_nothing(place: &Place) {
    let said = run(&["doctor", &place.arg()]);
    assert_eq!(said.code, Some(0));
    assert!(said.out.contains("whole up to 0x0") && said.out.contains("--log-dir"), "{}", said.out);
}

#[test]
fn a_whole_directory_of_ours() {
    let place = Place::ours();
    let (json, code) = report(&place);
    assert_eq!(code, Some(0));
    let last = json["state"]["last"].as_str().unwrap();
    assert_eq!(json["apache"]["last"], last);
    assert_eq!(json["state"]["notes"], Value::Array(Vec::new()));
    let logs = json["logs"].as_array().unwrap();
    assert_eq!(logs.last().unwrap()["last"], last);
    assert!(logs.iter().all(|log| log["durable"] == log["last"] && log["problem"].is_null()));
    let wanted = [format!("state: whole up to {last}"), format!("Apache: would start at {last}")];
    check_text(&place, 0, &[&wanted[0], &wanted[1], "snapshot.0: whole, 4 znodes, 0 sessions"]);
}

#[test]
fn whole_directories_of_apaches() {
    for (version, last) in [("apache-3.8.0", "0x1f"), ("apache-3.9.4", "0x20")] {
        let place = Place::apaches(version);
        let (json, code) = report(&place);
        assert_eq!((code, &json["state"]["last"]), (Some(0), &last.into()), "{version}");
        // Marks are ours alone.
        assert!(json["logs"].as_array().unwrap().iter().all(|log| log["durable"].is_null()));
        assert_eq!(json["snapshots"].as_array().unwrap().len(), 5);
        check_text(&place, 0, &[&format!("state: whole up to {last}"), ".snappy: whole"]);
    }
}

#[test]
fn a_byte_flipped_in_the_middle() {
    let place = Place::ours();
    place.change_log(|bytes, at| bytes[at[at.len() / 2] + 40] ^= 1);
    let (json, _) = report(&place);
    let log = json["logs"].as_array().unwrap().last().unwrap().clone();
    assert!(log["problem"].as_str().unwrap().contains("checksum"), "{log}");
    let safe = format!("safe: up to {}", log["last"].as_str().unwrap());
    let lost = format!("lost: 0x{:x} to ", zxid(&log["last"]) + 1);
    check_text(
        &place,
        1,
        &[
            "state: REFUSED",
            "checksum",
            &safe,
            &lost,
            "`zkfleet doctor DIR --repair-to NEW`",
            "--accept cut-newest-log",
            "Apache: would not start",
        ],
    );
}

#[test]
fn a_torn_record_that_was_acknowledged_and_one_that_was_not() {
    let place = Place::ours();
    place.change_log(|bytes, at| {
        let end = at[at.len() - 1];
        bytes[end - 8..end].fill(0);
    });
    check_text(&place, 1, &["state: REFUSED", "durable up to", "--repair-to NEW"]);

    // The first half of a record behind the last one that is known to be on disk.
    let place = Place::ours();
    place.change_log(|bytes, at| {
        let (begin, end) = (at[at.len() - 2], at[at.len() - 1]);
        let half = bytes[begin..begin + 40].to_vec();
        bytes[end..end + 40].copy_from_slice(&half);
    });
    check_text(&place, 0, &["state: whole up to", "note: ", "left out as a torn write"]);
}

/// `log` and `doctor` end alike on the same end of a log.
#[test]
fn the_end_of_a_log_is_judged_as_by_the_command_log() {
    type Damage = fn(&mut Vec<u8>, &[usize]);
    let cut: Damage = |bytes, at| bytes.truncate(at[at.len() - 1] - 5);
    let behind: Damage = |bytes, at| {
        let (begin, end) = (at[at.len() - 2], at[at.len() - 1]);
        bytes.copy_within(begin..begin + 40, end);
    };
    let length: Damage = |bytes, at| bytes[at[1] + 8..at[1] + 12].fill(0);
    let none: Damage = |_, _| {};
    let apaches = || Place::apaches("apache-3.9.4");
    for (place, damage, code) in [
        (apaches(), cut, 1),
        (apaches(), none, 0),
        (Place::ours(), length, 1),
        (Place::ours(), behind, 0),
        (Place::killed(), behind, 0),
    ] {
        place.change_log(damage);
        let said = run(&["log", &place.newest("log.").display().to_string()]);
        assert_eq!(said.code, Some(code), "{}", said.err);
        let doctor = run(&["doctor", "--extended-types", &place.arg()]);
        assert_eq!(doctor.code, Some(code), "{}", doctor.out);
    }
}

#[test]
fn a_missing_log() {
    let place = Place::ours();
    fs::remove_file(place.newest("log.")).unwrap();
    let wanted =
        ["state: REFUSED", "the log is missing", "put it back", "--accept missing-log", "lost: 0x"];
    check_text(&place, 1, &wanted);
    check_text(&place, 1, &["hint: logs were looked for in the dataDir", "--log-dir"]);
    let (json, _) = report(&place);
    assert!(json["hint"].as_str().unwrap().contains("--log-dir"), "{json}");
    // Whoever has named it needs no hint.
    let said = run(&["doctor", "--log-dir", &place.arg(), &place.arg()]);
    assert!(said.code == Some(1) && !said.out.contains("hint"), "{}", said.out);
    // A snapshot alone may be all that there ever was, or the logs are elsewhere.
    let place = Place::apaches("apache-3.9.4");
    for file in [place.files("log."), place.files("snapshot.").split_off(1)].concat() {
        fs::remove_file(file).unwrap();
    }
    check_text_of_nothing(&place);
}

#[test]
fn damaged_snapshots() {
    let place = Place::ours();
    place.flip(&place.newest("snapshot."), 200);
    // Nothing is lost, but what a person must see is no success.
    check_text(&place, 1, &["DAMAGED", "state: whole", "note: ", "an older state was used"]);
    for snapshot in place.files("snapshot.") {
        place.flip(&snapshot, 30);
    }
    // The logs begin at the beginning, so nothing is lost; Apache does not look at that.
    check_text(&place, 1, &["state: whole", "Apache: would not start: Not able to find valid"]);
    fs::remove_file(place.dir().join("version-2/log.1")).unwrap();
    check_text(&place, 1, &["state: REFUSED"]);
}

#[test]
fn the_durable_mark() {
    // The newer of the two slots: the older one counts then, and all the same nothing is missing.
    let place = Place::killed();
    place.change_log(|bytes, _| {
        let slots = [bytes.len() - 8192, bytes.len() - 4096];
        let newer = slots.into_iter().max_by_key(|at| bytes[at + 8..at + 16].to_vec()).unwrap();
        bytes[newer + 30] ^= 1;
    });
    check_text(&place, 0, &["state: whole up to", "durable up to"]);
    let both = |bytes: &mut Vec<u8>, _: &[usize]| {
        let from = bytes.len() - 8192;
        bytes[from..].fill(0);
    };
    let place = Place::killed();
    place.change_log(both);
    let wanted =
        ["state: REFUSED", "the durable mark at the file's end is gone", "--repair-to NEW"];
    check_text(&place, 1, &wanted);
    // After a stop the list says where the log ends.
    let place = Place::ours();
    place.change_log(both);
    check_text(&place, 0, &["state: whole up to"]);
}

/// In the words of a server that does not start on them.
#[test]
fn a_data_dir_and_a_log_dir_that_are_swapped() {
    let place = Place::apaches("apache-3.9.4");
    let logs = place.beside("logs");
    fs::create_dir_all(format!("{logs}/version-2")).unwrap();
    for log in place.files("log.") {
        let name = log.file_name().unwrap().to_str().unwrap();
        fs::rename(&log, format!("{logs}/version-2/{name}")).unwrap();
    }
    let right = run(&["doctor", "--extended-types", "--log-dir", &logs, &place.arg()]);
    assert_eq!(right.code, Some(0), "{}", right.err);
    let swapped = run(&["doctor", "--log-dir", &place.arg(), &logs]);
    assert_eq!((swapped.code, &*swapped.out), (Some(2), ""));
    assert!(swapped.err.contains("is the dataLogDir but holds snapshot."), "{}", swapped.err);
    assert!(swapped.err.contains("move snapshots to the dataDir"), "{}", swapped.err);
    fs::write(place.dir().join("version-2/log.1"), "").unwrap();
    let mixed = run(&["doctor", "--log-dir", &logs, &place.arg()]);
    assert_eq!(mixed.code, Some(2));
    assert!(mixed.err.contains("is the dataDir but holds log.1"), "{}", mixed.err);
}

#[test]
fn what_cannot_be_looked_at() {
    let place = Place::apaches("apache-3.9.4");
    let nowhere = place.beside("nowhere");
    for (arguments, wanted) in [
        (vec!["doctor"], "required arguments"),
        (vec!["doctor", &nowhere], "nowhere/version-2 is not there: name the dataDir"),
        (vec!["doctor", "--log-dir", &nowhere, &place.arg()], "nowhere"),
        (vec!["doctor", "--everything", &place.arg()], "unexpected argument"),
        (vec!["doctor", &place.arg(), &place.arg()], "unexpected argument"),
    ] {
        let said = run(&arguments);
        assert_eq!((said.code, &*said.out), (Some(2), ""), "{arguments:?}");
        assert!(said.err.contains(wanted), "{arguments:?}: {}", said.err);
    }
    for command in ["doctor", "log", "snapshot"] {
        let said = run(&[command, "--help"]);
        assert_eq!(said.code, Some(0));
        assert!(said.out.contains("Exit codes:\n  0  "), "{}", said.out);
    }
}
