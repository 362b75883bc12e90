//! Names of files in a `version-2` directory (disk-formats 1).

use std::fmt;
use zk_proto::Zxid;

/// How a snapshot is compressed; Apache reads it off the file's extension.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Default)]
pub enum Compression {
    /// As it is.
    #[default]
    None,
    /// One gzip member.
    Gzip,
    /// The framing of the Java library snappy-java.
    Snappy,
}

impl Compression {
    /// What stands behind the zxid in the file's name.
    #[must_use]
    pub fn extension(self) -> &'static str {
        match self {
            Compression::None => "",
            Compression::Gzip => ".gz",
            Compression::Snappy => ".snappy",
        }
    }
}

/// What a name says about its file.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Name {
    /// A transaction log and the zxid of its first record.
    Log(Zxid),
    /// A snapshot, the last zxid that is certainly in it, and its compression.
    Snapshot(Zxid, Compression),
    /// Apache would take it for a log or a snapshot, but nobody names them so: a copy somebody
    /// left (`log.1a.fixed`), or a temporary file of Apache's.
    Stray,
    /// Something else.
    Other,
}

impl Name {
    /// Understands a name. Apache (`Util.getZxidFromName`) looks only at the first two fields
    /// between dots; here anything but the canonical form is a [`Name::Stray`].
    #[must_use]
    pub fn parse(name: &str) -> Name {
        let Some((kind @ ("log" | "snapshot"), rest)) = name.split_once('.') else {
            return Name::Other;
        };
        let (hex, compression) = match rest.split_once('.') {
            None => (rest, Some(Compression::None)),
            Some((hex, "gz")) => (hex, Some(Compression::Gzip)),
            Some((hex, "snappy")) => (hex, Some(Compression::Snappy)),
            Some((hex, _)) => (hex, None),
        };
        let Ok(zxid) = i64::from_str_radix(hex, 16) else { return Name::Other };
        let parsed = match (kind, compression) {
            ("log", Some(Compression::None)) => Name::Log(Zxid(zxid)),
            ("snapshot", Some(compression)) => Name::Snapshot(Zxid(zxid), compression),
            _ => Name::Stray,
        };
        if parsed.to_string() == name { parsed } else { Name::Stray }
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Name::Log(zxid) => write!(f, "log.{:x}", zxid.0),
            Name::Snapshot(zxid, compression) => {
                write!(f, "snapshot.{:x}{}", zxid.0, compression.extension())
            }
            Name::Stray | Name::Other => f.write_str("(other)"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_apaches_and_strays_are_told_apart() {
        for (name, want) in [
            ("log.1", Name::Log(Zxid(1))),
            ("log.100000a0f", Name::Log(Zxid(0x1_0000_0a0f))),
            ("snapshot.0", Name::Snapshot(Zxid(0), Compression::None)),
            ("snapshot.1a.gz", Name::Snapshot(Zxid(0x1a), Compression::Gzip)),
            ("snapshot.1a.snappy", Name::Snapshot(Zxid(0x1a), Compression::Snappy)),
            ("log.1a.fixed", Name::Stray),
            ("log.1a.gz", Name::Stray),
            ("log.01", Name::Stray),
            ("log.1A", Name::Stray),
            ("snapshot.1a.tmp", Name::Stray),
            ("snapshot", Name::Other),
            ("log.", Name::Other),
            ("log.xyz", Name::Other),
            ("currentEpoch", Name::Other),
            ("zkfleet.logs", Name::Other),
        ] {
            assert_eq!(Name::parse(name), want, "{name}");
        }
    }
}
