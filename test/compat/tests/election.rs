//! A member of ours votes with members of Apache's: it finds the leader that they have, and elects
//! a new one with them when that one is killed.

use std::time::{Duration, Instant};

use tokio::net::TcpListener;
use tokio::sync::mpsc::Receiver;
use zk_proto::{Epoch, Sid, Zxid};
use zk_quorum::election::{ElectionEvent, ElectionPort, ElectionPortOptions};
use zk_quorum::{DialOptions, Guards};
use zk_testkit::{
    Engine, Error, Server, ServerConfig, apache_or_skip, four_letter_word, free_port,
};
use zk_zab::election::{ElectionTimes, Output};
use zk_zab::leader::LeaderTimes;
use zk_zab::peer::{History, Peer, PeerOptions, Turn, Wants};
use zk_zab::{Configs, Ensemble, HostPort, Role};

const PATIENCE: Duration = Duration::from_secs(60);

/// Our member, as far as it votes.
struct Voter {
    peer: Peer,
    port: ElectionPort,
    events: Receiver<ElectionEvent>,
    started: Instant,
}

impl Voter {
    fn now_ms(&self) -> u64 {
        self.started.elapsed().as_millis() as u64
    }

    /// Looks for a leader, until there is one.
    async fn look(&mut self, history: History) -> Turn {
        let mut wants = Wants::default();
        self.peer.look(self.now_ms(), history, &mut wants);
        loop {
            for output in wants.elect.drain(..) {
                match output {
                    Output::Send { to, notification } => self.port.send(to, &notification),
                    Output::Dial => self.port.dial((1..=3).map(Sid)),
                    Output::Adopt(_)
                    | Output::Elected { .. }
                    | Output::Wiped
                    | Output::Outvoted => {}
                }
            }
            if let Some(turn) = wants.turn.take() {
                return turn;
            }
            let event = tokio::time::timeout(Duration::from_millis(20), self.events.recv()).await;
            let now_ms = self.now_ms();
            match event {
                Ok(Some(ElectionEvent::Heard { from, vote })) => {
                    self.peer.heard_vote(now_ms, from, &vote, &mut wants);
                }
                Ok(Some(ElectionEvent::Connected(sid))) => {
                    self.peer.vote_connected(sid, &mut wants);
                }
                Ok(Some(ElectionEvent::Lost(sid))) => self.peer.vote_lost(sid, &mut wants),
                Ok(Some(ElectionEvent::Refused(sid))) => {
                    self.peer.vote_refused(now_ms, sid, &mut wants);
                }
                Ok(None) => return Turn::JoinAnybody,
                Err(_) => self.peer.tick(now_ms, &mut wants),
            }
        }
    }
}

fn mode(server: &Server) -> String {
    let srvr = four_letter_word(server.addr(), b"srvr", PATIENCE).unwrap_or_default();
    let text = String::from_utf8_lossy(&srvr).into_owned();
    text.lines().find_map(|line| line.strip_prefix("Mode: ")).unwrap_or_default().to_owned()
}

/// The servers 2 and 3 of an ensemble whose server 1 is not there.
fn start(engine: Engine, lines: &[String]) -> Result<[Server; 2], Error> {
    let member = |myid| {
        let mut config = ServerConfig::new(engine);
        config.myid = Some(myid);
        config.lines.extend(["initLimit=20".to_owned(), "syncLimit=20".to_owned()]);
        config.lines.extend_from_slice(lines);
        Server::start(config)
    };
    std::thread::scope(|scope| {
        let second = scope.spawn(|| member(2));
        let third = member(3)?;
        let second = second.join().map_err(|_| Error::Stopped)??;
        Ok([second, third])
    })
}

async fn votes_with(engine: Engine) -> Result<(), Error> {
    if !apache_or_skip(engine) {
        return Ok(());
    }
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let own_port = listener.local_addr()?.port();
    let mut lines = vec![format!("server.1=127.0.0.1:{}:{own_port}", free_port()?)];
    for sid in [2, 3] {
        lines.push(format!("server.{sid}=127.0.0.1:{}:{}", free_port()?, free_port()?));
    }
    let [second, mut third] = start(engine, &lines)?;
    assert_eq!([mode(&second), mode(&third)], ["follower", "leader"]);

    let configs = Configs::new(Ensemble::parse(&lines.join("\n")).expect("three members"));
    let options = ElectionPortOptions {
        me: Sid(1),
        advertised: vec![HostPort { host: "127.0.0.1".into(), port: own_port }],
        dial: DialOptions { patience: PATIENCE, keep_alive: false, guards: Guards::default() },
        greeting_timeout: PATIENCE,
    };
    let (port, events) = ElectionPort::start(options, &configs, vec![listener]);
    let options = PeerOptions {
        sid: Sid(1),
        role: Role::Participant,
        accepts_configs: false,
        election: ElectionTimes::default(),
        times: LeaderTimes { tick_ms: 500, init_ms: 10_000, sync_ms: 10_000 },
        epoch_floor: Epoch(0),
        admits_strangers: false,
        window: 500,
        feeds: false,
    };
    let (peer, started) = (Peer::new(options, configs), Instant::now());
    let mut voter = Voter { peer, port, events, started };
    // It joins the leader that there is.
    let nothing = History::default();
    let turn = tokio::time::timeout(PATIENCE, voter.look(nothing.clone())).await;
    assert_eq!(turn.ok(), Some(Turn::Join(Sid(3))), "{engine}");
    // Without it the two that are left elect; only with its vote they are a quorum.
    third.kill()?;
    let turn = tokio::time::timeout(PATIENCE, voter.look(nothing)).await;
    assert_eq!(turn.ok(), Some(Turn::Join(Sid(2))), "{engine}");
    // And with a longer history it would lead: what it says is heard.
    let longer = History { last_zxid: Zxid::new(Epoch(9), 1), ..History::default() };
    let longer = History { current_epoch: Epoch(9), accepted_epoch: Epoch(9), ..longer };
    let turn = tokio::time::timeout(PATIENCE, voter.look(longer)).await;
    assert_eq!(turn.ok(), Some(Turn::Reign), "{engine}");
    Ok(())
}

#[tokio::test]
async fn with_apache_380() -> Result<(), Error> {
    votes_with(Engine::Apache38).await
}

#[tokio::test]
async fn with_apache_394() -> Result<(), Error> {
    votes_with(Engine::Apache39).await
}
