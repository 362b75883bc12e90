//! Session passwords: rule R2 of the design.
//!
//! Apache's password is a function of the public session id, so whoever reads an `ephemeralOwner`
//! can take a session over (RELIABILITY T3). An ensemble that holds only our servers may use a
//! keyed rule instead; sessions that were alive at the change keep Apache's until they close.

use std::collections::BTreeSet;

use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;
use subtle::ConstantTimeEq;
use zk_proto::SessionId;
use zk_proto::password::{PASSWORD_LEN, Password, apache};

/// The shortest secret that [`Passwords::hmac`] takes: as long as the passwords it protects.
pub const MIN_SECRET_LEN: usize = PASSWORD_LEN;

/// Why a password rule cannot be used.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PasswordRuleError {
    /// The secret is too short to be one.
    #[error(
        "the session secret has {len} bytes without the blanks around it, {MIN_SECRET_LEN} are \
         needed: write a longer random one (head -c 32 /dev/urandom | base64) to the secret file of every \
         member"
    )]
    ShortSecret {
        /// Its length in bytes.
        len: usize,
    },
    /// Sessions with keyed passwords could not be renewed by Apache's rule.
    #[error(
        "{sessions} live {} keyed passwords that Apache's rule would refuse: close {} before \
         sessionPassword is set to apache",
        if *.sessions == 1 { "session has" } else { "sessions have" },
        if *.sessions == 1 { "it" } else { "them" }
    )]
    KeyedSessions {
        /// How many.
        sessions: usize,
    },
}

/// Makes and checks session passwords by the ensemble's rule.
#[derive(Clone)]
pub struct Passwords(Rule);

#[derive(Clone)]
enum Rule {
    Apache,
    Hmac { keyed: Box<Hmac<Sha256>>, legacy: BTreeSet<SessionId> },
}

impl Passwords {
    /// Apache's rule: needed while the ensemble has, or may get, an Apache member.
    #[must_use]
    pub fn apache() -> Passwords {
        Passwords(Rule::Apache)
    }

    /// The keyed rule: HMAC-SHA-256 of the session id, cut to 16 bytes. `secret` is the same on all
    /// members; `legacy` are the sessions that were alive when the ensemble left Apache's rule.
    pub fn hmac(
        secret: &[u8],
        legacy: impl IntoIterator<Item = SessionId>,
    ) -> Result<Passwords, PasswordRuleError> {
        let short = PasswordRuleError::ShortSecret { len: secret.len() };
        if secret.len() < MIN_SECRET_LEN {
            return Err(short);
        }
        let keyed = Hmac::<Sha256>::new_from_slice(secret).map_err(|_| short)?;
        Ok(Passwords(Rule::Hmac { keyed: Box::new(keyed), legacy: legacy.into_iter().collect() }))
    }

    /// This rule in an ensemble with `live` sessions, in which another may have held: `before` are
    /// the sessions excepted from the keyed rule, `None` says that it was Apache's. Whoever is
    /// alive keeps the password it has, or the change is refused.
    pub fn after(
        self,
        before: Option<&BTreeSet<SessionId>>,
        live: &BTreeSet<SessionId>,
    ) -> Result<Passwords, PasswordRuleError> {
        match (self.0, before) {
            (Rule::Apache, None) => Ok(Passwords::apache()),
            (Rule::Apache, Some(legacy)) => match live.difference(legacy).count() {
                0 => Ok(Passwords::apache()),
                sessions => Err(PasswordRuleError::KeyedSessions { sessions }),
            },
            (Rule::Hmac { keyed, .. }, before) => {
                let legacy = match before {
                    None => live.clone(),
                    Some(legacy) => legacy.intersection(live).copied().collect(),
                };
                Ok(Passwords(Rule::Hmac { keyed, legacy }))
            }
        }
    }

    /// The password of a session, for the handshake's answer.
    #[must_use]
    pub fn of(&self, id: SessionId) -> Password {
        match &self.0 {
            Rule::Hmac { keyed, legacy } if !legacy.contains(&id) => {
                let mut mac = Hmac::clone(keyed);
                mac.update(&id.0.to_be_bytes());
                let tag = mac.finalize().into_bytes();
                std::array::from_fn(|at| tag[at])
            }
            _ => apache(id),
        }
    }

    /// Whether `given` is the password of session `id`, in a time that does not tell how much of
    /// it is right.
    #[must_use]
    pub fn accepts(&self, id: SessionId, given: &[u8]) -> bool {
        id != SessionId::NONE && bool::from(self.of(id).ct_eq(given))
    }

    /// A session closed: a legacy id loses its exception.
    pub fn closed(&mut self, id: SessionId) {
        if let Rule::Hmac { legacy, .. } = &mut self.0 {
            legacy.remove(&id);
        }
    }

    /// The ids for which Apache's rule still holds under the keyed one; they are stored beside the
    /// snapshots. `None` under Apache's rule.
    #[must_use]
    pub fn legacy(&self) -> Option<&BTreeSet<SessionId>> {
        match &self.0 {
            Rule::Hmac { legacy, .. } => Some(legacy),
            Rule::Apache => None,
        }
    }
}

impl std::fmt::Debug for Passwords {
    /// Names the rule and never the secret.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self.0 {
            Rule::Apache => "Passwords(apache)",
            Rule::Hmac { .. } => "Passwords(hmac)",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECRET: &[u8] = b"0123456789abcdef";
    const ID: SessionId = SessionId(0x0100_0000_0000_0007);
    const OLD: SessionId = SessionId(0x0100_0000_0000_0001);

    #[test]
    fn r2_the_keyed_password_is_hmac_sha256_cut_to_16_bytes() {
        // RFC 4231, test case 2 has another key and message; this value is openssl's:
        // printf '\1\0\0\0\0\0\0\7' | openssl dgst -sha256 -hmac 0123456789abcdef
        let passwords = Passwords::hmac(SECRET, []).unwrap();
        let want = [
            0x98, 0x8c, 0x70, 0x1f, 0x77, 0x96, 0x85, 0x23, 0xd9, 0x56, 0xc5, 0x84, 0x4b, 0x3a,
            0x75, 0x76,
        ];
        assert_eq!(passwords.of(ID), want);
        assert!(passwords.accepts(ID, &want));
    }

    #[test]
    fn r2_a_password_computed_from_the_id_opens_nothing_under_the_keyed_rule() {
        let passwords = Passwords::hmac(SECRET, [OLD]).unwrap();
        assert!(!passwords.accepts(ID, &apache(ID)));
        assert!(!passwords.accepts(ID, &passwords.of(OLD)));
    }

    #[test]
    fn r2_apaches_rule_holds_for_legacy_sessions_until_they_close() {
        let mut passwords = Passwords::hmac(SECRET, [OLD]).unwrap();
        assert_eq!(passwords.of(OLD), apache(OLD));
        assert!(passwords.accepts(OLD, &apache(OLD)));
        passwords.closed(OLD);
        assert!(!passwords.accepts(OLD, &apache(OLD)));
        assert_eq!(passwords.legacy(), Some(&BTreeSet::new()));
    }

    #[test]
    fn r2_the_way_back_is_refused_with_the_number_of_keyed_sessions() {
        let back = |before: Option<&BTreeSet<SessionId>>, live: &[SessionId]| {
            Passwords::apache().after(before, &live.iter().copied().collect()).map(|_| ())
        };
        let legacy = BTreeSet::from([OLD]);
        assert_eq!(back(Some(&legacy), &[OLD]), Ok(()));
        let refused = Err(PasswordRuleError::KeyedSessions { sessions: 2 });
        assert_eq!(back(Some(&legacy), &[OLD, ID, SessionId(9)]), refused);
        assert_eq!(back(None, &[ID]), Ok(()));
    }

    #[test]
    fn r2_who_is_alive_at_the_change_is_excepted_and_nobody_later() {
        let keyed = || Passwords::hmac(SECRET, []).unwrap();
        let changed = keyed().after(None, &BTreeSet::from([OLD, ID])).unwrap();
        assert!(changed.accepts(OLD, &apache(OLD)) && changed.accepts(ID, &apache(ID)));
        // At a later start one of them is gone, and a keyed one has come.
        let live = BTreeSet::from([ID, SessionId(9)]);
        let later = keyed().after(changed.legacy(), &live).unwrap();
        assert_eq!(later.legacy(), Some(&BTreeSet::from([ID])));
        assert!(!later.accepts(OLD, &apache(OLD)));
        assert!(!later.accepts(SessionId(9), &apache(SessionId(9))));
    }

    #[test]
    fn no_session_short_and_long_passwords_are_refused() {
        let passwords = Passwords::apache();
        assert!(passwords.accepts(ID, &apache(ID)));
        assert!(!passwords.accepts(SessionId::NONE, &apache(SessionId::NONE)));
        assert!(!passwords.accepts(ID, &apache(ID)[..15]));
        assert!(!passwords.accepts(ID, &[apache(ID).as_slice(), &[0]].concat()));
        assert!(!passwords.accepts(ID, &[]));
    }

    #[test]
    fn a_short_secret_is_refused_and_none_is_printed() {
        let refused = Passwords::hmac(&SECRET[..15], []).map(|_| ());
        assert_eq!(refused, Err(PasswordRuleError::ShortSecret { len: 15 }));
        let shown = format!("{:?}", Passwords::hmac(SECRET, []).unwrap());
        assert_eq!(shown, "Passwords(hmac)");
    }
}
