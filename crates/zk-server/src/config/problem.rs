//! What is wrong or odd in a configuration: every finding with its place and what to do.

use std::fmt;
use std::sync::Arc;

/// Where a value was written.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Origin {
    /// A line of a file, from 1.
    File(Arc<str>, u32),
    /// `-Dkey=value` of the command line.
    CommandLine,
    /// `JVMFLAGS` or `SERVER_JVMFLAGS`.
    Environment,
    /// Nowhere: the key is missing, or the finding is about the whole.
    Nowhere,
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Origin::File(name, line) => write!(f, "{name}:{line}: "),
            Origin::CommandLine => f.write_str("command line: "),
            Origin::Environment => f.write_str("environment: "),
            Origin::Nowhere => Ok(()),
        }
    }
}

/// Whether the server may start.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Severity {
    /// It must not.
    Error,
    /// It starts, and the operator should know.
    Warning,
}

/// One finding: what, where, why and what to do. Values of secret keys are never in the text.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Problem {
    /// Whether the server may start.
    pub severity: Severity,
    /// Where.
    pub origin: Origin,
    /// What and why, starting with the key.
    pub text: String,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let word = match self.severity {
            Severity::Error => "error",
            Severity::Warning => "warning",
        };
        write!(f, "{}{word}: {}", self.origin, self.text)
    }
}

/// All findings of one configuration, so that an operator mends them in one go.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(super) struct Problems(Vec<Problem>);

impl Problems {
    /// Adds a finding that prevents the start.
    pub(super) fn error(&mut self, origin: &Origin, text: impl Into<String>) {
        self.push(Severity::Error, origin, text.into());
    }

    /// Adds a finding that does not.
    pub(super) fn warn(&mut self, origin: &Origin, text: impl Into<String>) {
        self.push(Severity::Warning, origin, text.into());
    }

    fn push(&mut self, severity: Severity, origin: &Origin, text: String) {
        self.0.push(Problem { severity, origin: origin.clone(), text });
    }

    /// Whether one of them prevents the start.
    #[must_use]
    pub(super) fn has_errors(&self) -> bool {
        self.0.iter().any(|problem| problem.severity == Severity::Error)
    }

    /// Whether one that prevents the start is about this place.
    #[must_use]
    pub(super) fn has_error_at(&self, origin: &Origin) -> bool {
        let is_it = |it: &Problem| it.severity == Severity::Error && it.origin == *origin;
        self.0.iter().any(is_it)
    }

    /// All of them, in the order of the file; those without a place come last.
    #[must_use]
    pub(super) fn sorted(mut self) -> Vec<Problem> {
        self.0.sort_by_key(|problem| match &problem.origin {
            Origin::File(_, line) => (0, *line),
            Origin::CommandLine | Origin::Environment => (1, 0),
            Origin::Nowhere => (2, 0),
        });
        self.0
    }
}

/// Why there is no configuration.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ConfigError {
    /// A file cannot be read.
    #[error("cannot read {path}: {source}; check the path and its permissions")]
    Read {
        /// The file.
        path: String,
        /// What the system said.
        source: std::io::Error,
    },
    /// The content is not acceptable; warnings are among the problems too.
    #[error("the configuration is not usable:\n{}", lines(.0))]
    Invalid(Vec<Problem>),
}

fn lines(problems: &[Problem]) -> String {
    problems.iter().map(|problem| format!("  {problem}")).collect::<Vec<_>>().join("\n")
}
