//! The member reads what clients send: handshakes and requests go to the pipeline, reads may be
//! answered beside it.

use super::member::{Member, auth_options, frames};
use super::{Stop, World};
use crate::record::{Conn, Record};
use crate::settings::Mutant;
use std::rc::Rc;
use zk_core::Reader;
use zk_proto::request::RequestHeader;
use zk_proto::{Jute, Limits, OpCode};
use zk_tree::ConnId;

impl World {
    /// The member reads the next frame of a connection, or sees its end.
    pub(super) fn read(&mut self, conn: Conn) -> Result<(), Stop> {
        self.follow_disk()?;
        let Some(serving) = self.member.as_mut().and_then(|m| m.conns.get_mut(&conn)) else {
            return Ok(());
        };
        let Some(link) = self.net.links.get_mut(&conn) else { return Ok(()) };
        // Frames behind a handshake wait until the session is there.
        let may_read = serving.is_new || serving.is_live;
        let frame = if may_read { link.inbound.pop_front() } else { None };
        match frame {
            Some(frame) if serving.is_new => {
                serving.is_new = false;
                self.emit_submitted(conn, &frame)?;
                self.drive(|m, now, fx| m.core.handshake(&m.tree, now, ConnId(conn), &frame, fx))
            }
            Some(frame) => {
                serving.heard_ms = self.now.monotonic_ms;
                // A server takes in what has come together, now and then.
                let mut batch = vec![frame];
                let more = if self.rng.chance(200) { link.inbound.len().min(3) } else { 0 };
                batch.extend(link.inbound.drain(..more));
                self.requests(conn, &batch)
            }
            None if link.is_left => self.left(conn),
            None => Ok(()),
        }
    }

    fn emit_submitted(&mut self, conn: Conn, frame: &Rc<[u8]>) -> Result<(), Stop> {
        let now = self.now;
        self.emit(Record::Submitted { conn, frame: frame.clone(), now })
    }

    /// A client left.
    fn left(&mut self, conn: Conn) -> Result<(), Stop> {
        self.net.links.remove(&conn);
        let Some(member) = &mut self.member else { return Ok(()) };
        if let Some(serving) = member.conns.remove(&conn) {
            member.core.disconnected(ConnId(conn), serving.heard_ms);
            if self.mutant != Some(Mutant::WatchesStay) {
                member.watches.remove_connection(ConnId(conn));
            }
            self.emit(Record::Gone { conn })?;
        }
        Ok(())
    }

    fn requests(&mut self, conn: Conn, batch: &[Rc<[u8]>]) -> Result<(), Stop> {
        batch.iter().try_for_each(|frame| self.emit_submitted(conn, frame))?;
        if let [frame] = batch {
            if is_plain_read(frame) && self.rng.chance(self.odds().direct_read) {
                let serving = self.member.as_ref().and_then(|member| member.conns.get(&conn));
                if serving.is_some_and(|serving| serving.under_way == 0 && serving.is_admitted) {
                    return self.answer_beside(conn, frame);
                }
            }
            if self.mutant == Some(Mutant::StaleSync) && operation(frame) == Some(OpCode::Sync) {
                return self.answer_beside(conn, frame);
            }
        }
        let times = if self.mutates(Mutant::DoubledRequest, 20) { 2 } else { 1 };
        for _ in 0..times {
            self.drive(|member, now, fx| {
                let Member { core, tree, watches, conns, .. } = member;
                if let Some(serving) = conns.get_mut(&conn) {
                    serving.under_way += batch.len();
                }
                for frame in batch {
                    core.submit(tree, watches, now, ConnId(conn), frame, fx);
                }
            })?;
        }
        Ok(())
    }

    /// Answers a read beside the pipeline, as a reading thread does.
    fn answer_beside(&mut self, conn: Conn, frame: &Rc<[u8]>) -> Result<(), Stop> {
        self.mark("read beside the pipeline");
        let stale = self.mutates(Mutant::StaleRead, 300) || self.mutant == Some(Mutant::StaleSync);
        let Some(member) = &mut self.member else { return Ok(()) };
        let Some(serving) = member.conns.get(&conn) else { return Ok(()) };
        let tree = member.old_tree.as_ref().filter(|_| stale).unwrap_or(&member.tree);
        let mut reader = Reader {
            tree,
            watches: &mut member.watches,
            auth: &auth_options(),
            conn: ConnId(conn),
            session: serving.session,
            identities: &serving.identities,
            limits: Limits::default(),
            max_response_bytes: self.settings.terms.max_response_bytes,
            max_answer_bytes: usize::MAX,
        };
        let mut bytes = Vec::new();
        reader.answer(frame, &mut bytes);
        let mut outs = Vec::new();
        frames(conn, &bytes, true, &mut outs);
        outs.into_iter().try_for_each(|out| self.carry_out(out))
    }
}

/// Whether a frame needs only the tree.
fn is_plain_read(frame: &[u8]) -> bool {
    operation(frame).is_some_and(|op| {
        op.is_client_request()
            && !op.is_write()
            && !matches!(op, OpCode::Auth | OpCode::Sasl | OpCode::Sync)
    })
}

/// What a frame asks for.
fn operation(frame: &[u8]) -> Option<OpCode> {
    let header = RequestHeader::read(&mut zk_proto::Reader::new(frame)).ok()?;
    OpCode::from_code(header.op)
}
