//! What must hold, one file each, under the names of RELIABILITY.md section 3.
//!
//! An invariant sees every record together with what the oracle made of it, and says what is wrong.

mod b1_exact;
mod c1_linear;
mod c2_model;
mod c3_fifo;
mod c4_image;
mod c5_multi;
mod c6_sync;
mod l1_live;
mod s1_session;
mod s2_ephemeral;
mod s3_sequence;
mod s4_reaping;
mod w1_order;
mod w2_unique;
mod w3_reliable;
mod w4_foreign;
mod z3_order;
mod z5_durable;
mod z8_digest;

use crate::model::watch::Registry;
use crate::oracle::{Oracle, Terms};
use crate::record::{Conn, Record};
use std::fmt;

/// Something that must hold after every record.
pub trait Invariant: fmt::Debug {
    /// Its name in RELIABILITY.md and a word about it.
    fn name(&self) -> &'static str;

    /// Looks at a record, which the oracle has seen already; the error says what is wrong.
    fn check(&mut self, record: &Record, oracle: &Oracle) -> Result<(), String>;
}

/// What does not hold.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Violation {
    /// Which invariant.
    pub invariant: &'static str,
    /// What is wrong.
    pub what: String,
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} does not hold: {}", self.invariant, self.what)
    }
}

/// All invariants over one run.
#[derive(Debug)]
pub struct Judge {
    oracle: Oracle,
    invariants: Vec<Box<dyn Invariant>>,
}

impl Judge {
    /// A judge of a run from its first record on. Where several invariants would see the same
    /// fault, the one that names it best stands first.
    #[must_use]
    pub fn new(terms: Terms) -> Judge {
        let invariants: Vec<Box<dyn Invariant>> = vec![
            Box::new(z3_order::Order::default()),
            Box::new(z5_durable::Durable),
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
            Box::new(s1_session::Session::default()),
            Box::new(s3_sequence::Sequence::default()),
            Box::new(s4_reaping::Reaping),
            Box::new(s2_ephemeral::Ephemeral),
            Box::new(z8_digest::Digest),
            Box::new(b1_exact::Exact),
            Box::new(l1_live::Live),
        ];
        Judge { oracle: Oracle::new(terms), invariants }
    }

    /// A judge who knows only the invariant of this name; everything else may be wrong.
    #[must_use]
    pub fn only(terms: Terms, name: &str) -> Judge {
        let mut judge = Judge::new(terms);
        judge.invariants.retain(|invariant| invariant.name() == name);
        judge
    }

    /// The names of the invariants.
    pub fn names(&self) -> impl Iterator<Item = &'static str> {
        self.invariants.iter().map(|invariant| invariant.name())
    }

    /// The watches of a connection by the model.
    #[must_use]
    pub fn watches(&self, conn: Conn) -> Option<&Registry> {
        self.oracle.conns.get(&conn).map(|view| &view.watches)
    }

    /// Looks at the next record.
    pub fn see(&mut self, record: &Record) -> Result<(), Violation> {
        self.oracle.see(record);
        for invariant in &mut self.invariants {
            invariant
                .check(record, &self.oracle)
                .map_err(|what| Violation { invariant: invariant.name(), what })?;
        }
        Ok(())
    }
}

/// Bytes for a message.
fn shown(bytes: &[u8]) -> String {
    bytes.escape_ascii().to_string()
}
