//! The `server.N` lines of an ensemble (operations 1.6).
//!
//! ```text
//! server.<id> = <serverspec> [ ";" <clientspec> ]
//! serverspec  = addr *( "|" addr )
//! addr        = host ":" quorumPort ":" electionPort [ ":" role ]
//! role        = "participant" | "observer"
//! clientspec  = port | host ":" port
//! host        = name | IPv4 | "[" IPv6 "]"
//! ```

use std::collections::BTreeMap;
use std::fmt;

use super::listen::HostPort;

/// The members that a configuration names.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Ensemble {
    /// By sid.
    pub members: BTreeMap<i64, Member>,
    /// `group.N`: the sids of a group; with groups or weights the quorum is hierarchical.
    pub groups: BTreeMap<i64, Vec<i64>>,
    /// `weight.N`; 1 when missing, 0 never counts.
    pub weights: BTreeMap<i64, i64>,
}

/// One member.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Member {
    /// At least one.
    pub addresses: Vec<MemberAddress>,
    /// What it does in the ensemble.
    pub role: Role,
    /// Where it serves clients, when the line says so.
    pub client: Option<HostPort>,
}

/// One way to reach a member.
#[derive(Clone, PartialEq, Eq, Debug)]
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

impl Ensemble {
    /// How many members vote.
    #[must_use]
    pub fn voters(&self) -> usize {
        self.members.values().filter(|member| member.role == Role::Participant).count()
    }
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
    /// The printed form of the config znode: the role always, several addresses sorted by host.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut addresses = self.addresses.iter().collect::<Vec<_>>();
        addresses.sort_by(|a, b| a.host.cmp(&b.host));
        for (at, address) in addresses.into_iter().enumerate() {
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

/// Parses what follows `server.N=`; the error says what is wrong and what the form is.
pub fn parse_member(text: &str) -> Result<Member, String> {
    let (servers, client) = match text.split_once(';') {
        Some((servers, client)) => (servers, Some(parse_client(client)?)),
        None => (text, None),
    };
    let mut addresses = Vec::new();
    let mut role = None;
    for part in servers.split('|') {
        let (address, its_role) = parse_address(part.trim())?;
        if *role.get_or_insert(its_role) != its_role {
            return Err("all addresses of a member must have the same role".to_owned());
        }
        addresses.push(address);
    }
    Ok(Member { addresses, role: role.unwrap_or(Role::Participant), client })
}

const FORM: &str = "it must be host:quorumPort:electionPort[:role][;[host:]clientPort]";

fn parse_address(text: &str) -> Result<(MemberAddress, Role), String> {
    let parts = split_host(text)?;
    let (host, quorum, election, role) = match parts.as_slice() {
        [host, quorum, election] => (host, quorum, election, Role::Participant),
        [host, quorum, election, role] => (host, quorum, election, parse_role(role)?),
        _ => return Err(FORM.to_owned()),
    };
    let (quorum_port, election_port) = (parse_port(quorum)?, parse_port(election)?);
    if host.is_empty() {
        return Err(FORM.to_owned());
    }
    if quorum_port == election_port {
        return Err("the quorum port and the election port must differ".to_owned());
    }
    Ok((MemberAddress { host: (*host).to_owned(), quorum_port, election_port }, role))
}

fn parse_client(text: &str) -> Result<HostPort, String> {
    match split_host(text.trim())?.as_slice() {
        [port] => Ok(HostPort { host: "0.0.0.0".to_owned(), port: parse_port(port)? }),
        [host, port] if !host.is_empty() => {
            Ok(HostPort { host: (*host).to_owned(), port: parse_port(port)? })
        }
        _ => Err("what follows the semicolon must be clientPort or host:clientPort".to_owned()),
    }
}

/// Splits at colons, but not inside the brackets of an IPv6 address, which are removed.
fn split_host(text: &str) -> Result<Vec<&str>, String> {
    let Some(rest) = text.strip_prefix('[') else { return Ok(text.split(':').collect()) };
    let unclosed = || "the bracket of the IPv6 address is not closed".to_owned();
    let (host, rest) = rest.split_once(']').ok_or_else(unclosed)?;
    let rest = rest.strip_prefix(':').ok_or_else(|| FORM.to_owned())?;
    Ok(std::iter::once(host).chain(rest.split(':')).collect())
}

fn parse_role(text: &str) -> Result<Role, String> {
    match text.to_ascii_lowercase().as_str() {
        "participant" => Ok(Role::Participant),
        "observer" => Ok(Role::Observer),
        _ => Err(format!("{text} is no role; it must be participant or observer")),
    }
}

fn parse_port(text: &str) -> Result<u16, String> {
    let port = text.trim().parse::<u16>().ok().filter(|port| *port > 0);
    port.ok_or_else(|| format!("{text} is no port; it must be a number from 1 to 65535"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(text: &str, printed: &str) {
        let member = parse_member(text).unwrap();
        assert_eq!(member.to_string(), printed);
        assert_eq!(parse_member(printed).unwrap().to_string(), printed);
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
            let error = parse_member(text).unwrap_err();
            assert!(error.contains(why), "{text}: {error}");
        }
    }

    proptest::proptest! {
        #[test]
        fn no_text_makes_it_panic_and_what_is_accepted_is_printed_and_read_again(
            text in "[h1:;|\\[\\]. ]{0,20}|h:[0-9]{1,5}:[0-9]{1,5}(:observer)?(;[0-9]{1,5})?",
        ) {
            if let Ok(member) = parse_member(&text) {
                let again = parse_member(&member.to_string());
                proptest::prop_assert_eq!(again.map(|again| again.to_string()), Ok(member.to_string()));
            }
        }
    }
}
