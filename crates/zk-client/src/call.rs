//! A request on its way, and its reply.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use tokio::sync::oneshot;
use zk_proto::request::{MultiOp, Request};
use zk_proto::watch::WatcherType;
use zk_proto::{Jute, Limits, Reader, Zxid};
use zk_session::client::{Failure, WatchKind};

use crate::Error;
use crate::watch::Queue;

/// What a server answered: header and body.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Reply {
    /// The newest zxid that the server had applied when it answered; 0 after auth.
    pub zxid: Zxid,
    /// 0 or an error code.
    pub err: i32,
    /// The bytes behind the header, usually empty after an error.
    pub body: Vec<u8>,
}

impl Reply {
    /// The reply if it is a success; `path` goes into the error.
    pub fn ok(self, path: &str) -> Result<Reply, Error> {
        if self.err == 0 { Ok(self) } else { Err(Error::refused(self.err, path)) }
    }

    /// Reads the body as a record.
    pub fn record<'a, T: Jute<'a>>(&'a self) -> Result<T, Error> {
        // The frame's limit was checked; inside of it nothing is too long.
        let limits = Limits { max_len: self.body.len() };
        Ok(T::read(&mut Reader::with_limits(&self.body, limits))?)
    }
}

/// A reply that is waited for. The request is on its way whether this is polled or not; dropping
/// it gives up the reply and not the request.
#[derive(Debug)]
pub struct Pending(pub(crate) oneshot::Receiver<Result<Reply, Failure>>);

impl Future for Pending {
    type Output = Result<Reply, Error>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        Pin::new(&mut self.0).poll(cx).map(|answer| match answer {
            Ok(answer) => answer.map_err(Error::from),
            // The driver is gone without an answer: its runtime was shut down.
            Err(_) => Err(Error::Closed),
        })
    }
}

/// What waits inside the session machine for a reply.
pub(crate) struct Completion {
    pub(crate) answer: Option<oneshot::Sender<Result<Reply, Failure>>>,
    pub(crate) weight: u32,
    pub(crate) interest: Option<Box<Interest>>,
}

/// A listener for the watch that a request sets.
pub(crate) struct Interest {
    /// What takes the watch away again.
    pub(crate) of: WatcherType,
    pub(crate) if_ok: WatchKind,
    /// An exists watches a missing znode too.
    pub(crate) if_missing: Option<WatchKind>,
    /// The server's path.
    pub(crate) path: String,
    pub(crate) queue: Arc<Queue>,
}

/// What a request counts for in back-pressure: 1, and 1 more for each KiB of data.
pub(crate) fn weight(request: &Request<'_>) -> u32 {
    let op_bytes = |op: &MultiOp<'_>| match op {
        MultiOp::Create(create) => create.path.len() + len(create.data),
        MultiOp::SetData(set) => set.path.len() + len(set.data),
        MultiOp::Delete(path) | MultiOp::Check(path) => path.path.len(),
        MultiOp::GetData(read) | MultiOp::GetChildren(read) => {
            read.path.as_ref().map_or(0, |p| p.len())
        }
    };
    let bytes = match request {
        Request::Create(create) => len(create.data) + create.acl.as_bytes().len(),
        Request::SetData(set) => len(set.data),
        Request::SetAcl(set) => set.acl.as_bytes().len(),
        Request::Multi(multi) | Request::MultiRead(multi) => multi.ops.iter().map(op_bytes).sum(),
        _ => 0,
    };
    1 + u32::try_from(bytes / 1024).unwrap_or(u32::MAX - 1)
}

fn len(data: Option<&[u8]>) -> usize {
    data.map_or(0, <[u8]>::len)
}
