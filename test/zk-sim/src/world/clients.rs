//! What clients do next.

use super::client::{Client, Heard, Held};
use super::net::Frame;
use super::workload::{Workload, frame};
use super::{Stop, World};
use crate::record::{Conn, Record};
use zk_proto::connect::ConnectRequest;
use zk_proto::request::Request;
use zk_proto::{Jute, SessionId};

impl World {
    /// A client does something.
    pub(super) fn act(&mut self, number: usize) -> Result<(), Stop> {
        let Some(conn) = self.clients[number].conn else { return self.connect(number) };
        if self.rng.chance(self.odds().leave) {
            self.leave(number, conn);
            return Ok(());
        }
        if !self.clients[number].is_live {
            // Most clients wait for their session; some do not.
            return if self.rng.chance(50) { self.ask(number, conn) } else { Ok(()) };
        }
        for _ in 0..self.rng.between(1, 4) {
            self.ask(number, conn)?;
        }
        Ok(())
    }

    /// A client opens a connection and says who it is.
    pub(super) fn connect(&mut self, number: usize) -> Result<(), Stop> {
        if self.member.is_none() {
            return Ok(());
        }
        let conn = self.net.connect();
        let client = &mut self.clients[number];
        client.conn = Some(conn);
        client.is_live = false;
        let ip = client.ip.clone();
        self.accept(conn, ip)?;
        let frame = self.handshake(number);
        self.send(conn, frame.into())
    }

    fn handshake(&mut self, number: usize) -> Vec<u8> {
        let rng = &mut self.rng;
        let steals = !self.is_calm && rng.chance(40);
        let other = self.clients[rng.below(self.clients.len())].session.clone();
        let client = &mut self.clients[number];
        if !self.is_calm && rng.chance(30) {
            client.forget();
        }
        if steals && let Some(held) = other {
            // Two clients with one session: it moves back and forth.
            client.forget();
            client.session = Some(held);
        }
        client.renews = client.session.is_some();
        let held = client.session.clone().unwrap_or(Held { id: 0, password: vec![0; 16] });
        let mut password = held.password;
        let mut last_zxid_seen = client.last_zxid;
        if !self.is_calm && rng.chance(self.settings.odds.nonsense) {
            match rng.below(3) {
                // What anybody can compute from a public id.
                0 if self.settings.terms.keyed_from.is_some() => {
                    password = zk_proto::password::apache(SessionId(held.id)).to_vec();
                }
                0 => password[0] ^= 1,
                1 => password.clear(),
                _ => last_zxid_seen += 1 << 20,
            }
        }
        let request = ConnectRequest {
            protocol_version: 0,
            last_zxid_seen,
            timeout_ms: *rng.pick(&[-1, 0, 4000, 6000, 10_000, 1_000_000]),
            session_id: SessionId(held.id),
            password: Some(&password),
            read_only: *rng.pick(&[None, Some(false), Some(false), Some(true)]),
        };
        let mut bytes = request.to_bytes();
        if !self.is_calm && rng.chance(self.settings.odds.nonsense / 4) {
            bytes.truncate(rng.below(28));
        }
        bytes
    }

    /// A frame leaves a client.
    pub(super) fn send(&mut self, conn: Conn, frame: Frame) -> Result<(), Stop> {
        let Some(link) = self.net.links.get_mut(&conn) else { return Ok(()) };
        link.inbound.push_back(frame.clone());
        self.emit(Record::Invoked { conn, frame })
    }

    /// A client sends one request.
    fn ask(&mut self, number: usize, conn: Conn) -> Result<(), Stop> {
        let client = &mut self.clients[number];
        client.xid += 1;
        let (rng, odds) = (&mut self.rng, self.settings.odds);
        let (xid, bytes) = if rng.chance(odds.nonsense) {
            (client.xid, self.workload.nonsense(rng, client.xid, &self.known))
        } else {
            let (xid, request) = match rng.below(60) {
                0 | 1 => (-4, Workload::auth(rng)),
                2 => (client.xid, Request::CloseSession),
                3 => (-2, Request::Ping),
                _ => (client.xid, self.workload.request(rng, &self.known)),
            };
            (xid, frame(xid, &request))
        };
        self.ask_frame(number, conn, xid, bytes)
    }

    /// A client sends this request.
    pub(super) fn ask_frame(
        &mut self,
        number: usize,
        conn: Conn,
        xid: i32,
        bytes: Vec<u8>,
    ) -> Result<(), Stop> {
        let frame: Frame = bytes.into();
        self.clients[number].asked.push_back((xid, frame.clone()));
        self.send(conn, frame)
    }

    /// A client leaves, or the network cuts it off.
    fn leave(&mut self, number: usize, conn: Conn) {
        self.clients[number].disconnected();
        self.cut(conn);
    }

    /// A connection breaks: a part of what was on its way to the member still arrives.
    pub(super) fn cut(&mut self, conn: Conn) {
        let Some(link) = self.net.links.get_mut(&conn) else { return };
        link.outbound.clear();
        let arrives = self.rng.below(link.inbound.len() + 1);
        link.inbound.truncate(arrives);
        link.is_left = true;
        if link.is_closed {
            self.net.links.remove(&conn);
        }
    }

    /// The next frame of a connection reaches its client, or the end of the connection does.
    pub(super) fn deliver(&mut self, conn: Conn) -> Result<(), Stop> {
        let Some(link) = self.net.links.get_mut(&conn) else { return Ok(()) };
        let client = self.clients.iter().position(|client| client.conn == Some(conn));
        let app = self.apps.iter().position(|app| app.conn == Some(conn));
        let Some(frame) = link.outbound.pop_front() else {
            if link.is_closed {
                self.net.links.remove(&conn);
                if let Some(number) = client {
                    self.clients[number].disconnected();
                }
                if let Some(number) = app {
                    return self.lose(number);
                }
            }
            return Ok(());
        };
        self.emit(Record::Received { conn, frame: frame.clone() })?;
        if let Some(number) = app {
            return self.hear(number, &frame);
        }
        let Some(number) = client else { return Ok(()) };
        match self.clients[number].hear(&frame) {
            Heard::Established => self.established(number, conn),
            Heard::Expired => {
                self.mark("told that the session is gone");
                Ok(())
            }
            Heard::Event => {
                self.mark("event");
                Ok(())
            }
            Heard::Reply => Ok(()),
        }
    }

    /// A client has its session: it proves who it is and sets its watches again.
    fn established(&mut self, number: usize, conn: Conn) -> Result<(), Stop> {
        let proves = if self.settings.terms.enforces_digest { 950 } else { 400 };
        if self.is_calm {
            self.ask_frame(number, conn, -4, frame(-4, &Workload::good_auth()))?;
        } else if self.rng.chance(proves) {
            let auth = frame(-4, &Workload::auth(&mut self.rng));
            self.ask_frame(number, conn, -4, auth)?;
        }
        let client: &mut Client = &mut self.clients[number];
        if !client.renews {
            return Ok(());
        }
        let (armed, since) = (std::mem::take(&mut client.armed), client.last_zxid);
        self.mark("renewal");
        if armed.is_empty() || self.rng.chance(100) {
            return Ok(());
        }
        self.clients[number].armed = armed.clone();
        self.mark("watches set again");
        let request = frame(-8, &armed.restore(since));
        self.ask_frame(number, conn, -8, request)
    }
}
