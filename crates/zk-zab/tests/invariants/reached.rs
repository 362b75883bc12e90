//! `ShouldBeTriggered1` of the election's specification is there to be violated: a quorum follows
//! one leader in a later epoch than the third. If no world came there, the others would say little.

use super::SEEN;
use crate::world::view::View;

pub fn should_be_triggered1(view: &View) -> bool {
    let voters = view.members.len();
    view.leaders().any(|(sid, leader)| {
        let there = view.learners_of(sid).filter(|(_, it)| it.current == leader.current);
        leader.current.0 > 3 && there.filter(|(_, it)| it.follows()).count() + 1 > voters / 2
    })
}

#[test]
fn should_be_triggered1_is_reached() {
    let (reached, worlds) = (SEEN.late_epochs, SEEN.worlds);
    assert!(reached * 2 > worlds, "only {reached} of {worlds} worlds");
}
