//! What every record means: which txns are committed and what the model makes of them, what is on
//! whose disk, who asked for what.
//!
//! The annals follow a run and work each record out once, into a [`Fact`]; the checks only compare.
//! They know nothing of the members but the records.

mod clients;
mod disks;
mod history;

pub(crate) use clients::{Asked, ConnView};
pub(crate) use disks::MemberView;
pub(crate) use history::{Committed, Proposal};

use super::record::Record;
use crate::model::read::Reply;
use crate::model::state::State;
use crate::model::watch::Event;
use crate::oracle::Settlement;
use crate::record::Conn;
use std::collections::{BTreeMap, VecDeque};
use std::rc::Rc;
use zk_proto::response::ReplyHeader;
use zk_proto::{Jute, Sid};

/// What must be known of the ensemble.
#[derive(Clone, Debug)]
pub struct Facts {
    /// Who votes.
    pub voters: Vec<Sid>,
    /// Followers feed observers.
    pub feeds: bool,
    /// `tickTime` in ms.
    pub tick_ms: i64,
    /// `syncLimit` in ms.
    pub sync_ms: i64,
    /// `initLimit` in ms.
    pub init_ms: i64,
}

/// What a record means.
#[derive(Clone, Debug)]
pub(crate) enum Fact {
    /// Nothing more than it says.
    Plain,
    /// Txns became committed: those in the history behind this zxid.
    Commits {
        /// The last one before.
        after: i64,
    },
    /// A handshake was answered with a session, or with none.
    Handshake {
        /// On which connection.
        conn: Conn,
        /// Which session; 0 for none.
        session: i64,
        /// The session that was asked for.
        wanted: i64,
    },
    /// A notification.
    Event {
        /// On which connection.
        conn: Conn,
        /// What it says.
        event: Event,
    },
    /// A reply.
    Replied {
        /// On which connection.
        conn: Conn,
        /// Its header.
        header: ReplyHeader,
        /// The request whose turn it is, if any waits.
        asked: Option<Box<Asked>>,
        /// The txn that it answers.
        zxid: Option<i64>,
        /// What the model says; `None` if it has no such state.
        expected: Option<Reply>,
        /// Catch-up events: due and sent.
        missed: (Vec<Event>, Vec<Event>),
    },
}

/// So many of the newest txns are looked through one by one.
const NEWEST: usize = 16;
/// So many txns of the past are kept.
const KEPT: usize = 3000;

/// See the module.
#[derive(Debug)]
pub(crate) struct Annals {
    /// The ensemble.
    pub(crate) facts: Facts,
    /// The true time, in µs.
    pub(crate) now_us: u64,
    /// What is known of each member.
    pub(crate) members: BTreeMap<Sid, MemberView>,
    /// What leaders have made and is not committed yet, and some of what is.
    pub(crate) proposals: BTreeMap<i64, Proposal>,
    /// What is committed, oldest first; the first one is the empty tree or a state of the past.
    pub(crate) history: VecDeque<Committed>,
    /// How many were committed in all.
    pub(crate) count: usize,
    /// Connections that members have.
    pub(crate) conns: BTreeMap<Conn, ConnView>,
    /// The newest write that some client knows to be done.
    pub(crate) completed: i64,
    /// Who led in which epoch, and whether it was the last to begin.
    pub(crate) leaders: BTreeMap<i32, Sid>,
    /// When the faults ended, in µs.
    pub(crate) healed_us: Option<u64>,
    /// Who votes, from which txn on: one line for each change of the ensemble.
    configs: Vec<(i64, Vec<Sid>)>,
    /// What the latest record meant.
    pub(crate) fact: Fact,
    /// Events that were settled by the latest record.
    pub(crate) settled: Vec<Settlement>,
    /// Requests that may become txns, by session and xid.
    requests: BTreeMap<(i64, i32), Rc<Asked>>,
    /// Txns that answer requests, by session and xid.
    answers: BTreeMap<(i64, i32), i64>,
    wires: BTreeMap<Conn, clients::Wire>,
}

impl Annals {
    /// Before the first record.
    #[must_use]
    pub(crate) fn new(facts: Facts) -> Annals {
        Annals {
            configs: vec![(0, facts.voters.clone())],
            facts,
            now_us: 0,
            members: BTreeMap::new(),
            proposals: BTreeMap::new(),
            history: VecDeque::from([Committed::first()]),
            count: 0,
            conns: BTreeMap::new(),
            completed: 0,
            leaders: BTreeMap::new(),
            healed_us: None,
            fact: Fact::Plain,
            settled: Vec::new(),
            requests: BTreeMap::new(),
            answers: BTreeMap::new(),
            wires: BTreeMap::new(),
        }
    }

    /// The last committed txn.
    #[must_use]
    pub(crate) fn last(&self) -> i64 {
        self.history.back().map_or(0, |committed| committed.zxid)
    }

    /// A committed txn.
    #[must_use]
    pub(crate) fn committed(&self, zxid: i64) -> Option<&Committed> {
        self.position(zxid).and_then(|at| self.history.get(at))
    }

    /// Who votes in all that counts while txns behind `after` up to `zxid` are being committed: a
    /// change needs a quorum of before, and one of its own.
    pub(crate) fn voters(&self, after: i64, zxid: i64) -> impl Iterator<Item = &[Sid]> {
        let from = self.configs.partition_point(|(since, _)| *since <= after).max(1) - 1;
        let due = self.configs[from..].iter().take_while(move |(since, _)| *since <= zxid);
        due.map(|(_, voters)| &**voters)
    }

    /// Where it is in the history.
    #[must_use]
    pub(crate) fn position(&self, zxid: i64) -> Option<usize> {
        let at = self.first_behind(zxid).checked_sub(1)?;
        (self.history[at].zxid == zxid).then_some(at)
    }

    /// Those behind `after` up to `zxid`.
    pub(crate) fn between(&self, after: i64, zxid: i64) -> impl Iterator<Item = &Committed> {
        let from = self.first_behind(after);
        self.history.range(from..).take_while(move |committed| committed.zxid <= zxid)
    }

    /// Where the first one behind a zxid is.
    fn first_behind(&self, after: i64) -> usize {
        // The newest are asked for most.
        let mut newest = self.history.iter().rev().take(NEWEST);
        match newest.position(|committed| committed.zxid <= after) {
            Some(back) => self.history.len() - back,
            None => self.history.partition_point(|committed| committed.zxid <= after),
        }
    }

    /// The model's state at a zxid.
    #[must_use]
    pub(crate) fn state(&self, zxid: i64) -> Option<&Rc<State>> {
        self.committed(zxid).map(|committed| &committed.step.after)
    }

    /// Whether the end of a session is proposed.
    #[must_use]
    pub(crate) fn is_closing(&self, session: i64) -> bool {
        let under_way = self.proposals.range(self.last() + 1..);
        under_way.map(|(_, proposal)| proposal).any(|proposal| {
            let mut r = zk_proto::Reader::new(&proposal.txn);
            let entry = zk_proto::txn::TxnEntry::read(&mut r);
            entry.is_ok_and(|it| {
                it.header.client_id == session
                    && it.header.op == zk_proto::OpCode::CloseSession.code()
            })
        })
    }

    /// Works the next record out.
    pub(crate) fn see(&mut self, now_us: u64, record: &Record) {
        self.now_us = now_us;
        self.settled.clear();
        self.fact = Fact::Plain;
        match record {
            Record::Proposed { sid, zxid, txn } => self.proposed(*sid, zxid.0, txn),
            Record::Committed { zxid, .. } => self.commits(zxid.0),
            Record::Leads { sid, epoch } => self.leads(*sid, *epoch),
            Record::Healed => self.healed_us = Some(now_us),
            Record::Accepted { sid, conn, ip } => {
                self.conns.insert(*conn, ConnView::new(*sid, ip));
            }
            Record::Invoked { conn, frame, .. } => self.invoked(*conn, frame),
            Record::Submitted { conn, .. } => self.submitted(*conn),
            Record::Sent { conn, frame, .. } => self.sent(*conn, frame),
            Record::Received { conn, frame } => self.received(*conn, frame),
            Record::Gone { conn, .. } => {
                self.conns.remove(conn);
            }
            Record::Applied { sid, zxid, .. } => {
                self.applied(*sid, zxid.0);
                self.settle_all(*sid, zxid.0);
            }
            other => self.on_disk(other),
        }
    }
}
