//! What an operator may let pass knowingly, for one start.

use std::fmt;
use std::str::FromStr;

/// A loss that may be let pass once, by its name on the command line of a server. There is no
/// setting for it: a configuration would go on accepting losses that nobody knows of yet.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Accept {
    /// A log that should be there is gone; go on from the snapshot (F).
    MissingLog,
    /// Cut the newest log where it is damaged or ends before its mark (A, B, C).
    CutNewestLog,
    /// Go on over missing records (I).
    Gaps,
    /// Go on although the tree digest is not the recorded one (I).
    Digest,
}

impl Accept {
    /// All there are.
    pub const ALL: [Accept; 4] =
        [Accept::MissingLog, Accept::CutNewestLog, Accept::Gaps, Accept::Digest];

    /// Its name.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Accept::MissingLog => "missing-log",
            Accept::CutNewestLog => "cut-newest-log",
            Accept::Gaps => "gaps",
            Accept::Digest => "digest",
        }
    }
}

impl fmt::Display for Accept {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// A name that stands for nothing that can be let pass.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[error("what can be let pass is one of: missing-log, cut-newest-log, gaps, digest")]
pub struct UnknownAccept;

impl FromStr for Accept {
    type Err = UnknownAccept;

    fn from_str(name: &str) -> Result<Accept, UnknownAccept> {
        Accept::ALL.into_iter().find(|accept| accept.name() == name).ok_or(UnknownAccept)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_name_is_its_own_and_told_when_one_is_unknown() {
        for accept in Accept::ALL {
            assert_eq!(accept.name().parse(), Ok(accept));
            assert!(UnknownAccept.to_string().contains(accept.name()));
        }
        assert_eq!("all".parse::<Accept>(), Err(UnknownAccept));
    }
}
