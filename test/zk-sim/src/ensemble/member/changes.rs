//! The ensemble changes: what a member keeps of that, and whom it serves.

use super::{Driver, Process};
use crate::ensemble::coverage::Point;
use std::sync::{Arc, Mutex, PoisonError};
use zk_core::{Admission, Membership};
use zk_proto::request::{ReconfigRequest, Request, RequestHeader};
use zk_proto::txn::{Txn, TxnEntry};
use zk_proto::{ErrorCode, Jute, Limits, OpCode, Reader, Sid, Zxid};
use zk_zab::{Ensemble, Member, ReconfigError, Role};

/// What the machine says to a reconfig, asked before the pipeline asks for it: here both are on one
/// thread, and the machine belongs to the process.
#[derive(Debug)]
pub(super) struct Foreseen(Mutex<Result<String, ErrorCode>>);

impl Foreseen {
    pub(super) fn new() -> Arc<Foreseen> {
        Arc::new(Foreseen(Mutex::new(Err(ErrorCode::Unimplemented))))
    }
}

impl Membership for Foreseen {
    fn next(&self, _: &ReconfigRequest<'_>, _: Zxid) -> Result<String, ErrorCode> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl Process {
    /// Whether the ensemble that counts has this member.
    pub(super) fn is_listed(&self) -> bool {
        self.peer.configs().committed.members.contains_key(&self.peer.sid())
    }

    fn next(&self, body: &[u8]) -> Result<String, ErrorCode> {
        let mut r = Reader::new(body);
        let Ok(Some(Request::Reconfig(request))) = Request::read(OpCode::Reconfig, &mut r) else {
            return Err(ErrorCode::MarshallingError);
        };
        let zxid = self.core.last_proposed().next();
        let next = match self.peer.configs().next(&request, zxid, true) {
            Ok(next) if !self.peer.is_synced(&next) => Err(ReconfigError::NoQuorum),
            next => next,
        };
        next.map(|next| next.to_string()).map_err(|error| error.code())
    }
}

impl Driver<'_> {
    /// Before the pipeline of a leader looks at something that may be a reconfig.
    pub(super) fn foresee(&mut self, op: i32, body: &[u8]) {
        if op == OpCode::Reconfig.code() {
            let next = self.p.next(body);
            self.hub.note(|| format!("{} would make {next:?}", self.sid));
            let cell = &self.p.foreseen.0;
            *cell.lock().unwrap_or_else(PoisonError::into_inner) = next;
        }
    }

    pub(super) fn foresee_frame(&mut self, frame: &[u8]) {
        let mut r = Reader::new(frame);
        if let Ok(header) = RequestHeader::read(&mut r) {
            self.foresee(header.op, r.rest());
        }
    }

    /// For who reads the story.
    pub(super) fn tell_configs(&mut self) {
        let sid = self.sid;
        let configs = self.p.peer.configs();
        let short = |config: &Ensemble| {
            let member = |(sid, member): (&Sid, &Member)| match member.role {
                Role::Participant => format!(" {sid}"),
                Role::Observer => format!(" ({sid})"),
            };
            let members: String = config.members.iter().map(member).collect();
            format!("{:x}{members}", config.version)
        };
        let all: Vec<String> = configs.all().map(short).collect();
        self.hub.note(|| format!("{sid} knows {}", all.join(", then ")));
    }

    /// It is kept beside the one that counts.
    pub(super) fn config_proposed(&mut self, config: Ensemble) {
        if config.version <= self.p.peer.configs().committed.version {
            return;
        }
        if self.hub.survives(self.sid, Point::ConfigProposed) {
            self.configs.propose(config);
        }
    }

    /// It counts from now on.
    pub(super) fn config_activated(&mut self, config: &Ensemble) {
        let sid = self.sid;
        self.hub.note(|| format!("{sid} has configuration {:x}", config.version));
        let is_listed = config.members.contains_key(&sid);
        // Of a member that is about to join, its own file is right.
        if is_listed || self.p.was_listed {
            if !self.hub.survives(sid, Point::ConfigActivated) {
                return;
            }
            self.configs.activate(config.clone());
        }
        self.p.was_listed = is_listed;
        self.admit_clients();
    }

    /// Clients are served by members alone.
    pub(super) fn admit_clients(&mut self) {
        let is_open = self.p.core.admission() == Admission::Serving;
        match (self.p.peer.is_serving(), self.p.is_listed()) {
            (true, true) if !is_open => self.open(),
            (true, false) if is_open => {
                self.hub.mark(Point::ShutOut);
                self.apply_committed();
                self.close();
            }
            _ => {}
        }
    }
}

/// The configuration that a txn makes, if it is one that does.
pub(crate) fn reconfiguration(txn: &[u8]) -> Option<Ensemble> {
    let entry = TxnEntry::read(&mut Reader::with_limits(txn, Limits::NONE)).ok()?;
    let Txn::Reconfig(set) = entry.txn else { return None };
    Ensemble::parse(std::str::from_utf8(set.data?).ok()?).ok()
}
