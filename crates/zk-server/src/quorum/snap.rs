//! Snapshots on their way: from a leader's tree to a learner, and from a leader into this member.

use std::io;
use std::sync::Arc;
use std::thread::Builder;

use tokio::sync::mpsc;
use zk_proto::snapshot::SessionRecord;
use zk_proto::{Jute, SessionId, Zxid};
use zk_quorum::link::{StreamSink, StreamSource, stream};
use zk_store::snapshot::{ReadOptions, StreamError, read_stream};
use zk_tree::SnapshotHead;

use super::driver::Driver;
use crate::storage::{Loading, SnapshotTurn};

/// So many pieces wait for the connection.
pub(super) const PIECES: usize = 16;
/// Steps through the tree before others get it, and bytes of a piece.
const TURN: usize = 512;
const PIECE_BYTES: usize = 64 << 10;
/// What ends a snapshot on its way: the path that no znode has, and the signature.
const END: &[u8] = b"\0\0\0\x01/\0\0\0\x0aBenWasHere";

/// A snapshot that was promised to a learner, of everything up to this zxid.
#[derive(Debug)]
pub(super) struct Outgoing {
    pub(super) zxid: Zxid,
    pub(super) pieces: mpsc::Sender<Vec<u8>>,
}

impl Driver {
    /// Writes a snapshot that has begun into a learner's connection, on a thread of its own.
    pub(super) fn send_snapshot(
        self: &Arc<Driver>,
        outgoing: Outgoing,
        turn: SnapshotTurn,
        head: SnapshotHead,
        sessions: Vec<(SessionId, i32)>,
    ) {
        let driver = self.clone();
        let body = move || {
            let _turn = turn;
            let zxid = outgoing.zxid;
            match driver.write_snapshot(&outgoing, &head, &sessions) {
                Ok(()) => tracing::info!("a snapshot of {zxid} went to a learner"),
                Err(error) => {
                    driver.engine.tree.write().abandon_snapshot();
                    tracing::warn!("the snapshot of {zxid} did not go to its learner: {error}");
                }
            }
        };
        if let Err(error) = Builder::new().name("zk-snap-out".into()).spawn(body) {
            self.engine.tree.write().abandon_snapshot();
            tracing::error!("cannot start a thread for a snapshot: {error}");
        }
    }

    fn write_snapshot(
        &self,
        outgoing: &Outgoing,
        head: &SnapshotHead,
        sessions: &[(SessionId, i32)],
    ) -> io::Result<()> {
        let gone = |_| io::Error::other("the connection has ended");
        let mut piece = Vec::with_capacity(2 * PIECE_BYTES);
        (sessions.len() as i32).write(&mut piece);
        for &(id, timeout_ms) in sessions {
            SessionRecord { id: id.0, timeout_ms }.write(&mut piece);
        }
        piece.extend_from_slice(&head.acls);
        let mut more = true;
        while more {
            while more && piece.len() < PIECE_BYTES {
                more = self.engine.tree.write().snapshot_some(TURN, PIECE_BYTES, &mut piece);
            }
            if !more {
                piece.extend_from_slice(END);
            }
            let next = Vec::with_capacity(2 * PIECE_BYTES);
            outgoing.pieces.blocking_send(std::mem::replace(&mut piece, next)).map_err(gone)?;
        }
        Ok(())
    }

    /// Takes the snapshot of `zxid` that follows on the connection to the leader, beside what the
    /// disk holds.
    pub(super) fn take_snapshot(self: &Arc<Driver>, zxid: Zxid) -> io::Result<StreamSink> {
        let (sink, source) = stream();
        let driver = self.clone();
        let body = move || {
            if let Err(error) = driver.read_snapshot(source, zxid) {
                tracing::error!("{error}");
                driver.quorum.leave();
            }
        };
        Builder::new().name("zk-snap-in".into()).spawn(body)?;
        Ok(sink)
    }

    fn read_snapshot(&self, mut source: StreamSource, zxid: Zxid) -> Result<(), StreamError> {
        let mut loading = Loading::new(self.history.tree_options());
        let options = ReadOptions::default();
        let beyond = read_stream(&mut source, zxid, &options, &mut loading)?;
        {
            let mut held = self.quorum.lock();
            held.state.staged = Some(loading);
            held.state.peer.installed();
        }
        // Only now packets are heard again.
        source.finish(&beyond);
        Ok(())
    }
}
