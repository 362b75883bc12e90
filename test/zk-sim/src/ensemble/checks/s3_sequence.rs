//! S3 Sequence: the suffixes given below one parent grow, whoever leads, as long as the parent is
//! the same znode.

use super::Check;
use crate::ensemble::annals::{Annals, Fact};
use crate::ensemble::record::Record;
use crate::model::state::parent;
use std::collections::BTreeMap;
use zk_proto::request::{Request, RequestHeader};
use zk_proto::{Jute, Reader};

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Sequence {
    /// By path and creation of the parent: zxids and suffixes that were told.
    told: BTreeMap<(String, i64), BTreeMap<i64, i64>>,
}

impl Check for Sequence {
    fn name(&self) -> &'static str {
        "S3 sequence"
    }

    fn check(&mut self, record: &Record, annals: &Annals) -> Result<(), String> {
        let (
            Record::Sent { frame, .. },
            Fact::Replied { header, asked: Some(asked), zxid: Some(zxid), .. },
        ) = (record, &annals.fact)
        else {
            return Ok(());
        };
        let mut r = Reader::new(&asked.frame);
        let (Ok(_), Some(op), 0) = (RequestHeader::read(&mut r), asked.op, header.err) else {
            return Ok(());
        };
        let Ok(Some(Request::Create(create))) = Request::read(op, &mut r) else { return Ok(()) };
        if !matches!(create.flags, 2 | 3 | 6) {
            return Ok(());
        }
        let path = frame.get(16..).and_then(|body| Reader::new(body).text().ok());
        let Some(path) = path else { return Err("a create is answered without a path".into()) };
        let suffix = path.get(path.len().saturating_sub(10)..).and_then(|it| it.parse().ok());
        let Some(suffix) = suffix else { return Err(format!("{path} has no suffix")) };
        let above = parent(&path).unwrap_or("/");
        let Some(node) = annals.state(*zxid).and_then(|state| state.node(above)) else {
            return Ok(());
        };
        // Members answer at different times: the zxids say what came first.
        let told = self.told.entry((above.to_string(), node.czxid)).or_default();
        let before = told.range(..zxid).next_back().map_or(-1, |(_, suffix)| *suffix);
        let behind = told.range(zxid + 1..).next().map_or(i64::MAX, |(_, suffix)| *suffix);
        if suffix <= before || suffix >= behind {
            return Err(format!("{path} at {zxid:x} comes behind {before}, before {behind}"));
        }
        told.insert(*zxid, suffix);
        if told.len() > 64 {
            told.pop_first();
        }
        Ok(())
    }
}
