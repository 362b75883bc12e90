//! Clients that send without a pause, from an address of their own.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, Shutdown, SocketAddr, SocketAddrV4, TcpStream};
use std::thread::{self, JoinHandle};

use zk_proto::Jute;
use zk_proto::jute::put_frame;
use zk_proto::request::{
    MultiOp, MultiRequest, ReadOp, Request, SetDataRequest, SetWatches2, VersionedPath,
};

use super::ground::{Ground, ROOT, connect_request};
use crate::Error;
use crate::client::put_request;

/// The address of those who flood.
const FROM: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 66);

/// What they send.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum Flood {
    /// Small writes.
    Writes,
    /// Multis of 50,000 checks.
    Multis,
    /// multiReads of 30,000 znodes.
    Reads,
    /// setWatches of 10,000 paths.
    Watches,
}

impl Flood {
    /// All kinds.
    pub const ALL: [Flood; 4] = [Flood::Writes, Flood::Multis, Flood::Reads, Flood::Watches];

    /// What is sent again and again.
    fn frames(self) -> Vec<u8> {
        let mut frames = Vec::new();
        let mut put = |request: Request<'_>| put_request(&mut frames, 1, &request);
        match self {
            Flood::Writes => {
                for _ in 0..1000 {
                    let data = Some(&b"flood"[..]);
                    put(Request::SetData(SetDataRequest { path: ROOT.into(), data, version: -1 }));
                }
            }
            Flood::Multis => {
                let check = MultiOp::Check(VersionedPath { path: "/".into(), version: -1 });
                put(Request::Multi(MultiRequest { ops: vec![check; 50_000] }));
            }
            Flood::Reads => {
                let read = MultiOp::GetData(ReadOp { path: Some("/".into()), watch: false });
                put(Request::MultiRead(MultiRequest { ops: vec![read; 30_000] }));
            }
            Flood::Watches => {
                let paths = (0..10_000).map(|n| Some(format!("/{n}").into())).collect();
                let none = || Some(Vec::new());
                put(Request::SetWatches2(SetWatches2 {
                    relative_zxid: 0,
                    data: none(),
                    exist: Some(paths),
                    child: none(),
                    persistent: none(),
                    persistent_recursive: none(),
                }));
            }
        }
        frames
    }
}

/// Clients that flood a server. Dropping this ends them.
#[derive(Debug)]
pub struct Flooders {
    streams: Vec<TcpStream>,
    threads: Vec<JoinHandle<()>>,
}

impl Flooders {
    /// So many clients begin.
    pub fn start(ground: &Ground, flood: Flood, count: usize) -> Result<Flooders, Error> {
        let mut flooders = Flooders { streams: Vec::new(), threads: Vec::new() };
        for _ in 0..count {
            let stream = connect_from(FROM, ground.client)?;
            let (mut from, mut to) = (stream.try_clone()?, stream.try_clone()?);
            flooders.streams.push(stream);
            let mut connect = Vec::new();
            put_frame(&mut connect, |out| connect_request().write(out));
            // Until the server, or the end, closes the connection.
            let write = move || {
                let frames = flood.frames();
                let mut is_sent = to.write_all(&connect).is_ok();
                while is_sent {
                    is_sent = to.write_all(&frames).is_ok();
                }
            };
            let read = move || {
                let mut scratch = vec![0; 1 << 20];
                while matches!(from.read(&mut scratch), Ok(1..)) {}
            };
            flooders.threads.extend([thread::spawn(write), thread::spawn(read)]);
        }
        Ok(flooders)
    }
}

impl Drop for Flooders {
    fn drop(&mut self) {
        for stream in &self.streams {
            // It may be closed already.
            let _ = stream.shutdown(Shutdown::Both);
        }
        for thread in self.threads.drain(..) {
            thread.join().expect("errors end it");
        }
    }
}

fn connect_from(from: Ipv4Addr, to: SocketAddr) -> Result<TcpStream, Error> {
    use rustix::net::{AddressFamily, SocketType, bind, connect, socket};
    let io = |error: rustix::io::Errno| Error::Io(error.into());
    let socket = socket(AddressFamily::INET, SocketType::STREAM, None).map_err(io)?;
    bind(&socket, &SocketAddrV4::new(from, 0)).map_err(io)?;
    connect(&socket, &to).map_err(io)?;
    Ok(TcpStream::from(socket))
}
