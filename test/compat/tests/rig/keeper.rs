//! A session that is kept alive, at whichever members there are: it must not expire.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use zk_testkit::{Client, Error};

pub(crate) const TIMEOUT: Duration = Duration::from_secs(10);
/// What a member answered it may have been unable to tell its leader: so long at most, its
/// `syncLimit` and what is under way.
const UNTOLD: Duration = Duration::from_secs(3);
const PATIENCE: Duration = Duration::from_millis(700);

/// One client that says nothing but that it is there.
#[derive(Debug)]
pub(crate) struct Keeper {
    addrs: Vec<SocketAddr>,
    at: usize,
    client: Client,
    /// When it last asked something that was answered.
    heard: Instant,
    /// How often its session ended with reason: nobody served it for too long.
    pub(crate) ended: usize,
}

fn connect(addr: SocketAddr, old: Option<&Client>) -> Result<Client, Error> {
    let seen = old.map_or(zk_proto::Zxid::ZERO, Client::seen);
    let asked = (TIMEOUT.as_millis() as i32, old.map(Client::session));
    let mut client = Client::impatient(addr, asked, seen, PATIENCE)?;
    // Before it has seen its own beginning, a leader that is none any more may deny it.
    client.ping()?;
    Ok(client)
}

impl Keeper {
    pub(crate) fn new(at: usize, addrs: Vec<SocketAddr>) -> Result<Keeper, Error> {
        let client = connect(addrs[at % addrs.len()], None)?;
        Ok(Keeper { addrs, at, client, heard: Instant::now(), ended: 0 })
    }

    /// Keeps the session until it is told to stop; what was wrong.
    pub(crate) fn keep(&mut self, stop: &AtomicBool) -> Vec<String> {
        let mut violations = Vec::new();
        while !stop.load(Ordering::Relaxed) {
            let asked = Instant::now();
            let answered = match self.client.ping() {
                Err(_) => self.go_on(),
                Ok(_) => Ok(()),
            };
            match answered {
                Ok(()) => self.heard = asked,
                Err(Error::Expired) => {
                    let silent = self.heard.elapsed();
                    if silent + UNTOLD < TIMEOUT {
                        let session = self.client.session().session_id;
                        violations.push(format!(
                            "S1: session {session} expired {silent:?} after it was heard, at {}",
                            self.addrs[self.at % self.addrs.len()]
                        ));
                    }
                    self.begin_again(stop);
                }
                Err(_) => {}
            }
            thread::sleep(Duration::from_millis(100));
        }
        violations
    }

    /// Moves the session to the next member.
    fn go_on(&mut self) -> Result<(), Error> {
        self.at += 1;
        self.client = connect(self.addrs[self.at % self.addrs.len()], Some(&self.client))?;
        Ok(())
    }

    fn begin_again(&mut self, stop: &AtomicBool) {
        self.ended += 1;
        while !stop.load(Ordering::Relaxed) {
            self.at += 1;
            if let Ok(client) = connect(self.addrs[self.at % self.addrs.len()], None) {
                self.client = client;
                self.heard = Instant::now();
                return;
            }
            thread::sleep(Duration::from_millis(100));
        }
    }
}
