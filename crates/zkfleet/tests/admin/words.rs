//! Four-letter words on the client port: which are answered, and that they say what HTTP says.

use std::collections::BTreeSet;

use zk_testkit::{Engine, PATIENCE, four_letter_word};

use crate::site::Site;

const WORDS: [&str; 17] = [
    "ruok", "srvr", "stat", "cons", "conf", "dump", "wchs", "wchc", "wchp", "dirs", "isro", "hash",
    "envi", "mntr", "gtmk", "crst", "srst",
];

fn ask(site: &Site, word: &str) -> String {
    let answer = four_letter_word(site.server.addr(), word.as_bytes(), PATIENCE).unwrap();
    String::from_utf8(answer).unwrap()
}

fn refusal(word: &str) -> String {
    format!("{word} is not executed because it is not in the whitelist.\n")
}

#[test]
fn the_whitelist_says_which_are_answered() {
    for (line, allowed) in [
        ("4lw.commands.whitelist=*", &WORDS[..]),
        ("4lw.commands.whitelist=ruok, mntr", &["ruok", "mntr", "srvr"]),
        ("4lw.commands.whitelist=", &["srvr"]),
    ] {
        // Nothing takes srvr away: scripts ask with it whether a server is up.
        let site = Site::start(Engine::Ours, &[line]);
        let _clients = site.load();
        for word in WORDS.into_iter().chain(["stmk"]) {
            let answer = ask(&site, word);
            let is_allowed = allowed.contains(&word);
            let is_refused = answer == refusal(word);
            if word != "stmk" || !line.ends_with('*') {
                assert_eq!(is_refused, !is_allowed, "{line}: {word}: {answer}");
            }
            assert!(!is_allowed || !answer.is_empty(), "{line}: {word} says nothing");
        }
        // No word at all: a length that no request has.
        assert_eq!(ask(&site, "nope"), "");
    }
}

#[test]
fn words_say_what_http_says() {
    let site = Site::start(Engine::Ours, &[]);
    let _clients = site.load();
    let names = |text: String| {
        let names = text.lines().filter_map(|line| line.split('\t').next()?.strip_prefix("zk_"));
        names.map(str::to_owned).collect::<BTreeSet<_>>()
    };
    let monitor = site.command("monitor");
    let keys = monitor.as_object().unwrap().keys();
    let keys = keys.filter(|key| !["command", "error"].contains(&key.as_str()));
    assert_eq!(keys.cloned().collect::<BTreeSet<_>>(), names(ask(&site, "mntr")));
    let stats = site.command("srvr");
    let zxid = stats["server_stats"]["last_processed_zxid"].as_i64().unwrap();
    let text = ask(&site, "srvr");
    assert!(text.contains(&format!("Zxid: 0x{zxid:x}\n")), "{text}");
    assert!(text.contains(&format!("Node count: {}\n", stats["node_count"])), "{text}");
    let watches = site.command("wchs");
    let line = format!(
        "{} connections watching {} paths\nTotal watches:{}\n",
        watches["num_connections"], watches["num_paths"], watches["num_total_watches"]
    );
    assert_eq!(ask(&site, "wchs"), line);
    assert_eq!(ask(&site, "isro"), "rw");
    assert_eq!(site.command("isro")["read_only"], false);
    // stmk takes eight bytes more.
    let mut bytes = b"stmk".to_vec();
    bytes.extend_from_slice(&9i64.to_be_bytes());
    let answer = four_letter_word(site.server.addr(), &bytes, PATIENCE).unwrap();
    assert_eq!(answer, b"9");
    assert_eq!(site.command("gtmk")["tracemask"], 9);
    ask(&site, "srst");
    let stats = site.command("srvr");
    assert!(stats["server_stats"]["packets_received"].as_i64().unwrap() < 10, "{stats}");
}
