//! What members and clients have in common: the time, chance, the network, and who looks on.
//!
//! A member dies in the middle of what it does: from then on nothing that it still wants is done,
//! until the world has taken its process away. So there is one place, here, that every effect goes
//! through.

use super::checks::Judge;
use super::coverage::{Coverage, Point};
use super::event::{Event, Inbound, Payload, Queue};
use super::mutant::Mutant;
use super::net::{Link, Net, Way};
use super::record::Record;
use crate::invariants::Violation;
use crate::record::Conn;
use crate::rng::Rng;
use std::rc::Rc;
use zk_proto::election::Notification;
use zk_proto::quorum::{FromLeader, FromLearner};
use zk_proto::{Limits, Sid};
use zk_zab::leader::LinkId;

/// See the module.
pub(crate) struct Hub {
    pub(crate) now_us: u64,
    pub(crate) rng: Rng,
    pub(crate) queue: Queue,
    pub(crate) net: Net,
    pub(crate) judge: Judge,
    pub(crate) coverage: Coverage,
    pub(crate) mutant: Option<Mutant>,
    /// What does not hold.
    pub(crate) violation: Option<Violation>,
    /// A process that will end.
    pub(crate) fuse: Option<Fuse>,
    /// Whose process has just ended.
    pub(crate) dead: Option<Sid>,
    pub(crate) prints: bool,
    pub(crate) story: Option<Vec<(u64, Record)>>,
    /// Hash of all that happened.
    pub(crate) hash: u64,
    pub(crate) records: u64,
}

/// A process ends after so many boundaries: of one member, or of one kind at whichever comes there.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Fuse {
    pub(crate) sid: Option<Sid>,
    pub(crate) point: Option<Point>,
    pub(crate) left: u32,
}

impl Fuse {
    fn is_of(&self, sid: Sid, point: Point) -> bool {
        self.sid.is_none_or(|of| of == sid) && self.point.is_none_or(|at| at == point)
    }
}

/// A hash that is the same on every machine and in every run.
pub(crate) fn hash_of(bytes: &[u8]) -> u64 {
    let mut hash = 0xcbf2_9ce4_8422_2325u64 ^ bytes.len() as u64;
    let mut chunks = bytes.chunks_exact(8);
    for chunk in &mut chunks {
        let word = chunk.first_chunk::<8>().map_or(0, |word| u64::from_le_bytes(*word));
        hash = (hash ^ word).wrapping_mul(0x9E37_79B9_7F4A_7C15);
        hash ^= hash >> 29;
    }
    for byte in chunks.remainder() {
        hash = (hash ^ u64::from(*byte)).wrapping_mul(0x100_0000_01b3);
    }
    hash ^ hash >> 32
}

impl Hub {
    /// Something happened: it is judged, and told to who listens.
    pub(crate) fn tell(&mut self, record: Record) {
        if self.dead.is_some() || self.violation.is_some() {
            return;
        }
        if self.prints {
            println!("{:12.3} {record}", self.now_us as f64 / 1000.0);
        }
        self.records += 1;
        let mixed = self.hash ^ self.now_us ^ (self.records << 40);
        self.hash = mixed.wrapping_mul(0x9E37_79B9_7F4A_7C15).rotate_left(23);
        if let Err(violation) = self.judge.see(self.now_us, &record) {
            self.violation = Some(violation);
        }
        if let Some(story) = &mut self.story {
            story.push((self.now_us, record));
        }
    }

    /// A note for who reads the story; the checks do not see it.
    pub(crate) fn note(&mut self, text: impl FnOnce() -> String) {
        if self.prints && self.dead.is_none() && self.violation.is_none() {
            println!("{:12.3} note: {}", self.now_us as f64 / 1000.0, text());
        }
    }

    /// Something is wrong. What a member still does that has just died does not happen.
    pub(crate) fn fail(&mut self, invariant: &'static str, what: String) {
        if self.violation.is_none() && self.dead.is_none() {
            self.violation = Some(Violation { invariant, what });
        }
    }

    pub(crate) fn mark(&mut self, point: Point) {
        self.coverage.hit(point);
    }

    /// A boundary at which a member may die; whether it goes on.
    pub(crate) fn survives(&mut self, sid: Sid, point: Point) -> bool {
        if self.dead.is_some() {
            return false;
        }
        self.coverage.hit(point);
        let Some(fuse) = self.fuse.as_mut().filter(|fuse| fuse.is_of(sid, point)) else {
            return true;
        };
        if fuse.left > 0 {
            fuse.left -= 1;
            return true;
        }
        self.coverage.died(point);
        self.fuse = None;
        self.dead = Some(sid);
        false
    }

    pub(crate) fn has(&self, mutant: Mutant) -> bool {
        self.mutant == Some(mutant)
    }

    /// Whether a planted fault shows itself now.
    pub(crate) fn mutates(&mut self, mutant: Mutant, in_thousand: u32) -> bool {
        self.mutant == Some(mutant) && self.rng.chance(in_thousand)
    }

    pub(crate) fn after(&mut self, us: u64, event: Event) {
        if self.dead.is_none() {
            self.queue.push(self.now_us + us, event);
        }
    }

    /// How long something is on its way.
    pub(crate) fn delay_us(&mut self) -> u64 {
        let draw = self.rng.draw();
        let us = match draw % 512 {
            _ if self.net.is_calm => 100 + (draw >> 16) % 400,
            // A packet was lost, and is sent again: not as many times later where all is slow.
            0 => return (200_000 + (draw >> 16) % 200_000) * self.net.slowness.min(10),
            1..8 => 2_000 + (draw >> 16) % 20_000,
            _ => 100 + (draw >> 16) % 400,
        };
        us * self.net.slowness
    }

    /// Sends a vote, where there is a way: the newest one waits for it.
    pub(crate) fn vote(&mut self, from: Sid, to: Sid, vote: Rc<Notification<'static>>, life: u32) {
        if self.dead.is_some() {
            return;
        }
        let is_blocked = self.net.is_blocked(from, to);
        self.note(|| {
            let way = if is_blocked { "waits to" } else { "to" };
            format!(
                "{from} {way} {to}: {:?} {} in {}",
                vote.state, vote.leader, vote.election_epoch
            )
        });
        if is_blocked {
            self.net.votes.insert((from, to), vote);
            return;
        }
        let arrives = self.now_us + self.delay_us();
        let last = self.net.vote_us.entry((from, to)).or_default();
        *last = arrives.max(*last + 1);
        let event = Event::Quorum { sid: to, life, what: Inbound::Vote(from, vote) };
        self.queue.push(*last, event);
    }

    /// Sends something to the other end of a connection; `None` is the end of it.
    pub(crate) fn send(&mut self, link: LinkId, way: Way, payload: Option<Payload>) {
        if self.dead.is_some() {
            return;
        }
        if self.prints {
            self.tell_packet(link, way, payload.as_ref());
        }
        let mut us = self.delay_us();
        if matches!(payload, Some(Payload::Snapshot(_))) {
            us += 5_000;
        }
        self.carry(link, way, payload, us);
    }

    /// For who reads the story.
    fn tell_packet(&mut self, id: LinkId, way: Way, payload: Option<&Payload>) {
        let Some(link) = self.net.links.get(&id.0) else { return };
        let ((from, _), (to, _)) = link.ends(way);
        let name = match (payload, way) {
            (Some(Payload::Packet(bytes)), Way::ToLeader) => {
                FromLearner::read(bytes, Limits::NONE).ok().flatten().map(|it| it.0.name())
            }
            (Some(Payload::Packet(bytes)), Way::ToLearner) => {
                FromLeader::read(bytes, Limits::NONE).ok().flatten().map(|it| it.0.name())
            }
            (Some(Payload::Snapshot(_)), _) => Some("the snapshot"),
            (None, _) => None,
        };
        let name = name.unwrap_or("the end");
        self.note(|| format!("{from} to {to} on {}: {name}", id.0));
    }

    /// Puts something on its way.
    pub(crate) fn carry(&mut self, id: LinkId, way: Way, payload: Option<Payload>, us: u64) {
        let at = way as usize;
        let Some(link) = self.net.links.get_mut(&id.0) else { return };
        let ((from, _), (to, life)) = link.ends(way);
        if self.net.is_blocked(from, to) {
            if let Some(link) = self.net.links.get_mut(&id.0) {
                link.held[at].push(payload);
            }
            return;
        }
        let Some(link) = self.net.links.get_mut(&id.0) else { return };
        link.last_us[at] = (self.now_us + us).max(link.last_us[at] + 1);
        let what = match payload {
            Some(payload) => Inbound::Arrived(id, payload),
            None => Inbound::Ended(id),
        };
        self.queue.push(link.last_us[at], Event::Quorum { sid: to, life, what });
    }

    /// A member closes its end of a connection.
    pub(crate) fn close_link(&mut self, id: LinkId, sid: Sid) {
        if self.dead.is_some() {
            return;
        }
        self.shut(id, sid);
    }

    /// The end of a connection that belongs to a member is closed, and the other is told.
    pub(crate) fn shut(&mut self, id: LinkId, sid: Sid) {
        let Some(link) = self.net.links.get_mut(&id.0) else { return };
        let (mine, way) =
            if link.learner.0 == sid { (0, Way::ToLeader) } else { (1, Way::ToLearner) };
        link.open[mine] = false;
        if link.open == [false, false] {
            self.net.links.remove(&id.0);
            return;
        }
        let us = self.delay_us();
        self.carry(id, way, None, us);
    }

    /// A new connection to a member's quorum port.
    pub(crate) fn new_link(&mut self, learner: (Sid, u32), leader: (Sid, u32)) -> LinkId {
        let id = self.net.next();
        let link = Link {
            learner,
            leader,
            open: [true, true],
            last_us: [0, 0],
            held: [Vec::new(), Vec::new()],
        };
        self.net.links.insert(id, link);
        LinkId(id)
    }

    /// Sends a frame to a client.
    pub(crate) fn send_client(&mut self, conn: Conn, frame: Rc<[u8]>) {
        if self.dead.is_some() {
            return;
        }
        let us = self.delay_us();
        let Some(link) = self.net.conns.get_mut(&conn) else { return };
        link.last_us[1] = (self.now_us + us).max(link.last_us[1] + 1);
        self.queue.push(link.last_us[1], Event::ToClient { conn, frame });
    }

    /// A member closes a client's connection.
    pub(crate) fn close_client(&mut self, conn: Conn) {
        if self.dead.is_some() {
            return;
        }
        let us = self.delay_us();
        let Some(link) = self.net.conns.get_mut(&conn) else { return };
        link.is_closed_by_member = true;
        link.last_us[1] = (self.now_us + us).max(link.last_us[1] + 1);
        self.queue.push(link.last_us[1], Event::ClosedByMember { conn });
    }
}
