//! Transactions as the log holds them (disk-formats 3.2).

use crate::acl::AclBytes;
use crate::jute::put_buffer;
use crate::record::record;
use crate::{DecodeError, Jute, OpCode, Reader, SessionId, Text, Zxid};

/// `ZKLG`.
pub const MAGIC: i32 = 0x5a4b_4c47;
/// The only version of the log format there is.
pub const VERSION: i32 = 2;
/// Apache's current tree digest: CRC-32 over path, data and stat of each znode, summed.
pub const DIGEST_VERSION: i32 = 2;

record! {
    /// In front of every transaction.
    #[derive(Copy)]
    pub struct TxnHeader {
        /// The session that asked for it, 0 for the server's own.
        pub client_id: i64,
        /// The request's xid.
        pub cxid: i32,
        /// Its place in history.
        pub zxid: i64,
        /// Wall clock of the leader in ms.
        pub time_ms: i64,
        /// See [`Txn`].
        pub op: i32,
    }

    /// Digest of the tree after the transaction.
    #[derive(Copy)]
    pub struct TxnDigest {
        /// [`DIGEST_VERSION`].
        pub version: i32,
        /// The digest.
        pub tree_digest: i64,
    }

    /// create and create2.
    pub struct CreateTxn<'a> {
        /// The znode, counter included.
        pub path: Text<'a>,
        /// Data, or null.
        pub data: Option<&'a [u8]>,
        /// ACL after the fix-up.
        pub acl: AclBytes<'a>,
        /// Whether the session owns it.
        pub ephemeral: bool,
        /// The parent's stored cversion after it; -1 in the oldest logs means "one more".
        pub parent_cversion: i32,
    }

    /// createContainer.
    pub struct CreateContainerTxn<'a> {
        /// The znode, counter included.
        pub path: Text<'a>,
        /// Data, or null.
        pub data: Option<&'a [u8]>,
        /// ACL after the fix-up.
        pub acl: AclBytes<'a>,
        /// The parent's stored cversion after it.
        pub parent_cversion: i32,
    }

    /// createTTL.
    pub struct CreateTtlTxn<'a> {
        /// The znode, counter included.
        pub path: Text<'a>,
        /// Data, or null.
        pub data: Option<&'a [u8]>,
        /// ACL after the fix-up.
        pub acl: AclBytes<'a>,
        /// The parent's stored cversion after it.
        pub parent_cversion: i32,
        /// Time to live in ms.
        pub ttl_ms: i64,
    }

    /// delete and deleteContainer.
    pub struct DeleteTxn<'a> {
        /// The znode.
        pub path: Text<'a>,
    }

    /// setData and reconfig: `version` is the resulting one.
    pub struct SetDataTxn<'a> {
        /// The znode.
        pub path: Text<'a>,
        /// Data, or null.
        pub data: Option<&'a [u8]>,
        /// Version after it.
        pub version: i32,
    }

    /// setACL: `version` is the resulting one.
    pub struct SetAclTxn<'a> {
        /// The znode.
        pub path: Text<'a>,
        /// ACL after the fix-up.
        pub acl: AclBytes<'a>,
        /// ACL version after it.
        pub version: i32,
    }

    /// check, inside a multi; stored is the checked version plus one.
    pub struct CheckVersionTxn<'a> {
        /// The znode.
        pub path: Text<'a>,
        /// As stored.
        pub version: i32,
    }
}

/// A transaction's body.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Txn<'a> {
    /// A session opens with this timeout in ms.
    CreateSession(i32),
    /// A session ends; its ephemerals, when the log says which (since 3.6).
    CloseSession(Option<Vec<Text<'a>>>),
    /// create (1).
    Create(CreateTxn<'a>),
    /// create2 (15), same body.
    Create2(CreateTxn<'a>),
    /// createContainer.
    CreateContainer(CreateContainerTxn<'a>),
    /// createTTL.
    CreateTtl(CreateTtlTxn<'a>),
    /// delete.
    Delete(DeleteTxn<'a>),
    /// deleteContainer: reaped.
    DeleteContainer(DeleteTxn<'a>),
    /// setData.
    SetData(SetDataTxn<'a>),
    /// reconfig: a setData of `/zookeeper/config`.
    Reconfig(SetDataTxn<'a>),
    /// setACL.
    SetAcl(SetAclTxn<'a>),
    /// check; alone only in logs that ZOOKEEPER-2623 spoiled.
    Check(CheckVersionTxn<'a>),
    /// A multi. If any part is an [`Txn::Error`], none of it happened.
    Multi(Vec<Txn<'a>>),
    /// A write that failed with this code; it consumes its zxid.
    Error(i32),
}

impl<'a> Txn<'a> {
    /// The operation number that stands in the header.
    #[must_use]
    pub fn opcode(&self) -> OpCode {
        match self {
            Txn::CreateSession(_) => OpCode::CreateSession,
            Txn::CloseSession(_) => OpCode::CloseSession,
            Txn::Create(_) => OpCode::Create,
            Txn::Create2(_) => OpCode::Create2,
            Txn::CreateContainer(_) => OpCode::CreateContainer,
            Txn::CreateTtl(_) => OpCode::CreateTtl,
            Txn::Delete(_) => OpCode::Delete,
            Txn::DeleteContainer(_) => OpCode::DeleteContainer,
            Txn::SetData(_) => OpCode::SetData,
            Txn::Reconfig(_) => OpCode::Reconfig,
            Txn::SetAcl(_) => OpCode::SetAcl,
            Txn::Check(_) => OpCode::Check,
            Txn::Multi(_) => OpCode::Multi,
            Txn::Error(_) => OpCode::Error,
        }
    }

    /// Whether applying it changes nothing: a failure, or a multi with a failed part.
    #[must_use]
    pub fn is_failure(&self) -> bool {
        match self {
            Txn::Error(_) => true,
            Txn::Multi(parts) => parts.iter().any(|part| matches!(part, Txn::Error(_))),
            _ => false,
        }
    }

    /// Reads the body of a transaction of type `op`.
    pub fn read(op: i32, r: &mut Reader<'a>) -> Result<Txn<'a>, DecodeError> {
        let unknown = DecodeError::Unknown { what: "transaction type", value: op.into() };
        Ok(match OpCode::from_code(op).ok_or(unknown)? {
            OpCode::CreateSession => Txn::CreateSession(r.i32()?),
            OpCode::CloseSession if r.is_empty() => Txn::CloseSession(None),
            OpCode::CloseSession => Txn::CloseSession(Some(Jute::read(r)?)),
            OpCode::Create => Txn::Create(read_create(r)?),
            OpCode::Create2 => Txn::Create2(read_create(r)?),
            OpCode::CreateContainer => Txn::CreateContainer(Jute::read(r)?),
            OpCode::CreateTtl => Txn::CreateTtl(Jute::read(r)?),
            OpCode::Delete => Txn::Delete(Jute::read(r)?),
            OpCode::DeleteContainer => Txn::DeleteContainer(Jute::read(r)?),
            OpCode::SetData => Txn::SetData(Jute::read(r)?),
            OpCode::Reconfig => Txn::Reconfig(Jute::read(r)?),
            OpCode::SetAcl => Txn::SetAcl(Jute::read(r)?),
            OpCode::Check => Txn::Check(Jute::read(r)?),
            OpCode::Error => Txn::Error(r.i32()?),
            OpCode::Multi => Txn::Multi(read_multi(r)?),
            _ => return Err(unknown),
        })
    }

    /// Appends the body.
    pub fn write(&self, out: &mut Vec<u8>) {
        match self {
            Txn::CreateSession(timeout_ms) => timeout_ms.write(out),
            Txn::CloseSession(None) => {}
            Txn::CloseSession(Some(paths)) => paths.write(out),
            Txn::Create(body) | Txn::Create2(body) => body.write(out),
            Txn::CreateContainer(body) => body.write(out),
            Txn::CreateTtl(body) => body.write(out),
            Txn::Delete(body) | Txn::DeleteContainer(body) => body.write(out),
            Txn::SetData(body) | Txn::Reconfig(body) => body.write(out),
            Txn::SetAcl(body) => body.write(out),
            Txn::Check(body) => body.write(out),
            Txn::Error(code) => code.write(out),
            Txn::Multi(parts) => {
                (parts.len() as i32).write(out);
                let mut body = Vec::new();
                for part in parts {
                    part.opcode().code().write(out);
                    body.clear();
                    part.write(&mut body);
                    put_buffer(out, Some(&body));
                }
            }
        }
    }
}

/// A create whose body ends before the parent's cversion is of the oldest form (`CreateTxnV0`).
fn read_create<'a>(r: &mut Reader<'a>) -> Result<CreateTxn<'a>, DecodeError> {
    let (path, data, acl) = (r.text()?, r.buffer()?, AclBytes::read(r)?);
    let ephemeral = r.bool()?;
    let parent_cversion = if r.is_empty() { -1 } else { r.i32()? };
    Ok(CreateTxn { path, data, acl, ephemeral, parent_cversion })
}

fn read_multi<'a>(r: &mut Reader<'a>) -> Result<Vec<Txn<'a>>, DecodeError> {
    const PART_MIN_LEN: usize = 8;
    let at = r.position();
    let count = r.count()?.ok_or(DecodeError::Null { at })?;
    let mut parts = Vec::with_capacity(count.min(r.rest().len() / PART_MIN_LEN));
    for _ in 0..count {
        let (at, op) = (r.position(), r.i32()?);
        if op == OpCode::Multi.code() {
            return Err(DecodeError::Unknown {
                what: "transaction inside a multi",
                value: op.into(),
            });
        }
        let body = r.buffer()?.ok_or(DecodeError::Null { at })?;
        parts.push(Txn::read(op, &mut Reader::with_limits(body, r.limits()))?);
    }
    Ok(parts)
}

/// Whether a digest stands behind a closeSession without a list (`closeSessionTxn.enabled=false`).
/// As a list these bytes would be two empty paths, which no znode has.
fn is_digest(rest: &[u8]) -> bool {
    rest.len() == TxnDigest::MIN_LEN && rest.starts_with(&DIGEST_VERSION.to_be_bytes())
}

impl TxnHeader {
    /// Where the operation stands in an encoded header: last.
    pub const OP_AT: usize = TxnHeader::MIN_LEN - 4;
}

/// A whole log entry: header, body and, on everything but failures, the digest.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TxnEntry<'a> {
    /// Who, when, where.
    pub header: TxnHeader,
    /// What.
    pub txn: Txn<'a>,
    /// Digest of the tree afterwards, when the writer recorded one.
    pub digest: Option<TxnDigest>,
}

impl<'a> TxnEntry<'a> {
    /// Its zxid.
    #[must_use]
    pub fn zxid(&self) -> Zxid {
        Zxid(self.header.zxid)
    }

    /// The session that asked for it.
    #[must_use]
    pub fn session(&self) -> SessionId {
        SessionId(self.header.client_id)
    }
}

impl<'a> Jute<'a> for TxnEntry<'a> {
    const MIN_LEN: usize = TxnHeader::MIN_LEN;
    fn read(r: &mut Reader<'a>) -> Result<Self, DecodeError> {
        let header = TxnHeader::read(r)?;
        let txn = match header.op {
            op if op == OpCode::CloseSession.code() && is_digest(r.rest()) => {
                Txn::CloseSession(None)
            }
            op => Txn::read(op, r)?,
        };
        // The digest is not announced: it is there when bytes are left (`SerializeUtils`).
        let digest = if r.rest().len() >= TxnDigest::MIN_LEN { Some(Jute::read(r)?) } else { None };
        Ok(TxnEntry { header, txn, digest })
    }
    fn write(&self, out: &mut Vec<u8>) {
        self.header.write(out);
        self.txn.write(out);
        if let Some(digest) = &self.digest {
            digest.write(out);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The first records of a log that Apache 3.8.0 wrote (disk-formats 11.1), without framing.
    fn golden() -> [Vec<u8>; 2] {
        let hex = |text: &str| {
            let digits: Vec<u8> = text.bytes().filter(u8::is_ascii_hexdigit).collect();
            digits
                .chunks(2)
                .map(|pair| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap())
                .collect()
        };
        [
            hex("0100000a28340000 00000000 0000000000000001 000001a202e19af7 fffffff6
                 00002710 00000002 0000000051c6d660"),
            hex("0100000a28340000 00000001 0000000000000002 000001a202e19b17 00000001
                 00000004 2f617070 00000002 7631
                 00000001 0000001f 00000005 776f726c64 00000006 616e796f6e65
                 00 00000001 00000002 0000000122b3f6e0"),
        ]
    }

    #[test]
    fn apaches_bytes_are_read_and_written_back() {
        let [session, create] = golden();
        let entry = TxnEntry::read(&mut Reader::new(&session)).unwrap();
        assert_eq!(entry.txn, Txn::CreateSession(10_000));
        assert_eq!(entry.digest.unwrap().tree_digest, 0x51c6_d660);
        assert_eq!(entry.to_bytes(), session);

        let entry = TxnEntry::read(&mut Reader::new(&create)).unwrap();
        let want = CreateTxn {
            path: "/app".into(),
            data: Some(b"v1"),
            acl: AclBytes::OPEN,
            ephemeral: false,
            parent_cversion: 1,
        };
        assert_eq!((entry.zxid(), &entry.txn), (Zxid(2), &Txn::Create(want)));
        assert_eq!(entry.to_bytes(), create);
    }

    #[test]
    fn the_oldest_create_has_no_parent_cversion() {
        let body = CreateTxn {
            path: "/a".into(),
            data: None,
            acl: AclBytes::OPEN,
            ephemeral: true,
            parent_cversion: 7,
        };
        let mut bytes = body.to_bytes();
        bytes.truncate(bytes.len() - 4);
        let read = Txn::read(1, &mut Reader::new(&bytes)).unwrap();
        assert_eq!(read, Txn::Create(CreateTxn { parent_cversion: -1, ..body }));
    }

    #[test]
    fn a_multi_with_a_failed_part_is_a_failure() {
        let delete = Txn::Delete(DeleteTxn { path: "/a".into() });
        assert!(!Txn::Multi(vec![delete.clone()]).is_failure());
        assert!(Txn::Multi(vec![delete, Txn::Error(-101)]).is_failure());
    }

    #[test]
    fn a_close_session_may_have_a_digest_and_no_list() {
        let header = TxnHeader { client_id: 1, cxid: 2, zxid: 3, time_ms: 4, op: -11 };
        let paths = |paths: &[&'static str]| paths.iter().map(|path| Text::from(*path)).collect();
        for list in [None, Some(vec![]), Some(paths(&["/abc"])), Some(paths(&["/a", "/b"]))] {
            for digest in [None, Some(TxnDigest { version: 2, tree_digest: 0x1_0000_0002 })] {
                let entry = TxnEntry { header, txn: Txn::CloseSession(list.clone()), digest };
                let bytes = entry.to_bytes();
                assert_eq!(TxnEntry::read(&mut Reader::new(&bytes)), Ok(entry));
            }
        }
    }

    #[test]
    fn every_body_round_trips() {
        let path = Text::Borrowed("/p");
        let acl = AclBytes::OPEN;
        let delete = DeleteTxn { path: path.clone() };
        let set = SetDataTxn { path: path.clone(), data: Some(b""), version: 1 };
        let bodies = [
            Txn::CreateSession(5),
            Txn::CloseSession(None),
            Txn::CloseSession(Some(vec![path.clone()])),
            Txn::CreateContainer(CreateContainerTxn {
                path: path.clone(),
                data: None,
                acl,
                parent_cversion: 1,
            }),
            Txn::CreateTtl(CreateTtlTxn {
                path: path.clone(),
                data: None,
                acl,
                parent_cversion: 1,
                ttl_ms: 9,
            }),
            Txn::Delete(delete.clone()),
            Txn::DeleteContainer(delete),
            Txn::SetData(set.clone()),
            Txn::Reconfig(set),
            Txn::SetAcl(SetAclTxn { path: path.clone(), acl, version: 2 }),
            Txn::Check(CheckVersionTxn { path, version: 3 }),
            Txn::Error(-110),
        ];
        let multi = Txn::Multi(bodies.to_vec());
        for body in bodies.into_iter().chain([multi]) {
            let mut bytes = Vec::new();
            body.write(&mut bytes);
            let mut r = Reader::new(&bytes);
            assert_eq!(Txn::read(body.opcode().code(), &mut r), Ok(body));
            assert!(r.is_empty());
        }
    }
}
