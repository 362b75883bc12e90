//! Sessions that only their member knows (`localSessionsEnabled`): what clients of a leader, a
//! follower and an observer see of them, what the log has of them, and what operators are shown.
//! The stories beside this file are Apache 3.9.4's; ours and all mixtures tell the same.

mod read_only;
mod story;
mod teller;

use zk_testkit::{Engine, Ensemble, Error, apache_or_skip};

/// What is told by who may upgrade sessions, and by who may not.
const KEPT: &str = include_str!("kept.txt");
const UPGRADED: &str = include_str!("upgraded.txt");

/// Lines of each `zoo.cfg`.
fn lines(upgrading: bool) -> [String; 2] {
    ["localSessionsEnabled=true".to_owned(), format!("localSessionsUpgradingEnabled={upgrading}")]
}

fn are_here(engines: &[Engine]) -> bool {
    engines.iter().all(|engine| *engine == Engine::Ours || apache_or_skip(*engine))
}

/// Whoever leads is stopped until one of this make does.
fn let_lead(ensemble: &mut Ensemble, wanted: Engine) -> Result<(), Error> {
    loop {
        let leader = ensemble.leader()?;
        if ensemble.member(leader)?.engine() == wanted {
            return Ok(());
        }
        ensemble.member(leader)?.kill()?;
        ensemble.leader()?;
        ensemble.restart(&[leader])?;
    }
}

/// Three members and an observer tell the stories of their roles; one of the make `leads` leads.
fn tell(engines: [Engine; 4], leads: Engine) -> Result<(), Error> {
    let [voters @ .., observer] = &engines;
    if !are_here(&engines) {
        return Ok(());
    }
    let mut differ = Vec::new();
    for (upgrading, want) in [(false, KEPT), (true, UPGRADED)] {
        let lines = lines(upgrading);
        let mut ensemble =
            Ensemble::with_observers(voters, &[*observer], &lines.each_ref().map(String::as_str))?;
        let_lead(&mut ensemble, leads)?;
        let leader = ensemble.leader()?;
        for sid in ensemble.sids() {
            let role = match sid {
                4 => "observer",
                _ if sid == leader => "leader",
                _ => "follower",
            };
            let who = format!("the {role} {}", ensemble.member(sid)?.engine());
            let told = story::tell(&mut ensemble, sid, leader, upgrading)?;
            if told != chapter(want, role) {
                println!("{who}, of {engines:?}, tells:\n{told}");
                differ.push(who);
            }
        }
        for sid in ensemble.sids() {
            let complaints = ensemble.member(sid)?.complaints();
            assert!(complaints.is_empty(), "server {sid}: {complaints:?}");
        }
    }
    assert!(differ.is_empty(), "another story is told by {differ:?}");
    Ok(())
}

/// The part of a file that tells of a role: all learners are the same.
fn chapter<'a>(story: &'a str, role: &str) -> &'a str {
    let (leader, learner) = story.split_once("\n== learner ==\n").expect("two chapters");
    if role == "leader" {
        leader.strip_prefix("== leader ==\n").expect("the first one")
    } else {
        learner
    }
}

#[test]
fn apache_394_tells_the_stories() -> Result<(), Error> {
    tell([Engine::Apache39; 4], Engine::Apache39)
}

#[test]
fn ours_tell_the_same() -> Result<(), Error> {
    tell([Engine::Ours; 4], Engine::Ours)
}

#[test]
fn ours_follow_one_of_apache_394() -> Result<(), Error> {
    let [ours, apache] = [Engine::Ours, Engine::Apache39];
    tell([apache, ours, apache, ours], apache)
}

#[test]
fn one_of_apache_394_follows_ours() -> Result<(), Error> {
    let [ours, apache] = [Engine::Ours, Engine::Apache39];
    tell([ours, apache, ours, apache], ours)
}

#[test]
fn apache_380_tells_the_same_and_ours_follow_it() -> Result<(), Error> {
    let [ours, apache] = [Engine::Ours, Engine::Apache38];
    tell([apache, ours, apache, ours], apache)
}

/// What is set for a member that is alone has no meaning.
#[test]
fn a_standalone_server_has_no_local_sessions() -> Result<(), Error> {
    for engine in [Engine::Ours, Engine::Apache39] {
        if are_here(&[engine]) {
            story::alone(engine)?;
        }
    }
    Ok(())
}

#[test]
fn a_member_without_a_quorum_opens_them_for_readers() -> Result<(), Error> {
    for engine in [Engine::Ours, Engine::Apache39] {
        if are_here(&[engine]) {
            read_only::tell(engine)?;
        }
    }
    Ok(())
}
