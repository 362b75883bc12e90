//! SASL DIGEST-MD5 on a client connection (client-protocol 14.3).

use super::Gate;
use crate::admin::Counter;
use crate::net::Seldom;
use crate::net::conn::Conn;
use crate::tls::random_nonce;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use zk_proto::request::{RequestHeader, SaslToken};
use zk_proto::response::ReplyHeader;
use zk_proto::{ErrorCode, Jute, OpCode, Reader};
use zk_sasl::{Challenger, SaslError, Service, Step, Users};
use zk_tree::auth::Identity;

/// How clients are let in by SASL.
#[derive(Clone, Default)]
pub(crate) struct SaslOptions {
    /// Who there is; without, every exchange ends at once and without an identity.
    pub(crate) users: Option<Arc<Users>>,
    /// Users who may do everything (`superUser`).
    pub(crate) super_users: Vec<String>,
    /// `allowSaslFailedClients`: whoever fails stays, without an identity.
    pub(crate) allow_failed: bool,
}

/// Whether a frame is a step of a SASL exchange.
pub(super) fn is_sasl(frame: &[u8]) -> bool {
    frame.get(4..8) == Some(&OpCode::Sasl.code().to_be_bytes()[..])
}

/// The longest response that RFC 2831 allows.
const MAX_TOKEN_BYTES: usize = 4096;

static TOLD: Seldom = Seldom::new();

/// Takes a step of an exchange and queues the answer; counts it in `auth_failures` if it fails.
pub(super) fn step(
    options: &SaslOptions,
    required: bool,
    auth_failures: &Counter,
    gate: &mut Gate,
    conn: &Conn,
    frame: &[u8],
) {
    let mut r = Reader::new(frame);
    let (Ok(header), Ok(SaslToken { token: Some(token) })) =
        (RequestHeader::read(&mut r), SaslToken::read(&mut r))
    else {
        return gate.core.answer_frame(conn.id, &[], true, &mut gate.fx);
    };
    let Some(users) = &options.users else {
        return answer(gate, conn, header.xid, ErrorCode::Ok, None, false);
    };
    let outcome = if token.len() > MAX_TOKEN_BYTES {
        Err(SaslError::Form)
    } else {
        exchange(conn, users, token)
    };
    match outcome {
        Ok(Step::Challenge(token)) => {
            answer(gate, conn, header.xid, ErrorCode::Ok, Some(&token), false)
        }
        Ok(Step::Done { token, user }) => {
            conn.state.lock().sasl = None;
            let mut granted = vec![Identity::new("sasl", user.clone())];
            if options.super_users.contains(&user) {
                granted.push(Identity::new("super", user));
            }
            gate.core.add_identities(conn.id, granted, &mut gate.fx);
            answer(gate, conn, header.xid, ErrorCode::Ok, Some(&token), false);
        }
        Err(error) => {
            conn.state.lock().sasl = None;
            auth_failures.add(1);
            // The pipeline waits meanwhile, and strangers can cause it.
            if TOLD.allows(conn.heard_ms.load(Ordering::Relaxed)) {
                tracing::warn!(peer = %conn.line.peer, "SASL authentication failed: {error}");
            }
            let (code, close) = match (required, options.allow_failed) {
                (true, _) => (ErrorCode::SessionClosedRequireSaslAuth, true),
                (false, true) => (ErrorCode::Ok, false),
                (false, false) => (ErrorCode::AuthFailed, true),
            };
            answer(gate, conn, header.xid, code, None, close);
        }
    }
}

/// A step of the exchange of a connection, its first or another.
fn exchange(conn: &Conn, users: &Arc<Users>, token: &[u8]) -> Result<Step, SaslError> {
    let mut state = conn.state.lock();
    let machine = match &mut state.sasl {
        Some(machine) => machine,
        none => {
            let nonce = random_nonce().ok_or(SaslError::NoRandomness)?;
            let first = Challenger::new(Service::CLIENTS, users.clone(), &nonce);
            none.insert(Box::new(first))
        }
    };
    machine.step(token)
}

fn answer(
    gate: &mut Gate,
    conn: &Conn,
    xid: i32,
    code: ErrorCode,
    token: Option<&[u8]>,
    close: bool,
) {
    let mut frame = Vec::new();
    zk_proto::jute::put_frame(&mut frame, |out| {
        ReplyHeader::new(xid, 0, code).write(out);
        SaslToken { token }.write(out);
    });
    gate.core.answer_frame(conn.id, &frame, close, &mut gate.fx);
}
