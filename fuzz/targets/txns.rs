//! Transactions as the log holds them, and what applying any of them does to a tree.
#![no_main]

use libfuzzer_sys::fuzz_target;
use zk_proto::snapshot::{AclRecord, FileHeader, NodeRecord, SessionRecord, ZxidDigest};
use zk_proto::txn::{Txn, TxnEntry, TxnHeader};
use zk_proto::{Jute, Reader};
use zk_tree::{Tree, TreeOptions};
use zkfleet_fuzz::{Tape, reads_back};

fuzz_target!(|input: &[u8]| {
    reads_back!(input, TxnHeader, AclRecord, FileHeader, NodeRecord, SessionRecord, ZxidDigest);
    entry_reads_back(input);
    let mut tree = Tree::new(TreeOptions { extended_types: true, hash_seed: 1 });
    let mut tape = Tape(input);
    while !tape.is_empty() {
        let part = tape.part();
        entry_reads_back(part);
        let Ok(entry) = TxnEntry::read(&mut Reader::new(part)) else { continue };
        tree.apply(&entry.header, &entry.txn, &mut ());
    }
    assert_eq!(tree.node_count(), 1 + tree.root().descendants() as usize);
});

fn entry_reads_back(bytes: &[u8]) {
    let read = TxnEntry::read(&mut Reader::new(bytes)).map(|entry| entry.txn);
    // A closeSession of two empty paths has the bytes of one without a list and with a digest; no
    // znode has such a path.
    match read {
        Ok(Txn::CloseSession(Some(paths))) if paths.iter().all(|path| path.is_empty()) => {}
        _ => reads_back!(bytes, TxnEntry),
    }
}
