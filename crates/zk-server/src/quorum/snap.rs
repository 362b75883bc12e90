//! Snapshots on their way: from a leader's tree to a learner, and from a leader into this member.

use std::io;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::thread::Builder;
use std::time::{Duration, Instant};

use tokio::sync::mpsc;
use tokio::sync::mpsc::error::TrySendError;
use zk_proto::snapshot::SessionRecord;
use zk_proto::{Jute, SessionId, Zxid};
use zk_quorum::link::{StreamSink, StreamSource, stream};
use zk_store::snapshot::{ReadOptions, StreamError, read_stream};
use zk_tree::SnapshotHead;
use zk_zab::leader::LinkId;

use super::driver::Driver;
use crate::storage::{Loading, SnapshotTurn};

/// So many pieces wait for the connection.
pub(super) const PIECES: usize = 16;
/// Steps through the tree before others get it, and bytes of a piece.
const TURN: usize = 512;
const PIECE_BYTES: usize = 64 << 10;
/// A learner that takes no piece for so long is not waited for by others.
const PIECE_PATIENCE: Duration = Duration::from_secs(1);
/// Between two attempts to give a learner a piece: it takes [`PIECES`] meanwhile.
const FULL_PAUSE: Duration = Duration::from_millis(1);
/// What ends a snapshot on its way: the path that no znode has, and the signature.
const END: &[u8] = b"\0\0\0\x01/\0\0\0\x0aBenWasHere";

/// A snapshot that was promised to a learner, of everything up to this zxid.
#[derive(Debug)]
pub(super) struct Outgoing {
    pub(super) link: LinkId,
    pub(super) zxid: Zxid,
    pub(super) pieces: mpsc::Sender<Vec<u8>>,
}

impl Driver {
    /// Whether a snapshot is on its way to learners.
    pub(super) fn is_sending(&self) -> bool {
        self.sending.load(Ordering::Acquire)
    }

    /// Writes a snapshot that has begun into the connections of learners, on a thread of its own.
    pub(super) fn send_snapshot(
        self: &Arc<Driver>,
        outgoing: Vec<Outgoing>,
        turn: SnapshotTurn,
        head: SnapshotHead,
        sessions: Vec<(SessionId, i32)>,
    ) {
        self.sending.store(true, Ordering::Release);
        let driver = self.clone();
        let body = move || {
            driver.write_snapshot(outgoing, &head, &sessions);
            drop(turn);
            driver.quorum.lock().state.receiving.clear();
            driver.sending.store(false, Ordering::Release);
            // Others may wait for it.
            driver.quorum.news.notify_one();
        };
        if let Err(error) = Builder::new().name("zk-snap-out".into()).spawn(body) {
            tracing::error!("cannot start a thread for a snapshot: {error}");
            self.engine.tree.write().abandon_snapshot();
            self.sending.store(false, Ordering::Release);
        }
    }

    fn write_snapshot(
        &self,
        mut to: Vec<Outgoing>,
        head: &SnapshotHead,
        sessions: &[(SessionId, i32)],
    ) {
        let mut piece = Vec::with_capacity(2 * PIECE_BYTES);
        (sessions.len() as i32).write(&mut piece);
        for &(id, timeout_ms) in sessions {
            SessionRecord { id: id.0, timeout_ms }.write(&mut piece);
        }
        piece.extend_from_slice(&head.acls);
        let mut more = true;
        while more {
            while more && piece.len() < PIECE_BYTES {
                let mut tree = self.engine.tree.write();
                // With another tree in its place it would be at its end.
                if !tree.is_snapshotting() {
                    drop(tree);
                    // What follows on the connections would be taken for the rest of it.
                    to.iter().for_each(|it| self.quorum.lock().hang_up(it.link));
                    return tracing::warn!("the snapshot of {} was given up", head.zxid);
                }
                more = tree.snapshot_some(TURN, PIECE_BYTES, &mut piece);
            }
            if !more {
                piece.extend_from_slice(END);
            }
            // Whose connection has ended gets no more.
            to.retain(|outgoing| self.send_piece(outgoing, piece.clone()));
            piece.clear();
            if to.is_empty() {
                tracing::warn!("the snapshot of {} did not reach its learners", head.zxid);
                return self.engine.tree.write().abandon_snapshot();
            }
        }
        tracing::info!("the snapshot of {} went to {} learners", head.zxid, to.len());
    }

    /// Waits until a learner takes a piece; false if it gets no more.
    fn send_piece(&self, to: &Outgoing, mut piece: Vec<u8>) -> bool {
        let began = Instant::now();
        loop {
            piece = match to.pieces.try_send(piece) {
                Ok(()) => return true,
                Err(TrySendError::Closed(_)) => return false,
                Err(TrySendError::Full(piece)) => piece,
            };
            if began.elapsed() >= PIECE_PATIENCE && self.quorum.lock().ends_for_others(to.link) {
                return false;
            }
            std::thread::sleep(FULL_PAUSE);
        }
    }

    /// Takes the snapshot of `zxid` that follows on the connection to the leader, beside what the
    /// disk holds.
    pub(super) fn take_snapshot(
        self: &Arc<Driver>,
        zxid: Zxid,
        attempt: u64,
    ) -> io::Result<StreamSink> {
        let (sink, source) = stream();
        let driver = self.clone();
        let body = move || {
            if let Err(error) = driver.read_snapshot(source, zxid, attempt) {
                tracing::warn!("{error}; it is asked for again");
                driver.quorum.leave_attempt(attempt);
            }
        };
        Builder::new().name("zk-snap-in".into()).spawn(body)?;
        Ok(sink)
    }

    fn read_snapshot(
        &self,
        mut source: StreamSource,
        zxid: Zxid,
        attempt: u64,
    ) -> Result<(), StreamError> {
        let mut loading = Loading::new(self.history.tree_options());
        let options = ReadOptions::default();
        let beyond = read_stream(&mut source, zxid, &options, &mut loading)?;
        {
            let mut held = self.quorum.lock();
            // This leader may be left meanwhile.
            if held.state.attempt != attempt {
                return Ok(());
            }
            held.state.staged = Some(loading);
            held.state.peer.installed();
        }
        // Only now packets are heard again.
        source.finish(&beyond);
        Ok(())
    }
}
