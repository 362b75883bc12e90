//! SASL between members (quorum-protocol 14; Apache `SaslQuorumAuthLearner` and
//! `SaslQuorumAuthServer`): whoever has dialled proves that it knows a password, and the other end
//! that it knows it too.
//!
//! Differs from Apache in: who tries and fails is not let in, whatever is required.

use std::fmt;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::timeout;
use zk_proto::quorum::{AuthPacket, AuthStatus};
use zk_sasl::{Account, Challenger, Claimant, Nonce, Refusal, SaslError, Service, Step, Users};

use crate::{Wire, within};

/// How a member authenticates, and whom it lets in.
#[derive(Debug)]
pub struct QuorumSaslOptions {
    /// As whom it dials others; without, it does not say who it is (`learnerRequireSasl`).
    pub account: Option<Account>,
    /// Who may dial it.
    pub users: Arc<Users>,
    /// Whether who does not say who it is may (`serverRequireSasl`).
    pub admits_strangers: bool,
    /// Where nonces come from.
    pub nonce: fn() -> Option<Nonce>,
}

/// The two sides of it.
#[derive(Debug)]
pub struct QuorumSasl(QuorumSaslOptions);

/// Why there is no connection, for people.
fn denied(why: impl fmt::Display) -> io::Error {
    io::Error::new(io::ErrorKind::PermissionDenied, why.to_string())
}

impl QuorumSasl {
    /// All that is needed.
    #[must_use]
    pub fn new(options: QuorumSaslOptions) -> QuorumSasl {
        QuorumSasl(options)
    }

    /// Says who this member is, and hears that the other end knows it.
    pub(crate) async fn authenticate(&self, wire: &mut Wire) -> io::Result<()> {
        let Some(account) = &self.0.account else { return Ok(()) };
        let nonce = (self.0.nonce)().ok_or_else(|| denied(SaslError::NoRandomness))?;
        let mut claimant = Claimant::new(Service::MEMBERS, account.clone(), &nonce);
        let peer = wire.peer();
        send(wire, AuthStatus::InProgress, b"").await?;
        let (status, challenge) = receive(wire).await.map_err(|error| {
            denied(format!(
                "the member at {peer} does not authenticate ({error}): is quorum.auth.enableSasl=true \
                 there?"
            ))
        })?;
        let refused = || {
            let user = &account.user;
            denied(format!(
                "the member at {peer} does not know the user {user} with this password: compare the \
                 section of quorum.auth.learner.saslLoginContext here with that of \
                 quorum.auth.server.saslLoginContext there"
            ))
        };
        if status != AuthStatus::InProgress {
            return Err(refused());
        }
        let unproved =
            |error: Refusal| denied(format!("the member at {peer} is not trusted: {error}"));
        let answer = claimant.answer(&challenge).map_err(unproved)?;
        send(wire, AuthStatus::InProgress, &answer).await?;
        // Some end without a word.
        let (status, proof) = receive(wire).await.map_err(|_| refused())?;
        if status != AuthStatus::Success {
            return Err(refused());
        }
        claimant.check(&proof).map_err(unproved)?;
        tracing::debug!("authenticated to the member at {peer} as {}", account.user);
        Ok(())
    }

    /// Hears who the other end is.
    pub(crate) async fn admit(&self, wire: &mut Wire, patience: Duration) -> io::Result<()> {
        if !self.is_announced(wire, patience).await? {
            return match self.0.admits_strangers {
                true => Ok(()),
                false => Err(denied(
                    "Learner not trying to authenticate and authentication is required \
                     (quorum.auth.serverRequireSasl)",
                )),
            };
        }
        within(patience, self.hear(wire)).await
    }

    /// Whether the other end is about to say who it is. Where nobody has to, silence means no.
    async fn is_announced(&self, wire: &mut Wire, patience: Duration) -> io::Result<bool> {
        let announces = async {
            loop {
                if let Some(announced) = AuthPacket::comes_first(wire.come()) {
                    return io::Result::Ok(announced);
                }
                wire.read().await?;
            }
        };
        match timeout(patience, announces).await {
            Ok(Ok(announced)) => Ok(announced),
            // One with a smaller sid has hung up already, and waits to be dialled.
            Ok(Err(error)) if error.kind() == io::ErrorKind::UnexpectedEof => Ok(false),
            Ok(Err(error)) => Err(error),
            Err(_) => Ok(false),
        }
    }

    async fn hear(&self, wire: &mut Wire) -> io::Result<()> {
        let nonce = (self.0.nonce)().ok_or_else(|| denied(SaslError::NoRandomness))?;
        let mut challenger = Challenger::new(Service::MEMBERS, self.0.users.clone(), &nonce);
        loop {
            let (_, token) = receive(wire).await?;
            match challenger.step(&token) {
                Ok(Step::Challenge(challenge)) => {
                    send(wire, AuthStatus::InProgress, &challenge).await?;
                }
                Ok(Step::Done { token, user }) => {
                    send(wire, AuthStatus::Success, &token).await?;
                    tracing::debug!("the member at {} has authenticated as {user}", wire.peer());
                    return Ok(());
                }
                Err(error) => {
                    // It may have gone already.
                    let _ = send(wire, AuthStatus::Error, b"").await;
                    return Err(denied(format!("SASL authentication failed: {error}")));
                }
            }
        }
    }
}

async fn send(wire: &mut Wire, status: AuthStatus, token: &[u8]) -> io::Result<()> {
    let mut bytes = Vec::new();
    AuthPacket { status, token: Some(token) }.put(&mut bytes);
    wire.write(&bytes).await
}

async fn receive(wire: &mut Wire) -> io::Result<(AuthStatus, Vec<u8>)> {
    loop {
        let read = AuthPacket::read(wire.come())
            .map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))?;
        if let Some((packet, length)) = read {
            let (status, token) = (packet.status, packet.token.unwrap_or_default().to_vec());
            wire.used(length);
            return Ok((status, token));
        }
        wire.read().await?;
    }
}

#[cfg(test)]
mod tests;
