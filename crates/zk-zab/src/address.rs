//! Host and port, as configuration names them.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// A host name or address with a port; names are resolved when they are used.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct HostPort {
    /// A name, an IPv4 address or an IPv6 address without brackets.
    pub host: String,
    /// The port; 0 lets the system choose a free one.
    pub port: u16,
}

impl HostPort {
    /// Whether it stands for every address of the machine.
    #[must_use]
    pub fn is_wildcard(&self) -> bool {
        let v4 = self.host.parse::<Ipv4Addr>().is_ok_and(|addr| addr.is_unspecified());
        v4 || self.host.parse::<Ipv6Addr>().is_ok_and(|addr| addr.is_unspecified())
    }

    /// Whether it is one that every machine has for itself.
    #[must_use]
    pub fn is_loopback(&self) -> bool {
        let address = self.host.parse::<IpAddr>();
        address.map_or(self.host == "localhost", |address| address.is_loopback())
    }
}

impl fmt::Display for HostPort {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.host.contains(':') {
            write!(f, "[{}]:{}", self.host, self.port)
        } else {
            write!(f, "{}:{}", self.host, self.port)
        }
    }
}
