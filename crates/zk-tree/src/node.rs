//! One znode in memory, and the arena that holds them all.
//!
//! A million small znodes must fit beside their data in little memory, so a znode is one slot of
//! 88 bytes and one allocation for name and data together. What only some znodes need (children,
//! an owner, ACL changes) is in a side allocation.

use zk_proto::StatPersisted;

/// Index of a znode in the arena; valid until the znode is deleted.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub(crate) struct NodeId(pub(crate) u32);

impl NodeId {
    pub(crate) const ROOT: NodeId = NodeId(0);
    pub(crate) const NONE: NodeId = NodeId(u32::MAX);
}

/// What a leaf without an owner does not need.
#[derive(Clone, Debug)]
pub(crate) struct Extra {
    pub(crate) pzxid: i64,
    pub(crate) owner: i64,
    pub(crate) cversion: i32,
    pub(crate) aversion: i32,
    pub(crate) first_child: NodeId,
    pub(crate) num_children: i32,
}

#[derive(Debug)]
pub(crate) struct Node {
    /// Name and data, see [`Payload`].
    payload: Payload,
    pub(crate) czxid: i64,
    pub(crate) mzxid: i64,
    pub(crate) ctime: i64,
    pub(crate) mtime: i64,
    extra: Option<Box<Extra>>,
    pub(crate) version: i32,
    pub(crate) parent: NodeId,
    pub(crate) acl: crate::AclId,
    /// Siblings form a doubly linked list: a parent of ten million children needs no table, and
    /// adding or removing a child costs the same whatever their number.
    pub(crate) next: NodeId,
    pub(crate) prev: NodeId,
    /// This znode's summand of the tree digest.
    pub(crate) crc: u32,
    /// The last snapshot that holds this znode, see [`crate::snapshot`].
    pub(crate) snapshot: u16,
}

impl Node {
    pub(crate) fn new(name: &str, data: Option<&[u8]>, stat: &StatPersisted) -> Node {
        let mut node = Node {
            payload: Payload::new(name.as_bytes(), data),
            czxid: 0,
            mzxid: 0,
            ctime: 0,
            mtime: 0,
            extra: None,
            version: 0,
            parent: NodeId::NONE,
            acl: crate::AclId::OPEN,
            next: NodeId::NONE,
            prev: NodeId::NONE,
            crc: 0,
            snapshot: 0,
        };
        node.set_stat(stat);
        node
    }

    pub(crate) fn name(&self) -> &[u8] {
        self.payload.name()
    }

    pub(crate) fn data(&self) -> Option<&[u8]> {
        self.payload.data()
    }

    pub(crate) fn set_data(&mut self, data: Option<&[u8]>) {
        self.payload.set_data(data);
    }

    pub(crate) fn stat(&self) -> StatPersisted {
        let mut stat = StatPersisted {
            czxid: self.czxid,
            mzxid: self.mzxid,
            ctime: self.ctime,
            mtime: self.mtime,
            version: self.version,
            cversion: 0,
            aversion: 0,
            ephemeral_owner: 0,
            pzxid: self.czxid,
        };
        if let Some(extra) = &self.extra {
            stat.pzxid = extra.pzxid;
            stat.ephemeral_owner = extra.owner;
            stat.cversion = extra.cversion;
            stat.aversion = extra.aversion;
        }
        stat
    }

    fn set_stat(&mut self, stat: &StatPersisted) {
        (self.czxid, self.mzxid) = (stat.czxid, stat.mzxid);
        (self.ctime, self.mtime) = (stat.ctime, stat.mtime);
        self.version = stat.version;
        let plain = stat.pzxid == stat.czxid
            && stat.ephemeral_owner == 0
            && stat.cversion == 0
            && stat.aversion == 0;
        if !plain {
            let extra = self.extra_mut();
            extra.pzxid = stat.pzxid;
            extra.owner = stat.ephemeral_owner;
            extra.cversion = stat.cversion;
            extra.aversion = stat.aversion;
        }
    }

    pub(crate) fn owner(&self) -> i64 {
        self.extra.as_ref().map_or(0, |extra| extra.owner)
    }

    pub(crate) fn num_children(&self) -> i32 {
        self.extra.as_ref().map_or(0, |extra| extra.num_children)
    }

    pub(crate) fn first_child(&self) -> NodeId {
        self.extra.as_ref().map_or(NodeId::NONE, |extra| extra.first_child)
    }

    pub(crate) fn extra_mut(&mut self) -> &mut Extra {
        let pzxid = self.czxid;
        self.extra.get_or_insert_with(|| {
            Box::new(Extra {
                pzxid,
                owner: 0,
                cversion: 0,
                aversion: 0,
                first_child: NodeId::NONE,
                num_children: 0,
            })
        })
    }
}

/// Name and data in one allocation: four bytes (the name's length; the top bit says that the data
/// is null), the name, the data.
#[derive(Debug)]
struct Payload(Box<[u8]>);

impl Payload {
    const NULL_DATA: u32 = 1 << 31;
    const HEAD: usize = 4;

    fn new(name: &[u8], data: Option<&[u8]>) -> Payload {
        let bytes = data.unwrap_or_default();
        let null = if data.is_none() { Payload::NULL_DATA } else { 0 };
        let mut all = Vec::with_capacity(Payload::HEAD + name.len() + bytes.len());
        // A name comes out of a frame, whose length is an i32: the top bit is free.
        all.extend_from_slice(&(name.len() as u32 | null).to_ne_bytes());
        all.extend_from_slice(name);
        all.extend_from_slice(bytes);
        Payload(all.into_boxed_slice())
    }

    fn head(&self) -> (usize, bool) {
        let word = self.0.first_chunk::<4>().map_or(0, |head| u32::from_ne_bytes(*head));
        ((word & !Payload::NULL_DATA) as usize, word & Payload::NULL_DATA != 0)
    }

    fn name(&self) -> &[u8] {
        self.0.get(Payload::HEAD..Payload::HEAD + self.head().0).unwrap_or_default()
    }

    fn data(&self) -> Option<&[u8]> {
        let (name_len, null) = self.head();
        if null { None } else { self.0.get(Payload::HEAD + name_len..) }
    }

    fn set_data(&mut self, data: Option<&[u8]>) {
        match (self.head(), data) {
            // Same length: the usual update of a counter or a heartbeat stays in place.
            ((name_len, false), Some(new))
                if self.0.len() == Payload::HEAD + name_len + new.len() =>
            {
                self.0[Payload::HEAD + name_len..].copy_from_slice(new);
            }
            _ => *self = Payload::new(self.name(), data),
        }
    }
}

/// Slots for znodes in chunks, so that growing never copies what is there.
#[derive(Debug, Default)]
pub(crate) struct Arena {
    chunks: Vec<Vec<Node>>,
    /// Hashes of the paths, see [`crate::index`]: close together, since the index looks at those of
    /// many znodes in no order when it grows.
    hashes: Vec<u32>,
    free: Vec<NodeId>,
    len: usize,
}

const CHUNK: usize = 1 << CHUNK_BITS;
const CHUNK_BITS: u32 = 9;

impl Arena {
    /// How many znodes are in it.
    pub(crate) fn len(&self) -> usize {
        self.len
    }

    /// Takes a znode in; `hash` is that of its path.
    pub(crate) fn insert(&mut self, node: Node, hash: u32) -> NodeId {
        self.len += 1;
        if let Some(id) = self.free.pop() {
            self[id] = node;
            self.hashes[id.0 as usize] = hash;
            return id;
        }
        self.hashes.push(hash);
        match self.chunks.last_mut() {
            Some(chunk) if chunk.len() < CHUNK => chunk.push(node),
            _ => {
                make_room();
                let mut chunk = Vec::with_capacity(CHUNK);
                chunk.push(node);
                self.chunks.push(chunk);
            }
        }
        let last = self.chunks.last().map_or(0, Vec::len);
        NodeId((((self.chunks.len() - 1) << CHUNK_BITS) + last - 1) as u32)
    }

    /// The hash of a znode's path.
    #[inline]
    pub(crate) fn hash(&self, id: NodeId) -> u32 {
        self.hashes[id.0 as usize]
    }

    /// Makes all znodes look as if no snapshot ever had them.
    pub(crate) fn forget_snapshots(&mut self) {
        for node in self.chunks.iter_mut().flatten() {
            node.snapshot = 0;
        }
    }

    pub(crate) fn remove(&mut self, id: NodeId) {
        self.len -= 1;
        self[id] = Node::new("", None, &StatPersisted::default());
        self.free.push(id);
    }
}

/// Below what glibc maps by itself, and gives back to the kernel at once (both 128 KiB, see
/// mallopt).
const ROOM_BYTES: usize = 120 << 10;

/// Makes room for the payloads of the next chunk at once: glibc asks the kernel for each page of a
/// thread's heap, but keeps what it got. With another allocator it does nothing.
fn make_room() {
    drop(std::hint::black_box(Vec::<u8>::with_capacity(ROOM_BYTES)));
}

impl std::ops::Index<NodeId> for Arena {
    type Output = Node;
    #[inline]
    fn index(&self, id: NodeId) -> &Node {
        &self.chunks[(id.0 >> CHUNK_BITS) as usize][id.0 as usize & (CHUNK - 1)]
    }
}

impl std::ops::IndexMut<NodeId> for Arena {
    #[inline]
    fn index_mut(&mut self, id: NodeId) -> &mut Node {
        &mut self.chunks[(id.0 >> CHUNK_BITS) as usize][id.0 as usize & (CHUNK - 1)]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_znode_is_small() {
        assert_eq!(size_of::<Node>(), 88);
    }

    #[test]
    fn null_and_empty_data_stay_apart_through_changes() {
        let mut node = Node::new("name", None, &StatPersisted::default());
        assert_eq!((node.name(), node.data()), (&b"name"[..], None));
        for data in [Some(&b""[..]), Some(b"abc"), Some(b"xyz"), None, Some(b"")] {
            node.set_data(data);
            assert_eq!((node.name(), node.data()), (&b"name"[..], data));
        }
    }

    #[test]
    fn slots_are_used_again() {
        let mut arena = Arena::default();
        let node = |name: &str| Node::new(name, None, &StatPersisted::default());
        let ids: Vec<_> =
            (0..CHUNK + 3).map(|i| arena.insert(node(&i.to_string()), i as u32)).collect();
        arena.remove(ids[5]);
        assert_eq!(arena.insert(node("again"), 77), ids[5]);
        assert_eq!((arena.hash(ids[5]), arena.hash(ids[CHUNK + 2])), (77, CHUNK as u32 + 2));
        assert_eq!(arena[ids[CHUNK + 2]].name(), (CHUNK + 2).to_string().as_bytes());
        assert_eq!(arena.len(), CHUNK + 3);
    }
}
