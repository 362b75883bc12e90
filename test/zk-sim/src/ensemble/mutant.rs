//! Faults that are planted into the driver: what went wrong in ZooKeeper once, and what could go
//! wrong here. The simulator must find each of them.

use zk_zab::Planted;

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
    /// A commit between NEWLEADER and UPTODATE is lost, and learners take the next one for it
    /// (ZOOKEEPER-4394).
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
    /// A leader sends a history with a hole, and its learners take it (ZOOKEEPER-4925).
    HoleInHistory,
    /// Two replies to a client change places.
    SwappedReplies,
    /// A leader chooses how learners get its history by a longer window than it has, and they take
    /// it.
    WindowIsLonger,
    /// A wiped member votes again as soon as it has what was committed.
    MendsEarly,
    /// The end of a session that comes while a member synchronises does not reach its tree
    /// (ZOOKEEPER-5010).
    KeepsEphemerals,
    /// An event comes behind the reply that shows what it tells.
    EventAfterReply,
    /// An event comes twice.
    EventTwice,
    /// An event goes to another client.
    EventForOthers,
    /// A reply is lost.
    LostReply,
    /// A follower asks the leader twice for the same.
    ForwardsTwice,
    /// Sessions expire before their time.
    ExpiresEarly,
    /// Who is ahead of its leader keeps what it has.
    NeverTruncates,
    /// A leader goes on without its quorum.
    LeadsAlone,
    /// A leader counts itself before its own log has a txn.
    CountsItself,
    /// The ensemble is changed without a quorum of the new one.
    OldQuorumOnly,
    /// A member forgets what it knows of a change when it starts again.
    ForgetsConfig,
    /// A follower passes on what an observer's client wants of a session that has moved.
    PassesOldPlaces,
}

impl Mutant {
    /// All of them.
    pub const ALL: [Mutant; 39] = [
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
        Mutant::KeepsEphemerals,
        Mutant::EventAfterReply,
        Mutant::EventTwice,
        Mutant::EventForOthers,
        Mutant::LostReply,
        Mutant::ForwardsTwice,
        Mutant::ExpiresEarly,
        Mutant::NeverTruncates,
        Mutant::LeadsAlone,
        Mutant::CountsItself,
        Mutant::OldQuorumOnly,
        Mutant::ForgetsConfig,
        Mutant::PassesOldPlaces,
    ];

    /// Whether it shows itself only where members join and leave.
    #[must_use]
    pub fn is_of_changes(self) -> bool {
        matches!(self, Mutant::OldQuorumOnly | Mutant::ForgetsConfig)
    }

    /// Whether it shows itself only where followers feed observers.
    #[must_use]
    pub fn is_of_feeding(self) -> bool {
        self == Mutant::PassesOldPlaces
    }

    /// The rule of the machines that is broken with it.
    pub(crate) fn planted(self) -> Option<Planted> {
        Some(match self {
            Mutant::HoleInHistory | Mutant::WindowIsLonger => Planted::TakesGaps,
            Mutant::LostCommitWhileSynchronizing => Planted::TakesAnyCommit,
            Mutant::NeverTruncates => Planted::NeverTruncates,
            Mutant::LeadsAlone => Planted::LeadsAlone,
            Mutant::CountsItself => Planted::CountsItself,
            Mutant::OldQuorumOnly => Planted::OldQuorumOnly,
            Mutant::PassesOldPlaces => Planted::PassesOldPlaces,
            _ => return None,
        })
    }
}
