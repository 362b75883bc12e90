//! Clients that go on writing while members come and go, each in a thread of its own, with one
//! write under way.
//!
//! Each writes its own znode, so that the version of every answer is known as far as it can be: it
//! counts every write that was acknowledged, and none that was never sent.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use zk_proto::request::CreateMode;
use zk_proto::response::StatResponse;
use zk_proto::{Jute, Reader};

use crate::client::{self, Client, Identity};
use crate::error::{Error, Result, Wrong};
use crate::loads::keyed::set;
use crate::run::Target;
use crate::spec::DEFAULT_VALUE_BYTES;
use crate::wire;

/// An answer that takes longer will not come: the member may be stopped. No load here is so heavy
/// that a healthy one needs as long.
const ANSWER_PATIENCE: Duration = Duration::from_secs(1);
/// After an attempt that failed: clients that do nothing but dial would keep members from electing.
const BETWEEN_ATTEMPTS: Duration = Duration::from_millis(2);
/// So many writes show that a client is back: more than a member without a leader could still
/// answer.
const BACK: usize = 20;
/// More than an election, and a session that finds its way.
const DEADLINE: Duration = Duration::from_secs(60);

/// The clients. Dropping them ends them.
pub struct Writers {
    stop: Arc<AtomicBool>,
    threads: Vec<JoinHandle<Result<Vec<Instant>>>>,
    /// How many writes of each were acknowledged.
    acknowledged: Vec<Arc<AtomicUsize>>,
}

/// One client.
struct Writer {
    addrs: Vec<SocketAddr>,
    /// The member that it is at, or tries next.
    member: usize,
    identity: Identity,
    conn: usize,
    path: String,
    /// Writes that left, answered or not.
    sent: i64,
    /// The version that the last answer told.
    version: i64,
}

impl Writers {
    /// Creates the znodes below `root` and lets `count` clients write, spread over the members.
    pub fn start(target: &Target, count: usize, root: &str) -> Result<Writers> {
        let mut client = target.client()?;
        client.create_all(root)?;
        let data = wire::data(DEFAULT_VALUE_BYTES, 0, 0);
        let stop = Arc::new(AtomicBool::new(false));
        let mut writers = Writers { stop, threads: Vec::new(), acknowledged: Vec::new() };
        for conn in 0..count {
            let path = format!("{root}/w{conn}");
            client.call(&client::create(&path, &data, CreateMode::Persistent))?;
            let writer = Writer {
                addrs: target.addrs.clone(),
                member: conn % target.addrs.len(),
                identity: Identity::NEW,
                conn,
                path,
                sent: 0,
                version: 0,
            };
            let acknowledged = Arc::new(AtomicUsize::new(0));
            let (stop, told) = (Arc::clone(&writers.stop), Arc::clone(&acknowledged));
            writers.threads.push(thread::spawn(move || writer.run(&stop, &told)));
            writers.acknowledged.push(acknowledged);
        }
        client.close()?;
        Ok(writers)
    }

    /// Waits until every client has written again and again.
    pub fn wait_for_all(&mut self) -> Result<()> {
        let count = |of: &Arc<AtomicUsize>| of.load(Ordering::Relaxed);
        let wanted: Vec<usize> = self.acknowledged.iter().map(|of| count(of) + BACK).collect();
        let begin = Instant::now();
        while self.acknowledged.iter().zip(&wanted).any(|(of, wanted)| count(of) < *wanted) {
            if let Some(ended) = self.threads.iter().position(JoinHandle::is_finished) {
                join(self.threads.swap_remove(ended))?;
            }
            if begin.elapsed() > DEADLINE {
                let what = "every client to write again".to_owned();
                return Err(Error::Timeout { what, seconds: DEADLINE.as_secs() });
            }
            thread::sleep(Duration::from_millis(1));
        }
        Ok(())
    }

    /// Ends all clients; when the writes of each were acknowledged.
    pub fn finish(mut self) -> Result<Vec<Vec<Instant>>> {
        self.stop.store(true, Ordering::Relaxed);
        self.threads.drain(..).map(join).collect()
    }
}

impl Drop for Writers {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        self.threads.drain(..).for_each(|thread| _ = thread.join());
    }
}

fn join(thread: JoinHandle<Result<Vec<Instant>>>) -> Result<Vec<Instant>> {
    thread.join().expect("what a server answers makes no writer panic")
}

impl Writer {
    fn run(mut self, stop: &AtomicBool, acknowledged: &AtomicUsize) -> Result<Vec<Instant>> {
        let mut client = None;
        let mut times = Vec::new();
        while !stop.load(Ordering::Relaxed) {
            let step = match client.take() {
                None => Client::resume(self.addrs[self.member], self.identity, ANSWER_PATIENCE),
                Some(client) => self.write(client).inspect(|_| {
                    times.push(Instant::now());
                    acknowledged.store(times.len(), Ordering::Relaxed);
                }),
            };
            match step {
                Ok(after) => {
                    self.identity = after.identity();
                    client = Some(after);
                }
                Err(error) if is_loss_of_connection(&error) => {
                    self.member = (self.member + 1) % self.addrs.len();
                    thread::sleep(BETWEEN_ATTEMPTS);
                }
                Err(error) => return Err(error),
            }
        }
        if let Some(client) = client {
            client.close()?;
        }
        Ok(times)
    }

    fn write(&mut self, mut client: Client) -> Result<Client> {
        self.sent += 1;
        let data = wire::data(DEFAULT_VALUE_BYTES, self.conn as u64, self.sent as u64);
        let body = client.call(&set(&self.path, &data))?;
        let stat = StatResponse::read(&mut Reader::new(&body)).map_err(Error::wrong)?.stat;
        let version = i64::from(stat.version);
        if version <= self.version || version > self.sent {
            let (node, want) = (self.conn as u64, self.version + 1);
            return Err(Error::wrong(Wrong::Version { node, got: version, want }));
        }
        self.version = version;
        Ok(client)
    }
}

/// The connection ended, or the member says nothing: both are what a client reconnects for. A
/// session that is gone is not.
fn is_loss_of_connection(error: &Error) -> bool {
    matches!(error, Error::Io { .. } | Error::Wrong { wrong: Wrong::FrameLength(_), .. })
}
