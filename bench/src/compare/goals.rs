//! What our server must reach, and by which document.

use crate::metric::{Better, Metric};

/// Where a goal comes from.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Source {
    /// The issue that builds the server: it must be reached.
    Bar,
    /// The performance goals of the project: to be reached in time.
    Goal,
}

/// Against what.
#[derive(Clone, Copy, PartialEq, Debug)]
pub enum Bound {
    /// So many times the better Apache of the same run.
    Apache(f64),
    /// So many times the floor of the same run.
    Floor(f64),
    /// In the metric's own unit.
    Absolute(f64),
}

/// One goal.
#[derive(Clone, Copy, Debug)]
pub struct Goal {
    /// The load's name.
    pub load: &'static str,
    /// The figure.
    pub metric: Metric,
    /// At least this, or at most, by the metric.
    pub bound: Bound,
    /// Who says so.
    pub source: Source,
}

const fn bar(load: &'static str, metric: Metric, bound: Bound) -> Goal {
    Goal { load, metric, bound, source: Source::Bar }
}

const fn goal(load: &'static str, metric: Metric, bound: Bound) -> Goal {
    Goal { load, metric, bound, source: Source::Goal }
}

use Bound::{Absolute, Apache, Floor};
use Metric::{
    AttackedReadP99Ratio, AttackedWriteP99Ratio, BootLogMs, BootSnapshotMs, CpuUsPerOp,
    FirstAnswerMs, FirstWriteMs, GoodClientsFailed, GrowthMib, LoadedRssMb, OpsPerS, OutageMs,
    P50Us, RejoinMs, RssBytesPerSession, RssMb, ServersEnded, SessionsPerS, SnapshotP99Ratio,
    TailRatio, WriteGapMs,
};

/// Those of a standalone server.
const STANDALONE: &[Goal] = &[
    bar("get-1x1", CpuUsPerOp, Apache(1.0 / 8.0)),
    goal("get-1x1", CpuUsPerOp, Apache(1.0 / 10.0)),
    goal("get-1x1", P50Us, Apache(1.0 / 4.0)),
    goal("get-1x1", P50Us, Floor(1.3)),
    goal("get-64x1", CpuUsPerOp, Apache(1.0 / 4.0)),
    bar("get-16x32", OpsPerS, Apache(8.0)),
    goal("get-16x32", OpsPerS, Apache(10.0)),
    goal("get-16x32", CpuUsPerOp, Apache(1.0 / 20.0)),
    goal("get-64x32-1k", OpsPerS, Apache(10.0)),
    bar("set-1x1", P50Us, Apache(0.6)),
    goal("set-1x1", P50Us, Apache(0.5)),
    goal("set-1x1", P50Us, Floor(1.25)),
    goal("set-64x1", OpsPerS, Apache(3.5)),
    goal("set-64x1", CpuUsPerOp, Absolute(13.0)),
    bar("set-16x32", OpsPerS, Apache(7.0)),
    goal("set-16x32", OpsPerS, Apache(12.0)),
    goal("set-16x32", CpuUsPerOp, Apache(1.0 / 15.0)),
    bar("create-16x32", OpsPerS, Apache(7.0)),
    goal("create-16x32", OpsPerS, Apache(10.0)),
    goal("create-16x32", CpuUsPerOp, Apache(1.0 / 12.0)),
    goal("createseq-16x32", OpsPerS, Apache(10.0)),
    goal("createseq-16x32", CpuUsPerOp, Apache(1.0 / 12.0)),
    bar("createdelete-16x32", OpsPerS, Apache(7.0)),
    goal("createdelete-16x32", OpsPerS, Apache(10.0)),
    goal("createdelete-16x32", CpuUsPerOp, Apache(1.0 / 12.0)),
    goal("ephemeral-16x32", OpsPerS, Apache(10.0)),
    goal("ephemeral-16x32", CpuUsPerOp, Apache(1.0 / 12.0)),
    goal("multi10-16x8", CpuUsPerOp, Apache(1.0 / 15.0)),
    goal("open-get-5000", TailRatio, Absolute(10.0)),
    goal("open-get-15000", TailRatio, Absolute(10.0)),
    goal("open-set-500", TailRatio, Absolute(10.0)),
    goal("open-set-10000", TailRatio, Absolute(10.0)),
    goal("watch-1000", P50Us, Apache(1.0 / 5.0)),
    goal("watch-1000", CpuUsPerOp, Apache(1.0 / 8.0)),
    goal("churn-64", OpsPerS, Apache(8.0)),
    goal("churn-64", CpuUsPerOp, Apache(1.0 / 8.0)),
    bar("empty", FirstAnswerMs, Absolute(50.0)),
    bar("empty", RssMb, Absolute(6.0)),
    goal("empty", RssMb, Absolute(3.0)),
    bar("sessions-10000", SessionsPerS, Absolute(20_000.0)),
    // "under 2 KB" and "1.5 KB a member": thousands of bytes, as RSS is in millions.
    bar("sessions-10000", RssBytesPerSession, Absolute(2_000.0)),
    goal("sessions-10000", RssBytesPerSession, Absolute(1_500.0)),
    bar("znodes-1000000", LoadedRssMb, Absolute(250.0)),
    goal("znodes-1000000", LoadedRssMb, Absolute(200.0)),
    goal("znodes-1000000", OpsPerS, Absolute(500_000.0)),
    goal("znodes-1000000", CpuUsPerOp, Absolute(1.2)),
    bar("znodes-1000000", BootLogMs, Absolute(1_000.0)),
    goal("znodes-1000000", BootLogMs, Absolute(500.0)),
    bar("znodes-1000000", BootSnapshotMs, Absolute(600.0)),
    goal("znodes-1000000", BootSnapshotMs, Absolute(300.0)),
    bar("znodes-1000000", SnapshotP99Ratio, Absolute(1.3)),
    goal("hostile", AttackedReadP99Ratio, Absolute(2.0)),
    goal("hostile", AttackedWriteP99Ratio, Absolute(2.0)),
    goal("hostile", GrowthMib, Absolute(64.0)),
    goal("hostile", GoodClientsFailed, Absolute(0.0)),
    goal("hostile", ServersEnded, Absolute(0.0)),
];

/// Those of three members on one machine. Processor time is that of all of them.
const THREE_MEMBERS: &[Goal] = &[
    bar("set-1x1@leader", P50Us, Apache(0.45)),
    goal("set-1x1@leader", P50Us, Apache(0.4)),
    bar("set-1x1@follower", P50Us, Apache(0.45)),
    goal("set-1x1@follower", P50Us, Apache(0.4)),
    bar("set-16x32", OpsPerS, Apache(8.0)),
    bar("set-16x32", CpuUsPerOp, Apache(1.0 / 12.0)),
    goal("set-16x32", CpuUsPerOp, Apache(1.0 / 15.0)),
    bar("leader-killed", WriteGapMs, Absolute(200.0)),
    goal("leader-killed", WriteGapMs, Absolute(150.0)),
    // What a client adds to that is its own patience with a member that says nothing.
    goal("leader-unreachable", OutageMs, Absolute(2_000.0)),
    bar("empty", FirstWriteMs, Absolute(400.0)),
    goal("empty", FirstWriteMs, Absolute(300.0)),
    bar("rejoin-1000000", RejoinMs, Apache(1.0 / 5.0)),
];

/// The goals for ensembles of so many members.
#[must_use]
pub fn goals(members: usize) -> &'static [Goal] {
    match members {
        0 | 1 => STANDALONE,
        3 => THREE_MEMBERS,
        _ => &[],
    }
}

/// The medians that a goal is judged by.
#[derive(Clone, Copy, Debug, Default)]
pub struct Medians {
    /// Our server's.
    pub ours: Option<f64>,
    /// The better Apache's.
    pub apache: Option<f64>,
    /// The floor's.
    pub floor: Option<f64>,
}

impl Goal {
    /// Whether it is reached; `None` when something needed was not measured.
    #[must_use]
    pub fn is_reached(&self, medians: &Medians) -> Option<bool> {
        let limit = match self.bound {
            Bound::Apache(times) => times * medians.apache?,
            Bound::Floor(times) => times * medians.floor?,
            Bound::Absolute(limit) => limit,
        };
        let ours = medians.ours?;
        Some(match self.metric.better() {
            Better::Higher => ours >= limit,
            Better::Lower => ours <= limit,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::compare::jobs::{ALL, Job, OF_ENSEMBLES};

    #[test]
    fn every_goal_s_figure_is_measured_and_shown() {
        let standalone = goals(1).iter().map(|goal| (goal, &ALL[..]));
        let ensembles = goals(3).iter().map(|goal| (goal, &OF_ENSEMBLES[..]));
        for (goal, loads) in standalone.chain(ensembles) {
            assert!(loads.contains(&goal.load), "{goal:?}");
            let job: Job = goal.load.parse().unwrap();
            assert!(job.shown().contains(&goal.metric), "{goal:?}");
        }
    }

    #[test]
    fn goals_are_judged_by_the_way_that_is_better() {
        let medians = |ours| Medians { ours: Some(ours), apache: Some(100.0), floor: Some(10.0) };
        let more = bar("", OpsPerS, Apache(8.0));
        assert_eq!(more.is_reached(&medians(800.0)), Some(true));
        assert_eq!(more.is_reached(&medians(799.0)), Some(false));
        let less = goal("", P50Us, Floor(1.3));
        assert_eq!(less.is_reached(&medians(13.0)), Some(true));
        assert_eq!(less.is_reached(&medians(13.1)), Some(false));
        assert_eq!(more.is_reached(&Medians { apache: None, ..medians(1.0) }), None);
    }
}
