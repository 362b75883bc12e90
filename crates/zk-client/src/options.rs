//! Where the servers are and how the client behaves.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use zk_proto::path;
use zk_session::client::{Backoff, SavedSession};

use crate::Sasl;
use crate::tls::ClientTls;

/// The port of a server for which none is given.
pub const DEFAULT_PORT: u16 = 2181;

/// Why a connect string cannot be used.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum OptionsError {
    /// There is no server in it.
    #[error("{given:?} names no server: give host:port, several with commas")]
    NoServer {
        /// What was given.
        given: String,
    },
    /// A server cannot be understood.
    #[error("{given:?} is no server: give host, host:port or [ipv6]:port")]
    BadServer {
        /// What was given.
        given: String,
    },
    /// The chroot is no path of a znode.
    #[error("the chroot {given:?} is no valid path of a znode")]
    BadChroot {
        /// What was given.
        given: String,
    },
}

/// Where a server listens.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct Address {
    /// A name or an address, IPv6 without brackets.
    pub host: String,
    /// The client port.
    pub port: u16,
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.host.contains(':') {
            true => write!(f, "[{}]:{}", self.host, self.port),
            false => write!(f, "{}:{}", self.host, self.port),
        }
    }
}

impl std::str::FromStr for Address {
    type Err = OptionsError;

    /// `host`, `host:port`, `[ipv6]`, `[ipv6]:port`, or a bare IPv6 address.
    fn from_str(text: &str) -> Result<Address, OptionsError> {
        let bad = || OptionsError::BadServer { given: text.to_owned() };
        let port = |text: &str| text.parse().map_err(|_| bad());
        let (host, port) = match text.strip_prefix('[').map(|rest| rest.split_once(']')) {
            Some(Some((host, ""))) => (host, DEFAULT_PORT),
            Some(Some((host, rest))) => (host, port(rest.strip_prefix(':').ok_or_else(bad)?)?),
            Some(None) => return Err(bad()),
            None => match text.split_once(':') {
                Some((_, rest)) if rest.contains(':') => (text, DEFAULT_PORT),
                Some((host, rest)) => (host, port(rest)?),
                None => (text, DEFAULT_PORT),
            },
        };
        if host.is_empty() || host.contains(|c: char| c.is_whitespace() || c == '/') {
            return Err(bad());
        }
        Ok(Address { host: host.to_owned(), port })
    }
}

/// How to connect.
#[derive(Clone, Debug)]
pub struct Options {
    /// Where the servers are; they are tried in an order shuffled per client.
    pub servers: Vec<Address>,
    /// The part of the tree that the client sees as the whole; `/` for all of it.
    pub chroot: String,
    /// The session timeout to ask for.
    pub session_timeout: Duration,
    /// How long [`Client::connect`](crate::Client::connect) and queued requests wait for a
    /// connection.
    pub connect_timeout: Duration,
    /// How often [`Client::connect`](crate::Client::connect) tries the whole list in vain before
    /// it gives up early; `None`: it takes all of its time.
    pub connect_rounds_max: Option<u32>,
    /// Whether a read-only member will do while there is no quorum.
    pub allows_read_only: bool,
    /// Most requests sent and not answered on the connection.
    pub in_flight_count_max: usize,
    /// Most bytes of such requests.
    pub in_flight_bytes_max: usize,
    /// How much may be asked and not answered before callers have to wait, in weights: a request
    /// weighs 1, and 1 more for each KiB of data in it.
    pub pending_weight_max: u32,
    /// Longest request in bytes, header included: the servers' `jute.maxbuffer`.
    pub request_bytes_max: usize,
    /// Longest frame taken from a server. Servers do not limit theirs.
    pub frame_bytes_max: usize,
    /// Most events that wait to be read from one [`Watch`](crate::Watch) before it ends.
    pub watch_events_max: usize,
    /// Whether the session counts as expired after 4/3 of its timeout without a word from a
    /// server, as with Apache 3.9's client.
    pub expires_locally: bool,
    /// Pauses between dials.
    pub backoff: Backoff,
    /// A session to go on with.
    pub resume: Option<SavedSession>,
    /// Identities to add on every connection: scheme and credentials.
    pub auth: Vec<(String, Vec<u8>)>,
    /// A SASL exchange at the beginning of every connection.
    pub sasl: Option<Sasl>,
    /// TLS, or plain TCP.
    pub tls: Option<Arc<ClientTls>>,
}

impl Options {
    /// Options for a connect string: `host:port,host:port.../chroot`.
    pub fn new(connect_string: &str) -> Result<Options, OptionsError> {
        let (list, chroot) = match connect_string.find('/') {
            Some(at) => connect_string.split_at(at),
            None => (connect_string, "/"),
        };
        let servers = list
            .split(',')
            .map(str::trim)
            .filter(|server| !server.is_empty())
            .map(str::parse)
            .collect::<Result<Vec<Address>, _>>()?;
        if servers.is_empty() {
            return Err(OptionsError::NoServer { given: connect_string.to_owned() });
        }
        if !path::is_valid(chroot) {
            return Err(OptionsError::BadChroot { given: chroot.to_owned() });
        }
        Ok(Options { chroot: chroot.to_owned(), ..Options::to(servers) })
    }

    /// Options for a list of servers.
    #[must_use]
    pub fn to(servers: Vec<Address>) -> Options {
        Options {
            servers,
            chroot: "/".to_owned(),
            session_timeout: Duration::from_secs(30),
            connect_timeout: Duration::from_secs(30),
            connect_rounds_max: None,
            allows_read_only: false,
            in_flight_count_max: 1024,
            in_flight_bytes_max: 4 << 20,
            pending_weight_max: 16 << 10,
            request_bytes_max: zk_proto::Limits::DEFAULT_MAX_BUFFER,
            frame_bytes_max: 64 << 20,
            watch_events_max: 64 << 10,
            expires_locally: true,
            backoff: Backoff::default(),
            resume: None,
            auth: Vec::new(),
            sasl: None,
            tls: None,
        }
    }

    /// The servers as one writes them.
    pub(crate) fn servers_text(&self) -> String {
        self.servers.iter().map(Address::to_string).collect::<Vec<_>>().join(",")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(text: &str) -> (String, String) {
        let options = Options::new(text).unwrap();
        (options.servers_text(), options.chroot)
    }

    #[test]
    fn connect_strings_are_apaches() {
        for (text, servers, chroot) in [
            ("localhost", "localhost:2181", "/"),
            ("a:1,b:2", "a:1,b:2", "/"),
            ("a:1, b/", "a:1,b:2181", "/"),
            ("a:1,b:2/app/x", "a:1,b:2", "/app/x"),
            ("[::1]:5/x", "[::1]:5", "/x"),
            ("[2001:db8::1],::1", "[2001:db8::1]:2181,[::1]:2181", "/"),
        ] {
            assert_eq!(parsed(text), (servers.to_owned(), chroot.to_owned()), "{text}");
        }
    }

    #[test]
    fn what_names_no_server_is_refused() {
        for text in ["", ",", "/app"] {
            assert!(matches!(Options::new(text), Err(OptionsError::NoServer { .. })), "{text}");
        }
        for text in ["a:b", "a:70000", ":1", "[::1", "[::1]5", "a b"] {
            assert!(matches!(Options::new(text), Err(OptionsError::BadServer { .. })), "{text}");
        }
        for text in ["a/b/", "a/b//c", "a/./b"] {
            assert!(matches!(Options::new(text), Err(OptionsError::BadChroot { .. })), "{text}");
        }
    }
}
