//! The `quorum.auth.*` keys (operations 1.4). The file of users is read when the server starts.

use std::path::PathBuf;

use super::keys::Keys;

/// SASL between members.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct QuorumSaslSettings {
    /// `sasl.usersFile` or `java.security.auth.login.config`: a file of the JAAS form.
    pub file: PathBuf,
    /// `quorum.auth.learnerRequireSasl`: this member says who it is when it dials another.
    pub learner_requires: bool,
    /// `quorum.auth.serverRequireSasl`: it hears nobody who does not say who it is.
    pub server_requires: bool,
    /// `quorum.auth.learner.saslLoginContext`: the section with its own name and password.
    pub learner_section: String,
    /// `quorum.auth.server.saslLoginContext`: the section with those of the others.
    pub server_section: String,
}

const ENABLE: &str = "quorum.auth.enableSasl";
const LEARNER: &str = "quorum.auth.learnerRequireSasl";
const SERVER: &str = "quorum.auth.serverRequireSasl";

impl QuorumSaslSettings {
    /// Reads the keys; `None` without `quorum.auth.enableSasl`.
    pub(super) fn read(keys: &mut Keys) -> Option<QuorumSaslSettings> {
        let is_enabled = keys.strict_bool(ENABLE, false);
        let learner_requires = keys.strict_bool(LEARNER, false);
        let server_requires = keys.strict_bool(SERVER, false);
        let section = |keys: &mut Keys, key: &str, default: &str| {
            keys.non_empty(key).unwrap_or_else(|| default.to_owned())
        };
        let learner = section(keys, "quorum.auth.learner.saslLoginContext", "QuorumLearner");
        let server = section(keys, "quorum.auth.server.saslLoginContext", "QuorumServer");
        // As in Apache (`QuorumPeerConfig.parseProperties`).
        for (key, is_set, needs, is_there) in [
            (SERVER, server_requires, ENABLE, is_enabled),
            (LEARNER, learner_requires, ENABLE, is_enabled),
            (SERVER, server_requires, LEARNER, learner_requires),
        ] {
            if is_set && !is_there {
                keys.error(key, format!("{key} = true needs {needs}=true"));
            }
        }
        if !is_enabled {
            return None;
        }
        let Some(file) = jaas_file(keys) else {
            let text = format!(
                "{ENABLE} = true: name the file with the users of {server} and {learner} by \
                 java.security.auth.login.config"
            );
            keys.error(ENABLE, text);
            return None;
        };
        if !server_requires {
            let text = format!(
                "{ENABLE} = true: without {SERVER}=true whoever reaches the quorum ports can still \
                 join; only while members are changed to SASL"
            );
            keys.warn(ENABLE, text);
        }
        Some(QuorumSaslSettings {
            file,
            learner_requires,
            server_requires,
            learner_section: learner,
            server_section: server,
        })
    }
}

/// The file with names and passwords, of clients and of members.
pub(super) fn jaas_file(keys: &mut Keys) -> Option<PathBuf> {
    let jaas = keys.path("java.security.auth.login.config");
    keys.path("sasl.usersFile").or(jaas)
}
