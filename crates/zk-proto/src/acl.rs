//! ACLs on the wire and on disk.

use crate::jute::{DecodeError, Jute, Limits, Reader, Text, put_text};

/// Permission bits. Bits above ALL are stored as given, as Apache does.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default)]
pub struct Perms(pub i32);

impl Perms {
    /// Read data, list children, see the ACL.
    pub const READ: Perms = Perms(1);
    /// Change data.
    pub const WRITE: Perms = Perms(2);
    /// Create children.
    pub const CREATE: Perms = Perms(4);
    /// Delete children.
    pub const DELETE: Perms = Perms(8);
    /// Change the ACL.
    pub const ADMIN: Perms = Perms(16);
    /// All of them.
    pub const ALL: Perms = Perms(31);

    /// Whether the two have a bit in common.
    #[must_use]
    pub const fn intersects(self, wanted: Perms) -> bool {
        self.0 & wanted.0 != 0
    }

    /// Both sets.
    #[must_use]
    pub const fn union(self, other: Perms) -> Perms {
        Perms(self.0 | other.0)
    }
}

impl std::fmt::Display for Perms {
    /// zkCli's letters: `cdrwa`.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let letters = [
            (Perms::CREATE, 'c'),
            (Perms::DELETE, 'd'),
            (Perms::READ, 'r'),
            (Perms::WRITE, 'w'),
            (Perms::ADMIN, 'a'),
        ];
        for (_, letter) in letters.iter().filter(|(perm, _)| self.intersects(*perm)) {
            write!(f, "{letter}")?;
        }
        Ok(())
    }
}

/// One entry of an ACL: who may do what.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Acl<'a> {
    /// What is allowed.
    pub perms: Perms,
    /// How `id` is to be understood; null is kept for the checks that must see it.
    pub scheme: Option<Text<'a>>,
    /// Who.
    pub id: Option<Text<'a>>,
}

impl<'a> Acl<'a> {
    /// An entry of a scheme and an id.
    #[must_use]
    pub fn new(perms: Perms, scheme: &'a str, id: &'a str) -> Acl<'a> {
        Acl { perms, scheme: Some(Text::Borrowed(scheme)), id: Some(Text::Borrowed(id)) }
    }
}

impl<'a> Jute<'a> for Acl<'a> {
    const MIN_LEN: usize = 12;
    fn read(r: &mut Reader<'a>) -> Result<Self, DecodeError> {
        Ok(Acl { perms: Perms(r.i32()?), scheme: r.text_or_null()?, id: r.text_or_null()? })
    }
    fn write(&self, out: &mut Vec<u8>) {
        self.perms.0.write(out);
        self.scheme.write(out);
        self.id.write(out);
    }
}

/// The bytes of a whole ACL list, checked once and kept as they came: lists are compared,
/// interned, logged and sent by their bytes, and parsed only when somebody asks who may do what.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct AclBytes<'a>(&'a [u8]);

impl<'a> AclBytes<'a> {
    /// The list `world:anyone:cdrwa`.
    pub const OPEN: AclBytes<'static> = AclBytes(&OPEN_ACL);
    /// The list `world:anyone:r`, the ACL of `/zookeeper/config`.
    pub const READ_ONLY: AclBytes<'static> = AclBytes(&READ_ACL);

    /// The bytes: a count and the entries.
    #[must_use]
    pub fn as_bytes(self) -> &'a [u8] {
        self.0
    }

    /// Takes bytes that [`AclBytes::as_bytes`] gave, or that [`encode`] made.
    pub fn parse(bytes: &'a [u8]) -> Result<AclBytes<'a>, DecodeError> {
        AclBytes::read(&mut Reader::with_limits(bytes, Limits::NONE))
    }

    /// Whether the list is null, which is not the same as empty.
    #[must_use]
    pub fn is_null(self) -> bool {
        self.0 == (-1i32).to_be_bytes()
    }

    /// Whether there is no entry: null, empty or a negative count.
    #[must_use]
    pub fn is_empty(self) -> bool {
        self.iter().next().is_none()
    }

    /// The entries in order.
    pub fn iter(self) -> impl Iterator<Item = Acl<'a>> {
        let mut r = Reader::with_limits(self.0, Limits::NONE);
        let count = r.count().ok().flatten().unwrap_or(0);
        (0..count).map_while(move |_| Acl::read(&mut r).ok())
    }
}

impl<'a> Jute<'a> for AclBytes<'a> {
    const MIN_LEN: usize = 4;
    #[inline]
    fn read(r: &mut Reader<'a>) -> Result<Self, DecodeError> {
        if r.rest().starts_with(&OPEN_ACL) {
            return r.take(OPEN_ACL.len()).map(AclBytes);
        }
        let from = r.position();
        for _ in 0..r.count()?.unwrap_or(0) {
            r.i32()?;
            r.buffer()?;
            r.buffer()?;
        }
        Ok(AclBytes(r.since(from)))
    }
    fn write(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(self.0);
    }
}

/// Encodes a list of entries.
#[must_use]
pub fn encode(entries: &[Acl<'_>]) -> Vec<u8> {
    let mut out = Vec::with_capacity(4 + entries.len() * 27);
    (entries.len() as i32).write(&mut out);
    for entry in entries {
        entry.write(&mut out);
    }
    out
}

const fn world_anyone(perms: u8) -> [u8; 27] {
    let mut bytes = *b"\0\0\0\x01\0\0\0\0\0\0\0\x05world\0\0\0\x06anyone";
    bytes[7] = perms;
    bytes
}

const OPEN_ACL: [u8; 27] = world_anyone(31);
const READ_ACL: [u8; 27] = world_anyone(1);

/// An identity: a scheme and a name in it.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct Id<'a> {
    /// `world`, `digest`, `ip`, `x509`, `sasl`, `super` ...
    pub scheme: Text<'a>,
    /// The name in that scheme.
    pub id: Text<'a>,
}

impl<'a> Jute<'a> for Id<'a> {
    const MIN_LEN: usize = 8;
    fn read(r: &mut Reader<'a>) -> Result<Self, DecodeError> {
        Ok(Id { scheme: r.text()?, id: r.text()? })
    }
    fn write(&self, out: &mut Vec<u8>) {
        put_text(out, &self.scheme);
        put_text(out, &self.id);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_constants_are_what_the_encoder_makes() {
        assert_eq!(encode(&[Acl::new(Perms::ALL, "world", "anyone")]), AclBytes::OPEN.as_bytes());
        assert_eq!(
            encode(&[Acl::new(Perms::READ, "world", "anyone")]),
            AclBytes::READ_ONLY.as_bytes()
        );
    }

    #[test]
    fn entries_come_back_in_order() {
        let list =
            [Acl::new(Perms::ALL, "digest", "a:b"), Acl::new(Perms::READ, "ip", "10.0.0.0/8")];
        let bytes = encode(&list);
        let parsed = AclBytes::parse(&bytes).unwrap();
        assert_eq!(parsed.iter().collect::<Vec<_>>(), list);
        assert!(!parsed.is_empty());
    }

    #[test]
    fn null_empty_and_negative_lists_are_empty() {
        for count in [-1i32, 0, -5] {
            let bytes = count.to_be_bytes();
            assert!(AclBytes::parse(&bytes).unwrap().is_empty(), "{count}");
        }
        let huge = i32::MAX.to_be_bytes();
        assert!(AclBytes::parse(&huge).is_err());
    }

    #[test]
    fn letters_are_zkclis() {
        assert_eq!(Perms::ALL.to_string(), "cdrwa");
        assert_eq!(Perms::READ.union(Perms::ADMIN).to_string(), "ra");
    }
}
