//! What a command says when it succeeds.

use std::fmt::Display;
use std::io;

use serde_json::Value;

/// Text for people, JSON for programs.
#[derive(Clone, PartialEq, Debug, Default)]
pub(super) struct Report {
    /// For standard output; each line ended.
    out: String,
    /// For standard error.
    notes: String,
    json: Value,
    /// It was carried out in part: the notes say what is missing.
    pub(super) has_failed: bool,
}

impl Report {
    pub(super) fn new() -> Report {
        Report::default()
    }

    pub(super) fn line(mut self, line: impl Display) -> Report {
        self.out.push_str(&format!("{line}\n"));
        self
    }

    /// A line for standard error, where zkCli puts what is no result.
    pub(super) fn note(mut self, note: impl Display) -> Report {
        self.notes.push_str(&format!("{note}\n"));
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

    /// Text first, so that what is read together comes together. Notes come in any case; the error
    /// is that of the text.
    pub(super) fn print(&self, is_json: bool) -> io::Result<()> {
        let printed = match is_json {
            true => super::say(&format!("{}\n", self.json)),
            false => super::say(&self.out),
        };
        if !is_json || self.has_failed {
            super::warn(&self.notes);
        }
        printed
    }
}
