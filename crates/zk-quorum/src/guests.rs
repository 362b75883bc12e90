//! Connections that have not said who they are: there are never many, and those that come later
//! are worth more than those that have kept silent for longer.

use std::collections::VecDeque;
use std::sync::{Arc, Weak};

use tokio::task::AbortHandle;

/// So many at a time.
const MOST: usize = 64;

/// Held by a connection until it has said who it is.
pub type Guest = Arc<()>;

/// Connections on their way in.
#[derive(Debug, Default)]
pub struct Guests(VecDeque<(Weak<()>, AbortHandle)>);

impl Guests {
    /// Takes one in: `serve` begins to serve it, and drops its place when it is no guest any more.
    /// Where there are too many, the oldest one goes.
    pub fn admit(&mut self, serve: impl FnOnce(Guest) -> AbortHandle) {
        self.0.retain(|(guest, task)| guest.strong_count() > 0 && !task.is_finished());
        if self.0.len() >= MOST
            && let Some((_, oldest)) = self.0.pop_front()
        {
            oldest.abort();
        }
        let guest = Guest::default();
        let place = Arc::downgrade(&guest);
        self.0.push_back((place, serve(guest)));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

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
            guests.admit(|guest| {
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
