//! Elections under random loss, delay and restarts: when the network is whole again, there is one
//! leader and everybody follows it.

#![allow(clippy::unwrap_used, missing_docs)]

use std::collections::{BTreeMap, VecDeque};

use proptest::prelude::*;
use zk_proto::election::{Notification, ServerState};
use zk_proto::{Sid, Zxid};
use zk_zab::election::{Election, ElectionTimes, Output, Standing};
use zk_zab::{Configs, Ensemble, Role};

/// A member without the leader or the followers that it counts on gives up after this (what
/// discovery does with `initLimit`).
const PATIENCE_MS: u64 = 400;

struct Member {
    election: Election,
    standing: Standing,
    unsupported_since_ms: Option<u64>,
}

struct World {
    members: BTreeMap<Sid, Member>,
    links: BTreeMap<(Sid, Sid), VecDeque<Notification<'static>>>,
    now_ms: u64,
}

/// What happens while the network is broken.
#[derive(Clone, Copy, Debug)]
enum Chaos {
    Deliver(usize),
    Lose(usize),
    Time(u64),
    Look(usize),
    Refused(usize, usize),
}

fn chaos() -> impl Strategy<Value = Chaos> {
    prop_oneof![
        8 => any::<usize>().prop_map(Chaos::Deliver),
        3 => any::<usize>().prop_map(Chaos::Lose),
        2 => (1u64..300).prop_map(Chaos::Time),
        1 => any::<usize>().prop_map(Chaos::Look),
        1 => any::<(usize, usize)>().prop_map(|(at, sid)| Chaos::Refused(at, sid)),
    ]
}

impl World {
    fn new(standings: &[(i64, i64)], observers: usize) -> World {
        let count = standings.len();
        let line = |n: usize| {
            let role = if n > count { "observer" } else { "participant" };
            format!("server.{n}=h{n}:1:2:{role}\n")
        };
        let text: String = (1..=count + observers).map(line).collect();
        let configs = Configs::new(Ensemble::parse(&text).unwrap());
        let member = |n: usize| {
            let (epoch, counter) = standings.get(n - 1).copied().unwrap_or((9, 9));
            let standing = Standing { zxid: Zxid(epoch << 32 | counter), epoch };
            let times = ElectionTimes::default();
            let election =
                Election::new(Sid(n as i64), Role::Participant, configs.clone(), false, times);
            (Sid(n as i64), Member { election, standing, unsupported_since_ms: None })
        };
        let members = (1..=count + observers).map(member).collect();
        let mut world = World { members, links: BTreeMap::new(), now_ms: 0 };
        for sid in world.sids() {
            world.look(sid);
        }
        world
    }

    fn sids(&self) -> Vec<Sid> {
        self.members.keys().copied().collect()
    }

    fn act(&mut self, sid: Sid, act: impl FnOnce(&mut Member, u64, &mut Vec<Output>)) {
        let mut out = Vec::new();
        if let Some(member) = self.members.get_mut(&sid) {
            act(member, self.now_ms, &mut out);
        }
        for output in out {
            if let Output::Send { to, notification } = output {
                self.links.entry((sid, to)).or_default().push_back(notification);
            }
        }
    }

    fn look(&mut self, sid: Sid) {
        self.act(sid, |member, now_ms, out| {
            member.unsupported_since_ms = None;
            member.election.look(now_ms, member.standing, out);
        });
    }

    fn tick(&mut self) {
        for sid in self.sids() {
            self.act(sid, |member, now_ms, out| member.election.tick(now_ms, out));
        }
    }

    fn deliver(&mut self, link: (Sid, Sid)) {
        let Some(notification) = self.links.get_mut(&link).and_then(VecDeque::pop_front) else {
            return;
        };
        self.act(link.1, |member, now_ms, out| {
            member.election.heard(now_ms, link.0, &notification, out);
        });
    }

    /// Of the links with something under way.
    fn link(&self, n: usize) -> Option<(Sid, Sid)> {
        let busy: Vec<_> = self
            .links
            .iter()
            .filter(|(_, queue)| !queue.is_empty())
            .map(|(link, _)| *link)
            .collect();
        (!busy.is_empty()).then(|| busy[n % busy.len()])
    }

    fn suffer(&mut self, chaos: Chaos) {
        let sids = self.sids();
        match chaos {
            Chaos::Deliver(n) => self.link(n).into_iter().for_each(|link| self.deliver(link)),
            Chaos::Lose(n) => {
                let lost = self.link(n).and_then(|link| self.links.get_mut(&link));
                drop(lost.and_then(VecDeque::pop_front));
            }
            Chaos::Time(ms) => {
                self.now_ms += ms;
                self.tick();
            }
            Chaos::Look(n) => self.look(sids[n % sids.len()]),
            Chaos::Refused(at, sid) => {
                let (at, sid) = (sids[at % sids.len()], sids[sid % sids.len()]);
                self.act(at, |member, now_ms, out| member.election.refused(now_ms, sid, out));
            }
        }
    }

    /// Who leads whom. A vote under way is all that tells a member of a leader, so the test looks
    /// at what was elected last.
    fn leader_of(&self, sid: Sid) -> Option<Sid> {
        self.members.get(&sid)?.election.leader()
    }

    fn is_supported(&self, sid: Sid) -> bool {
        let Some(leader) = self.leader_of(sid) else { return true };
        let state = |sid: Sid| self.members[&sid].election.state();
        if leader != sid {
            return state(leader) == ServerState::Leading;
        }
        let voters = self.sids().into_iter().filter(|sid| self.members[sid].standing.epoch < 9);
        let (all, with) = voters.fold((0, 0), |(all, with), other| {
            (all + 1, with + usize::from(self.leader_of(other) == Some(sid)))
        });
        with > all / 2
    }

    /// Delivers until nothing is under way.
    fn settle(&mut self) {
        for _ in 0..100_000 {
            let Some(link) = self.link(0) else { return };
            self.deliver(link);
        }
        panic!("they never stop talking");
    }

    /// The network is whole; says when all agree on one leader.
    fn converges(&mut self) -> Option<u64> {
        let healed_ms = self.now_ms;
        let sids = self.sids();
        for (at, to) in sids.iter().flat_map(|at| sids.iter().map(move |to| (*at, *to))) {
            self.act(at, |member, _, out| member.election.connected(to, out));
        }
        while self.now_ms < healed_ms + 200_000 {
            self.settle();
            let leaders: Vec<_> = self.sids().iter().map(|sid| self.leader_of(*sid)).collect();
            if leaders.iter().all(|leader| leader.is_some() && *leader == leaders[0])
                && self.sids().iter().all(|sid| self.is_supported(*sid))
            {
                return Some(self.now_ms - healed_ms);
            }
            self.now_ms += 50;
            self.tick();
            for sid in self.sids() {
                let is_supported = self.is_supported(sid);
                let now_ms = self.now_ms;
                let since = &mut self.members.get_mut(&sid).unwrap().unsupported_since_ms;
                let waits = if is_supported { None } else { Some(since.unwrap_or(now_ms)) };
                *since = waits;
                if waits.is_some_and(|since| now_ms - since > PATIENCE_MS) {
                    self.look(sid);
                }
            }
        }
        None
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, ..ProptestConfig::default() })]

    #[test]
    fn there_is_one_leader_in_the_end(
        standings in prop::collection::vec((0i64..4, 0i64..3), 1..6),
        observers in 0usize..2,
        chaos in prop::collection::vec(chaos(), 0..200),
    ) {
        let mut world = World::new(&standings, observers);
        chaos.into_iter().for_each(|chaos| world.suffer(chaos));
        let took_ms = world.converges();
        prop_assert!(took_ms.is_some(), "no leader in 200 s");
    }

    /// Without any trouble the longest history leads, and in no time at all.
    #[test]
    fn the_best_one_leads(standings in prop::collection::vec((0i64..4, 0i64..3), 1..6)) {
        let mut world = World::new(&standings, 0);
        world.settle();
        let best = (1..).zip(&standings).map(|(sid, standing)| (standing, Sid(sid))).max();
        for sid in world.sids() {
            prop_assert_eq!(world.leader_of(sid), best.map(|(_, sid)| sid));
        }
    }
}
