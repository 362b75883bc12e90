//! ACLs on their way in: from what a client gives to what is stored (client-protocol 8.3).

use super::{AuthOptions, DigestScheme, Identity, is_distinguished_name, parse_network};
use std::borrow::Cow;
use std::collections::BTreeSet;
use zk_proto::ErrorCode;
use zk_proto::acl::{self, Acl, AclBytes};

/// A longer list is refused: it is read at every access, under the tree's lock.
const MAX_ACL_ENTRIES: usize = 4096;
/// A larger list is refused: `auth` entries could make a small request any size, and with the data
/// of a znode a transaction that Apache's members do not read.
const MAX_ACL_BYTES: usize = 512 << 10;

impl AuthOptions {
    /// Makes a given list ready to be stored (client-protocol 8.3): duplicates go, `auth` becomes
    /// the connection's identities, everything else must be valid. Borrows when nothing changes.
    pub fn fix_up<'a>(
        &self,
        list: AclBytes<'a>,
        identities: &[Identity],
    ) -> Result<Cow<'a, [u8]>, ErrorCode> {
        if list == AclBytes::OPEN {
            return Ok(Cow::Borrowed(list.as_bytes()));
        }
        let mut seen = BTreeSet::new();
        let given: Vec<Acl<'_>> = list.iter().filter(|entry| seen.insert(entry.clone())).collect();
        if given.is_empty() || given.len() > MAX_ACL_ENTRIES {
            return Err(ErrorCode::InvalidAcl);
        }
        let mut fixed = Vec::with_capacity(given.len());
        let mut bytes = 0;
        for entry in &given {
            let before = fixed.len();
            let scheme = entry.scheme.as_deref().ok_or(ErrorCode::InvalidAcl)?;
            match (scheme, entry.id.as_deref()) {
                ("world" | "digest" | "ip", None) => return Err(ErrorCode::MarshallingError),
                ("world", Some("anyone")) => fixed.push(entry.clone()),
                ("auth", _) => {
                    fixed.extend(
                        identities.iter().filter(|identity| is_authenticated(identity)).map(
                            |identity| Acl {
                                perms: entry.perms,
                                scheme: Some(Cow::Borrowed(&*identity.scheme)),
                                id: Some(Cow::Borrowed(&*identity.id)),
                            },
                        ),
                    );
                    if fixed.len() == before {
                        return Err(ErrorCode::InvalidAcl);
                    }
                }
                (scheme, Some(id)) if self.is_valid_id(scheme, id) => fixed.push(entry.clone()),
                _ => return Err(ErrorCode::InvalidAcl),
            }
            bytes += fixed[before..].iter().map(encoded_len).sum::<usize>();
            if fixed.len() > MAX_ACL_ENTRIES || bytes > MAX_ACL_BYTES {
                return Err(ErrorCode::InvalidAcl);
            }
        }
        Ok(Cow::Owned(acl::encode(&fixed)))
    }

    fn is_valid_id(&self, scheme: &str, id: &str) -> bool {
        match scheme {
            "digest" => self.digest != DigestScheme::Off && is_digest_id(id),
            "ip" => parse_network(id).is_some(),
            "x509" => self.x509 && is_distinguished_name(id),
            "sasl" => self.sasl && !id.is_empty(),
            _ => false,
        }
    }
}

fn encoded_len(entry: &Acl<'_>) -> usize {
    let text = |text: &Option<Cow<'_, str>>| 4 + text.as_ref().map_or(0, |text| text.len());
    4 + text(&entry.scheme) + text(&entry.id)
}

/// Schemes whose ids an `auth` entry stands for (`isAuthenticated` of Apache's providers).
fn is_authenticated(identity: &Identity) -> bool {
    matches!(&*identity.scheme, "digest" | "x509" | "sasl")
}

/// Java's `split(":")` drops empty parts at the end; exactly two must remain.
fn is_digest_id(id: &str) -> bool {
    let mut parts: Vec<&str> = id.split(':').collect();
    while parts.last().is_some_and(|part| part.is_empty()) {
        parts.pop();
    }
    parts.len() == 2
}

#[cfg(test)]
mod tests {
    use super::*;
    use zk_proto::Perms;

    fn fix_up(list: &[Acl<'_>], identities: &[Identity]) -> Result<usize, ErrorCode> {
        let list = acl::encode(list);
        let list = AclBytes::parse(&list).unwrap();
        AuthOptions::default().fix_up(list, identities).map(|fixed| fixed.len())
    }

    #[test]
    fn duplicates_go_and_the_order_stays() {
        let (b, a) = (Acl::new(Perms(1), "ip", "2.2.2.2"), Acl::new(Perms(1), "ip", "1.1.1.1"));
        let list = acl::encode(&[b.clone(), a.clone(), b.clone()]);
        let options = AuthOptions::default();
        let fixed = options.fix_up(AclBytes::parse(&list).unwrap(), &[]);
        assert_eq!(fixed.as_deref(), Ok(&acl::encode(&[b, a])[..]));
    }

    #[test]
    fn a_list_is_bounded_whatever_its_auth_entries_stand_for() {
        let auth = |perms| Acl::new(Perms(perms), "auth", "");
        let me = Identity::new("digest", format!("{}:h", "u".repeat(50_000)));
        let lists: Vec<_> = (1..12).map(auth).collect();
        assert!(fix_up(&lists[..10], std::slice::from_ref(&me)).is_ok());
        assert_eq!(fix_up(&lists, &[me]), Err(ErrorCode::InvalidAcl));

        let many: Vec<String> = (0..5000).map(|n| format!("u{n}:h")).collect();
        let list: Vec<_> = many.iter().map(|id| Acl::new(Perms(1), "digest", id)).collect();
        assert!(fix_up(&list[..4096], &[]).is_ok());
        assert_eq!(fix_up(&list, &[]), Err(ErrorCode::InvalidAcl));
    }

    #[test]
    fn an_id_that_is_not_utf8_may_grow_but_is_still_bounded() {
        let mut list = 1i32.to_be_bytes().to_vec();
        list.extend([0, 0, 0, 31, 0, 0, 0, 6]);
        list.extend(b"digest");
        list.extend(700_002i32.to_be_bytes());
        list.extend([0xff; 700_000]);
        list.extend(b":h");
        let list = AclBytes::parse(&list).unwrap();
        let fixed = AuthOptions::default().fix_up(list, &[]);
        assert_eq!(fixed, Err(ErrorCode::InvalidAcl));
    }
}
