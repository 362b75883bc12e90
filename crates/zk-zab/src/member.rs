//! What a `server.N` line says of a member (operations 1.6).
//!
//! ```text
//! server.<id> = <serverspec> [ ";" <clientspec> ]
//! serverspec  = addr *( "|" addr )
//! addr        = host ":" quorumPort ":" electionPort [ ":" role ]
//! role        = "participant" | "observer"
//! clientspec  = port | host ":" port
//! host        = name | IPv4 | "[" IPv6 "]"
//! ```

use std::fmt;

use crate::HostPort;

/// One member.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Member {
    /// At least one; sorted, since their order says nothing.
    pub addresses: Vec<MemberAddress>,
    /// What it does in the ensemble.
    pub role: Role,
    /// Where it serves clients, when the line says so.
    pub client: Option<HostPort>,
}

/// One way to reach a member.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct MemberAddress {
    /// A name, an IPv4 address or an IPv6 address without brackets.
    pub host: String,
    /// Where the leader listens for learners.
    pub quorum_port: u16,
    /// Where votes are exchanged.
    pub election_port: u16,
}

/// What a member does in the ensemble.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Role {
    /// It votes.
    Participant,
    /// It follows without a vote.
    Observer,
}

/// Why a line is no member.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum MemberError {
    /// Its parts are not those of a member.
    #[error("it must be host:quorumPort:electionPort[:role][;[host:]clientPort]")]
    Form,
    /// An IPv6 address does not end.
    #[error("the bracket of the IPv6 address is not closed")]
    Bracket,
    /// The two ports of an address are one.
    #[error("the quorum port and the election port must differ")]
    SamePorts,
    /// The addresses do not agree what the member does.
    #[error("all addresses of a member must have the same role")]
    Roles,
    /// A role that there is not.
    #[error("{0} is no role; it must be participant or observer")]
    Role(String),
    /// A number that is no port.
    #[error("{0} is no port; it must be a number from 1 to 65535")]
    Port(String),
    /// The client part.
    #[error("what follows the semicolon must be clientPort or host:clientPort")]
    Client,
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Role::Participant => "participant",
            Role::Observer => "observer",
        })
    }
}

impl fmt::Display for Member {
    /// The printed form of the config znode: the role always.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, address) in self.addresses.iter().enumerate() {
            let bar = if at == 0 { "" } else { "|" };
            let quorum = HostPort { host: address.host.clone(), port: address.quorum_port };
            write!(f, "{bar}{quorum}:{}:{}", address.election_port, self.role)?;
        }
        match &self.client {
            Some(client) => write!(f, ";{client}"),
            None => Ok(()),
        }
    }
}

impl Member {
    /// Parses what follows `server.N=`.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn parse(text: &str) -> Result<Member, MemberError> {
        let (servers, client) = match text.split_once(';') {
            Some((servers, client)) => (servers, Some(parse_client(client)?)),
            None => (text, None),
        };
        let mut addresses = Vec::new();
        let mut role = None;
        for part in servers.split('|') {
            let (address, its_role) = parse_address(part.trim())?;
            if *role.get_or_insert(its_role) != its_role {
                return Err(MemberError::Roles);
            }
            addresses.push(address);
        }
        addresses.sort();
        Ok(Member { addresses, role: role.unwrap_or(Role::Participant), client })
    }
}

fn parse_address(text: &str) -> Result<(MemberAddress, Role), MemberError> {
    let parts = split_host(text)?;
    let (host, quorum, election, role) = match parts.as_slice() {
        [host, quorum, election] => (host, quorum, election, Role::Participant),
        [host, quorum, election, role] => (host, quorum, election, parse_role(role)?),
        _ => return Err(MemberError::Form),
    };
    let (quorum_port, election_port) = (parse_port(quorum)?, parse_port(election)?);
    if host.is_empty() {
        return Err(MemberError::Form);
    }
    if quorum_port == election_port {
        return Err(MemberError::SamePorts);
    }
    Ok((MemberAddress { host: (*host).to_owned(), quorum_port, election_port }, role))
}

fn parse_client(text: &str) -> Result<HostPort, MemberError> {
    match split_host(text.trim())?.as_slice() {
        [port] => Ok(HostPort { host: "0.0.0.0".to_owned(), port: parse_port(port)? }),
        [host, port] if !host.is_empty() => {
            Ok(HostPort { host: (*host).to_owned(), port: parse_port(port)? })
        }
        _ => Err(MemberError::Client),
    }
}

/// Splits at colons, but not inside the brackets of an IPv6 address, which are removed.
fn split_host(text: &str) -> Result<Vec<&str>, MemberError> {
    let Some(rest) = text.strip_prefix('[') else { return Ok(text.split(':').collect()) };
    let (host, rest) = rest.split_once(']').ok_or(MemberError::Bracket)?;
    let rest = rest.strip_prefix(':').ok_or(MemberError::Form)?;
    Ok(std::iter::once(host).chain(rest.split(':')).collect())
}

fn parse_role(text: &str) -> Result<Role, MemberError> {
    match text.to_ascii_lowercase().as_str() {
        "participant" => Ok(Role::Participant),
        "observer" => Ok(Role::Observer),
        _ => Err(MemberError::Role(text.to_owned())),
    }
}

fn parse_port(text: &str) -> Result<u16, MemberError> {
    let port = text.trim().parse::<u16>().ok().filter(|port| *port > 0);
    port.ok_or_else(|| MemberError::Port(text.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(text: &str, printed: &str) {
        let member = Member::parse(text).unwrap();
        assert_eq!(member.to_string(), printed);
        assert_eq!(Member::parse(printed).unwrap().to_string(), printed);
    }

    #[test]
    fn the_printed_form_is_apaches() {
        check("h:2888:3888", "h:2888:3888:participant");
        check("h:2888:3888:Observer;2181", "h:2888:3888:observer;0.0.0.0:2181");
        check("h:2888:3888;10.0.0.1:2181", "h:2888:3888:participant;10.0.0.1:2181");
        check(
            "[2001:db8::1]:2888:3888;[::1]:2181",
            "[2001:db8::1]:2888:3888:participant;[::1]:2181",
        );
        check("b:1:2|a:3:4", "a:3:4:participant|b:1:2:participant");
    }

    #[test]
    fn wrong_lines_are_refused_with_the_reason() {
        for (text, why) in [
            ("h", "host:quorumPort"),
            ("h:1", "host:quorumPort"),
            (":1:2", "host:quorumPort"),
            ("h:1:1", "must differ"),
            ("h:1:99999", "99999 is no port"),
            ("h:1:2:leader", "leader is no role"),
            ("h:1:2:observer|i:3:4:participant", "same role"),
            ("[::1:1:2", "not closed"),
            ("h:1:2;x", "x is no port"),
            ("h:1:2;", "no port"),
        ] {
            let error = Member::parse(text).unwrap_err().to_string();
            assert!(error.contains(why), "{text}: {error}");
        }
    }

    proptest::proptest! {
        #[test]
        fn no_text_makes_it_panic_and_what_is_accepted_is_printed_and_read_again(
            text in "[h1:;|\\[\\]. ]{0,20}|h:[0-9]{1,5}:[0-9]{1,5}(:observer)?(;[0-9]{1,5})?",
        ) {
            if let Ok(member) = Member::parse(&text) {
                let again = Member::parse(&member.to_string());
                proptest::prop_assert_eq!(again.map(|again| again.to_string()), Ok(member.to_string()));
            }
        }
    }
}
