//! Whole subtrees: listed level by level, many requests at a time.

use std::collections::VecDeque;

use zk_proto::ErrorCode;
use zk_proto::request::{MultiOp, MultiRequest, ReadRequest, Request, VersionedPath};
use zk_proto::response::GetChildrenResponse;

use crate::{ANY_VERSION, Client, Error, Pending};

/// Requests of one walk that are under way at once.
const WINDOW: usize = 256;
/// Most bytes of paths in one multi, well below what servers take.
const MULTI_BYTES_MAX: usize = 256 << 10;
/// Multis of one deletion that are under way at once (`ZKUtil.deleteInBatch`).
const MULTI_WINDOW: usize = 10;

/// As much of a subtree as can be read.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Reached {
    /// Parents before children, level by level; the children of a znode are sorted. Empty if the
    /// root does not exist.
    pub paths: Vec<String>,
    /// Those of them whose children are not known, and why.
    pub refused: Vec<(String, Error)>,
}

impl Client {
    /// Every path at or below `root`, in the order of [`Reached::paths`]. Not a snapshot: znodes
    /// that come or go meanwhile may be in it or not. A znode that cannot be read is an error.
    pub async fn subtree(&self, root: &str) -> Result<Vec<String>, Error> {
        let Reached { paths, refused } = self.reach(root).await?;
        match refused.into_iter().next() {
            Some((_, error)) => Err(error),
            None => Ok(paths),
        }
    }

    /// As [`Client::subtree`], but a znode that cannot be read only hides what is below it.
    pub async fn reach(&self, root: &str) -> Result<Reached, Error> {
        let (mut found, mut refused) = (vec![root.to_owned()], Vec::new());
        let mut pending: VecDeque<Pending> = VecDeque::new();
        let (mut asked, mut answered) = (0, 0);
        while answered < found.len() {
            while asked < found.len() && pending.len() < WINDOW {
                let body = ReadRequest { path: self.full(&found[asked]), watch: false };
                pending.push_back(self.send(&Request::GetChildren(body)).await?);
                asked += 1;
            }
            let Some(next) = pending.pop_front() else { break };
            let reply = next.await?;
            let parent = &found[answered];
            answered += 1;
            if reply.err == ErrorCode::NoNode.code() {
                // Deleted since its parent was listed.
                if answered == 1 {
                    return Ok(Reached::default());
                }
                continue;
            }
            let reply = match reply.ok(parent) {
                Ok(reply) => reply,
                Err(error) => {
                    refused.push((parent.clone(), error));
                    continue;
                }
            };
            let parent = if parent == "/" { String::new() } else { parent.clone() };
            let GetChildrenResponse { mut children } = reply.record()?;
            children.sort_unstable();
            found.extend(children.iter().map(|name| format!("{parent}/{name}")));
        }
        Ok(Reached { paths: found, refused })
    }

    /// Deletes a znode and everything below it, leaves first, in multis of at most `batch_count`
    /// deletes; several multis are under way at once. Not atomic: an error leaves the rest.
    pub async fn delete_subtree(&self, root: &str, batch_count: usize) -> Result<usize, Error> {
        let paths = self.subtree(root).await?;
        if paths.is_empty() {
            return Err(Error::refused(ErrorCode::NoNode.code(), root));
        }
        let mut pending = VecDeque::new();
        let mut left = paths.iter().rev().peekable();
        while left.peek().is_some() {
            let (mut batch, mut bytes) = (Vec::new(), 0);
            while let Some(path) =
                left.next_if(|_| batch.len() < batch_count.max(1) && bytes < MULTI_BYTES_MAX)
            {
                bytes += path.len();
                batch.push(path.as_str());
            }
            if pending.len() == MULTI_WINDOW {
                self.finish_batch(&mut pending).await?;
            }
            let delete = |path: &&'_ str| {
                let path = self.full(path).into_owned().into();
                MultiOp::Delete(VersionedPath { path, version: ANY_VERSION })
            };
            let ops = batch.iter().map(delete).collect();
            let request = Request::Multi(MultiRequest { ops });
            pending.push_back((batch, self.send(&request).await?));
        }
        while !pending.is_empty() {
            self.finish_batch(&mut pending).await?;
        }
        Ok(paths.len())
    }

    async fn finish_batch(
        &self,
        pending: &mut VecDeque<(Vec<&str>, Pending)>,
    ) -> Result<(), Error> {
        let Some((paths, pending)) = pending.pop_front() else { return Ok(()) };
        let results = self.multi_results(pending.await?)?;
        Client::whole_multi(results, |at| paths.get(at).copied().unwrap_or_default()).map(|_| ())
    }
}
