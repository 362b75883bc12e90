//! Requests on their way: the queue, the window of unanswered ones, xids.

use zk_proto::jute::put_frame;
use zk_proto::request::{AuthPacket, Request, RequestHeader, SaslToken};
use zk_proto::watch::{AddWatchMode, WatcherType};
use zk_proto::{ErrorCode, Jute, SessionId, Text, Xid};

use super::{Auth, ClientSession, Effect, Failure, Output, Phase, SessionState, WatchKind};

/// Offset of the xid in a frame, behind the length.
const XID_AT: usize = 4;

/// A request that was not sent yet, encoded but for its xid.
pub(super) struct Queued<T> {
    frame: Vec<u8>,
    token: T,
    is_write: bool,
    consequence: Consequence,
}

/// A request that waits for its reply.
pub(super) struct InFlight<T> {
    pub(super) xid: i32,
    pub(super) bytes: usize,
    pub(super) is_write: bool,
    pub(super) kind: Kind<T>,
}

/// Who sent a request.
pub(super) enum Kind<T> {
    /// The application.
    Request { token: T, consequence: Consequence },
    /// The machine, to restore watches.
    SetWatches,
    /// The caller's SASL mechanism.
    Sasl,
}

/// What the reply to a request changes in the session.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum Consequence {
    /// Nothing.
    None,
    /// A watch is set: of this kind if the znode exists.
    Watch(WatchKind, Box<str>),
    /// An exists: its watch is of one kind or the other.
    ExistsWatch(Box<str>),
    /// Watches are gone.
    Unwatch(WatcherType, Box<str>),
    /// The session is closed.
    Close,
}

impl Consequence {
    fn of(request: &Request<'_>) -> Consequence {
        let watch = |kind, path: &Text<'_>| Consequence::Watch(kind, path.as_ref().into());
        match request {
            Request::Exists(read) if read.watch => {
                Consequence::ExistsWatch(read.path.as_ref().into())
            }
            Request::GetData(read) if read.watch => watch(WatchKind::Data, &read.path),
            Request::GetChildren(read) | Request::GetChildren2(read) if read.watch => {
                watch(WatchKind::Child, &read.path)
            }
            Request::AddWatch(add) => match (AddWatchMode::from_code(add.mode), &add.path) {
                (Some(mode), Some(path)) => watch(WatchKind::of_mode(mode), path),
                _ => Consequence::None,
            },
            Request::RemoveWatches(remove) => {
                match (WatcherType::from_code(remove.watcher_type), &remove.path) {
                    (Some(of), Some(path)) => Consequence::Unwatch(of, path.as_ref().into()),
                    _ => Consequence::None,
                }
            }
            Request::CloseSession => Consequence::Close,
            _ => Consequence::None,
        }
    }
}

fn put_request(out: &mut Vec<u8>, xid: i32, request: &Request<'_>) -> usize {
    let start = out.len();
    put_frame(out, |body| {
        RequestHeader { xid, op: request.opcode().code() }.write(body);
        request.write(body);
    });
    out.len() - start
}

impl<T> ClientSession<T> {
    /// Skips 0 and everything negative, some of which is reserved.
    fn next_xid(&mut self) -> i32 {
        self.xid = self.xid.checked_add(1).unwrap_or(1);
        self.xid
    }

    fn window_takes(&self, bytes: usize) -> bool {
        let fits = self.in_flight_bytes + bytes <= self.config.in_flight_bytes_max;
        self.in_flight.is_empty()
            || (fits && self.in_flight.len() < self.config.in_flight_count_max)
    }

    pub(super) fn submit(
        &mut self,
        now_ms: i64,
        token: T,
        request: &Request<'_>,
        out: &mut Output<T>,
    ) {
        let refused = match self.phase {
            Phase::Ended(failure) => Some(failure),
            _ if self.is_closing => Some(Failure::Closed),
            _ => None,
        };
        if let Some(failure) = refused {
            return out.effects.push(Effect::Failed { token, failure });
        }
        let can_send = self.phase == Phase::Ready && self.queue.is_empty();
        let (is_write, consequence) = (request.opcode().is_write(), Consequence::of(request));
        if can_send && self.window_takes(0) {
            // The common case: straight into the bytes of the connection.
            let start = out.bytes.len();
            let xid = self.next_xid();
            let len = put_request(&mut out.bytes, xid, request);
            if len - XID_AT > self.config.request_bytes_max {
                out.bytes.truncate(start);
                let failure = Failure::TooLong { len };
                return out.effects.push(Effect::Failed { token, failure });
            }
            if self.window_takes(len) {
                return self.sent(now_ms, xid, len, is_write, Kind::Request { token, consequence });
            }
            let frame = out.bytes.split_off(start);
            return self.enqueue(now_ms, Queued { frame, token, is_write, consequence });
        }
        let mut frame = Vec::new();
        let len = put_request(&mut frame, 0, request);
        if len - XID_AT > self.config.request_bytes_max {
            let failure = Failure::TooLong { len };
            return out.effects.push(Effect::Failed { token, failure });
        }
        self.enqueue(now_ms, Queued { frame, token, is_write, consequence });
    }

    fn enqueue(&mut self, now_ms: i64, queued: Queued<T>) {
        self.begin_waiting(now_ms);
        self.queue.push_back(queued);
    }

    /// Something new waits; if it is the first, its time runs from now.
    fn begin_waiting(&mut self, now_ms: i64) {
        if !self.has_waiting() {
            self.waiting_since_ms = now_ms;
        }
    }

    fn sent(&mut self, now_ms: i64, xid: i32, bytes: usize, is_write: bool, kind: Kind<T>) {
        self.in_flight.push_back(InFlight { xid, bytes, is_write, kind });
        self.in_flight_bytes += bytes;
        self.last_sent_ms = now_ms;
    }

    /// Sends from the queue what the window takes.
    pub(super) fn flush(&mut self, now_ms: i64, out: &mut Output<T>) {
        while let Some(front) = self.queue.front() {
            if self.phase != Phase::Ready || !self.window_takes(front.frame.len()) {
                return;
            }
            let Some(Queued { frame, token, is_write, consequence }) = self.queue.pop_front()
            else {
                return;
            };
            let xid = self.next_xid();
            let start = out.bytes.len();
            out.bytes.extend_from_slice(&frame);
            out.bytes[start + XID_AT..start + XID_AT + 4].copy_from_slice(&xid.to_be_bytes());
            self.sent(now_ms, xid, frame.len(), is_write, Kind::Request { token, consequence });
        }
    }

    pub(super) fn ping(&mut self, now_ms: i64, out: &mut Output<T>) {
        put_request(&mut out.bytes, Xid::PING.0, &Request::Ping);
        self.last_sent_ms = now_ms;
    }

    pub(super) fn send_set_watches(
        &mut self,
        now_ms: i64,
        request: &Request<'_>,
        out: &mut Output<T>,
    ) {
        let xid = Xid::SET_WATCHES.0;
        let len = put_request(&mut out.bytes, xid, request);
        self.sent(now_ms, xid, len, false, Kind::SetWatches);
    }

    pub(super) fn send_sasl(&mut self, now_ms: i64, token: &[u8], out: &mut Output<T>) {
        if matches!(self.phase, Phase::Sasl { .. }) {
            let xid = self.next_xid();
            let request = Request::Sasl(SaslToken { token: Some(token) });
            let len = put_request(&mut out.bytes, xid, &request);
            self.sent(now_ms, xid, len, false, Kind::Sasl);
        }
    }

    pub(super) fn add_auth(
        &mut self,
        now_ms: i64,
        token: T,
        scheme: &str,
        auth: Option<&[u8]>,
        out: &mut Output<T>,
    ) {
        if let Phase::Ended(failure) = self.phase {
            return out.effects.push(Effect::Failed { token, failure });
        }
        // An identity that was accepted before is sent again, but kept once.
        let known = |known: &Auth<T>| {
            known.token.is_none() && known.scheme == scheme && known.auth.as_deref() == auth
        };
        let at = match self.auths.iter().position(known) {
            Some(at) => at,
            None => {
                self.auths.push(Auth {
                    scheme: scheme.into(),
                    auth: auth.map(Into::into),
                    token: None,
                });
                self.auths.len() - 1
            }
        };
        self.begin_waiting(now_ms);
        self.auths[at].token = Some(token);
        if self.phase == Phase::Ready {
            self.send_auth(now_ms, at, out);
        }
    }

    pub(super) fn send_auth(&mut self, now_ms: i64, at: usize, out: &mut Output<T>) {
        let Auth { scheme, auth, .. } = &self.auths[at];
        let (scheme, auth) = (Some(scheme.as_str().into()), auth.as_deref());
        let packet = AuthPacket { auth_type: 0, scheme, auth };
        put_request(&mut out.bytes, Xid::AUTH.0, &Request::Auth(packet));
        self.auths_in_flight.push_back(at);
        self.last_sent_ms = now_ms;
    }

    /// closeSession is a request like others, and the last one.
    pub(super) fn close(&mut self, now_ms: i64, token: T, out: &mut Output<T>) {
        let is_refused = self.is_closing || matches!(self.phase, Phase::Ended(_));
        self.submit(now_ms, token, &Request::CloseSession, out);
        if is_refused {
            return;
        }
        self.is_closing = true;
        // Without a connection there is nobody to tell, and the session will expire; a connection
        // that is being made is waited for if there is something to say on it.
        let is_alone = match self.phase {
            Phase::Waiting { .. } => true,
            Phase::Dialling { .. } => self.session.id == SessionId::NONE && self.queue.len() == 1,
            _ => false,
        };
        if is_alone {
            self.end(SessionState::Closed, Failure::Closed, out);
        }
    }

    /// Whether anything waits for a connection.
    pub(super) fn has_waiting(&self) -> bool {
        !self.queue.is_empty() || self.auths.iter().any(|auth| auth.token.is_some())
    }

    pub(super) fn fail_queue(&mut self, failure: Failure, out: &mut Output<T>) {
        for Queued { token, .. } in self.queue.drain(..) {
            out.effects.push(Effect::Failed { token, failure });
        }
    }

    /// Fails what waits for a connection: requests, and the answers to new identities, which stay
    /// and are sent with the next connection.
    pub(super) fn fail_waiting(&mut self, failure: Failure, out: &mut Output<T>) {
        self.fail_queue(failure, out);
        for token in self.auths.iter_mut().filter_map(|auth| auth.token.take()) {
            out.effects.push(Effect::Failed { token, failure });
        }
    }

    /// The reply to a request came: what follows from it for the session.
    pub(super) fn settle(&mut self, err: i32, consequence: Consequence, out: &mut Output<T>) {
        let is_ok = err == ErrorCode::Ok.code();
        match consequence {
            Consequence::None => {}
            Consequence::Watch(kind, path) if is_ok => self.watches.insert(kind, path),
            Consequence::ExistsWatch(path) if is_ok => self.watches.insert(WatchKind::Data, path),
            Consequence::ExistsWatch(path) if err == ErrorCode::NoNode.code() => {
                self.watches.insert(WatchKind::Exist, path);
            }
            Consequence::Unwatch(of, path) if is_ok => self.watches.remove(of, &path),
            Consequence::Close => {
                self.end(SessionState::Closed, Failure::Closed, out);
            }
            _ => {}
        }
    }
}
