//! Random programs: scripts over a few paths, sessions and watches, made from a seed. The answer of
//! Apache 3.9.4 is the expected one. A program that shows a difference is made shorter, step by
//! step, for as long as it still shows one.

use zk_testkit::{Engine, Error};

use crate::allowed::Rule;
use crate::compare;
use crate::run::run_case;
use crate::script::{self, Case, CaseFile};
use crate::world::World;

const PATHS: [&str; 9] =
    ["/a", "/a/b", "/a/b/c", "/a/d", "/d", "/d/e", "/d/e/f", "/d/s-0000000001", "/a/d/g"];
const SESSIONS: [&str; 3] = ["a", "b", "c"];
/// Steps of a program after its sessions are open.
const STEPS: usize = 40;

/// splitmix64: small, fast, and the same everywhere for ever.
#[derive(Debug)]
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    fn below(&mut self, n: usize) -> usize {
        (self.next() % n as u64) as usize
    }

    /// True once in `n` times.
    fn one_in(&mut self, n: usize) -> bool {
        self.below(n) == 0
    }

    fn pick<T: Copy>(&mut self, from: &[T]) -> T {
        from[self.below(from.len())]
    }
}

/// The settings that random programs want.
#[must_use]
pub fn config() -> Vec<(String, String)> {
    ["extendedTypesEnabled", "enforceQuota"].map(|key| (key.to_owned(), "true".to_owned())).to_vec()
}

/// The steps of the program of a seed; a step with a block has several lines.
#[must_use]
pub fn program(seed: u64) -> Vec<String> {
    let mut random = Random(seed);
    let mut steps = SESSIONS.map(|s| format!("{s} connect")).to_vec();
    steps.push("a create /a \"root\"".to_owned());
    steps.push("b create /d".to_owned());
    let has_quota = random.one_in(4);
    if has_quota {
        let [bytes, count] = [3 + random.below(9), 2 + random.below(4)];
        steps.push("a create /zookeeper/quota/d".to_owned());
        steps.push(format!(
            "a create /zookeeper/quota/d/zookeeper_limits \
             \"count=1,bytes=1=;byteHardLimit={bytes};countHardLimit={count}\""
        ));
        steps.push("a create /zookeeper/quota/d/zookeeper_stats \"count=0,bytes=0\"".to_owned());
    }
    for _ in 0..STEPS {
        // An Apache takes a second to start; once in three programs is often enough.
        if random.one_in(3 * STEPS) {
            steps.push(format!("restart {}", random.pick(&["kill", "term"])));
            steps.extend(SESSIONS.map(|s| format!("{s} connect session={s}")));
            continue;
        }
        let session = random.pick(&SESSIONS);
        let step = step(&mut random, session);
        if has_quota || step.contains("setACL") {
            steps.extend(one_by_one(session, step));
        } else {
            steps.push(step);
        }
        if steps.last().is_some_and(|step| step.ends_with("closeSession")) {
            steps.push(format!("{session} connect"));
        }
    }
    steps
}

/// The requests of a pipeline as steps. Apache checks hard quotas, and ACLs behind a setACL,
/// against what is applied: what it answers inside of a pipeline depends on its threads.
fn one_by_one(session: &str, step: String) -> Vec<String> {
    let Some(lines) = step.strip_prefix(&format!("{session} pipeline\n")) else {
        return vec![step];
    };
    let lines = lines.lines().filter(|line| *line != "end");
    lines.map(|line| format!("{session} {}", line.trim_start())).collect()
}

fn step(random: &mut Random, session: &str) -> String {
    let blocks = |random: &mut Random, verb: &str, op: fn(&mut Random) -> String| {
        let count = 1 + random.below(5);
        let lines = (0..count).map(|_| format!("  {}\n", op(random))).collect::<String>();
        format!("{session} {verb}\n{lines}end")
    };
    match random.below(40) {
        0..10 => format!("{session} {}", read(random)),
        10..26 => format!("{session} {}", write(random)),
        26..30 => blocks(random, "multi", multi_op),
        30 => blocks(random, "multiRead", multi_read_op),
        31..33 => {
            blocks(
                random,
                "pipeline",
                |random| {
                    if random.one_in(2) { write(random) } else { read(random) }
                },
            )
        }
        33..36 => format!("{session} {}", watch(random)),
        36 => format!("{session} {}", set_watches(random)),
        37 => {
            format!("{session} auth digest \"{}\"", random.pick(&["u:p", "v:q", "super:zkfleet"]))
        }
        38 => format!("{session} connect session={session}"),
        _ if random.one_in(2) => format!("{session} closeSession"),
        _ => format!("{session} connect"),
    }
}

fn data(random: &mut Random) -> &'static str {
    random.pick(&["\"\"", "null", "\"x\"", "\"yy\"", "\"zzz\""])
}

fn acl(random: &mut Random) -> &'static str {
    if random.below(5) > 0 {
        return "open";
    }
    random.pick(&[
        "world:anyone:r",
        "world:anyone:rcd",
        "world:anyone:rw,digest:u:Jq7wMyA/w2Vd5WIDAKdu4OIIFEQ=:cdrwa",
        "auth::cdrwa",
        "ip:127.0.0.1:cdrw",
        "[]",
    ])
}

fn version(random: &mut Random) -> i32 {
    random.pick(&[-1, -1, -1, 0, 1, 2, 3])
}

fn create(random: &mut Random, verb: &str) -> String {
    let (data, acl) = (data(random), acl(random));
    match verb {
        "createContainer" => format!("{verb} {} {data} acl={acl}", random.pick(&PATHS)),
        "createTTL" => format!("{verb} {} {data} acl={acl} ttl=100000", random.pick(&PATHS)),
        _ if random.one_in(4) => {
            let flags = random.pick(&[2, 2, 3]);
            format!("{verb} {} {data} acl={acl} flags={flags}", random.pick(&["/d/s-", "/a/b/s-"]))
        }
        _ => {
            let flags = random.pick(&[0, 0, 0, 1]);
            format!("{verb} {} {data} acl={acl} flags={flags}", random.pick(&PATHS))
        }
    }
}

fn write(random: &mut Random) -> String {
    let path = random.pick(&PATHS);
    match random.below(16) {
        0..6 => create(random, "create"),
        6 => create(random, "create2"),
        7 => create(random, "createContainer"),
        8 => create(random, "createTTL"),
        9..12 => format!("delete {path} {}", version(random)),
        12..15 => format!("setData {path} {} {}", data(random), version(random)),
        _ => format!("setACL {path} acl={} {}", acl(random), version(random)),
    }
}

fn multi_op(random: &mut Random) -> String {
    let path = random.pick(&PATHS);
    match random.below(12) {
        0..3 => create(random, "create"),
        3 => create(random, "create2"),
        4 => create(random, "createContainer"),
        5 => create(random, "createTTL"),
        6..8 => format!("delete {path} {}", version(random)),
        8..11 => format!("setData {path} {} {}", data(random), version(random)),
        _ => format!("check {path} {}", version(random)),
    }
}

fn multi_read_op(random: &mut Random) -> String {
    format!("{} {}", random.pick(&["getData", "getChildren"]), random.pick(&PATHS))
}

fn read(random: &mut Random) -> String {
    let path = random.pick(&PATHS);
    let watch = if random.one_in(2) { " watch" } else { "" };
    match random.below(14) {
        0..4 => format!("getData {path}{watch}"),
        4..7 => format!("exists {path}{watch}"),
        7..9 => format!("getChildren {path}{watch}"),
        9 => format!("getChildren2 {path}{watch}"),
        10 => format!("getACL {path}"),
        11 => format!("getAllChildrenNumber {path}"),
        12 => format!("getEphemerals {}", random.pick(&["/", "/a", "/d/"])),
        _ => random.pick(&["sync /", "whoAmI", "ping"]).to_owned(),
    }
}

fn watch(random: &mut Random) -> String {
    let path = random.pick(&PATHS);
    let types = ["children", "data", "any", "persistent", "recursive"];
    match random.below(5) {
        0 => format!("removeWatches {path} {}", random.pick(&types)),
        1 => format!("checkWatches {path} {}", random.pick(&types)),
        _ => format!("addWatch {path} {}", random.pick(&["persistent", "recursive"])),
    }
}

fn set_watches(random: &mut Random) -> String {
    let list = |random: &mut Random| {
        let count = random.below(3);
        (0..count).map(|_| random.pick(&PATHS)).collect::<Vec<_>>().join(",")
    };
    let zxid = random.below(STEPS / 2);
    format!(
        "setWatches2 +{zxid} data=[{}] exist=[{}] child=[{}] persistent=[{}] recursive=[{}]",
        list(random),
        list(random),
        list(random),
        list(random),
        list(random)
    )
}

/// The text of a case.
#[must_use]
pub fn case_text(name: &str, steps: &[String]) -> String {
    format!("case {name}\n{}\n", steps.join("\n"))
}

/// A server for random programs.
pub fn start(engine: Engine) -> Result<World, Error> {
    let file =
        CaseFile { name: String::new(), config: config(), properties: vec![], cases: vec![] };
    World::start(engine, &file)
}

/// Two servers and what may differ between them.
pub struct Pair<'a> {
    /// Apache 3.9.4.
    pub model: World,
    /// The one that is looked at.
    pub subject: World,
    /// The list of allowed differences.
    pub rules: &'a [Rule],
}

impl Pair<'_> {
    /// The differences that the program shows.
    pub fn differences(&mut self, steps: &[String]) -> Result<Vec<String>, Error> {
        let case = self.case(steps);
        let want = run_case(&mut self.model, &case)?;
        let got = run_case(&mut self.subject, &case)?;
        let engine = self.subject.server().engine().to_string();
        Ok(compare::compare(self.rules, &engine, "random", &want, &got))
    }

    fn case(&self, steps: &[String]) -> Case {
        let text = case_text("program", steps);
        let file = script::parse("random", &text).expect("the generator speaks the language");
        file.cases.into_iter().next().expect("one case was written")
    }

    /// A program with as few steps as possible that still shows a difference, and that difference.
    pub fn shrink(&mut self, steps: &[String]) -> Result<(Vec<String>, Vec<String>), Error> {
        let mut failure = None;
        let least = shrink(steps.to_vec(), |steps| {
            self.differences(steps).map_or_else(
                |e| {
                    failure = Some(e);
                    false
                },
                |report| !report.is_empty(),
            )
        });
        match failure {
            Some(e) => Err(e),
            None => self.differences(&least).map(|report| (least, report)),
        }
    }
}

/// Takes out steps, many at a time and then fewer, while `fails` holds.
fn shrink(mut steps: Vec<String>, mut fails: impl FnMut(&[String]) -> bool) -> Vec<String> {
    let mut chunk = steps.len() / 2;
    while chunk > 0 {
        let mut at = 0;
        while at < steps.len() {
            let mut fewer = steps.clone();
            fewer.drain(at..(at + chunk).min(steps.len()));
            if fails(&fewer) {
                steps = fewer;
            } else {
                at += chunk;
            }
        }
        chunk /= 2;
    }
    steps
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_program_is_in_the_language() {
        for seed in 0..300 {
            let steps = program(seed);
            let file = script::parse("random", &case_text("x", &steps)).unwrap();
            assert_eq!(file.cases[0].steps.len(), steps.len());
        }
    }

    #[test]
    fn what_apache_checks_late_is_in_no_pipeline() {
        for step in (0..300).flat_map(program).filter(|step| step.contains("pipeline")) {
            assert!(!step.contains("setACL"), "{step}");
        }
        let programs = (0..300).map(program);
        for steps in programs.filter(|steps| steps.iter().any(|s| s.contains("/quota/d"))) {
            assert!(!steps.iter().any(|s| s.contains("pipeline")), "{steps:?}");
        }
        let step = "b pipeline\n  sync /\n  delete /a -1\nend\n".to_owned();
        assert_eq!(one_by_one("b", step), ["b sync /", "b delete /a -1"]);
        assert_eq!(one_by_one("b", "b whoAmI".into()), ["b whoAmI"]);
    }

    #[test]
    fn a_seed_is_a_program() {
        assert_eq!(program(7), program(7));
        assert_ne!(program(7), program(8));
    }

    #[test]
    fn shrinking_keeps_what_matters() {
        let steps = (0..50).map(|i| i.to_string()).collect::<Vec<_>>();
        let needs = |steps: &[String]| ["7", "31"].iter().all(|s| steps.contains(&s.to_string()));
        assert_eq!(shrink(steps, needs), ["7", "31"]);
    }
}
