//! The four-letter words and which of them may be used (operations 3).

use std::fmt;
use std::str::FromStr;

macro_rules! words {
    ($($(#[$doc:meta])* $name:ident = $text:literal),* $(,)?) => {
        /// A command of four letters, sent instead of a connect request.
        #[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, PartialOrd, Ord)]
        pub enum FourLetterWord { $($(#[$doc])* $name),* }

        impl FourLetterWord {
            /// All of them.
            pub const ALL: &'static [FourLetterWord] = &[$(FourLetterWord::$name),*];

            /// The word of the first four bytes of a connection; everything else is a length.
            #[must_use]
            pub fn from_bytes(bytes: [u8; 4]) -> Option<FourLetterWord> {
                match &bytes { $($text => Some(FourLetterWord::$name),)* _ => None }
            }

            /// The four letters.
            #[must_use]
            pub const fn bytes(self) -> &'static [u8; 4] {
                match self { $(FourLetterWord::$name => $text),* }
            }
        }
    };
}

words! {
    /// Configuration.
    Conf = b"conf",
    /// Connections with their statistics.
    Cons = b"cons",
    /// Reset the statistics of connections.
    Crst = b"crst",
    /// Sizes of the directories.
    Dirs = b"dirs",
    /// Sessions, ephemerals, connections.
    Dump = b"dump",
    /// Environment of the process.
    Envi = b"envi",
    /// Show the trace mask.
    Gtmk = b"gtmk",
    /// Digests of the tree.
    Hash = b"hash",
    /// Read-only or not.
    Isro = b"isro",
    /// Metrics.
    Mntr = b"mntr",
    /// Is the process alive.
    Ruok = b"ruok",
    /// Reset the statistics of the server.
    Srst = b"srst",
    /// Short statistics.
    Srvr = b"srvr",
    /// Short statistics and connections.
    Stat = b"stat",
    /// Set the trace mask; followed by 8 bytes.
    Stmk = b"stmk",
    /// Watches by session.
    Wchc = b"wchc",
    /// Watches by path.
    Wchp = b"wchp",
    /// Number of watches.
    Wchs = b"wchs",
}

impl FourLetterWord {
    /// How many bytes after the word belong to it.
    #[must_use]
    pub const fn argument_len(self) -> usize {
        match self {
            FourLetterWord::Stmk => 8,
            _ => 0,
        }
    }

    /// Whether its answer grows with connections, sessions or watches.
    #[must_use]
    pub const fn is_list(self) -> bool {
        use FourLetterWord::{Cons, Dump, Stat, Wchc, Wchp};
        matches!(self, Cons | Dump | Stat | Wchc | Wchp)
    }
}

impl fmt::Display for FourLetterWord {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.bytes().iter().try_for_each(|&byte| write!(f, "{}", byte as char))
    }
}

/// A text that is no four-letter word.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("not a four-letter word")]
pub struct UnknownWord;

impl FromStr for FourLetterWord {
    type Err = UnknownWord;

    fn from_str(text: &str) -> Result<Self, UnknownWord> {
        let bytes = text.as_bytes().try_into().map_err(|_| UnknownWord)?;
        FourLetterWord::from_bytes(bytes).ok_or(UnknownWord)
    }
}

/// Which words are answered; the default is Apache's, `srvr` alone, which no list takes away.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Whitelist(u32);

impl Whitelist {
    /// Not a single one.
    #[must_use]
    pub const fn empty() -> Whitelist {
        Whitelist(0)
    }

    /// All of them: `*`.
    #[must_use]
    pub const fn all() -> Whitelist {
        Whitelist(u32::MAX)
    }

    /// Adds a word.
    pub fn allow(&mut self, word: FourLetterWord) {
        self.0 |= 1 << word as u32;
    }

    /// Whether a word is answered.
    #[must_use]
    pub const fn allows(self, word: FourLetterWord) -> bool {
        self.0 & (1 << word as u32) != 0
    }
}

impl Default for Whitelist {
    fn default() -> Self {
        let mut list = Whitelist::empty();
        list.allow(FourLetterWord::Srvr);
        list
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_and_bytes_are_inverse() {
        for &word in FourLetterWord::ALL {
            assert_eq!(FourLetterWord::from_bytes(*word.bytes()), Some(word));
            assert_eq!(word.to_string().parse::<FourLetterWord>(), Ok(word));
        }
        for text in ["lead", "ruo", "RUOK", "ruok ", ""] {
            assert_eq!(text.parse::<FourLetterWord>(), Err(UnknownWord), "{text}");
        }
    }

    #[test]
    fn the_default_allows_srvr_alone() {
        let default = Whitelist::default();
        let allowed = FourLetterWord::ALL.iter().filter(|word| default.allows(**word));
        assert_eq!(allowed.collect::<Vec<_>>(), [&FourLetterWord::Srvr]);
        assert!(FourLetterWord::ALL.iter().all(|word| Whitelist::all().allows(*word)));
    }
}
