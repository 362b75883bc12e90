//! Sessions and connections that cost nothing to ask for.

use zk_proto::request::{AuthPacket, ReadRequest, Request};
use zk_proto::{Jute, Xid};

use super::Kept;
use super::ground::{Ground, LONG, PATIENCE, connect_request, hear, send_all};
use crate::client::put_request;
use crate::{Connection, Error, Incoming};

/// More than a connection may have.
const IDENTITIES: usize = 200;

/// Adds identities until the connection ends.
pub(super) fn identities(ground: &Ground, _: &mut Kept) -> Result<(), Error> {
    let mut bytes = Vec::new();
    for n in 0..IDENTITIES {
        let auth = format!("user{n}:password");
        let auth = Some(auth.as_bytes());
        let packet = AuthPacket { auth_type: 0, scheme: Some("digest".into()), auth };
        put_request(&mut bytes, Xid::AUTH.0, &Request::Auth(packet));
    }
    let mut connection = ground.session()?;
    connection.send(&bytes)?;
    while let Incoming::Frame(_) = connection.read(PATIENCE)? {}
    Ok(())
}

/// Opens a session and forgets it.
pub(super) fn without_end(ground: &Ground, _: &mut Kept) -> Result<(), Error> {
    ground.session().map(|_| ())
}

/// Connects and goes, in the middle of the connect request or before it.
pub(super) fn come_and_go(ground: &Ground, kept: &mut Kept) -> Result<(), Error> {
    let mut connection = Connection::open(ground.client)?;
    connection.send(&[0, 0, 0, 45, 0][..kept.choose(&[0, 2, 5])])
}

/// Sends requests right behind closeSession: only that is answered, and the connection ends.
pub(super) fn after_close(ground: &Ground, _: &mut Kept) -> Result<(), Error> {
    let read = || Request::GetData(ReadRequest { path: LONG.into(), watch: true });
    let mut connection = Connection::open(ground.client)?;
    connection.send_frame(&connect_request().to_bytes())?;
    send_all(&mut connection, [Request::CloseSession, read(), Request::Ping, read()])?;
    hear(&mut connection, 2)?;
    connection.read_to_end(PATIENCE).map(|_| ())
}
