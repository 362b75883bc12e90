//! Connections with new output, on their way to the thread that serves them.
//!
//! Waking a task of another thread costs a system call each time; here a turn of the pipeline costs
//! one for each thread, however many of its connections were answered.

use super::conn::Conn;
use parking_lot::Mutex;
use std::sync::Arc;
use tokio::sync::Notify;

/// The connections of one thread that have something to be written.
#[derive(Default)]
pub(crate) struct Outbox {
    conns: Mutex<Vec<Arc<Conn>>>,
    news: Notify,
}

impl Outbox {
    /// Lets the thread write what `conn` has.
    pub(crate) fn push(&self, conn: Arc<Conn>) {
        let is_first = {
            let mut conns = self.conns.lock();
            conns.push(conn);
            conns.len() == 1
        };
        if is_first {
            self.news.notify_one();
        }
    }

    /// Writes, for ever. On the thread that serves the connections.
    pub(super) async fn deliver(&self) {
        let mut conns = Vec::new();
        loop {
            self.news.notified().await;
            std::mem::swap(&mut conns, &mut *self.conns.lock());
            for conn in conns.drain(..) {
                conn.deliver();
            }
        }
    }
}
