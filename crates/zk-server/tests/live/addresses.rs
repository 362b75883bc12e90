//! Where clients come from: one listener for IPv4 and IPv6, and what it calls its peers.

use std::net::{Ipv6Addr, SocketAddr, TcpListener, TcpStream};

use crate::client::{Client, four_letter_word};
use crate::member::Member;

#[test]
fn a_listener_for_all_addresses_keeps_ipv4_as_it_is() {
    for wildcard in ["::", "0.0.0.0"] {
        let member = Member::start(&format!("clientPortAddress={wildcard}"));
        let mut client = member.client();
        assert_eq!(client.create_for("/a", "ip", "127.0.0.1"), 0);
        assert_eq!(client.get("/a").unwrap(), b"mine");
        let line = four_letter_word(TcpStream::connect(member.addr()).unwrap(), "cons");
        assert!(line.contains("/127.0.0.1:"), "{wildcard}: {line}");
        // Not every machine has IPv6.
        if TcpListener::bind((Ipv6Addr::LOCALHOST, 0)).is_err() {
            continue;
        }
        let to = SocketAddr::from((Ipv6Addr::LOCALHOST, member.addr().port()));
        let mut other = Client::connect(to).unwrap();
        assert_eq!(other.get("/a"), Err(-102), "{wildcard}");
        assert_eq!(other.create_for("/b", "ip", "::1"), 0);
        assert_eq!(other.get("/b").unwrap(), b"mine");
        let line = four_letter_word(TcpStream::connect(to).unwrap(), "cons");
        assert!(line.contains("/[0:0:0:0:0:0:0:1]:"), "{wildcard}: {line}");
    }
}
