//! Writes that yield every kind of transaction a standalone server can have.

use std::net::SocketAddr;
use std::thread;
use std::time::{Duration, Instant};

use zk_proto::acl::{AclBytes, encode};
use zk_proto::connect::ConnectResponse;
use zk_proto::request::{
    Create, CreateMode, MultiOp, MultiRequest, Request, SetAclRequest, SetDataRequest,
    VersionedPath,
};
use zk_proto::{Acl, OpCode, Perms, path};
use zk_testkit::{Client, Error, PATIENCE};

use crate::picture::{CONTAINER, TTL, TTL_MS};

/// Longer than any test, so that a session outlives servers that are down.
pub(crate) const TIMEOUT_MS: i32 = 120_000;
/// What the log must show afterwards, as [`crate::tools::kinds`] names it.
pub(crate) const KINDS: [&str; 18] = [
    "closeSession",
    "create",
    "create2",
    "createContainer",
    "createSession",
    "createTTL",
    "delete",
    "deleteContainer",
    "error",
    "multi",
    "multi, failed",
    "multi.check",
    "multi.create",
    "multi.delete",
    "multi.error",
    "multi.setData",
    "setACL",
    "setData",
];
/// More than one block of every compression.
const LONG_DATA: usize = 100_000;

/// A person's work below one znode, and the sessions that are still open when it is done.
pub(crate) struct Workload<'a> {
    addr: SocketAddr,
    client: &'a mut Client,
    base: String,
}

impl Workload<'_> {
    /// Does everything below the new znode `base`; the sessions that stay have ephemerals there.
    /// Their connections come with them.
    pub(crate) fn run(
        addr: SocketAddr,
        client: &mut Client,
        base: &str,
    ) -> Result<Vec<Client>, Error> {
        let mut work = Workload { addr, client, base: base.to_owned() };
        work.make(OpCode::Create, "", CreateMode::Persistent, AclBytes::OPEN)?;
        work.znodes()?;
        work.acls()?;
        work.multis()?;
        work.quotas()?;
        work.refusals()?;
        work.reaped()?;
        work.sessions()
    }

    fn path(&self, name: &str) -> String {
        if name.is_empty() { self.base.clone() } else { format!("{}/{name}", self.base) }
    }

    fn call(&mut self, request: &Request<'_>) -> Result<i32, Error> {
        self.client.call(request).map(|reply| reply.err)
    }

    fn make(
        &mut self,
        op: OpCode,
        name: &str,
        mode: CreateMode,
        acl: AclBytes<'_>,
    ) -> Result<(), Error> {
        let path = self.path(name);
        let ttl_ms = if name.contains(TTL) { TTL_MS } else { 1 };
        let flags = mode.flags();
        let create =
            Create { op, path: path.as_str().into(), data: Some(b"made"), acl, flags, ttl_ms };
        assert_eq!(self.call(&Request::Create(create))?, 0, "{op} {path}");
        Ok(())
    }

    fn plain(&mut self, op: OpCode, name: &str, mode: CreateMode) -> Result<(), Error> {
        self.make(op, name, mode, AclBytes::OPEN)
    }

    fn znodes(&mut self) -> Result<(), Error> {
        use CreateMode::{Container, Persistent, PersistentSequential, PersistentWithTtl};
        for (op, name, mode) in [
            (OpCode::Create, "a", Persistent),
            (OpCode::Create2, "b", Persistent),
            (OpCode::Create2, "\u{fc}mlaut \u{4e2d}", Persistent),
            (OpCode::Create, "s-", PersistentSequential),
            (OpCode::Create2, "s-", PersistentSequential),
            (OpCode::CreateContainer, &format!("{CONTAINER}-used"), Container),
            (OpCode::Create2, &format!("{CONTAINER}-used/child"), Persistent),
            (OpCode::CreateContainer, &format!("{CONTAINER}-unused"), Container),
            (OpCode::CreateTtl, TTL, PersistentWithTtl),
            (OpCode::CreateTtl, &format!("{TTL}-"), CreateMode::PersistentSequentialWithTtl),
        ] {
            self.plain(op, name, mode)?;
        }
        let long = (0..LONG_DATA).map(|i| ((i * i) >> 5) as u8).collect::<Vec<_>>();
        for (name, data) in [("a", &long[..]), ("b", b""), ("a", &long[1..])] {
            self.client.set_data(&self.path(name), data, -1)?;
        }
        let null =
            SetDataRequest { path: self.path("s-0000000003").into(), data: None, version: 0 };
        assert_eq!(self.call(&Request::SetData(null))?, 0);
        self.client.delete(&self.path("s-0000000004"), 0)?;
        Ok(())
    }

    fn acls(&mut self) -> Result<(), Error> {
        let mixed = encode(&[
            Acl::new(Perms::ALL, "digest", "bob:hash="),
            Acl::new(Perms::READ, "ip", "10.0.0.0/8"),
            Acl::new(Perms::READ, "world", "anyone"),
        ]);
        let mixed = AclBytes::parse(&mixed)?;
        self.make(OpCode::Create2, "guarded", CreateMode::Persistent, mixed)?;
        self.make(OpCode::Create, "read-only", CreateMode::Persistent, AclBytes::READ_ONLY)?;
        for (name, acl) in [("a", mixed), ("read-only", AclBytes::OPEN)] {
            let path = self.path(name);
            let set = SetAclRequest { path: path.into(), acl, version: 0 };
            assert_eq!(self.call(&Request::SetAcl(set))?, 0);
        }
        Ok(())
    }

    /// One that succeeds, with a check in it, and two that fail: in their first and last part.
    fn multis(&mut self) -> Result<(), Error> {
        let [a, b, made, gone] = ["a", "b", "made", "gone"].map(|name| self.path(name));
        let create = |path: &'_ str| {
            let (op, acl, data) = (OpCode::Create, AclBytes::OPEN, Some(&b"multi"[..]));
            let path = path.to_owned().into();
            MultiOp::Create(Create { op, path, data, acl, flags: 0, ttl_ms: 0 })
        };
        let at = |path: &str, version| VersionedPath { path: path.to_owned().into(), version };
        let data = SetDataRequest { path: b.into(), data: Some(b"multi"), version: -1 };
        let good = vec![
            MultiOp::Check(at(&a, 2)),
            create(&made),
            create(&gone),
            MultiOp::SetData(data.clone()),
            MultiOp::Delete(at(&gone, 0)),
        ];
        let late = vec![create(&gone), MultiOp::SetData(data), MultiOp::Check(at(&a, 77))];
        let early = vec![MultiOp::Delete(at(&gone, -1)), create(&gone)];
        for ops in [good, late, early] {
            self.call(&Request::Multi(MultiRequest { ops }))?;
        }
        self.client.exists(&made)?;
        assert!(matches!(self.client.exists(&gone), Err(Error::Refused(-101))));
        Ok(())
    }

    /// One of each kind, with something in it that counts; setquota makes the same znodes.
    fn quotas(&mut self) -> Result<(), Error> {
        let persistent = CreateMode::Persistent;
        self.client.create(&format!("{}{}", path::QUOTA, self.base), b"", persistent)?;
        for (name, limits) in QUOTAS {
            let place = self.path(name);
            let quota = format!("{}{place}", path::QUOTA);
            self.client.create(&place, b"", persistent)?;
            self.client.create(&quota, b"", persistent)?;
            for (name, data) in
                [(path::QUOTA_LIMITS, limits), (path::QUOTA_STATS, "count=1,bytes=0")]
            {
                self.client.create(&format!("{quota}/{name}"), data.as_bytes(), persistent)?;
            }
            self.client.create(&format!("{place}/a"), b"12345", persistent)?;
            self.client.create(&format!("{place}/gone"), b"12345", persistent)?;
            self.client.set_data(&format!("{place}/a"), b"1234567", -1)?;
            self.client.delete(&format!("{place}/gone"), -1)?;
        }
        see_quotas(self.client, &self.base)
    }

    /// Each takes a zxid.
    fn refusals(&mut self) -> Result<(), Error> {
        let [there, not_there] = ["a", "not-there"].map(|name| self.path(name));
        let refused = [
            self.client.create(&there, b"", CreateMode::Persistent).map(drop),
            self.client.delete(&not_there, -1).map(drop),
            self.client.set_data(&there, b"", 77).map(drop),
        ];
        for (result, wanted) in refused.into_iter().zip([-110, -101, -103]) {
            assert!(matches!(result, Err(Error::Refused(code)) if code == wanted), "{result:?}");
        }
        Ok(())
    }

    /// A container whose last child is gone and a TTL znode whose time is over: the server deletes
    /// both.
    fn reaped(&mut self) -> Result<(), Error> {
        self.plain(OpCode::CreateContainer, "emptied", CreateMode::Container)?;
        self.plain(OpCode::Create, "emptied/child", CreateMode::Persistent)?;
        self.plain(OpCode::CreateTtl, "short", CreateMode::PersistentWithTtl)?;
        self.client.delete(&self.path("emptied/child"), -1)?;
        let deadline = Instant::now() + PATIENCE;
        for path in ["emptied", "short"].map(|name| self.path(name)) {
            while self.client.exists(&path).is_ok() {
                assert!(Instant::now() < deadline, "{path} is not reaped");
                thread::sleep(Duration::from_millis(20));
            }
        }
        Ok(())
    }

    /// One session ends and takes its ephemerals with it, two stay.
    fn sessions(&mut self) -> Result<Vec<Client>, Error> {
        let mut open = Vec::new();
        for (less_ms, name) in [(0, "ends"), (0, "stays"), (5000, "stays-too")] {
            let mut client = Client::connect(self.addr, TIMEOUT_MS - less_ms)?;
            client.create(&self.path(name), b"", CreateMode::Ephemeral)?;
            client.create(&self.path("e-"), name.as_bytes(), CreateMode::EphemeralSequential)?;
            open.push(client);
        }
        // It counts as long as it is there.
        open[0].create(&self.path("all-four/ends"), b"12345", CreateMode::Ephemeral)?;
        open.swap_remove(0).close()?;
        Ok(open)
    }
}

/// Places below a base, and their quotas.
const QUOTAS: [(&str, &str); 5] = [
    ("soft-count", "count=1,bytes=-1"),
    ("soft-bytes", "count=-1,bytes=3"),
    ("hard-count", "count=-1,bytes=-1=;byteHardLimit=-1;countHardLimit=3"),
    ("hard-bytes", "count=-1,bytes=-1=;byteHardLimit=12;countHardLimit=-1"),
    ("all-four", "count=1,bytes=3=;byteHardLimit=12;countHardLimit=3"),
];

/// What is in the quotas' places is counted, and the hard ones refuse what goes beyond them.
pub(crate) fn see_quotas(client: &mut Client, base: &str) -> Result<(), Error> {
    for (name, limits) in QUOTAS {
        let place = format!("{base}/{name}");
        let used = client.get_data(&format!("{}{place}/{}", path::QUOTA, path::QUOTA_STATS))?.0;
        assert_eq!(used.as_deref(), Some(&b"count=2,bytes=7"[..]), "{place}");
        let mut create = |names: &[&str], data: &[u8]| -> Result<Option<i32>, Error> {
            let mut made = Vec::new();
            let mut code = None;
            for name in names {
                let path = format!("{place}/{name}");
                match client.create(&path, data, CreateMode::Persistent) {
                    Ok(_) => made.push(path),
                    Err(Error::Refused(refused)) => code = Some(refused),
                    Err(error) => return Err(error),
                }
            }
            for path in made {
                client.delete(&path, -1)?;
            }
            Ok(code)
        };
        let refused = |is_hard: bool| is_hard.then_some(QUOTA_EXCEEDED);
        let [count, bytes] = ["countHardLimit=3", "byteHardLimit=12"].map(|l| limits.contains(l));
        assert_eq!(create(&["b", "c"], b"")?, refused(count), "{place}");
        assert_eq!(create(&["b"], b"123456")?, refused(bytes), "{place}");
    }
    Ok(())
}

const QUOTA_EXCEEDED: i32 = -125;

/// How a session goes on elsewhere.
pub(crate) fn sessions(clients: &[Client]) -> Vec<ConnectResponse> {
    clients.iter().map(|client| client.session().clone()).collect()
}
