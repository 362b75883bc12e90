//! The log's thread and the snapshots' thread of the member.

use super::{Stop, World};
use crate::record::Record;
use crate::settings::Mutant;
use crate::storage::picture;
use std::rc::Rc;
use zk_proto::Zxid;

impl World {
    /// The log's thread takes what waits, or a part of it, and puts it on disk.
    pub(super) fn commit(&mut self) -> Result<(), Stop> {
        if self.member.is_none() {
            return Ok(());
        }
        let waiting = self.storage.waiting();
        if waiting == 0 || self.rng.chance(100) {
            return match self.storage.tend(&mut self.rng) {
                Ok(()) => Ok(()),
                Err(refused) => self.refused(&refused),
            };
        }
        let most = if self.rng.chance(500) { waiting } else { 1 + self.rng.below(waiting) };
        if self.mutates(Mutant::LostWrite, 50) {
            return self.pretend_to_commit(waiting);
        }
        match self.storage.commit(most) {
            Ok(Some(zxid)) => {
                if let Some(member) = &mut self.member
                    && self.mutant != Some(Mutant::ReplyBeforeSync)
                {
                    member.synced.push_back(zxid);
                }
                self.emit(Record::Synced { zxid })
            }
            Ok(None) if self.mutant == Some(Mutant::FullDiskIsIgnored) => {
                self.pretend_to_commit(waiting)
            }
            Ok(None) => Ok(()),
            Err(refused) => self.refused(&refused),
        }
    }

    /// [`Mutant::LostWrite`], [`Mutant::FullDiskIsIgnored`]: says that everything is on disk, and
    /// forgets it with the next crash.
    fn pretend_to_commit(&mut self, waiting: usize) -> Result<(), Stop> {
        let appended = self.history.iter().rev().find_map(|record| match record {
            Record::Appended { zxid, .. } => Some(*zxid),
            _ => None,
        });
        let (Some(member), Some(zxid)) = (&mut self.member, appended) else { return Ok(()) };
        member.synced.push_back(zxid);
        self.emit(Record::Synced { zxid })?;
        if self.rng.chance(500) && waiting > 0 {
            return self.crash();
        }
        Ok(())
    }

    /// Begins a snapshot, or writes a little more of it.
    pub(super) fn snapshot(&mut self) -> Result<(), Stop> {
        let Some(member) = &mut self.member else { return Ok(()) };
        if !member.is_snapshotting {
            return self.begin_snapshot();
        }
        let steps = self.rng.between(1, 12) as usize;
        let mut nodes = Vec::new();
        let more = member.tree.snapshot_some(steps, usize::MAX, &mut nodes);
        if let Err(refused) = self.storage.add_nodes(&nodes) {
            return self.refused(&refused);
        }
        if more {
            return Ok(());
        }
        member.is_snapshotting = false;
        match self.storage.finish_snapshot() {
            Ok(found) => {
                self.mark("snapshot");
                let picture = Rc::new(picture(&found.tree, &found.sessions));
                self.emit(Record::Snapshotted { picture })
            }
            Err(refused) => self.refused(&refused),
        }
    }

    fn begin_snapshot(&mut self) -> Result<(), Stop> {
        let Some(member) = &mut self.member else { return Ok(()) };
        let sessions = member.core.sessions().to_sorted();
        let Some(mut head) = member.tree.begin_snapshot() else { return Ok(()) };
        if self.mutant == Some(Mutant::MisnamedSnapshot) {
            head.zxid = Zxid((head.zxid.0 - 1).max(0));
        }
        member.is_snapshotting = true;
        match self.storage.begin_snapshot(&head, &sessions) {
            Ok(()) => Ok(()),
            Err(refused) => self.refused(&refused),
        }
    }
}
