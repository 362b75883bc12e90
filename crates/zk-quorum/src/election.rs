//! The election port (quorum-protocol 2.1 to 2.3; Apache `QuorumCnxManager`): one connection for
//! each pair of members, dialled by the one with the larger sid, and on it the newest vote of each
//! side.

mod lines;

use std::collections::{BTreeMap, VecDeque};
use std::io;
use std::sync::{Arc, Weak};
use std::time::Duration;

use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use tokio::time::timeout;
use zk_proto::Sid;
use zk_proto::election::{Greeting, Notification};
use zk_zab::{Configs, HostPort};

use crate::dial::{DialError, DialOptions, dial, within};
use crate::wire::From;
use crate::{Guest, Guests, Wire};
use lines::Lines;

/// What an election port is told.
#[derive(Clone, Debug)]
pub struct ElectionPortOptions {
    /// Whose it is.
    pub me: Sid,
    /// Where others reach it, as greetings say it.
    pub advertised: Vec<HostPort>,
    /// How others are dialled.
    pub dial: DialOptions,
    /// `quorumCnxnTimeoutMs`, or `syncLimit` ticks: for a greeting.
    pub greeting_timeout: Duration,
}

/// What happens on an election port.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum ElectionEvent {
    /// A member said something.
    Heard {
        /// Who.
        from: Sid,
        /// What.
        vote: Notification<'static>,
    },
    /// There is a connection.
    Connected(Sid),
    /// A connection has ended, perhaps since another took its place. Who waits for this member
    /// should dial it: there may be no such process any more.
    Lost(Sid),
    /// A member's host has refused a connection: there is no such process.
    Refused(Sid),
}

/// So many events wait for whoever reads them; then no more is read from sockets.
const EVENTS: usize = 100;

/// The connections of one member. They end when it is dropped.
pub struct ElectionPort {
    shared: Arc<Shared>,
}

struct Shared {
    options: ElectionPortOptions,
    lines: Lines,
    events: mpsc::Sender<ElectionEvent>,
}

impl ElectionPort {
    /// Serves these listeners, in the runtime of the caller.
    #[must_use]
    pub fn start(
        options: ElectionPortOptions,
        configs: &Configs,
        listeners: Vec<TcpListener>,
    ) -> (ElectionPort, mpsc::Receiver<ElectionEvent>) {
        let (events, heard) = mpsc::channel(EVENTS);
        let shared = Arc::new(Shared { options, lines: Lines::new(), events });
        shared.lines.list(addresses(configs));
        for listener in listeners {
            shared.lines.spawn(accept(Arc::downgrade(&shared), listener));
        }
        (ElectionPort { shared }, heard)
    }

    /// Tells a member something; of what has not left only the newest does. A member that there is
    /// no connection to hears it when there is one.
    pub fn send(&self, to: Sid, vote: &Notification<'_>) {
        let mut frame = Vec::new();
        vote.put_frame(&mut frame);
        self.shared.lines.send(to, frame.into());
    }

    /// Dials every member that there is no connection to.
    pub fn dial(&self, members: impl IntoIterator<Item = Sid>) {
        for sid in members.into_iter().filter(|sid| *sid != self.shared.options.me) {
            if let Some(addresses) = self.shared.lines.begin_dial(sid, None) {
                self.shared.lines.spawn(reach(self.shared.clone(), sid, addresses));
            }
        }
    }

    /// Other members count from now on; connections stay.
    pub fn reconfigured(&self, configs: &Configs) {
        self.shared.lines.list(addresses(configs));
    }
}

impl Drop for ElectionPort {
    fn drop(&mut self) {
        self.shared.lines.close();
    }
}

/// Where members are dialled: as the committed configuration says, and as a proposed one does of
/// those that are new in it.
fn addresses(configs: &Configs) -> BTreeMap<Sid, Vec<HostPort>> {
    let both = configs.proposed.iter().chain([&configs.committed]);
    both.flat_map(|config| &config.members)
        .map(|(sid, member)| {
            let at = member.addresses.iter().map(|address| HostPort {
                host: address.host.clone(),
                port: address.election_port,
            });
            (*sid, at.collect())
        })
        .collect()
}

async fn accept(shared: Weak<Shared>, listener: TcpListener) {
    let mut guests = Guests::default();
    loop {
        match listener.accept().await {
            Ok((stream, from)) => {
                let Some(shared) = shared.upgrade() else { return };
                guests.admit(from.ip(), |guest| {
                    let own = shared.clone();
                    shared.lines.spawn(async move {
                        if let Err(error) = welcome(&own, stream, guest).await {
                            tracing::debug!(
                                "the connection from {from} to the election port: {error}"
                            );
                        }
                    })
                });
            }
            // No descriptor, or one that has gone already: others may come.
            Err(error) => {
                tracing::warn!("cannot accept on the election port: {error}");
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        }
    }
}

/// Hears who dials, and keeps the connection if that one is to keep it.
async fn welcome(shared: &Arc<Shared>, stream: TcpStream, guest: Guest) -> io::Result<()> {
    let options = &shared.options;
    if options.dial.keep_alive {
        socket2::SockRef::from(&stream).set_keepalive(true)?;
    }
    let peer = stream.peer_addr()?;
    let (guards, patience) = (&options.dial.guards, options.greeting_timeout);
    let refused = |error: &io::Error| {
        if guest.may_be_told_of() {
            tracing::warn!("a member at {peer} is refused: {error}");
        }
    };
    let greets = async {
        let mut wire = guards.accepted(stream).await.inspect_err(refused)?;
        let greeting = greeting(&mut wire).await?;
        io::Result::Ok((greeting, wire))
    };
    let (greeting, mut wire) = timeout(patience, greets).await??;
    guards.admit(&mut wire, patience).await.inspect_err(refused)?;
    drop(guest);
    let sid = match greeting.sid {
        // An observer without a number of its own.
        Sid(i64::MAX) => shared.lines.anonymous(),
        sid => sid,
    };
    if sid == options.me {
        tracing::warn!(
            "server {sid} was dialled by a server with the same number; each needs its own myid"
        );
        return Ok(());
    }
    if sid > options.me {
        return serve(shared.clone(), sid, wire).await;
    }
    // The larger sid dials: this one dials back.
    drop(wire);
    let usable = |text: &String| {
        let (host, port) = text.rsplit_once(':')?;
        let host = host.trim_start_matches('[').trim_end_matches(']').to_owned();
        let at = HostPort { host, port: port.parse().ok()? };
        (!at.is_wildcard()).then_some(at)
    };
    let told: Vec<HostPort> = greeting.addresses.iter().filter_map(usable).collect();
    shared.lines.hang_up(sid);
    if let Some(addresses) = shared.lines.begin_dial(sid, Some(told)) {
        reach(shared.clone(), sid, addresses).await;
    }
    Ok(())
}

/// Reads a greeting.
async fn greeting(wire: &mut Wire) -> io::Result<Greeting> {
    loop {
        if let Some((greeting, length)) = Greeting::read(wire.come()).map_err(invalid)? {
            wire.used(length);
            return Ok(greeting);
        }
        wire.read().await?;
    }
}

/// Dials a member, and keeps the connection if its sid is the smaller one.
async fn reach(shared: Arc<Shared>, sid: Sid, addresses: Vec<HostPort>) {
    let options = &shared.options;
    let dialled = dial(&addresses, &options.dial).await;
    shared.lines.end_dial(sid);
    let mut wire = match dialled {
        Ok(wire) => wire,
        Err(DialError::Refused) => {
            let _ = shared.events.send(ElectionEvent::Refused(sid)).await;
            return;
        }
        Err(DialError::Failed(error)) => {
            tracing::debug!("server {sid} cannot be reached on its election port: {error}");
            return;
        }
    };
    let addresses = options.advertised.iter().map(ToString::to_string).collect();
    let greeting = Greeting { sid: options.me, addresses }.to_bytes();
    let greets = async {
        wire.write(&greeting).await?;
        options.dial.guards.authenticate(&mut wire).await
    };
    match within(options.dial.patience, greets).await {
        // Whoever it is, it ends without a word.
        Ok(()) if sid < options.me => drop(serve(shared.clone(), sid, wire).await),
        Ok(()) => {}
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {
            tracing::warn!("no connection to server {sid} on its election port: {error}");
        }
        Err(error) => tracing::debug!("server {sid} has not heard who this is: {error}"),
    }
}

/// Exchanges votes until the connection ends, or another takes its place.
async fn serve(shared: Arc<Shared>, sid: Sid, wire: Wire) -> io::Result<()> {
    let Some((mut line, mut replaced)) = shared.lines.begin(sid) else {
        tracing::warn!("server {sid} is in no configuration, and too many such are connected");
        return Ok(());
    };
    let _ = shared.events.send(ElectionEvent::Connected(sid)).await;
    let (mut from, mut to) = wire.split();
    let hears = async {
        let mut frames = Frames { bytes: Vec::new() };
        let mut last = VecDeque::new();
        while frames.next(&mut from, &mut last).await? {
            for vote in last.drain(..) {
                let _ = shared.events.send(ElectionEvent::Heard { from: sid, vote }).await;
            }
        }
        Ok(())
    };
    let tells = async {
        // What was said last is said again: the other side may have lost it.
        loop {
            let frame = line.borrow_and_update().clone();
            to.write(&frame).await?;
            if line.changed().await.is_err() {
                return Ok(());
            }
        }
    };
    let ended = tokio::select! {
        ended = hears => ended,
        ended = tells => ended,
        _ = &mut replaced => Ok(()),
    };
    shared.lines.end(sid, replaced);
    let _ = shared.events.send(ElectionEvent::Lost(sid)).await;
    ended
}

/// Votes as they come.
struct Frames {
    bytes: Vec<u8>,
}

impl Frames {
    /// Appends the votes that have come, after at least one read; `false` at the end.
    async fn next(
        &mut self,
        from: &mut From,
        votes: &mut VecDeque<Notification<'static>>,
    ) -> io::Result<bool> {
        let mut at = 0;
        while let Some(head) = self.bytes[at..].first_chunk::<4>() {
            let length = usize::try_from(i32::from_be_bytes(*head)).unwrap_or(usize::MAX);
            if length > zk_proto::election::MAX_FRAME_BYTES {
                return Err(io::Error::other(format!("a frame of {length} bytes")));
            }
            let Some(payload) = self.bytes.get(at + 4..at + 4 + length) else { break };
            at += 4 + length;
            match Notification::read(payload) {
                Ok(vote) => votes.push_back(Notification {
                    config: vote.config.map(|text| text.into_owned().into()),
                    ..vote
                }),
                // As in Apache: it does no harm to the next one.
                Err(error) => tracing::debug!("a vote that cannot be read: {error}"),
            }
        }
        self.bytes.drain(..at);
        if !votes.is_empty() {
            return Ok(true);
        }
        self.bytes.reserve(4096);
        Ok(from.read(&mut self.bytes).await? > 0)
    }
}

fn invalid(error: impl std::error::Error + Send + Sync + 'static) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, error)
}
