//! ACL lists, each stored once and counted.

use hashbrown::HashMap;
use std::sync::Arc;
use zk_proto::acl::AclBytes;

/// Number of a list in the table.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct AclId(pub(crate) u32);

impl AclId {
    /// `world:anyone:cdrwa`: always there, never counted.
    pub const OPEN: AclId = AclId(0);
}

/// An ACL list as bytes, shared.
pub type AclList = Arc<[u8]>;

/// All lists that znodes refer to. A list goes when its last znode goes, so clients cannot fill
/// the memory with lists that nobody uses.
#[derive(Debug)]
pub struct AclTable {
    lists: Vec<(AclList, usize)>,
    ids: HashMap<AclList, AclId, foldhash::fast::FixedState>,
    free: Vec<AclId>,
}

impl AclTable {
    pub(crate) fn new(seed: u64) -> AclTable {
        AclTable {
            lists: vec![(Arc::from(AclBytes::OPEN.as_bytes()), 1)],
            ids: HashMap::with_hasher(foldhash::fast::FixedState::with_seed(seed)),
            free: Vec::new(),
        }
    }

    /// Counts one more user of a list.
    pub(crate) fn intern(&mut self, bytes: &[u8]) -> AclId {
        if bytes == AclBytes::OPEN.as_bytes() {
            return AclId::OPEN;
        }
        if let Some(&id) = self.ids.get(bytes) {
            self.lists[id.0 as usize].1 += 1;
            return id;
        }
        let list: AclList = Arc::from(bytes);
        let id = self.free.pop().unwrap_or(AclId(self.lists.len() as u32));
        match self.lists.get_mut(id.0 as usize) {
            Some(slot) => *slot = (list.clone(), 1),
            None => self.lists.push((list.clone(), 1)),
        }
        self.ids.insert(list, id);
        id
    }

    /// One user less.
    pub(crate) fn release(&mut self, id: AclId) {
        let slot = &mut self.lists[id.0 as usize];
        if id != AclId::OPEN {
            slot.1 -= 1;
            if slot.1 == 0 {
                let list = std::mem::replace(&mut slot.0, Arc::from(&[][..]));
                self.ids.remove(&list);
                self.free.push(id);
            }
        }
    }

    /// The list of an id.
    #[must_use]
    #[inline]
    pub fn get(&self, id: AclId) -> &AclList {
        &self.lists[id.0 as usize].0
    }

    /// All lists but the open one, with their numbers, in order of number.
    pub fn iter(&self) -> impl Iterator<Item = (AclId, &AclList)> {
        let used = self.lists.iter().enumerate().skip(1).filter(|(_, (_, users))| *users > 0);
        used.map(|(i, (list, _))| (AclId(i as u32), list))
    }
}

impl AclId {
    /// The number in a snapshot file (disk-formats 2.1: -1 is the open list).
    #[must_use]
    pub fn persisted(self) -> i64 {
        if self == AclId::OPEN { zk_proto::snapshot::OPEN_ACL_ID } else { i64::from(self.0) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_are_stored_once_and_go_with_their_last_user() {
        let mut table = AclTable::new(1);
        let read = AclBytes::READ_ONLY.as_bytes();
        let id = table.intern(read);
        assert_eq!(table.intern(read), id);
        assert_eq!(table.intern(AclBytes::OPEN.as_bytes()), AclId::OPEN);
        table.release(id);
        assert_eq!(&**table.get(id), read);
        table.release(id);
        assert_eq!(table.iter().count(), 0);
        assert_eq!(table.intern(b"other"), id, "the number is used again");
    }
}
