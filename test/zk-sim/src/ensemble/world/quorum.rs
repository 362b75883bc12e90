//! Between members: who starts, who dials whom, and what becomes of what nobody hears.

use super::{World, at_of};
use crate::ensemble::coverage::Point;
use crate::ensemble::event::{Event, Inbound};
use crate::ensemble::member::Member;
use crate::ensemble::record::Record;
use zk_proto::Sid;

/// So often a leader is dialled, with a pause of so many µs.
const DIALS: u32 = 5;
const PAUSE_US: u64 = 1_000_000;
/// So long a connection is waited for.
const CONNECT_US: u64 = 5_000_000;

impl World {
    pub(super) fn start(&mut self, at: usize) {
        if self.members[at].is_up() || self.hub.violation.is_some() {
            return;
        }
        let terms = &self.terms;
        self.members[at].start(&mut self.hub, terms);
        let sid = self.members[at].sid;
        for other in 0..self.members.len() {
            if other == at {
                continue;
            }
            let other = self.members[other].sid;
            if self.members[at_of(other)].is_up() {
                self.connect_votes(sid, other);
            } else {
                let us = self.hub.delay_us();
                self.hub.after(us, heard(sid, Inbound::VoteRefused(other)));
            }
        }
    }

    /// The election ports of two members are connected.
    pub(super) fn connect_votes(&mut self, a: Sid, b: Sid) {
        if self.hub.net.is_blocked(a, b) || self.hub.net.is_blocked(b, a) {
            return;
        }
        for (to, of) in [(a, b), (b, a)] {
            let us = 1_000 + self.hub.delay_us();
            self.hub.after(us, heard(to, Inbound::VoteConnected(of)));
            if let Some(vote) = self.hub.net.votes.remove(&(of, to)) {
                self.hub.vote(of, to, vote, 0);
            }
        }
    }

    /// The process of a member ends.
    pub(super) fn crash(&mut self, at: usize, is_power_loss: bool) {
        if !self.members[at].is_up() {
            return;
        }
        let sid = self.members[at].sid;
        self.hub.note(|| format!("{sid} dies, power lost: {is_power_loss}"));
        self.members[at].crash(&mut self.hub, is_power_loss);
        self.hub.fuse.take_if(|fuse| fuse.sid == Some(sid));
        let conns: Vec<u64> = self
            .hub
            .net
            .conns
            .iter()
            .filter(|(_, link)| link.sid == sid && !link.is_closed_by_member)
            .map(|(conn, _)| *conn)
            .collect();
        if !is_power_loss {
            conns.into_iter().for_each(|conn| self.hub.close_client(conn));
            for other in self.others(sid) {
                let us = self.hub.delay_us();
                self.hub.after(us, heard(other, Inbound::VoteLost(sid)));
                // Who dials it is refused.
                self.hub.after(us + 10_000, heard(other, Inbound::VoteRefused(sid)));
            }
        }
        self.hub.net.votes.retain(|(from, _), _| *from != sid);
        let us = match self.hub.rng.below(4) {
            0 => 20_000,
            1 => 500_000,
            _ => self.hub.rng.below(12_000_000) as u64,
        };
        if !self.is_calm {
            self.hub.after(us, Event::Start { sid });
        }
    }

    pub(super) fn others(&self, sid: Sid) -> Vec<Sid> {
        self.members.iter().map(|member| member.sid).filter(|other| *other != sid).collect()
    }

    /// A learner dials a leader, or whoever may be one.
    pub(super) fn dial(&mut self, sid: Sid, life: u32, leader: Sid, tries: u32) {
        let (mut wanted, mut observes) = (leader, false);
        self.drive(sid, |driver| {
            observes = driver.observes();
            if leader == Sid::NOBODY {
                wanted = driver.other(0);
            }
        });
        let through_follower = self.terms.feeds && observes;
        let to = if through_follower { self.feeder(sid).unwrap_or(wanted) } else { wanted };
        let is_blocked = self.hub.net.is_blocked(sid, to) || self.hub.net.is_blocked(to, sid);
        let target = &self.members[at_of(to)];
        if target.is_up() && !is_blocked && target.paused.is_none() {
            let (target_life, us) = (target.life, self.hub.delay_us());
            let link = self.hub.new_link((sid, life), (to, target_life));
            let what = match through_follower {
                true => Inbound::ObserverComes(link),
                false => Inbound::Comes(link),
            };
            self.hub.after(us, Event::Quorum { sid: to, life: target_life, what });
            let what = Inbound::Dialled(wanted, Some(link));
            let us = us + self.hub.delay_us();
            self.hub.after(us, Event::Quorum { sid, life, what });
            return;
        }
        let waits = if is_blocked { CONNECT_US } else { PAUSE_US };
        if tries + 1 >= DIALS
            || waits * u64::from(tries + 1) > self.terms.init_ticks * self.terms.tick_ms * 1000
        {
            let what = Inbound::Dialled(wanted, None);
            self.hub.after(waits, Event::Quorum { sid, life, what });
            return;
        }
        self.hub.after(waits, Event::Dial { sid, life, leader: wanted, tries: tries + 1 });
    }

    /// A follower that takes observers, and can be reached.
    fn feeder(&mut self, from: Sid) -> Option<Sid> {
        let feeds = |member: &&Member| {
            member.feeds() && !self.hub.net.is_blocked(from, member.sid) && member.paused.is_none()
        };
        let found: Vec<Sid> = self.members.iter().filter(feeds).map(|it| it.sid).collect();
        (!found.is_empty()).then(|| *self.hub.rng.pick(&found))
    }

    /// Something came to a process that is no more: who sent it is told, if the machine is there.
    pub(super) fn nobody_hears(&mut self, event: Event) {
        let Event::Quorum { sid, life, what } = event else { return };
        let link = match what {
            Inbound::Comes(link) | Inbound::ObserverComes(link) | Inbound::Arrived(link, _) => link,
            Inbound::Dialled(_, Some(link)) => link,
            _ => return,
        };
        let member = &self.members[at_of(sid)];
        if member.is_up() && member.life != life || !member.is_up() {
            self.hub.shut(link, sid);
        }
    }

    /// Breaks the connections between two members; both are told, or only one.
    pub(super) fn cut(&mut self, a: Sid, b: Sid, half_open: bool) {
        for id in self.hub.net.between(a, b) {
            let Some(link) = self.hub.net.links.remove(&id) else { continue };
            let mut ends = vec![link.learner, link.leader];
            if half_open {
                ends.remove(self.hub.rng.below(2));
            }
            for (sid, life) in ends {
                let what = Inbound::Ended(zk_zab::leader::LinkId(id));
                self.hub.after(100, Event::Quorum { sid, life, what });
            }
        }
        for (to, of) in [(a, b), (b, a)] {
            self.hub.after(100, heard(to, Inbound::VoteLost(of)));
        }
        self.hub.net.votes.remove(&(a, b));
        self.hub.net.votes.remove(&(b, a));
        let up = |sid: Sid| self.members[at_of(sid)].is_up();
        if up(a) && up(b) {
            self.connect_votes(a, b);
        }
    }

    /// The way from one member to another is open again: what waited for it comes.
    pub(super) fn reopen(&mut self, from: Sid, to: Sid) {
        if !self.hub.net.unblock(from, to) {
            return;
        }
        for id in self.hub.net.between(from, to) {
            let Some(link) = self.hub.net.links.get_mut(&id) else { continue };
            let is_up = link.learner.0 == from;
            let way = match is_up {
                true => crate::ensemble::net::Way::ToLeader,
                false => crate::ensemble::net::Way::ToLearner,
            };
            let held = std::mem::take(&mut link.held[way as usize]);
            for payload in held {
                let us = self.hub.delay_us();
                self.hub.carry(zk_zab::leader::LinkId(id), way, payload, us);
            }
        }
        let up = |sid: Sid| self.members[at_of(sid)].is_up();
        if up(from) && up(to) {
            self.connect_votes(from, to);
        }
    }

    /// All is as it should be with the disk of a member that is wiped: a quorum is without it, of
    /// each configuration that anybody has. Who has not heard of one that makes it a voter comes as
    /// an observer, and is not counted.
    pub(super) fn can_spare(&self, sid: Sid) -> bool {
        let is_whole = |other: &Sid, version: i64| {
            let member = &self.members[at_of(*other)];
            let knows = member.configs.all().any(|config| config.version >= version);
            *other != sid && knows && !member.store.is_damaged() && member.store.has_history()
        };
        let mut configs = self.members.iter().flat_map(|member| member.configs.all());
        configs.all(|config| {
            let left = config.voters().filter(|other| is_whole(other, config.version)).count();
            !config.is_voter(sid) || left > config.voters().count() / 2
        })
    }

    /// Those that the ensemble has: as its leader knows it, or as all did at the beginning.
    pub(super) fn listed(&self) -> Vec<usize> {
        let leader = self.members.iter().find(|member| member.leads());
        let config = leader.and_then(|member| member.ensemble());
        let config = config.unwrap_or(&self.terms.configs.committed);
        config.members.keys().map(|sid| at_of(*sid)).collect()
    }

    /// A member loses its disk. Whoever gives it a new one gives it the newest configuration, too:
    /// without a vote it asks nobody but those that its own names.
    pub(super) fn wipe(&mut self, at: usize) {
        self.crash(at, false);
        self.members[at].store.wipe();
        let known = self.members.iter().map(|member| &member.configs.committed);
        if let Some(newest) = known.max_by_key(|config| config.version).cloned() {
            self.members[at].configs.activate(newest);
        }
        let sid = self.members[at].sid;
        self.hub.mark(Point::FaultWipe);
        self.hub.tell(Record::Wiped { sid });
    }
}

/// Something that the election port of whichever process there is hears.
pub(super) fn heard(sid: Sid, what: Inbound) -> Event {
    Event::Quorum { sid, life: 0, what }
}
