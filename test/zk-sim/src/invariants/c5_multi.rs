//! C5 Atomic multi: all of it or none, one zxid, and the reply says which.

use super::Invariant;
use crate::oracle::{Expected, Fact, Oracle};
use crate::record::Record;
use zk_proto::response::{MultiResponse, MultiResult};
use zk_proto::{Jute, OpCode, Reader};

/// See the module.
#[derive(Debug)]
pub(super) struct Atomic;

impl Invariant for Atomic {
    fn name(&self) -> &'static str {
        "C5 atomic multi"
    }

    fn check(&mut self, record: &Record, oracle: &Oracle) -> Result<(), String> {
        let (Record::Sent { frame, .. }, Fact::Replied { header, asked: Some(asked), .. }) =
            (record, &oracle.fact)
        else {
            return Ok(());
        };
        let Expected::Write(Some(zxid)) = asked.expected else { return Ok(()) };
        if asked.op != OpCode::Multi.code() || header.err != 0 {
            return Ok(());
        }
        let response = MultiResponse::read(&mut Reader::new(&frame[16.min(frame.len())..]))
            .map_err(|error| format!("the results of {zxid:x} cannot be read: {error}"))?;
        let is_error = |result: &MultiResult<'_>| matches!(result, MultiResult::Error(_));
        let failed = response.results.iter().filter(|result| is_error(result)).count();
        if failed != 0 && failed != response.results.len() {
            return Err(format!("a part of {zxid:x} failed alone: {:?}", response.results));
        }
        let (before, after) = (oracle.state(zxid - 1), oracle.state(zxid));
        if failed != 0 && before != after {
            return Err(format!("{zxid:x} failed and changed something"));
        }
        Ok(())
    }
}
