//! A disk that takes its time: who has to wait for the log is woken when it has caught up.

use std::io;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use parking_lot::{Condvar, Mutex};
use zk_proto::acl::AclBytes;
use zk_proto::jute::put_frame;
use zk_proto::request::{
    Create, CreateMode, MultiRequest, PathRequest, Request, RequestHeader, SetDataRequest,
};
use zk_proto::{Jute, OpCode};
use zk_store::disk::{Access, DirEntry, Disk, DiskFile};
use zk_store::sim::SimDisk;

use crate::client::{Client, create, get, open};
use crate::member::Member;
use crate::metrics::figure;
use crate::wait_until;

/// A disk whose syncs wait while it is held.
#[derive(Clone, Debug)]
pub(crate) struct Brake(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    disk: SimDisk,
    state: Mutex<State>,
    released: Condvar,
}

#[derive(Debug, Default)]
struct State {
    is_held: bool,
    /// The thread of the last sync.
    synced_by: String,
}

impl Brake {
    pub(crate) fn new() -> Brake {
        let (disk, state) = (SimDisk::new(4096), Mutex::default());
        Brake(Arc::new(Inner { disk, state, released: Condvar::new() }))
    }

    pub(crate) fn hold(&self, is_held: bool) {
        self.0.state.lock().is_held = is_held;
        self.0.released.notify_all();
    }

    /// The name of the thread whose sync was the last one, or is held now.
    pub(crate) fn synced_by(&self) -> String {
        self.0.state.lock().synced_by.clone()
    }
}

/// Lets go, however the test ends.
pub(crate) struct Held<'a>(pub(crate) &'a Brake);

impl Drop for Held<'_> {
    fn drop(&mut self) {
        self.0.hold(false);
    }
}

impl Disk for Brake {
    fn open(&self, path: &Path, access: Access) -> io::Result<Box<dyn DiskFile>> {
        let file = self.0.disk.open(path, access)?;
        Ok(Box::new(File { file, brake: self.clone() }))
    }
    fn list(&self, dir: &Path) -> io::Result<Vec<DirEntry>> {
        self.0.disk.list(dir)
    }
    fn create_dir_all(&self, dir: &Path) -> io::Result<()> {
        self.0.disk.create_dir_all(dir)
    }
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.0.disk.rename(from, to)
    }
    fn remove(&self, path: &Path) -> io::Result<()> {
        self.0.disk.remove(path)
    }
    fn sync_dir(&self, dir: &Path) -> io::Result<()> {
        self.0.disk.sync_dir(dir)
    }
    fn lock(&self, path: &Path) -> io::Result<Box<dyn DiskFile>> {
        self.0.disk.lock(path)
    }
}

#[derive(Debug)]
struct File {
    file: Box<dyn DiskFile>,
    brake: Brake,
}

impl DiskFile for File {
    fn len(&self) -> io::Result<u64> {
        self.file.len()
    }
    fn read_at(&self, buf: &mut [u8], offset: u64) -> io::Result<usize> {
        self.file.read_at(buf, offset)
    }
    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        self.file.write_at(bytes, offset)
    }
    fn set_len(&self, len: u64) -> io::Result<()> {
        self.file.set_len(len)
    }
    fn sync_data(&self) -> io::Result<()> {
        let mut state = self.brake.0.state.lock();
        state.synced_by = std::thread::current().name().unwrap_or_default().to_owned();
        while state.is_held {
            self.brake.0.released.wait(&mut state);
        }
        drop(state);
        self.file.sync_data()
    }
}

const CONNECTIONS: usize = 64;
const OUTSTANDING: usize = 32;

fn set(data: &[u8]) -> Request<'_> {
    Request::SetData(SetDataRequest { path: "/w".into(), data: Some(data), version: -1 })
}

fn outstanding(member: &Member) -> usize {
    figure(member, "outstanding_requests").parse().unwrap()
}

#[test]
fn requests_that_wait_for_the_log_are_all_answered() {
    let disk = Brake::new();
    let member = Member::start_on(disk.clone(), "");
    let mut clients: Vec<Client> = (0..CONNECTIONS).map(|_| member.client()).collect();
    assert_eq!(clients[0].create("/w", b"").unwrap(), 0);
    let value = vec![7; 4096];
    for _ in 0..3 {
        disk.hold(true);
        let _held = Held(&disk);
        for client in &mut clients {
            for _ in 0..OUTSTANDING {
                client.send(&set(&value)).unwrap();
            }
        }
        // 2 MiB wait for the disk, in about 500 transactions, and at most as much is posted behind
        // them; the other half of the requests is not taken before it has caught up.
        wait_until("the log has enough", || outstanding(&member) > 450);
        let taken = outstanding(&member);
        assert!(taken < CONNECTIONS * OUTSTANDING, "{taken} requests are taken, none waits");
        disk.hold(false);
        for (number, client) in clients.iter_mut().enumerate() {
            for _ in 0..OUTSTANDING {
                let reply = client.reply();
                let reply = reply.unwrap_or_else(|e| panic!("connection {number}: {e}"));
                assert_eq!(reply.err, 0);
            }
        }
    }
}

/// What was taken before a stop began, closeSession above all, is not lost because the log is
/// behind.
#[test]
fn last_words_outlive_a_stop() {
    let disk = Brake::new();
    let member = Member::start_on(disk.clone(), "");
    let [mut writer, mut poster] = [member.client(), member.client()];
    assert_eq!(writer.create("/w", b"").unwrap(), 0);
    let mut leaver = Client::handshake(open(member.addr()), 20_000).unwrap();
    let Request::Create(plain) = create("/e", b"", AclBytes::OPEN) else { return };
    let ephemeral = Create { flags: CreateMode::Ephemeral.flags(), ..plain };
    assert_eq!(leaver.call(&Request::Create(ephemeral)).unwrap().err, 0);
    disk.hold(true);
    let held = Held(&disk);
    // More than the log wants to have waiting.
    let value = vec![7; 512 << 10];
    for count in 1..=4 {
        writer.send(&set(&value)).unwrap();
        wait_until("it is under way", || outstanding(&member) == count);
    }
    // Many at once are posted, and what comes behind them is.
    let mut frames = Vec::new();
    for xid in 1..=8 {
        put_frame(&mut frames, |out| {
            RequestHeader { xid, op: OpCode::SetData.code() }.write(out);
            set(b"").write(out);
        });
    }
    poster.send_bytes(&frames).unwrap();
    wait_until("they are posted", || outstanding(&member) == 12);
    leaver.send(&Request::CloseSession).unwrap();
    wait_until("it is posted", || outstanding(&member) == 13);
    let dir = std::thread::scope(|scope| {
        let stopping = scope.spawn(|| member.stop());
        assert!(leaver.ends() && writer.ends());
        drop(held);
        stopping.join().unwrap()
    });
    let again = Member::start_on_in(disk, dir, "");
    assert_eq!(again.client().get("/e"), Err(NO_NODE));
}

const NO_NODE: i32 = -101;

#[test]
fn no_more_requests_are_under_way_than_the_throttle_lets_through() {
    let disk = Brake::new();
    let member = Member::start_on(disk.clone(), "request_throttle_max_requests=100\n");
    let mut clients: Vec<Client> = (0..8).map(|_| member.client()).collect();
    assert_eq!(clients[0].create("/w", b"").unwrap(), 0);
    disk.hold(true);
    let _held = Held(&disk);
    for client in &mut clients {
        for _ in 0..OUTSTANDING {
            client.send(&set(b"1")).unwrap();
        }
    }
    let waits = |member: &Member| !member.word("mntr").contains("request_throttle_wait_count\t0\n");
    wait_until("somebody has to wait", || waits(&member));
    assert_eq!(outstanding(&member), 100);
    disk.hold(false);
    for client in &mut clients {
        for _ in 0..OUTSTANDING {
            assert_eq!(client.reply().unwrap().err, 0);
        }
    }
}

#[test]
fn nobody_expires_for_what_the_server_does_not_read() {
    let disk = Brake::new();
    // One of them waits for the throttle, the other has as much under way as may be.
    let member = Member::start_on(disk.clone(), "request_throttle_max_requests=4200\n");
    let mut clients = [0; 2].map(|_| Client::handshake(open(member.addr()), 1_000).unwrap());
    assert_eq!(clients[0].create("/w", b"").unwrap(), 0);
    disk.hold(true);
    let _held = Held(&disk);
    const MANY: usize = 4200;
    for client in &mut clients {
        for _ in 0..MANY {
            client.send(&set(b"1")).unwrap();
        }
    }
    wait_until("as much is taken as may be", || outstanding(&member) == MANY);
    // Longer than their sessions live without a sign.
    std::thread::sleep(Duration::from_millis(2_500));
    disk.hold(false);
    for client in &mut clients {
        for _ in 0..MANY {
            assert_eq!(client.reply().unwrap().err, 0);
        }
    }
}

#[test]
fn new_sessions_wait_for_the_log_too() {
    let disk = Brake::new();
    let member = Member::start_on(disk.clone(), "");
    let mut clients: Vec<Client> = (0..CONNECTIONS).map(|_| member.client()).collect();
    assert_eq!(clients[0].create("/w", b"").unwrap(), 0);
    let value = vec![7; 1024];
    disk.hold(true);
    let _held = Held(&disk);
    for client in &mut clients {
        for _ in 0..2 * OUTSTANDING {
            client.send(&set(&value)).unwrap();
        }
    }
    wait_until("the log has enough", || outstanding(&member) > 1500);
    let is_in = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let mut client = member.client();
            is_in.store(true, Ordering::Relaxed);
            client.get("/w").unwrap();
        });
        wait_until("the newcomer is there", || member.connections() > CONNECTIONS);
        assert!(!is_in.load(Ordering::Relaxed));
        disk.hold(false);
    });
    assert!(is_in.load(Ordering::Relaxed));
}

/// Reads of a connection that writes nothing stand behind nobody's write, however many come at
/// once.
#[test]
fn many_reads_at_once_do_not_wait_for_the_disk() {
    const READS: usize = 2_000;
    let disk = Brake::new();
    let member = Member::start_on(disk.clone(), "");
    let [mut writer, mut reader] = [member.client(), member.client()];
    assert_eq!(writer.create("/w", b"").unwrap(), 0);
    disk.hold(true);
    let held = Held(&disk);
    writer.send(&set(b"1")).unwrap();
    wait_until("it is under way", || outstanding(&member) == 1);
    for request in [
        get("/w", false),
        Request::GetAllChildrenNumber(PathRequest { path: "/".into() }),
        Request::MultiRead(MultiRequest { ops: Vec::new() }),
    ] {
        let mut frames = Vec::new();
        for xid in 1..=READS as i32 {
            put_frame(&mut frames, |out| {
                RequestHeader { xid, op: request.opcode().code() }.write(out);
                request.write(out);
            });
        }
        reader.send_bytes(&frames).unwrap();
        for xid in 1..=READS as i32 {
            let reply = reader.reply().unwrap();
            assert_eq!((reply.xid, reply.err), (xid, 0), "{:?}", request.opcode());
        }
    }
    assert_eq!(outstanding(&member), 1);
    drop(held);
    assert_eq!(writer.reply().unwrap().err, 0);
}

/// Its first read on the new connection must not be older than its last write on the old one.
#[test]
fn a_session_comes_back_when_what_it_has_written_is_on_the_disk() {
    let disk = Brake::new();
    let member = Member::start_on(disk.clone(), "");
    let mut old = member.client();
    disk.hold(true);
    let held = Held(&disk);
    old.send(&create("/late", b"", AclBytes::OPEN)).unwrap();
    wait_until("it is under way", || outstanding(&member) == 1);
    let session = (old.session.session_id, old.session.password);
    let addr = member.addr();
    std::thread::scope(|scope| {
        let comes = scope.spawn(move || Client::renew(addr, session));
        wait_until("it waits behind its write", || outstanding(&member) == 2);
        assert!(!comes.is_finished());
        drop(held);
        assert_eq!(comes.join().unwrap().get("/late"), Ok(Vec::new()));
    });
}
