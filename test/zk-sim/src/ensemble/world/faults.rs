//! What goes wrong, and how it comes to an end.

use super::quorum::heard;
use super::{World, at_of};
use crate::ensemble::coverage::Point;
use crate::ensemble::event::{Event, Inbound};
use crate::ensemble::hub::Fuse;
use crate::ensemble::record::Record;
use zk_proto::Sid;

/// Ways that are blocked until a fault of the network ends.
#[derive(Clone, Debug)]
pub(super) struct Mending {
    ways: Vec<(Sid, Sid)>,
    is_over: bool,
}

/// Kinds of faults, and how often each is chosen.
const KINDS: [(Point, u32); 18] = [
    (Point::FaultCrash, 8),
    (Point::FaultCrashSoon, 24),
    (Point::FaultPowerLoss, 5),
    (Point::FaultWipe, 3),
    (Point::FaultCrashAll, 2),
    (Point::FaultCut, 8),
    (Point::FaultHalfOpen, 5),
    (Point::FaultPartition, 8),
    (Point::FaultOneWay, 5),
    (Point::FaultPartial, 5),
    (Point::FaultSlowNet, 3),
    (Point::FaultSlowDisk, 4),
    (Point::FaultDiskError, 3),
    (Point::FaultPause, 6),
    (Point::FaultWallJump, 3),
    (Point::FaultDrift, 3),
    (Point::FaultClientCut, 6),
    (Point::FaultClientGone, 5),
];

/// Boundaries that are passed only when a member begins or ends a part.
const RARE: [Point; 25] = [
    Point::SendInfo,
    Point::SendAckEpoch,
    Point::SendLeaderInfo,
    Point::SendDiff,
    Point::SendTrunc,
    Point::SendSnap,
    Point::SendSnapshot,
    Point::SendNewLeader,
    Point::SendUpToDate,
    Point::SendRevalidate,
    Point::SendRevalidated,
    Point::SendMoved,
    Point::AcceptedBegun,
    Point::AcceptedDone,
    Point::CurrentBegun,
    Point::CurrentDone,
    Point::TruncateBegun,
    Point::TruncateDone,
    Point::SettleBegun,
    Point::SettleDone,
    Point::RestDone,
    Point::NoteDamaged,
    Point::NoteWhole,
    Point::OwnSnapshot,
    Point::Established,
];

impl World {
    /// Something goes wrong.
    pub(super) fn fault(&mut self) {
        if self.is_calm {
            return;
        }
        let every_us = self.settings.fault_every_ms * 1000;
        let us = every_us / 2 + self.hub.rng.draw() % every_us;
        self.hub.after(us, Event::Fault);
        let weights: Vec<u32> = KINDS.iter().map(|(_, weight)| *weight).collect();
        let (kind, _) = KINDS[self.hub.rng.weighted(&weights)];
        let at = self.hub.rng.below(self.members.len());
        self.hub.note(|| format!("{} at {}", kind.name(), at + 1));
        let happens = match kind {
            Point::FaultCrash
            | Point::FaultCrashSoon
            | Point::FaultPowerLoss
            | Point::FaultWipe
            | Point::FaultCrashAll => self.end_process(kind, at),
            Point::FaultCut
            | Point::FaultHalfOpen
            | Point::FaultPartition
            | Point::FaultOneWay
            | Point::FaultPartial
            | Point::FaultSlowNet => self.break_network(kind, at),
            Point::FaultClientCut | Point::FaultClientGone => self.cut_client(kind),
            _ => self.disturb(kind, at),
        };
        // A wipe counts itself.
        if happens && kind != Point::FaultWipe {
            self.hub.mark(kind);
        }
    }

    fn end_process(&mut self, kind: Point, at: usize) -> bool {
        if kind == Point::FaultCrashAll {
            for at in 0..self.members.len() {
                let is_power_loss = self.hub.rng.chance(500);
                self.crash(at, is_power_loss);
            }
            return true;
        }
        if !self.members[at].is_up() {
            return false;
        }
        let sid = self.members[at].sid;
        match kind {
            Point::FaultCrashSoon if self.hub.fuse.is_none() => {
                self.hub.fuse = Some(self.draw_fuse(sid));
            }
            // One that was meant for something that does not come.
            Point::FaultCrashSoon if self.hub.fuse.is_some_and(|fuse| fuse.point.is_some()) => {
                self.hub.fuse = None;
                return false;
            }
            Point::FaultCrashSoon => return false,
            Point::FaultWipe => {
                if !self.can_spare(sid) {
                    return false;
                }
                self.wipe(at);
            }
            kind => self.crash(at, kind == Point::FaultPowerLoss),
        }
        true
    }

    /// Boundaries come one by one while a member synchronises, in crowds while it leads; some are
    /// so rare that chance alone would not meet them.
    fn draw_fuse(&mut self, sid: Sid) -> Fuse {
        let rng = &mut self.hub.rng;
        if rng.chance(500) {
            let most = *rng.pick(&[6, 40, 400]);
            return Fuse { sid: Some(sid), point: None, left: rng.below(most) as u32 };
        }
        Fuse { sid: None, point: Some(*rng.pick(&RARE)), left: rng.below(3) as u32 }
    }

    fn break_network(&mut self, kind: Point, at: usize) -> bool {
        let a = self.members[at].sid;
        let others = self.others(a);
        let b = *self.hub.rng.pick(&others);
        let ways: Vec<(Sid, Sid)> = match kind {
            Point::FaultCut | Point::FaultHalfOpen => {
                self.cut(a, b, kind == Point::FaultHalfOpen);
                return true;
            }
            Point::FaultSlowNet => {
                self.hub.net.slowness = *self.hub.rng.pick(&[5, 50, 300]);
                Vec::new()
            }
            Point::FaultPartition => others.iter().flat_map(|to| [(a, *to), (*to, a)]).collect(),
            Point::FaultOneWay if self.hub.rng.chance(500) => {
                others.iter().map(|to| (a, *to)).collect()
            }
            Point::FaultOneWay => others.iter().map(|from| (*from, a)).collect(),
            _ => vec![(a, b), (b, a)],
        };
        ways.iter().for_each(|(from, to)| self.hub.net.block(*from, *to));
        let sync_us = (self.terms.sync_ticks * self.terms.tick_ms * 1000) as usize;
        let us = match self.hub.rng.below(3) {
            0 => self.hub.rng.below(sync_us / 2),
            _ => self.hub.rng.below(sync_us * 3),
        } as u64;
        let fault = self.mendings.len();
        self.mendings.push(Mending { ways, is_over: false });
        self.hub.after(us, Event::Mend { fault });
        true
    }

    /// A fault of the network ends.
    pub(super) fn mend(&mut self, fault: usize) {
        let mending = &mut self.mendings[fault];
        if std::mem::replace(&mut mending.is_over, true) {
            return;
        }
        let ways = std::mem::take(&mut mending.ways);
        if ways.is_empty() {
            self.hub.net.slowness = 1;
        }
        ways.into_iter().for_each(|(from, to)| self.reopen(from, to));
    }

    pub(super) fn mend_all(&mut self) {
        for fault in 0..self.mendings.len() {
            self.mend(fault);
        }
        self.hub.net.slowness = 1;
    }

    fn disturb(&mut self, kind: Point, at: usize) -> bool {
        let sid = self.members[at].sid;
        let now_us = self.hub.now_us;
        let member = &mut self.members[at];
        match kind {
            Point::FaultSlowDisk => {
                member.slow_disk = *self.hub.rng.pick(&[20, 200, 1_000]);
                let us = self.hub.rng.below(20_000_000) as u64;
                self.hub.after(us, Event::QuickDisk { sid });
            }
            Point::FaultDiskError => member.has_bad_disk = true,
            Point::FaultPause => {
                if !member.is_up() || member.paused.is_some() {
                    return false;
                }
                member.paused = Some(Vec::new());
                let most = *self.hub.rng.pick(&[300_000, 3_000_000, 40_000_000]);
                let us = self.hub.rng.below(most) as u64;
                let life = member.life;
                self.hub.tell(Record::Slow { sid, until_us: now_us + us });
                self.hub.after(us, Event::Resume { sid, life });
            }
            Point::FaultWallJump => {
                member.clock.wall_ms += self.hub.rng.between(-3_600_000, 3_600_000);
            }
            _ => member.clock.drift(now_us, self.hub.rng.between(-20_000, 20_000)),
        }
        true
    }

    /// A process that stood still goes on with what came meanwhile.
    pub(super) fn resume(&mut self, at: usize) {
        let Some(events) = self.members[at].paused.take() else { return };
        for event in events {
            self.happen(event);
            self.bury();
        }
    }

    fn cut_client(&mut self, kind: Point) -> bool {
        let at = self.hub.rng.below(self.clients.len());
        if self.hub.net.deaf.contains_key(&at) {
            return false;
        }
        self.hub.net.deaf.insert(at, 1);
        let timeout_us = self.clients[at].timeout_us() as usize;
        let us = match kind {
            Point::FaultClientCut => self.hub.rng.below(timeout_us / 2),
            _ => self.hub.rng.below(timeout_us * 3),
        } as u64;
        self.hub.note(|| format!("client {at} is cut off for {us} us"));
        self.hub.after(us, Event::ClientBack { at });
        true
    }

    /// Members that are down come back, those that stand still go on.
    pub(super) fn wake_all(&mut self) {
        for at in 0..self.members.len() {
            self.members[at].slow_disk = 1;
            self.members[at].has_bad_disk = false;
            self.resume(at);
            self.start(at);
        }
        for at in 0..self.clients.len() {
            if self.hub.net.deaf.contains_key(&at) {
                self.client_back(at);
            }
        }
        // Who was refused once may have started meanwhile.
        let sids: Vec<Sid> = self.members.iter().map(|member| member.sid).collect();
        for sid in &sids {
            for other in sids.iter().filter(|other| *other > sid) {
                if self.members[at_of(*sid)].is_up() && self.members[at_of(*other)].is_up() {
                    let what = Inbound::VoteConnected(*other);
                    self.hub.after(1_000, heard(*sid, what));
                }
            }
        }
    }
}
