//! What people read about sessions: collected under the locks, written when none is held.
//!
//! Levels are Apache's: sessions that expire at INFO, in Apache's words, since operators search for
//! them; sessions and connections that come and go at DEBUG; what strangers can cause at will,
//! once a second. No line has a password, an auth packet or a name of an identity in it.

use crate::net::Seldom;
use std::net::SocketAddr;
use zk_core::{News, Refusal};
use zk_proto::SessionId;

/// A line to be written.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Line {
    /// What the pipeline said; of a connection, with its address.
    News(News, Option<SocketAddr>),
    /// A session was opened or renewed on a connection.
    Established { peer: SocketAddr, session: SessionId, timeout_ms: i32 },
}

/// Whether anybody reads about what comes and goes.
pub(super) fn is_chatty() -> bool {
    tracing::enabled!(tracing::Level::DEBUG)
}

static THROTTLED: Seldom = Seldom::new();
static FULL: Seldom = Seldom::new();
static AHEAD: Seldom = Seldom::new();
static UNKNOWN: Seldom = Seldom::new();
static FOREIGN: Seldom = Seldom::new();

impl Line {
    /// Writes it, at `now_ms` of the monotonic clock.
    pub(super) fn write(self, now_ms: i64) {
        match self {
            Line::Established { peer, session, timeout_ms } => {
                tracing::debug!(%peer, %session, timeout_ms, "session established");
            }
            Line::News(News::Ended { session }, _) => tracing::debug!(%session, "session closed"),
            Line::News(News::Expired { session, timeout_ms }, _) => {
                tracing::info!(
                    "Expiring session 0x{:x}, timeout of {timeout_ms}ms exceeded",
                    session.0
                );
            }
            Line::News(News::Refused { session, why, .. }, Some(peer)) => {
                refused(peer, session, why, now_ms);
            }
            // It is gone.
            Line::News(News::Refused { .. }, None) => {}
        }
    }
}

fn refused(peer: SocketAddr, session: SessionId, why: Refusal, now_ms: i64) {
    match why {
        Refusal::TooManyRequests if THROTTLED.allows(now_ms) => tracing::warn!(
            "the connection from {peer} was closed: too many connect requests, see \
             connection_throttle_tokens"
        ),
        Refusal::TooManySessions if FULL.allows(now_ms) => tracing::warn!(
            "a new session for {peer} was refused: there are as many as may be, see maxSessions"
        ),
        Refusal::Ahead(zxid) if AHEAD.allows(now_ms) => tracing::info!(
            "the connection from {peer} was closed: it has seen zxid 0x{zxid:x}, which is not here"
        ),
        Refusal::UnknownSession if UNKNOWN.allows(now_ms) => {
            tracing::info!("Invalid session 0x{:x} for client {peer}, probably expired", session.0)
        }
        Refusal::OtherCertificate if FOREIGN.allows(now_ms) => tracing::warn!(
            "session 0x{:x} was refused to {peer}: it was opened with another certificate",
            session.0
        ),
        Refusal::NotServing | Refusal::Form => {
            tracing::debug!(%peer, %session, ?why, "connect request refused");
        }
        _ => {}
    }
}
