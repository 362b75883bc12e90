//! Lines of a `zoo.cfg` for SASL between members.

use std::fs;
use std::path::Path;

pub(crate) const MODULE: &str = "org.apache.zookeeper.server.auth.DigestLoginModule";

/// The steps of Apache's documentation.
pub(crate) const ENABLED: &str = "quorum.auth.enableSasl=true";
pub(crate) const LEARNER: &str = "quorum.auth.learnerRequireSasl=true";
pub(crate) const SERVER: &str = "quorum.auth.serverRequireSasl=true";

/// In its FIPS mode, the default from 3.9.0 on, Apache has no DIGEST-MD5.
pub(crate) const NO_FIPS: &str = "fips-mode=false";

/// A file of users, and the line of `zoo.cfg` that names it: this member knows others by one
/// password, and says another itself.
pub(crate) fn jaas(dir: &Path, name: &str, others: &str, own: &str) -> String {
    let text = format!(
        "QuorumServer {{ {MODULE} required user_member=\"{others}\"; }};\n\
         QuorumLearner {{ {MODULE} required username=\"member\" password=\"{own}\"; }};\n"
    );
    let path = dir.join(name);
    fs::write(&path, text).expect("a file of users");
    format!("java.security.auth.login.config={}", path.display())
}

/// Everything is required.
pub(crate) fn strict(file: String) -> Vec<String> {
    let keys = [ENABLED, LEARNER, SERVER, NO_FIPS, "quorum.cnxn.threads.size=20"];
    keys.map(str::to_owned).into_iter().chain([file]).collect()
}
