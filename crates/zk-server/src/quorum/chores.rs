//! Chores: what a machine wants done that waits for the disk, or for the pipeline. On the thread of
//! the quorum's sockets, one after the other, before anything else is heard.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::thread::Builder;
use std::time::{Duration, Instant};

use zk_proto::quorum::{FromLearner, Touched};
use zk_proto::{Epoch, Zxid};
use zk_store::data_dir::EpochFile;
use zk_store::group_commit::AppendError;
use zk_store::tail::Encoded;
use zk_zab::Role;
use zk_zab::leader::{LinkId, StepDown};
use zk_zab::peer::{History, Peer, Rest, Turn, Wants};

use parking_lot::MutexGuard;

use super::driver::Driver;
use super::state::{Chore, Entry, Held};
use super::tally::LearnerLink;
use crate::engine::Gate;
use crate::storage::{HistoryError, Loading};

/// So much of an answer to a PING is one packet: 50,000 sessions, less than Apache's members take
/// (`jute.maxbuffer`).
const PING_BYTES: usize = 50_000 * 12;

/// So long votes wait for a slow disk.
const FLUSH_PATIENCE: Duration = Duration::from_millis(50);
/// A snapshot of our own is given up within the time of a piece.
const TURN_PATIENCE: Duration = Duration::from_millis(500);

impl Driver {
    /// Does all chores, and turns to what comes next.
    pub(super) fn settle(self: &Arc<Driver>) {
        loop {
            let (chore, turn) = {
                let mut held = self.quorum.lock();
                let chore = held.state.chores.pop_front();
                let turn = if chore.is_none() { held.state.turn.take() } else { None };
                (chore, turn)
            };
            let done = match (chore, turn) {
                (Some(chore), _) => self.do_chore(chore),
                (None, Some(turn)) => self.turn_to(turn),
                (None, None) => return self.engine.do_what_is_due(&self.quorum),
            };
            match done {
                Ok(()) => {}
                Err(error) if error.is_disk_full() => {
                    tracing::error!(
                        "{error}; this member takes no part until there is space again"
                    );
                    self.full(true);
                    drop(self.quorum.act(|peer, _, wants| peer.disk_full(wants)));
                }
                Err(error) => return self.fail(&error),
            }
        }
    }

    /// A leader whose log has no room takes no writes: after a while another member leads.
    pub(super) fn watch_log(&self) {
        let leads = || self.quorum.part() == (Some(self.quorum.sid()), Role::Participant, true);
        // Hundred times a second: who leads is asked only of a full disk.
        let is_full = self.quorum.log().admits() == Err(AppendError::DiskFull) && leads();
        let mut since = self.full_since.lock();
        if !is_full {
            *since = None;
        } else if since.get_or_insert_with(Instant::now).elapsed() > self.patience {
            *since = None;
            self.full(true);
            tracing::error!("the disk of the log is full: another member has to lead");
            drop(self.quorum.act(|peer, _, wants| peer.disk_full(wants)));
        }
    }

    /// Who has looked for a leader for long lets clients read.
    pub(super) fn open_if_alone(&self) {
        let Some(after) = self.alone_after else { return };
        let mut since = self.looks_since.lock();
        if since.is_some_and(|since| since.elapsed() >= after) {
            *since = None;
            self.is_alone.store(true, Ordering::Relaxed);
            tracing::warn!("no leader for {} ms: clients may read here", after.as_millis());
            self.engine.open_alone();
        }
    }

    fn end_alone(&self) {
        *self.looks_since.lock() = None;
        if self.is_alone.swap(false, Ordering::Relaxed) {
            self.engine.close_all();
        }
    }

    /// This member cannot go on.
    pub(super) fn fail(&self, error: &HistoryError) {
        tracing::error!("{error}; the server ends");
        self.engine.metrics.unrecoverable_error_count.add(1);
        self.engine.poison();
    }

    fn do_chore(self: &Arc<Driver>, chore: Chore) -> Result<(), HistoryError> {
        match chore {
            Chore::WriteAccepted(epoch) => {
                self.history.set_epoch(EpochFile::Accepted, epoch)?;
                self.history.note_founded()?;
                self.at_rest(|peer, now_ms, wants| peer.accepted_written(now_ms, epoch, wants));
            }
            Chore::WriteCurrent(epoch) => {
                self.history.set_epoch(EpochFile::Current, epoch)?;
                self.at_rest(|peer, now_ms, wants| peer.current_written(now_ms, epoch, wants));
            }
            Chore::Truncate(zxid) => {
                let last = self.history.truncate(zxid)?;
                tracing::warn!("the leader had the log cut behind {zxid}: {last:?}");
                self.forget_window();
                drop(self.quorum.act(|peer, _, wants| peer.truncated(last, wants)));
            }
            Chore::Settle => {
                let staged = self.quorum.lock().state.staged.take();
                // Of a leader that has nothing, who has no vote gets nothing.
                let empty = || Loading::new(self.history.tree_options());
                self.history.replace(staged.unwrap_or_else(empty), !self.is_damaged())?;
                self.forget_window();
                drop(self.quorum.act(|peer, _, wants| peer.settled(wants)));
            }
            Chore::Proposed(config) => self.config_proposed(&config),
            Chore::Activated(config) => self.config_activated(&config),
            Chore::Serve => {
                if self.quorum.part().2 {
                    self.serves(true);
                    self.engine.tell_config(&self.quorum.config());
                    self.admit_clients();
                    self.quorum.note_serving();
                }
            }
            // It may lead no more, if the configuration wants another.
            Chore::Lead(_) if !self.quorum.part().2 => {}
            Chore::Lead(epoch) => {
                self.serves(true);
                self.engine.tell_config(&self.quorum.config());
                self.engine.begin_leading(epoch);
                self.quorum.note_serving();
                tracing::info!("this member leads, in epoch {}", epoch.0);
            }
            Chore::AnswerPing(zxid) => self.answer_ping(zxid),
            Chore::Prove => self.engine.prove(),
            Chore::LookUp(link, zxid) => self.look_up(link, zxid),
            Chore::LookedUp(link, tail) => {
                self.at_rest_with(|held| {
                    let is_there = held.joins_window(tail.as_deref());
                    held.state.tail = tail.unwrap_or_default();
                    let act = |peer: &mut Peer, _, wants: &mut Wants<'_>| {
                        peer.looked_up(link, is_there, wants);
                    };
                    held.act(act, &mut Vec::new());
                    held.state.tail.clear();
                });
            }
        }
        Ok(())
    }

    /// Tells the leader which sessions were heard, here and by observers.
    fn answer_ping(&self, zxid: Zxid) {
        let mut touched = self.engine.tell_heard();
        let mut held = self.quorum.lock();
        for (session, timeout_ms) in std::mem::take(&mut held.state.touched) {
            Touched::put(&mut touched, session, timeout_ms);
        }
        // A packet has the length of a request at most.
        let (first, more) = touched.split_at(touched.len().min(PING_BYTES));
        for part in std::iter::once(first).chain(more.chunks(PING_BYTES)) {
            held.state.ask(&FromLearner::Ping { zxid, touched: Touched::of(part) });
        }
    }

    /// Looks into the log for what a learner misses, on a thread of its own.
    fn look_up(self: &Arc<Driver>, link: LinkId, after: Zxid) {
        let driver = self.clone();
        let upto = self.quorum.lock().state.committed;
        let body = move || {
            let tail = driver.history.tail(after, upto);
            let entries = |tail: Vec<Encoded>| {
                tail.into_iter().map(|(zxid, txn)| (zxid, txn.into())).collect()
            };
            driver.quorum.lock().chore(Chore::LookedUp(link, tail.map(entries)));
            driver.quorum.news.notify_one();
        };
        if let Err(error) = Builder::new().name("zk-tail".into()).spawn(body) {
            tracing::error!("cannot start a thread for a learner: {error}");
            self.quorum.lock().chore(Chore::LookedUp(link, None));
        }
    }

    /// Lets the machine do something that may begin the synchronisation of a learner: everything
    /// that is committed is applied then, and nothing more is committed before a snapshot has
    /// begun.
    pub(super) fn at_rest<'a>(
        self: &Arc<Driver>,
        act: impl FnOnce(&mut Peer, u64, &mut Wants<'a>),
    ) {
        self.at_rest_with(|held| held.act(act, &mut Vec::new()));
    }

    fn at_rest_with(self: &Arc<Driver>, act: impl FnOnce(&mut Held<'_>)) {
        let (gate, mut held) = self.everything_applied();
        act(&mut held);
        let outgoing = std::mem::take(&mut held.state.outgoing);
        if outgoing.is_empty() {
            return;
        }
        // All of them get the same one.
        let turn = self.snapshots.turn_within(TURN_PATIENCE);
        let begun = turn.and_then(|turn| Some((turn, self.engine.begin_snapshot_at(&gate)?)));
        let Some((turn, (head, sessions))) = begun else {
            // What was promised cannot be kept: they come again.
            tracing::warn!("learners wait for a snapshot, since another one is under way");
            outgoing.iter().for_each(|outgoing| held.hang_up(outgoing.link));
            return;
        };
        debug_assert!(outgoing.iter().all(|outgoing| outgoing.zxid == head.zxid));
        held.state.receiving = outgoing.iter().map(|outgoing| outgoing.link).collect();
        drop(held);
        drop(gate);
        self.send_snapshot(outgoing, turn, head, sessions);
    }

    /// The pipeline and the machine, held at a moment when everything that is committed is applied.
    fn everything_applied(&self) -> (MutexGuard<'_, Gate>, Held<'_>) {
        loop {
            let mut gate = self.engine.gate.lock();
            let held = self.quorum.lock();
            if held.state.peer.fed_upto().is_none() {
                if held.state.peer.is_serving() {
                    self.engine.apply_committed(&mut gate, held.state.committed);
                }
                return (gate, held);
            }
            // What a follower is taught comes from the disk's thread, too.
            if self.engine.tree.read().last_zxid() >= held.state.committed
                || self.engine.is_poisoned()
            {
                return (gate, held);
            }
            drop(held);
            drop(gate);
            self.engine.learn_all();
        }
    }

    fn forget_window(&self) {
        let mut held = self.quorum.lock();
        held.state.window.clear();
        held.state.under_way.clear();
    }

    fn turn_to(self: &Arc<Driver>, turn: Turn) -> Result<(), HistoryError> {
        self.end_alone();
        match turn {
            Turn::Join(leader) => {
                self.quorum.note_elected();
                tracing::info!("server {leader} leads");
                self.join(Some(leader));
            }
            Turn::JoinAnybody => {
                tracing::warn!(
                    "this member has no history, or not all of it: it has no vote until it has taken \
                     that of a leader"
                );
                self.history.note_damaged()?;
                self.damaged(true);
                self.join(None);
            }
            Turn::Reign => {
                self.quorum.note_elected();
                tracing::info!("this member is elected");
                self.admit_waiting();
                return Ok(());
            }
            Turn::Rest(why) => {
                self.rest(why);
                return Ok(());
            }
        }
        self.refuse_waiting();
        Ok(())
    }

    /// The part is over.
    fn rest(&self, why: Rest) {
        tracing::info!("this member has no leader: {why}");
        if let Rest::Reconfigured(_) | Rest::SteppedDown(StepDown::NotDesignated(_)) = why {
            // Whoever has changed the ensemble should hear that it is done, and so should those who
            // have to follow another leader now.
            let committed = {
                let mut held = self.quorum.lock();
                std::mem::take(&mut held.state.links).into_values().for_each(LearnerLink::end);
                held.state.committed
            };
            self.engine.finish(committed);
        }
        self.engine.close();
        self.quorum.note_rest();
        {
            let mut held = self.quorum.lock();
            held.state.hang_up();
            held.state.attempt += 1;
            held.state.chores.clear();
            held.state.staged = None;
            held.state.outgoing.clear();
            held.state.promises.clear();
            held.state.moves.clear();
        }
        self.refuse_waiting();
        *self.resting.lock() = Some(why);
        self.end_rest();
    }

    /// Everything that the last part began comes to its end; later, if the disk is full.
    pub(super) fn end_rest(&self) {
        let Some(why) = self.resting.lock().take() else { return };
        match self.try_to_end_rest(&why) {
            Ok(true) => {}
            Ok(false) => *self.resting.lock() = Some(why),
            Err(error) => self.fail(&error),
        }
    }

    fn try_to_end_rest(&self, why: &Rest) -> Result<bool, HistoryError> {
        if !self.history.flush_within(FLUSH_PATIENCE)? {
            return Ok(false);
        }
        let under_way: Vec<_> = std::mem::take(&mut self.quorum.lock().state.under_way).into();
        let last = self.engine.settle(&under_way)?;
        {
            let mut held = self.quorum.lock();
            under_way.into_iter().for_each(|entry| held.keep(entry));
            held.state.committed = last;
        }
        if let Rest::Mended(_) = why {
            self.history.note_whole()?;
            self.damaged(false);
        }
        self.look_again();
        Ok(true)
    }

    /// What the disk holds, for a member that looks for a leader.
    pub(super) fn stand(&self, last: Zxid) -> Result<History, HistoryError> {
        let (accepted_epoch, current_epoch) = match self.history.epochs(last) {
            // It comes as one that has nothing. A leader that was one no more may have had it write
            // an epoch that is behind its own; the next one makes both new.
            Err(HistoryError::Epochs { .. }) if self.is_damaged() => (Epoch(0), Epoch(0)),
            epochs => epochs?,
        };
        let held = self.quorum.lock();
        // It must end with the last transaction.
        let window = match held.state.window.back() {
            Some((zxid, _)) if *zxid == last => held.state.window.iter().map(|it| it.0).collect(),
            _ => Vec::new(),
        };
        let has_nothing = (last, accepted_epoch, current_epoch) == (Zxid::ZERO, Epoch(0), Epoch(0));
        let is_new = has_nothing && self.history.is_initial();
        let is_empty = has_nothing && !is_new;
        if is_new && self.is_damaged() {
            // It had nothing before, and waited for this word or for a leader.
            self.history.note_whole()?;
            self.damaged(false);
        }
        let is_damaged = self.is_damaged() || is_empty && !self.founds_unasked;
        if is_damaged && is_empty {
            tracing::warn!(
                "the data directory is empty: without a file `initialize` in it this member has no \
                 vote (db.autocreate=false)"
            );
        }
        Ok(History { accepted_epoch, current_epoch, last_zxid: last, window, is_damaged, is_empty })
    }
}

impl Held<'_> {
    /// Whether nothing is missing between what was found in the log and the window: more may have
    /// been committed meanwhile.
    pub(super) fn joins_window(&self, tail: Option<&[Entry]>) -> bool {
        let Some((last, _)) = tail.and_then(<[Entry]>::last) else { return false };
        match self.state.window.iter().map(|(zxid, _)| *zxid).find(|zxid| zxid > last) {
            Some(next) => next == last.next() || next.epoch() > last.epoch() && next.counter() == 1,
            None => *last == self.state.committed,
        }
    }
}
