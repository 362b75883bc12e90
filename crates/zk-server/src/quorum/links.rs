//! What comes on the connections between a leader and its learners.

use std::io;
use std::sync::Arc;

use zk_core::LearnerId;
use zk_proto::quorum::{FromLeader, FromLearner, longest};
use zk_proto::{DecodeError, Limits};
use zk_quorum::link::{Hear, Heard};
use zk_zab::leader::LinkId;
use zk_zab::learner::Output as Learn;
use zk_zab::peer::{Peer, Wants};

use super::driver::Driver;
use super::promises::Promise;
use super::state::Ask;
use super::tally::{LinkTally, Run};

/// A leader's side.
pub(super) struct Learners {
    pub(super) driver: Arc<Driver>,
    pub(super) link: LinkId,
    pub(super) tally: Arc<LinkTally>,
}

/// A learner's side.
pub(super) struct Upstream {
    pub(super) driver: Arc<Driver>,
    /// Which of the connections to leaders this is.
    pub(super) attempt: u64,
}

impl Hear for Learners {
    fn heard(&mut self, bytes: &[u8]) -> io::Result<Heard> {
        let limits = self.driver.limits;
        let mut at = 0;
        let mut packets = Vec::new();
        while let Some((packet, length)) =
            FromLearner::read(&bytes[at..], limits).map_err(invalid)?
        {
            at += length;
            packets.push(packet);
        }
        check_length(&bytes[at..], limits)?;
        self.tally.heard(&packets);
        self.driver.quorum.count_acks(self.link, &packets);
        self.driver.heard_learner(self.link, packets);
        Ok(Heard::Packets(at))
    }

    fn ended(&mut self, why: io::Error) {
        tracing::info!("the connection of a learner has ended: {why}");
        let link = self.link;
        {
            let mut held = self.driver.quorum.lock();
            held.state.links.remove(&link);
            held.state.peer.learner_lost(link);
        }
        self.driver.settle();
    }
}

impl Upstream {
    /// Whether this leader is left.
    fn is_over(&self) -> bool {
        self.driver.quorum.lock().state.attempt != self.attempt
    }
}

impl Hear for Upstream {
    fn heard(&mut self, bytes: &[u8]) -> io::Result<Heard> {
        let limits = self.driver.limits;
        let mut at = 0;
        loop {
            let mut installs = None;
            let mut has_more = false;
            {
                let mut held = self.driver.quorum.lock();
                if held.state.attempt != self.attempt {
                    return Err(io::Error::other("this leader is left"));
                }
                let now_ms = self.driver.quorum.now_ms();
                let (mut wants, mut run) = (Wants::default(), Run::default());
                while let Some((packet, length)) =
                    FromLeader::read(&bytes[at..], limits).map_err(invalid)?
                {
                    at += length;
                    let snap = match packet {
                        FromLeader::Snap(zxid) => Some(zxid),
                        _ => None,
                    };
                    let before = wants.learn.len();
                    held.state.count_packet(&self.driver.quorum, &packet, &mut run);
                    held.state.peer.heard_leader(now_ms, packet, &mut wants);
                    // Chores come before what follows.
                    has_more = wants.learn[before..].iter().any(is_chore);
                    installs = snap.filter(|_| wants.turn.is_none());
                    if has_more || snap.is_some() || wants.turn.is_some() {
                        break;
                    }
                }
                run.count(&self.driver.quorum);
                held.carry_out(wants, &mut Vec::new());
            }
            self.driver.settle();
            if let Some(zxid) = installs {
                return Ok(Heard::Stream(at, self.driver.take_snapshot(zxid, self.attempt)?));
            }
            if !has_more || self.is_over() {
                check_length(&bytes[at..], limits)?;
                return Ok(Heard::Packets(at));
            }
        }
    }

    fn ended(&mut self, why: io::Error) {
        {
            let mut held = self.driver.quorum.lock();
            if held.state.attempt != self.attempt {
                return;
            }
            tracing::info!("the connection to the leader has ended: {why}");
            held.leave();
        }
        self.driver.settle();
    }
}

impl Driver {
    /// What a learner says is given to the machine; what it asks of the pipeline is done in order.
    fn heard_learner<'a>(self: &Arc<Driver>, link: LinkId, packets: Vec<FromLearner<'a>>) {
        let mut packets = packets.into_iter().peekable();
        while packets.peek().is_some() {
            let (mut asks, mut promise) = (Vec::new(), None);
            let hear = |peer: &mut Peer, now_ms, wants: &mut Wants<'a>| {
                while let Some(packet) = packets.next() {
                    // It may begin the synchronisation, which is with everything that is committed.
                    if let FromLearner::AckEpoch { last_zxid, current_epoch } = packet {
                        promise = Some(Promise { link, last_zxid, current_epoch });
                        return;
                    }
                    // One stands for those before it.
                    if is_ack(&packet) && packets.peek().is_some_and(is_ack) {
                        continue;
                    }
                    peer.heard_learner(now_ms, link, packet, wants);
                }
            };
            self.quorum.lock().act(hear, &mut asks);
            self.settle();
            self.answer(asks);
            if let Some(promise) = promise {
                self.quorum.lock().state.promises.push_back(promise);
                self.hear_promises();
                self.settle();
            }
        }
    }

    /// Does what learners asked of the pipeline.
    fn answer(self: &Arc<Driver>, asks: Vec<Ask<'_>>) {
        let mut asks = asks.into_iter().peekable();
        while let Some(ask) = asks.next() {
            match ask {
                Ask::Request(link, request) if request.op == zk_proto::OpCode::Sync.code() => {
                    drop(self.quorum.act(|peer, _, wants| peer.sync(Some(link), wants)));
                }
                Ask::Request(link, request) => {
                    let mut requests = vec![request];
                    let is_more = |next: &Ask<'_>| {
                        matches!(next, Ask::Request(of, request)
                            if *of == link && request.op != zk_proto::OpCode::Sync.code())
                    };
                    while let Some(Ask::Request(_, request)) = asks.next_if(is_more) {
                        requests.push(request);
                    }
                    self.engine.forwarded(LearnerId(link.0), &requests);
                }
                Ask::Revalidate(link, session, timeout_ms) => {
                    self.quorum.metrics.quorum.revalidate_count.add(1);
                    if self.quorum.feeds() {
                        self.engine.moves_away(session);
                        drop(self.quorum.act(|peer, _, wants| {
                            peer.ask_move(link, session, timeout_ms, wants);
                        }));
                        continue;
                    }
                    let moved = self.engine.moves(session, timeout_ms, LearnerId(link.0));
                    let Some(is_valid) = moved else { continue };
                    self.quorum.lock().answer_move(link, session, is_valid);
                }
                Ask::Touched(touched) => self.engine.touched(touched),
            }
        }
    }
}

/// Whether this is the ACK of a proposal.
fn is_ack(packet: &FromLearner<'_>) -> bool {
    matches!(packet, FromLearner::Ack(zxid) if zxid.counter() != 0)
}

/// Whether this is left to [`Driver::settle`].
fn is_chore(output: &Learn<'_>) -> bool {
    matches!(
        output,
        Learn::AnswerPing(_)
            | Learn::WriteAccepted(_)
            | Learn::WriteCurrent(_)
            | Learn::Truncate(_)
            | Learn::Settle
            | Learn::Proposed(_)
            | Learn::Activate { .. }
            | Learn::Serve
    )
}

fn invalid(error: DecodeError) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, error)
}

/// What is not whole yet must become whole some time.
fn check_length(rest: &[u8], limits: Limits) -> io::Result<()> {
    let longest = longest(limits);
    if rest.len() > longest {
        return Err(io::Error::other(format!("a packet of more than {longest} bytes")));
    }
    Ok(())
}
