//! Storage without files: a list of transactions and a list of snapshots. Faults are simple here,
//! so whatever goes wrong lies with the pipeline.

use super::{Found, Loading, Refused, Storage};
use crate::rng::Rng;
use std::collections::{BTreeSet, VecDeque};
use zk_proto::acl::AclBytes;
use zk_proto::snapshot::{AclRecord, NodeRecord, SessionRecord};
use zk_proto::txn::TxnEntry;
use zk_proto::{Jute, Reader, SessionId, Zxid};
use zk_session::password::Passwords;
use zk_store::Restore;
use zk_tree::{SnapshotHead, TreeOptions};

/// How many snapshots are kept.
const KEPT: usize = 2;

#[derive(Clone, Debug)]
struct Snapshot {
    head: SnapshotHead,
    sessions: Vec<(SessionId, i32)>,
    nodes: Vec<u8>,
}

/// See the module.
#[derive(Debug)]
pub(crate) struct List {
    options: TreeOptions,
    queue: VecDeque<(i64, Vec<u8>)>,
    log: Vec<(i64, Vec<u8>)>,
    snapshots: Vec<Snapshot>,
    taking: Option<Snapshot>,
    /// Sessions that the keyed rule of passwords excepts, if it holds.
    legacy: Option<BTreeSet<SessionId>>,
    /// So many calls work before all others fail.
    calls_left: Option<usize>,
}

impl List {
    /// Nothing yet.
    pub(crate) fn new(options: TreeOptions) -> List {
        List {
            options,
            queue: VecDeque::new(),
            log: Vec::new(),
            snapshots: Vec::new(),
            taking: None,
            legacy: None,
            calls_left: None,
        }
    }

    fn call(&mut self) -> Result<(), Refused> {
        match &mut self.calls_left {
            Some(0) => Err(Refused("the disk is gone".into())),
            Some(left) => {
                *left -= 1;
                Ok(())
            }
            None => Ok(()),
        }
    }

    fn load(options: TreeOptions, snapshot: &Snapshot) -> Result<Loading, Refused> {
        let mut loading = Loading::new(options);
        let Snapshot { head, sessions, nodes } = snapshot;
        load_image(&mut loading, head, sessions, nodes)
            .map_err(|error| Refused(error.to_string()))?;
        Ok(loading)
    }
}

/// Loads a snapshot that is kept in memory.
pub(crate) fn load_image(
    loading: &mut Loading,
    head: &SnapshotHead,
    sessions: &[(SessionId, i32)],
    nodes: &[u8],
) -> Result<(), Box<dyn std::error::Error>> {
    for (id, timeout_ms) in sessions {
        loading.session(SessionRecord { id: id.0, timeout_ms: *timeout_ms })?;
    }
    for AclRecord { id, acl } in Vec::<AclRecord<'_>>::read(&mut Reader::new(&head.acls))? {
        loading.acl(AclRecord { id, acl: AclBytes::parse(acl.as_bytes())? })?;
    }
    let mut r = Reader::new(nodes);
    while !r.is_empty() {
        loading.node(NodeRecord::read(&mut r)?)?;
    }
    loading.snapshot_done(head.zxid)?;
    Ok(())
}

impl Storage for List {
    fn append(&mut self, zxid: i64, txn: &[u8]) {
        self.queue.push_back((zxid, txn.to_vec()));
    }

    fn waiting(&self) -> usize {
        self.queue.len()
    }

    fn commit(&mut self, most: usize) -> Result<Option<i64>, Refused> {
        self.call()?;
        let count = most.min(self.queue.len());
        self.log.extend(self.queue.drain(..count));
        Ok(if count == 0 { None } else { self.log.last().map(|(zxid, _)| *zxid) })
    }

    fn tend(&mut self, _: &mut Rng) -> Result<(), Refused> {
        if self.snapshots.len() > KEPT {
            self.snapshots.remove(0);
            let oldest = self.snapshots[0].head.zxid.0;
            self.log.retain(|(zxid, _)| *zxid > oldest);
        }
        self.call()
    }

    fn begin_snapshot(
        &mut self,
        head: &SnapshotHead,
        sessions: &[(SessionId, i32)],
    ) -> Result<(), Refused> {
        let (head, sessions) = (head.clone(), sessions.to_vec());
        self.taking = Some(Snapshot { head, sessions, nodes: Vec::new() });
        self.call()
    }

    fn add_nodes(&mut self, nodes: &[u8]) -> Result<(), Refused> {
        if let Some(taking) = &mut self.taking {
            taking.nodes.extend_from_slice(nodes);
        }
        self.call()
    }

    fn finish_snapshot(&mut self) -> Result<Found, Refused> {
        self.call()?;
        let Some(snapshot) = self.taking.take() else {
            return Err(Refused("there is no snapshot to finish".into()));
        };
        let found = List::load(self.options, &snapshot)?.found();
        self.snapshots.push(snapshot);
        Ok(found)
    }

    fn fill(&mut self, _: &mut Rng) -> String {
        "a list is never full".into()
    }

    fn make_space(&mut self) {}

    fn is_full(&self) -> bool {
        false
    }

    fn harm(&mut self, rng: &mut Rng) -> String {
        let left = rng.below(8);
        self.calls_left = Some(left);
        format!("the disk will fail after {left} calls")
    }

    fn is_harmed(&self) -> bool {
        self.calls_left.is_some()
    }

    /// A part of what was under way may have reached the disk all the same.
    fn crash(&mut self, rng: &mut Rng) -> &'static str {
        let survivors = rng.below(self.queue.len() + 1);
        self.log.extend(self.queue.drain(..survivors));
        self.queue.clear();
        self.taking = None;
        self.calls_left = None;
        "the process is killed"
    }

    fn recover(&mut self) -> Result<Found, Refused> {
        self.call()?;
        let mut loading = match self.snapshots.last() {
            Some(snapshot) => List::load(self.options, snapshot)?,
            None => Loading::new(self.options),
        };
        let from = self.snapshots.last().map_or(Zxid::ZERO, |snapshot| snapshot.head.zxid);
        for (_, txn) in self.log.iter().filter(|(zxid, _)| *zxid > from.0) {
            let entry =
                TxnEntry::read(&mut Reader::new(txn)).map_err(|e| Refused(e.to_string()))?;
            loading.txn(&entry).map_err(|e| Refused(e.to_string()))?;
        }
        self.call()?;
        Ok(loading.found())
    }

    fn settle_passwords(
        &mut self,
        wanted: Passwords,
        live: &BTreeSet<SessionId>,
    ) -> Result<Passwords, Refused> {
        let settled = wanted.after(self.legacy.as_ref(), live);
        let settled = settled.map_err(|error| Refused(error.to_string()))?;
        self.legacy = settled.legacy().cloned();
        Ok(settled)
    }
}
