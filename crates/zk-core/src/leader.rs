//! What learners ask of a leader (Apache `LearnerHandler`, `LeaderRequestProcessor`).

use crate::effects::Effects;
use crate::options::{Membership, Times};
use crate::pipeline::{Answer, Core, LearnerId, Owner};
use crate::submit::code_without_path;
use std::sync::Arc;
use zk_proto::quorum::{Forwarded, Id, Touched};
use zk_proto::request::Request;
use zk_proto::{DecodeError, ErrorCode, OpCode, Reader, SessionId};
use zk_tree::auth::Identity;
use zk_tree::{Proposal, Tree, is_well_formed};

impl Core {
    /// A learner's client wants something changed. It becomes a transaction in any case, and be it
    /// an error: the learner waits for it.
    pub fn forwarded(
        &mut self,
        tree: &Tree,
        now: Times,
        from: LearnerId,
        asked: &Forwarded<'_>,
        fx: &mut Effects,
    ) {
        let identities: Vec<Identity> = asked.identities.iter().map(identity).collect();
        let body = asked.body;
        let op = OpCode::from_code(asked.op).filter(|op| op.is_write());
        let request =
            op.map(|op| Request::read(op, &mut Reader::with_limits(body, self.options.limits)));
        let proposal = match (op, &request) {
            (Some(OpCode::CreateSession), _) => match body.first_chunk() {
                Some(timeout_ms) => {
                    let timeout_ms = i32::from_be_bytes(*timeout_ms);
                    // At once: its client may be answered before it is applied here.
                    let owner = Some(Owner::Learner(from));
                    self.sessions.track(asked.session, timeout_ms, owner, now.monotonic_ms);
                    Proposal::CreateSession(timeout_ms)
                }
                None => Proposal::Refused(ErrorCode::MarshallingError),
            },
            // Whoever has the session may end it.
            (Some(OpCode::CloseSession), _) => {
                self.sessions.set_closing(asked.session);
                Proposal::CloseSession
            }
            (Some(op), Some(request)) => match request {
                Ok(Some(Request::Multi(multi))) if !is_well_formed(multi) => {
                    self.refused(asked.session, from, ErrorCode::MarshallingError)
                }
                Ok(Some(request)) => self.wanted(request, asked.session, Owner::Learner(from)),
                Err(DecodeError::Null { at: 0 }) => {
                    let code = code_without_path(op, body, tree, self.options.limits);
                    self.refused(asked.session, from, code.unwrap_or(ErrorCode::MarshallingError))
                }
                Ok(None) | Err(_) => self.refused(asked.session, from, ErrorCode::MarshallingError),
            },
            _ => Proposal::Refused(ErrorCode::Unimplemented),
        };
        let (session, cxid) = (asked.session, asked.cxid);
        self.propose(tree, now, session, cxid, &identities, &proposal, Answer::None, fx);
    }

    /// The refusal of a request, if its learner may act for the session.
    fn refused<'r, 'a>(
        &mut self,
        session: SessionId,
        from: LearnerId,
        code: ErrorCode,
    ) -> Proposal<'r, 'a> {
        let owned = self.check_owner(session, Owner::Learner(from));
        Proposal::Refused(owned.err().unwrap_or(code))
    }

    /// This leader's clients may change the ensemble, if that is enabled.
    pub fn set_membership(&mut self, membership: Arc<dyn Membership>) {
        self.membership = Some(membership);
    }

    /// Whether somebody may act for a session: the error that its request gets if not.
    pub(crate) fn check_owner(
        &mut self,
        session: SessionId,
        owner: Owner,
    ) -> Result<(), ErrorCode> {
        let table = if self.is_local(session) { &mut self.local } else { &mut self.sessions };
        match table.check(session, owner) {
            Err(ErrorCode::UnknownSession) if self.may_be_elsewhere(session) => Ok(()),
            Err(ErrorCode::SessionMoved) => Err(ErrorCode::SessionMoved),
            checked => checked.map_err(|_| ErrorCode::SessionExpired),
        }
    }

    /// A session is about to move to a learner: whether it is alive, and the learner's from now on.
    /// One of this member alone cannot move.
    pub fn moves(
        &mut self,
        now: Times,
        session: SessionId,
        timeout_ms: i32,
        to: LearnerId,
        fx: &mut Effects,
    ) -> bool {
        !self.is_local(session) && self.renew(now, session, Owner::Learner(to), timeout_ms, fx)
    }

    /// A learner has heard these sessions.
    pub fn touched(&mut self, now_ms: i64, touched: Touched<'_>) {
        for (session, _) in touched.iter() {
            self.sessions.touch(session, now_ms);
        }
    }
}

fn identity(id: &Id<'_>) -> Identity {
    let [scheme, id] =
        [&id.scheme, &id.id].map(|text| text.as_deref().unwrap_or_default().to_owned());
    Identity { scheme: scheme.into(), id }
}
