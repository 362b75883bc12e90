//! Chores: what a machine wants done that waits for the disk, or for the pipeline; one after the
//! other, before anything else is heard.

use super::{After, Driver};
use crate::ensemble::coverage::Point;
use crate::ensemble::event::{Event, Inbound};
use crate::ensemble::mutant::Mutant;
use crate::ensemble::record::Record;
use crate::ensemble::store::{Done, Entry, Io};
use std::collections::BTreeSet;
use zk_proto::quorum::{FromLearner, Touched};
use zk_proto::{Epoch, Sid, Zxid};
use zk_zab::Ensemble;
use zk_zab::leader::LinkId;
use zk_zab::peer::{History, Peer, Rest, Turn, Wants};

/// What cannot be done where it is wanted, in order.
#[derive(Clone, Debug)]
pub(super) enum Chore {
    WriteAccepted(Epoch),
    WriteCurrent(Epoch),
    Truncate(Zxid),
    Settle,
    Serve,
    Lead(Epoch),
    AnswerPing(Zxid),
    Prove,
    /// The ensemble is to change, when this is committed.
    Proposed(Ensemble),
    /// The ensemble has changed.
    Activated(Ensemble),
    LookUp(LinkId, Zxid),
    /// What was found in the log; nothing, if not everything is there.
    LookedUp(LinkId, Option<Vec<Entry>>),
}

impl Driver<'_> {
    /// Does all chores, and turns to what comes next.
    pub(super) fn settle(&mut self) {
        while self.p.io.is_none() && self.hub.dead.is_none() {
            if let Some(chore) = self.p.chores.pop_front() {
                self.do_chore(chore);
            } else if let Some(turn) = self.p.turn.take() {
                self.turn_to(turn);
            } else {
                return;
            }
        }
    }

    /// Begins something that the quorum's thread waits for.
    fn begin(&mut self, io: Io, after: After, point: Point) {
        if !self.hub.survives(self.sid, point) {
            return;
        }
        if matches!(io, Io::Truncate(_) | Io::Replace { .. }) {
            // Nothing is on its way to the log.
            self.commit_log(usize::MAX);
            self.hub.tell(Record::Changing { sid: self.sid });
        }
        self.p.io = Some((io, after));
        let us = self.disk_us();
        let (sid, life) = (self.sid, self.life);
        self.hub.note(|| format!("{sid} waits {us} us for its disk: {point:?}"));
        self.hub.after(us, Event::IoDone { sid, life });
    }

    fn do_chore(&mut self, chore: Chore) {
        match chore {
            Chore::WriteAccepted(epoch) => {
                if self.hub.has(Mutant::PromiseIsNotWritten) {
                    return self.accepted(epoch);
                }
                self.begin(Io::Accepted(epoch), After::Chore, Point::AcceptedBegun);
            }
            Chore::WriteCurrent(epoch) => {
                self.begin(Io::Current(epoch), After::Chore, Point::CurrentBegun);
            }
            Chore::Truncate(zxid) => {
                self.begin(Io::Truncate(zxid), After::Chore, Point::TruncateBegun);
            }
            Chore::Settle => {
                let image = self.p.staged.take();
                let has_vote = !self.store.is_damaged();
                if self.hub.has(Mutant::SettleBeforeWritten) && has_vote && image.is_some() {
                    return self.settle_early(Io::Replace { image, has_vote });
                }
                self.begin(Io::Replace { image, has_vote }, After::Chore, Point::SettleBegun);
            }
            Chore::Serve if self.hub.has(Mutant::MendsEarly) && self.store.is_damaged() => {
                let _ = self.store.note_damaged(false);
                self.leave();
            }
            Chore::Serve => {
                if self.p.peer.is_serving() {
                    self.p.has_served = true;
                    self.hub.mark(Point::Followed);
                    self.admit_clients();
                }
            }
            Chore::Proposed(config) => self.config_proposed(config),
            Chore::Activated(config) => self.config_activated(&config),
            // It may lead no more, if the configuration wants another.
            Chore::Lead(_) if !self.p.peer.is_serving() => {}
            Chore::Lead(epoch) => {
                self.p.has_served = true;
                self.hub.mark(Point::Led);
                self.begin_leading(epoch);
            }
            Chore::AnswerPing(zxid) => {
                let mut touched = self.tell_heard();
                for (session, timeout_ms) in std::mem::take(&mut self.p.touched) {
                    Touched::put(&mut touched, session, timeout_ms);
                }
                let touched = Touched::of(&touched);
                let sessions = touched.iter().map(|(session, _)| session.0).collect();
                self.hub.tell(Record::Tells { sid: self.sid, sessions });
                self.send_up(&FromLearner::Ping { zxid, touched }, Point::SendPong);
            }
            Chore::Prove => {
                self.hub.mark(Point::Proved);
                let now = self.times();
                let super::Process { core, tree, fx, .. } = &mut *self.p;
                core.prove(tree, now, fx);
                self.carry_out();
            }
            Chore::LookUp(link, zxid) => {
                self.hub.mark(Point::LookUp);
                let tail = self.store.tail(zxid, self.p.committed);
                let us = self.disk_us();
                self.event(us, Inbound::LookedUp(link, tail));
            }
            Chore::LookedUp(link, tail) => self.looked_up(link, tail),
        }
    }

    /// [`Mutant::SettleBeforeWritten`]: the snapshot is in memory, and gets to the disk behind the
    /// epoch.
    fn settle_early(&mut self, io: Io) {
        self.hub.tell(Record::Changing { sid: self.sid });
        if let Io::Replace { image: Some(image), .. } = &io {
            let found = self.loaded(image);
            self.replace_learning(found);
        }
        self.forget_window();
        self.act_alone(|peer, _, wants| peer.settled(wants));
        if let Some(Chore::WriteCurrent(epoch)) = self.p.chores.pop_front() {
            let _ = self.store.perform(&Io::Current(epoch));
            let sid = self.sid;
            self.hub.tell(Record::Wrote { sid, is_accepted: false, epoch });
            self.act_alone(|peer, now, wants| peer.current_written(now, epoch, wants));
        }
        self.begin(io, After::Rest(false), Point::SettleBegun);
    }

    fn looked_up(&mut self, link: LinkId, tail: Option<Vec<Entry>>) {
        let is_there = self.joins_window(tail.as_deref());
        if is_there {
            self.hub.mark(Point::LookUpFound);
        }
        self.p.tail = tail.unwrap_or_default();
        self.at_rest(|peer, _, wants| peer.looked_up(link, is_there, wants));
        self.p.tail.clear();
    }

    /// Whether nothing is missing between what was found in the log and the window: more may have
    /// been committed meanwhile.
    fn joins_window(&self, tail: Option<&[Entry]>) -> bool {
        let Some((last, _)) = tail.and_then(<[Entry]>::last) else { return false };
        match self.p.window.iter().map(|(zxid, _)| *zxid).find(|zxid| zxid > last) {
            Some(next) => next == last.next() || next.epoch() > last.epoch() && next.counter() == 1,
            None => *last == self.p.committed,
        }
    }

    /// What the quorum's thread waited for is done.
    pub(crate) fn io_done(&mut self) {
        let Some((io, after)) = self.p.io.take() else { return };
        let point = match io {
            Io::Accepted(_) => Point::AcceptedDone,
            Io::Current(_) => Point::CurrentDone,
            Io::Truncate(_) => Point::TruncateDone,
            Io::Replace { .. } => Point::SettleDone,
            Io::Flush => Point::RestDone,
        };
        if matches!(io, Io::Flush) {
            self.commit_log(usize::MAX);
        }
        let old = self.log_that_stays(&io);
        let done = self.store.perform(&io);
        if !old.is_empty() {
            old.into_iter().for_each(|entry| self.store.append(entry));
            let _ = self.store.commit(usize::MAX);
        }
        let done = match done {
            Ok(done) => done,
            Err(refused) => {
                self.hub.note(|| format!("the disk refused: {refused}"));
                self.hub.dead = Some(self.sid);
                return;
            }
        };
        self.tell_done(&io, &done);
        if !self.hub.survives(self.sid, point) {
            return;
        }
        match after {
            After::Chore => self.went_on(io, done),
            After::Rest(is_mended) => self.rested(is_mended),
        }
        self.settle();
        self.catch_up();
    }

    /// [`Mutant::SettleKeepsLog`]: the old log, which a leader's snapshot should have replaced.
    fn log_that_stays(&self, io: &Io) -> Vec<Entry> {
        match io {
            Io::Replace { .. } if self.hub.has(Mutant::SettleKeepsLog) => self.store.log(),
            _ => Vec::new(),
        }
    }

    fn tell_done(&mut self, io: &Io, done: &Done) {
        let sid = self.sid;
        match (io, done) {
            (Io::Accepted(epoch), _) => {
                self.hub.tell(Record::Wrote { sid, is_accepted: true, epoch: *epoch });
            }
            (Io::Current(epoch), _) => {
                self.hub.tell(Record::Wrote { sid, is_accepted: false, epoch: *epoch });
            }
            (_, Done::Truncated(_, found)) => {
                self.hub.tell(Record::Cut { sid, zxid: found.tree.last_zxid() });
            }
            (_, Done::Replaced(found)) => {
                self.hub.tell(Record::Replaced { sid, zxid: found.tree.last_zxid() });
            }
            _ => {}
        }
    }

    fn went_on(&mut self, io: Io, done: Done) {
        match (io, done) {
            (Io::Accepted(epoch), _) => self.accepted(epoch),
            (Io::Current(epoch), _) => {
                if self.hub.has(Mutant::LeadsEarly) && self.p.upstream.is_none() {
                    self.hub.tell(Record::Leads { sid: self.sid, epoch });
                    self.begin_leading(epoch);
                }
                self.at_rest(|peer, now, wants| peer.current_written(now, epoch, wants));
            }
            (_, Done::Truncated(is_cut, found)) => {
                let last = is_cut.then_some(found.tree.last_zxid());
                if !self.hub.has(Mutant::TreeKeepsWhatIsCut) {
                    self.replace_learning(found);
                }
                self.forget_window();
                self.act_alone(|peer, _, wants| peer.truncated(last, wants));
            }
            (_, Done::Replaced(found)) => {
                self.replace_learning(found);
                self.forget_window();
                self.act_alone(|peer, _, wants| peer.settled(wants));
            }
            _ => {}
        }
    }

    fn accepted(&mut self, epoch: Epoch) {
        self.store.note_founded();
        self.at_rest(|peer, now, wants| peer.accepted_written(now, epoch, wants));
    }

    fn forget_window(&mut self) {
        self.p.window.clear();
        self.p.under_way.clear();
    }

    /// Lets the machine do something that may begin the synchronisation of a learner: everything
    /// that is committed is applied then.
    pub(super) fn at_rest<'a>(&mut self, act: impl FnOnce(&mut Peer, u64, &mut Wants<'a>)) {
        if self.p.peer.fed_upto().is_some() {
            self.learn();
        } else if self.p.peer.is_serving() {
            self.apply_committed();
        }
        let mut asks = Vec::new();
        self.act(act, &mut asks);
    }

    fn turn_to(&mut self, turn: Turn) {
        match turn {
            Turn::Join(leader) => self.join(leader),
            Turn::JoinAnybody => {
                if !self.hub.survives(self.sid, Point::NoteDamaged) {
                    return;
                }
                self.hub.mark(Point::JoinedAnybody);
                if self.store.note_damaged(true).is_err() {
                    self.hub.dead = Some(self.sid);
                }
                self.join(Sid::NOBODY);
            }
            Turn::Reign => {
                self.hub.mark(Point::Reigned);
                let waiting = std::mem::take(&mut self.p.waiting);
                for (link, said) in waiting {
                    self.learner_comes(link);
                    said.into_iter()
                        .for_each(|payload| self.event(1, Inbound::Arrived(link, payload)));
                }
                return;
            }
            Turn::Rest(why) => return self.rest(&why),
        }
        self.refuse_waiting();
    }

    fn join(&mut self, leader: Sid) {
        self.p.dials += 1;
        let (sid, life) = (self.sid, self.life);
        self.hub.after(1_000, Event::Dial { sid, life, leader, tries: 0 });
    }

    /// The n-th of the other members: whom to ask who leads.
    pub(crate) fn other(&self, n: usize) -> Sid {
        let all = self.p.peer.configs().all();
        let members: BTreeSet<Sid> = all.flat_map(|it| it.members.keys().copied()).collect();
        let others: Vec<Sid> = members.into_iter().filter(|sid| *sid != self.sid).collect();
        others.get((self.p.dials + n) % others.len().max(1)).copied().unwrap_or(self.sid)
    }

    fn refuse_waiting(&mut self) {
        for (link, _) in std::mem::take(&mut self.p.waiting) {
            self.hub.close_link(link, self.sid);
        }
    }

    /// The part is over: everything that it began comes to its end.
    fn rest(&mut self, why: &Rest) {
        if matches!(why, Rest::NoConnection(_)) {
            self.hub.mark(Point::Lost);
        }
        self.hub.note(|| format!("{} rests: {why}", self.sid));
        self.close();
        for link in std::mem::take(&mut self.p.links).into_iter().chain(self.p.upstream.take()) {
            self.hub.close_link(link, self.sid);
        }
        self.p.chores.clear();
        self.p.staged = None;
        self.p.moves.clear();
        self.p.fresh.clear();
        self.p.touched.clear();
        self.refuse_waiting();
        let is_mended = matches!(why, Rest::Mended(_));
        if self.hub.has(Mutant::LogOutlivesPart) {
            return self.rested(is_mended);
        }
        self.begin(Io::Flush, After::Rest(is_mended), Point::RestBegun);
    }

    /// Everything is on the disk.
    fn rested(&mut self, is_mended: bool) {
        if !self.hub.has(Mutant::LogOutlivesPart) {
            self.commit_log(usize::MAX);
        }
        let under_way = std::mem::take(&mut self.p.under_way);
        self.settle_part(&under_way);
        under_way.into_iter().for_each(|entry| self.keep(entry));
        self.p.committed = self.p.tree.last_zxid();
        self.p.due = self.p.committed;
        if is_mended && self.hub.survives(self.sid, Point::NoteWhole) {
            self.hub.mark(Point::Mended);
            if self.store.note_damaged(false).is_err() {
                self.hub.dead = Some(self.sid);
            }
        }
        let pause_us = if std::mem::take(&mut self.p.has_served) { 0 } else { 50_000 };
        let (sid, life) = (self.sid, self.life);
        self.hub.after(pause_us, Event::Look { sid, life });
    }

    /// It looks for a leader, with what is on the disk.
    pub(crate) fn look(&mut self) {
        let last = self.p.tree.last_zxid();
        self.p.committed = last;
        let (accepted_epoch, current_epoch) = match self.store.epochs(last) {
            Ok(epochs) => epochs,
            Err(refused) => return self.hub.fail("Z5 durability", refused.to_string()),
        };
        // It must end with the last txn.
        let window = match self.p.window.back() {
            Some((zxid, _)) if *zxid == last => self.p.window.iter().map(|it| it.0).collect(),
            _ => Vec::new(),
        };
        let is_damaged = self.store.is_damaged() && !self.hub.has(Mutant::DamageIsForgotten);
        let has_nothing = (last, accepted_epoch, current_epoch) == (Zxid::ZERO, Epoch(0), Epoch(0));
        let votes = self.store.is_initial() || self.hub.has(Mutant::WipedVotes);
        let is_empty = has_nothing && !votes;
        self.hub.mark(if is_empty { Point::LookedEmpty } else { Point::Looked });
        let has_vote = !is_damaged && !is_empty;
        self.hub.tell(Record::Looks { sid: self.sid, zxid: last, has_vote });
        let last_zxid = match self.hub.mutant {
            Some(Mutant::StandsForLess) if last.counter() > 0 => Zxid::new(last.epoch(), 0),
            _ => last,
        };
        let history =
            History { accepted_epoch, current_epoch, last_zxid, window, is_damaged, is_empty };
        self.tell_configs();
        self.act_alone(|peer, now, wants| peer.look(now, history, wants));
        self.settle();
    }
}
