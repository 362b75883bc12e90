//! An ensemble in one thread: members, their disks, and what is under way between them.

mod disk;
mod member;
pub mod view;

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use disk::Txn;
use member::{Effect, Member};
use zk_proto::election::Notification;
use zk_proto::{Sid, Zxid};
use zk_zab::leader::LinkId;
use zk_zab::{Configs, Ensemble};

use view::{Broadcast, Cut, Mark, Odd, View, marks};

/// What travels from one member to another.
#[derive(Clone, Debug)]
pub enum Message {
    /// On the election port.
    Vote(Notification<'static>),
    /// A learner dials its leader.
    Dial(LinkId),
    /// The leader takes the connection.
    Welcome(LinkId),
    /// A packet of a learner.
    ToLeader(LinkId, Vec<u8>),
    /// A packet of a leader.
    ToLearner(LinkId, Vec<u8>),
    /// What follows SNAP.
    Snapshot(LinkId, Vec<Txn>),
    /// The other side closed the connection.
    Closed(LinkId),
    /// Nobody listens there: the member does not lead yet, or not any more.
    Refused(LinkId),
}

/// Everything, and what must be true of it.
pub struct World {
    seed: u64,
    random: u64,
    now_ms: u64,
    configs: Configs,
    members: BTreeMap<Sid, Member>,
    /// In order, from and to.
    under_way: BTreeMap<(Sid, Sid), VecDeque<Message>>,
    /// Committed once by anybody: what each zxid is.
    history: BTreeMap<Zxid, u64>,
    leaders: BTreeMap<i32, Sid>,
    next_tag: u64,
    next_link: u64,
    pub crashes: u64,
    pub mended: u64,
    /// Committed reconfigurations.
    pub configs_made: BTreeSet<Zxid>,
    /// What was committed when members were wiped.
    wiped: BTreeMap<Sid, BTreeMap<Zxid, u64>>,
    /// What was done so far; the members are looked at when somebody asks.
    done: View,
    /// Nothing comes from or to these.
    isolated: BTreeSet<Sid>,
    /// Nothing comes from the first to the second, and back.
    parted: BTreeSet<(Sid, Sid)>,
    /// Leaders die again and again with a tail that only they have.
    pub is_rough: bool,
    /// It panics itself where something is wrong.
    judges: bool,
    tells: bool,
}

impl World {
    pub fn new(seed: u64) -> World {
        let mut world = World::resting(seed);
        let voters = [3, 3, 3, 5, 1][world.below(5)] as i64;
        let observers = world.below(2) as i64;
        world.found(voters, observers);
        world.start_all();
        world
    }

    /// A world that is as somebody says, and moves only when it is told to.
    pub fn of(voters: i64, observers: i64) -> World {
        let mut world = World::resting(0);
        world.found(voters, observers);
        world.start_all();
        world
    }

    /// All members break a rule, and others look whether that shows.
    #[cfg(feature = "planted")]
    pub fn planted(seed: u64, fault: zk_zab::Planted) -> World {
        let mut world = World::resting(seed);
        let voters = [3, 5][world.below(2)];
        world.found(voters, 0);
        world.judges = false;
        world.members.values_mut().for_each(|member| member.fault = Some(fault));
        world.start_all();
        world
    }

    fn resting(seed: u64) -> World {
        World {
            seed,
            random: seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1,
            now_ms: 0,
            configs: Configs::default(),
            members: BTreeMap::new(),
            under_way: BTreeMap::new(),
            history: BTreeMap::new(),
            leaders: BTreeMap::new(),
            next_tag: 1,
            next_link: 1,
            crashes: 0,
            mended: 0,
            configs_made: Default::default(),
            wiped: BTreeMap::new(),
            done: View::default(),
            isolated: BTreeSet::new(),
            parted: BTreeSet::new(),
            is_rough: false,
            judges: true,
            tells: std::env::var_os("ZKFLEET_ZAB_TELL").is_some(),
        }
    }

    fn found(&mut self, voters: i64, observers: i64) {
        let members = voters + observers;
        let line = |sid: i64| {
            let role = if sid > voters { "observer" } else { "participant" };
            format!("server.{sid}=h{sid}:1:2:{role}\n")
        };
        let text: String = (1..=members).map(line).collect();
        self.configs = Configs::new(Ensemble::parse(&text).unwrap());
        for sid in (1..=members).map(Sid) {
            self.members.insert(sid, Member::new(sid, &self.configs));
        }
    }

    fn start_all(&mut self) {
        for sid in self.sids() {
            self.start(sid);
        }
    }

    pub fn start(&mut self, sid: Sid) {
        self.act(sid, Member::start);
    }

    /// What an invariant may look at.
    pub fn view(&self) -> View {
        let members = self.members.iter().map(|(sid, member)| (*sid, member.view())).collect();
        View { members, ..self.done.clone() }
    }

    /// From now on nothing comes from or to this member; `join` ends that.
    pub fn isolate(&mut self, sid: Sid) {
        self.isolated.insert(sid);
    }

    pub fn join(&mut self, sid: Sid) {
        self.isolated.remove(&sid);
        for other in self.sids() {
            self.cut(sid, other);
        }
    }

    /// Nothing comes through between two members from now on, and only the first one notices.
    pub fn part(&mut self, knows: Sid, other: Sid) {
        self.parted.insert((knows, other));
        self.act(knows, |member, now_ms| member.lost(now_ms, other));
    }

    /// Everything comes through again.
    pub fn join_all(&mut self) {
        for (a, b) in std::mem::take(&mut self.parted) {
            self.cut(a, b);
        }
    }

    /// What was committed must be in its history when it votes again.
    pub fn wipe(&mut self, sid: Sid) {
        self.kill(sid);
        self.wiped.insert(sid, self.history.clone());
        self.members.get_mut(&sid).unwrap().wipe();
    }

    /// A member ends, with nothing lost but what was not on its disk.
    pub fn kill(&mut self, sid: Sid) {
        self.members.get_mut(&sid).unwrap().crash(0);
        for other in self.sids() {
            self.cut(sid, other);
        }
    }

    /// A member's disk does the oldest thing.
    pub fn complete(&mut self, sid: Sid) {
        self.act(sid, |member, now_ms| member.complete(now_ms, 1));
    }

    /// Time passes, and all is done that can be, until it is so.
    #[track_caller]
    pub fn until(&mut self, what: &str, is_so: impl Fn(&View) -> bool) {
        for _ in 0..2000 {
            self.settle();
            if is_so(&self.view()) {
                return;
            }
            self.pass(20);
        }
        panic!("{what}: not within 40 s");
    }

    pub fn committed(&self) -> usize {
        self.history.len()
    }

    pub fn reigns(&self) -> usize {
        self.leaders.len()
    }

    fn sids(&self) -> Vec<Sid> {
        self.members.keys().copied().collect()
    }

    pub fn below(&mut self, n: usize) -> usize {
        self.random ^= self.random << 13;
        self.random ^= self.random >> 7;
        self.random ^= self.random << 17;
        (self.random >> 11) as usize % n
    }

    fn any(&mut self) -> Sid {
        let sids = self.sids();
        sids[self.below(sids.len())]
    }

    /// Something happens.
    pub fn step(&mut self) {
        if self.is_rough && self.below(100) == 0 {
            self.lose_tail();
        }
        match self.below(100) {
            0..50 => self.deliver_any(),
            50..72 => {
                let (sid, file) = (self.any(), self.below(2));
                self.act(sid, |member, now_ms| member.complete(now_ms, file));
            }
            72..85 => {
                let sid = self.any();
                self.propose(sid);
            }
            85 => {
                let sid = self.any();
                self.reconfigure(sid);
            }
            86..96 => {
                let ms = 1 + self.below(150) as u64;
                self.pass(ms);
            }
            96 => {
                let sid = self.any();
                self.crash(sid);
            }
            97 | 98 => {
                let sid = self.any();
                self.act(sid, Member::start);
            }
            _ => {
                let (a, b) = (self.any(), self.any());
                self.cut(a, b);
            }
        }
    }

    /// Everything works again: everybody follows one leader, and a txn more is committed by all.
    pub fn heal(&mut self) {
        for sid in self.sids() {
            self.act(sid, Member::start);
        }
        for _ in 0..2000 {
            self.settle();
            if self.is_whole() {
                break;
            }
            self.pass(20);
        }
        if self.tells && !self.is_whole() {
            for member in self.members.values() {
                println!("{}", member.describe());
            }
        }
        assert!(self.is_whole(), "seed {}: no leader for all after 40 s", self.seed);
        let before = self.history.len();
        for sid in self.sids() {
            self.propose(sid);
        }
        self.settle();
        assert_eq!(self.history.len(), before + 1, "seed {}: no commit", self.seed);
        let want: Vec<_> = self.history.iter().map(|(zxid, tag)| (*zxid, *tag)).collect();
        for (sid, member) in &self.members {
            assert_eq!(member.disk.history(), want, "seed {}: member {sid}", self.seed);
        }
    }

    /// All are there again, and somebody leads; what is wrong goes on.
    pub fn recover(&mut self) {
        self.start_all();
        for _ in 0..500 {
            self.settle();
            if self.members.values().any(Member::leads) {
                break;
            }
            self.pass(20);
        }
    }

    fn is_whole(&self) -> bool {
        let leader = self.members.values().find_map(|member| member.leads().then_some(member.sid));
        leader.is_some() && self.members.values().all(|member| member.serves_under() == leader)
    }

    /// Delivers and completes until nothing is left to do.
    pub fn settle(&mut self) {
        for _ in 0..20_000 {
            let busy = self.under_way.iter().find(|(_, queue)| !queue.is_empty());
            if let Some((from, to)) = busy.map(|(link, _)| *link) {
                self.deliver(from, to);
                continue;
            }
            let Some(sid) = self.sids().into_iter().find(|sid| self.members[sid].has_work()) else {
                return;
            };
            self.act(sid, |member, now_ms| member.complete(now_ms, 0));
        }
        panic!("seed {}: they never stop", self.seed);
    }

    fn deliver_any(&mut self) {
        let busy: Vec<_> =
            self.under_way.iter().filter(|(_, queue)| !queue.is_empty()).map(|(l, _)| *l).collect();
        if !busy.is_empty() {
            let (from, to) = busy[self.below(busy.len())];
            self.deliver(from, to);
        }
    }

    pub fn deliver(&mut self, from: Sid, to: Sid) {
        let Some(message) = self.under_way.get_mut(&(from, to)).and_then(VecDeque::pop_front)
        else {
            return;
        };
        if self.tells {
            println!("{from} -> {to}: {}", short(&message));
        }
        self.act(to, |member, now_ms| member.receive(now_ms, from, message));
    }

    pub fn pass(&mut self, ms: u64) {
        self.now_ms += ms;
        for sid in self.sids() {
            self.act(sid, Member::tick);
        }
    }

    pub fn propose(&mut self, sid: Sid) {
        let tag = self.next_tag;
        self.next_tag += 1;
        self.act(sid, |member, now_ms| member.propose(now_ms, tag));
    }

    /// Any members may vote from now on, observe, or be no members any more.
    fn reconfigure(&mut self, leader: Sid) {
        let mut text = String::new();
        for sid in self.sids() {
            let role = match self.below(8) {
                0 => continue,
                1 | 2 => "observer",
                _ => "participant",
            };
            text += &format!("server.{sid}=h{sid}:1:2:{role}\n");
        }
        let config = Ensemble::parse(&text).unwrap();
        // Those that vote already are a quorum of it. Else, if all crash while it is proposed,
        // those that do not know of it come back as observers, who are not counted, and nobody
        // leads.
        let committed = &self.members[&leader].disk.configs.committed;
        if !config.has_quorum(&committed.voters().collect()) {
            return;
        }
        let tag = self.next_tag;
        self.next_tag += 1;
        self.act(leader, |member, now_ms| member.reconfigure(now_ms, tag, config));
    }

    /// A member ends, and loses a part of what was not on its disk. Connections end with it.
    fn crash(&mut self, sid: Sid) {
        let kept = self.below(16);
        if self.members.get_mut(&sid).unwrap().crash(kept) {
            self.crashes += 1;
            // One at a time: more than a quorum can miss would be lost by anybody.
            let is_wiped = self.wiped.is_empty() && self.can_spare(sid) && self.below(8) == 0;
            if is_wiped {
                self.wiped.insert(sid, self.history.clone());
                self.members.get_mut(&sid).unwrap().wipe();
            }
            if self.tells {
                println!("{sid} crashes{}", if is_wiped { ", and is wiped" } else { "" });
            }
            for other in self.sids() {
                self.cut(sid, other);
            }
        }
    }

    /// A leader logs what nobody hears of, and dies.
    fn lose_tail(&mut self) {
        let Some(sid) = self.sids().into_iter().find(|sid| self.members[sid].leads()) else {
            return;
        };
        self.isolate(sid);
        for _ in 0..1 + self.below(3) {
            self.propose(sid);
        }
        while self.members[&sid].has_work() {
            self.complete(sid);
        }
        self.isolated.remove(&sid);
        self.crash(sid);
    }

    /// Whether every configuration that counts has a quorum without one, of members that have a
    /// vote. During a reconfiguration a member that is to vote may still be an observer, who cannot
    /// be counted upon.
    fn can_spare(&self, sid: Sid) -> bool {
        let votes = |(other, member): &(&Sid, &Member)| {
            **other != sid && !member.disk.is_damaged && !member.disk.is_empty()
        };
        let left: BTreeSet<Sid> =
            self.members.iter().filter(votes).map(|(other, _)| *other).collect();
        let is_quiet = self.members.values().all(|member| member.disk.configs.proposed.is_none());
        let configs = self.members.values().map(|member| &member.disk.configs.committed);
        let mut configs = configs.filter(|config| config.is_voter(sid));
        is_quiet && configs.all(|config| config.has_quorum(&left))
    }

    /// What is under way between two members is lost, and their connection closed.
    fn cut(&mut self, a: Sid, b: Sid) {
        for (from, to) in [(a, b), (b, a)] {
            self.under_way.remove(&(from, to));
            self.act(to, |member, now_ms| member.lost(now_ms, from));
        }
        for (from, to) in [(a, b), (b, a)] {
            self.act(from, |member, _| member.reconnected(to));
        }
    }

    fn act(&mut self, sid: Sid, act: impl FnOnce(&mut Member, u64) -> Vec<Effect>) {
        let now_ms = self.now_ms;
        let effects = act(self.members.get_mut(&sid).unwrap(), now_ms);
        self.note_leader(sid);
        for effect in effects {
            self.carry_out(sid, effect);
        }
    }

    /// Whether a member leads now with the promise of a quorum.
    fn note_leader(&mut self, sid: Sid) {
        let members = [(sid, self.members[&sid].view())].into();
        let view = View { members, ..View::default() };
        for (sid, member) in view.leaders() {
            self.done.epoch_leaders.entry(member.current.0).or_default().insert(sid);
        }
    }

    fn carry_out(&mut self, sid: Sid, effect: Effect) {
        match effect {
            Effect::Send(to, message) => {
                let is_parted =
                    self.parted.contains(&(sid, to)) || self.parted.contains(&(to, sid));
                let is_cut =
                    is_parted || self.isolated.contains(&sid) || self.isolated.contains(&to);
                if !is_cut && self.members.get(&to).is_some_and(|member| member.is_up()) {
                    self.under_way.entry((sid, to)).or_default().push_back(message);
                }
            }
            Effect::Join(leader) => {
                let link = LinkId(self.next_link);
                self.next_link += 1;
                self.act(sid, |member, now_ms| member.dial(now_ms, leader, link));
            }
            Effect::Probe => {
                for other in self.sids() {
                    if !self.members[&other].is_up() {
                        self.act(sid, |member, now_ms| member.refused(now_ms, other));
                    }
                }
            }
            Effect::Leads(epoch, log) => {
                if self.tells {
                    println!("{sid} leads in epoch {epoch}");
                }
                let before = self.leaders.insert(epoch, sid);
                if self.judges {
                    assert_eq!(before, None, "seed {}: two leaders of epoch {epoch}", self.seed);
                }
                // Committed never lost: whoever leads has all of it.
                for (zxid, tag) in self.history.iter().filter(|_| self.judges) {
                    let has = log.iter().any(|txn| (txn.zxid, txn.tag) == (*zxid, *tag));
                    assert!(has, "seed {}: leader {sid} of epoch {epoch} lost {zxid}", self.seed);
                }
                log.iter().for_each(|txn| self.commit(sid, txn));
            }
            Effect::Committed(log) => log.iter().for_each(|txn| self.commit(sid, txn)),
            // Rule R5: who votes again has everything that was committed without it.
            Effect::Mended(log) => {
                self.mended += 1;
                let due = self.wiped.remove(&sid).unwrap_or_default();
                for (zxid, tag) in due.iter().filter(|_| self.judges) {
                    let has = log.iter().any(|txn| (txn.zxid, txn.tag) == (*zxid, *tag));
                    assert!(has, "seed {}: {sid} votes again without {zxid}", self.seed);
                }
            }
            Effect::Broadcast(txn) => {
                let epoch = txn.zxid.epoch().0;
                let delivered = || self.members[&sid].view().delivered;
                self.done.primaries.entry((sid, epoch)).or_insert_with(delivered);
                let txn = (txn.zxid, txn.tag);
                self.done.broadcasts.push(Broadcast { sid, epoch, txn });
            }
            Effect::Cut(txns) => {
                let epoch = self.members[&sid].disk.accepted;
                let cut = |txn| Cut { sid, epoch, txn };
                self.done.cuts.extend(marks(&txns).into_iter().map(cut));
            }
            Effect::Odd(branch, what) => self.done.odd.push(Odd { branch, sid, what }),
        }
    }

    /// Agreement: a zxid is one txn, whoever commits or serves it.
    fn commit(&mut self, sid: Sid, txn: &Txn) {
        if txn.config.is_some() {
            self.configs_made.insert(txn.zxid);
        }
        let mark: Mark = (txn.zxid, txn.tag);
        let tag = *self.history.entry(txn.zxid).or_insert_with(|| {
            self.done.committed.push(mark);
            txn.tag
        });
        if !self.judges {
            return;
        }
        assert_eq!(tag, txn.tag, "seed {}: member {sid} has another {}", self.seed, txn.zxid);
    }
}

/// The bytes of a txn that changes nothing.
pub fn txn_of(zxid: Zxid, tag: u64) -> Vec<u8> {
    Txn { zxid, tag, config: None }.to_bytes()
}

fn short(message: &Message) -> String {
    use zk_proto::Limits;
    use zk_proto::quorum::{FromLeader, FromLearner};
    match message {
        Message::Vote(n) => format!("{:?} for {} round {}", n.state, n.leader, n.election_epoch),
        Message::ToLeader(link, bytes) => {
            format!("{} {:?}", link.0, FromLearner::read(bytes, Limits::NONE).unwrap().unwrap().0)
        }
        Message::ToLearner(link, bytes) => {
            let packet = FromLeader::read(bytes, Limits::NONE).unwrap().unwrap().0;
            match packet {
                FromLeader::Proposal { zxid, .. } => format!("{} PROPOSAL {zxid}", link.0),
                FromLeader::NewLeader { zxid, .. } => format!("{} NEWLEADER {zxid}", link.0),
                packet => format!("{} {packet:?}", link.0),
            }
        }
        other => format!("{other:?}"),
    }
}
