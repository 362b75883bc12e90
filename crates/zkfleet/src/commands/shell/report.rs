//! What a command says when it succeeds.

use std::fmt::Display;
use std::io;

use serde_json::Value;

/// Where a line goes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum To {
    Output,
    Notes,
}

/// Text for people, JSON for programs.
#[derive(Clone, PartialEq, Debug, Default)]
pub(super) struct Report {
    /// Lines in the order in which they are said: both streams may go to one place.
    text: Vec<(To, String)>,
    json: Value,
    /// It was carried out in part: the notes say what is missing.
    pub(super) has_failed: bool,
}

impl Report {
    pub(super) fn new() -> Report {
        Report::default()
    }

    /// A line for standard output.
    pub(super) fn line(self, line: impl Display) -> Report {
        self.with(To::Output, line)
    }

    /// A line for standard error, where zkCli puts what is no result.
    pub(super) fn note(self, note: impl Display) -> Report {
        self.with(To::Notes, note)
    }

    fn with(mut self, to: To, line: impl Display) -> Report {
        match self.text.last_mut() {
            Some((last, text)) if *last == to => text.push_str(&format!("{line}\n")),
            _ => self.text.push((to, format!("{line}\n"))),
        }
        self
    }

    pub(super) fn json(mut self, json: Value) -> Report {
        self.json = json;
        self
    }

    pub(super) fn failed(mut self) -> Report {
        self.has_failed = true;
        self
    }

    /// All of it, or JSON and, of what failed in part, the notes. Notes come in any case; the error
    /// is that of the text.
    pub(super) fn print(&self, is_json: bool) -> io::Result<()> {
        let mut printed = Ok(());
        if is_json {
            printed = super::say(&format!("{}\n", self.json));
        } else if self.text.is_empty() {
            // Also of nothing: whoever reads may be gone.
            printed = super::say("");
        }
        for (to, text) in &self.text {
            match to {
                To::Output if !is_json => printed = printed.and(super::say(text)),
                To::Notes if !is_json || self.has_failed => super::warn(text),
                To::Output | To::Notes => {}
            }
        }
        printed
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_keep_their_order() {
        let report = Report::new().note("one").note("two").line("three").note("four");
        let wanted = [(To::Notes, "one\ntwo\n"), (To::Output, "three\n"), (To::Notes, "four\n")];
        assert_eq!(report.text, wanted.map(|(to, text)| (to, text.to_owned())));
    }
}
