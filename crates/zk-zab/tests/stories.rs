//! Elections as stories: `tests/election/*.txt` hold commands (lines with `>`) and what happened.
//! `UPDATE_EXPECT=1` writes what happens now.
//!
//! ```text
//! > ensemble 1 2 3 observers 4       the configuration that all members begin with
//! > ensemble 1 2 3 weights 1 1 0     the same as one group with these weights
//! > look 1 0x100000005 epoch=1       member 1 looks, with this last zxid and current epoch
//! > deliver | deliver 1 2            everything under way, or from 1 to 2 alone
//! > lose 1 2                         what is under way from 1 to 2 is lost
//! > time 200                         the clock goes on by so many ms
//! > refused 1 3                      member 1 finds that 3 is no more
//! > connected 1 3                    member 1 has a new connection to 3
//! > established 3 epoch=2            leader 3 has begun its epoch
//! > config 1 version=5 1 2 3 4       member 1 has another configuration
//! > proposed 1 version=5 1 2 3 4     member 1 has heard of another configuration
//! ```

#![allow(clippy::unwrap_used, missing_docs)]

use std::collections::{BTreeMap, VecDeque};
use std::fmt::Write;
use std::path::Path;

use expect_test::expect_file;
use zk_proto::election::{Notification, ServerState};
use zk_proto::{Sid, Zxid};
use zk_zab::election::{Election, ElectionTimes, Output, Standing};
use zk_zab::{Configs, Ensemble, Role};

#[derive(Default)]
struct Story {
    ensemble: Ensemble,
    members: BTreeMap<Sid, Election>,
    under_way: VecDeque<(Sid, Sid, Notification<'static>)>,
    now_ms: u64,
    told: String,
}

impl Story {
    fn run(&mut self, line: &str) {
        writeln!(self.told, "> {line}").unwrap();
        let words: Vec<&str> = line.split_whitespace().collect();
        match words.as_slice() {
            ["ensemble", rest @ ..] => self.ensemble = ensemble(rest),
            ["config", sid, rest @ ..] => {
                let configs = Configs::new(ensemble(rest));
                *self.member(number(sid)).configs_mut() = configs;
            }
            ["proposed", sid, rest @ ..] => {
                self.member(number(sid)).configs_mut().proposed = Some(ensemble(rest));
            }
            ["look", "empty", sid] => {
                self.act(number(sid), |member, now_ms, out| member.look_empty(now_ms, out));
            }
            ["look", sid, zxid, epoch] => {
                let zxid = Zxid(i64::from_str_radix(zxid.trim_start_matches("0x"), 16).unwrap());
                let standing = Standing { zxid, epoch: value(epoch, "epoch") };
                self.act(number(sid), |member, now_ms, out| member.look(now_ms, standing, out));
            }
            ["deliver"] => {
                while let Some((from, to, notification)) = self.under_way.pop_front() {
                    self.deliver(from, to, &notification);
                }
            }
            ["deliver", from, to] => {
                for notification in self.take(number(from), number(to)) {
                    self.deliver(number(from), number(to), &notification);
                }
            }
            ["lose", from, to] => drop(self.take(number(from), number(to))),
            ["time", ms] => {
                self.now_ms += ms.parse::<u64>().unwrap();
                for sid in self.members.keys().copied().collect::<Vec<_>>() {
                    self.act(sid, |member, now_ms, out| member.tick(now_ms, out));
                }
            }
            ["refused", at, sid] => {
                self.act(number(at), |member, now_ms, out| {
                    member.refused(now_ms, number(sid), out)
                });
            }
            ["connected", at, to] => {
                self.act(number(at), |member, _, out| member.connected(number(to), out));
            }
            ["established", sid, epoch] => {
                self.member(number(sid)).established(value(epoch, "epoch"));
            }
            _ => panic!("{line}: no command"),
        }
    }

    fn member(&mut self, sid: Sid) -> &mut Election {
        let configs = Configs::new(self.ensemble.clone());
        let new = || Election::new(sid, Role::Observer, configs, true, ElectionTimes::default());
        self.members.entry(sid).or_insert_with(new)
    }

    fn take(&mut self, from: Sid, to: Sid) -> Vec<Notification<'static>> {
        let all = std::mem::take(&mut self.under_way);
        let (taken, rest): (VecDeque<_>, VecDeque<_>) =
            all.into_iter().partition(|(f, t, _)| (*f, *t) == (from, to));
        self.under_way = rest;
        taken.into_iter().map(|(_, _, notification)| notification).collect()
    }

    fn deliver(&mut self, from: Sid, to: Sid, notification: &Notification<'static>) {
        if !self.members.contains_key(&to) {
            return;
        }
        writeln!(self.told, "{from} -> {to}  {}", text(notification)).unwrap();
        self.act(to, |member, now_ms, out| member.heard(now_ms, from, notification, out));
    }

    fn act(&mut self, sid: Sid, act: impl FnOnce(&mut Election, u64, &mut Vec<Output>)) {
        let (now_ms, mut out) = (self.now_ms, Vec::new());
        act(self.member(sid), now_ms, &mut out);
        for output in out {
            match output {
                Output::Send { to, notification } => {
                    self.under_way.push_back((sid, to, notification));
                }
                Output::Dial => {}
                Output::Adopt(config) => {
                    writeln!(self.told, "  {sid} adopts version {:x}", config.version).unwrap();
                }
                Output::Outvoted => writeln!(self.told, "  {sid} is wanted no more").unwrap(),
                Output::Wiped => writeln!(self.told, "  {sid} has lost what it had").unwrap(),
                Output::Elected { state, leader } => {
                    writeln!(self.told, "  {sid} is {} under {leader}", name(state)).unwrap();
                }
            }
        }
    }
}

fn number(word: &str) -> Sid {
    Sid(word.parse().unwrap())
}

fn value(word: &str, key: &str) -> i64 {
    word.strip_prefix(key).and_then(|rest| rest.strip_prefix('=')).unwrap().parse().unwrap()
}

/// `1 2 3 observers 4`, perhaps with a version in front.
fn ensemble(words: &[&str]) -> Ensemble {
    let at = words.iter().position(|word| *word == "weights").unwrap_or(words.len());
    let (words, weights) = words.split_at(at);
    let mut text = String::new();
    if !weights.is_empty() {
        writeln!(text, "group.1={}", words.join(":")).unwrap();
    }
    for (sid, weight) in words.iter().zip(weights.iter().skip(1)) {
        writeln!(text, "weight.{sid}={weight}").unwrap();
    }
    let mut role = "participant";
    for word in words {
        match *word {
            "observers" => role = "observer",
            version if version.starts_with("version=") => writeln!(text, "{version}").unwrap(),
            sid => writeln!(text, "server.{sid}=h{sid}:2888:3888:{role}").unwrap(),
        }
    }
    Ensemble::parse(&text).unwrap()
}

fn name(state: ServerState) -> &'static str {
    match state {
        ServerState::Looking => "LOOKING",
        ServerState::Following => "FOLLOWING",
        ServerState::Leading => "LEADING",
        ServerState::Observing => "OBSERVING",
    }
}

fn text(notification: &Notification<'_>) -> String {
    let n = notification;
    let who = match n.leader {
        Sid::NOBODY => return format!("{} for nobody, round {}", name(n.state), n.election_epoch),
        leader => leader,
    };
    format!(
        "{} for {who} ({}, epoch {}), round {}",
        name(n.state),
        n.zxid,
        n.peer_epoch,
        n.election_epoch
    )
}

fn tell(file: &Path) {
    let written = std::fs::read_to_string(file).unwrap();
    let mut story = Story::default();
    for line in written.lines() {
        if let Some(command) = line.strip_prefix("> ") {
            story.run(command);
        } else if line.starts_with('#') || line.is_empty() {
            writeln!(story.told, "{line}").unwrap();
        }
    }
    expect_file![file].assert_eq(&story.told);
}

#[test]
fn elections_go_as_told() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/election");
    let files = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    let mut files: Vec<_> = files.collect();
    files.sort();
    assert!(files.len() >= 8);
    files.iter().for_each(|file| tell(file));
}
