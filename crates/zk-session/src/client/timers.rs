//! The timers of a session, a closed table: no timer lives anywhere else.

use super::{ClientSession, Effect, Failure, Output, Phase, SessionState};
use zk_proto::SessionId;

/// The longest time without sending anything (`MAX_SEND_PING_INTERVAL`).
const PING_INTERVAL_MAX_MS: i64 = 10_000;
/// A ping goes out that much early, so that a second one would still be in time.
const PING_MARGIN_MS: i64 = 1000;
/// First and longest interval between probes for a read-write server (`minPingRwTimeout`,
/// `maxPingRwTimeout`).
const PROBE_INTERVAL_MS: std::ops::RangeInclusive<i64> = 100..=60_000;

/// What can become due, in the order in which it is looked at.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Timer {
    /// When nothing was heard for 4/3 of the session timeout: the session has surely expired.
    SessionTimeout,
    /// When nothing was heard for 2/3 of it: the connection is dead.
    ReadTimeout,
    /// When a dial and its handshake take too long.
    ConnectTimeout,
    /// When requests have waited too long for a connection.
    QueueTimeout,
    /// When the pause before the next dial is over.
    Retry,
    /// When nothing was sent for so long that the server could forget the session.
    Ping,
    /// When a session on a read-only member looks for a better one.
    Probe,
}

impl Timer {
    pub(super) const ALL: [Timer; 7] = [
        Timer::SessionTimeout,
        Timer::ReadTimeout,
        Timer::ConnectTimeout,
        Timer::QueueTimeout,
        Timer::Retry,
        Timer::Ping,
        Timer::Probe,
    ];
}

impl<T> ClientSession<T> {
    fn is_on_line(&self) -> bool {
        matches!(self.phase, Phase::Ready | Phase::Sasl { .. })
    }

    /// When a timer is due; `None` while it is not armed.
    pub(super) fn deadline_ms(&self, timer: Timer) -> Option<i64> {
        let timeout_ms = i64::from(self.session.timeout_ms);
        match (timer, self.phase) {
            (_, Phase::Ended(_)) => None,
            (Timer::SessionTimeout, _) => {
                let is_armed = self.config.expires_locally && self.session.id != SessionId::NONE;
                is_armed.then_some(self.last_heard_ms + timeout_ms * 4 / 3)
            }
            (Timer::ReadTimeout, _) => {
                self.is_on_line().then_some(self.last_heard_ms + timeout_ms * 2 / 3)
            }
            (
                Timer::ConnectTimeout,
                Phase::Dialling { since_ms } | Phase::Handshake { since_ms },
            ) => Some(since_ms + timeout_ms / self.config.server_count.max(1) as i64),
            (Timer::QueueTimeout, _) => {
                let is_armed = !self.is_on_line() && self.has_waiting();
                is_armed.then_some(self.waiting_since_ms + self.config.queue_timeout_ms)
            }
            (Timer::Retry, Phase::Waiting { until_ms }) => Some(until_ms),
            (Timer::Ping, Phase::Ready) => Some(self.last_sent_ms + ping_after_ms(timeout_ms)),
            (Timer::Probe, Phase::Ready) => {
                (self.state == SessionState::ConnectedReadOnly).then_some(self.next_probe_ms)
            }
            _ => None,
        }
    }

    pub(super) fn fire(&mut self, now_ms: i64, timer: Timer, out: &mut Output<T>) {
        match timer {
            Timer::SessionTimeout => self.end(SessionState::Expired, Failure::SessionExpired, out),
            Timer::ReadTimeout | Timer::ConnectTimeout => self.hang_up(now_ms, out),
            Timer::QueueTimeout if self.is_closing => {
                self.end(SessionState::Closed, Failure::Closed, out);
            }
            Timer::QueueTimeout => {
                self.waiting_since_ms = now_ms;
                self.fail_waiting(Failure::ConnectionLoss { was_sent: false }, out);
            }
            Timer::Retry => self.dial(now_ms, out),
            Timer::Ping => self.ping(now_ms, out),
            Timer::Probe => {
                self.probe_interval_ms = (self.probe_interval_ms * 2)
                    .clamp(*PROBE_INTERVAL_MS.start(), *PROBE_INTERVAL_MS.end());
                self.next_probe_ms = now_ms + self.probe_interval_ms;
                let server = self.take_server();
                out.effects.push(Effect::Probe { server });
            }
        }
    }
}

/// After which time without sending a ping goes out (`ClientCnxn.SendThread.run`): half of the read
/// timeout, a second earlier when that is long enough, and 10 s at most.
fn ping_after_ms(timeout_ms: i64) -> i64 {
    let half_ms = timeout_ms * 2 / 3 / 2;
    let early_ms = if half_ms > PING_MARGIN_MS {
        (half_ms - PING_MARGIN_MS).max(PING_MARGIN_MS + 1)
    } else {
        half_ms
    };
    early_ms.clamp(1, PING_INTERVAL_MAX_MS + 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pings_follow_javas_rule() {
        // Java, literally: with this idle time, is a ping due?
        let java = |timeout_ms: i64, idle_ms: i64| {
            let read_timeout = timeout_ms * 2 / 3;
            let left = read_timeout / 2 - idle_ms - if idle_ms > 1000 { 1000 } else { 0 };
            left <= 0 || idle_ms > 10_000
        };
        for timeout_ms in [100, 1000, 3000, 4000, 6000, 9000, 30_000, 40_000, 120_000] {
            let after_ms = ping_after_ms(timeout_ms);
            assert!(java(timeout_ms, after_ms), "{timeout_ms}: not due after {after_ms}");
            assert!(!java(timeout_ms, after_ms - 1), "{timeout_ms}: due before {after_ms}");
        }
    }
}
