//! A disk without files: a list of txns and a few snapshots. What lies between two states of it is
//! chosen by chance, so that nothing hides behind the order of some file operations.

use super::{Done, Entry, Image, Io, Store};
use crate::rng::Rng;
use crate::storage::{Found, Loading, Refused, load_image};
use std::collections::VecDeque;
use std::rc::Rc;
use zk_proto::txn::TxnEntry;
use zk_proto::{Epoch, Jute, Limits, Reader, Zxid};
use zk_store::Restore;
use zk_tree::TreeOptions;

/// So many own snapshots are kept.
const KEPT: usize = 3;

/// See the module.
#[derive(Debug)]
pub(crate) struct ListStore {
    options: TreeOptions,
    accepted: Option<Epoch>,
    current: Option<Epoch>,
    /// What the log builds upon: a leader's snapshot, or nothing.
    base: Option<Rc<Image>>,
    /// Own snapshots, which save replaying; oldest first.
    images: Vec<Rc<Image>>,
    log: Vec<Entry>,
    queue: VecDeque<Entry>,
    /// Of the log, so much was told to be on disk.
    told: usize,
    is_damaged: bool,
    is_initial: bool,
}

fn refused(error: impl std::fmt::Display) -> Refused {
    Refused(error.to_string())
}

impl ListStore {
    /// An empty disk.
    pub(crate) fn new(options: TreeOptions, is_initial: bool) -> ListStore {
        ListStore {
            options,
            accepted: None,
            current: None,
            base: None,
            images: Vec::new(),
            log: Vec::new(),
            queue: VecDeque::new(),
            told: 0,
            is_damaged: false,
            is_initial,
        }
    }

    fn base_zxid(&self) -> Zxid {
        self.base.as_ref().map_or(Zxid::ZERO, |image| image.head.zxid)
    }

    /// Where a txn is in the log.
    fn find(&self, zxid: Zxid) -> Option<usize> {
        self.log.binary_search_by_key(&zxid, |entry| entry.0).ok()
    }

    /// Whether the log could be cut behind a txn.
    fn cut(&mut self, zxid: Zxid) -> bool {
        let keeps = match self.find(zxid) {
            Some(at) => at + 1,
            None if self.base_zxid() == zxid => 0,
            None => return false,
        };
        self.log.truncate(keeps);
        self.told = self.told.min(keeps);
        self.images.retain(|image| image.head.zxid <= zxid);
        true
    }

    fn replace(&mut self, image: Option<&Rc<Image>>, has_vote: bool) {
        self.forget_history();
        self.base = image.cloned();
        self.is_damaged = !has_vote;
    }

    fn forget_history(&mut self) {
        self.is_damaged = true;
        self.base = None;
        self.images.clear();
        self.log.clear();
        self.told = 0;
    }

    fn load(&self) -> Result<Found, Refused> {
        let image = self.images.last().or(self.base.as_ref());
        let mut loading = Loading::new(self.options);
        if let Some(image) = image {
            load_image(&mut loading, &image.head, &image.sessions, &image.nodes)
                .map_err(refused)?;
        }
        let from = image.map_or(Zxid::ZERO, |image| image.head.zxid);
        let begins = self.log.partition_point(|entry| entry.0 <= from);
        for (_, txn) in &self.log[begins..] {
            let entry = TxnEntry::read(&mut Reader::with_limits(txn, Limits::NONE));
            loading.txn(&entry.map_err(refused)?).map_err(refused)?;
        }
        Ok(loading.found())
    }
}

impl Store for ListStore {
    fn append(&mut self, entry: Entry) {
        self.queue.push_back(entry);
    }

    fn waiting(&self) -> usize {
        self.queue.len()
    }

    fn commit(&mut self, most: usize) -> Result<Vec<Entry>, Refused> {
        let count = most.min(self.queue.len());
        let done: Vec<Entry> = self.queue.drain(..count).collect();
        self.log.extend(done.iter().cloned());
        self.told = self.log.len();
        Ok(done)
    }

    fn perform(&mut self, io: &Io) -> Result<Done, Refused> {
        match io {
            Io::Accepted(epoch) => self.accepted = Some(*epoch),
            Io::Current(epoch) => self.current = Some(*epoch),
            Io::Flush => {
                let most = self.queue.len();
                self.commit(most)?;
            }
            Io::Truncate(zxid) => {
                let is_cut = self.cut(*zxid);
                return Ok(Done::Truncated(is_cut, self.load()?));
            }
            Io::Replace { image, has_vote } => {
                self.replace(image.as_ref(), *has_vote);
                return Ok(Done::Replaced(self.load()?));
            }
        }
        Ok(Done::Nothing)
    }

    fn epochs(&self, last: Zxid) -> Result<(Epoch, Epoch), Refused> {
        let current = self.current.unwrap_or(last.epoch());
        let accepted = self.accepted.unwrap_or(current);
        super::fitting(accepted, current, last)
    }

    fn tail(&self, after: Zxid, upto: Zxid) -> Option<Vec<Entry>> {
        // Who has only begun an epoch has everything before that.
        let begins = match self.find(after) {
            Some(at) => at + 1,
            None if after.counter() == 0 => self.find(after.next())?,
            None if after == self.base_zxid() && after != Zxid::ZERO => 0,
            None => return None,
        };
        let ends = self.log.partition_point(|entry| entry.0 <= upto);
        Some(self.log[begins.min(ends)..ends].to_vec())
    }

    fn log(&self) -> Vec<Entry> {
        self.log.clone()
    }

    fn keep(&mut self, image: Rc<Image>) -> Result<(), Refused> {
        self.images.push(image);
        if self.images.len() > KEPT {
            self.images.remove(0);
        }
        Ok(())
    }

    fn has_history(&self) -> bool {
        self.accepted.is_some() || self.base.is_some() || !self.log.is_empty()
    }

    fn is_damaged(&self) -> bool {
        self.is_damaged
    }

    fn note_damaged(&mut self, is_damaged: bool) -> Result<(), Refused> {
        self.is_damaged = is_damaged;
        Ok(())
    }

    fn is_initial(&self) -> bool {
        self.is_initial
    }

    fn note_founded(&mut self) {
        self.is_initial = false;
    }

    fn crash(&mut self, rng: &mut Rng, under_way: Option<&Io>) {
        let survivors = rng.below(self.queue.len() + 1);
        self.log.extend(self.queue.drain(..survivors));
        self.queue.clear();
        match under_way {
            None | Some(Io::Flush) => {}
            Some(Io::Replace { image, has_vote }) => match rng.below(4) {
                0 => {}
                // The old history is gone, the new one not there yet.
                1 => self.forget_history(),
                2 => {
                    self.replace(image.as_ref(), *has_vote);
                    self.is_damaged = true;
                }
                _ => self.replace(image.as_ref(), *has_vote),
            },
            Some(io) if rng.chance(500) => {
                let _ = self.perform(io);
            }
            Some(_) => {}
        }
    }

    fn wipe(&mut self) {
        *self = ListStore::new(self.options, false);
    }

    fn recover(&mut self) -> Result<(Found, Vec<Entry>), Refused> {
        if self.is_damaged {
            return Ok((Loading::new(self.options).found(), Vec::new()));
        }
        let survivors = self.log[self.told.min(self.log.len())..].to_vec();
        self.told = self.log.len();
        Ok((self.load()?, survivors))
    }
}
