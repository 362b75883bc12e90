//! What is proposed, and what is committed: the one history of the ensemble, and the model's state
//! at each of its txns.

use super::{Annals, Asked, Fact, KEPT};
use crate::ensemble::hub::hash_of;
use crate::ensemble::member::reconfiguration;
use crate::model::code;
use crate::model::state::State;
use crate::model::write::{Asker, Rules, Step, Wish, perform};
use std::rc::Rc;
use zk_proto::request::{Request, RequestHeader};
use zk_proto::txn::{Txn, TxnEntry};
use zk_proto::{Epoch, Jute, OpCode, Reader, Sid, Zxid};
use zk_zab::Ensemble;

/// As members are configured.
const RULES: Rules = Rules { extended_types: true, enforce_quota: false };

/// The code of a session that has moved.
const SESSION_MOVED: i32 = -118;

/// A txn that a leader has made.
#[derive(Clone, Debug)]
pub(crate) struct Proposal {
    /// Which leader.
    pub(crate) sid: Sid,
    /// Its bytes' hash.
    pub(crate) hash: u64,
    /// Header, body and digest.
    pub(crate) txn: Rc<[u8]>,
}

/// A txn that is committed.
#[derive(Clone, Debug)]
pub(crate) struct Committed {
    /// Which.
    pub(crate) zxid: i64,
    /// Its bytes' hash.
    pub(crate) hash: u64,
    /// Its session.
    pub(crate) session: i64,
    /// The request's number; 0 if there was none.
    pub(crate) cxid: i32,
    /// What the model made of it.
    pub(crate) step: Step,
    /// Whether it ends its session.
    pub(crate) is_close: bool,
    /// Whether it refuses what came late from a member that the session has left.
    pub(crate) is_late: bool,
    /// The digest that it foretells.
    pub(crate) digest: Option<u64>,
    /// Who made it; `None` if nobody has.
    pub(crate) by: Option<Sid>,
    /// When it was committed, in µs.
    pub(crate) at_us: u64,
    /// The newest write that some client knew to be done when it was asked for.
    pub(crate) after: i64,
    /// What is wrong with it, if it is no txn that could be.
    pub(crate) fault: Option<String>,
}

impl Committed {
    pub(super) fn first() -> Committed {
        let step =
            Step { after: Rc::new(State::first()), reply: Ok(Vec::new()), changes: Vec::new() };
        Committed {
            zxid: 0,
            hash: 0,
            session: 0,
            cxid: 0,
            step,
            is_close: false,
            is_late: false,
            digest: None,
            by: None,
            at_us: 0,
            after: 0,
            fault: None,
        }
    }
}

impl Annals {
    pub(super) fn proposed(&mut self, sid: Sid, zxid: i64, txn: &Rc<[u8]>) {
        let proposal = Proposal { sid, hash: hash_of(txn), txn: txn.clone() };
        self.proposals.entry(zxid).or_insert(proposal);
    }

    /// A leader says that everything up to there is committed.
    pub(super) fn commits(&mut self, zxid: i64) {
        let after = self.last();
        self.fact = Fact::Commits { after };
        // What an older leader had begun was committed by a newer one already.
        if zxid <= after {
            return;
        }
        let due: Vec<i64> = self.proposals.range(after + 1..=zxid).map(|(z, _)| *z).collect();
        // What an older leader left behind was not committed by this one.
        let epoch = Zxid(zxid).epoch();
        due.into_iter().filter(|z| Zxid(*z).epoch() == epoch).for_each(|z| self.commit(z));
    }

    /// A member leads: what is on its disk is committed.
    pub(super) fn leads(&mut self, sid: Sid, epoch: Epoch) {
        let after = self.last();
        self.leaders.entry(epoch.0).or_insert(sid);
        let view = self.members.entry(sid).or_default();
        let has = view.log.iter().rev().take_while(|(zxid, _)| *zxid > after);
        let due: Vec<i64> = has.map(|(zxid, _)| *zxid).collect();
        due.into_iter().rev().for_each(|zxid| self.commit(zxid));
        self.fact = Fact::Commits { after };
    }

    fn commit(&mut self, zxid: i64) {
        let mut committed = Committed { zxid, at_us: self.now_us, ..Committed::first() };
        match self.proposals.get(&zxid).cloned() {
            Some(proposal) => {
                (committed.hash, committed.by) = (proposal.hash, Some(proposal.sid));
                let before = self.history.back().map(|last| last.step.after.clone());
                if let Some(before) = before {
                    self.work_out(&before, &proposal.txn, &mut committed);
                }
                if let Some(config) = reconfiguration(&proposal.txn) {
                    self.configs.push((zxid, config.voters().collect()));
                }
            }
            None => committed.fault = Some("nobody has proposed it".into()),
        }
        self.count += 1;
        self.history.push_back(committed);
        if self.history.len() > KEPT {
            self.history.pop_front();
        }
        if self.count.is_multiple_of(256) {
            let oldest = self.history.front().map_or(0, |committed| committed.zxid);
            self.proposals = self.proposals.split_off(&oldest);
        }
    }

    /// What the model makes of a txn.
    fn work_out(&mut self, before: &Rc<State>, txn: &[u8], committed: &mut Committed) {
        committed.step.after = before.clone();
        let Ok(entry) = TxnEntry::read(&mut Reader::new(txn)) else {
            committed.fault = Some("it cannot be read".into());
            return;
        };
        let header = entry.header;
        (committed.session, committed.cxid) = (header.client_id, header.cxid);
        committed.digest = entry.digest.map(|digest| digest.tree_digest as u64);
        committed.is_close = header.op == OpCode::CloseSession.code();
        let key = (header.client_id, header.cxid);
        let asked = if header.cxid == 0 { None } else { self.requests.remove(&key) };
        committed.step = self.step(before, &entry, asked.as_deref(), committed);
        if let Some(asked) = asked {
            self.answers.insert((asked.session, asked.xid), header.zxid);
        }
    }

    /// What it makes of one that can be read, and of what was asked for it.
    fn step(
        &self,
        before: &Rc<State>,
        entry: &TxnEntry<'_>,
        asked: Option<&Asked>,
        committed: &mut Committed,
    ) -> Step {
        let header = entry.header;
        let act = |ids: &[_], wish| {
            let (session, zxid, time) = (header.client_id, header.zxid, header.time_ms);
            perform(before, RULES, Asker { session, ids, zxid, time }, wish)
        };
        let knows = before.sessions.contains_key(&header.client_id);
        match (&entry.txn, asked) {
            (Txn::CreateSession(timeout_ms), _) => {
                if knows {
                    committed.fault = Some("its session is there already".into());
                }
                act(&[], Wish::OpenSession(*timeout_ms))
            }
            (Txn::CloseSession(_), _) => act(&[], Wish::CloseSession),
            (Txn::DeleteContainer(body), _) => act(&[], Wish::Reap(&body.path)),
            (Txn::Reconfig(body), Some(asked)) => {
                committed.after = asked.after;
                let text = String::from_utf8_lossy(body.data.unwrap_or_default());
                match Ensemble::parse(&text) {
                    Ok(config) if config.version == header.zxid => {}
                    other => committed.fault = Some(format!("it makes {other:?}")),
                }
                act(&asked.ids, Wish::Configure(&text))
            }
            (Txn::Error(SESSION_MOVED), _) => {
                committed.is_late = true;
                act(&[], Wish::Refused(SESSION_MOVED))
            }
            // Why an ensemble is not changed only its leader knows.
            (Txn::Error(code), Some(asked)) if asked.op == Some(OpCode::Reconfig) => {
                committed.after = asked.after;
                act(&asked.ids, Wish::Refused(*code))
            }
            (Txn::Error(code::SESSION_EXPIRED), _) if !knows => {
                act(&[], Wish::Refused(code::SESSION_EXPIRED))
            }
            // What was not there to be reaped.
            (Txn::Error(code), None) if header.client_id == 0 => act(&[], Wish::Refused(*code)),
            (_, Some(asked)) => {
                committed.after = asked.after;
                let mut r = Reader::new(&asked.frame);
                let op = RequestHeader::read(&mut r).ok().and_then(|it| OpCode::from_code(it.op));
                let request = op.map(|op| Request::read(op, &mut r));
                let step = match &request {
                    Some(Ok(Some(request))) => act(&asked.ids, Wish::Request(request)),
                    _ => act(&[], Wish::Refused(code::MARSHALLING)),
                };
                let refusal = Err(code::BAD_ARGUMENTS);
                let is_refused = matches!(entry.txn, Txn::Error(code::BAD_ARGUMENTS));
                if self.facts.feeds && is_refused && step.reply != refusal {
                    // A follower has asked for that, in place of an observer's client.
                    committed.is_late = true;
                    return act(&[], Wish::Refused(code::BAD_ARGUMENTS));
                }
                step
            }
            (_, None) => {
                committed.fault = Some(format!("nobody asked for {:?}", entry.txn));
                act(&[], Wish::Refused(code::MARSHALLING))
            }
        }
    }
}
