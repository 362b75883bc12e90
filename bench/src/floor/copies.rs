//! Copies of the floor server's log, on the same machine: what a write costs that a majority of
//! members must have on their disks.
//!
//! The leader sends each batch to all copies before it writes its own, and goes on when its own and
//! enough of theirs are durable: two processes more, a message there and one back. No ensemble that
//! stores anything can be faster.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command};

use rustix::event::{PollFd, PollFlags, poll};

use super::Log;
use crate::error::{Error, Result};

/// The copies of one leader. They end with it.
pub struct Copies {
    copies: Vec<Copy>,
    /// How many of them a majority needs beside the leader.
    needed: usize,
    batches: u64,
}

struct Copy {
    stream: TcpStream,
    child: Child,
    /// How many batches it has.
    has: u64,
}

impl Copies {
    /// Starts `count` copies, as children of this process; their logs are made beside `file`.
    pub fn start(count: usize, file: &Path) -> Result<Copies> {
        let doing = || Error::io("start a copy of the floor server");
        let listener = TcpListener::bind("127.0.0.1:0").map_err(doing())?;
        let leader = listener.local_addr().map_err(doing())?.to_string();
        let bench = std::env::current_exe().map_err(doing())?;
        let copy = |number: usize| {
            let mut command = Command::new(&bench);
            command.args(["child", "--"]).arg(&bench).args(["floor-copy", "--leader", &leader]);
            let own = file.with_extension(format!("copy{number}"));
            let child = command.arg("--file").arg(own).spawn().map_err(doing())?;
            let (stream, _) = listener.accept().map_err(doing())?;
            stream.set_nodelay(true).map_err(doing())?;
            Ok(Copy { stream, child, has: 0 })
        };
        let copies = (1..=count).map(copy).collect::<Result<Vec<_>>>()?;
        Ok(Copies { copies, needed: count.div_ceil(2), batches: 0 })
    }

    /// The processes.
    pub fn pids(&self) -> impl Iterator<Item = u32> {
        self.copies.iter().map(|copy| copy.child.id())
    }

    /// Sends a batch to all.
    pub(super) fn send(&mut self, batch: &[u8]) -> Result<()> {
        self.batches += 1;
        let packet = [&(batch.len() as u64).to_be_bytes(), batch].concat();
        let mut streams = self.copies.iter_mut().map(|copy| &mut copy.stream);
        streams.try_for_each(|stream| stream.write_all(&packet)).map_err(Error::io("send a batch"))
    }

    /// Waits until enough copies have what was sent.
    pub(super) fn wait(&mut self) -> Result<()> {
        let doing = || Error::io("hear a copy");
        while self.copies.iter().filter(|copy| copy.has == self.batches).count() < self.needed {
            let mut fds: Vec<PollFd<'_>> =
                self.copies.iter().map(|copy| PollFd::new(&copy.stream, PollFlags::IN)).collect();
            poll(&mut fds, None).map_err(Error::io("wait for a copy"))?;
            let ready: Vec<bool> = fds.iter().map(|fd| !fd.revents().is_empty()).collect();
            for (copy, _) in self.copies.iter_mut().zip(ready).filter(|(_, is_ready)| *is_ready) {
                let mut answers = [0; 64];
                match copy.stream.read(&mut answers).map_err(doing())? {
                    0 => return Err(doing()(std::io::ErrorKind::UnexpectedEof.into())),
                    count => copy.has += count as u64,
                }
            }
        }
        Ok(())
    }
}

impl Drop for Copies {
    fn drop(&mut self) {
        for copy in &mut self.copies {
            // They may be gone already.
            let _ = copy.child.kill();
            let _ = copy.child.wait();
        }
    }
}

/// Makes what a leader sends durable in `file`, and says so, until the leader ends.
pub fn copy(leader: SocketAddr, file: &Path) -> Result<()> {
    let doing = || Error::io(format!("copy from {leader}"));
    let mut log = Log::create(file)?;
    let mut stream = TcpStream::connect(leader).map_err(doing())?;
    stream.set_nodelay(true).map_err(doing())?;
    let mut length = [0; 8];
    while read_whole(&mut stream, &mut length).map_err(doing())? {
        log.batch.resize(u64::from_be_bytes(length) as usize, 0);
        read_whole(&mut stream, &mut log.batch).map_err(doing())?;
        log.sync()?;
        stream.write_all(&[1]).map_err(doing())?;
    }
    Ok(())
}

/// False at the end of the stream.
fn read_whole(stream: &mut TcpStream, bytes: &mut [u8]) -> std::io::Result<bool> {
    match stream.read_exact(bytes) {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == std::io::ErrorKind::UnexpectedEof => Ok(false),
        Err(error) => Err(error),
    }
}
