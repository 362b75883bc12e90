//! Faults that are planted into the driver: what went wrong in ZooKeeper once, and what could go
//! wrong here. The simulator must find each of them.

/// A planted fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Mutant {
    /// Txns count as logged when they are handed to the log (ZOOKEEPER-3023, 4646, 4685).
    AckBeforeLogged,
    /// The epoch is entered before the history of a synchronisation is on disk (ZOOKEEPER-4643,
    /// 4785).
    EnterBeforeLogged,
    /// The tree keeps what was cut off the log (ZOOKEEPER-2845).
    TreeKeepsWhatIsCut,
    /// A snapshot counts as taken before it is on disk (ZOOKEEPER-3104).
    SettleBeforeWritten,
    /// A snapshot is taken, and the old log stays behind it (ZOOKEEPER-3642).
    SettleKeepsLog,
    /// A commit between NEWLEADER and UPTODATE is lost (ZOOKEEPER-4394).
    LostCommitWhileSynchronizing,
    /// What was on its way to the log when a part ended comes to it later (ZOOKEEPER-4712).
    LogOutlivesPart,
    /// A member stands for less than it has (ZOOKEEPER-1154).
    StandsForLess,
    /// A wiped member votes at once (rule R5).
    WipedVotes,
    /// A damaged member votes after the next start.
    DamageIsForgotten,
    /// An epoch that is promised is not written.
    PromiseIsNotWritten,
    /// A leader serves as soon as it is elected (ZOOKEEPER-3911).
    LeadsEarly,
    /// A learner applies what is proposed, not what is committed.
    AppliesProposals,
    /// A leader commits what only it has.
    CommitsAlone,
    /// A follower answers a sync without asking the leader.
    SyncIsLocal,
    /// A member does not look what its clients have seen.
    ForgetsLastZxid,
    /// Every session that moves is alive.
    MovesAnySession,
    /// No session that moves is alive.
    MovesNoSession,
    /// Learners do not tell which sessions they heard.
    DeafLearners,
    /// An event of a watch is lost.
    LostEvent,
    /// A txn is applied twice.
    DoubleApply,
    /// A snapshot for a learner lacks the sessions.
    SnapshotWithoutSessions,
    /// A leader sends a history with a hole (ZOOKEEPER-4925); a learner refuses it, so nothing else
    /// happens.
    HoleInHistory,
    /// Two replies to a client change places.
    SwappedReplies,
    /// A leader chooses how learners get its history by a longer window than it has.
    WindowIsLonger,
    /// A wiped member votes again as soon as it has what was committed.
    MendsEarly,
}

impl Mutant {
    /// All of them.
    pub const ALL: [Mutant; 26] = [
        Mutant::AckBeforeLogged,
        Mutant::EnterBeforeLogged,
        Mutant::TreeKeepsWhatIsCut,
        Mutant::SettleBeforeWritten,
        Mutant::SettleKeepsLog,
        Mutant::LostCommitWhileSynchronizing,
        Mutant::LogOutlivesPart,
        Mutant::StandsForLess,
        Mutant::WipedVotes,
        Mutant::DamageIsForgotten,
        Mutant::PromiseIsNotWritten,
        Mutant::LeadsEarly,
        Mutant::AppliesProposals,
        Mutant::CommitsAlone,
        Mutant::SyncIsLocal,
        Mutant::ForgetsLastZxid,
        Mutant::MovesAnySession,
        Mutant::MovesNoSession,
        Mutant::DeafLearners,
        Mutant::LostEvent,
        Mutant::DoubleApply,
        Mutant::SnapshotWithoutSessions,
        Mutant::HoleInHistory,
        Mutant::SwappedReplies,
        Mutant::WindowIsLonger,
        Mutant::MendsEarly,
    ];
}
