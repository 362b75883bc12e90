//! What servers answer (client-protocol 3). A reply is a header and, usually on success only, a
//! record.

use crate::acl::AclBytes;
use crate::record::record;
use crate::request::MultiHeader;
use crate::{DecodeError, ErrorCode, Jute, OpCode, Reader, Stat, Text};

record! {
    /// In front of every reply and notification.
    #[derive(Copy)]
    pub struct ReplyHeader {
        /// The request's xid, or a reserved one.
        pub xid: i32,
        /// The newest zxid this server had applied when it answered.
        pub zxid: i64,
        /// 0 or an error code.
        pub err: i32,
    }

    /// create.
    pub struct CreateResponse<'a> {
        /// The actual path.
        pub path: Text<'a>,
    }

    /// create2, createContainer, createTTL.
    pub struct Create2Response<'a> {
        /// The actual path.
        pub path: Text<'a>,
        /// The new znode.
        pub stat: Stat,
    }

    /// exists, setData, setACL.
    #[derive(Copy)]
    pub struct StatResponse {
        /// The znode.
        pub stat: Stat,
    }

    /// getData and reconfig.
    pub struct GetDataResponse<'a> {
        /// Data, or null.
        pub data: Option<&'a [u8]>,
        /// The znode.
        pub stat: Stat,
    }

    /// getACL.
    pub struct GetAclResponse<'a> {
        /// The ACL, digests masked where the reader may not see them.
        pub acl: AclBytes<'a>,
        /// The znode.
        pub stat: Stat,
    }

    /// getChildren and getEphemerals.
    pub struct GetChildrenResponse<'a> {
        /// Names, or whole paths for getEphemerals.
        pub children: Vec<Text<'a>>,
    }

    /// getChildren2.
    pub struct GetChildren2Response<'a> {
        /// Names in no order.
        pub children: Vec<Text<'a>>,
        /// The parent.
        pub stat: Stat,
    }

    /// sync.
    pub struct SyncResponse<'a> {
        /// The path as sent.
        pub path: Option<Text<'a>>,
    }

    /// getAllChildrenNumber.
    #[derive(Copy)]
    pub struct GetAllChildrenNumberResponse {
        /// Number of descendants.
        pub total_number: i32,
    }

    /// One identity of a connection.
    pub struct ClientInfo<'a> {
        /// Its scheme.
        pub auth_scheme: Text<'a>,
        /// Its user, without secrets.
        pub user: Text<'a>,
    }

    /// whoAmI.
    pub struct WhoAmIResponse<'a> {
        /// The connection's identities.
        pub client_info: Vec<ClientInfo<'a>>,
    }
}

impl ReplyHeader {
    /// A reply to request `xid`.
    #[must_use]
    pub fn new(xid: i32, zxid: i64, err: ErrorCode) -> ReplyHeader {
        ReplyHeader { xid, zxid, err: err.code() }
    }
}

/// One result of a multi or multiRead.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum MultiResult<'a> {
    /// Of a create: the path.
    Create(Text<'a>),
    /// Of create2 and the special creates: path and Stat.
    Create2(Text<'a>, Stat),
    /// Of a setData.
    SetData(Stat),
    /// Of a delete.
    Delete,
    /// Of a check.
    Check,
    /// Of a getData.
    GetData(Option<&'a [u8]>, Stat),
    /// Of a getChildren.
    GetChildren(Vec<Text<'a>>),
    /// A failure; in a failed multi every operation has one, [`ErrorCode::Ok`] included.
    Error(i32),
}

impl<'a> MultiResult<'a> {
    /// Appends header and body.
    pub fn write(&self, out: &mut Vec<u8>) {
        let header = |op: OpCode| MultiHeader { op: op.code(), done: false, err: 0 };
        match self {
            MultiResult::Create(path) => {
                header(OpCode::Create).write(out);
                path.write(out);
            }
            MultiResult::Create2(path, stat) => {
                header(OpCode::Create2).write(out);
                path.write(out);
                stat.write(out);
            }
            MultiResult::SetData(stat) => {
                header(OpCode::SetData).write(out);
                stat.write(out);
            }
            MultiResult::Delete => header(OpCode::Delete).write(out),
            MultiResult::Check => header(OpCode::Check).write(out),
            MultiResult::GetData(data, stat) => {
                header(OpCode::GetData).write(out);
                data.write(out);
                stat.write(out);
            }
            MultiResult::GetChildren(children) => {
                header(OpCode::GetChildren).write(out);
                children.write(out);
            }
            MultiResult::Error(err) => {
                MultiHeader { op: OpCode::Error.code(), done: false, err: *err }.write(out);
                err.write(out);
            }
        }
    }

    fn read(header: MultiHeader, r: &mut Reader<'a>) -> Result<MultiResult<'a>, DecodeError> {
        Ok(match OpCode::from_code(header.op) {
            Some(OpCode::Create) => MultiResult::Create(r.text()?),
            Some(OpCode::Create2) => MultiResult::Create2(r.text()?, Jute::read(r)?),
            Some(OpCode::SetData) => MultiResult::SetData(Jute::read(r)?),
            Some(OpCode::Delete) => MultiResult::Delete,
            Some(OpCode::Check) => MultiResult::Check,
            Some(OpCode::GetData) => MultiResult::GetData(r.buffer()?, Jute::read(r)?),
            Some(OpCode::GetChildren) => MultiResult::GetChildren(Jute::read(r)?),
            Some(OpCode::Error) => MultiResult::Error(r.i32()?),
            _ => {
                return Err(DecodeError::Unknown {
                    what: "result in a multi",
                    value: header.op.into(),
                });
            }
        })
    }
}

/// The results of a multi or multiRead.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MultiResponse<'a> {
    /// In the order of the operations.
    pub results: Vec<MultiResult<'a>>,
}

impl<'a> Jute<'a> for MultiResponse<'a> {
    const MIN_LEN: usize = MultiHeader::MIN_LEN;
    fn read(r: &mut Reader<'a>) -> Result<Self, DecodeError> {
        let mut results = Vec::new();
        loop {
            let header = MultiHeader::read(r)?;
            if header.done {
                return Ok(MultiResponse { results });
            }
            results.push(MultiResult::read(header, r)?);
        }
    }
    fn write(&self, out: &mut Vec<u8>) {
        for result in &self.results {
            result.write(out);
        }
        MultiHeader::END.write(out);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn multi_responses_round_trip() {
        let response = MultiResponse {
            results: vec![
                MultiResult::Create("/a".into()),
                MultiResult::Create2("/b".into(), Stat { czxid: 4, ..Stat::default() }),
                MultiResult::SetData(Stat::default()),
                MultiResult::Delete,
                MultiResult::Check,
                MultiResult::GetData(None, Stat::default()),
                MultiResult::GetChildren(vec!["x".into()]),
                MultiResult::Error(-101),
            ],
        };
        let bytes = response.to_bytes();
        let mut r = Reader::new(&bytes);
        assert_eq!(MultiResponse::read(&mut r), Ok(response));
        assert!(r.is_empty());
    }
}
