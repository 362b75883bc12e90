//! getData and setData on a fixed set of znodes.
//!
//! Every znode is written by one connection only, so the version and the data that an answer must
//! carry are known: a write lost, doubled or reordered is seen at once.

use zk_proto::request::{CreateMode, Request, SetDataRequest};
use zk_proto::response::{GetDataResponse, StatResponse};
use zk_proto::{Jute, Reader};

use crate::client::{self, Client};
use crate::drive::{Class, Load};
use crate::error::{Error, Result, Wrong};
use crate::loads::Check;
use crate::wire::{self, Random, STAMP, Template};

/// Znodes of a load; more than any processor cache of Apache's response cache (400) holds.
const ZNODES: usize = 1000;
/// Creates in one batch of the set-up.
const BATCH: usize = 250;

/// The load.
pub struct Keyed {
    check: Check,
    conns: u64,
    /// How many times each znode was written, so far as requests have left.
    written: Vec<u32>,
    read_percent: u64,
    get: Template,
    set: Template,
    data: Vec<u8>,
    random: Random,
}

impl Keyed {
    /// Creates its znodes below `root`, for `conns` connections.
    pub fn set_up(
        client: &mut Client,
        root: &str,
        conns: usize,
        read_percent: u8,
        value_bytes: usize,
        check: Check,
    ) -> Result<Keyed> {
        let znodes = ZNODES.next_multiple_of(conns);
        create_znodes(client, root, znodes, value_bytes)?;
        let path = wire::path(&format!("{root}/n"), 0);
        let data = wire::data(value_bytes, 0, 0);
        Ok(Keyed {
            check,
            conns: conns as u64,
            written: vec![0; znodes],
            read_percent: read_percent.into(),
            get: Template::new(&client::get(&path, false), false),
            set: Template::new(&set(&path, &data), true),
            data,
            random: Random(0x5eed),
        })
    }

    fn check_get(&self, conn: usize, tag: Tag, body: &[u8]) -> Result<(), Wrong> {
        let response = GetDataResponse::read(&mut Reader::new(body))?;
        if self.check == Check::Framing {
            return Ok(());
        }
        let node = tag.node();
        let data = response.data.unwrap_or_default();
        let Some((number, generation)) = wire::read_stamp(data) else {
            return Err(Wrong::Data { node });
        };
        if number != node || data[STAMP..] != self.data[STAMP..] {
            return Err(Wrong::Data { node });
        }
        // A session reads its own writes, and exactly those that it sent before; of another's
        // writes it may see any that was sent.
        let (least, most) = if self.owner(node) == conn {
            (tag.generation(), tag.generation())
        } else {
            (0, self.written[node as usize])
        };
        let version = response.stat.version;
        let fits = i64::from(version) == generation as i64
            && (i64::from(least)..=i64::from(most)).contains(&i64::from(version));
        if fits {
            Ok(())
        } else {
            Err(Wrong::Version { node, got: version.into(), want: least.into() })
        }
    }

    fn owner(&self, node: u64) -> usize {
        (node % self.conns) as usize
    }
}

/// What is remembered of a request: the znode, its generation, whether it was a write.
#[derive(Clone, Copy)]
struct Tag(u64);

impl Tag {
    const WRITE: u64 = 1 << 63;

    fn node(self) -> u64 {
        (self.0 & !Tag::WRITE) >> 32
    }

    fn generation(self) -> u32 {
        self.0 as u32
    }
}

impl Load for Keyed {
    fn request(&mut self, conn: usize, xid: i32, out: &mut Vec<u8>) -> Option<u64> {
        let znodes = self.written.len() as u64;
        if self.random.below(100) < self.read_percent {
            let node = self.random.below(znodes);
            self.get.append(out, xid, node, 0);
            Some(node << 32 | u64::from(self.written[node as usize]))
        } else {
            let node = conn as u64 + self.conns * self.random.below(znodes / self.conns);
            self.written[node as usize] += 1;
            let generation = self.written[node as usize];
            self.set.append(out, xid, node, generation.into());
            Some(Tag::WRITE | node << 32 | u64::from(generation))
        }
    }

    fn answer(&mut self, conn: usize, tag: u64, body: &[u8]) -> Result<Class, Wrong> {
        let is_write = tag & Tag::WRITE != 0;
        let tag = Tag(tag);
        if !is_write {
            return self.check_get(conn, tag, body).map(|()| Class::Read);
        }
        let version = StatResponse::read(&mut Reader::new(body))?.stat.version;
        let want = tag.generation();
        if self.check == Check::Content && version as u32 != want {
            let (node, got) = (tag.node(), version.into());
            return Err(Wrong::Version { node, got, want: want.into() });
        }
        Ok(Class::Write)
    }
}

/// A setData of any version.
pub fn set<'a>(path: &'a str, data: &'a [u8]) -> Request<'a> {
    Request::SetData(SetDataRequest { path: path.into(), data: Some(data), version: -1 })
}

/// Creates `{root}/n0000000` and so on, each with its stamp of generation 0.
pub fn create_znodes(client: &mut Client, root: &str, count: usize, bytes: usize) -> Result<()> {
    client.create_all(root)?;
    let znodes: Vec<(String, Vec<u8>)> = (0..count)
        .map(|i| i as u64)
        .map(|i| (wire::path(&format!("{root}/n"), i), wire::data(bytes, i, 0)))
        .collect();
    for batch in znodes.chunks(BATCH) {
        let requests: Vec<Request<'_>> = batch
            .iter()
            .map(|(path, data)| client::create(path, data, CreateMode::Persistent))
            .collect();
        for answer in client.pipeline(&requests)? {
            answer.map_err(|code| Error::wrong(Wrong::Code(code)))?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use zk_proto::Stat;

    fn load(read_percent: u8) -> Keyed {
        let data = wire::data(40, 0, 0);
        Keyed {
            check: Check::Content,
            conns: 2,
            written: vec![0; 4],
            read_percent: read_percent.into(),
            get: Template::new(&client::get("/n0000000", false), false),
            set: Template::new(&set("/n0000000", &data), true),
            data,
            random: Random(3),
        }
    }

    fn data_answer(node: u64, generation: u64, version: i32) -> Vec<u8> {
        let data = wire::data(40, node, generation);
        let stat = Stat { version, ..Stat::default() };
        GetDataResponse { data: Some(&data), stat }.to_bytes()
    }

    #[test]
    fn connections_write_only_their_own_znodes_and_count_every_write() {
        let mut load = load(0);
        for _ in 0..50 {
            for conn in 0..2 {
                let before = load.written.clone();
                let tag = Tag(load.request(conn, 1, &mut Vec::new()).unwrap());
                assert_eq!(load.owner(tag.node()), conn);
                assert_eq!(tag.generation(), before[tag.node() as usize] + 1);
            }
        }
    }

    #[test]
    fn a_read_must_see_exactly_its_session_s_own_writes() {
        let mut load = load(100);
        load.written = vec![5; 4];
        let tag = |node: u64, generation: u64| node << 32 | generation;
        let own = tag(2, 5);
        assert_eq!(load.answer(0, own, &data_answer(2, 5, 5)), Ok(Class::Read));
        let stale = Wrong::Version { node: 2, got: 4, want: 5 };
        assert_eq!(load.answer(0, own, &data_answer(2, 4, 4)), Err(stale));
        // Another's writes may be seen late, but none that was never sent.
        assert_eq!(load.answer(1, own, &data_answer(2, 4, 4)), Ok(Class::Read));
        let doubled = Wrong::Version { node: 2, got: 6, want: 0 };
        assert_eq!(load.answer(1, own, &data_answer(2, 6, 6)), Err(doubled));
        let torn = Wrong::Version { node: 2, got: 3, want: 0 };
        assert_eq!(load.answer(1, own, &data_answer(2, 4, 3)), Err(torn));
        let foreign = Wrong::Data { node: 2 };
        assert_eq!(load.answer(0, own, &data_answer(3, 5, 5)), Err(foreign));
        let mut cut = wire::data(39, 2, 5);
        let stat = Stat { version: 5, ..Stat::default() };
        let answer = |data: &[u8]| GetDataResponse { data: Some(data), stat }.to_bytes();
        assert_eq!(load.answer(0, own, &answer(&cut)), Err(Wrong::Data { node: 2 }));
        cut.push(0);
        assert_eq!(load.answer(0, own, &answer(&cut)), Err(Wrong::Data { node: 2 }));
    }

    #[test]
    fn a_write_s_version_says_that_it_was_applied_once() {
        let mut load = load(0);
        let tag = load.request(0, 1, &mut Vec::new()).unwrap();
        let answer =
            |version| StatResponse { stat: Stat { version, ..Stat::default() } }.to_bytes();
        assert_eq!(load.answer(0, tag, &answer(1)), Ok(Class::Write));
        assert!(matches!(load.answer(0, tag, &answer(2)), Err(Wrong::Version { .. })));
    }
}
