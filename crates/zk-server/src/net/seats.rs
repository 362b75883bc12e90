//! How many connections there may be: from one address, and in all (client-protocol 13.6).

use super::traffic::Share;
use parking_lot::Mutex;
use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::Arc;

/// The places for connections. Taken before the first byte is read, so that stalled handshakes
/// count too.
#[derive(Debug)]
pub(crate) struct Seats {
    /// `maxClientCnxns`; 0 for no limit.
    per_address_max: usize,
    /// `maxCnxns`; 0 for no limit.
    total_max: usize,
    taken: Mutex<Taken>,
}

#[derive(Debug, Default)]
struct Taken {
    total: usize,
    per_address: HashMap<IpAddr, (usize, Arc<Share>)>,
}

/// A place; dropping it makes it free.
#[derive(Debug)]
pub(crate) struct Seat {
    seats: Arc<Seats>,
    address: IpAddr,
    /// What all connections of this address share.
    pub(super) share: Arc<Share>,
}

/// Which limit keeps a connection out.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub(crate) enum Full {
    /// Apache's words: operators search for them.
    #[error("Too many connections from /{0} - max is {1} (maxClientCnxns)")]
    Address(IpAddr, usize),
    #[error(
        "Too many connections - max of all addresses is {0} (maxCnxns, or what ulimit -n leaves)"
    )]
    All(usize),
}

impl Seats {
    pub(crate) fn new(per_address_max: usize, total_max: usize) -> Arc<Seats> {
        Arc::new(Seats { per_address_max, total_max, taken: Mutex::default() })
    }

    /// A place for a connection from `address`, if there is one.
    pub(crate) fn take(self: &Arc<Seats>, address: IpAddr) -> Result<Seat, Full> {
        let is_full = |max: usize, count: usize| max != 0 && count >= max;
        let mut taken = self.taken.lock();
        let of_address = taken.per_address.get(&address).map_or(0, |(count, _)| *count);
        if is_full(self.total_max, taken.total) {
            return Err(Full::All(self.total_max));
        }
        if is_full(self.per_address_max, of_address) {
            return Err(Full::Address(address, self.per_address_max));
        }
        taken.total += 1;
        let (count, share) = taken.per_address.entry(address).or_default();
        *count += 1;
        Ok(Seat { seats: self.clone(), address, share: share.clone() })
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        let mut taken = self.seats.taken.lock();
        taken.total -= 1;
        if let Some((count, _)) = taken.per_address.get_mut(&self.address) {
            *count -= 1;
            if *count == 0 {
                taken.per_address.remove(&self.address);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_limits_hold_and_places_come_back() {
        let seats = Seats::new(2, 3);
        let [a, b] = ["127.0.0.1", "::1"].map(|text| text.parse::<IpAddr>().unwrap());
        let first = seats.take(a).unwrap();
        let second = seats.take(a).unwrap();
        assert_eq!(seats.take(a).err(), Some(Full::Address(a, 2)));
        let third = seats.take(b).unwrap();
        assert_eq!(seats.take(b).err(), Some(Full::All(3)));
        drop(first);
        let fourth = seats.take(b).unwrap();
        drop((second, third, fourth));
        let taken = seats.taken.lock();
        assert_eq!((taken.total, taken.per_address.len()), (0, 0));
    }

    #[test]
    fn zero_is_no_limit() {
        let seats = Seats::new(0, 0);
        let all = std::iter::repeat_with(|| seats.take(IpAddr::from([127, 0, 0, 1])));
        assert_eq!(all.take(1000).flatten().count(), 1000);
    }
}
