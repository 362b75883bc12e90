//! The handshake (client-protocol 2.1).

use crate::SessionId;
use crate::jute::{DecodeError, Jute, Reader, put_buffer};
use crate::password::{NO_PASSWORD, Password};

/// A client's first frame.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConnectRequest<'a> {
    /// Ignored by servers.
    pub protocol_version: i32,
    /// The newest zxid the client has seen; a server behind it must not answer.
    pub last_zxid_seen: i64,
    /// Wanted session timeout in ms.
    pub timeout_ms: i32,
    /// The session to go on with; [`SessionId::NONE`] for a new one.
    pub session_id: SessionId,
    /// The session's password.
    pub password: Option<&'a [u8]>,
    /// Whether a read-only server will do; `None` from clients that do not know the field.
    pub read_only: Option<bool>,
}

impl ConnectRequest<'_> {
    /// That of a client without a past, which wants this session timeout in ms.
    #[must_use]
    pub const fn new_session(timeout_ms: i32) -> Self {
        ConnectRequest {
            protocol_version: 0,
            last_zxid_seen: 0,
            timeout_ms,
            session_id: SessionId::NONE,
            password: None,
            read_only: Some(false),
        }
    }
}

/// A server's answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConnectResponse {
    /// Always 0.
    pub protocol_version: i32,
    /// Negotiated session timeout in ms; 0 when the session is gone.
    pub timeout_ms: i32,
    /// The session; [`SessionId::NONE`] when it is gone.
    pub session_id: SessionId,
    /// Its password.
    pub password: Password,
    /// Whether this server is read-only; `None` leaves the byte out, for clients that sent none.
    pub read_only: Option<bool>,
}

impl ConnectResponse {
    /// "Your session is gone." Only a serving member may say so (DESIGN R1).
    #[must_use]
    pub fn expired(read_only: Option<bool>) -> ConnectResponse {
        ConnectResponse {
            protocol_version: 0,
            timeout_ms: 0,
            session_id: SessionId::NONE,
            password: NO_PASSWORD,
            read_only: read_only.map(|_| false),
        }
    }
}

fn optional_bool(r: &mut Reader<'_>) -> Result<Option<bool>, DecodeError> {
    if r.is_empty() { Ok(None) } else { r.bool().map(Some) }
}

impl<'a> Jute<'a> for ConnectRequest<'a> {
    const MIN_LEN: usize = 28;
    fn read(r: &mut Reader<'a>) -> Result<Self, DecodeError> {
        Ok(ConnectRequest {
            protocol_version: r.i32()?,
            last_zxid_seen: r.i64()?,
            timeout_ms: r.i32()?,
            session_id: SessionId(r.i64()?),
            password: r.buffer()?,
            read_only: optional_bool(r)?,
        })
    }
    fn write(&self, out: &mut Vec<u8>) {
        self.protocol_version.write(out);
        self.last_zxid_seen.write(out);
        self.timeout_ms.write(out);
        self.session_id.0.write(out);
        put_buffer(out, self.password);
        if let Some(flag) = self.read_only {
            flag.write(out);
        }
    }
}

impl<'a> Jute<'a> for ConnectResponse {
    const MIN_LEN: usize = 36;
    fn read(r: &mut Reader<'a>) -> Result<Self, DecodeError> {
        let protocol_version = r.i32()?;
        let timeout_ms = r.i32()?;
        let session_id = SessionId(r.i64()?);
        let at = r.position();
        let bytes = r.buffer()?.ok_or(DecodeError::Null { at })?;
        let password = Password::try_from(bytes)
            .map_err(|_| DecodeError::BadLength { at, length: bytes.len() as i32 })?;
        let read_only = optional_bool(r)?;
        Ok(ConnectResponse { protocol_version, timeout_ms, session_id, password, read_only })
    }
    fn write(&self, out: &mut Vec<u8>) {
        self.protocol_version.write(out);
        self.timeout_ms.write(out);
        self.session_id.0.write(out);
        put_buffer(out, Some(&self.password));
        if let Some(flag) = self.read_only {
            flag.write(out);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_answer_has_37_bytes_or_36_for_old_clients() {
        assert_eq!(ConnectResponse::expired(Some(true)).to_bytes().len(), 37);
        assert_eq!(ConnectResponse::expired(None).to_bytes().len(), 36);
    }

    #[test]
    fn requests_round_trip() {
        for read_only in [None, Some(true)] {
            let request = ConnectRequest {
                protocol_version: 7,
                last_zxid_seen: 9,
                timeout_ms: -1,
                session_id: SessionId(5),
                password: None,
                read_only,
            };
            let bytes = request.to_bytes();
            assert_eq!(ConnectRequest::read(&mut Reader::new(&bytes)), Ok(request));
        }
    }
}
