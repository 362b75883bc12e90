//! Transactions of several setData.
//!
//! The znodes of a connection are cut into groups, and a multi always writes a whole group, so
//! one version is known to be right for all its results.

use zk_proto::jute::put_frame;
use zk_proto::request::{MultiHeader, RequestHeader};
use zk_proto::response::{MultiResponse, MultiResult};
use zk_proto::{Jute, OpCode, Reader};

use crate::client::Client;
use crate::drive::{Class, Load};
use crate::error::{Result, Wrong};
use crate::loads::Check;
use crate::loads::keyed::{create_znodes, set};
use crate::wire::{self, Random, Template};

/// Groups of each connection.
const GROUPS: u64 = 64;

/// The load.
pub struct Multi {
    check: Check,
    sets: u64,
    /// How many times each group was written.
    written: Vec<u32>,
    set: Template,
    random: Random,
}

impl Multi {
    /// Creates its znodes below `root`.
    pub fn set_up(
        client: &mut Client,
        root: &str,
        conns: usize,
        sets: usize,
        value_bytes: usize,
        check: Check,
    ) -> Result<Multi> {
        let groups = conns * GROUPS as usize;
        create_znodes(client, root, groups * sets, value_bytes)?;
        let path = wire::path(&format!("{root}/n"), 0);
        Ok(Multi {
            check,
            sets: sets as u64,
            written: vec![0; groups],
            set: Template::new(&set(&path, &wire::data(value_bytes, 0, 0)), true).body(),
            random: Random(0x5eed),
        })
    }
}

impl Load for Multi {
    fn request(&mut self, conn: usize, xid: i32, out: &mut Vec<u8>) -> Option<u64> {
        let group = conn as u64 * GROUPS + self.random.below(GROUPS);
        self.written[group as usize] += 1;
        let generation = self.written[group as usize];
        put_frame(out, |out| {
            RequestHeader { xid, op: OpCode::Multi.code() }.write(out);
            for node in group * self.sets..(group + 1) * self.sets {
                MultiHeader { op: OpCode::SetData.code(), done: false, err: -1 }.write(out);
                self.set.append_body(out, node, generation.into());
            }
            MultiHeader::END.write(out);
        });
        Some(group << 32 | u64::from(generation))
    }

    fn answer(&mut self, _conn: usize, tag: u64, body: &[u8]) -> Result<Class, Wrong> {
        let results = MultiResponse::read(&mut Reader::new(body))?.results;
        if results.len() as u64 != self.sets {
            return Err(Wrong::MultiResult { index: results.len() });
        }
        for (index, result) in results.iter().enumerate() {
            let MultiResult::SetData(stat) = result else {
                return Err(Wrong::MultiResult { index });
            };
            if self.check == Check::Content && stat.version as u32 != tag as u32 {
                let node = (tag >> 32) * self.sets + index as u64;
                let (got, want) = (stat.version.into(), (tag as u32).into());
                return Err(Wrong::Version { node, got, want });
            }
        }
        Ok(Class::Write)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use zk_proto::request::{MultiOp, Request};
    use zk_proto::{ErrorCode, Stat};

    fn load() -> Multi {
        let data = wire::data(16, 0, 0);
        Multi {
            check: Check::Content,
            sets: 3,
            written: vec![0; GROUPS as usize],
            set: Template::new(&set("/n0000000", &data), true).body(),
            random: Random(1),
        }
    }

    #[test]
    fn the_frame_is_a_multi_of_one_group() {
        let mut out = Vec::new();
        let group = load().request(0, 7, &mut out).unwrap() >> 32;
        let mut r = Reader::new(&out[12..]);
        let Ok(Some(Request::Multi(multi))) = Request::read(OpCode::Multi, &mut r) else {
            panic!("not a multi")
        };
        assert!(r.is_empty());
        let nodes: Vec<u64> = multi
            .ops
            .iter()
            .map(|op| match op {
                MultiOp::SetData(set) => wire::number_of(&set.path),
                _ => panic!("not a setData"),
            })
            .collect();
        assert_eq!(nodes, [group * 3, group * 3 + 1, group * 3 + 2]);
    }

    #[test]
    fn a_failed_or_short_multi_is_wrong() {
        let mut load = load();
        let answer = |results| MultiResponse { results }.to_bytes();
        let set = || MultiResult::SetData(Stat { version: 1, ..Stat::default() });
        assert_eq!(load.answer(0, 1, &answer(vec![set(), set(), set()])), Ok(Class::Write));
        let short = answer(vec![set(), set()]);
        assert_eq!(load.answer(0, 1, &short), Err(Wrong::MultiResult { index: 2 }));
        let failed = answer(vec![set(), MultiResult::Error(ErrorCode::NoNode.code()), set()]);
        assert_eq!(load.answer(0, 1, &failed), Err(Wrong::MultiResult { index: 1 }));
        let doubled = answer(vec![set(), set(), MultiResult::SetData(Stat::default())]);
        assert!(matches!(load.answer(0, 1, &doubled), Err(Wrong::Version { node: 2, .. })));
    }
}
