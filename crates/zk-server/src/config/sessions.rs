//! Session timeouts and passwords (operations 1.1, DESIGN R2).

use std::path::PathBuf;

use super::keys::Keys;
use zk_session::password::MIN_SECRET_LEN;

/// How long sessions live and how their passwords are made.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct SessionSettings {
    /// Lower bound of what a client may ask for: `minSessionTimeout`, or two ticks.
    pub min_timeout_ms: u32,
    /// Upper bound: `maxSessionTimeout`, or twenty ticks.
    pub max_timeout_ms: u32,
    /// How passwords are made.
    pub password: SessionPassword,
}

/// The rule of the ensemble for session passwords.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum SessionPassword {
    /// A function of the public session id, as Apache computes it: a checksum, not a secret.
    Apache,
    /// HMAC-SHA-256 of the session id under the secret in this file, cut to 16 bytes.
    Hmac {
        /// Equal on all members.
        secret_file: PathBuf,
    },
}

#[derive(Clone, Copy, PartialEq)]
enum Rule {
    Apache,
    Hmac,
}

impl SessionSettings {
    pub(super) fn read(keys: &mut Keys, tick_time_ms: u32) -> SessionSettings {
        let min_timeout_ms = bound(keys, "minSessionTimeout", tick_time_ms.saturating_mul(2));
        let max_timeout_ms = bound(keys, "maxSessionTimeout", tick_time_ms.saturating_mul(20));
        if min_timeout_ms > max_timeout_ms {
            let text = format!(
                "minSessionTimeout ({min_timeout_ms} ms) is larger than maxSessionTimeout \
                 ({max_timeout_ms} ms); unset ones are 2 and 20 times tickTime"
            );
            keys.error("minSessionTimeout", text);
        }
        SessionSettings { min_timeout_ms, max_timeout_ms, password: password(keys) }
    }
}

/// A bound in ms; -1 is Apache's word for unset.
fn bound(keys: &mut Keys, key: &str, default_ms: u32) -> u32 {
    let set = keys.num(key, -1, -1..=i32::MAX);
    u32::try_from(set).unwrap_or(default_ms)
}

fn password(keys: &mut Keys) -> SessionPassword {
    let rules = [("apache", Rule::Apache), ("hmac", Rule::Hmac)];
    let rule = keys.choice("sessionPassword", &rules);
    let word = keys.non_empty("sessionPassword");
    let is_rule = |word: String| rules.iter().any(|(name, _)| name.eq_ignore_ascii_case(&word));
    let secret_file = keys.path("sessionPasswordFile");
    match (rule, secret_file) {
        // It is an error already, and says nothing about what was meant.
        _ if !word.is_none_or(is_rule) => {}
        (Rule::Hmac, Some(secret_file)) => return SessionPassword::Hmac { secret_file },
        (Rule::Hmac, None) => {
            let text = format!(
                "sessionPassword = hmac: sessionPasswordFile is not set; make a secret of at least \
                 {MIN_SECRET_LEN} random bytes (head -c 32 /dev/urandom | base64), the same on all \
                 members, in a file that only the server may read, and name it"
            );
            keys.error("sessionPassword", text);
        }
        (Rule::Apache, Some(_)) => keys.error(
            "sessionPasswordFile",
            "sessionPasswordFile is set, but sessionPassword is not hmac; set it, or remove the \
             file",
        ),
        (Rule::Apache, None) => keys.warn(
            "sessionPassword",
            "sessionPassword = apache: whoever can read an ephemeralOwner can take that session \
             over; set sessionPassword = hmac and sessionPasswordFile unless Apache members are to \
             join",
        ),
    }
    SessionPassword::Apache
}
