//! A connection between a leader and a learner: packets both ways, and now and then a stream
//! between them, of any length, that is no packet (SNAP, quorum-protocol 6.1).

mod unsent;

use std::io;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{mpsc, oneshot};
use tokio::task::AbortHandle;

use crate::wire::{From, To, Wire};
use unsent::{Next, Unsent};

/// So much is read at a time, and a piece of a stream is about as long.
const READ_BYTES: usize = 64 << 10;

/// Who hears what comes.
pub trait Hear: Send + 'static {
    /// These bytes have come and were not used before. An error ends the connection.
    fn heard(&mut self, bytes: &[u8]) -> io::Result<Heard>;

    /// The connection is over, by the other side or by an error; the last call. There is none when
    /// this side closes it.
    fn ended(&mut self, why: io::Error);
}

/// What was done with bytes.
pub enum Heard {
    /// So many of them were packets; the rest comes again with what follows.
    Packets(usize),
    /// So many were packets, and behind them a stream begins, for this reader of it.
    Stream(usize, StreamSink),
}

/// Where a stream goes.
pub struct StreamSink {
    pieces: mpsc::Sender<Vec<u8>>,
    rest: oneshot::Receiver<Vec<u8>>,
}

/// The other end of a [`StreamSink`], for a thread that may wait.
pub struct StreamSource {
    pieces: mpsc::Receiver<Vec<u8>>,
    rest: oneshot::Sender<Vec<u8>>,
    piece: Vec<u8>,
    at: usize,
}

/// So many pieces of a stream wait for whoever reads it.
const PIECES: usize = 16;

/// A way for a stream out of a connection.
#[must_use]
pub fn stream() -> (StreamSink, StreamSource) {
    let (pieces, come) = mpsc::channel(PIECES);
    let (rest, back) = oneshot::channel();
    let source = StreamSource { pieces: come, rest, piece: Vec::new(), at: 0 };
    (StreamSink { pieces, rest: back }, source)
}

impl StreamSource {
    /// The stream is at its end: what was read beyond it are packets again, first these bytes that
    /// were given out already.
    pub fn finish(mut self, beyond: &[u8]) {
        self.piece.splice(..self.at, beyond.iter().copied());
        // More may have been passed on already.
        self.pieces.close();
        while let Some(piece) = self.pieces.blocking_recv() {
            self.piece.extend_from_slice(&piece);
        }
        // Whoever closed the connection does not want it.
        let _ = self.rest.send(self.piece);
    }
}

/// Waits for what has not come; at the end of the connection there is nothing more.
impl io::Read for StreamSource {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        while self.at == self.piece.len() {
            let Some(piece) = self.pieces.blocking_recv() else { return Ok(0) };
            (self.piece, self.at) = (piece, 0);
        }
        let rest = &self.piece[self.at..];
        let count = rest.len().min(into.len());
        into[..count].copy_from_slice(&rest[..count]);
        self.at += count;
        Ok(count)
    }
}

/// The sending side of a connection, and its life: it ends when this is dropped.
pub struct Link {
    unsent: Arc<Unsent>,
    reads: AbortHandle,
    writes: AbortHandle,
    is_ending: bool,
}

/// So long the other side may take to hear the last words.
const FAREWELL: Duration = Duration::from_secs(1);

impl Link {
    /// Takes a connection, in the runtime of the caller. When more than `max_unsent_bytes` wait for
    /// the other side, it is closed.
    #[must_use]
    pub fn start(wire: Wire, max_unsent_bytes: usize, hear: impl Hear) -> Link {
        let (from, to) = wire.split();
        // Of a guarded connection the task alone has the sending side.
        let (direct, guarded) = match to {
            To::Plain(to) => (Some(to), None),
            guarded @ To::Guarded(_) => (None, Some(guarded)),
        };
        let unsent = Arc::new(Unsent::new(direct, max_unsent_bytes));
        let reads = tokio::spawn(read(from, hear, unsent.clone())).abort_handle();
        let writes = tokio::spawn(write(unsent.clone(), guarded)).abort_handle();
        Link { unsent, reads, writes, is_ending: false }
    }

    /// Appends packets to what is sent.
    pub fn send(&self, put: impl FnOnce(&mut Vec<u8>)) {
        self.unsent.put(put);
    }

    /// Sends the pieces that come from here, until their sender is dropped, before anything that is
    /// sent later.
    pub fn send_stream(&self, pieces: mpsc::Receiver<Vec<u8>>) {
        self.unsent.put_stream(pieces);
    }

    /// Ends the connection when the other side has hung up, or has had the time to hear what was
    /// sent. In a runtime.
    pub fn end(mut self) {
        self.is_ending = true;
        let (reads, writes) = (self.reads.clone(), self.writes.clone());
        tokio::spawn(async move {
            tokio::time::sleep(FAREWELL).await;
            reads.abort();
            writes.abort();
        });
    }

    /// How many bytes wait, streams not counted.
    #[must_use]
    pub fn unsent_bytes(&self) -> usize {
        self.unsent.bytes()
    }
}

impl Drop for Link {
    fn drop(&mut self) {
        if !self.is_ending {
            self.reads.abort();
            self.writes.abort();
        }
    }
}

async fn read(from: From, mut hear: impl Hear, unsent: Arc<Unsent>) {
    let ended = tokio::select! {
        ended = read_all(from, &mut hear) => ended,
        error = unsent.failed() => Err(error),
    };
    hear.ended(ended.err().unwrap_or_else(|| io::ErrorKind::UnexpectedEof.into()));
}

async fn read_all(mut from: From, hear: &mut impl Hear) -> io::Result<()> {
    let mut bytes = Vec::new();
    loop {
        // What may be left behind a stream is heard before more is read.
        let sink = match hear.heard(&bytes)? {
            Heard::Packets(used) => {
                bytes.drain(..used);
                None
            }
            Heard::Stream(used, sink) => {
                bytes.drain(..used);
                Some(sink)
            }
        };
        if let Some(sink) = sink {
            bytes = pass_on(&mut from, sink, std::mem::take(&mut bytes)).await?;
            continue;
        }
        bytes.reserve(READ_BYTES);
        if from.read(&mut bytes).await? == 0 {
            return Ok(());
        }
    }
}

/// Passes a stream on until its reader has enough; what is left of what was read.
async fn pass_on(
    from: &mut From,
    StreamSink { pieces, mut rest }: StreamSink,
    first: Vec<u8>,
) -> io::Result<Vec<u8>> {
    let gone = |_| io::Error::other("the reader of a stream has given up");
    let mut piece = first;
    let mut unread: Vec<Vec<u8>> = Vec::new();
    loop {
        if !piece.is_empty() {
            tokio::select! {
                biased;
                left = &mut rest => return Ok(join(left.map_err(gone)?, unread, piece)),
                sent = pieces.reserve() => match sent {
                    Ok(permit) => permit.send(std::mem::take(&mut piece)),
                    // It has finished, or given up.
                    Err(_) => unread.push(std::mem::take(&mut piece)),
                },
            }
        }
        piece.reserve(READ_BYTES);
        tokio::select! {
            biased;
            left = &mut rest => return Ok(join(left.map_err(gone)?, unread, piece)),
            read = from.read(&mut piece) => if read? == 0 {
                drop(pieces);
                let left = rest.await.map_err(gone)?;
                // The end of the connection is found again, behind what is left.
                return Ok(join(left, unread, piece));
            },
        }
    }
}

fn join(mut first: Vec<u8>, middle: Vec<Vec<u8>>, last: Vec<u8>) -> Vec<u8> {
    middle.iter().for_each(|piece| first.extend_from_slice(piece));
    first.extend_from_slice(&last);
    first
}

async fn write(unsent: Arc<Unsent>, mut guarded: Option<To>) {
    let mut spare = Vec::new();
    loop {
        let done = match unsent.next(std::mem::take(&mut spare)).await {
            Next::Bytes(bytes) => {
                let done = write_to(&unsent, &mut guarded, &bytes).await;
                spare = bytes;
                spare.clear();
                done
            }
            Next::Stream(mut pieces) => loop {
                match pieces.recv().await {
                    Some(piece) => {
                        if let Err(error) = write_to(&unsent, &mut guarded, &piece).await {
                            break Err(error);
                        }
                    }
                    None => break Ok(()),
                }
            },
        };
        if let Err(error) = done {
            return unsent.fail(error);
        }
    }
}

async fn write_to(unsent: &Unsent, guarded: &mut Option<To>, bytes: &[u8]) -> io::Result<()> {
    match guarded {
        Some(to) => to.write(bytes).await,
        None => unsent.write(bytes).await,
    }
}
