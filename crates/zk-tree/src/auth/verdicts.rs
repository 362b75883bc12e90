//! Long ACLs: what they come to must not cost a small request any amount of time.

use super::{AuthOptions, Identity, equal_secrets};
use crate::acl_table::AclList;
use hashbrown::{HashMap, HashTable};
use std::hash::BuildHasher;
use zk_proto::{ErrorCode, Perms};

/// The digests that a connection has proven to be, to be found by their hashes: a long list and
/// many identities must not cost the product of both.
pub(super) struct Digests<'a> {
    table: HashTable<&'a str>,
    hasher: foldhash::quality::FixedState,
}

/// Shorter lists are compared entry by entry.
const LONG_LIST_BYTES: usize = 1024;

impl<'a> Digests<'a> {
    pub(super) fn of(identities: &'a [Identity], list_bytes: usize) -> Option<Digests<'a>> {
        if list_bytes < LONG_LIST_BYTES || identities.len() < 4 {
            return None;
        }
        let hasher = foldhash::quality::FixedState::default();
        let mut table = HashTable::with_capacity(identities.len());
        for identity in identities.iter().filter(|identity| identity.scheme == "digest") {
            let hash = |id: &&str| hasher.hash_one(*id);
            table.insert_unique(hash(&&*identity.id), &*identity.id, hash);
        }
        Some(Digests { table, hasher })
    }

    pub(super) fn contains(&self, id: &str) -> bool {
        self.table.find(self.hasher.hash_one(id), |found| equal_secrets(found, id)).is_some()
    }
}

/// What was found out about long ACLs for one connection, which asks for the same znodes again and
/// again in one request.
#[derive(Debug, Default)]
pub struct Verdicts(HashMap<(usize, i32), Verdict, foldhash::fast::FixedState>);

/// The list is kept: its address is not used again meanwhile.
#[derive(Debug)]
struct Verdict(#[expect(dead_code, reason = "kept")] AclList, Result<(), ErrorCode>);

impl Verdicts {
    /// As [`AuthOptions::allows`], for the same identities each time.
    pub fn allows(
        &mut self,
        auth: &AuthOptions,
        list: &AclList,
        wanted: Perms,
        identities: &[Identity],
    ) -> Result<(), ErrorCode> {
        if list.len() < LONG_LIST_BYTES {
            return auth.allows(list, wanted, identities);
        }
        let verdict = self.0.entry((list.as_ptr() as usize, wanted.0));
        verdict.or_insert_with(|| Verdict(list.clone(), auth.allows(list, wanted, identities))).1
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;
    use zk_proto::acl::{self, Acl};

    fn identities(names: &[&str]) -> Vec<Identity> {
        names.iter().map(|name| Identity::new("digest", *name)).collect()
    }

    /// A list of digests, `count` of which nobody has.
    fn list(count: usize, last: &str) -> AclList {
        let strangers: Vec<String> = (0..count).map(|n| format!("stranger{n}:hash")).collect();
        let mut entries: Vec<Acl<'_>> =
            strangers.iter().map(|id| Acl::new(Perms::READ, "digest", id)).collect();
        entries.push(Acl::new(Perms::READ, "digest", last));
        Arc::from(acl::encode(&entries))
    }

    #[test]
    fn a_long_list_allows_what_a_short_one_does() {
        let auth = AuthOptions::default();
        let many = identities(&["a:1", "b:2", "c:3", "d:4", "e:5"]);
        for count in [0, 1, 100] {
            for (last, is_there) in [("c:3", true), ("c:4", false), ("c", false)] {
                let list = list(count, last);
                let mut verdicts = Verdicts::default();
                for identities in [&many[..], &many[2..3]] {
                    let allowed = auth.allows(&list, Perms::READ, identities);
                    assert_eq!(allowed.is_ok(), is_there, "{count} {last}");
                }
                for _ in 0..2 {
                    let allowed = verdicts.allows(&auth, &list, Perms::READ, &many);
                    assert_eq!(allowed.is_ok(), is_there, "{count} {last}");
                    let allowed = verdicts.allows(&auth, &list, Perms::WRITE, &many);
                    assert_eq!(allowed, Err(ErrorCode::NoAuth));
                }
            }
        }
    }
}
