//! A member's disk: its history, its epochs, and what it knows of itself.
//!
//! What is begun is done when the world says so; a crash in between leaves what could be left.

mod files;
mod list;

pub(crate) use files::FileStore;
pub(crate) use list::ListStore;

use crate::rng::Rng;
use crate::storage::{Found, Refused};
use std::fmt;
use std::rc::Rc;
use zk_proto::{Epoch, SessionId, Zxid};
use zk_tree::SnapshotHead;

/// A txn with its header, body and digest.
pub(crate) type Entry = (Zxid, Rc<[u8]>);

/// A tree at one zxid, as a snapshot holds it.
#[derive(Clone, Debug)]
pub(crate) struct Image {
    pub(crate) head: SnapshotHead,
    pub(crate) sessions: Vec<(SessionId, i32)>,
    pub(crate) nodes: Vec<u8>,
}

/// Something that a member's quorum waits for.
#[derive(Clone, Debug)]
pub(crate) enum Io {
    Accepted(Epoch),
    Current(Epoch),
    Truncate(Zxid),
    /// A leader's snapshot, or nothing, becomes the history.
    Replace {
        image: Option<Rc<Image>>,
        has_vote: bool,
    },
    /// Everything that was appended gets to the disk.
    Flush,
}

/// What came of it.
#[derive(Debug)]
pub(crate) enum Done {
    Nothing,
    /// The log was cut, or could not be; tree and sessions as they are now.
    Truncated(bool, Found),
    Replaced(Found),
}

/// `acceptedEpoch` and `currentEpoch` as they count for a history that ends there: the history of
/// an epoch gets to the disk before the word that it is entered (as `HistoryFiles::epochs` of the
/// server).
fn fitting(accepted: Epoch, current: Epoch, last: Zxid) -> Result<(Epoch, Epoch), Refused> {
    let current = if last.epoch() <= accepted { current.max(last.epoch()) } else { current };
    if last.epoch() > current || accepted < current {
        let (current, accepted) = (current.0, accepted.0);
        return Err(Refused(format!("current {current}, accepted {accepted}, last {last}")));
    }
    Ok((accepted, current))
}

/// See the module.
pub(crate) trait Store: fmt::Debug {
    /// Queues a txn; nothing is on disk yet.
    fn append(&mut self, entry: Entry);

    /// How many txns are queued.
    fn waiting(&self) -> usize;

    /// Puts the oldest of them on disk, so many; those.
    fn commit(&mut self, most: usize) -> Result<Vec<Entry>, Refused>;

    /// Does something that a member's quorum waits for. Nothing is queued, but for a flush.
    fn perform(&mut self, io: &Io) -> Result<Done, Refused>;

    /// `acceptedEpoch` and `currentEpoch` of a history that ends there.
    fn epochs(&self, last: Zxid) -> Result<(Epoch, Epoch), Refused>;

    /// The txns behind `after`, up to `upto`, if all of them are there.
    fn tail(&self, after: Zxid, upto: Zxid) -> Option<Vec<Entry>>;

    /// The whole log.
    fn log(&self) -> Vec<Entry>;

    /// Keeps a snapshot of the own tree.
    fn keep(&mut self, image: Rc<Image>) -> Result<(), Refused>;

    /// Whether there is anything: a history or an epoch.
    fn has_history(&self) -> bool;

    /// Whether this member has no vote.
    fn is_damaged(&self) -> bool;

    /// This member has no vote, or has one again, also after a crash.
    fn note_damaged(&mut self, is_damaged: bool) -> Result<(), Refused>;

    /// Whether somebody who knows says that the ensemble is new.
    fn is_initial(&self) -> bool;

    /// It is new no more.
    fn note_founded(&mut self);

    /// The process is gone; what was not on disk may be lost, and what was under way may have been
    /// done.
    fn crash(&mut self, rng: &mut Rng, under_way: Option<&Io>);

    /// Everything is gone.
    fn wipe(&mut self);

    /// Finds the state again; with the txns that nobody was told of.
    fn recover(&mut self) -> Result<(Found, Vec<Entry>), Refused>;
}
