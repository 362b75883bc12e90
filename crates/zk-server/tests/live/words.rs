//! Four-letter words that many ask for at once.

use std::io::{Read, Write};

use zk_proto::request::{ReadRequest, Request};

use crate::client::open;
use crate::member::Member;

/// Enough to make a list of them long work.
const WATCHES: usize = 5_000;
const ASKED: usize = 200;

#[test]
fn lists_that_wait_are_few_and_keep_nobody_from_other_words() {
    let member = Member::start("4lw.commands.whitelist=*\nmaxClientCnxns=0\n");
    let mut client = member.client();
    for n in 0..WATCHES {
        let watched = ReadRequest { path: format!("/missing-{n}").into(), watch: true };
        client.send(&Request::Exists(watched)).unwrap();
    }
    for _ in 0..WATCHES {
        client.reply().unwrap();
    }
    let mut asked = [(); ASKED].map(|()| open(member.addr()));
    for stream in &mut asked {
        stream.write_all(b"wchp").unwrap();
    }
    // One list is made at a time, and has its rest: they are not through yet.
    assert_eq!(member.word("ruok"), "imok");
    let answers = asked.map(|mut stream| {
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        answer
    });
    // A path and a session in two lines each.
    let is_list =
        |answer: &str| answer.lines().filter(|line| !line.is_empty()).count() == 2 * WATCHES;
    let lists = answers.iter().filter(|answer| is_list(answer)).count();
    let busy = answers.iter().filter(|answer| answer.starts_with("too many commands wait")).count();
    assert_eq!(lists + busy, ASKED);
    assert!(lists >= 16 && busy > 0, "{lists} lists, {busy} too many");
    // Who has been answered has made room.
    assert!(is_list(&member.word("wchp")));
}
