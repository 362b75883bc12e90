//! Creates of all kinds. Each connection has a parent of its own, so every name is known.

use zk_proto::request::{CreateMode, Request, VersionedPath};
use zk_proto::response::CreateResponse;
use zk_proto::{Jute, Reader};

use crate::client::{self, Client};
use crate::drive::{Class, Load};
use crate::error::{Result, Wrong};
use crate::loads::Check;
use crate::spec::Creates;
use crate::wire::{self, NUMBERS, Template};

/// A sequential create appends ten digits (client-protocol 5.2).
const SEQUENCE: u64 = 10_000_000_000;

/// In a tag: the request is a delete.
const DELETE: u64 = 1 << 63;

/// The load.
pub struct Creating {
    check: Check,
    creates: Creates,
    conns: Vec<Conn>,
}

struct Conn {
    create: Template,
    delete: Template,
    /// How many znodes it created.
    created: u64,
    /// The znode that the next request deletes.
    doomed: Option<u64>,
}

impl Creating {
    /// Creates the parents below `root`.
    pub fn set_up(
        client: &mut Client,
        root: &str,
        conns: usize,
        creates: Creates,
        value_bytes: usize,
        check: Check,
    ) -> Result<Creating> {
        let conns = (0..conns)
            .map(|conn| {
                let parent = format!("{root}/c{conn:03}");
                client.create_all(&parent)?;
                Ok(Conn::new(&parent, creates, value_bytes))
            })
            .collect::<Result<Vec<_>>>()?;
        Ok(Creating { check, creates, conns })
    }
}

impl Conn {
    fn new(parent: &str, creates: Creates, value_bytes: usize) -> Conn {
        let mode = match creates {
            Creates::Stay | Creates::Deleted => CreateMode::Persistent,
            Creates::Sequential => CreateMode::PersistentSequential,
            Creates::Ephemeral => CreateMode::Ephemeral,
        };
        let data = wire::data(value_bytes, 0, 0);
        let path = wire::path(&format!("{parent}/n"), 0);
        let delete = Request::Delete(VersionedPath { path: path.as_str().into(), version: -1 });
        Conn {
            create: Template::new(&client::create(&path, &data, mode), true),
            delete: Template::new(&delete, false),
            created: 0,
            doomed: None,
        }
    }
}

impl Load for Creating {
    fn request(&mut self, conn: usize, xid: i32, out: &mut Vec<u8>) -> Option<u64> {
        let conn = &mut self.conns[conn];
        if let Some(number) = conn.doomed.take() {
            conn.delete.append(out, xid, number, 0);
            return Some(DELETE | number);
        }
        let number = conn.created;
        if number == NUMBERS {
            return None;
        }
        conn.created += 1;
        conn.create.append(out, xid, number, 0);
        if matches!(self.creates, Creates::Deleted | Creates::Ephemeral) {
            conn.doomed = Some(number);
        }
        Some(number)
    }

    fn answer(&mut self, _conn: usize, tag: u64, body: &[u8]) -> Result<Class, Wrong> {
        if tag & DELETE != 0 {
            return Ok(Class::Write);
        }
        let path = CreateResponse::read(&mut Reader::new(body))?.path;
        let number = match self.creates {
            // The parent has no other children: its counter is the number too.
            Creates::Sequential => tag * SEQUENCE + tag,
            _ => tag,
        };
        if self.check == Check::Content && wire::number_of(&path) != number {
            return Err(Wrong::Path { got: path.into_owned(), number });
        }
        Ok(Class::Write)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn load(creates: Creates) -> Creating {
        let conns = vec![Conn::new("/p", creates, 16)];
        Creating { check: Check::Content, creates, conns }
    }

    fn created(path: &str) -> Vec<u8> {
        CreateResponse { path: path.into() }.to_bytes()
    }

    #[test]
    fn each_delete_follows_its_create() {
        let mut load = load(Creates::Deleted);
        let tags: Vec<u64> =
            (0..4).map(|xid| load.request(0, xid, &mut Vec::new()).unwrap()).collect();
        assert_eq!(tags, [0, DELETE, 1, DELETE | 1]);
    }

    #[test]
    fn sequential_names_must_count_without_gap() {
        let mut load = load(Creates::Sequential);
        assert_eq!(load.answer(0, 3, &created("/p/n00000030000000003")), Ok(Class::Write));
        let skipped = load.answer(0, 4, &created("/p/n00000040000000005"));
        assert!(matches!(skipped, Err(Wrong::Path { .. })), "{skipped:?}");
    }

    #[test]
    fn another_name_than_asked_for_is_wrong() {
        let mut load = load(Creates::Stay);
        assert_eq!(load.answer(0, 3, &created("/p/n0000003")), Ok(Class::Write));
        assert!(matches!(load.answer(0, 3, &created("/p/n0000004")), Err(Wrong::Path { .. })));
    }
}
