//! Several operations in one request.

use zk_proto::request::{Create, MultiOp, MultiRequest, Request};
use zk_proto::response::{MultiResponse, MultiResult};
use zk_proto::{ErrorCode, Stat};

use crate::{Client, Error, Reply};

/// The result of one operation of a multi or multiRead.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum OpResult {
    /// A znode was created: its path, and its Stat unless plain create was asked.
    Created(String, Option<Stat>),
    /// Data was set.
    Set(Stat),
    /// A znode was deleted.
    Deleted,
    /// A version was as expected.
    Checked,
    /// Data of a znode.
    Data(Option<Vec<u8>>, Stat),
    /// Names of children.
    Children(Vec<String>),
    /// The operation failed; in a multiRead the others did not.
    Failed(i32),
}

impl Client {
    /// Carries out all operations or none. The error names the first operation that failed.
    pub async fn multi(&self, ops: &[MultiOp<'_>]) -> Result<Vec<OpResult>, Error> {
        let request = Request::Multi(MultiRequest { ops: self.full_ops(ops) });
        let results = self.multi_results(self.call(&request).await?)?;
        Client::whole_multi(results, |at| ops.get(at).map(path_of).unwrap_or_default())
    }

    /// Reads several znodes in one request; each operation succeeds or fails alone.
    pub async fn multi_read(&self, ops: &[MultiOp<'_>]) -> Result<Vec<OpResult>, Error> {
        let request = Request::MultiRead(MultiRequest { ops: self.full_ops(ops) });
        self.multi_results(self.call(&request).await?)
    }

    pub(crate) fn multi_results(&self, reply: Reply) -> Result<Vec<OpResult>, Error> {
        let reply = reply.ok("a multi")?;
        let MultiResponse { results } = reply.record()?;
        Ok(results.into_iter().map(|result| self.owned(result)).collect())
    }

    /// The results if all are good; else the first failure, with the path of that operation.
    pub(crate) fn whole_multi<'a>(
        results: Vec<OpResult>,
        path_at: impl FnOnce(usize) -> &'a str,
    ) -> Result<Vec<OpResult>, Error> {
        let failed = results.iter().enumerate().find_map(|(at, result)| match result {
            OpResult::Failed(code) if *code != ErrorCode::Ok.code() => Some((at, *code)),
            _ => None,
        });
        let Some((at, code)) = failed else { return Ok(results) };
        let path = path_at(at);
        Err(match ErrorCode::from_code(code) {
            Some(code) => Error::Multi { at, code, path: path.to_owned() },
            None => Error::refused(code, path),
        })
    }

    fn owned(&self, result: MultiResult<'_>) -> OpResult {
        match result {
            MultiResult::Create(path) => OpResult::Created(self.shown(path.into_owned()), None),
            MultiResult::Create2(path, stat) => {
                OpResult::Created(self.shown(path.into_owned()), Some(stat))
            }
            MultiResult::SetData(stat) => OpResult::Set(stat),
            MultiResult::Delete => OpResult::Deleted,
            MultiResult::Check => OpResult::Checked,
            MultiResult::GetData(data, stat) => OpResult::Data(data.map(<[u8]>::to_vec), stat),
            MultiResult::GetChildren(names) => {
                OpResult::Children(names.into_iter().map(|name| name.into_owned()).collect())
            }
            MultiResult::Error(code) => OpResult::Failed(code),
        }
    }

    fn full_ops<'a>(&self, ops: &'a [MultiOp<'a>]) -> Vec<MultiOp<'a>> {
        let mut full = ops.to_vec();
        for (op, given) in full.iter_mut().zip(ops) {
            let path = self.full(path_of(given));
            match op {
                MultiOp::Create(Create { path: to, .. }) => *to = path,
                MultiOp::Delete(body) | MultiOp::Check(body) => body.path = path,
                MultiOp::SetData(body) => body.path = path,
                MultiOp::GetData(body) | MultiOp::GetChildren(body) => body.path = Some(path),
            }
        }
        full
    }
}

fn path_of<'a>(op: &'a MultiOp<'_>) -> &'a str {
    match op {
        MultiOp::Create(create) => &create.path,
        MultiOp::Delete(body) | MultiOp::Check(body) => &body.path,
        MultiOp::SetData(body) => &body.path,
        MultiOp::GetData(body) | MultiOp::GetChildren(body) => {
            body.path.as_deref().unwrap_or_default()
        }
    }
}
