//! A member's disk: epochs and a log, of which the end may not be written yet.

use std::collections::VecDeque;

use zk_proto::txn::{SetDataTxn, TxnHeader};
use zk_proto::{Epoch, Jute, OpCode, Reader, Zxid};
use zk_zab::Configs;

/// A txn and who made it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Txn {
    pub zxid: Zxid,
    pub tag: u64,
    /// The configuration that it proposes.
    pub config: Option<String>,
}

impl Txn {
    pub fn read(bytes: &[u8]) -> Txn {
        let mut r = Reader::new(bytes);
        let header = TxnHeader::read(&mut r).unwrap();
        let config = match zk_proto::txn::Txn::read(header.op, &mut r) {
            Ok(zk_proto::txn::Txn::Reconfig(set)) => {
                Some(String::from_utf8(set.data.unwrap().to_vec()).unwrap())
            }
            _ => None,
        };
        Txn { zxid: Zxid(header.zxid), tag: header.client_id as u64, config }
    }

    pub fn to_bytes(&self) -> Vec<u8> {
        let op = if self.config.is_some() { OpCode::Reconfig } else { OpCode::Error };
        let (client_id, zxid) = (self.tag as i64, self.zxid.0);
        let header = TxnHeader { client_id, cxid: 0, zxid, time_ms: 0, op: op.code() };
        let mut bytes = header.to_bytes();
        match &self.config {
            Some(text) => {
                let path = zk_proto::path::CONFIG.into();
                SetDataTxn { path, data: Some(text.as_bytes()), version: -1 }.write(&mut bytes);
            }
            None => 0i32.write(&mut bytes),
        }
        bytes
    }
}

/// What is to be done, in order.
#[derive(Clone, Debug)]
pub enum Io {
    Accepted(Epoch),
    Current(Epoch),
    Append(Txn),
    Truncate(Zxid),
    /// What was taken beside becomes the log.
    Settle(Vec<Txn>),
}

#[derive(Clone, Debug, Default)]
pub struct Disk {
    pub accepted: Epoch,
    pub current: Epoch,
    pub log: Vec<Txn>,
    /// Written at once, before anything that needs them.
    pub configs: Configs,
    /// It was wiped, and has not got the history of a leader since.
    pub is_damaged: bool,
    /// What is to be done in the files of the epochs, and in the log: each in order, and neither
    /// waits for the other.
    work: [VecDeque<Io>; 2],
}

impl Disk {
    pub fn new(configs: Configs) -> Disk {
        Disk { configs, ..Disk::default() }
    }

    pub fn is_empty(&self) -> bool {
        self.log.is_empty() && self.accepted.0 == 0 && self.current.0 == 0
    }

    pub fn last(&self) -> Zxid {
        self.log.last().map_or(Zxid::ZERO, |txn| txn.zxid)
    }

    pub fn history(&self) -> Vec<(Zxid, u64)> {
        self.log.iter().map(|txn| (txn.zxid, txn.tag)).collect()
    }

    pub fn begin(&mut self, io: Io) {
        let file = usize::from(!matches!(io, Io::Accepted(_) | Io::Current(_)));
        self.work[file].push_back(io);
    }

    pub fn has_work(&self) -> bool {
        self.work.iter().any(|work| !work.is_empty())
    }

    pub fn is_cutting(&self) -> bool {
        self.work[1].iter().any(|io| matches!(io, Io::Truncate(_)))
    }

    /// Does the oldest thing that is to be done, in one kind of file if there is something.
    pub fn complete(&mut self, file: usize) -> Option<Io> {
        let other = self.work[1 - file % 2].pop_front();
        let io = match self.work[file % 2].pop_front() {
            Some(io) => {
                other.into_iter().for_each(|io| self.work[1 - file % 2].push_front(io));
                io
            }
            None => other?,
        };
        match &io {
            Io::Accepted(epoch) => self.accepted = *epoch,
            Io::Current(epoch) => self.current = *epoch,
            Io::Append(txn) => self.log.push(txn.clone()),
            Io::Truncate(zxid) => self.log.retain(|txn| txn.zxid <= *zxid),
            Io::Settle(log) => self.log = log.clone(),
        }
        Some(io)
    }

    /// The power goes; so much of what was to be done was done all the same.
    pub fn crash(&mut self, kept: usize) {
        for (file, work) in self.work.clone().iter().enumerate() {
            for _ in 0..work.len().min(kept >> (2 * file) & 3) {
                self.complete(file);
            }
        }
        self.work.iter_mut().for_each(VecDeque::clear);
    }
}
