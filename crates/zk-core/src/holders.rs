//! Who holds sessions, where a certificate tells: passwords of sessions can be computed by Apache's
//! rule, and such a one must not get whoever knows it more than his own certificate does
//! (RELIABILITY T3).

use hashbrown::HashMap;
use std::sync::Arc;
use zk_proto::SessionId;
use zk_tree::auth::Identity;

/// Fewer entries are not worth looking for those that are gone.
const FEW: usize = 64;

/// The names in the certificates with which sessions were opened here. Another member does not know
/// them, nor does this one after a restart; and whoever renews a session that nobody is known to
/// hold does not come to hold it, since he may be the stranger.
#[derive(Debug)]
pub(crate) struct Holders {
    names: HashMap<SessionId, Arc<str>, foldhash::fast::FixedState>,
    /// With so many, those of sessions that are gone are forgotten.
    most: usize,
}

impl Holders {
    pub(crate) fn new(seed: u64) -> Holders {
        let hasher = foldhash::fast::FixedState::with_seed(seed);
        Holders { names: HashMap::with_hasher(hasher), most: FEW }
    }

    /// Whether a connection with these identities may have the session.
    pub(crate) fn admit(&self, session: SessionId, identities: &[Identity]) -> bool {
        let holder = self.names.get(&session);
        holder.is_none_or(|holder| certificates(identities).any(|name| *name == **holder))
    }

    /// A connection has opened the session; `lives` says which ones are not gone.
    pub(crate) fn note(
        &mut self,
        session: SessionId,
        identities: &[Identity],
        lives: impl Fn(SessionId) -> bool,
    ) {
        let Some(name) = certificates(identities).next() else { return };
        self.names.entry(session).or_insert_with(|| name.into());
        if self.names.len() > self.most {
            self.names.retain(|session, _| lives(*session));
            self.most = FEW.max(2 * self.names.len());
        }
    }
}

fn certificates(identities: &[Identity]) -> impl Iterator<Item = &str> {
    identities.iter().filter(|it| it.scheme == "x509").map(|it| it.id.as_str())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cert(name: &str) -> Vec<Identity> {
        vec![Identity::new("ip", "127.0.0.1"), Identity::new("x509", name)]
    }

    #[test]
    fn a_session_is_for_the_certificate_that_it_came_with() {
        let mut holders = Holders::new(1);
        let (one, other) = (SessionId(1), SessionId(2));
        holders.note(one, &cert("CN=a"), |_| true);
        holders.note(other, &[Identity::new("ip", "127.0.0.1")], |_| true);
        assert!(holders.admit(one, &cert("CN=a")));
        assert!(!holders.admit(one, &cert("CN=b")) && !holders.admit(one, &[]));
        assert!(holders.admit(other, &[]) && holders.admit(other, &cert("CN=b")), "nobody's");
    }

    #[test]
    fn names_of_sessions_that_are_gone_are_forgotten() {
        let mut holders = Holders::new(1);
        for id in 0..10_000 {
            holders.note(SessionId(id), &cert("CN=a"), |it| it.0 > id - 100);
            assert!(holders.names.len() <= 201);
        }
        assert!(!holders.admit(SessionId(9_999), &[]));
    }
}
