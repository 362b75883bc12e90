//! New session ids (client-protocol 2.3).

use zk_proto::{SessionId, Zxid};

/// Hands out session ids: the server id in the top byte, 40 bits of a millisecond clock, 16 bits of
/// counter that carry into the clock part.
///
/// Mirrors `SessionTrackerImpl.initializeNextSessionId`; differs in taking the wall clock, because
/// Apache's host uptime repeats after a reboot, in skipping ids that exist, and in starting the
/// counter behind the transactions that there were: each session takes one, so even on a machine
/// whose clock begins at the same time after every boot no id is handed out a second time, to be
/// taken over by whoever still holds it from the first. Sessions that only their member knows take
/// none: for them such a clock is not enough.
#[derive(Clone, Debug)]
pub struct SessionIds {
    server: i64,
    low: i64,
}

const LOW_MASK: i64 = (1 << 56) - 1;

impl SessionIds {
    /// Ids of server `server_id` (the low byte of its myid, 1 when standalone) from a wall clock in
    /// ms since the Unix epoch; `last` is the newest transaction that was recovered.
    #[must_use]
    pub fn new(server_id: u8, wall_ms: u64, last: Zxid) -> SessionIds {
        let low = ((wall_ms as i64) << 16).wrapping_add(i64::from(last.counter()));
        SessionIds { server: i64::from(server_id) << 56, low: low & LOW_MASK }
    }

    /// The next id for which `exists` says no. Never [`SessionId::NONE`], and never the number
    /// that marks containers in a stored `ephemeralOwner`.
    pub fn next(&mut self, mut exists: impl FnMut(SessionId) -> bool) -> SessionId {
        loop {
            let id = SessionId(self.server | self.low);
            // A carry must not change the server id.
            self.low = (self.low + 1) & LOW_MASK;
            if id != SessionId::NONE && id.0 != i64::MIN && !exists(id) {
                return id;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn server_clock_counter() {
        let mut ids = SessionIds::new(3, 0x12_3456_789a, Zxid::ZERO);
        assert_eq!(ids.next(|_| false), SessionId(0x0312_3456_789a_0000));
        assert_eq!(ids.next(|_| false), SessionId(0x0312_3456_789a_0001));
        assert_eq!(ids.next(|id| id.0 & 0xff < 5), SessionId(0x0312_3456_789a_0005));
    }

    #[test]
    fn a_clock_that_begins_anew_repeats_no_id() {
        let mut before = SessionIds::new(1, 1000, Zxid(5));
        let given: Vec<_> = (0..3).map(|_| before.next(|_| false)).collect();
        let mut after = SessionIds::new(1, 1000, Zxid(8));
        assert!(!given.contains(&after.next(|_| false)));
    }

    #[test]
    fn the_container_mark_and_zero_are_never_handed_out() {
        assert_eq!(
            SessionIds::new(0x80, 1 << 40, Zxid::ZERO).next(|_| false),
            SessionId(i64::MIN + 1)
        );
        assert_eq!(SessionIds::new(0, 0, Zxid::ZERO).next(|_| false), SessionId(1));
    }

    #[test]
    fn a_carry_leaves_the_server_id_alone() {
        let mut ids = SessionIds::new(1, 0xff_ffff_ffff, Zxid::ZERO);
        let last = SessionId(0x01ff_ffff_ffff_ffff);
        assert_eq!(ids.next(|id| id < last), last);
        assert_eq!(ids.next(|_| false), SessionId(0x0100_0000_0000_0000));
    }
}
