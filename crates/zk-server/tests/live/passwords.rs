//! Rule R2: a live directory goes from Apache's session passwords to keyed ones and back, and every
//! session keeps the password that its client has.

use std::net::SocketAddr;
use std::path::Path;

use zk_proto::SessionId;
use zk_proto::password::apache;
use zk_proto::request::Request;
use zk_server::{Server, StartError};

use crate::client::Client;
use crate::member::{Member, config};

type Ticket = (SessionId, [u8; 16]);

fn ticket(client: &Client) -> Ticket {
    (client.session.session_id, client.session.password)
}

/// Whether a session is renewed.
fn renews(addr: SocketAddr, ticket: Ticket) -> bool {
    Client::renew(addr, ticket).session.session_id == ticket.0
}

fn keyed(dir: &Path) -> String {
    let secret = dir.join("secret");
    std::fs::write(&secret, "0123456789abcdef0123456789abcdef\n").unwrap();
    format!("sessionPassword=hmac\nsessionPasswordFile={}", secret.display())
}

#[test]
fn r2_sessions_live_through_the_change_and_back() {
    let member = Member::start("");
    let (old, gone) = (ticket(&member.client()), member.client());
    let gone_ticket = ticket(&gone);
    let dir = member.stop();
    drop(gone);

    let hmac = keyed(dir.path());
    let member = Member::start_in(dir, &hmac);
    assert!(renews(member.addr(), old) && renews(member.addr(), gone_ticket));
    let new = ticket(&member.client());
    assert_ne!(new.1, apache(new.0));
    assert!(!renews(member.addr(), (new.0, apache(new.0))));
    // The second start knows which sessions are older than the change, and that one has closed.
    let mut client = Client::renew(member.addr(), gone_ticket);
    client.send(&Request::CloseSession).unwrap();
    client.reply().unwrap();
    let member = Member::start_in(member.stop(), &hmac);
    assert!(renews(member.addr(), old) && renews(member.addr(), new));
    assert!(!renews(member.addr(), gone_ticket));
    assert!(!renews(member.addr(), (new.0, apache(new.0))));

    // Back, while one of them is alive, it cannot go.
    let dir = member.stop();
    let Err(error) = Server::start(config(dir.path(), "")) else { panic!("started") };
    assert_eq!(error.exit_code(), 2);
    assert!(matches!(error, StartError::Storage(_)) && error.to_string().starts_with("1 live"));
    let member = Member::start_in(dir, &hmac);
    let mut client = Client::renew(member.addr(), new);
    client.send(&Request::CloseSession).unwrap();
    client.reply().unwrap();
    let member = Member::start_in(member.stop(), "");
    assert!(renews(member.addr(), old));
}
