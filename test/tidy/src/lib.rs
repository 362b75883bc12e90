//! The house rules as tests, so that nobody has to argue about them in a review.
//!
//! It reads the repository's text and `cargo metadata`. **Invariant:** it knows no ZooKeeper, and
//! it changes no file; what it finds has a place, and says what to do.
//!
//! Read first: [`Finding`], [`files::TextFile`], [`allow::AllowList`] (exceptions and their
//! reasons, `allow.txt`).
//!
//! Tested by `cargo test -p tidy`: each rule on planted faults (`src/`), and on this repository
//! (`tests/`).

pub mod allow;
pub mod code;
pub mod files;
pub mod layers;
pub mod links;
pub mod purity;
pub mod text;
pub mod words;

use std::fmt;
use std::path::PathBuf;

/// Something that a rule does not allow.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct Finding {
    /// Path below the root, with slashes.
    pub file: String,
    /// Counted from 1; 0 for the file as a whole.
    pub line: usize,
    /// What is wrong, and what to do.
    pub what: String,
}

impl Finding {
    fn new(file: &str, line: usize, what: impl Into<String>) -> Finding {
        Finding { file: file.to_owned(), line, what: what.into() }
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.line {
            0 => write!(f, "{}: {}", self.file, self.what),
            line => write!(f, "{}:{line}: {}", self.file, self.what),
        }
    }
}

/// The root of the repository.
#[must_use]
pub fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../..")
}
