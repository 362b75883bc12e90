//! `zkfleet doctor --repair-to`: what is saved, whether it is told what is not, and that the copy
//! serves.

use std::fs;

use serde_json::Value;
use zk_testkit::{Client, Engine, Server, ServerConfig, apache_or_skip};

use crate::place::{Place, Said, copy, run};

/// Repairs to a new place, which must be whole then; the original must be as it was.
fn repair(place: &Place) -> (Said, Value) {
    let (before, to) = (place.bytes(), place.beside("copy"));
    let said = run(&["doctor", "--json", "--repair-to", &to, &place.arg()]);
    assert!(place.bytes() == before, "the original has changed");
    let [told] = &said.json()[..] else { panic!("{}", said.out) };
    let told = &told["repaired"];
    assert_eq!(told["whole"], said.code == Some(0), "{told}");
    assert_eq!(told["lost"].is_null(), !said.err.contains("LOST"), "{told}");
    assert_eq!(told["fixes"].as_array().unwrap().len(), said.err.matches("repaired: ").count());
    let after = run(&["doctor", "--json", &to]);
    assert_eq!(after.code, Some(0), "{}", after.out);
    assert_eq!(told["last"], after.json()[0]["state"]["last"]);
    (said, after.json().remove(0))
}

/// The last transaction of a whole directory.
fn last(place: &Place) -> Value {
    run(&["doctor", "--json", &place.arg()]).json().remove(0)["state"]["last"].clone()
}

#[test]
fn nothing_is_lost_where_a_record_is_whole() {
    let place = Place::ours();
    let wanted = last(&place);
    place.change_log(|bytes, at| bytes[at[2] + 8..at[2] + 12].fill(0));
    let (said, after) = repair(&place);
    assert_eq!(said.code, Some(0), "{}", said.err);
    assert!(said.err.contains("its frame was damaged, the record is whole"), "{}", said.err);
    assert!(!said.err.contains("LOST"), "{}", said.err);
    assert_eq!(after["state"]["last"], wanted);
    assert_eq!(after["apache"]["last"], wanted);
}

/// Magic, version and database id: nothing of a record is in them.
#[test]
fn a_damaged_header_loses_nothing() {
    for at in [0, 5, 9, 15] {
        for place in [Place::ours(), Place::apaches("apache-3.9.4")] {
            let wanted = last(&place);
            for snapshot in place.files("snapshot.").split_off(1) {
                fs::remove_file(snapshot).unwrap();
            }
            let log = place.dir().join("version-2/log.1");
            place.flip(&log, at);
            let (said, after) = repair(&place);
            assert_eq!(said.code, Some(0), "{}", said.err);
            assert!(said.err.contains("were read without the header"), "{}", said.err);
            assert_eq!(after["state"]["last"], wanted);
            fs::remove_dir_all(place.beside("copy")).unwrap();
            fs::write(&log, "").unwrap();
            let (said, _) = repair(&place);
            assert_eq!(said.code, Some(1), "{}", said.err);
            assert!(said.err.contains("LOST: everything from"), "{}", said.err);
        }
    }
}

#[test]
fn what_is_lost_is_told() {
    type Damage = fn(&Place);
    let damages: [(&str, Damage); 4] = [
        ("checksum", |place| place.change_log(|bytes, at| bytes[at[3] + 40] ^= 1)),
        ("checksum", |place| {
            // The last record, which the mark vouches for.
            place.change_log(|bytes, at| {
                let end = at[at.len() - 1];
                bytes[end - 8..end].fill(0);
            });
        }),
        ("the log ends here, but it was durable", |place| {
            place.change_log(|bytes, at| {
                let [.., begin, end] = at else { panic!("two records at least") };
                bytes[*begin..*end].fill(0);
            });
        }),
        ("the log is missing", |place| fs::remove_file(place.newest("log.")).unwrap()),
    ];
    for (why, damage) in damages {
        let place = Place::ours();
        let whole = last(&place);
        damage(&place);
        let (said, after) = repair(&place);
        assert_eq!(said.code, Some(1), "{why}: {}", said.err);
        let told = said.err.lines().find(|line| line.starts_with("LOST: everything from "));
        assert!(told.is_some_and(|line| line.contains(why)), "{why}: {}", said.err);
        let lost = &said.json()[0]["repaired"]["lost"];
        assert!(lost["why"].as_str().unwrap().contains(why), "{lost}");
        assert!(told.unwrap().contains(lost["file"].as_str().unwrap()) && lost["offset"].is_u64());
        let up_to = after["state"]["last"].as_str().unwrap();
        assert!(said.err.contains(&format!("the copy is whole up to {up_to}")), "{}", said.err);
        assert_ne!(after["state"]["last"], whole);
    }
}

#[test]
fn a_whole_directory_is_copied_whole() {
    for place in [Place::ours(), Place::apaches("apache-3.8.0")] {
        let (said, after) = repair(&place);
        assert_eq!(said.code, Some(0), "{}", said.err);
        assert_eq!(after["state"]["last"], last(&place));
    }
}

#[test]
fn nothing_is_written_over() {
    let place = Place::ours();
    let other = Place::apaches("apache-3.9.4");
    let before = (place.bytes(), other.bytes());
    for to in [place.arg(), other.arg()] {
        let said = run(&["doctor", "--repair-to", &to, &place.arg()]);
        assert_eq!(said.code, Some(2), "{}", said.err);
        assert!(said.err.contains("give a new directory for the repaired copy"), "{}", said.err);
    }
    assert!(before == (place.bytes(), other.bytes()));
    // Nothing to build on: no snapshot, and a log that does not begin at the beginning.
    for snapshot in place.files("snapshot.") {
        fs::remove_file(snapshot).unwrap();
    }
    fs::remove_file(place.dir().join("version-2/log.1")).unwrap();
    let said = run(&["doctor", "--repair-to", &place.beside("copy"), &place.arg()]);
    assert_eq!(said.code, Some(2), "{}", said.err);
    assert!(said.err.contains("nothing to build on"), "{}", said.err);
    let said = run(&["doctor", "--json", "--repair-to", &place.beside("other"), &place.arg()]);
    let why = said.json()[0]["repaired"]["error"].clone();
    assert!(said.code == Some(2) && why.as_str().unwrap().contains("nothing to build on"));
}

#[test]
fn the_target_is_empty_or_new() {
    let place = Place::ours();
    let target = place.beside("target");
    fs::create_dir(&target).unwrap();
    let notes = format!("{target}/notes.txt");
    fs::write(&notes, "mine").unwrap();
    for to in [&target, &notes] {
        let said = run(&["doctor", "--repair-to", to, &place.arg()]);
        assert_eq!((said.code, said.out.as_str()), (Some(2), ""), "{}", said.err);
        assert!(said.err.contains("give a new directory for the repaired copy"), "{}", said.err);
        assert_eq!(fs::read_dir(&target).unwrap().count(), 1, "something was written");
    }
    fs::remove_file(&notes).unwrap();
    let said = run(&["doctor", "--repair-to", &target, &place.arg()]);
    assert_eq!(said.code, Some(0), "{}", said.err);
}

#[test]
fn servers_start_on_the_copy() {
    let place = Place::ours();
    place.change_log(|bytes, at| bytes[at[at.len() - 2] + 8] = 0x7f);
    let (said, _) = repair(&place);
    assert_eq!(said.code, Some(0), "{}", said.err);
    let mut server = Server::start(ServerConfig::new(Engine::Ours)).unwrap();
    server.kill().unwrap();
    fs::remove_dir_all(server.data_dir()).unwrap();
    copy(place.beside("copy").as_ref(), &server.data_dir());
    for engine in [Engine::Ours, Engine::Apache39, Engine::Apache38] {
        if engine.is_apache() && !apache_or_skip(engine) {
            continue;
        }
        server.restart_as(engine).unwrap();
        let mut client = Client::connect(server.addr(), 10_000).unwrap();
        assert_eq!(client.get_data("/n").unwrap().0, Some(b"5".to_vec()), "{engine}");
    }
}
