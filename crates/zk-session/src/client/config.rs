//! What a session is told when it is made.

use std::fmt;

use zk_proto::password::Password;
use zk_proto::{SessionId, Zxid};

/// Settings of a client session. Times are ms.
#[derive(Clone, Debug)]
pub struct Config {
    /// The session timeout to ask for; servers clamp it.
    pub timeout_ms: i32,
    /// How many servers the caller's list has, at least 1. The list is dialled in order, again and
    /// again: shuffle it, or all clients start at the same server.
    pub server_count: usize,
    /// Whether a read-only member will do while there is no quorum.
    pub allows_read_only: bool,
    /// Most requests sent and not answered.
    pub in_flight_count_max: usize,
    /// Most bytes of such requests; a single larger one is sent alone.
    pub in_flight_bytes_max: usize,
    /// Longest request, with its header: servers cut the connection above `jute.maxbuffer`.
    pub request_bytes_max: usize,
    /// How long requests wait for a connection before they fail.
    pub queue_timeout_ms: i64,
    /// Whether the session counts as expired when nothing was heard for 4/3 of its timeout, as in
    /// Apache 3.9's client. Without it the client asks until a server says so.
    pub expires_locally: bool,
    /// Pauses between dials.
    pub backoff: Backoff,
    /// Spreads the pauses; give each client another number.
    pub seed: u64,
    /// Whether a SASL exchange comes before everything else on a connection.
    pub uses_sasl: bool,
    /// A session to go on with.
    pub resume: Option<SavedSession>,
}

impl Default for Config {
    fn default() -> Config {
        Config {
            timeout_ms: 30_000,
            server_count: 1,
            allows_read_only: false,
            in_flight_count_max: 1024,
            in_flight_bytes_max: 4 << 20,
            request_bytes_max: zk_proto::Limits::DEFAULT_MAX_BUFFER,
            queue_timeout_ms: 30_000,
            expires_locally: true,
            backoff: Backoff::default(),
            seed: 1,
            uses_sasl: false,
            resume: None,
        }
    }
}

/// Pauses between dials: a random part of `first_ms` while the servers of the list are tried for
/// the first time, then twice as long with every round. Apache's client waits up to 1000 ms each
/// time; a server that takes 20,000 sessions a second needs no such spread.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Backoff {
    /// Longest pause in the first round.
    pub first_ms: u32,
    /// Longest pause ever.
    pub max_ms: u32,
}

impl Default for Backoff {
    fn default() -> Backoff {
        Backoff { first_ms: 20, max_ms: 2000 }
    }
}

impl Backoff {
    /// The pause before dial number `attempt` (from 0) after the last established connection, with
    /// `random` to spread it.
    #[must_use]
    pub fn pause_ms(self, attempt: u32, server_count: usize, random: u64) -> i64 {
        let round = attempt / u32::try_from(server_count.max(1)).unwrap_or(u32::MAX);
        let longest =
            u64::from(self.first_ms).saturating_mul(1 << round.min(32)).min(u64::from(self.max_ms));
        // The first round is spread from 0 on; later ones never come too early.
        let shortest = if round == 0 { 0 } else { longest / 2 };
        (shortest + random % (longest - shortest + 1)) as i64
    }
}

/// A session that somebody can go on with.
#[derive(Clone, PartialEq, Eq)]
pub struct SavedSession {
    /// Its id; [`SessionId::NONE`] before the first handshake.
    pub id: SessionId,
    /// Its password: whoever has it has the session.
    pub password: Password,
    /// Its timeout, negotiated or wanted.
    pub timeout_ms: i32,
    /// The newest zxid seen; servers behind it will not serve the session.
    pub last_zxid: Zxid,
}

impl fmt::Debug for SavedSession {
    /// Leaves the password out: it must not get into logs.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SavedSession")
            .field("id", &self.id)
            .field("timeout_ms", &self.timeout_ms)
            .field("last_zxid", &self.last_zxid)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_grow_with_rounds_and_have_an_end() {
        let backoff = Backoff { first_ms: 20, max_ms: 100 };
        for (attempt, low, high) in [(0, 0, 20), (2, 0, 20), (3, 20, 40), (6, 40, 80), (9, 50, 100)]
        {
            for random in [0, 1, 77, u64::MAX] {
                let pause_ms = backoff.pause_ms(attempt, 3, random);
                assert!((low..=high).contains(&pause_ms), "{attempt}: {pause_ms}");
            }
        }
        assert!(backoff.pause_ms(u32::MAX, 0, 5) <= 100);
    }

    #[test]
    fn a_saved_session_does_not_print_its_password() {
        let saved = SavedSession {
            id: SessionId(1),
            password: [0xab; 16],
            timeout_ms: 4000,
            last_zxid: Zxid(7),
        };
        assert_eq!(
            format!("{saved:?}"),
            "SavedSession { id: 0x1, timeout_ms: 4000, last_zxid: 0x7, .. }"
        );
    }
}
