//! The steps of random runs.

use super::ensemble::{At, Ensemble};
use proptest::prelude::*;

pub const MEMBERS: [At; 3] = [At::Leader, At::Learner(0), At::Learner(1)];

/// What happens next to six clients, a leader and two learners.
#[derive(Clone, Debug)]
pub enum Step {
    /// A client of a member asks for the next thing.
    Submit(usize, usize),
    Ask(usize),
    Commit,
    Hear(usize),
    /// A client goes to another member.
    Move(usize, usize),
    /// A client ends its session.
    End(usize),
}

pub fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        6 => (0..6usize, 0..6usize).prop_map(|(client, what)| Step::Submit(client, what)),
        4 => (0..2usize).prop_map(Step::Ask),
        4 => Just(Step::Commit),
        6 => (0..2usize).prop_map(Step::Hear),
        1 => (0..6usize, 0..3usize).prop_map(|(client, to)| Step::Move(client, to)),
        1 => (0..6usize).prop_map(Step::End),
    ]
}

impl Ensemble {
    /// The step of a member; those of clients are done by who knows them.
    pub fn go_on(&mut self, step: &Step) {
        match *step {
            Step::Ask(i) => drop(self.ask(i)),
            Step::Commit => drop(self.commit()),
            Step::Hear(i) => {
                let now = self.now();
                self.learners[i].hear(now).unwrap();
            }
            Step::Submit(..) | Step::Move(..) | Step::End(_) => {}
        }
    }
}
