//! Bodies: answers that may be streamed from a blocking reader, requests read by blocking code.

use std::io::{self, Read};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use super::lobby::Stay;
use hyper::body::{Body, Bytes, Frame, Incoming, SizeHint};
use tokio::sync::mpsc;

/// Bytes of a part of a stream.
const CHUNK: usize = 64 << 10;
/// Parts that may wait on their way: the slower side slows the other down.
const CHUNKS_IN_FLIGHT: usize = 4;

/// The body of an answer.
pub(super) enum Payload {
    Whole(Option<Bytes>),
    Stream(mpsc::Receiver<io::Result<Bytes>>),
}

impl Payload {
    pub(super) fn text(text: impl Into<Bytes>) -> Payload {
        Payload::Whole(Some(text.into()))
    }

    /// What a reader gives, read on a thread for blocking work.
    pub(super) fn stream(mut reader: Box<dyn Read + Send>) -> Payload {
        let (send, receive) = mpsc::channel(CHUNKS_IN_FLIGHT);
        tokio::task::spawn_blocking(move || {
            loop {
                let mut chunk = vec![0; CHUNK];
                let part = match reader.read(&mut chunk) {
                    Ok(0) => return,
                    Ok(len) => {
                        chunk.truncate(len);
                        Ok(Bytes::from(chunk))
                    }
                    Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                    Err(error) => Err(error),
                };
                let failed = part.is_err();
                // The receiver is gone when the client is.
                if send.blocking_send(part).is_err() || failed {
                    return;
                }
            }
        });
        Payload::Stream(receive)
    }
}

impl Body for Payload {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, io::Error>>> {
        match &mut *self {
            Payload::Whole(bytes) => Poll::Ready(bytes.take().map(|bytes| Ok(Frame::data(bytes)))),
            Payload::Stream(parts) => {
                parts.poll_recv(context).map(|part| part.map(|part| part.map(Frame::data)))
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        matches!(self, Payload::Whole(None))
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Payload::Whole(bytes) => {
                SizeHint::with_exact(bytes.as_ref().map_or(0, Bytes::len) as u64)
            }
            Payload::Stream(_) => SizeHint::default(),
        }
    }
}

/// The body of a request as a blocking [`Read`]; the future moves the bytes and must run beside it.
/// Its client lets the server wait while none come; while nobody wants them it does not.
pub(super) fn reader(
    mut body: Incoming,
    stay: Arc<Stay>,
) -> (impl Read + Send, impl Future<Output = ()> + Send) {
    let (send, receive) = mpsc::channel::<io::Result<Bytes>>(CHUNKS_IN_FLIGHT);
    let pump = async move {
        loop {
            let frame = std::future::poll_fn(|context| Pin::new(&mut body).poll_frame(context));
            let waiting = stay.wait();
            let frame = frame.await;
            drop(waiting);
            let part = match frame {
                None => return,
                Some(Ok(frame)) => match frame.into_data() {
                    Ok(bytes) => Ok(bytes),
                    Err(_trailers) => continue,
                },
                Some(Err(error)) => Err(io::Error::other(error)),
            };
            let failed = part.is_err();
            if send.send(part).await.is_err() || failed {
                return;
            }
        }
    };
    (PartReader { parts: receive, rest: Bytes::new() }, pump)
}

struct PartReader {
    parts: mpsc::Receiver<io::Result<Bytes>>,
    rest: Bytes,
}

impl Read for PartReader {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        while self.rest.is_empty() {
            match self.parts.blocking_recv() {
                None => return Ok(0),
                Some(part) => self.rest = part?,
            }
        }
        let part = self.rest.split_to(buffer.len().min(self.rest.len()));
        buffer[..part.len()].copy_from_slice(&part);
        Ok(part.len())
    }
}
