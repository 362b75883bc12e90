//! The watches of connections that have ended.
//!
//! A connection may leave a million of them. Those of an ordinary one go at once; what is left of a
//! greater number goes a part at a time on the thread of the chores, since whoever changes anything
//! waits for the watches, and everybody for the pipeline. Nobody is told by them meanwhile: the
//! pipeline does not know the connection any more, and no other ever gets its number.

use super::Engine;
use parking_lot::Mutex;
use std::time::Duration;
use tokio::sync::Notify;
use zk_tree::ConnId;

/// So many go at once, under the pipeline's lock: 50 us at most.
const AT_ONCE: usize = 100;

/// So many are a part: 600 us in which nothing else can be changed or watched.
const PART: usize = 1000;

/// So long the others have before the next part: a million watches are gone in three seconds,
/// and take a fifth of a processor meanwhile.
const PAUSE: Duration = Duration::from_millis(1);

/// Connections that have ended and have watches still.
#[derive(Default)]
pub(super) struct Leavers {
    conns: Mutex<Vec<ConnId>>,
    news: Notify,
}

impl Engine {
    /// A connection has ended: nothing that it watches matters any more.
    pub(super) fn forget_watches(&self, conn: ConnId) {
        if self.watches.lock().remove_some(conn, AT_ONCE) {
            self.leavers.conns.lock().push(conn);
            self.leavers.news.notify_one();
        }
    }

    /// Removes what connections have left, for ever.
    pub(crate) async fn see_leavers_off(&self) {
        loop {
            self.leavers.news.notified().await;
            while self.see_off_some() {
                tokio::time::sleep(PAUSE).await;
            }
        }
    }

    /// Removes a part; false if there was nothing.
    fn see_off_some(&self) -> bool {
        let Some(conn) = self.leavers.conns.lock().pop() else { return false };
        if self.watches.lock().remove_some(conn, PART) {
            self.leavers.conns.lock().push(conn);
        }
        true
    }
}
