//! The server's table of sessions: timeouts, owners, expiry (client-protocol 2.5 to 2.7).
//!
//! Mirrors `SessionTrackerImpl` and `ExpiryQueue`; differs in being lazy. Apache moves a session
//! from bucket to bucket with every request, under a lock. Here whoever reads a request stores the
//! time where it likes (a number per connection, no lock), a session stays filed where it was, and
//! only when its bucket comes up is it asked when it was last heard, and filed again or expired.
//! The moment of expiry is the same.

use std::collections::BTreeMap;

use foldhash::fast::FixedState;
use hashbrown::HashMap;
use zk_proto::{ErrorCode, SessionId};

/// The sessions of one member, with the times at which they expire.
///
/// All times are ms of one monotonic clock. `O` says who holds a session's connection: on a
/// standalone server a connection, on a leader a learner or itself.
///
/// **The bucket rule:** a session expires at `bucket(heard + timeout)`, where
/// `bucket(t) = (t / tickTime + 1) * tickTime`, so between its timeout and one tick later.
#[derive(Clone, Debug)]
pub struct SessionTable<O> {
    tick_ms: i64,
    sessions: HashMap<SessionId, Session<O>, FixedState>,
    /// Bucket time to sessions. A session is filed in the bucket that its `due` names; what stands
    /// in other buckets is out of date and is dropped when they come up.
    buckets: BTreeMap<i64, Vec<SessionId>>,
}

/// What is kept of a session.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Session<O> {
    /// The timeout that it was opened with: what transaction and snapshots store.
    pub timeout_ms: i32,
    /// The timeout that its latest handshake came to: what it lives by.
    lease_ms: i32,
    /// Whether it has expired or its close is under way: it may do nothing any more.
    pub is_closing: bool,
    /// Whether its createSession is applied: only then it is stored.
    is_committed: bool,
    /// Who holds its connection; `None` until the first use.
    pub owner: Option<O>,
    /// When the table itself last heard of it: opened, touched, restored.
    heard_ms: i64,
    /// The bucket in which it is filed; never after the bucket of its last sign of life.
    due_ms: i64,
}

impl<O> Session<O> {
    /// The timeout in ms that it lives by: what its latest handshake came to.
    #[must_use]
    pub fn lease_ms(&self) -> i32 {
        self.lease_ms
    }
}

impl<O: Copy + PartialEq> SessionTable<O> {
    /// An empty table; `tick_ms` is `tickTime`.
    ///
    /// # Panics
    /// If `tick_ms` is 0: a configuration with such a tick is refused before.
    #[must_use]
    pub fn new(tick_ms: u32) -> SessionTable<O> {
        assert!(tick_ms > 0, "tickTime must be positive");
        SessionTable {
            tick_ms: i64::from(tick_ms),
            sessions: HashMap::default(),
            buckets: BTreeMap::new(),
        }
    }

    fn bucket(&self, time_ms: i64) -> i64 {
        (time_ms / self.tick_ms + 1) * self.tick_ms
    }

    /// A session begins, or is known from a txn or snapshot; it gets its full timeout from now on.
    /// An existing one keeps its timeout, as in Apache's `trackSession`, and is touched; the answer
    /// is then `false`.
    pub fn open(&mut self, id: SessionId, timeout_ms: i32, owner: Option<O>, now_ms: i64) -> bool {
        let is_new = self.track(id, timeout_ms, owner, now_ms);
        if let Some(session) = self.sessions.get_mut(&id) {
            session.is_committed = true;
        }
        is_new
    }

    /// The same for a session whose createSession is under way and may yet be lost: it lives, and
    /// [`SessionTable::to_sorted`] leaves it out until it is opened (Apache's `commitSession`).
    pub fn track(&mut self, id: SessionId, timeout_ms: i32, owner: Option<O>, now_ms: i64) -> bool {
        if let Some(session) = self.sessions.get_mut(&id) {
            session.heard_ms = session.heard_ms.max(now_ms);
            return false;
        }
        let due_ms = self.bucket(now_ms + i64::from(timeout_ms));
        let session = Session {
            timeout_ms,
            lease_ms: timeout_ms,
            is_closing: false,
            is_committed: false,
            owner,
            heard_ms: now_ms,
            due_ms,
        };
        self.sessions.insert(id, session);
        self.buckets.entry(due_ms).or_default().push(id);
        true
    }

    /// Takes sessions over from a snapshot, a log or the leader before: each starts anew with its
    /// full timeout, unowned.
    pub fn restore(&mut self, sessions: impl IntoIterator<Item = (SessionId, i32)>, now_ms: i64) {
        for (id, timeout_ms) in sessions {
            self.open(id, timeout_ms, None, now_ms);
        }
    }

    /// A sign of life that is not kept outside (a handshake, a learner's table, a connection that
    /// ended). `false`: unknown or closing, the request must be dropped.
    pub fn touch(&mut self, id: SessionId, now_ms: i64) -> bool {
        match self.sessions.get_mut(&id) {
            Some(session) if !session.is_closing => {
                session.heard_ms = session.heard_ms.max(now_ms);
                true
            }
            _ => false,
        }
    }

    /// Whether `owner` may act for the session; the first to ask becomes its owner.
    ///
    /// [`ErrorCode::UnknownSession`], [`ErrorCode::SessionExpired`] (closing) or
    /// [`ErrorCode::SessionMoved`] (another owner).
    pub fn check(&mut self, id: SessionId, owner: O) -> Result<(), ErrorCode> {
        let session = self.sessions.get_mut(&id).ok_or(ErrorCode::UnknownSession)?;
        if session.is_closing {
            return Err(ErrorCode::SessionExpired);
        }
        match *session.owner.get_or_insert(owner) == owner {
            true => Ok(()),
            false => Err(ErrorCode::SessionMoved),
        }
    }

    /// A renewal: touches the session, moves it to `owner` and lets it expire by the timeout that
    /// the new connection negotiated. As in Apache the timeout it was opened with stays on record
    /// and holds again after a restart. `false`: unknown or closing, the client must be told that
    /// its session is gone.
    pub fn renew(&mut self, id: SessionId, owner: O, timeout_ms: i32, now_ms: i64) -> bool {
        let due_ms = self.bucket(now_ms + i64::from(timeout_ms));
        let renewed = self.touch(id, now_ms);
        let Some(session) = self.sessions.get_mut(&id).filter(|_| renewed) else { return false };
        session.owner = Some(owner);
        session.lease_ms = timeout_ms;
        // A later moment is found out when the old one comes up; an earlier one would be missed.
        if due_ms < session.due_ms {
            session.due_ms = due_ms;
            self.buckets.entry(due_ms).or_default().push(id);
        }
        true
    }

    /// From now on the session may do nothing; it stays in the table until [`Self::close`].
    /// `false` if it is unknown or was closing already.
    pub fn set_closing(&mut self, id: SessionId) -> bool {
        self.sessions
            .get_mut(&id)
            .is_some_and(|session| !std::mem::replace(&mut session.is_closing, true))
    }

    /// The session is gone: its closeSession was applied.
    pub fn close(&mut self, id: SessionId) -> Option<Session<O>> {
        self.sessions.remove(&id)
    }

    /// A session, closing ones too.
    #[must_use]
    pub fn get(&self, id: SessionId) -> Option<&Session<O>> {
        self.sessions.get(&id)
    }

    /// Number of sessions, closing ones too.
    #[must_use]
    pub fn len(&self) -> usize {
        self.sessions.len()
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.sessions.is_empty()
    }

    /// Every session whose createSession is applied, with its timeout in ms, by ascending id: what
    /// a snapshot stores.
    #[must_use]
    pub fn to_sorted(&self) -> Vec<(SessionId, i32)> {
        let committed = self.sessions.iter().filter(|(_, session)| session.is_committed);
        let mut all: Vec<_> = committed.map(|(id, session)| (*id, session.timeout_ms)).collect();
        all.sort_unstable();
        all
    }

    /// When [`Self::expire_due`] has to be called next; `None` without sessions.
    #[must_use]
    pub fn next_due_ms(&self) -> Option<i64> {
        self.buckets.first_key_value().map(|(&due_ms, _)| due_ms)
    }

    /// Expires what is due: each session not heard of for its timeout is marked closing and
    /// appended to `expired`, in the order of bucket and filing. The caller submits a closeSession
    /// for each. `heard_ms` tells when a session was last heard outside of this table; `None` if
    /// nobody holds its connection. It is asked once per session and timeout, not per request.
    pub fn expire_due(
        &mut self,
        now_ms: i64,
        mut heard_ms: impl FnMut(SessionId, Option<O>) -> Option<i64>,
        expired: &mut Vec<SessionId>,
    ) {
        while let Some(bucket) = self.buckets.first_entry() {
            let due_ms = *bucket.key();
            if due_ms > now_ms {
                return;
            }
            for id in bucket.remove() {
                let Some(session) = self.sessions.get_mut(&id) else { continue };
                if session.is_closing || session.due_ms != due_ms {
                    continue;
                }
                let outside_ms = heard_ms(id, session.owner).unwrap_or(i64::MIN);
                session.heard_ms = session.heard_ms.max(outside_ms);
                let end_ms = session.heard_ms + i64::from(session.lease_ms);
                session.due_ms = (end_ms / self.tick_ms + 1) * self.tick_ms;
                if session.due_ms > now_ms {
                    self.buckets.entry(session.due_ms).or_default().push(id);
                } else {
                    session.is_closing = true;
                    expired.push(id);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const A: SessionId = SessionId(1);
    const B: SessionId = SessionId(2);

    fn expire(table: &mut SessionTable<u32>, now_ms: i64) -> Vec<SessionId> {
        let mut expired = Vec::new();
        table.expire_due(now_ms, |_, _| None, &mut expired);
        expired
    }

    #[test]
    fn a_session_expires_between_its_timeout_and_a_tick_later() {
        let mut table = SessionTable::new(2000);
        table.open(A, 4000, Some(1), 1999);
        table.open(B, 4000, Some(1), 2000);
        assert_eq!(table.next_due_ms(), Some(6000));
        assert_eq!(expire(&mut table, 5999), []);
        assert_eq!(expire(&mut table, 6000), [A]);
        assert_eq!(expire(&mut table, 7999), []);
        assert_eq!(expire(&mut table, 8000), [B]);
        assert_eq!(table.next_due_ms(), None);
        assert_eq!(table.check(A, 1), Err(ErrorCode::SessionExpired));
        assert!(table.close(A).is_some());
        assert_eq!(table.check(A, 1), Err(ErrorCode::UnknownSession));
    }

    #[test]
    fn touches_inside_and_outside_of_the_table_count() {
        let mut table = SessionTable::new(100);
        table.open(A, 1000, Some(7), 0);
        table.open(B, 1000, None, 0);
        assert!(table.touch(B, 500));
        let mut expired = Vec::new();
        let mut asked = Vec::new();
        table.expire_due(
            1100,
            |id, owner| {
                asked.push((id, owner));
                (id == A).then_some(900)
            },
            &mut expired,
        );
        assert_eq!((asked, expired), (vec![(A, Some(7)), (B, None)], vec![]));
        assert_eq!(expire(&mut table, 1599), []);
        assert_eq!(expire(&mut table, 1600), [B]);
        assert_eq!(expire(&mut table, 2000), [A]);
        assert!(!table.touch(A, 2001), "an expired session cannot be touched");
    }

    #[test]
    fn the_first_use_makes_the_owner_and_a_renewal_moves_it() {
        let mut table = SessionTable::new(100);
        table.restore([(A, 1000)], 0);
        assert_eq!(table.check(A, 1), Ok(()));
        assert_eq!(table.check(A, 2), Err(ErrorCode::SessionMoved));
        assert!(table.renew(A, 2, 1000, 10));
        assert_eq!(table.check(A, 2), Ok(()));
        assert_eq!(table.check(A, 1), Err(ErrorCode::SessionMoved));
        assert!(!table.renew(B, 2, 1000, 10));
        assert!(table.set_closing(A));
        assert!(!table.set_closing(A));
        assert!(!table.renew(A, 3, 1000, 20));
        assert_eq!(table.get(A).and_then(|session| session.owner), Some(2));
    }

    #[test]
    fn a_renewal_changes_the_timeout_to_live_by_not_the_one_to_store() {
        let mut table = SessionTable::new(100);
        table.restore([(A, 1000), (B, 1000)], 0);
        assert!(table.renew(A, 1, 3000, 50));
        assert!(table.renew(B, 2, 400, 50));
        assert_eq!(expire(&mut table, 499), []);
        assert_eq!(expire(&mut table, 500), [B], "shorter than it was filed for");
        assert_eq!(expire(&mut table, 3099), []);
        assert_eq!(table.to_sorted(), [(A, 1000), (B, 1000)]);
        assert_eq!(expire(&mut table, 3100), [A]);
    }

    #[test]
    fn an_id_that_closed_and_came_back_is_filed_once() {
        let mut table = SessionTable::<u32>::new(100);
        table.open(A, 1000, None, 0);
        table.close(A);
        assert!(table.open(A, 2000, None, 0));
        assert!(!table.open(A, 1, None, 5), "it is there, and keeps its timeout");
        assert_eq!(expire(&mut table, 1100), []);
        assert_eq!(expire(&mut table, 2100), [A]);
        assert_eq!(expire(&mut table, 9999), []);
        assert_eq!(table.to_sorted(), [(A, 2000)]);
    }

    #[test]
    fn a_session_lives_before_it_is_stored() {
        let mut table = SessionTable::new(100);
        assert!(table.track(A, 1000, Some(1), 0));
        assert!(table.track(B, 1000, Some(1), 0));
        assert_eq!((table.check(A, 1), table.len()), (Ok(()), 2));
        assert_eq!(table.to_sorted(), []);
        assert!(!table.open(A, 1000, None, 500), "it is there, and keeps its owner");
        assert_eq!((table.check(A, 1), table.to_sorted()), (Ok(()), vec![(A, 1000)]));
        assert!(!table.track(A, 1000, None, 500));
        assert_eq!(table.to_sorted(), [(A, 1000)]);
        assert_eq!(expire(&mut table, 1100), [B]);
    }

    #[test]
    fn an_idle_session_takes_less_than_a_hundred_bytes() {
        let slot = size_of::<(SessionId, Session<u32>)>() + 1;
        // Hash tables are 7/8 full at most, and on average three quarters of that.
        assert!(slot * 32 / 21 + 2 * size_of::<SessionId>() < 100, "{slot}");
    }

    proptest! {
        /// Apache's rule, done naively: every touch moves the session to its bucket at once.
        #[test]
        fn laziness_does_not_change_the_moment_of_expiry(
            tick_ms in 1u32..50,
            timeouts in proptest::collection::vec(1i32..300, 1..8),
            steps in proptest::collection::vec((0i64..40, 0usize..8, any::<bool>()), 0..80),
        ) {
            let tick = i64::from(tick_ms);
            let bucket = |t: i64| (t / tick + 1) * tick;
            let mut table = SessionTable::<u32>::new(tick_ms);
            let mut outside = vec![None::<i64>; timeouts.len()];
            let mut model = Vec::new();
            for (at, &timeout_ms) in timeouts.iter().enumerate() {
                table.open(SessionId(at as i64), timeout_ms, None, 0);
                model.push(Some(bucket(i64::from(timeout_ms))));
            }
            let mut now_ms = 0;
            for (pause_ms, which, is_outside) in steps {
                now_ms += pause_ms;
                let mut want = Vec::new();
                for (at, due_ms) in model.iter_mut().enumerate() {
                    if due_ms.is_some_and(|due_ms| due_ms <= now_ms) {
                        *due_ms = None;
                        want.push(SessionId(at as i64));
                    }
                }
                let mut got = Vec::new();
                table.expire_due(now_ms, |id, _| outside[id.0 as usize], &mut got);
                got.sort_unstable();
                prop_assert_eq!(got, want);
                let which = which % timeouts.len();
                if model[which].is_some() {
                    model[which] = Some(bucket(now_ms + i64::from(timeouts[which])));
                    match is_outside {
                        true => outside[which] = Some(now_ms),
                        false => prop_assert!(table.touch(SessionId(which as i64), now_ms)),
                    }
                }
            }
        }
    }
}
