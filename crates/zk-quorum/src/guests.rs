//! Connections that have not said who they are: there are never many, and those that come later
//! are worth more than those that have kept silent for longer. Whoever brings most of them pays for
//! the next one, so that nobody who is slow to say it is kept out by a stranger who comes often.

use std::collections::{BTreeMap, VecDeque};
use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::{Duration, Instant};

use tokio::task::AbortHandle;

/// So many at a time.
const MOST: usize = 64;

/// Strangers could fill the log.
const BETWEEN_LINES: Duration = Duration::from_secs(1);

/// Held by a connection until it has said who it is.
#[derive(Debug)]
pub struct Guest {
    _place: Arc<()>,
    told_at: Arc<Mutex<Option<Instant>>>,
}

impl Guest {
    /// Whether the log may have a line about it: one a second, whoever it is about.
    #[must_use]
    pub fn may_be_told_of(&self) -> bool {
        let mut told_at = self.told_at.lock().unwrap_or_else(PoisonError::into_inner);
        let may = told_at.is_none_or(|at| at.elapsed() >= BETWEEN_LINES);
        if may {
            *told_at = Some(Instant::now());
        }
        may
    }
}

/// Connections on their way in, the oldest first.
#[derive(Debug, Default)]
pub struct Guests {
    places: VecDeque<Place>,
    told_at: Arc<Mutex<Option<Instant>>>,
}

#[derive(Debug)]
struct Place {
    from: IpAddr,
    guest: Weak<()>,
    task: AbortHandle,
}

impl Guests {
    /// Takes one in that comes from there: `serve` begins to serve it, and drops its place when it
    /// is no guest any more. Where there are too many, the oldest one goes of those that come from
    /// where most come from.
    pub fn admit(&mut self, from: IpAddr, serve: impl FnOnce(Guest) -> AbortHandle) {
        self.places.retain(|place| place.guest.strong_count() > 0 && !place.task.is_finished());
        if self.places.len() >= MOST
            && let Some(place) = self.most_frequent(from).and_then(|at| self.places.remove(at))
        {
            place.task.abort();
        }
        let place = Arc::new(());
        let guest = Arc::downgrade(&place);
        let task = serve(Guest { _place: place, told_at: self.told_at.clone() });
        self.places.push_back(Place { from, guest, task });
    }

    /// The oldest of those that come from where most come from, one more from `newcomer`.
    fn most_frequent(&self, newcomer: IpAddr) -> Option<usize> {
        let mut counts = BTreeMap::from([(newcomer, 1)]);
        for place in &self.places {
            *counts.entry(place.from).or_default() += 1;
        }
        let most = counts.values().max()?;
        self.places.iter().position(|place| counts.get(&place.from) == Some(most))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::Ipv4Addr;

    const HERE: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);
    const THERE: IpAddr = IpAddr::V4(Ipv4Addr::new(10, 0, 0, 1));

    #[tokio::test]
    async fn a_crowd_from_one_place_keeps_nobody_else_out() {
        let mut guests = Guests::default();
        let mut tasks = Vec::new();
        let mut come = |from| {
            guests.admit(from, |guest| {
                let task = tokio::spawn(async move {
                    let _guest = guest;
                    std::future::pending::<()>().await;
                });
                let handle = task.abort_handle();
                tasks.push(task);
                handle
            });
        };
        come(THERE);
        (0..3 * MOST).for_each(|_| come(HERE));
        for _ in 0..10 {
            tokio::task::yield_now().await;
        }
        // It is the slowest, and the only one from where it comes.
        assert!(!tasks[0].is_finished());
        assert_eq!(tasks.iter().filter(|task| !task.is_finished()).count(), MOST);
        tasks.iter().for_each(tokio::task::JoinHandle::abort);
    }

    #[tokio::test]
    async fn one_line_a_second_is_about_any_of_them() {
        let mut guests = Guests::default();
        let mut told = Vec::new();
        for from in [HERE, THERE] {
            guests.admit(from, |guest| {
                told.push(guest.may_be_told_of());
                tokio::spawn(async {}).abort_handle()
            });
        }
        assert_eq!(told, [true, false]);
    }

    #[tokio::test]
    async fn the_oldest_silent_one_goes_and_who_has_spoken_stays() {
        let mut guests = Guests::default();
        let silent = |guest: Guest| async move {
            let _guest = guest;
            std::future::pending::<()>().await;
        };
        let spoken = |guest: Guest| async move {
            drop(guest);
            std::future::pending::<()>().await;
        };
        let mut tasks = Vec::new();
        for number in 0..MOST + 2 {
            guests.admit(HERE, |guest| {
                let task = match number {
                    0 => tokio::spawn(spoken(guest)),
                    _ => tokio::spawn(silent(guest)),
                };
                let handle = task.abort_handle();
                tasks.push(task);
                handle
            });
            tokio::task::yield_now().await;
        }
        tokio::task::yield_now().await;
        let ended: Vec<usize> = (0..tasks.len()).filter(|at| tasks[*at].is_finished()).collect();
        assert_eq!(ended, [1]);
        tasks.iter().for_each(tokio::task::JoinHandle::abort);
    }
}
