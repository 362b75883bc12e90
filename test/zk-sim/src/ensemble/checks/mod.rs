//! What must hold of an ensemble, one file each, under the names of the table of invariants.
//!
//! A check sees every record together with what the annals made of it, and says what is wrong.

mod c1_linear;
mod c2_model;
mod c3_fifo;
mod c4_image;
mod c5_multi;
mod c6_sync;
mod c7_timely;
mod l1_live;
mod s1_session;
mod s2_ephemeral;
mod s3_sequence;
mod s4_reaping;
mod w1_order;
mod w2_unique;
mod w3_reliable;
mod w4_foreign;
mod z1_agreement;
mod z2_integrity;
mod z3_order;
mod z4_primary;
mod z5_durable;
mod z6_leader;
mod z7_promise;
mod z8_digest;

use super::annals::Annals;
pub use super::annals::Facts;
use super::record::Record;
use crate::invariants::Violation;
use crate::model::watch::Event;
use std::fmt;
use zk_proto::Sid;

/// Something that must hold after every record.
pub(crate) trait Check: fmt::Debug {
    /// Its name in the table and a word about it.
    fn name(&self) -> &'static str;

    /// Looks at a record, which the annals have seen already; the error says what is wrong.
    fn check(&mut self, record: &Record, annals: &Annals) -> Result<(), String>;
}

/// All checks over one run.
#[derive(Debug)]
pub struct Judge {
    annals: Annals,
    checks: Vec<Box<dyn Check>>,
}

impl Judge {
    /// A judge of a run from its first record on. Where several checks would see the same fault,
    /// the one that names it best stands first.
    #[must_use]
    pub fn new(facts: Facts) -> Judge {
        let checks: Vec<Box<dyn Check>> = vec![
            Box::new(z6_leader::Leader),
            Box::new(z7_promise::Promise),
            Box::new(z5_durable::Durable),
            Box::new(z3_order::Order::default()),
            Box::new(z4_primary::Primary::default()),
            Box::new(z2_integrity::Integrity::default()),
            Box::new(z1_agreement::Agreement::default()),
            Box::new(z8_digest::Digest),
            Box::new(w4_foreign::Foreign),
            Box::new(w1_order::Order::default()),
            Box::new(w2_unique::Unique),
            Box::new(w3_reliable::Reliable),
            Box::new(c3_fifo::Fifo::default()),
            Box::new(c4_image::Image::default()),
            Box::new(c1_linear::Linear),
            Box::new(c5_multi::Atomic),
            Box::new(c2_model::Model),
            Box::new(c6_sync::Sync),
            Box::new(c7_timely::Timely::default()),
            Box::new(s1_session::Session::default()),
            Box::new(s2_ephemeral::Ephemeral),
            Box::new(s3_sequence::Sequence::default()),
            Box::new(s4_reaping::Reaping),
            Box::new(l1_live::Live::default()),
        ];
        Judge { annals: Annals::new(facts), checks }
    }

    /// A judge who knows only the check of this name; everything else may be wrong.
    #[must_use]
    pub fn only(facts: Facts, name: &str) -> Judge {
        let mut judge = Judge::new(facts);
        judge.checks.retain(|check| check.name() == name);
        judge
    }

    /// The names of the checks.
    pub fn names(&self) -> impl Iterator<Item = &'static str> {
        self.checks.iter().map(|check| check.name())
    }

    /// Looks at the next record, which happens at this time in µs.
    pub fn see(&mut self, now_us: u64, record: &Record) -> Result<(), Violation> {
        self.annals.see(now_us, record);
        for check in &mut self.checks {
            check
                .check(record, &self.annals)
                .map_err(|what| Violation { invariant: check.name(), what })?;
        }
        Ok(())
    }

    /// How many txns are committed.
    #[must_use]
    pub fn committed(&self) -> usize {
        self.annals.count
    }

    /// Paths that are there by the model, for clients to use.
    pub(crate) fn known_paths(&self) -> Vec<String> {
        let Some(last) = self.annals.history.back() else { return Vec::new() };
        let paths = last.step.after.nodes.keys();
        let is_ours = |path: &&std::rc::Rc<str>| path.len() > 1 && !path.starts_with("/zookeeper");
        paths.filter(is_ours).map(|path| path.to_string()).collect()
    }
}

/// Whether a quorum of the voters is so, of each configuration that counts while the txns behind
/// `after` up to `zxid` are being committed. One that has lost its history meanwhile has no vote,
/// so it cannot be part of a quorum that is not so.
fn has_quorum(annals: &Annals, after: i64, zxid: i64, is_so: impl Fn(&Sid) -> bool) -> bool {
    let is_lost = |sid: &Sid| annals.members.get(sid).is_some_and(|view| view.is_lost);
    annals.voters(after, zxid).all(|voters| {
        voters.iter().filter(|sid| is_lost(sid) || is_so(sid)).count() > voters.len() / 2
    })
}

/// Those of `list` that are not in `other`, each counted.
fn beyond(list: &[Event], other: &[Event]) -> Vec<Event> {
    if list == other {
        return Vec::new();
    }
    let mut rest = other.to_vec();
    let mut beyond = Vec::new();
    for event in list {
        match rest.iter().position(|other| other == event) {
            Some(at) => drop(rest.swap_remove(at)),
            None => beyond.push(event.clone()),
        }
    }
    beyond
}

/// Whether two lists hold the same, in whatever order.
fn is_same(a: &[Event], b: &[Event]) -> bool {
    let (mut a, mut b) = (a.to_vec(), b.to_vec());
    a.sort_unstable();
    b.sort_unstable();
    a == b
}

/// Bytes for a message.
fn shown(bytes: &[u8]) -> String {
    bytes.escape_ascii().to_string()
}
