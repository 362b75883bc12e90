//! What a leader says.

use super::number;
use super::{PROTOCOL_VERSION, Packet, put_bare, put_with};
use crate::{DecodeError, Epoch, Jute, Limits, Reader, SessionId, Sid, Text, Zxid};

/// A packet of a leader, or of an observer master.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FromLeader<'a> {
    /// LEADERINFO: the epoch that it wants to begin.
    LeaderInfo(Epoch),
    /// DIFF: what is missing follows, up to this zxid.
    Diff(Zxid),
    /// TRUNC: what is behind this zxid must go.
    Trunc(Zxid),
    /// SNAP: a snapshot of this zxid or later follows, without a frame.
    Snap(Zxid),
    /// NEWLEADER: the synchronisation is complete; to be acknowledged when it is on disk.
    NewLeader {
        /// The first zxid of the new epoch.
        zxid: Zxid,
        /// The leader's last seen configuration; null to a learner of 3.3.
        config: Option<Text<'a>>,
    },
    /// UPTODATE: a quorum has acknowledged NEWLEADER; clients may be served.
    UpToDate,
    /// PROPOSAL: to be logged and acknowledged.
    Proposal {
        /// The txn's zxid.
        zxid: Zxid,
        /// Header, body and digest.
        txn: &'a [u8],
    },
    /// COMMIT of a proposal.
    Commit(Zxid),
    /// COMMITANDACTIVATE: COMMIT of a reconfiguration.
    CommitAndActivate {
        /// The txn's zxid.
        zxid: Zxid,
        /// Who leads from here on.
        leader: Sid,
    },
    /// INFORM: a committed txn, for an observer.
    Inform {
        /// The txn's zxid.
        zxid: Zxid,
        /// Header, body and digest.
        txn: &'a [u8],
    },
    /// INFORMANDACTIVATE: a committed reconfiguration, for an observer.
    InformAndActivate {
        /// The txn's zxid.
        zxid: Zxid,
        /// Who leads from here on.
        leader: Sid,
        /// Header, body and digest.
        txn: &'a [u8],
    },
    /// PING, to be answered with the same zxid.
    Ping(Zxid),
    /// SYNC: the learner's oldest sync has seen all that was committed before it.
    Sync,
    /// REVALIDATE, answered.
    Revalidate {
        /// Which session.
        session: SessionId,
        /// Whether it is alive, and now the learner's.
        is_valid: bool,
    },
    /// Ours alone, of a follower to its observers: a session was asked for elsewhere since, so that
    /// what this one still asks for in its name is refused. Its client has to come again.
    Moved(SessionId),
}

impl<'a> FromLeader<'a> {
    /// Reads the first packet: `Ok(None)` when it is not whole yet, else it and its length.
    ///
    /// # Errors
    /// For a type that leaders do not send, and data that is not of its type.
    pub fn read(
        bytes: &'a [u8],
        limits: Limits,
    ) -> Result<Option<(FromLeader<'a>, usize)>, DecodeError> {
        let Some((packet, length)) = Packet::read(bytes, limits)? else { return Ok(None) };
        Ok(Some((FromLeader::parse(&packet)?, length)))
    }

    fn parse(packet: &Packet<'a>) -> Result<FromLeader<'a>, DecodeError> {
        let zxid = Zxid(packet.zxid);
        Ok(match packet.number {
            number::LEADER_INFO => FromLeader::LeaderInfo(zxid.epoch()),
            number::DIFF => FromLeader::Diff(zxid),
            number::TRUNC => FromLeader::Trunc(zxid),
            number::SNAP => FromLeader::Snap(zxid),
            number::NEW_LEADER => {
                let config = packet.data.map(String::from_utf8_lossy);
                FromLeader::NewLeader { zxid, config }
            }
            number::UP_TO_DATE => FromLeader::UpToDate,
            number::PROPOSAL => FromLeader::Proposal { zxid, txn: packet.data()? },
            number::COMMIT => FromLeader::Commit(zxid),
            number::COMMIT_AND_ACTIVATE => {
                FromLeader::CommitAndActivate { zxid, leader: leader(packet.data()?)?.0 }
            }
            number::INFORM => FromLeader::Inform { zxid, txn: packet.data()? },
            number::INFORM_AND_ACTIVATE => {
                let (leader, txn) = leader(packet.data()?)?;
                FromLeader::InformAndActivate { zxid, leader, txn }
            }
            number::PING => FromLeader::Ping(zxid),
            number::SYNC => FromLeader::Sync,
            number::REVALIDATE => {
                let mut r = Reader::new(packet.data()?);
                FromLeader::Revalidate { session: SessionId(r.i64()?), is_valid: r.bool()? }
            }
            number::MOVED => FromLeader::Moved(SessionId(Reader::new(packet.data()?).i64()?)),
            other => {
                return Err(DecodeError::Unknown {
                    what: "packet of a leader",
                    value: other.into(),
                });
            }
        })
    }

    /// As the protocol calls it.
    #[must_use]
    pub fn name(&self) -> &'static str {
        match self {
            FromLeader::LeaderInfo(_) => "LEADERINFO",
            FromLeader::Diff(_) => "DIFF",
            FromLeader::Trunc(_) => "TRUNC",
            FromLeader::Snap(_) => "SNAP",
            FromLeader::NewLeader { .. } => "NEWLEADER",
            FromLeader::UpToDate => "UPTODATE",
            FromLeader::Proposal { .. } => "PROPOSAL",
            FromLeader::Commit(_) => "COMMIT",
            FromLeader::CommitAndActivate { .. } => "COMMITANDACTIVATE",
            FromLeader::Inform { .. } => "INFORM",
            FromLeader::InformAndActivate { .. } => "INFORMANDACTIVATE",
            FromLeader::Ping(_) => "PING",
            FromLeader::Sync => "SYNC",
            FromLeader::Revalidate { .. } => "REVALIDATE",
            FromLeader::Moved(_) => "MOVED",
        }
    }

    /// Appends the packet.
    pub fn put(&self, out: &mut Vec<u8>) {
        match self {
            FromLeader::LeaderInfo(epoch) => {
                let zxid = Zxid::new(*epoch, 0).0;
                put_with(out, number::LEADER_INFO, zxid, |out| PROTOCOL_VERSION.write(out));
            }
            FromLeader::Diff(zxid) => put_bare(out, number::DIFF, zxid.0),
            FromLeader::Trunc(zxid) => put_bare(out, number::TRUNC, zxid.0),
            FromLeader::Snap(zxid) => put_bare(out, number::SNAP, zxid.0),
            FromLeader::NewLeader { zxid, config: None } => {
                put_bare(out, number::NEW_LEADER, zxid.0);
            }
            FromLeader::NewLeader { zxid, config: Some(config) } => {
                let data = |out: &mut Vec<u8>| out.extend_from_slice(config.as_bytes());
                put_with(out, number::NEW_LEADER, zxid.0, data);
            }
            FromLeader::UpToDate => put_bare(out, number::UP_TO_DATE, -1),
            FromLeader::Proposal { zxid, txn } => put_txn(out, number::PROPOSAL, *zxid, txn),
            FromLeader::Commit(zxid) => put_bare(out, number::COMMIT, zxid.0),
            FromLeader::CommitAndActivate { zxid, leader } => {
                put_with(out, number::COMMIT_AND_ACTIVATE, zxid.0, |out| leader.0.write(out));
            }
            FromLeader::Inform { zxid, txn } => put_txn(out, number::INFORM, *zxid, txn),
            FromLeader::InformAndActivate { zxid, leader, txn } => {
                let data = |out: &mut Vec<u8>| {
                    leader.0.write(out);
                    out.extend_from_slice(txn);
                };
                put_with(out, number::INFORM_AND_ACTIVATE, zxid.0, data);
            }
            FromLeader::Ping(zxid) => put_bare(out, number::PING, zxid.0),
            FromLeader::Sync => put_bare(out, number::SYNC, 0),
            FromLeader::Revalidate { session, is_valid } => {
                let data = |out: &mut Vec<u8>| {
                    session.0.write(out);
                    is_valid.write(out);
                };
                put_with(out, number::REVALIDATE, -1, data);
            }
            FromLeader::Moved(session) => {
                put_with(out, number::MOVED, -1, |out| session.0.write(out));
            }
        }
    }
}

/// The designated leader in front of what else there is.
fn leader(data: &[u8]) -> Result<(Sid, &[u8]), DecodeError> {
    let mut r = Reader::new(data);
    Ok((Sid(r.i64()?), r.rest()))
}

fn put_txn(out: &mut Vec<u8>, number: i32, zxid: Zxid, txn: &[u8]) {
    put_with(out, number, zxid.0, |out| out.extend_from_slice(txn));
}
