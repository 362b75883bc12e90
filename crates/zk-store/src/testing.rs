//! What several unit tests need.

use zk_proto::Jute;
use zk_proto::txn::{SetDataTxn, Txn, TxnEntry, TxnHeader};

/// Magic, version 2, dbid 0.
pub(crate) const LOG_HEADER: [u8; 16] = *b"ZKLG\0\0\0\x02\0\0\0\0\0\0\0\0";

/// The payload of a setData of `/a`.
pub(crate) fn set_data(zxid: i64, data: &[u8]) -> Vec<u8> {
    let header = TxnHeader { client_id: 7, cxid: 1, zxid, time_ms: 1, op: 5 };
    let txn = Txn::SetData(SetDataTxn { path: "/a".into(), data: Some(data), version: 1 });
    TxnEntry { header, txn, digest: None }.to_bytes()
}
