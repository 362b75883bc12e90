//! A directory that one engine writes and another takes over, until it ends where it began.

use std::collections::{BTreeMap, BTreeSet};
use std::error::Error;
use std::thread;
use std::time::{Duration, Instant};

use compat::world::SUPER_AUTH;
use zk_proto::Zxid;
use zk_proto::connect::ConnectResponse;
use zk_testkit::{Client, Engine, PATIENCE, Server, ServerConfig};

use crate::picture::Picture;
use crate::tools;
use crate::tools::Dirs;
use crate::workload::{self, KINDS, TIMEOUT_MS, Workload, sessions};

type Outcome<T = ()> = Result<T, Box<dyn Error>>;

/// How a server ends.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum End {
    /// SIGTERM.
    Told,
    /// SIGKILL.
    Killed,
}

/// What is out of the common about all servers of a journey.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Feature {
    /// Nothing.
    None,
    /// `dataLogDir`.
    LogDir,
    /// `digest.enabled=false`.
    NoDigests,
    /// `digest.enabled=false` at the first of them only. No 3.9 starts from what another one
    /// without digests has left, but ours does, and 3.9 from what ours leaves.
    DigestsLater,
}

/// From one engine to another, and so on.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Journey {
    /// The first makes the directory, each other takes it over, the last one only looks.
    pub(crate) route: &'static [Engine],
    /// Of all of them.
    pub(crate) feature: Feature,
    /// `snapshot.compression.method` of all of them.
    pub(crate) compression: &'static str,
    /// How the first ends; the second ends the other way, and so on.
    pub(crate) end: End,
}

/// What a server held when it ended.
struct Left {
    zxid: i64,
    picture: Picture,
    ephemerals: BTreeSet<String>,
    keeper: ConnectResponse,
    /// Of all rounds.
    open: Vec<ConnectResponse>,
}

impl Journey {
    /// Goes all the way; panics where something is not as it was.
    pub(crate) fn run(self) -> Outcome {
        let mut server = Server::start(self.config())?;
        let mut keeper = keeper(Client::connect(server.addr(), TIMEOUT_MS)?)?;
        let mut left = self.stay(1, &mut server, &mut keeper, Vec::new())?;
        for (index, engine) in self.route.iter().enumerate().skip(1) {
            server.restart_with(*engine, self.lines(index))?;
            keeper = self.arrive(&server, &left)?;
            for round in 1..=index {
                workload::see_quotas(&mut keeper, &before(round))?;
                workload::see_quotas(&mut keeper, &behind(round))?;
            }
            if index + 1 < self.route.len() {
                left = self.stay(index + 1, &mut server, &mut keeper, left.open)?;
            }
        }
        for session in &left.open {
            Client::resume(server.addr(), session, Zxid::ZERO)?.close()?;
            let owned = Picture::take(&mut keeper)?;
            assert_eq!(owned.owned_by(session.session_id.0), Vec::<&str>::new(), "{self:?}");
        }
        Ok(())
    }

    fn config(self) -> ServerConfig {
        let mut config = ServerConfig::new(self.route[0]);
        config.lines = self.lines(0);
        config.properties.push(("znode.container.checkIntervalMs".into(), "200".into()));
        config
    }

    /// Of the `zoo.cfg` of a server on the route.
    fn lines(self, index: usize) -> Vec<String> {
        let mut lines = ServerConfig::new(self.route[index]).lines;
        lines.extend(
            [
                "enforceQuota=true",
                "extendedTypesEnabled=true",
                "DigestAuthenticationProvider.superDigest=super:nhkjiPrzX146uLcxpa5AcUqDWNo=",
                // Every part of the workload is in snapshots and in logs behind them, in many
                // files.
                "snapCount=40",
                "preAllocSize=64",
            ]
            .map(String::from),
        );
        lines.push(format!("maxSessionTimeout={TIMEOUT_MS}"));
        lines.push(format!("snapshot.compression.method={}", self.compression));
        match self.feature {
            Feature::None => {}
            // Servers run in the directory that holds the data directory.
            Feature::LogDir => lines.push("dataLogDir=./logs".into()),
            Feature::NoDigests | Feature::DigestsLater => {
                lines.push(format!("digest.enabled={}", self.has_digests(index)));
            }
        }
        lines
    }

    fn has_digests(self, index: usize) -> bool {
        match self.feature {
            Feature::NoDigests => false,
            Feature::DigestsLater => index > 0,
            _ => true,
        }
    }

    /// Where the files of a server are.
    fn dirs(self, server: &Server) -> Dirs {
        let data = server.data_dir();
        let logs = (self.feature == Feature::LogDir).then(|| data.with_file_name("logs"));
        Dirs { data, logs }
    }

    /// Works on a server and ends it: everything once in front of a snapshot and once behind it.
    fn stay(
        self,
        round: usize,
        server: &mut Server,
        keeper: &mut Client,
        earlier: Vec<ConnectResponse>,
    ) -> Outcome<Left> {
        let (addr, dirs) = (server.addr(), self.dirs(server));
        let before = before(round);
        let mut open = Workload::run(addr, keeper, &before)?;
        self.force_snapshot(server, keeper, &before)?;
        open.extend(Workload::run(addr, keeper, &behind(round))?);
        let told = tools::kept_digest(addr, keeper, &before)?;
        let picture = Picture::take(keeper)?;
        // Ours tells it even where it writes none.
        let is_told = self.has_digests(round - 1) || !server.engine().is_apache();
        let digest = if is_told { picture.digest() } else { 0 };
        assert_eq!(told, digest, "{self:?}: digest in round {round}");
        assert!(picture.len() > 50 * round, "{self:?}: {picture:?}");
        let left = Left {
            zxid: tools::last_zxid(addr)?,
            picture,
            ephemerals: tools::ephemerals(addr)?,
            keeper: keeper.session().clone(),
            open: earlier.into_iter().chain(sessions(&open)).collect(),
        };
        let is_odd = !round.is_multiple_of(2);
        match (self.end == End::Told) == is_odd {
            true => drop(server.terminate()?),
            false => server.kill()?,
        }
        assert_eq!(server.complaints(), Vec::<String>::new(), "{self:?}");
        self.examine(&dirs, &left)?;
        Ok(left)
    }

    /// What our tools see in the files that a server left.
    fn examine(self, dirs: &Dirs, left: &Left) -> Outcome {
        let report = tools::doctor(dirs)?;
        let last = format!("0x{:x}", left.zxid);
        assert_eq!(report["state"]["last"], last, "{self:?}: {report}");
        assert_eq!(report["apache"]["last"], last, "{self:?}: {report}");
        let kinds = tools::kinds(dirs)?;
        let missing = KINDS.iter().filter(|kind| !kinds.contains(**kind)).collect::<Vec<_>>();
        assert!(missing.is_empty(), "{self:?}: {missing:?} are not in {kinds:?}");
        // A renewed session gets its timeout anew, so only files show whether it was kept.
        let timeouts = left.open.iter().chain([&left.keeper]).map(|session| {
            (format!("0x{:x}", session.session_id.0), i64::from(session.timeout_ms))
        });
        let timeouts = timeouts.collect::<BTreeMap<_, _>>();
        let mut seen = 0;
        for (id, timeout_ms) in tools::sessions_in_snapshots(&report)? {
            if let Some(wanted) = timeouts.get(&id) {
                assert_eq!(timeout_ms, *wanted, "{self:?}: {id}");
                seen += 1;
            }
        }
        assert!(seen > 0, "{self:?}: no open session is in {report}");
        Ok(())
    }

    /// Writes until there is a snapshot, in the form that was wanted, of what is there now.
    fn force_snapshot(self, server: &Server, keeper: &mut Client, path: &str) -> Outcome {
        let ending = match self.compression {
            "" => String::new(),
            "gz" => ".gz".to_owned(),
            other => format!(".{other}"),
        };
        let from = tools::last_zxid(server.addr())?;
        let deadline = Instant::now() + PATIENCE;
        loop {
            keeper.set_data(path, b"until there is a snapshot", -1)?;
            for file in tools::files(&server.data_dir(), "snapshot.")? {
                let name = file.file_name().unwrap_or_default().to_string_lossy().into_owned();
                let number = name.strip_prefix("snapshot.").and_then(|n| n.strip_suffix(&ending));
                if number.and_then(|n| i64::from_str_radix(n, 16).ok()).is_some_and(|n| n >= from) {
                    return Ok(());
                }
            }
            assert!(Instant::now() < deadline, "{self:?}: no snapshot behind 0x{from:x}");
            thread::sleep(Duration::from_millis(2));
        }
    }

    /// Everything must be as another server left it.
    fn arrive(self, server: &Server, left: &Left) -> Outcome<Client> {
        let (addr, engine) = (server.addr(), server.engine());
        let what = format!("{self:?}: {engine} on what another left");
        assert_eq!(tools::last_zxid(addr)?, left.zxid, "{what}");
        for name in ["zk_digest_mismatches_count", "zk_unrecoverable_error_count"] {
            assert_eq!(tools::figure(addr, name)?, 0.0, "{what}: {name}");
        }
        assert_eq!(tools::ephemerals(addr)?, left.ephemerals, "{what}");
        let mut stranger = left.keeper.clone();
        stranger.password[0] ^= 1;
        let refused = Client::resume(addr, &stranger, Zxid::ZERO);
        assert!(matches!(refused, Err(zk_testkit::Error::Expired)), "{what}: {refused:?}");
        // The others live on with the timeouts that they had.
        for session in left.open.iter().step_by(2) {
            Client::resume(addr, session, Zxid(left.zxid))
                .map_err(|error| format!("{what}: session {:?}: {error}", session.session_id))?;
            assert!(!left.picture.owned_by(session.session_id.0).is_empty(), "{what}");
        }
        let mut keeper = keeper(Client::resume(addr, &left.keeper, Zxid(left.zxid))?)?;
        let differences = left.picture.differences(&Picture::take(&mut keeper)?);
        assert!(differences.is_empty(), "{what}:\n{}", differences.join("\n"));
        assert_eq!(tools::last_zxid(addr)?, left.zxid, "{what}");
        Ok(keeper)
    }
}

/// Where the work of a round is that a snapshot holds.
fn before(round: usize) -> String {
    format!("/before-{round}")
}

/// And that of which a log tells.
fn behind(round: usize) -> String {
    format!("/behind-{round}")
}

/// Sees everything.
fn keeper(mut client: Client) -> Outcome<Client> {
    client.auth("digest", SUPER_AUTH)?;
    Ok(client)
}
