//! Several servers that are members of one ensemble.

use std::collections::BTreeMap;
use std::fs;
use std::net::SocketAddr;
use std::thread;
use std::time::{Duration, Instant};

use zk_proto::connect::ConnectResponse;
use zk_proto::request::CreateMode;
use zk_proto::{Stat, Zxid};

use crate::{Client, Engine, Error, PATIENCE, Server, ServerConfig, four_letter_word, free_port};

/// Members by their sids, which begin at 1.
#[derive(Debug)]
pub struct Ensemble {
    members: BTreeMap<i64, Server>,
    /// Lines of every `zoo.cfg`.
    common: Vec<String>,
}

/// A znode as a client sees it.
pub type Seen = (String, Option<Vec<u8>>, Stat);

/// Of sessions that only look.
const LOOK_MS: i32 = 15_000;

/// A member closes connections that it cannot serve yet.
fn patiently(mut connect: impl FnMut() -> Result<Client, Error>) -> Result<Client, Error> {
    let started = Instant::now();
    loop {
        match connect() {
            Err(Error::Closed | Error::Io(_)) if started.elapsed() < PATIENCE => {
                thread::sleep(Duration::from_millis(20));
            }
            result => return result,
        }
    }
}

fn start_member(
    myid: i64,
    engine: Engine,
    lines: &[String],
    properties: &[(String, String)],
) -> Result<Server, Error> {
    let mut config = ServerConfig::new(engine);
    config.myid = Some(myid);
    config.properties = properties.to_vec();
    config.lines.extend_from_slice(lines);
    Server::start(config)
}

/// The lines of every `zoo.cfg` of an ensemble.
fn common_lines(
    participants: usize,
    observers: usize,
    lines: &[&str],
) -> Result<Vec<String>, Error> {
    let mut common = vec!["initLimit=20".to_owned(), "syncLimit=10".to_owned()];
    for sid in 1..=participants + observers {
        let (quorum, election) = (free_port()?, free_port()?);
        let role = if sid > participants { ":observer" } else { "" };
        common.push(format!("server.{sid}=127.0.0.1:{quorum}:{election}{role}"));
    }
    common.extend(lines.iter().map(ToString::to_string));
    Ok(common)
}

impl Ensemble {
    /// Starts one member of each of these engines, on empty directories, and waits until all of
    /// them serve. `lines` are further ones of every `zoo.cfg`.
    pub fn start(engines: &[Engine], lines: &[&str]) -> Result<Ensemble, Error> {
        Ensemble::with_observers(engines, &[], lines)
    }

    /// The same, with observers behind the participants.
    pub fn with_observers(
        participants: &[Engine],
        observers: &[Engine],
        lines: &[&str],
    ) -> Result<Ensemble, Error> {
        let engines = [participants, observers].concat();
        let common = common_lines(participants.len(), observers.len(), lines)?;
        let observes = |sid: i64| sid > participants.len() as i64;
        let own = |sid| observes(sid).then(|| "peerType=observer".to_owned());
        Ensemble::start_all(&engines, common, |sid| own(sid).into_iter().collect(), &[])
    }

    /// Participants with Java system properties, which ours find as lines of their `zoo.cfg`.
    pub fn with_properties(
        engines: &[Engine],
        lines: &[&str],
        properties: &[(&str, &str)],
    ) -> Result<Ensemble, Error> {
        let common = common_lines(engines.len(), 0, lines)?;
        let own = |(name, value): &(&str, &str)| (name.to_string(), value.to_string());
        let properties: Vec<_> = properties.iter().map(own).collect();
        Ensemble::start_all(engines, common, |_| Vec::new(), &properties)
    }

    /// Participants with lines of their own in their `zoo.cfg`, behind the common ones: the
    /// `server.N` lines too, for members may know each other by different addresses.
    pub fn with_own_lines(
        engines: &[Engine],
        lines: &[&str],
        own: impl Fn(i64) -> Vec<String> + Sync,
    ) -> Result<Ensemble, Error> {
        Ensemble::start_all(engines, lines.iter().map(ToString::to_string).collect(), own, &[])
    }

    fn start_all(
        engines: &[Engine],
        common: Vec<String>,
        own: impl Fn(i64) -> Vec<String> + Sync,
        properties: &[(String, String)],
    ) -> Result<Ensemble, Error> {
        let start = |myid: i64, engine: Engine| {
            start_member(myid, engine, &[&*common, &*own(myid)].concat(), properties)
        };
        let start = &start;
        let members = thread::scope(|scope| {
            let starting: Vec<_> = (1..)
                .zip(engines)
                .map(|(sid, engine)| (sid, scope.spawn(move || start(sid, *engine))))
                .collect();
            let started = starting.into_iter().map(|(sid, thread)| {
                let server = thread.join().map_err(|_| Error::Stopped)??;
                Ok((sid, server))
            });
            started.collect::<Result<BTreeMap<_, _>, Error>>()
        })?;
        Ok(Ensemble { members, common })
    }

    /// Starts a member that the others do not know, with the `zoo.cfg` of the beginning and its own
    /// line, and waits until it serves. Its number, and its line with the client's port for a
    /// reconfiguration.
    pub fn join(&mut self, engine: Engine, role: &str) -> Result<(i64, String), Error> {
        let sid = self.members.keys().max().map_or(1, |sid| sid + 1);
        let line = format!("server.{sid}=127.0.0.1:{}:{}:{role}", free_port()?, free_port()?);
        self.common.push(line.clone());
        let lines = [&*self.common, &[format!("peerType={role}")]].concat();
        let server = start_member(sid, engine, &lines, &[])?;
        let line = format!("{line};{}", server.addr());
        self.members.insert(sid, server);
        Ok((sid, line))
    }

    /// A member's line as it was at the beginning, with another role and the client's port.
    pub fn line(&self, sid: i64, role: &str) -> Result<String, Error> {
        let start = format!("server.{sid}=");
        let line =
            self.common.iter().find(|line| line.starts_with(&start)).ok_or(Error::Stopped)?;
        let ports = line.splitn(4, ':').take(3).collect::<Vec<_>>().join(":");
        Ok(format!("{ports}:{role};{}", self.addr(sid)?))
    }

    /// A member that is none any more: it is killed, and forgotten.
    pub fn forget(&mut self, sid: i64) {
        self.members.remove(&sid);
    }

    /// Starts members again that do not run, all at once, and waits until they serve.
    pub fn restart(&mut self, sids: &[i64]) -> Result<(), Error> {
        thread::scope(|scope| {
            let those = self.members.iter_mut().filter(|(sid, _)| sids.contains(sid));
            let starting: Vec<_> =
                those.map(|(_, server)| scope.spawn(|| server.restart())).collect();
            let started = starting.into_iter().map(|it| it.join().map_err(|_| Error::Stopped)?);
            started.collect()
        })
    }

    /// The sids of all members.
    #[must_use]
    pub fn sids(&self) -> Vec<i64> {
        self.members.keys().copied().collect()
    }

    /// The sids of members that do not run.
    pub fn dead(&self) -> Vec<i64> {
        let dead = self.members.iter().filter(|(_, server)| server.pid().is_none());
        dead.map(|(sid, _)| *sid).collect()
    }

    /// A member.
    pub fn member(&mut self, sid: i64) -> Result<&mut Server, Error> {
        self.members.get_mut(&sid).ok_or(Error::Stopped)
    }

    /// Where clients of a member connect.
    pub fn addr(&self, sid: i64) -> Result<SocketAddr, Error> {
        self.members.get(&sid).map(Server::addr).ok_or(Error::Stopped)
    }

    /// A session at a member, as soon as that has a leader.
    pub fn connect(&self, sid: i64, timeout_ms: i32) -> Result<Client, Error> {
        let addr = self.addr(sid)?;
        patiently(|| Client::connect(addr, timeout_ms))
    }

    /// Goes on with a session at a member, as soon as that has a leader and everything that the
    /// client has seen.
    pub fn resume(&self, sid: i64, session: &ConnectResponse, seen: Zxid) -> Result<Client, Error> {
        let addr = self.addr(sid)?;
        patiently(|| Client::resume(addr, session, seen))
    }

    /// What a member says that it is: `leader`, `follower`, or nothing while it serves nobody.
    pub fn mode(&self, sid: i64) -> Option<String> {
        let answer = four_letter_word(self.addr(sid).ok()?, b"srvr", Duration::from_secs(2));
        let text = String::from_utf8_lossy(&answer.ok()?).into_owned();
        text.lines().find_map(|line| line.strip_prefix("Mode: ")).map(str::to_owned)
    }

    /// Who leads, as soon as somebody does.
    pub fn leader(&self) -> Result<i64, Error> {
        let started = Instant::now();
        while started.elapsed() < PATIENCE {
            let leads = |sid: &&i64| self.mode(**sid).as_deref() == Some("leader");
            if let Some(sid) = self.members.keys().find(leads) {
                return Ok(*sid);
            }
            thread::sleep(Duration::from_millis(10));
        }
        Err(Error::Silence(PATIENCE))
    }

    /// Everything that a member has, after a sync, in the order of paths; but for `/zookeeper`,
    /// which members need not have in common.
    pub fn tree(&self, sid: i64) -> Result<Vec<Seen>, Error> {
        let mut client = self.connect(sid, LOOK_MS)?;
        client.sync()?;
        let mut paths = vec!["/".to_owned()];
        let mut seen = Vec::new();
        while let Some(path) = paths.pop() {
            let (data, stat) = client.get_data(&path)?;
            for child in client.children(&path)? {
                if path == "/" && child == "zookeeper" {
                    continue;
                }
                paths.push(format!("{}/{child}", path.trim_end_matches('/')));
            }
            seen.push((path, data, stat));
        }
        client.close()?;
        seen.sort_by(|a, b| a.0.cmp(&b.0));
        Ok(seen)
    }

    /// Makes `count` znodes through a member, `/name-0` and so on, and changes the first.
    pub fn write(&self, sid: i64, name: &str, count: usize) -> Result<(), Error> {
        // Shown if the test fails.
        println!("{name}, by server {sid}");
        let mut client = self.connect(sid, LOOK_MS)?;
        for n in 0..count {
            client.create(&format!("/{name}-{n}"), name.as_bytes(), CreateMode::Persistent)?;
        }
        client.set_data(&format!("/{name}-0"), b"changed", -1)?;
        client.close()?;
        Ok(())
    }

    /// The configuration as a member tells it.
    pub fn config(&self, sid: i64) -> Result<String, Error> {
        let mut client = self.connect(sid, LOOK_MS)?;
        client.sync()?;
        let (text, _) = client.get_data("/zookeeper/config")?;
        client.close()?;
        Ok(String::from_utf8_lossy(&text.unwrap_or_default()).into_owned())
    }

    /// Removes everything that a member that does not run has of the history, epochs too.
    pub fn wipe(&mut self, sid: i64) -> Result<(), Error> {
        let dir = self.member(sid)?.data_dir().join("version-2");
        Ok(fs::remove_dir_all(dir)?)
    }
}
