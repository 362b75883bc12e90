//! What several unit tests need.

use crate::restore::Restore;
use zk_proto::acl::AclBytes;
use zk_proto::snapshot::{AclRecord, NodeRecord, SessionRecord};
use zk_proto::txn::{SetDataTxn, Txn, TxnEntry, TxnHeader};
use zk_proto::{Jute, StatPersisted, Text, Zxid};

/// Magic, version 2, dbid 0.
pub(crate) const LOG_HEADER: [u8; 16] = *b"ZKLG\0\0\0\x02\0\0\0\0\0\0\0\0";

/// The payload of a setData of `/a`.
pub(crate) fn set_data(zxid: i64, data: &[u8]) -> Vec<u8> {
    let header = TxnHeader { client_id: 7, cxid: 1, zxid, time_ms: 1, op: 5 };
    let txn = Txn::SetData(SetDataTxn { path: "/a".into(), data: Some(data), version: 1 });
    TxnEntry { header, txn, digest: None }.to_bytes()
}

/// Keeps what a snapshot holds, as bytes, and the zxids of the transactions behind it.
#[derive(Clone, Default, PartialEq, Eq, Debug)]
pub(crate) struct Tape {
    pub(crate) sessions: Vec<SessionRecord>,
    pub(crate) acls: Vec<u8>,
    pub(crate) nodes: Vec<u8>,
    pub(crate) snapshot: Option<Zxid>,
    pub(crate) txns: Vec<i64>,
    pub(crate) acl_count: i32,
}

impl Tape {
    /// Count and records, as a snapshot has them.
    pub(crate) fn acl_list(&self) -> Vec<u8> {
        let mut list = self.acl_count.to_bytes();
        list.extend_from_slice(&self.acls);
        list
    }

    /// A tape with so many znodes below the root, each of `data` bytes.
    pub(crate) fn with_nodes(count: usize, data: usize) -> Tape {
        let mut tape = Tape { acl_count: 1, ..Tape::default() };
        tape.sessions.push(SessionRecord { id: 0x0100_0000_0000_0001, timeout_ms: 10_000 });
        AclRecord { id: 1, acl: AclBytes::READ_ONLY }.write(&mut tape.acls);
        for i in 0..=count {
            let path = if i == 0 { String::new() } else { format!("/node-{i:08}") };
            let data = vec![i as u8; data];
            let stat = StatPersisted { czxid: i as i64, mzxid: i as i64, ..Default::default() };
            let path = Text::Owned(path);
            NodeRecord { path, data: Some(&data), acl_id: -1, stat }.write(&mut tape.nodes);
        }
        tape
    }
}

impl Restore for Tape {
    type Error = std::convert::Infallible;
    fn reset(&mut self) {
        *self = Tape::default();
    }
    fn session(&mut self, session: SessionRecord) -> Result<(), Self::Error> {
        self.sessions.push(session);
        Ok(())
    }
    fn acl(&mut self, acl: AclRecord<'_>) -> Result<(), Self::Error> {
        self.acl_count += 1;
        acl.write(&mut self.acls);
        Ok(())
    }
    fn node(&mut self, node: NodeRecord<'_>) -> Result<(), Self::Error> {
        node.write(&mut self.nodes);
        Ok(())
    }
    fn snapshot_done(&mut self, zxid: Zxid) -> Result<(), Self::Error> {
        self.snapshot = Some(zxid);
        Ok(())
    }
    fn txn(&mut self, entry: &TxnEntry<'_>) -> Result<(), Self::Error> {
        self.txns.push(entry.header.zxid);
        Ok(())
    }
    fn replayed(&self) -> Result<(), Self::Error> {
        Ok(())
    }

    fn digest(&self) -> Option<u64> {
        None
    }
}
