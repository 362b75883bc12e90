//! The machine under its lock, and what it wants done at once.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::Instant;

use parking_lot::{Mutex, MutexGuard};
use tokio::sync::{Notify, mpsc};
use zk_core::Membership;
use zk_proto::quorum::{Forwarded, FromLearner, Id, Touched};
use zk_proto::request::ReconfigRequest;
use zk_proto::txn::{Txn, TxnEntry, TxnHeader};
use zk_proto::{Epoch, ErrorCode, Jute, Limits, OpCode, Reader, SessionId, Sid, Zxid};
use zk_quorum::election::ElectionPort;
use zk_quorum::link::Link;
use zk_store::group_commit::AppendError;
use zk_tree::auth::Identity;
use zk_zab::election::Output as Elect;
use zk_zab::leader::LinkId;
use zk_zab::peer::{Peer, PeerOptions, Turn, Wants};
use zk_zab::{Configs, Ensemble, ReconfigError, Role};

use super::promises::Promise;
use super::snap::Outgoing;
use super::tally::{LearnerLink, Moments};
use crate::admin::Metrics;
use crate::engine::{Diligence, Pipe, TxnLog};
use crate::storage::Loading;

/// What a member is told of its ensemble.
#[derive(Clone, Debug)]
pub(crate) struct QuorumOptions {
    pub(crate) peer: PeerOptions,
    pub(crate) configs: Configs,
    /// So many committed transactions are kept for learners that come back.
    pub(crate) window: usize,
    /// `standaloneEnabled`: an ensemble must not shrink to one participant.
    pub(crate) standalone_enabled: bool,
}

/// A member's machine, behind its lock.
pub(crate) struct Quorum {
    pub(super) state: Mutex<State>,
    /// There are chores.
    pub(super) news: Notify,
    started: Instant,
    log: Box<dyn TxnLog>,
    pipe: Arc<Pipe>,
    window: usize,
    standalone_enabled: bool,
    pub(super) metrics: Arc<Metrics>,
}

/// A transaction, header, body and digest.
pub(super) type Entry = (Zxid, Arc<[u8]>);

pub(super) struct State {
    pub(super) peer: Peer,
    pub(super) election: Option<ElectionPort>,
    /// A leader's learners, or a follower's observers.
    pub(super) links: BTreeMap<LinkId, LearnerLink>,
    /// A learner's leader.
    pub(super) upstream: Option<Link>,
    /// Who is at the other end of it: the leader, or a follower that feeds observers.
    pub(super) master: Option<Sid>,
    /// Counts the connections to leaders: what comes on an older one is not heard any more.
    pub(super) attempt: u64,
    /// The last transactions that are committed, without a hole, up to the last one.
    pub(super) window: VecDeque<Entry>,
    /// The last one that a leader has committed, or that its history ends with.
    pub(super) committed: Zxid,
    /// Those that are logged, or about to be, and not committed.
    pub(super) under_way: VecDeque<Entry>,
    pub(super) chores: VecDeque<Chore>,
    /// Something is to be applied, and the pipeline's thread was not woken for it.
    pub(super) is_due: bool,
    pub(super) turn: Option<Turn>,
    /// The snapshot that a leader sent, before it is the history.
    pub(super) staged: Option<Loading>,
    /// What was applied and not told to the observers of this follower yet.
    pub(super) fresh: VecDeque<Entry>,
    /// The sessions that its observers have heard since the last PING, with their timeouts in ms.
    pub(super) touched: BTreeMap<SessionId, i32>,
    /// What the log has for a learner, while it is told so.
    pub(super) tail: Vec<Entry>,
    /// Sessions that move to learners, and behind what this is told: what the session has asked for
    /// at another member must not be taken for an answer there.
    pub(super) moves: VecDeque<(Zxid, LinkId, SessionId, bool)>,
    /// Learners that wait until the tree can be sent again.
    pub(super) promises: VecDeque<Promise>,
    /// To whom the snapshot goes that is on its way.
    pub(super) receiving: Vec<LinkId>,
    /// Snapshots that learners are to get: to be begun before anything else is committed.
    pub(super) outgoing: Vec<Outgoing>,
    pub(super) moments: Moments,
}

/// What cannot be done under the lock, in order.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum Chore {
    WriteAccepted(Epoch),
    WriteCurrent(Epoch),
    Truncate(Zxid),
    Settle,
    Serve,
    Lead(Epoch),
    AnswerPing(Zxid),
    /// A member without a vote needs to see that this leader has a quorum.
    Prove,
    /// The ensemble is to change, when this is committed.
    Proposed(Ensemble),
    /// The ensemble has changed.
    Activated(Ensemble),
    LookUp(LinkId, Zxid),
    /// What was found in the log; nothing, if not everything is there.
    LookedUp(LinkId, Option<Vec<Entry>>),
}

/// What needs the pipeline, in order.
#[derive(Debug)]
pub(super) enum Ask<'a> {
    Request(LinkId, Forwarded<'a>),
    Revalidate(LinkId, SessionId, i32),
    Touched(Touched<'a>),
}

/// The quorum under its lock.
pub(super) struct Held<'q> {
    pub(super) quorum: &'q Quorum,
    pub(super) state: MutexGuard<'q, State>,
}

impl Quorum {
    pub(crate) fn new(
        options: QuorumOptions,
        started: Instant,
        log: Box<dyn TxnLog>,
        pipe: Arc<Pipe>,
        metrics: Arc<Metrics>,
    ) -> Arc<Quorum> {
        let state = State {
            peer: Peer::new(options.peer, options.configs),
            election: None,
            links: BTreeMap::new(),
            upstream: None,
            master: None,
            attempt: 0,
            window: VecDeque::new(),
            committed: Zxid::ZERO,
            under_way: VecDeque::new(),
            chores: VecDeque::new(),
            is_due: false,
            turn: None,
            staged: None,
            moves: VecDeque::new(),
            fresh: VecDeque::new(),
            touched: BTreeMap::new(),
            tail: Vec::new(),
            promises: VecDeque::new(),
            receiving: Vec::new(),
            outgoing: Vec::new(),
            moments: Moments::default(),
        };
        let (state, news) = (Mutex::new(state), Notify::new());
        let QuorumOptions { window, standalone_enabled, .. } = options;
        Arc::new(Quorum { state, news, started, log, pipe, window, standalone_enabled, metrics })
    }

    pub(super) fn now_ms(&self) -> u64 {
        self.started.elapsed().as_millis() as u64
    }

    pub(super) fn lock(&self) -> Held<'_> {
        Held { quorum: self, state: self.state.lock() }
    }

    /// Lets the machine do something, and carries out what it wants; what needs the pipeline comes
    /// back.
    pub(super) fn act<'a>(&self, act: impl FnOnce(&mut Peer, u64, &mut Wants<'a>)) -> Vec<Ask<'a>> {
        let mut asks = Vec::new();
        self.lock().act(act, &mut asks);
        asks
    }

    /// Transactions were made: they go to the followers and to the own log.
    pub(crate) fn propose(
        &self,
        txns: &mut dyn Iterator<Item = (Zxid, &[u8])>,
    ) -> Result<(), AppendError> {
        let mut held = self.lock();
        let mut made = Vec::new();
        for (zxid, txn) in txns {
            made.push((zxid, reconfiguration(txn)));
            held.state.under_way.push_back((zxid, txn.into()));
        }
        let Some((first, _)) = made.first() else { return Ok(()) };
        let first = *first;
        self.count_proposals(held.state.since(first));
        let propose = |peer: &mut Peer, now_ms, wants: &mut Wants<'_>| {
            for (zxid, config) in made {
                match config {
                    Some(config) => peer.reconfigure(now_ms, zxid, config, wants),
                    None => peer.propose(now_ms, zxid, wants),
                }
            }
        };
        held.act(propose, &mut Vec::new());
        self.log.append(&mut held.state.since(first))
    }

    /// The own log is durable up to there.
    pub(crate) fn logged(&self, zxid: Zxid) {
        {
            let mut held = self.lock();
            held.state.count_logged(self, zxid);
            // No requests come from the disk.
            held.act(|peer, _, wants| peer.logged(zxid, wants), &mut Vec::new());
        }
        self.tell_chores();
    }

    /// Clients want something of the leader: packets, in order, so many of them syncs, and these
    /// sessions are to move here.
    pub(crate) fn ask(&self, packets: &[u8], syncs: usize, moves: &[SessionId]) {
        let mut state = self.state.lock();
        // Those of observers stand in the same rows.
        (0..syncs).for_each(|_| state.peer.asked_sync());
        moves.iter().for_each(|session| state.peer.asked_move(*session));
        if let Some(link) = &state.upstream {
            link.send(|out| out.extend_from_slice(packets));
        }
    }

    /// Sessions have ended.
    pub(crate) fn ended(&self, sessions: impl Iterator<Item = SessionId>) {
        let mut state = self.state.lock();
        sessions.for_each(|session| state.peer.session_ended(session));
    }

    /// The connections to other members end.
    pub(crate) fn hang_up(&self) {
        self.state.lock().hang_up();
    }

    /// The leader has taught something that cannot be: it is left.
    pub(crate) fn leave(&self) {
        self.lock().leave();
        self.news.notify_one();
    }

    /// The same, if it is still this connection to a leader.
    pub(super) fn leave_attempt(&self, attempt: u64) {
        {
            let mut held = self.lock();
            if held.state.attempt != attempt {
                return;
            }
            held.leave();
        }
        self.news.notify_one();
    }

    /// Its thread looks what has happened.
    pub(crate) fn wake(&self) {
        self.news.notify_one();
    }

    /// The number of this member.
    pub(crate) fn sid(&self) -> Sid {
        self.state.lock().peer.sid()
    }

    /// Whether this is a follower that feeds observers.
    pub(super) fn feeds(&self) -> bool {
        self.state.lock().peer.fed_upto().is_some()
    }

    /// Who the members are, and will be.
    pub(crate) fn configs(&self) -> Configs {
        self.state.lock().peer.configs().clone()
    }

    /// Who the members are.
    pub(crate) fn config(&self) -> Ensemble {
        self.state.lock().peer.configs().committed.clone()
    }

    /// Who leads, and what this member does.
    pub(crate) fn part(&self) -> (Option<Sid>, Role, bool) {
        let state = self.state.lock();
        (state.peer.leader(), state.peer.role(), state.peer.is_serving())
    }

    /// Whether something is to be applied by the caller.
    pub(crate) fn take_due(&self) -> bool {
        std::mem::take(&mut self.state.lock().is_due)
    }

    pub(super) fn tell_chores(&self) {
        let state = self.state.lock();
        if state.turn.is_some() || !state.chores.is_empty() {
            drop(state);
            self.news.notify_one();
        }
    }

    pub(super) fn log(&self) -> &dyn TxnLog {
        &*self.log
    }

    pub(super) fn pipe(&self) -> &Pipe {
        &self.pipe
    }
}

impl Membership for Quorum {
    fn next(&self, request: &ReconfigRequest<'_>, zxid: Zxid) -> Result<String, ErrorCode> {
        let peer = &self.state.lock().peer;
        let next = peer.configs().next(request, zxid, self.standalone_enabled);
        let next = match next {
            Ok(next) if !peer.is_synced(&next) => Err(ReconfigError::NoQuorum),
            next => next,
        };
        next.map(|next| next.to_string()).map_err(|error| {
            tracing::warn!("a client's reconfig is refused: {error}");
            error.code()
        })
    }
}

/// A transaction among those that follow one another.
pub(super) fn find(under_way: &VecDeque<Entry>, zxid: Zxid) -> Option<&[u8]> {
    let first = under_way.front()?.0;
    let at = usize::try_from(zxid.0.checked_sub(first.0)?).ok()?;
    let (found, txn) = under_way.get(at)?;
    (*found == zxid).then_some(&**txn)
}

/// Appends what a client wants of the leader.
pub(crate) fn put_request<'i>(
    session: SessionId,
    cxid: i32,
    op: i32,
    body: &[u8],
    identities: &'i [Identity],
    out: &mut Vec<u8>,
) {
    let id = |id: &'i Identity| Id { scheme: Some((*id.scheme).into()), id: Some((*id.id).into()) };
    let identities = identities.iter().map(id).collect();
    FromLearner::Request(Forwarded { session, cxid, op, body, identities }).put(out);
}

/// The configuration that a transaction makes, if it is one that does.
fn reconfiguration(txn: &[u8]) -> Option<Ensemble> {
    let op = txn.get(TxnHeader::OP_AT..)?.first_chunk()?;
    if i32::from_be_bytes(*op) != OpCode::Reconfig.code() {
        return None;
    }
    let entry = TxnEntry::read(&mut Reader::with_limits(txn, Limits::NONE)).ok()?;
    let Txn::Reconfig(set) = entry.txn else { return None };
    Ensemble::parse(std::str::from_utf8(set.data?).ok()?).ok()
}

impl State {
    /// What is under way from this transaction on.
    pub(super) fn since(&self, first: Zxid) -> impl Iterator<Item = (Zxid, &[u8])> {
        let at = self.under_way.partition_point(|(zxid, _)| *zxid < first);
        self.under_way.range(at..).map(|(zxid, txn)| (*zxid, &**txn))
    }

    /// The connections to other members end.
    pub(super) fn hang_up(&mut self) {
        self.links.clear();
        (self.upstream, self.master) = (None, None);
        self.fresh.clear();
        self.touched.clear();
    }

    /// Says something to the leader.
    pub(super) fn ask(&self, packet: &FromLearner<'_>) {
        if let Some(link) = &self.upstream {
            link.send(|out| packet.put(out));
        }
    }
}

impl Held<'_> {
    /// The leader is lost, and the connection to it ends.
    pub(super) fn leave(&mut self) {
        self.state.upstream = None;
        self.act(|peer, _, wants| peer.leader_lost(wants), &mut Vec::new());
    }

    pub(super) fn act<'a>(
        &mut self,
        act: impl FnOnce(&mut Peer, u64, &mut Wants<'a>),
        asks: &mut Vec<Ask<'a>>,
    ) {
        let now_ms = self.quorum.now_ms();
        let mut wants = Wants::default();
        act(&mut self.state.peer, now_ms, &mut wants);
        self.carry_out(wants, asks);
    }

    /// Does what can be done at once, in order.
    pub(super) fn carry_out<'a>(&mut self, wants: Wants<'a>, asks: &mut Vec<Ask<'a>>) {
        let Wants { elect, learn, lead, turn } = wants;
        for output in elect {
            match output {
                Elect::Adopt(config) => {
                    // Its members are dialled at once.
                    self.tell_port();
                    self.chore(Chore::Activated(config));
                }
                output => self.elect(output),
            }
        }
        self.follow(learn);
        // What a follower's observers get is what it has applied.
        if let Some(applied) = self.state.peer.fed_upto() {
            self.state.committed = applied;
        }
        self.lead(lead, asks);
        if turn.is_some() {
            self.state.turn = turn;
        }
    }

    /// Whom the election port may have to dial.
    pub(super) fn tell_port(&self) {
        if let Some(port) = &self.state.election {
            port.reconfigured(self.state.peer.configs());
        }
    }

    fn elect(&self, output: Elect) {
        let Some(port) = &self.state.election else { return };
        match output {
            Elect::Send { to, notification } => port.send(to, &notification),
            Elect::Dial => port.dial(self.state.peer.configs().voters()),
            Elect::Adopt(_) | Elect::Outvoted | Elect::Elected { .. } | Elect::Wiped => {}
        }
    }

    /// Takes note of who applies.
    pub(super) fn note_due(&mut self, who: Diligence) {
        self.state.is_due |= who == Diligence::Caller;
    }

    /// Takes note of a transaction that is committed.
    pub(super) fn keep(&mut self, entry: Entry) {
        let State { window, .. } = &mut *self.state;
        window.push_back(entry);
        if window.len() > self.quorum.window {
            window.pop_front();
        }
    }

    /// Where the pieces of a snapshot for a learner go, behind what it was told before.
    pub(super) fn stream_to(&self, link: LinkId) -> Option<mpsc::Sender<Vec<u8>>> {
        let link = self.state.links.get(&link)?;
        let (pieces, come) = mpsc::channel(super::snap::PIECES);
        link.send_stream(come);
        Some(pieces)
    }
}
