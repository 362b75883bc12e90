//! The table of commands, and a command line read by it.
//!
//! Options may stand anywhere, as with Apache Commons CLI: `-v 5`, `-v5`, `-v=5`, `-sw` for `-s
//! -w`; `--` ends them, for data that begins with a dash.

use std::ops::RangeInclusive;

use serde_json::{Value, json};

use super::Trouble;

/// One command.
#[derive(PartialEq, Eq, Debug)]
pub(super) struct Spec {
    pub(super) name: &'static str,
    /// Behind the name; zkCli's text.
    usage: &'static str,
    about: &'static str,
    /// Options without a value.
    flags: &'static [&'static str],
    /// Options with one.
    values: &'static [&'static str],
    args: RangeInclusive<usize>,
    /// Whether a server has to be asked.
    pub(super) needs_session: bool,
}

/// A command line that was understood.
#[derive(PartialEq, Eq, Debug)]
pub(super) struct Parsed {
    pub(super) spec: &'static Spec,
    flags: Vec<&'static str>,
    values: Vec<(&'static str, String)>,
    pub(super) args: Vec<String>,
}

macro_rules! commands {
    ($($name:literal $usage:literal [$($flag:literal)*] [$($value:literal)*] $args:expr,
        $needs:ident, $about:literal;)*) => {
        /// Every command, sorted.
        pub(super) const ALL: &[Spec] = &[$(Spec {
            name: $name,
            usage: $usage,
            about: $about,
            flags: &[$($flag),*],
            values: &[$($value),*],
            args: $args,
            needs_session: commands!(@ $needs),
        }),*];
    };
    (@ server) => { true };
    (@ local) => { false };
}

commands! {
    "addWatch" "[-m mode] path # optional mode is one of [PERSISTENT, PERSISTENT_RECURSIVE] - default is PERSISTENT_RECURSIVE"
        [] ["m"] 1..=1, server, "watch a znode, or all below it, until told otherwise";
    "addauth" "scheme auth" [] [] 1..=2, server, "add an identity, e.g. digest user:password";
    "close" "" [] [] 0..=0, local, "close the session; its ephemerals go";
    "config" "[-c] [-w] [-s]" ["c" "w" "s"] [] 0..=0, server, "the ensemble's members";
    "connect" "host:port" [] [] 0..=1, local, "close this session and open another one";
    "create" "[-s] [-e] [-c] [-t ttl] path [data] [acl]"
        ["s" "e" "c"] ["t"] 1..=3, server, "create a znode: sequential, ephemeral, container, with a TTL in ms";
    "delete" "[-v version] path" [] ["v"] 1..=2, server, "delete a znode without children";
    "deleteall" "path [-b batch size]" [] ["b"] 1..=1, server, "delete a znode and everything below it";
    "delquota" "[-n|-b|-N|-B] path" ["n" "b" "N" "B"] [] 1..=1, server, "remove limits";
    "get" "[-s] [-w] [-b] [-x] path" ["s" "w" "b" "x"] [] 1..=2, server, "data: with stat, with a watch, as base64, as a hexdump";
    "getAcl" "[-s] path" ["s"] [] 1..=1, server, "who may do what";
    "getAllChildrenNumber" "path" [] [] 1..=1, server, "how many znodes are below";
    "getEphemerals" "path" [] [] 0..=1, server, "this session's ephemerals";
    "help" "[command]" [] [] 0..=1, local, "this list";
    "history" "" [] [] 0..=0, local, "the last commands";
    "listquota" "path" [] [] 1..=1, server, "limits and usage";
    "ls" "[-s] [-w] [-R] path" ["s" "w" "R" "?"] [] 1..=2, server, "children: with stat, with a watch, everything below";
    "printwatches" "on|off" [] [] 0..=1, local, "whether events are shown";
    "quit" "" [] [] 0..=0, local, "close the session and leave";
    "reconfig" "[-s] [-v version] [[-file path] | [-members serverID=host:port1:port2;port3[,...]*]] | [-add serverId=host:port1:port2;port3[,...]]* [-remove serverId[,...]*]"
        ["s"] ["v" "file" "members" "add" "remove"] 0..=0, server, "change the ensemble's members";
    "redo" "cmdno" [] [] 1..=1, local, "run a command of the history again";
    "removewatches" "path [-c|-d|-a] [-l]" ["c" "d" "p" "r" "a" "l"] [] 1..=1, server, "remove watches: child, data, persistent, recursive, any; -l also without a server";
    "set" "path data [-s] [-v version] [-b]" ["s" "b"] ["v"] 2..=2, server, "replace the data; -b: it is given as base64";
    "setAcl" "[-s] [-v version] [-R] path acl" ["s" "R"] ["v"] 2..=2, server, "replace the ACL, e.g. world:anyone:r,auth::cdrwa";
    "setquota" "-n|-b|-N|-B val path" [] ["n" "b" "N" "B"] 1..=1, server, "limit znodes or bytes: soft (n, b), hard (N, B)";
    "stat" "[-w] path" ["w"] [] 1..=2, server, "zxids, times, versions";
    "sync" "path" [] [] 1..=1, server, "let this member catch up with the leader";
    "version" "" [] [] 0..=0, local, "what this is";
    "whoami" "" [] [] 0..=0, server, "this connection's identities";
}

impl Spec {
    pub(super) fn find(name: &str) -> Option<&'static Spec> {
        ALL.iter().find(|spec| spec.name == name)
    }

    pub(super) fn usage(&self) -> String {
        format!("{} {}", self.name, self.usage).trim_end().to_owned()
    }

    pub(super) fn json(&self) -> Value {
        json!({ "command": self.name, "usage": self.usage(), "about": self.about })
    }

    fn bad(&self, message: impl Into<String>) -> Trouble {
        Trouble::usage(message).hint(format!("usage: {}", self.usage()))
    }
}

/// All commands with their usage, as zkCli lists them.
pub(super) fn overview() -> String {
    ALL.iter().map(|spec| format!("\t{}\n\t\t{}\n", spec.usage(), spec.about)).collect()
}

pub(super) fn overview_json() -> Value {
    json!({ "commands": ALL.iter().map(Spec::json).collect::<Vec<_>>() })
}

/// Reads a command line.
pub(super) fn parse(words: &[String]) -> Result<Parsed, Trouble> {
    let Some((name, rest)) = words.split_first() else {
        return Err(Trouble::usage("No command entered"));
    };
    let spec = Spec::find(name).ok_or_else(|| unknown(name))?;
    let mut parsed = Parsed { spec, flags: Vec::new(), values: Vec::new(), args: Vec::new() };
    let mut rest = rest.iter();
    while let Some(word) = rest.next() {
        match word.strip_prefix('-') {
            Some("-") => parsed.args.extend(rest.by_ref().cloned()),
            Some(option) if !option.is_empty() => {
                parsed.option(word, option, &mut || rest.next().cloned())?;
            }
            _ => parsed.args.push(word.clone()),
        }
    }
    match spec.args.contains(&parsed.args.len()) {
        true => Ok(parsed),
        false if parsed.args.len() < *spec.args.start() => Err(Trouble::usage(spec.usage())),
        false => Err(spec.bad(format!("too many arguments for {name}"))),
    }
}

fn unknown(name: &str) -> Trouble {
    let near = ALL.iter().find(|spec| spec.name.eq_ignore_ascii_case(name));
    let hint = match near {
        Some(spec) => format!("did you mean {}?", spec.name),
        None => "the commands: help".to_owned(),
    };
    Trouble::usage(format!("Command not found {name}")).hint(hint)
}

impl Parsed {
    fn option(
        &mut self,
        word: &str,
        option: &str,
        next: &mut dyn FnMut() -> Option<String>,
    ) -> Result<(), Trouble> {
        let spec = self.spec;
        if let Some(flag) = spec.flags.iter().find(|flag| **flag == option) {
            self.flags.push(flag);
            return Ok(());
        }
        let (name, attached) = match option.split_once('=') {
            Some((name, value)) => (name, Some(value.to_owned())),
            None => (option, None),
        };
        if let Some(value) = spec.values.iter().find(|value| **value == name) {
            let given = attached.or_else(next);
            let given =
                given.ok_or_else(|| spec.bad(format!("Missing argument for option: {name}")))?;
            self.values.push((value, given));
            return Ok(());
        }
        // -v5, then -sw.
        let short =
            spec.values.iter().find(|value| value.len() == 1 && option.starts_with(**value));
        if let Some(value) = short {
            self.values.push((value, option[1..].to_owned()));
            return Ok(());
        }
        let flag = |letter: char| {
            spec.flags.iter().find(|flag| flag.len() == 1 && flag.starts_with(letter)).copied()
        };
        match option.chars().map(flag).collect::<Option<Vec<_>>>() {
            Some(flags) => self.flags.extend(flags),
            None => {
                let hint =
                    format!("usage: {}; write -- before data that begins with -", spec.usage());
                return Err(Trouble::usage(format!("Unrecognized option: {word}")).hint(hint));
            }
        }
        Ok(())
    }

    /// Whether nothing comes of it without a connection: `removewatches -l` forgets them here.
    pub(super) fn needs_server(&self) -> bool {
        self.spec.needs_session && !(self.spec.name == "removewatches" && self.has("l"))
    }

    pub(super) fn has(&self, flag: &str) -> bool {
        self.flags.contains(&flag)
    }

    pub(super) fn value(&self, option: &str) -> Option<&str> {
        self.values.iter().rev().find(|(name, _)| *name == option).map(|(_, value)| value.as_str())
    }

    /// How many options with a value were given.
    pub(super) fn value_count(&self) -> usize {
        self.values.len()
    }

    /// An option's value as a number, or `default`.
    pub(super) fn number<N: std::str::FromStr>(
        &self,
        option: &str,
        default: N,
    ) -> Result<N, Trouble> {
        match self.value(option) {
            None => Ok(default),
            Some(text) => text
                .parse()
                .map_err(|_| self.spec.bad(format!("-{option} takes a number, not {text:?}"))),
        }
    }

    /// An argument that [`parse`] has counted.
    pub(super) fn arg(&self, at: usize) -> &str {
        self.args.get(at).map_or("", String::as_str)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(line: &str) -> Vec<String> {
        super::super::words::split(line)
    }

    #[test]
    fn the_table_is_sorted_as_javas_names_are() {
        assert!(ALL.is_sorted_by_key(|spec| spec.name));
    }

    #[test]
    fn options_stand_anywhere_and_in_every_form() {
        for line in ["set -v 5 -s /a x", "set /a x -s -v5", "set /a -v=5 x -s"] {
            let parsed = parse(&words(line)).unwrap();
            assert_eq!(parsed.args, ["/a", "x"], "{line}");
            assert_eq!(parsed.value("v"), Some("5"));
            assert!(parsed.has("s") && !parsed.has("b"));
        }
        let parsed = parse(&words("get -sw /a")).unwrap();
        assert!(parsed.has("s") && parsed.has("w"));
        assert_eq!(parse(&words("set /a -- -5")).unwrap().args, ["/a", "-5"]);
        assert_eq!(parse(&words("set /a -")).unwrap().args, ["/a", "-"]);
        let parsed = parse(&words("reconfig -add server.1=a:1:2;3 -remove 4")).unwrap();
        assert_eq!(parsed.value("add"), Some("server.1=a:1:2;3"));
    }

    #[test]
    fn what_cannot_be_understood_is_said_in_zkclis_words() {
        for (line, want) in [
            ("", "No command entered"),
            ("lss /", "Command not found lss\n  (the commands: help)"),
            ("getacl /", "Command not found getacl\n  (did you mean getAcl?)"),
            ("ls", "ls [-s] [-w] [-R] path"),
            ("delete -v", "Missing argument for option: v\n  (usage: delete [-v version] path)"),
            ("delete -v x /a", "-v takes a number, not \"x\"\n  (usage: delete [-v version] path)"),
            ("sync /a /b", "too many arguments for sync\n  (usage: sync path)"),
            (
                "sync -q /a",
                "Unrecognized option: -q\n  (usage: sync path; write -- before data that begins with -)",
            ),
        ] {
            let trouble = parse(&words(line))
                .and_then(|parsed| parsed.number("v", 0).map(|_| ()))
                .unwrap_err();
            assert_eq!((trouble.text().as_str(), trouble.exit_code()), (want, 2), "{line}");
        }
    }
}
