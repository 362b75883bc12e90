//! S3 Sequence: the suffixes given below one parent grow, over restarts too, as long as the parent
//! is the same znode.

use super::Invariant;
use crate::model::state::parent;
use crate::oracle::{Expected, Fact, Oracle};
use crate::record::Record;
use std::collections::BTreeMap;
use zk_proto::request::{MultiOp, Request, RequestHeader};
use zk_proto::response::{MultiResponse, MultiResult};
use zk_proto::{Jute, OpCode, Reader};

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Sequence {
    /// By path and creation of the parent: the greatest suffix that was told to anybody.
    last: BTreeMap<(String, i64), i64>,
}

/// The paths that a reply gives to sequential creates.
fn given(frame: &[u8], asked: &[u8]) -> Option<Vec<String>> {
    let is_sequential = |flags: i32| matches!(flags, 2 | 3 | 6);
    let mut r = Reader::new(asked);
    let op = OpCode::from_code(RequestHeader::read(&mut r).ok()?.op)?;
    let mut body = Reader::new(frame.get(16..)?);
    match Request::read(op, &mut r).ok()?? {
        Request::Create(create) if is_sequential(create.flags) => {
            Some(vec![body.text().ok()?.into_owned()])
        }
        Request::Multi(multi) => {
            let results = MultiResponse::read(&mut body).ok()?.results;
            let pairs = multi.ops.iter().zip(results);
            let path = pairs.filter_map(|(op, result)| match (op, result) {
                (
                    MultiOp::Create(create),
                    MultiResult::Create(path) | MultiResult::Create2(path, _),
                ) if is_sequential(create.flags) => Some(path.into_owned()),
                _ => None,
            });
            Some(path.collect())
        }
        _ => None,
    }
}

impl Invariant for Sequence {
    fn name(&self) -> &'static str {
        "S3 sequence"
    }

    fn check(&mut self, record: &Record, oracle: &Oracle) -> Result<(), String> {
        let (Record::Sent { frame, .. }, Fact::Replied { header, asked: Some(asked), .. }) =
            (record, &oracle.fact)
        else {
            return Ok(());
        };
        let Expected::Write(Some(zxid)) = asked.expected else { return Ok(()) };
        if header.err != 0 {
            return Ok(());
        }
        for path in given(frame, &asked.frame).unwrap_or_default() {
            let suffix = path.get(path.len().saturating_sub(10)..).and_then(|s| s.parse().ok());
            let Some(suffix) = suffix else { return Err(format!("{path} has no suffix")) };
            let above = parent(&path).unwrap_or("/");
            // A parent that is gone again within the same multi has no further names to give.
            let Some(node) = oracle.state(zxid).and_then(|state| state.node(above)) else {
                continue;
            };
            let last = self.last.entry((above.to_string(), node.czxid)).or_insert(-1);
            if suffix <= *last {
                return Err(format!("{path} at {zxid:x} comes behind {last}"));
            }
            *last = suffix;
        }
        Ok(())
    }
}
