//! What happened how often: every boundary at which a member may die, every transition of the
//! protocol, every kind of fault. What never happens in a long run is not tested by it.

/// Lists the points once, for the type, for their number and for their names.
macro_rules! points {
    ($($name:ident = $text:literal),* $(,)?) => {
        /// Something that is counted.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        #[allow(missing_docs)]
        #[non_exhaustive]
        pub enum Point { $(#[doc = $text] $name),* }

        impl Point {
            /// All of them, in their order.
            pub const ALL: &'static [Point] = &[$(Point::$name),*];

            /// What it is called in reports.
            #[must_use]
            pub fn name(self) -> &'static str {
                match self { $(Point::$name => $text),* }
            }

            /// Whether it happens only where members join and leave.
            #[must_use]
            pub fn is_of_changes(self) -> bool {
                matches!(
                    self,
                    Point::ConfigProposed
                        | Point::ConfigActivated
                        | Point::Reconfigured
                        | Point::ShutOut
                )
            }

            /// Whether it happens only where followers feed observers.
            #[must_use]
            pub fn is_of_feeding(self) -> bool {
                matches!(
                    self,
                    Point::Fed | Point::PassedUp | Point::MovedBehind | Point::SendMoved
                )
            }

            /// Whether it is a defence against members that are not as they should be: here it may
            /// happen, and need not.
            #[must_use]
            pub fn is_defence(self) -> bool {
                matches!(
                    self,
                    Point::LeftOldEpoch
                        | Point::LeftUnexpected
                        | Point::LeftGap
                        | Point::LeftWrongCommit
                        | Point::LeftCannotTruncate
                        | Point::LeftOther
                        | Point::StepDownOther
                        | Point::Helpless
                )
            }
        }
    };
}

points! {
    SendVote = "send: vote",
    SendInfo = "send: FOLLOWERINFO or OBSERVERINFO",
    SendAckEpoch = "send: ACKEPOCH",
    SendAck = "send: ACK",
    SendRequest = "send: REQUEST",
    SendRevalidate = "send: REVALIDATE",
    SendPong = "send: PING answered",
    SendLeaderInfo = "send: LEADERINFO",
    SendDiff = "send: DIFF",
    SendTrunc = "send: TRUNC",
    SendSnap = "send: SNAP",
    SendSnapshot = "send: snapshot",
    SendNewLeader = "send: NEWLEADER",
    SendUpToDate = "send: UPTODATE",
    SendProposal = "send: PROPOSAL",
    SendCommit = "send: COMMIT",
    SendInform = "send: INFORM",
    SendPing = "send: PING",
    SendSync = "send: SYNC",
    SendRevalidated = "send: REVALIDATE answered",
    SendMoved = "send: MOVED",
    Append = "append to the log",
    LogDone = "log is on disk",
    LogTold = "peer knows that the log is on disk",
    AcceptedBegun = "acceptedEpoch: begun",
    AcceptedDone = "acceptedEpoch: on disk",
    CurrentBegun = "currentEpoch: begun",
    CurrentDone = "currentEpoch: on disk",
    TruncateBegun = "truncate: begun",
    TruncateDone = "truncate: done",
    SettleBegun = "new history: begun",
    SettleDone = "new history: done",
    RestBegun = "rest: begun",
    RestDone = "rest: everything on disk",
    NoteDamaged = "note: no vote",
    NoteWhole = "note: a vote again",
    OwnSnapshot = "own snapshot",
    Apply = "apply",
    ToClient = "frame to a client",
    Established = "session established",
    CloseClient = "client's connection closed",
    Looked = "part: looks",
    LookedEmpty = "part: looks with nothing",
    Helpless = "part: nobody leads unless an operator helps",
    Joined = "part: joins a leader",
    JoinedAnybody = "part: asks everybody who leads",
    Reigned = "part: elected",
    Led = "part: leads",
    Followed = "part: follows or observes",
    LookUp = "look-up in the log",
    LookUpFound = "look-up in the log: found",
    ProposedWhileSynchronizing = "proposals follow NEWLEADER",
    LeftOldEpoch = "leave: old epoch",
    LeftUnexpected = "leave: unexpected packet",
    LeftGap = "leave: gap",
    LeftWrongCommit = "leave: wrong commit",
    LeftSilent = "leave: silent leader",
    LeftCannotTruncate = "leave: cannot truncate",
    LeftOther = "leave: other",
    Lost = "leave: no connection",
    StepDownNoQuorum = "step down: no quorum came",
    StepDownLostQuorum = "step down: quorum lost",
    StepDownOwnLog = "step down: own log",
    StepDownOther = "step down: other",
    Mended = "mended",
    RefusedLearner = "learner refused",
    RefusedSilent = "learner refused: silent",
    SessionExpired = "session expired",
    SessionMoved = "session moved",
    SessionGone = "client told that its session is gone",
    Reaped = "container or TTL znode reaped",
    Event = "event of a watch",
    CaughtUp = "watches set again",
    ReadAside = "read beside the pipeline",
    FaultCrash = "fault: crash",
    FaultCrashSoon = "fault: crash at a boundary",
    FaultPowerLoss = "fault: power lost, connections half-open",
    FaultWipe = "fault: disk wiped",
    FaultCrashAll = "fault: all crash",
    Proved = "a leader shows that it has a quorum",
    ConfigProposed = "a configuration is proposed",
    ConfigActivated = "a configuration counts",
    Reconfigured = "the ensemble is changed",
    ShutOut = "a member that is none any more lets its clients go",
    Fed = "an observer came to a follower",
    PassedUp = "an observer's request went to the leader",
    MovedBehind = "a session moved behind a follower",
    FaultCut = "fault: connections broken",
    FaultHalfOpen = "fault: connection half-open",
    FaultPartition = "fault: member cut off",
    FaultOneWay = "fault: one direction cut off",
    FaultPartial = "fault: two members cut off from one another",
    FaultSlowNet = "fault: slow network",
    FaultSlowDisk = "fault: slow disk",
    FaultDiskError = "fault: disk error",
    FaultPause = "fault: process stands still",
    FaultWallJump = "fault: wall clock jumps",
    FaultDrift = "fault: clock drifts",
    FaultClientCut = "fault: client cut off",
    FaultClientGone = "fault: client is silent",
}

const COUNT: usize = Point::ALL.len();

/// Counts of a run, or of many.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Coverage {
    hits: [u64; COUNT],
    deaths: [u64; COUNT],
}

impl Default for Coverage {
    fn default() -> Coverage {
        Coverage { hits: [0; COUNT], deaths: [0; COUNT] }
    }
}

impl Coverage {
    pub(crate) fn hit(&mut self, point: Point) {
        self.hits[point as usize] += 1;
    }

    pub(crate) fn died(&mut self, point: Point) {
        self.deaths[point as usize] += 1;
    }

    /// How often it happened.
    #[must_use]
    pub fn hits(&self, point: Point) -> u64 {
        self.hits[point as usize]
    }

    /// How often a member died just there.
    #[must_use]
    pub fn deaths(&self, point: Point) -> u64 {
        self.deaths[point as usize]
    }

    /// Adds another run's counts.
    pub fn add(&mut self, other: &Coverage) {
        for at in 0..COUNT {
            self.hits[at] += other.hits[at];
            self.deaths[at] += other.deaths[at];
        }
    }

    /// The faults of all kinds together.
    #[must_use]
    pub fn faults(&self) -> u64 {
        let is_fault = |point: &&Point| point.name().starts_with("fault: ");
        Point::ALL.iter().filter(is_fault).map(|point| self.hits(*point)).sum()
    }

    /// What never happened, and should have.
    pub fn unhit(&self) -> impl Iterator<Item = Point> {
        let all = Point::ALL.iter().copied();
        let is_special =
            |point: &Point| point.is_defence() || point.is_of_changes() || point.is_of_feeding();
        all.filter(move |point| self.hits(*point) == 0 && !is_special(point))
    }

    /// A line for each point: how often it happened, and how often a member died there.
    #[must_use]
    pub fn table(&self) -> String {
        let line = |point: &Point| {
            format!("{:10} {:8}  {}\n", self.hits(*point), self.deaths(*point), point.name())
        };
        let head = "      hits   deaths  what\n".to_string();
        head + &Point::ALL.iter().map(line).collect::<String>()
    }
}
