//! What a learner wants done.

use super::chores::Chore;
use super::{Driver, Lesson};
use crate::ensemble::coverage::Point;
use crate::ensemble::mutant::Mutant;
use crate::ensemble::record::{Record, Said};
use crate::ensemble::store::Entry;
use std::rc::Rc;
use zk_proto::Zxid;
use zk_proto::quorum::FromLearner;
use zk_zab::learner::{Leave, Output as Learn};

impl Driver<'_> {
    pub(super) fn follow(&mut self, outputs: Vec<Learn<'_>>) {
        for output in outputs {
            match output {
                Learn::Send(packet) => self.say(&packet),
                Learn::Append { zxid, txn } => self.take_txn((zxid, (*txn).into())),
                Learn::Apply(upto) => self.teach(upto),
                Learn::Synced => self.p.lessons.push_back(Lesson::Synced),
                Learn::Revalidated { session, is_valid } => {
                    self.p.lessons.push_back(Lesson::Revalidated(session, is_valid));
                }
                Learn::Moved(session) => self.p.lessons.push_back(Lesson::Moved(session)),
                Learn::AnswerPing(zxid) => self.chore(Chore::AnswerPing(zxid)),
                Learn::WriteAccepted(epoch) => self.chore(Chore::WriteAccepted(epoch)),
                Learn::WriteCurrent(epoch) => self.chore(Chore::WriteCurrent(epoch)),
                Learn::Truncate(zxid) => self.chore(Chore::Truncate(zxid)),
                Learn::Settle => self.chore(Chore::Settle),
                Learn::Serve => self.chore(Chore::Serve),
                Learn::Leave(why) => self.hub.mark(point_of(&why)),
                // What follows on the connection is the snapshot.
                Learn::Install(_) => {}
                Learn::Proposed(config) => self.chore(Chore::Proposed(config)),
                Learn::Activate { config, .. } => self.chore(Chore::Activated(config)),
            }
        }
    }

    pub(super) fn chore(&mut self, chore: Chore) {
        self.p.chores.push_back(chore);
    }

    /// Tells the leader something; what rests on the disk is judged.
    fn say(&mut self, packet: &FromLearner<'_>) {
        let sid = self.sid;
        let (point, said) = match packet {
            FromLearner::AckEpoch { .. } => {
                let accepted = self.store.epochs(self.p.tree.last_zxid()).map(|it| it.0);
                (Point::SendAckEpoch, accepted.ok().map(Said::Promised))
            }
            FromLearner::Ack(zxid) if zxid.counter() == 0 => {
                (Point::SendAck, Some(Said::Entered(zxid.epoch())))
            }
            FromLearner::Ack(zxid) => (Point::SendAck, Some(Said::Acked(*zxid))),
            FromLearner::Info { .. } => (Point::SendInfo, None),
            _ => (Point::SendRequest, None),
        };
        // A stranger's word counts for nothing.
        if let Some(said) = said.filter(|_| !self.store.is_damaged()) {
            self.hub.tell(Record::Says { sid, said });
        }
        self.send_up(packet, point);
    }

    fn take_txn(&mut self, entry: Entry) {
        self.p.under_way.push_back(entry.clone());
        let zxid = entry.0;
        self.append(entry);
        if self.hub.has(Mutant::EnterBeforeLogged) && !self.p.peer.is_serving() {
            self.told_logged(zxid);
        }
        if self.hub.has(Mutant::AppliesProposals) && self.p.peer.is_serving() {
            self.teach(zxid);
        }
    }

    /// What is committed and logged goes to the pipeline.
    fn teach(&mut self, upto: Zxid) {
        let feeds = self.p.peer.fed_upto().is_some();
        while let Some(entry) = self.p.under_way.pop_front_if(|(zxid, _)| *zxid <= upto) {
            if !self.passes_over(&entry) {
                self.p.lessons.push_back(Lesson::Txn(Rc::clone(&entry.1)));
            }
            if feeds {
                self.p.fresh.push_back(entry.clone());
            }
            self.keep(entry);
        }
        self.wake_pipe();
    }

    /// Takes note of a txn that is committed.
    pub(super) fn keep(&mut self, entry: Entry) {
        let most = self.p.window_size;
        self.p.window.push_back(entry);
        if self.p.window.len() > most {
            self.p.window.pop_front();
        }
    }
}

fn point_of(why: &Leave) -> Point {
    match why {
        Leave::OldEpoch { .. } => Point::LeftOldEpoch,
        Leave::Unexpected { .. } => Point::LeftUnexpected,
        Leave::Gap { .. } => Point::LeftGap,
        Leave::WrongCommit { .. } => Point::LeftWrongCommit,
        Leave::Silent(_) => Point::LeftSilent,
        Leave::CannotTruncate(_) => Point::LeftCannotTruncate,
        _ => Point::LeftOther,
    }
}
