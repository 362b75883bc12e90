//! What a learner says.

use super::number;
use super::{Id, PROTOCOL_VERSION, Packet, put_bare, put_with};
use crate::jute::put_frame;
use crate::record::record;
use crate::{DecodeError, Epoch, Jute, Limits, Reader, SessionId, Sid, Zxid};

record! {
    /// Who a learner says it is. Three lengths are legal: 8, 12 and 20 bytes.
    #[derive(Copy)]
    pub struct LearnerInfo {
        /// Its sid.
        pub sid: i64,
        /// [`PROTOCOL_VERSION`].
        pub protocol_version: i32,
        /// The version of the configuration that it has committed.
        pub config_version: i64,
    }
}

/// A packet of a learner.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FromLearner<'a> {
    /// FOLLOWERINFO and OBSERVERINFO: the first one.
    Info {
        /// Whether it will not vote.
        is_observer: bool,
        /// The greatest epoch that it has promised to follow.
        accepted_epoch: Epoch,
        /// Who it is; none before 3.3.
        info: Option<LearnerInfo>,
    },
    /// ACKEPOCH: it has promised the new epoch.
    AckEpoch {
        /// Its last logged zxid.
        last_zxid: Zxid,
        /// Its current epoch; none if it had accepted the epoch before, which is no new promise.
        current_epoch: Option<Epoch>,
    },
    /// ACK: this is on its disk; the first zxid of an epoch stands for NEWLEADER and UPTODATE.
    Ack(Zxid),
    /// PING, answered.
    Ping {
        /// As asked.
        zxid: Zxid,
        /// The sessions that it has heard since.
        touched: Touched<'a>,
    },
    /// REQUEST of one of its clients.
    Request(Forwarded<'a>),
    /// REVALIDATE: a session has moved to it.
    Revalidate {
        /// Which.
        session: SessionId,
        /// The timeout in ms that it asks for.
        timeout_ms: i32,
    },
}

/// A client's request on its way to the leader.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Forwarded<'a> {
    /// The client's session.
    pub session: SessionId,
    /// The request's xid.
    pub cxid: i32,
    /// The operation's number; not each is an operation of clients.
    pub op: i32,
    /// The request without its header.
    pub body: &'a [u8],
    /// What the client has proven to be.
    pub identities: Vec<Id<'a>>,
}

/// Sessions and their timeouts in ms, as they stand in a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct Touched<'a>(&'a [u8]);

impl<'a> Touched<'a> {
    const ITEM: usize = 12;

    /// From bytes that [`Touched::put`] made.
    #[must_use]
    pub fn of(bytes: &'a [u8]) -> Touched<'a> {
        Touched(bytes)
    }

    /// Appends a session to bytes for [`Touched::of`].
    pub fn put(out: &mut Vec<u8>, session: SessionId, timeout_ms: i32) {
        session.0.write(out);
        timeout_ms.write(out);
    }

    /// The sessions; an incomplete last one is left out.
    pub fn iter(self) -> impl Iterator<Item = (SessionId, i32)> + 'a {
        self.0.chunks_exact(Touched::ITEM).filter_map(|item| {
            let mut r = Reader::new(item);
            Some((SessionId(r.i64().ok()?), r.i32().ok()?))
        })
    }
}

impl<'a> FromLearner<'a> {
    /// Reads the first packet: `Ok(None)` when it is not whole yet, else it and its length.
    ///
    /// # Errors
    /// For a type that learners do not send, and data that is not of its type.
    pub fn read(
        bytes: &'a [u8],
        limits: Limits,
    ) -> Result<Option<(FromLearner<'a>, usize)>, DecodeError> {
        let Some((packet, length)) = Packet::read(bytes, limits)? else { return Ok(None) };
        let packet = FromLearner::parse(packet, limits)?;
        Ok(Some((packet, length)))
    }

    fn parse(packet: Packet<'a>, limits: Limits) -> Result<FromLearner<'a>, DecodeError> {
        let zxid = Zxid(packet.zxid);
        Ok(match packet.number {
            number::FOLLOWER_INFO | number::OBSERVER_INFO => FromLearner::Info {
                is_observer: packet.number == number::OBSERVER_INFO,
                accepted_epoch: zxid.epoch(),
                info: packet.data.map(learner_info).transpose()?,
            },
            number::ACK_EPOCH => {
                let epoch = Reader::new(packet.data()?).i32()?;
                let current_epoch = (epoch != -1).then_some(Epoch(epoch));
                FromLearner::AckEpoch { last_zxid: zxid, current_epoch }
            }
            number::ACK => FromLearner::Ack(zxid),
            number::PING => FromLearner::Ping { zxid, touched: Touched(packet.data()?) },
            number::REQUEST => FromLearner::Request(forwarded(packet, limits)?),
            number::REVALIDATE => {
                let mut r = Reader::new(packet.data()?);
                FromLearner::Revalidate { session: SessionId(r.i64()?), timeout_ms: r.i32()? }
            }
            other => {
                return Err(DecodeError::Unknown {
                    what: "packet of a learner",
                    value: other.into(),
                });
            }
        })
    }

    /// As the protocol calls it.
    #[must_use]
    pub fn name(&self) -> &'static str {
        match self {
            FromLearner::Info { is_observer: false, .. } => "FOLLOWERINFO",
            FromLearner::Info { is_observer: true, .. } => "OBSERVERINFO",
            FromLearner::AckEpoch { .. } => "ACKEPOCH",
            FromLearner::Ack(_) => "ACK",
            FromLearner::Ping { .. } => "PING",
            FromLearner::Request(_) => "REQUEST",
            FromLearner::Revalidate { .. } => "REVALIDATE",
        }
    }

    /// Appends the packet.
    pub fn put(&self, out: &mut Vec<u8>) {
        match self {
            FromLearner::Info { is_observer, accepted_epoch, info } => {
                let number =
                    if *is_observer { number::OBSERVER_INFO } else { number::FOLLOWER_INFO };
                let zxid = Zxid::new(*accepted_epoch, 0).0;
                match info {
                    None => put_bare(out, number, zxid),
                    Some(info) => put_with(out, number, zxid, |out| info.write(out)),
                }
            }
            FromLearner::AckEpoch { last_zxid, current_epoch } => {
                let epoch = current_epoch.map_or(-1, |epoch| epoch.0);
                put_with(out, number::ACK_EPOCH, last_zxid.0, |out| epoch.write(out));
            }
            FromLearner::Ack(zxid) => put_bare(out, number::ACK, zxid.0),
            // Apache wraps the data without a look whether there is any.
            FromLearner::Ping { zxid, touched } => {
                put_with(out, number::PING, zxid.0, |out| out.extend_from_slice(touched.0));
            }
            FromLearner::Request(request) => request.put(out),
            FromLearner::Revalidate { session, timeout_ms } => {
                let data = |out: &mut Vec<u8>| {
                    session.0.write(out);
                    timeout_ms.write(out);
                };
                put_with(out, number::REVALIDATE, -1, data);
            }
        }
    }
}

impl LearnerInfo {
    /// What this version says of itself.
    #[must_use]
    pub fn new(sid: Sid, config_version: i64) -> LearnerInfo {
        LearnerInfo { sid: sid.0, protocol_version: PROTOCOL_VERSION, config_version }
    }
}

/// `LearnerHandler.run`: what is missing is version 1 and configuration 0.
fn learner_info(data: &[u8]) -> Result<LearnerInfo, DecodeError> {
    let mut r = Reader::new(data);
    let sid = r.i64()?;
    let protocol_version = if data.len() >= 12 { r.i32()? } else { 1 };
    let config_version = if data.len() >= 20 { r.i64()? } else { 0 };
    Ok(LearnerInfo { sid, protocol_version, config_version })
}

fn forwarded<'a>(packet: Packet<'a>, limits: Limits) -> Result<Forwarded<'a>, DecodeError> {
    let mut r = Reader::with_limits(packet.data()?, limits);
    Ok(Forwarded {
        session: SessionId(r.i64()?),
        cxid: r.i32()?,
        op: r.i32()?,
        body: r.rest(),
        identities: packet.identities.unwrap_or_default(),
    })
}

impl Forwarded<'_> {
    fn put(&self, out: &mut Vec<u8>) {
        number::REQUEST.write(out);
        (-1i64).write(out);
        put_frame(out, |out| {
            self.session.0.write(out);
            self.cxid.write(out);
            self.op.write(out);
            out.extend_from_slice(self.body);
        });
        self.identities.write(out);
    }
}
