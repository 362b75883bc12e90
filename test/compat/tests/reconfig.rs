//! An ensemble whose members change while it works, ours and Apache's: some join, leave, become
//! observers or voters; the leader too. Sessions stay, and what is decided is found at each start.

use std::net::SocketAddr;
use std::time::Instant;

use zk_proto::request::{CreateMode, ReconfigRequest, Request};
use zk_proto::response::GetDataResponse;
use zk_proto::{ErrorCode, Jute, Reader, Zxid};
use zk_testkit::{
    Client, Engine, Ensemble, Error, PATIENCE, apache_or_skip, four_letter_word, free_port,
};

const SESSION_MS: i32 = 20_000;
/// The superuser's password is `secret`: nobody else may change the ensemble.
const LINES: &[&str] = &[
    "reconfigEnabled=true",
    "DigestAuthenticationProvider.superDigest=super:lK75jTNcA+U9vtVEw5vB51mj/w4=",
];

/// What happens when a change is asked for.
#[derive(Clone, PartialEq, Eq, Debug)]
enum Asked {
    /// The new configuration.
    Done(String),
    Refused(i32),
    /// The connection ended: the leader has changed, too.
    Unknown,
}

fn change(client: &mut Client, joining: &str, leaving: &str) -> Asked {
    let request = Request::Reconfig(ReconfigRequest {
        joining: if joining.is_empty() { None } else { Some(joining.into()) },
        leaving: if leaving.is_empty() { None } else { Some(leaving.into()) },
        new_members: None,
        config_id: -1,
    });
    let Ok(reply) = client.call(&request) else { return Asked::Unknown };
    if reply.err != 0 {
        return Asked::Refused(reply.err);
    }
    let body = GetDataResponse::read(&mut Reader::new(&reply.body)).expect("a configuration");
    Asked::Done(String::from_utf8_lossy(body.data.unwrap_or_default()).into_owned())
}

impl Asked {
    #[track_caller]
    fn done(self) -> String {
        match self {
            Asked::Done(text) => text,
            other => panic!("{other:?}"),
        }
    }
}

/// Waits until all members have this configuration.
fn wait_for(ensemble: &Ensemble, text: &str) -> Result<(), Error> {
    for sid in ensemble.sids() {
        let started = Instant::now();
        loop {
            let found = ensemble.config(sid);
            if found.as_deref().is_ok_and(|found| found == text) {
                break;
            }
            assert!(started.elapsed() < PATIENCE, "server {sid} has {found:?}, not {text}");
            std::thread::sleep(std::time::Duration::from_millis(50));
        }
    }
    Ok(())
}

fn write(ensemble: &Ensemble, path: &str) -> Result<(), Error> {
    for sid in ensemble.sids() {
        let mut client = ensemble.connect(sid, SESSION_MS)?;
        client.create(&format!("{path}-{sid}"), b"", CreateMode::Persistent)?;
        client.close()?;
    }
    Ok(())
}

fn another(ensemble: &Ensemble, than: i64) -> i64 {
    ensemble.sids().into_iter().find(|sid| *sid != than).expect("there are several")
}

fn mode(ensemble: &Ensemble, sid: i64, wanted: &str) {
    let started = Instant::now();
    while ensemble.mode(sid).as_deref() != Some(wanted) {
        let found = ensemble.mode(sid);
        assert!(started.elapsed() < PATIENCE, "server {sid} is {found:?}, not {wanted}");
        std::thread::sleep(std::time::Duration::from_millis(20));
    }
}

fn changes(engines: [Engine; 3], joiner: Engine) -> Result<(), Error> {
    let all = engines.iter().chain([&joiner]);
    if !all.into_iter().all(|engine| *engine == Engine::Ours || apache_or_skip(*engine)) {
        return Ok(());
    }
    let mut ensemble = Ensemble::start(&engines, LINES)?;
    let first = ensemble.config(ensemble.leader()?)?;
    assert!(first.ends_with("version=100000000"), "{first}");
    wait_for(&ensemble, &first)?;

    // A session at a member that stays.
    let leader = ensemble.leader()?;
    let stays = another(&ensemble, leader);
    let mut client = ensemble.connect(stays, SESSION_MS)?;
    client.create("/mine", b"", CreateMode::Ephemeral)?;
    assert_eq!(change(&mut client, "", "7"), Asked::Refused(ErrorCode::NoAuth.code()));
    client.auth("digest", b"super:secret")?;
    assert_eq!(change(&mut client, "", "x"), Asked::Refused(ErrorCode::MarshallingError.code()));

    // One joins, as an observer and then as a voter.
    let (fourth, line) = ensemble.join(joiner, "observer")?;
    if joiner == Engine::Ours {
        // Nobody would take what its clients want; and its own file still has it.
        assert!(Client::connect(ensemble.addr(fourth)?, SESSION_MS).is_err());
        ensemble.member(fourth)?.kill()?;
        ensemble.restart(&[fourth])?;
    }
    let text = change(&mut client, &line, "").done();
    assert!(text.contains(&line), "{text}");
    wait_for(&ensemble, &text)?;
    mode(&ensemble, fourth, "observer");
    let (_, line) = ensemble.join(joiner, "participant")?;
    let text = change(&mut client, &line, "").done();
    wait_for(&ensemble, &text)?;
    let line = ensemble.line(fourth, "participant")?;
    // No quorum of four voters needs it: three follow already.
    let text = change(&mut client, &line, "").done();
    wait_for(&ensemble, &text)?;
    mode(&ensemble, fourth, "follower");
    write(&ensemble, "/five")?;

    let are_ours = engines == [Engine::Ours; 3] && joiner == Engine::Ours;
    leaders_leave(&mut ensemble, client, are_ours)?;
    restarts(&mut ensemble)
}

/// The leader leaves, and then the one that leads after it; the session goes on.
fn leaders_leave(ensemble: &mut Ensemble, mut client: Client, are_ours: bool) -> Result<(), Error> {
    for _ in 0..2 {
        let leader = ensemble.leader()?;
        let asked_at = another(ensemble, leader);
        let mut asks = ensemble.connect(asked_at, SESSION_MS)?;
        asks.auth("digest", b"super:secret")?;
        let before = told(ensemble, leader)?;
        match change(&mut asks, "", &leader.to_string()) {
            Asked::Done(_) => {}
            Asked::Unknown => assert!(!are_ours, "the answer is lost"),
            Asked::Refused(code) => panic!("refused with {code}"),
        }
        ensemble.forget(leader);
        let new = ensemble.leader()?;
        if are_ours {
            // Who leads next is told by the change: nobody has to lose a leader, and to vote.
            let since = told(ensemble, leader)?;
            assert_eq!(since, before, "times that the leader was lost");
        }
        let text = ensemble.config(new)?;
        assert!(!text.contains(&format!("server.{leader}=")), "{text}");
        wait_for(ensemble, &text)?;
        write(ensemble, &format!("/without-{leader}"))?;
        let session = client.session().clone();
        client = ensemble.resume(new, &session, Zxid::ZERO)?;
        assert!(client.exists("/mine").is_ok());
    }
    Ok(())
}

/// How often members of ours said that they have lost their leader, this one left out.
fn told(ensemble: &mut Ensemble, but: i64) -> Result<usize, Error> {
    let mut times = 0;
    for sid in ensemble.sids().into_iter().filter(|sid| *sid != but) {
        let text = std::fs::read_to_string(ensemble.member(sid)?.log_path())?;
        times += text.matches("this member has no leader: no connection").count();
    }
    Ok(times)
}

/// Whoever starts again finds the members that there are.
fn restarts(ensemble: &mut Ensemble) -> Result<(), Error> {
    let text = ensemble.config(ensemble.leader()?)?;
    for sid in ensemble.sids() {
        ensemble.member(sid)?.kill()?;
        ensemble.restart(&[sid])?;
    }
    wait_for(ensemble, &text)?;
    for sid in ensemble.sids() {
        ensemble.member(sid)?.kill()?;
    }
    let sids = ensemble.sids();
    ensemble.restart(&sids)?;
    wait_for(ensemble, &text)?;
    write(ensemble, "/again")?;
    for sid in ensemble.sids() {
        if ensemble.member(sid)?.engine() == Engine::Ours {
            let proposed = ensemble.member(sid)?.data_dir().with_file_name("zoo.cfg.dynamic.next");
            assert!(!proposed.exists(), "server {sid}: nothing is proposed any more");
        }
        let complaints = ensemble.member(sid)?.complaints();
        assert_eq!(complaints, [""; 0], "server {sid}");
    }
    Ok(())
}

/// A change names another port for the clients of a member: they come in there, and who is in
/// stays.
#[test]
fn clients_come_in_elsewhere() -> Result<(), Error> {
    let ensemble = Ensemble::start(&[Engine::Ours; 3], LINES)?;
    let leader = ensemble.leader()?;
    let moves = another(&ensemble, leader);
    let mut stays = ensemble.connect(moves, SESSION_MS)?;
    stays.create("/mine", b"", CreateMode::Ephemeral)?;
    let mut client = ensemble.connect(leader, SESSION_MS)?;
    client.auth("digest", b"super:secret")?;
    let old = ensemble.addr(moves)?;
    let new = SocketAddr::new(old.ip(), free_port()?);
    let line = ensemble.line(moves, "participant")?;
    let line = line.replace(&format!(";{old}"), &format!(";{new}"));
    change(&mut client, &line, "").done();
    let mut comes = patiently(|| Client::connect(new, SESSION_MS))?;
    comes.sync()?;
    assert!(comes.exists("/mine").is_ok());
    patiently(|| match Client::connect(old, SESSION_MS) {
        Ok(_) => Err(Error::Stopped),
        Err(_) => Ok(()),
    })?;
    stays.set_data("/mine", b"still here", -1)?;
    // The same port at all addresses of the machine.
    let line = line.replace(&format!(";{new}"), &format!(";0.0.0.0:{}", new.port()));
    change(&mut client, &line, "").done();
    patiently(|| Client::connect(SocketAddr::new([127, 0, 0, 2].into(), new.port()), SESSION_MS))?;
    let conf = four_letter_word(new, b"conf", PATIENCE)?;
    let conf = String::from_utf8_lossy(&conf).into_owned();
    assert!(conf.contains(&format!("clientPort={}\n", new.port())), "{conf}");
    Ok(())
}

/// Tries until it works.
fn patiently<T>(mut act: impl FnMut() -> Result<T, Error>) -> Result<T, Error> {
    let started = Instant::now();
    loop {
        match act() {
            Err(_) if started.elapsed() < PATIENCE => {
                std::thread::sleep(std::time::Duration::from_millis(20));
            }
            result => return result,
        }
    }
}

#[test]
fn members_of_ours_change() {
    changes([Engine::Ours; 3], Engine::Ours).expect("all members work");
}

#[test]
fn members_of_apaches_and_ours_change() {
    let apache = Engine::Apache39;
    changes([Engine::Ours, apache, apache], Engine::Ours).expect("all members work");
}

#[test]
fn apaches_join_members_of_ours() {
    changes([Engine::Ours; 3], Engine::Apache39).expect("all members work");
}
