//! From one connection to the next: dial, handshake, loss, end.

use zk_proto::connect::{ConnectRequest, ConnectResponse};
use zk_proto::jute::put_frame;
use zk_proto::request::Request;
use zk_proto::{Jute, Reader, SessionId};

use super::requests::{InFlight, Kind};
use super::{ClientSession, Effect, Failure, Output, Phase, SessionState};

impl<T> ClientSession<T> {
    /// The server whose turn it is.
    pub(super) fn take_server(&mut self) -> usize {
        let count = self.config.server_count.max(1);
        let server = self.next_server % count;
        self.next_server = (server + 1) % count;
        server
    }

    pub(super) fn dial(&mut self, now_ms: i64, out: &mut Output<T>) {
        self.attempts = self.attempts.saturating_add(1);
        self.phase = Phase::Dialling { since_ms: now_ms };
        let server = self.take_server();
        out.effects.push(Effect::Dial { server });
    }

    /// The connection stands: introduces the session.
    pub(super) fn greet(&mut self, now_ms: i64, out: &mut Output<T>) {
        let Phase::Dialling { since_ms } = self.phase else { return };
        self.phase = Phase::Handshake { since_ms };
        let id = self.renewed_id();
        let request = ConnectRequest {
            protocol_version: 0,
            last_zxid_seen: self.session.last_zxid.0,
            timeout_ms: self.config.timeout_ms,
            session_id: id,
            password: Some(&self.session.password),
            read_only: Some(self.config.allows_read_only),
        };
        put_frame(&mut out.bytes, |body| request.write(body));
        self.last_sent_ms = now_ms;
    }

    /// A session that only read-only members have seen is not known to the ensemble.
    fn renewed_id(&self) -> SessionId {
        if self.has_seen_read_write { self.session.id } else { SessionId::NONE }
    }

    /// The answer to the introduction.
    pub(super) fn welcome(&mut self, now_ms: i64, frame: &[u8], out: &mut Output<T>) {
        let Ok(response) = ConnectResponse::read(&mut Reader::new(frame)) else {
            return self.hang_up(now_ms, out);
        };
        let asked = self.renewed_id();
        let is_gone = response.timeout_ms <= 0 || response.session_id == SessionId::NONE;
        // Some servers answer a renewal of a lost session with a new one. Taking it would hide that
        // ephemerals and watches are gone.
        if is_gone || (asked != SessionId::NONE && asked != response.session_id) {
            return self.end(SessionState::Expired, Failure::SessionExpired, out);
        }
        let is_read_only = response.read_only == Some(true);
        if is_read_only && !self.config.allows_read_only {
            return self.hang_up(now_ms, out);
        }
        self.session.id = response.session_id;
        self.session.password = response.password;
        self.session.timeout_ms = response.timeout_ms;
        self.has_seen_read_write |= !is_read_only;
        self.attempts = 0;
        (self.next_probe_ms, self.probe_interval_ms) = (now_ms, 0);
        if self.config.uses_sasl {
            self.phase = Phase::Sasl { is_read_only };
            out.effects.push(Effect::SaslStart);
        } else {
            self.prime(now_ms, is_read_only, out);
        }
    }

    pub(super) fn sasl_done(&mut self, now_ms: i64, out: &mut Output<T>) {
        if let Phase::Sasl { is_read_only } = self.phase {
            self.prime(now_ms, is_read_only, out);
        }
    }

    /// Identities first, then watches, then what waits: nothing may be asked or delivered with
    /// fewer rights than before.
    fn prime(&mut self, now_ms: i64, is_read_only: bool, out: &mut Output<T>) {
        self.phase = Phase::Ready;
        let state = match is_read_only {
            true => SessionState::ConnectedReadOnly,
            false => SessionState::Connected,
        };
        self.set_state(state, out);
        for at in 0..self.auths.len() {
            self.send_auth(now_ms, at, out);
        }
        let watches = std::mem::take(&mut self.watches);
        watches.restore(self.session.last_zxid, |request: &Request<'_>| {
            self.send_set_watches(now_ms, request, out);
        });
        self.watches = watches;
        self.flush(now_ms, out);
    }

    /// Gives the connection up from this side.
    pub(super) fn hang_up(&mut self, now_ms: i64, out: &mut Output<T>) {
        if !matches!(self.phase, Phase::Waiting { .. } | Phase::Ended(_)) {
            out.effects.push(Effect::Hangup);
            self.lose(now_ms, out);
        }
    }

    /// The connection is gone, or never came.
    pub(super) fn lose(&mut self, now_ms: i64, out: &mut Output<T>) {
        if matches!(self.phase, Phase::Waiting { .. } | Phase::Ended(_)) {
            return;
        }
        out.bytes.clear();
        if matches!(self.phase, Phase::Ready | Phase::Sasl { .. }) {
            self.waiting_since_ms = now_ms;
        }
        if self.state.is_connected() {
            self.set_state(SessionState::Disconnected, out);
        }
        self.fail_in_flight(out);
        self.phase = Phase::Waiting { until_ms: now_ms };
        if self.is_closing {
            return self.end(SessionState::Closed, Failure::Closed, out);
        }
        let random = self.random();
        let pause_ms =
            self.config.backoff.pause_ms(self.attempts, self.config.server_count, random);
        self.phase = Phase::Waiting { until_ms: now_ms + pause_ms };
    }

    fn random(&mut self) -> u64 {
        // xorshift64: spreads clients, keeps no secret.
        self.rng ^= self.rng << 13;
        self.rng ^= self.rng >> 7;
        self.rng ^= self.rng << 17;
        self.rng
    }

    /// Everything sent is lost. What waits behind a lost write is lost with it; the rest keeps its
    /// place.
    fn fail_in_flight(&mut self, out: &mut Output<T>) {
        self.auths_in_flight.clear();
        self.in_flight_bytes = 0;
        let mut has_lost_write = false;
        for InFlight { kind, is_write, .. } in self.in_flight.drain(..) {
            if let Kind::Request { token, .. } = kind {
                has_lost_write |= is_write;
                let failure = Failure::ConnectionLoss { was_sent: true };
                out.effects.push(Effect::Failed { token, failure });
            }
        }
        if has_lost_write {
            self.fail_queue(Failure::ConnectionLoss { was_sent: false }, out);
        }
    }

    /// The session is over.
    pub(super) fn end(&mut self, state: SessionState, failure: Failure, out: &mut Output<T>) {
        match self.phase {
            Phase::Ended(_) => return,
            Phase::Waiting { .. } => {}
            _ => {
                out.effects.push(Effect::Hangup);
                out.bytes.clear();
            }
        }
        self.phase = Phase::Ended(failure);
        self.set_state(state, out);
        for InFlight { kind, .. } in self.in_flight.drain(..) {
            if let Kind::Request { token, .. } = kind {
                let failure = match failure {
                    Failure::Closed => Failure::ConnectionLoss { was_sent: true },
                    other => other,
                };
                out.effects.push(Effect::Failed { token, failure });
            }
        }
        self.fail_waiting(failure, out);
    }

    pub(super) fn set_servers(
        &mut self,
        now_ms: i64,
        count: usize,
        current: Option<usize>,
        out: &mut Output<T>,
    ) {
        self.config.server_count = count.max(1);
        self.next_server = current.map_or(0, |current| current + 1);
        if current.is_none() {
            self.hang_up(now_ms, out);
        }
    }

    /// A read-write server was found: goes there.
    pub(super) fn move_to(&mut self, now_ms: i64, server: usize, out: &mut Output<T>) {
        if self.state == SessionState::ConnectedReadOnly {
            self.next_server = server;
            self.hang_up(now_ms, out);
        }
    }
}
