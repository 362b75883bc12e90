//! The order of a connection's identities: that of Apache's hash set.
//!
//! `ServerCnxn.authInfo` is a `ConcurrentHashMap` key set, so the identities stand by the slots of
//! its table, not as they came. A client sees that order in an ACL made of `auth`, in the answer of
//! `whoAmI` and in the users of an audit line.

use super::Identity;

/// Sorts the identities of one connection, which are in the order in which they came.
///
/// Where two have one slot they stay as they came. (When Apache's table grows, from twelve
/// identities on, it may turn round those within a slot; that is not followed.)
pub fn sort_as_apache(identities: &mut [Identity]) {
    let mask = slots(identities.len()) - 1;
    identities.sort_by_cached_key(|identity| slot(identity, mask));
}

/// The length of a table that has grown to `count` entries: 16, doubled at three quarters
/// (`ConcurrentHashMap.addCount`).
fn slots(count: usize) -> u32 {
    let mut slots = 16_u32;
    while count >= slots as usize / 4 * 3 && slots < 1 << 30 {
        slots *= 2;
    }
    slots
}

/// `ConcurrentHashMap.spread` of `Id.hashCode`.
fn slot(identity: &Identity, mask: u32) -> u32 {
    let hash = [&*identity.scheme, &*identity.id]
        .into_iter()
        .fold(17_u32, |hash, text| hash.wrapping_mul(37).wrapping_add(java_hash(text)));
    (hash ^ (hash >> 16)) & mask
}

/// `String.hashCode`: over UTF-16.
fn java_hash(text: &str) -> u32 {
    text.encode_utf16()
        .fold(0_u32, |hash, unit| hash.wrapping_mul(31).wrapping_add(u32::from(unit)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn strings_hash_as_in_java() {
        assert_eq!(java_hash(""), 0);
        assert_eq!(java_hash("hello"), 99_162_322);
    }

    #[test]
    fn a_table_doubles_at_three_quarters() {
        assert_eq!([0, 11, 12, 23, 24].map(slots), [16, 16, 32, 32, 64]);
    }

    /// As whoAmI of a 3.9.4 told them.
    #[test]
    fn identities_stand_by_their_slots() {
        let supers = Identity::new("digest", "super:nhkjiPrzX146uLcxpa5AcUqDWNo=");
        let u = Identity::new("digest", "u:Jq7wMyA/w2Vd5WIDAKdu4OIIFEQ=");
        let ip = Identity::new("ip", "127.0.0.1");
        let super_user = Identity::new("super", "");
        let mut all = vec![ip.clone(), u.clone(), super_user.clone(), supers.clone()];
        sort_as_apache(&mut all);
        assert_eq!(all, [super_user, supers, ip, u], "7, 7, 12, 15: ties as they came");
    }
}
