//! What a client's reconfig makes of the configuration (client-protocol 5.8). Mirrors the case
//! `reconfig` of `PrepRequestProcessor`; differs in: addresses are compared as they are written
//! (ZOOKEEPER-4708), and an unknown number among those that leave is no error there and none here.

use zk_proto::request::ReconfigRequest;
use zk_proto::{ErrorCode, Sid, Zxid};

use crate::{Configs, Ensemble, EnsembleError, HostPort, Member, MemberError};

/// Why an ensemble is not changed.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ReconfigError {
    /// The last change is not committed.
    #[error("another reconfiguration is in progress")]
    InProgress,
    /// The client has seen another configuration.
    #[error("the configuration is {present:x}, not {expected:x}")]
    Version {
        /// Which one it is.
        present: i64,
        /// Which one the client has seen.
        expected: i64,
    },
    /// Members cannot join or leave where groups and weights decide.
    #[error("the ensemble has groups or weights: give all of its members")]
    Hierarchical,
    /// No number of a member.
    #[error("{0:?} is no number of a member")]
    Sid(String),
    /// A member that joins, not as `server.N=...`.
    #[error("{0:?} is not server.N=host:quorumPort:electionPort[:role];[host:]clientPort")]
    Form(String),
    /// A member's line.
    #[error("server.{sid}: {error}")]
    Member {
        /// Which member.
        sid: Sid,
        /// What is wrong with it.
        error: MemberError,
    },
    /// Two members at one address.
    #[error("server.{sid} has the address {address} of server.{other}")]
    Address {
        /// Who comes.
        sid: Sid,
        /// Who is there.
        other: Sid,
        /// What they share.
        address: String,
    },
    /// The whole new membership.
    #[error(transparent)]
    Ensemble(#[from] EnsembleError),
    /// Not enough participants are left.
    #[error("{0} participants are too few")]
    Voters(usize),
    /// A quorum of the new participants does not follow yet.
    #[error("no quorum of the new configuration is connected and synced")]
    NoQuorum,
}

impl ReconfigError {
    /// What a client is told.
    #[must_use]
    pub const fn code(&self) -> ErrorCode {
        match self {
            ReconfigError::InProgress => ErrorCode::ReconfigInProgress,
            ReconfigError::Version { .. } => ErrorCode::BadVersion,
            // Java's NumberFormatException is no KeeperException.
            ReconfigError::Sid(_) => ErrorCode::MarshallingError,
            ReconfigError::NoQuorum => ErrorCode::NewConfigNoQuorum,
            _ => ErrorCode::BadArguments,
        }
    }
}

impl Configs {
    /// The configuration that a client asks for, as the txn `zxid` would make it. A quorum of it
    /// must follow already: that is not looked at here.
    ///
    /// # Errors
    /// The first one in Apache's order.
    pub fn next(
        &self,
        request: &ReconfigRequest<'_>,
        zxid: Zxid,
        standalone_enabled: bool,
    ) -> Result<Ensemble, ReconfigError> {
        if self.all().count() > 1 {
            return Err(ReconfigError::InProgress);
        }
        let (present, expected) = (self.committed.version, request.config_id);
        if expected != -1 && expected != present {
            return Err(ReconfigError::Version { present, expected });
        }
        let mut next = match &request.new_members {
            Some(members) => Ensemble::parse(&members.replace(',', "\n"))?,
            None => self.committed.changed(request)?,
        };
        next.version = zxid.0;
        let voters = next.voters().count();
        if voters < if standalone_enabled { 2 } else { 1 } {
            return Err(ReconfigError::Voters(voters));
        }
        Ok(next)
    }
}

impl Ensemble {
    fn changed(&self, request: &ReconfigRequest<'_>) -> Result<Ensemble, ReconfigError> {
        if self.is_hierarchical() {
            return Err(ReconfigError::Hierarchical);
        }
        let mut next = self.clone();
        for leaving in parts(request.leaving.as_deref()) {
            next.members.remove(&parse_sid(leaving)?);
        }
        for joining in parts(request.joining.as_deref()) {
            let wrong = || ReconfigError::Form(joining.to_owned());
            let (key, line) = joining.split_once('=').ok_or_else(wrong)?;
            if line.contains('=') {
                return Err(wrong());
            }
            let key = key.trim();
            let sid = parse_sid(key.rsplit_once('.').map_or(key, |(_, number)| number))?;
            let member = Member::parse(line.trim());
            let member = member.map_err(|error| ReconfigError::Member { sid, error })?;
            // Nobody could find it otherwise.
            if member.client.is_none() {
                return Err(wrong());
            }
            next.members.remove(&sid);
            next.check_addresses(sid, &member)?;
            next.members.insert(sid, member);
        }
        Ok(next)
    }

    fn check_addresses(&self, sid: Sid, member: &Member) -> Result<(), ReconfigError> {
        let own = all_addresses(member);
        for (other, present) in &self.members {
            let taken = all_addresses(present);
            if let Some(address) = own.iter().find(|address| taken.contains(address)) {
                let address = address.clone();
                return Err(ReconfigError::Address { sid, other: *other, address });
            }
        }
        Ok(())
    }

    /// The text of a dynamic file: the version is in its name.
    #[must_use]
    pub fn without_version(&self) -> String {
        let text = self.to_string();
        text.rsplit_once('\n').map_or_else(String::new, |(members, _)| format!("{members}\n"))
    }
}

/// As Apache's `StringUtils.split`: without spaces around, and without empty ones.
fn parts(list: Option<&str>) -> impl Iterator<Item = &str> {
    list.unwrap_or_default().split(',').map(str::trim).filter(|part| !part.is_empty())
}

fn parse_sid(text: &str) -> Result<Sid, ReconfigError> {
    text.trim().parse().map(Sid).map_err(|_| ReconfigError::Sid(text.to_owned()))
}

/// Those that are somewhere: each host has its own wildcard and loopback addresses (Apache
/// `QuorumServer.excludedSpecialAddresses`).
fn all_addresses(member: &Member) -> Vec<String> {
    let ports = member.addresses.iter().flat_map(|address| {
        let at = |port| HostPort { host: address.host.clone(), port };
        [at(address.quorum_port), at(address.election_port)]
    });
    let all = ports.chain(member.client.clone());
    all.filter(|at| !at.is_wildcard() && !at.is_loopback()).map(|at| at.to_string()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const THREE: &str = "server.1=a:1:2:participant;a:9\nserver.2=b:1:2:participant;b:9\n\
                         server.3=c:1:2:participant;c:9\nversion=100000000";

    fn ask<'a>(joining: &'a str, leaving: &'a str, members: &'a str) -> ReconfigRequest<'a> {
        let some = |text: &'a str| (!text.is_empty()).then(|| text.into());
        ReconfigRequest {
            joining: some(joining),
            leaving: some(leaving),
            new_members: some(members),
            config_id: -1,
        }
    }

    fn next(text: &str, request: &ReconfigRequest<'_>) -> Result<String, ReconfigError> {
        let configs = Configs::new(Ensemble::parse(text).unwrap());
        configs.next(request, Zxid(0x1_0000_0007), true).map(|next| next.to_string())
    }

    #[track_caller]
    fn check(request: &ReconfigRequest<'_>, lines: &[&str]) {
        let text = [lines, &["version=100000007"]].concat().join("\n");
        assert_eq!(next(THREE, request), Ok(text));
    }

    const A: &str = "server.1=a:1:2:participant;a:9";
    const B: &str = "server.2=b:1:2:participant;b:9";
    const C: &str = "server.3=c:1:2:participant;c:9";
    const D: &str = "server.4=d:1:2:observer;0.0.0.0:9";

    #[test]
    fn members_join_leave_and_change() {
        check(&ask("server.4=d:1:2:observer;9", "", ""), &[A, B, C, D]);
        check(&ask("", "3", ""), &[A, B]);
        check(&ask(" server.4=d:1:2:observer;9 ,", "2, 7,", ""), &[A, C, D]);
        // Every host has that client address, and that one.
        let wild = "server.1=a:1:2;9\nserver.2=b:1:2;9\nserver.3=127.0.0.1:1:2;localhost:9";
        let next = next(wild, &ask("server.4=127.0.0.1:1:2;9", "", "")).unwrap();
        assert!(next.contains("server.4=127.0.0.1:1:2:participant;0.0.0.0:9"), "{next}");
        let moved = "server.3=e:1:2:participant;c:9";
        check(&ask("server.3 = e:1:2;c:9", "3", ""), &[A, B, moved]);
        check(&ask("", "", &format!("{A},{C}")), &[A, C]);
        check(&ask("", "", ""), &[A, B, C]);
    }

    #[test]
    fn a_text_for_a_dynamic_file_has_no_version() {
        let text = Ensemble::parse(THREE).unwrap().without_version();
        assert_eq!(text, format!("{A}\n{B}\n{C}\n"));
    }

    #[track_caller]
    fn refuse(text: &str, request: &ReconfigRequest<'_>, code: ErrorCode, why: &str) {
        let error = next(text, request).unwrap_err();
        assert!(error.to_string().contains(why), "{error}");
        assert_eq!(error.code(), code, "{error}");
    }

    #[test]
    fn what_cannot_be_is_refused_with_the_reason() {
        use ErrorCode::{BadArguments, BadVersion, MarshallingError};
        let old = ReconfigRequest { config_id: 7, ..ask("", "3", "") };
        refuse(THREE, &old, BadVersion, "is 100000000, not 7");
        refuse(THREE, &ask("", "x", ""), MarshallingError, "\"x\" is no number");
        refuse(THREE, &ask("server.x=d:1:2;9", "", ""), MarshallingError, "\"x\" is no number");
        for joining in ["d", "server.4=d:1:2", "server.4=d:1:2;9=1"] {
            refuse(THREE, &ask(joining, "", ""), BadArguments, "is not server.N=");
        }
        refuse(THREE, &ask("server.4=d;9", "", ""), BadArguments, "server.4:");
        refuse(THREE, &ask("server.4=a:2:5;9", "", ""), BadArguments, "a:2 of server.1");
        refuse(THREE, &ask("server.4=a:4:5;a:9", "", ""), BadArguments, "a:9 of server.1");
        refuse(THREE, &ask("", "2,3", ""), BadArguments, "1 participants are too few");
        refuse(THREE, &ask("", "", "server.1=x"), BadArguments, "server.1");
        let groups = format!("{THREE}\ngroup.1=1:2:3");
        refuse(&groups, &ask("", "3", ""), BadArguments, "groups");
    }

    #[test]
    fn one_change_at_a_time() {
        let mut configs = Configs::new(Ensemble::parse(THREE).unwrap());
        configs.propose(Ensemble::parse(&format!("{A}\n{B}\nversion=100000001")).unwrap());
        let error = configs.next(&ask("", "3", ""), Zxid(0x1_0000_0002), true).unwrap_err();
        assert_eq!(error.code(), ErrorCode::ReconfigInProgress);
    }
}
