//! Faults that the simulator plants into the machines, to see whether its checks notice them. Where
//! the feature `planted` is off, as in the server, there is none and nothing to turn on.

/// A rule that is not kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(not(feature = "planted"), expect(unreachable_pub, reason = "nobody else plants them"))]
#[non_exhaustive]
pub enum Planted {
    /// A learner takes a history with a hole (ZOOKEEPER-4925).
    TakesGaps,
    /// A learner takes each COMMIT for one of its oldest proposal.
    TakesAnyCommit,
    /// A leader sends a DIFF to who is ahead, and nothing is cut off.
    NeverTruncates,
    /// A leader goes on when its quorum is lost.
    LeadsAlone,
    /// A leader commits a change of the ensemble without a quorum of the new one.
    OldQuorumOnly,
    /// A leader counts itself before its own log has a txn.
    CountsItself,
    /// A follower passes on what an observer's client wants of a session that has moved.
    PassesOldPlaces,
}

/// What is wrong with a machine.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Faults {
    #[cfg(feature = "planted")]
    planted: Option<Planted>,
}

impl Faults {
    /// Exactly this.
    #[cfg(feature = "planted")]
    pub(crate) fn only(planted: Planted) -> Faults {
        Faults { planted: Some(planted) }
    }

    #[cfg(feature = "planted")]
    pub(crate) fn has(self, fault: Planted) -> bool {
        self.planted == Some(fault)
    }

    #[cfg(not(feature = "planted"))]
    #[expect(clippy::unused_self, reason = "as with the feature")]
    pub(crate) fn has(self, _: Planted) -> bool {
        false
    }
}
