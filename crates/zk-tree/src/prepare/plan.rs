//! What preparing a transaction found out of the tree, so that applying need not look again.
//!
//! **Invariant:** applying makes the same changes in the same order as preparing did. A debug build
//! checks each step against the tree. In every build the digest tells of a wrong znode; of wrong
//! content it tells where it is worked out anew, now and then (`zk_core`).

use crate::node::NodeId;
use std::collections::VecDeque;
use std::collections::vec_deque;
use zk_proto::Zxid;

/// One changed znode of an outstanding transaction.
#[derive(Clone, Copy, Debug)]
pub(super) struct Planned {
    pub(super) zxid: Zxid,
    /// Where its change stands in the table of changes.
    pub(super) hash: u64,
    pub(super) step: Step,
}

/// What is known of a change before it is made.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Step {
    /// The znode, if it was in the tree already.
    pub(crate) id: Option<NodeId>,
    /// Its summand of the digest afterwards.
    pub(crate) crc: u32,
}

/// The steps of the oldest outstanding transaction.
#[derive(Debug)]
pub struct Plan<'p> {
    zxid: Zxid,
    steps: vec_deque::Iter<'p, Planned>,
}

static NOTHING: VecDeque<Planned> = VecDeque::new();

impl<'p> Plan<'p> {
    pub(super) fn new(zxid: Zxid, order: &'p VecDeque<Planned>) -> Plan<'p> {
        Plan { zxid, steps: order.iter() }
    }

    /// Of a transaction that somebody else prepared.
    #[must_use]
    pub fn none() -> Plan<'static> {
        Plan { zxid: Zxid::ZERO, steps: NOTHING.iter() }
    }

    /// The next step, if it is known.
    pub(crate) fn next(&mut self) -> Option<Step> {
        let planned = self.steps.next()?;
        if planned.zxid != self.zxid {
            *self = Plan::none();
            return None;
        }
        Some(planned.step)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_plan_ends_with_its_transaction() {
        let step = |zxid, crc| Planned { zxid: Zxid(zxid), hash: 0, step: Step { id: None, crc } };
        let order = VecDeque::from([step(3, 1), step(3, 2), step(4, 3), step(3, 4)]);
        let crcs = |zxid| {
            let mut plan = Plan::new(Zxid(zxid), &order);
            std::iter::from_fn(|| plan.next()).map(|step| step.crc).collect::<Vec<_>>()
        };
        assert_eq!(crcs(3), [1, 2]);
        assert_eq!(crcs(2), [0; 0], "it was prepared by somebody else");
    }
}
