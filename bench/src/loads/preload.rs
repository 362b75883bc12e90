//! Many znodes, created by multis of 250, and the proof that they are all there.

use zk_proto::jute::put_frame;
use zk_proto::request::{CreateMode, MultiHeader, RequestHeader};
use zk_proto::response::{MultiResponse, MultiResult};
use zk_proto::{Jute, OpCode, Reader};

use crate::client::{self, Client};
use crate::drive::{Class, Load};
use crate::error::{Error, Result, Wrong};
use crate::loads::Check;
use crate::wire::{self, Random, Template};

/// Where they are. Paths of znodes have 21 bytes.
pub const ROOT: &str = "/preload";
/// Creates in a multi.
pub const BATCH: u64 = 250;
/// Znodes below one parent; a multiple of [`BATCH`].
const PER_PARENT: u64 = 1000;
/// Connections, and multis outstanding on each: enough that the server never waits.
pub const CONNS: usize = 4;
/// See [`CONNS`].
pub const DEPTH: usize = 4;
/// Znodes that are read back.
const SAMPLES: u64 = 1000;

/// The load.
pub struct Preload {
    check: Check,
    count: u64,
    next: u64,
    value_bytes: usize,
}

impl Preload {
    /// Creates the parents.
    pub fn set_up(
        client: &mut Client,
        count: usize,
        value_bytes: usize,
        check: Check,
    ) -> Result<Preload> {
        client.create_all(ROOT)?;
        let count = count as u64;
        for first in (0..count).step_by(PER_PARENT as usize) {
            client.create_all(&parent(first))?;
        }
        Ok(Preload { check, count, next: 0, value_bytes })
    }
}

fn parent(number: u64) -> String {
    format!("{ROOT}/{:04}", number / PER_PARENT)
}

/// The path of a znode.
#[must_use]
pub fn path(number: u64) -> String {
    wire::path(&format!("{}/", parent(number)), number)
}

impl Load for Preload {
    fn request(&mut self, _conn: usize, xid: i32, out: &mut Vec<u8>) -> Option<u64> {
        let first = self.next;
        let end = (first + BATCH).min(self.count);
        if first == end {
            return None;
        }
        self.next = end;
        let data = wire::data(self.value_bytes, 0, 0);
        let path = path(first);
        let request = client::create(&path, &data, CreateMode::Persistent);
        let create = Template::new(&request, true).body();
        put_frame(out, |out| {
            RequestHeader { xid, op: OpCode::Multi.code() }.write(out);
            for number in first..end {
                MultiHeader { op: OpCode::Create.code(), done: false, err: -1 }.write(out);
                create.append_body(out, number, 0);
            }
            MultiHeader::END.write(out);
        });
        Some(first)
    }

    fn answer(&mut self, _conn: usize, first: u64, body: &[u8]) -> Result<Class, Wrong> {
        let results = MultiResponse::read(&mut Reader::new(body))?.results;
        let want = BATCH.min(self.count - first);
        if results.len() as u64 != want {
            return Err(Wrong::MultiResult { index: results.len() });
        }
        for (index, result) in results.iter().enumerate() {
            let MultiResult::Create(path) = result else {
                return Err(Wrong::MultiResult { index });
            };
            let number = first + index as u64;
            if self.check == Check::Content && wire::number_of(path) != number {
                return Err(Wrong::Path { got: path.to_string(), number });
            }
        }
        Ok(Class::Write)
    }
}

/// Checks that all `count` znodes are there, and that a sample of them holds its data.
pub fn verify(client: &mut Client, count: usize, value_bytes: usize) -> Result<()> {
    let count = count as u64;
    let want = count + count.div_ceil(PER_PARENT);
    let got = client.descendants(ROOT)?;
    if got != want {
        return Err(Error::wrong(Wrong::Count { path: ROOT.to_owned(), got, want }));
    }
    let mut random = Random(0x5eed);
    for _ in 0..SAMPLES {
        let number = random.below(count);
        if client.get(&path(number))? != wire::data(value_bytes, number, 0) {
            return Err(Error::wrong(Wrong::Data { node: number }));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;
    use zk_proto::request::{MultiOp, Request};

    #[test]
    fn every_znode_is_created_once_below_its_parent() {
        let mut load = Preload { check: Check::Content, count: 1600, next: 0, value_bytes: 16 };
        let mut paths = BTreeSet::new();
        let mut out = Vec::new();
        while load.request(0, 1, &mut out).is_some() {
            let request = Request::read(OpCode::Multi, &mut Reader::new(&out[12..]));
            let Ok(Some(Request::Multi(multi))) = request else { panic!("not a multi") };
            for op in multi.ops {
                let MultiOp::Create(create) = op else { panic!("not a create") };
                assert!(paths.insert(create.path.into_owned()));
            }
            out.clear();
        }
        assert_eq!(paths, (0..1600).map(path).collect());
        assert_eq!(path(1234), "/preload/0001/0001234");
    }
}
