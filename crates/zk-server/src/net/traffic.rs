//! What the requests under way cost, of each address and of how many: whoever sends without a
//! pause must not make everybody wait behind all that it has sent.

use std::sync::atomic::{AtomicUsize, Ordering};
use zk_proto::OpCode;

/// All requests under way may cost so much, shared by the addresses that have some: a write behind
/// as many small ones waits for some 20 ms. More at a time makes nothing faster.
const MOST: usize = 16 << 10;

/// An address may have so many small ones in any case.
const LEAST: usize = 256;

/// So many bytes cost as much as a small request more.
const BYTES: usize = 256;
/// The same in a multi, whose parts may be as short as 18 bytes.
const MULTI_BYTES: usize = 32;

/// What a request costs, given without its length.
pub(crate) fn cost(frame: &[u8]) -> u32 {
    let multi = OpCode::Multi.code().to_be_bytes();
    let bytes = if frame.get(4..8) == Some(&multi[..]) { MULTI_BYTES } else { BYTES };
    1 + (frame.len() / bytes) as u32
}

/// The requests of all addresses.
#[derive(Debug, Default)]
pub(crate) struct Traffic {
    /// Addresses that have some under way.
    addresses: AtomicUsize,
}

/// Those of one address.
#[derive(Debug, Default)]
pub(crate) struct Share {
    cost: AtomicUsize,
}

impl Share {
    /// What more of this address may cost, or whatever one request costs if nothing of it is under
    /// way; `None` for nothing.
    pub(super) fn room(&self, all: &Traffic) -> Option<usize> {
        let own = self.cost.load(Ordering::Relaxed);
        let others = all.addresses.load(Ordering::Relaxed).saturating_sub(usize::from(own > 0));
        let room = (MOST / (1 + others)).max(LEAST).saturating_sub(own);
        (room > 0).then_some(room)
    }

    /// Whether nothing of it is under way.
    pub(super) fn is_idle(&self) -> bool {
        self.cost.load(Ordering::Relaxed) == 0
    }

    /// The requests of one connection cost `now`; `told` is what they did the last time.
    pub(super) fn tell(&self, all: &Traffic, told: &mut usize, now: usize) {
        if let Some(more @ 1..) = now.checked_sub(*told) {
            if self.cost.fetch_add(more, Ordering::Relaxed) == 0 {
                all.addresses.fetch_add(1, Ordering::Relaxed);
            }
        } else if now < *told {
            let less = *told - now;
            if self.cost.fetch_sub(less, Ordering::Relaxed) == less {
                all.addresses.fetch_sub(1, Ordering::Relaxed);
            }
        }
        *told = now;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_there_is_is_shared_by_those_who_want_some() {
        let (all, shares) = (Traffic::default(), [Share::default(), Share::default()]);
        let [greedy, other] = &shares;
        let mut told = [0; 3];
        assert_eq!(greedy.room(&all), Some(MOST));
        greedy.tell(&all, &mut told[0], MOST - 1);
        assert_eq!(greedy.room(&all), Some(1));
        greedy.tell(&all, &mut told[1], 1);
        assert_eq!((greedy.room(&all), other.room(&all)), (None, Some(MOST / 2)));
        other.tell(&all, &mut told[2], MOST / 2 - 1);
        assert_eq!(other.room(&all), Some(1));
        // The greedy one has half as well.
        greedy.tell(&all, &mut told[0], MOST / 2);
        assert_eq!(greedy.room(&all), None);
        greedy.tell(&all, &mut told[0], MOST / 2 - 2);
        assert_eq!(greedy.room(&all), Some(1));
        other.tell(&all, &mut told[2], 0);
        assert_eq!(greedy.room(&all), Some(MOST / 2 + 1));
        greedy.tell(&all, &mut told[0], 0);
        greedy.tell(&all, &mut told[1], 0);
        assert_eq!(all.addresses.load(Ordering::Relaxed), 0);
    }

    #[test]
    fn nobody_is_left_without_any() {
        let all = Traffic::default();
        let shares: Vec<Share> = (0..1000).map(|_| Share::default()).collect();
        for share in &shares {
            assert!(share.room(&all) >= Some(LEAST));
            share.tell(&all, &mut 0, LEAST - 1);
            assert!(share.room(&all).is_some());
            share.tell(&all, &mut (LEAST - 1), LEAST);
        }
        assert_eq!(shares[0].room(&all), None);
    }
}
