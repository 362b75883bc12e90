//! The checker accepts what is right and rejects each planted lie.

use super::*;

const SESSION: i64 = 0x100;

fn client_of(path: &str) -> Option<usize> {
    let name = path.strip_prefix("/seq/").or(path.strip_prefix('/'))?;
    name.get(..1)?.parse().ok().filter(|&client| client < 2)
}

fn done(client: usize, at: u64, zxid: i64, op: Op) -> Entry {
    let path = match &op {
        Op::Create { path, sequential: true, .. } => Some(format!("{path}{zxid:010}")),
        _ => None,
    };
    let outcome = Outcome::Done { zxid: Some(zxid), path };
    Entry { client, server: 1, started: at, ended: at + 1, op, outcome }
}

fn create(path: &str, value: u64) -> Op {
    Op::Create { path: path.into(), value, owner: 0, sequential: path.ends_with('-') }
}

fn ephemeral(path: &str, value: u64) -> Op {
    Op::Create { path: path.into(), value, owner: SESSION, sequential: false }
}

fn set(path: &str, value: u64, version: i32) -> Op {
    Op::Set { path: path.into(), value, version }
}

/// A history with a bit of everything.
fn history() -> Vec<Entry> {
    vec![
        done(0, 10, 1, create("/0/r", 1)),
        done(1, 10, 2, create("/seq/1-", 2)),
        done(0, 12, 3, set("/0/r", 3, 0)),
        done(0, 14, 4, create("/seq/0-", 4)),
        done(0, 16, 5, ephemeral("/0/e", 5)),
        done(0, 18, 6, create("/0/gone", 6)),
        done(0, 20, 7, Op::Delete { path: "/0/gone".into() }),
        done(0, 22, 8, Op::SetAndCreate { set: "/0/r".into(), create: "/0/m".into(), value: 8 }),
    ]
}

fn node(path: &str, value: u64, czxid: i64, mzxid: i64, version: i32) -> Observed {
    let owner = if path == "/0/e" { SESSION } else { 0 };
    Observed { path: path.into(), value: Some(value), czxid, mzxid, version, owner }
}

/// The tree that the history makes.
fn tree() -> Vec<Observed> {
    vec![
        node("/0/e", 5, 5, 5, 0),
        node("/0/m", 8, 8, 8, 0),
        node("/0/r", 8, 1, 8, 2),
        node("/seq/0-0000000004", 4, 4, 4, 0),
        node("/seq/1-0000000002", 2, 2, 2, 0),
    ]
}

fn check(history: &[Entry], tree: &[Observed]) -> Vec<String> {
    let mut checker = Checker::new(2);
    history.iter().for_each(|entry| checker.record(entry));
    checker.observe(tree, client_of);
    checker.check_order();
    checker.violations().to_vec()
}

#[test]
fn the_truth_is_accepted() {
    assert_eq!(check(&history(), &tree()), Vec::<String>::new());
}

/// A wrong tree, with the beginning of the complaint.
fn lie(what: &str, name: &str, change: impl Fn(&mut Vec<Observed>)) {
    let mut tree = tree();
    change(&mut tree);
    let violations = check(&history(), &tree);
    assert!(violations.iter().any(|v| v.contains(name)), "{what}: {violations:?}");
}

#[test]
fn lies_about_the_tree_are_found() {
    lie("a lost create", "Z5", |tree| drop(tree.remove(2)));
    lie("a lost set", "C2", |tree| tree[2] = node("/0/r", 3, 1, 3, 1));
    lie("a doubled set", "C2", |tree| tree[2].version = 3);
    lie("a znode created twice", "C2", |tree| tree[2].czxid = 9);
    lie("another transaction's set", "C2", |tree| tree[2].mzxid = 9);
    lie("wrong data", "C2", |tree| tree[1].value = Some(7));
    lie("no data", "C2", |tree| tree[1].value = None);
    lie("a deleted znode is back", "S2/C2", |tree| tree.push(node("/0/gone", 6, 6, 6, 0)));
    lie("a lost ephemeral", "Z5", |tree| drop(tree.remove(0)));
    lie("an ephemeral of another session", "C2", |tree| tree[0].owner = 7);
    lie("half of a multi", "Z5", |tree| drop(tree.remove(1)));
    lie("the other half", "C2", |tree| tree[2] = node("/0/r", 3, 1, 3, 1));
    lie("a znode of nobody", "nobody", |tree| tree.push(node("/x", 1, 9, 9, 0)));
    lie("a lost sequential", "Z5", |tree| drop(tree.remove(3)));
    lie("a doubled sequential", "S2/C2", |tree| tree.push(node("/seq/0-0000000009", 4, 9, 9, 0)));
    lie("a number used twice", "S3", |tree| tree[4].path = "/seq/1-0000000004".into());
    lie("numbers against transactions", "S3", |tree| tree[4].czxid = 9);
}

#[test]
fn an_ephemeral_of_a_closed_session_is_found() {
    let mut history = history();
    history.push(done(0, 30, 9, Op::Close { session: SESSION }));
    let violations = check(&history, &tree());
    assert!(violations[0].contains("/0/e"), "{violations:?}");
    assert_eq!(check(&history, &tree()[1..]), Vec::<String>::new());
}

#[test]
fn zxids_against_real_time_are_found() {
    let mut swapped = history();
    let (a, b) = (swapped[0].clone(), swapped[2].clone());
    (swapped[0].started, swapped[0].ended) = (b.started, b.ended);
    (swapped[2].started, swapped[2].ended) = (a.started, a.ended);
    let mut checker = Checker::new(2);
    swapped.iter().for_each(|entry| checker.record(entry));
    checker.check_order();
    assert!(checker.violations()[0].contains("C1"));

    let mut twice = history();
    twice[1].outcome = Outcome::Done { zxid: Some(1), path: Some("/seq/1-0000000002".into()) };
    let mut checker = Checker::new(2);
    twice.iter().for_each(|entry| checker.record(entry));
    checker.check_order();
    assert!(checker.violations()[0].contains("twice"));
}

#[test]
fn a_write_without_a_quorum_is_found() {
    let found = |times: &[CutOff]| {
        let mut checker = Checker::new(2);
        let mut entries = history();
        entries[2].server = 3;
        entries[3].outcome = Outcome::Unknown;
        entries.iter().for_each(|entry| checker.record(entry));
        checker.check_minorities(times);
        checker.violations().to_vec()
    };
    // It was asked for the one at 12, and answered at 13.
    let of = |server, from, to| CutOff { server, from, to };
    assert_eq!(found(&[of(3, 12, 20), of(3, 5, 13), of(3, 14, 90)]), Vec::<String>::new());
    assert_eq!(found(&[of(1, 13, 16), of(2, 0, 99)]), Vec::<String>::new());
    let violations = found(&[of(3, 11, 14)]);
    assert!(violations[0].contains("Z5: server 3"), "{violations:?}");
    // Not only creates: what it deletes, too, and each of several.
    assert_eq!(found(&[of(1, 0, 99)]).len(), 6);
    assert_eq!(found(&[of(1, 19, 22)]).len(), 1);
}

#[test]
fn writes_at_the_same_time_may_have_any_order() {
    let mut checker = Checker::new(2);
    let mut slow = done(0, 1, 5, create("/0/a", 1));
    slow.ended = 100;
    checker.record(&slow);
    checker.record(&done(1, 50, 4, create("/1/a", 2)));
    checker.check_order();
    assert!(checker.violations().is_empty());
}

#[test]
fn an_unanswered_operation_may_have_happened_or_not_but_not_twice() {
    for op in [set("/0/r", 9, 2), create("/0/new", 9), create("/seq/0-", 9)] {
        let mut history = history();
        let outcome = Outcome::Unknown;
        history.push(Entry {
            client: 0,
            server: 1,
            started: 40,
            ended: 41,
            op: op.clone(),
            outcome,
        });
        assert_eq!(check(&history, &tree()), Vec::<String>::new(), "{op:?} did not happen");
        let mut after = tree();
        match &op {
            Op::Set { .. } => after[2] = node("/0/r", 9, 1, 9, 3),
            Op::Create { sequential: true, .. } => {
                after.push(node("/seq/0-0000000009", 9, 9, 9, 0));
            }
            _ => after.push(node("/0/new", 9, 9, 9, 0)),
        }
        assert_eq!(check(&history, &after), Vec::<String>::new(), "{op:?} happened");
        let last = after.len() - 1;
        match &op {
            Op::Set { .. } => after[2].version = 4,
            Op::Create { sequential: true, .. } => {
                after.push(node("/seq/0-0000000010", 9, 10, 10, 0));
            }
            _ => after[last].version = 1,
        }
        assert!(!check(&history, &after).is_empty(), "{op:?} happened twice");
    }
}

#[test]
fn what_was_seen_once_must_stay() {
    let mut checker = Checker::new(2);
    history().iter().for_each(|entry| checker.record(entry));
    let op = create("/0/new", 9);
    checker.record(&Entry {
        client: 0,
        server: 1,
        started: 40,
        ended: 41,
        op,
        outcome: Outcome::Unknown,
    });
    let mut seen = tree();
    seen.push(node("/0/new", 9, 9, 9, 0));
    checker.observe(&seen, client_of);
    assert!(checker.violations().is_empty());
    checker.observe(&tree(), client_of);
    assert!(checker.violations()[0].contains("Z5: /0/new"), "{:?}", checker.violations());
}

#[test]
fn who_takes_no_writes_has_done_nothing() {
    let refused = |op| {
        let mut history = history();
        let outcome = Outcome::Refused(-119);
        history.push(Entry { client: 0, server: 1, started: 40, ended: 41, op, outcome });
        history
    };
    assert_eq!(check(&refused(create("/0/new", 9)), &tree()), Vec::<String>::new());
    let mut done = tree();
    done.push(node("/0/new", 9, 9, 9, 0));
    assert!(check(&refused(create("/0/new", 9)), &done)[0].contains("S2/C2"));
}

#[test]
fn a_refusal_without_a_reason_is_found() {
    for op in [set("/0/r", 9, 2), create("/0/new", 9), Op::Delete { path: "/0/r".into() }] {
        let mut checker = Checker::new(2);
        history().iter().for_each(|entry| checker.record(entry));
        let outcome = Outcome::Refused(-101);
        checker.record(&Entry { client: 0, server: 1, started: 40, ended: 41, op, outcome });
        assert!(checker.violations()[0].contains("impossible"));
    }
}
