//! Who may do what (client-protocol 8).

use super::code;
use super::wire::Bytes;
use zk_proto::acl::AclBytes;

/// Permission bits.
pub const READ: i32 = 1;
/// Change data.
pub const WRITE: i32 = 2;
/// Create children.
pub const CREATE: i32 = 4;
/// Delete children.
pub const DELETE: i32 = 8;
/// Change the ACL.
pub const ADMIN: i32 = 16;

/// One entry of an ACL.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Permission bits.
    pub perms: i32,
    /// Scheme, or null.
    pub scheme: Option<String>,
    /// Id, or null.
    pub id: Option<String>,
}

/// What a connection has proven to be: scheme and id.
pub type Id = (String, String);

impl Entry {
    /// An entry of a scheme and an id.
    #[must_use]
    pub fn new(perms: i32, scheme: &str, id: &str) -> Entry {
        Entry { perms, scheme: Some(scheme.into()), id: Some(id.into()) }
    }
}

/// The list in a request.
#[must_use]
pub fn decode(bytes: AclBytes<'_>) -> Vec<Entry> {
    let text = |text: Option<zk_proto::Text<'_>>| text.map(|text| text.into_owned());
    let entry =
        |e: zk_proto::Acl<'_>| Entry { perms: e.perms.0, scheme: text(e.scheme), id: text(e.id) };
    bytes.iter().map(entry).collect()
}

/// The list in a reply, and on disk.
#[must_use]
pub fn encode(list: &[Entry]) -> Vec<u8> {
    let text =
        |bytes: Bytes, text: &Option<String>| bytes.buffer(text.as_ref().map(|t| t.as_bytes()));
    let bytes = Bytes::default().int(list.len() as i32);
    let put = |bytes: Bytes, e: &Entry| text(text(bytes.int(e.perms), &e.scheme), &e.id);
    list.iter().fold(bytes, put).0
}

/// An IPv4 network as address and prefix length.
fn network(text: &str) -> Option<(u32, u32)> {
    let (address, bits) = match text.split_once('/') {
        Some((address, bits)) => (address, bits.parse().ok().filter(|bits| *bits <= 32)?),
        None => (text, 32),
    };
    let parts: Vec<u8> = address.split('.').map(str::parse).collect::<Result<_, _>>().ok()?;
    let parts: [u8; 4] = parts.try_into().ok()?;
    Some((u32::from_be_bytes(parts), bits))
}

fn matches(scheme: &str, id: &str, mine: &str) -> bool {
    match (scheme, network(id), network(mine)) {
        ("ip", Some((net, bits)), Some((ip, _))) => {
            (0..bits).all(|bit| (net ^ ip) << bit >> 31 == 0)
        }
        ("ip", _, _) => false,
        _ => id == mine,
    }
}

/// Whether one of `ids` has one of the `wanted` permissions (8.2).
pub fn check(list: &[Entry], wanted: i32, ids: &[Id]) -> Result<(), i32> {
    let allows = |entry: &Entry| {
        let (Some(scheme), Some(id)) = (&entry.scheme, &entry.id) else { return false };
        entry.perms & wanted != 0
            && (scheme == "world" && id == "anyone"
                || ids.iter().any(|(s, mine)| s == scheme && matches(s, id, mine)))
    };
    if list.is_empty() || ids.iter().any(|(scheme, _)| scheme == "super") || list.iter().any(allows)
    {
        return Ok(());
    }
    Err(code::NO_AUTH)
}

/// Where one of a few identities lies in the hash set in which Apache keeps a connection's: its
/// order is that of the slots.
fn slot((scheme, id): &Id) -> i32 {
    let hash = |text: &str| {
        text.encode_utf16().fold(0i32, |hash, unit| hash.wrapping_mul(31).wrapping_add(unit.into()))
    };
    let both = (37 * 17i32).wrapping_add(hash(scheme)).wrapping_mul(37).wrapping_add(hash(id));
    (both ^ (both >> 16)) & 15
}

/// Exactly two parts after a split at ':' that drops empty parts at the end.
fn is_digest_id(id: &str) -> bool {
    let trimmed = id.trim_end_matches(':');
    trimmed.split(':').count() == 2
}

/// The list that is stored for the list that was given (8.3).
pub fn fix_up(given: &[Entry], ids: &[Id]) -> Result<Vec<Entry>, i32> {
    let mut list: Vec<&Entry> = Vec::new();
    for entry in given {
        if !list.contains(&entry) {
            list.push(entry);
        }
    }
    if list.is_empty() {
        return Err(code::INVALID_ACL);
    }
    let mut fixed = Vec::new();
    for entry in list {
        let Some(scheme) = entry.scheme.as_deref() else { return Err(code::INVALID_ACL) };
        match (scheme, entry.id.as_deref()) {
            ("world", None) => return Err(code::MARSHALLING),
            ("world", Some("anyone")) => fixed.push(entry.clone()),
            ("auth", _) => {
                let mut proven: Vec<_> = ids.iter().filter(|(s, _)| s == "digest").collect();
                proven.sort_by_key(|id| slot(id));
                let mine: Vec<_> =
                    proven.iter().map(|(s, id)| Entry::new(entry.perms, s, id)).collect();
                if mine.is_empty() {
                    return Err(code::INVALID_ACL);
                }
                fixed.extend(mine);
            }
            ("digest", Some(id)) if is_digest_id(id) => fixed.push(entry.clone()),
            ("ip", Some(id)) if network(id).is_some() => fixed.push(entry.clone()),
            _ => return Err(code::INVALID_ACL),
        }
    }
    Ok(fixed)
}

/// The list for somebody without ADMIN: what stands behind the user of a digest is hidden.
#[must_use]
pub fn masked(list: &[Entry]) -> Vec<Entry> {
    let mask = |entry: &Entry| match (entry.scheme.as_deref(), entry.id.as_deref()) {
        (Some("digest"), Some(id)) if id.contains(':') => {
            let user = id.split(':').next().unwrap_or_default();
            Entry::new(entry.perms, "digest", &format!("{user}:x"))
        }
        _ => entry.clone(),
    };
    list.iter().map(mask).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_rules_by_example() {
        let me = [("ip".into(), "10.0.0.5".into()), ("digest".into(), "u:h".into())];
        let allowed = |scheme, id| check(&[Entry::new(READ, scheme, id)], READ, &me).is_ok();
        assert!(allowed("ip", "10.0.0.4/30") && !allowed("ip", "10.0.0.8/30"));
        assert!(
            allowed("ip", "1.2.3.4/0") && allowed("digest", "u:h") && !allowed("digest", "u:x")
        );
        assert_eq!(check(&[Entry::new(READ, "world", "anyone")], WRITE, &me), Err(code::NO_AUTH));
        for bad in ["u", "u:", ":", "a:b:c"] {
            assert_eq!(
                fix_up(&[Entry::new(1, "digest", bad)], &me),
                Err(code::INVALID_ACL),
                "{bad}"
            );
        }
        assert!(fix_up(&[Entry::new(1, "digest", ":x")], &me).is_ok());
        let auth = fix_up(&[Entry::new(3, "auth", "any")], &me);
        assert_eq!(auth, Ok(vec![Entry::new(3, "digest", "u:h")]));
        // As a 3.9.4 stored them.
        let names = ["u:Jq7wMyA/w2Vd5WIDAKdu4OIIFEQ=", "super:nhkjiPrzX146uLcxpa5AcUqDWNo="];
        let both: Vec<Id> = names.iter().map(|id| ("digest".into(), (*id).into())).collect();
        let auth = fix_up(&[Entry::new(3, "auth", "any")], &both);
        assert_eq!(
            auth,
            Ok(vec![Entry::new(3, "digest", names[1]), Entry::new(3, "digest", names[0])])
        );
    }
}
