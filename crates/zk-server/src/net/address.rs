//! Addresses: where to listen, and who a peer is.

use std::io;
use std::net::{Ipv6Addr, SocketAddr, TcpListener, ToSocketAddrs};

use crate::config::HostPort;

/// Opens a listener. What stands for every address of the machine means those of both families, as
/// in Java, where there is IPv6.
pub(crate) fn listen(address: &HostPort, backlog: u32) -> io::Result<TcpListener> {
    let named = resolve(address)?;
    if !address.is_wildcard() {
        return open(named, backlog);
    }
    let both = SocketAddr::from((Ipv6Addr::UNSPECIFIED, named.port()));
    match open(both, backlog) {
        // There may be no IPv6. A port that is in use is so for both.
        Err(error) if error.kind() != io::ErrorKind::AddrInUse && named.is_ipv4() => {
            open(named, backlog)
        }
        opened => opened,
    }
}

fn open(to: SocketAddr, backlog: u32) -> io::Result<TcpListener> {
    let socket =
        socket2::Socket::new(socket2::Domain::for_address(to), socket2::Type::STREAM, None)?;
    if to.is_ipv6() {
        socket.set_only_v6(false)?;
    }
    socket.set_reuse_address(true)?;
    socket.bind(&to.into())?;
    socket.listen(i32::try_from(backlog).unwrap_or(i32::MAX))?;
    Ok(socket.into())
}

/// The first address that a host name has.
pub(super) fn resolve(address: &HostPort) -> io::Result<SocketAddr> {
    let mut found = (address.host.as_str(), address.port).to_socket_addrs()?;
    found.next().ok_or_else(|| {
        io::Error::new(io::ErrorKind::NotFound, format!("{} has no address", address.host))
    })
}

/// A peer without the IPv6 clothes that a listener for both families gives to IPv4: identities and
/// limits go by the address alone.
pub(crate) fn canonical(peer: SocketAddr) -> SocketAddr {
    match peer.ip().to_canonical() {
        ip if ip == peer.ip() => peer,
        ip => SocketAddr::new(ip, peer.port()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ipv4_in_ipv6_clothes_is_ipv4() {
        for (peer, want) in [
            ("[::ffff:10.0.0.1]:7", "10.0.0.1:7"),
            ("10.0.0.1:7", "10.0.0.1:7"),
            ("[fe80::1%3]:7", "[fe80::1%3]:7"),
        ] {
            assert_eq!(canonical(peer.parse().unwrap()), want.parse().unwrap());
        }
    }

    #[test]
    fn the_wildcards_listen_for_both_families() {
        for host in ["0.0.0.0", "::"] {
            let address = HostPort { host: host.to_owned(), port: 0 };
            let listener = listen(&address, 5).unwrap();
            let to = listener.local_addr().unwrap();
            let v4 = SocketAddr::from(([127, 0, 0, 1], to.port()));
            assert!(std::net::TcpStream::connect(v4).is_ok(), "{host}");
            if to.is_ipv6() {
                let v6 = SocketAddr::from((Ipv6Addr::LOCALHOST, to.port()));
                assert!(std::net::TcpStream::connect(v6).is_ok(), "{host}");
            }
            let again = listen(&HostPort { port: to.port(), ..address }, 5).unwrap_err();
            assert_eq!(again.kind(), io::ErrorKind::AddrInUse);
        }
    }
}
