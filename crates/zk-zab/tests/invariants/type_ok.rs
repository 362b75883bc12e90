//! `TypeOK`, as far as Rust's types do not say it: the positions of each member are in order, and
//! what it does fits together. `lastCommitted` is an index into the own log in the specification;
//! here that says that nothing is delivered which is not on the own disk.

use zk_proto::election::ServerState;
use zk_zab::peer::ZabState;

use super::{Verdict, holds, leader_and_follower, rejects};
use crate::world::view::{MemberView, View};

pub fn type_ok(view: &View) -> Verdict {
    let mut cases = 0;
    for (sid, member) in &view.members {
        let (current, accepted) = (member.current.0, member.accepted.0);
        if current > accepted {
            return Err(format!("{sid} is in epoch {current}, and has promised {accepted}"));
        }
        for two in member.history.windows(2) {
            let (last, next) = (two[0].0, two[1].0);
            let begins_epoch = next.epoch() > last.epoch() && next.counter() == 1;
            if next != last.next() && !begins_epoch {
                return Err(format!("{sid} has {next} behind {last}"));
            }
        }
        if !member.logged.starts_with(&member.delivered) {
            return Err(format!("{sid} has delivered what it has not"));
        }
        let looks = member.state == ServerState::Looking;
        if looks != (member.zab_state == ZabState::Election) {
            return Err(format!("{sid} is {:?} and in {:?}", member.state, member.zab_state));
        }
        cases += member.delivered.len();
    }
    Ok(cases)
}

#[test]
fn type_ok_holds() {
    holds("TypeOK");
}

#[test]
fn type_ok_can_be_violated() {
    type Spoil = fn(&mut MemberView);
    let spoils: [(Spoil, &str); 4] = [
        (|member| member.current.0 += 1, "and has promised"),
        (|member| _ = member.history.remove(2), "behind"),
        (|member| member.logged.truncate(3), "what it has not"),
        (|member| member.zab_state = ZabState::Election, "and in Election"),
    ];
    for (spoil, why) in spoils {
        let spoil = |view: &mut View| {
            let (_, follower) = leader_and_follower(view);
            spoil(view.members.get_mut(&follower).unwrap());
        };
        rejects(type_ok, spoil, why);
    }
}
