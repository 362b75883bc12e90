//! The replies' bytes as client-protocol 1.2 and 3 say, written a second time.

/// Bytes in the making.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Bytes(pub Vec<u8>);

/// The fields of a Stat in their order on the wire.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WireStat {
    /// czxid, mzxid, ctime, mtime.
    pub longs: [i64; 4],
    /// version, cversion (of clients), aversion.
    pub versions: [i32; 3],
    /// ephemeralOwner as clients see it.
    pub owner: i64,
    /// dataLength and numChildren.
    pub sizes: [i32; 2],
    /// pzxid.
    pub pzxid: i64,
}

impl Bytes {
    /// Appends an int.
    pub fn int(mut self, value: i32) -> Bytes {
        self.0.extend(value.to_be_bytes());
        self
    }

    /// Appends a long.
    pub fn long(mut self, value: i64) -> Bytes {
        self.0.extend(value.to_be_bytes());
        self
    }

    /// Appends a bool.
    pub fn bool(mut self, value: bool) -> Bytes {
        self.0.push(value.into());
        self
    }

    /// Appends a buffer or null.
    pub fn buffer(self, value: Option<&[u8]>) -> Bytes {
        match value {
            None => self.int(-1),
            Some(bytes) => self.int(bytes.len() as i32).raw(bytes),
        }
    }

    /// Appends a string.
    pub fn string(self, value: &str) -> Bytes {
        self.buffer(Some(value.as_bytes()))
    }

    /// Appends strings; their order means nothing, so they are sorted.
    pub fn strings(mut self, mut values: Vec<String>) -> Bytes {
        values.sort_unstable();
        self = self.int(values.len() as i32);
        values.iter().fold(self, |bytes, value| bytes.string(value))
    }

    /// Appends a Stat.
    pub fn stat(mut self, stat: &WireStat) -> Bytes {
        self = stat.longs.into_iter().fold(self, Bytes::long);
        self = stat.versions.into_iter().fold(self, Bytes::int);
        self = self.long(stat.owner);
        self = stat.sizes.into_iter().fold(self, Bytes::int);
        self.long(stat.pzxid)
    }

    /// Appends the header in front of an operation's result in a multi.
    pub fn result(self, op: i32, err: i32) -> Bytes {
        self.int(op).bool(false).int(err)
    }

    /// Appends the end of a multi's results.
    pub fn results_end(self) -> Bytes {
        self.int(-1).bool(true).int(-1)
    }

    /// Appends bytes as they are.
    pub fn raw(mut self, bytes: &[u8]) -> Bytes {
        self.0.extend_from_slice(bytes);
        self
    }
}
