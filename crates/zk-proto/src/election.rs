//! Messages of the election port (quorum-protocol 2.1, 2.3). Mirrors `QuorumCnxManager` and
//! `FastLeaderElection.buildMsg`.

use crate::jute::put_frame;
use crate::{DecodeError, Jute, Reader, Sid, Text, Zxid};

/// The longest frame that Apache accepts (`QuorumCnxManager.PACKETMAXSIZE`).
pub const MAX_FRAME_BYTES: usize = 512 << 10;
/// The longest list of addresses in a [`Greeting`] (`QuorumCnxManager.maxBuffer`).
pub const MAX_ADDRESS_BYTES: usize = 2048;
/// One address in the greeting (3.5).
const PROTOCOL_V1: i64 = -65_536;
/// Several addresses in the greeting (3.6).
const PROTOCOL_V2: i64 = -65_535;
/// Notifications with the sender's configuration (3.5): the newest form, and ours.
pub const VERSION_WITH_CONFIG: i32 = 2;
/// A notification of 3.4.5 and older: without the epoch, the version and the configuration.
const LEN_28: usize = 28;
/// A notification with a version but without a configuration: taken for one without either.
const LEN_40: usize = 40;

/// What a member does.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum ServerState {
    /// It elects.
    Looking,
    /// It follows and votes.
    Following,
    /// It leads.
    Leading,
    /// It follows without a vote.
    Observing,
}

impl ServerState {
    fn number(self) -> i32 {
        self as i32
    }

    fn from_number(number: i32) -> Result<ServerState, DecodeError> {
        match number {
            0 => Ok(ServerState::Looking),
            1 => Ok(ServerState::Following),
            2 => Ok(ServerState::Leading),
            3 => Ok(ServerState::Observing),
            _ => Err(DecodeError::Unknown { what: "server state", value: number.into() }),
        }
    }
}

/// A vote, as it is told to others.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Notification<'a> {
    /// What the sender does.
    pub state: ServerState,
    /// Whom it wants to lead, or who leads.
    pub leader: Sid,
    /// That one's last zxid.
    pub zxid: Zxid,
    /// The sender's logical clock: the number of its election.
    pub election_epoch: i64,
    /// The proposed leader's current epoch.
    pub peer_epoch: i64,
    /// 0 to 2; what it is compared with depends on it.
    pub version: i32,
    /// The sender's configuration as text; of version 2 on.
    pub config: Option<Text<'a>>,
}

impl<'a> Notification<'a> {
    /// Reads the payload of a frame, in any of the forms since 3.3.
    ///
    /// # Errors
    /// Where it is too short for its form, or holds an unknown state.
    pub fn read(payload: &'a [u8]) -> Result<Notification<'a>, DecodeError> {
        let mut r = Reader::new(payload);
        let state = ServerState::from_number(r.i32()?)?;
        let leader = Sid(r.i64()?);
        let zxid = Zxid(r.i64()?);
        let election_epoch = r.i64()?;
        let peer_epoch = match payload.len() {
            LEN_28 => i64::from(zxid.epoch().0),
            _ => r.i64()?,
        };
        let version = match payload.len() {
            LEN_28 | LEN_40 => 0,
            _ => r.i32()?,
        };
        let config = if version >= VERSION_WITH_CONFIG { Some(r.text()?) } else { None };
        Ok(Notification { state, leader, zxid, election_epoch, peer_epoch, version, config })
    }

    /// Appends the frame, always in the newest form.
    pub fn put_frame(&self, out: &mut Vec<u8>) {
        put_frame(out, |out| {
            self.state.number().write(out);
            self.leader.0.write(out);
            self.zxid.0.write(out);
            self.election_epoch.write(out);
            self.peer_epoch.write(out);
            VERSION_WITH_CONFIG.write(out);
            self.config.clone().unwrap_or_default().write(out);
        });
    }
}

/// The first bytes of whoever dials an election port: who it is, and where it can be reached.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Greeting {
    /// The dialling member.
    pub sid: Sid,
    /// Its election addresses, `host:port`; none from a member before 3.5.
    pub addresses: Vec<String>,
}

impl Greeting {
    /// Reads a greeting from the beginning of what came: `Ok(None)` when more must come first, else
    /// the greeting and its length.
    ///
    /// # Errors
    /// For another protocol version, and a list of addresses that is too long or no UTF-8.
    pub fn read(bytes: &[u8]) -> Result<Option<(Greeting, usize)>, DecodeError> {
        let mut r = Reader::new(bytes);
        let Ok(first) = r.i64() else { return Ok(None) };
        if first >= 0 {
            let greeting = Greeting { sid: Sid(first), addresses: Vec::new() };
            return Ok(Some((greeting, r.position())));
        }
        if first != PROTOCOL_V1 && first != PROTOCOL_V2 {
            return Err(DecodeError::Unknown { what: "election protocol version", value: first });
        }
        let Ok(sid) = r.i64() else { return Ok(None) };
        let at = r.position();
        let Ok(length) = r.i32() else { return Ok(None) };
        let bounded = usize::try_from(length).ok().filter(|n| (1..=MAX_ADDRESS_BYTES).contains(n));
        let n = bounded.ok_or(DecodeError::BadLength { at, length })?;
        let Ok(text) = r.take(n) else { return Ok(None) };
        let text = std::str::from_utf8(text)
            .map_err(|_| DecodeError::Unknown { what: "election address", value: sid })?;
        let addresses = text.split('|').map(str::to_owned).collect();
        Ok(Some((Greeting { sid: Sid(sid), addresses }, r.position())))
    }

    /// The greeting's bytes. They must leave in one piece: Apache reads the addresses with a single
    /// call.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut out = Vec::new();
        let version = if self.addresses.len() > 1 { PROTOCOL_V2 } else { PROTOCOL_V1 };
        version.write(&mut out);
        self.sid.0.write(&mut out);
        crate::jute::put_text(&mut out, &self.addresses.join("|"));
        out
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn notification(config: Option<&'static str>) -> Notification<'static> {
        Notification {
            state: ServerState::Leading,
            leader: Sid(3),
            zxid: Zxid(0x1_0000_0002),
            election_epoch: 7,
            peer_epoch: 2,
            version: 2,
            config: config.map(Text::Borrowed),
        }
    }

    #[test]
    fn its_bytes_are_apaches() {
        let mut out = Vec::new();
        notification(Some("version=0")).put_frame(&mut out);
        let fields: [&[u8]; 7] = [
            &[0, 0, 0, 44 + 9],
            &[0, 0, 0, 2],
            &[0, 0, 0, 0, 0, 0, 0, 3],
            &[0, 0, 0, 1, 0, 0, 0, 2],
            &[0, 0, 0, 0, 0, 0, 0, 7, 0, 0, 0, 0, 0, 0, 0, 2],
            &[0, 0, 0, 2, 0, 0, 0, 9],
            b"version=0",
        ];
        assert_eq!(out, fields.concat());
        assert_eq!(Notification::read(&out[4..]), Ok(notification(Some("version=0"))));
    }

    #[test]
    fn older_forms_are_known_by_their_length() {
        let mut frame = Vec::new();
        notification(Some("")).put_frame(&mut frame);
        let payload = &frame[4..];
        let old = |peer_epoch| {
            Ok(Notification { peer_epoch, version: 0, config: None, ..notification(None) })
        };
        assert_eq!(Notification::read(&payload[..28]), old(1), "the epoch of the zxid");
        assert_eq!(Notification::read(&payload[..40]), old(2), "its version is not looked at");
        for len in (0..28).chain(29..40).chain(41..44) {
            let error = Notification::read(&payload[..len]).unwrap_err();
            assert!(matches!(error, DecodeError::Truncated { .. }), "{len}: {error}");
        }
        let mut of_3_4 = payload[..41].to_vec();
        of_3_4[39] = 1;
        let want = Notification { version: 1, config: None, ..notification(None) };
        assert_eq!(Notification::read(&of_3_4), Ok(want));
    }

    #[test]
    fn lengths_and_states_that_cannot_be_are_refused() {
        let mut frame = Vec::new();
        notification(Some("x")).put_frame(&mut frame);
        for (at, value) in [(43, 2), (40, 0x80), (3, 4)] {
            let mut payload = frame[4..].to_vec();
            payload[at] = value;
            assert!(Notification::read(&payload).is_err(), "{at}");
        }
    }

    #[test]
    fn a_greeting_is_read_once_it_is_whole() {
        let addresses = vec!["10.0.0.1:3888".to_owned(), "[::1]:3888".to_owned()];
        for greeting in [
            Greeting { sid: Sid(2), addresses: addresses[..1].to_vec() },
            Greeting { sid: Sid(2), addresses },
        ] {
            let mut bytes = greeting.to_bytes();
            for len in 0..bytes.len() {
                assert_eq!(Greeting::read(&bytes[..len]), Ok(None), "{len}");
            }
            let len = bytes.len();
            bytes.push(0);
            assert_eq!(Greeting::read(&bytes), Ok(Some((greeting, len))));
        }
        let old = Greeting { sid: Sid(5), addresses: Vec::new() };
        assert_eq!(Greeting::read(&5i64.to_be_bytes()), Ok(Some((old, 8))));
    }

    #[test]
    fn greetings_of_strangers_are_refused() {
        let greeting = |version: i64, length: i32| {
            [&version.to_be_bytes()[..], &1i64.to_be_bytes(), &length.to_be_bytes()].concat()
        };
        for bytes in [greeting(-1, 5), greeting(PROTOCOL_V1, 0), greeting(PROTOCOL_V1, 2049)] {
            assert!(Greeting::read(&bytes).is_err(), "{bytes:?}");
        }
        assert_eq!(Greeting::read(&greeting(PROTOCOL_V1, 2048)), Ok(None));
        let mut bytes = greeting(PROTOCOL_V1, 1);
        bytes.push(0xff);
        assert!(Greeting::read(&bytes).is_err());
    }

    proptest! {
        #[test]
        fn any_bytes_are_refused_or_read_never_a_panic(bytes: Vec<u8>) {
            let _ = Notification::read(&bytes);
            let _ = Greeting::read(&bytes);
        }
    }
}
