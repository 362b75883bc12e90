//! What servers send: replies in order, notifications, answers to pings and identities.

use zk_proto::response::ReplyHeader;
use zk_proto::watch::{EventType, WatcherEvent};
use zk_proto::{ErrorCode, Jute, Reader, Xid, Zxid};

use super::requests::{InFlight, Kind};
use super::{ClientSession, Effect, Event, Failure, Output, Phase, SessionState};

impl<T> ClientSession<T> {
    pub(super) fn receive(&mut self, now_ms: i64, frame: &[u8], out: &mut Output<T>) {
        match self.phase {
            Phase::Handshake { .. } => {
                self.last_heard_ms = now_ms;
                self.welcome(now_ms, frame, out);
            }
            Phase::Ready | Phase::Sasl { .. } => {
                self.last_heard_ms = now_ms;
                let mut r = Reader::new(frame);
                let Ok(header) = ReplyHeader::read(&mut r) else {
                    return self.hang_up(now_ms, out);
                };
                match Xid(header.xid) {
                    Xid::PING => {}
                    Xid::NOTIFICATION => self.notified(now_ms, header, &mut r, out),
                    Xid::AUTH => self.authenticated(header, out),
                    _ => self.replied(now_ms, header, out),
                }
            }
            _ => {}
        }
    }

    fn notified(
        &mut self,
        now_ms: i64,
        header: ReplyHeader,
        r: &mut Reader<'_>,
        out: &mut Output<T>,
    ) {
        let Ok(event) = WatcherEvent::read(r) else { return self.hang_up(now_ms, out) };
        // Servers send no other events; one of the future means nothing to anybody here.
        let Some(kind) = EventType::from_code(event.event_type) else { return };
        let path = event.path.into_owned();
        self.watches.fire(kind, &path);
        // The zxid of a notification is not a promise about replies: it must not raise last_zxid.
        let zxid = (header.zxid > 0).then_some(Zxid(header.zxid));
        out.effects.push(Effect::Event(Event { kind, path, zxid }));
    }

    fn authenticated(&mut self, header: ReplyHeader, out: &mut Output<T>) {
        if header.err != ErrorCode::Ok.code() {
            return self.end(SessionState::AuthFailed, Failure::AuthFailed, out);
        }
        let auth = self.auths_in_flight.pop_front().and_then(|at| self.auths.get_mut(at));
        if let Some(token) = auth.and_then(|auth| auth.token.take()) {
            out.effects.push(Effect::Reply { token, zxid: Zxid(header.zxid), err: header.err });
        }
    }

    fn replied(&mut self, now_ms: i64, header: ReplyHeader, out: &mut Output<T>) {
        // Replies come in the order of the requests; anything else means that this connection
        // cannot be trusted any more ("Xid out of order").
        if self.in_flight.front().is_none_or(|front| front.xid != header.xid) {
            return self.hang_up(now_ms, out);
        }
        let Some(InFlight { kind, bytes, .. }) = self.in_flight.pop_front() else { return };
        self.in_flight_bytes -= bytes;
        let zxid = Zxid(header.zxid);
        if header.zxid > 0 {
            self.session.last_zxid = self.session.last_zxid.max(zxid);
        }
        match kind {
            Kind::Request { token, consequence } => {
                // First the state: whoever reads the reply of a close finds the session closed.
                self.settle(header.err, consequence, out);
                out.effects.push(Effect::Reply { token, zxid, err: header.err });
            }
            Kind::Sasl => out.effects.push(Effect::SaslReply { err: header.err }),
            Kind::SetWatches => {}
        }
        if !self.queue.is_empty() {
            self.flush(now_ms, out);
        }
    }
}
