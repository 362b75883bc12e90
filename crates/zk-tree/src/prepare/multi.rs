//! Multi: all or nothing, one zxid (client-protocol 6).

use super::Preparer;
use zk_proto::request::{Create, CreateMode, MultiOp, MultiRequest};
use zk_proto::{ErrorCode, Jute, OpCode};

impl Preparer<'_> {
    /// Prepares the parts in order, each against what the earlier ones did. After a failure the
    /// failed part and all later ones are error parts, and applying the whole does nothing; the
    /// earlier parts stay in the log as they were, as in Apache's.
    pub(super) fn multi(
        &mut self,
        request: &MultiRequest<'_>,
        out: &mut Vec<u8>,
    ) -> Result<OpCode, ErrorCode> {
        let start = out.len();
        (request.ops.len() as i32).write(out);
        self.pending.begin();
        let mut failed = false;
        for op in &request.ops {
            let type_at = out.len();
            out.extend_from_slice(&[0; 8]);
            let result = match failed {
                true => Err(ErrorCode::RuntimeInconsistency),
                false => self.part(op, out),
            };
            let is_too_large = out.len() - start > self.options.max_txn_bytes;
            let result = if is_too_large { Err(ErrorCode::BadArguments) } else { result };
            let op = result.unwrap_or_else(|code| {
                failed = true;
                out.truncate(type_at + 8);
                code.code().write(out);
                OpCode::Error
            });
            let length = (out.len() - type_at - 8) as i32;
            out[type_at..type_at + 4].copy_from_slice(&op.code().to_be_bytes());
            out[type_at + 4..type_at + 8].copy_from_slice(&length.to_be_bytes());
        }
        if failed {
            self.pending.take_back();
            self.pending.quotas.take_back();
        } else {
            self.pending.keep();
        }
        Ok(OpCode::Multi)
    }

    fn part(&mut self, op: &MultiOp<'_>, out: &mut Vec<u8>) -> Result<OpCode, ErrorCode> {
        match op {
            // Apache's `Op.create` looks at the flag alone (client-protocol 6.2).
            MultiOp::Create(create)
                if create.op == OpCode::Create && create.flags == CreateMode::Container.flags() =>
            {
                self.create(&Create { op: OpCode::CreateContainer, ..create.clone() }, out)
            }
            MultiOp::Create(create) => self.create(create, out),
            MultiOp::Delete(delete) => self.delete(delete, out),
            MultiOp::SetData(set) => self.set_data(set, out),
            MultiOp::Check(check) => self.check(check, out),
            MultiOp::GetData(_) | MultiOp::GetChildren(_) => Err(ErrorCode::MarshallingError),
        }
    }
}

/// Whether a multi can be prepared at all: only writes, only flags that exist, no ACL that is null
/// (3.9 answers the whole request with a marshalling error otherwise). createTTL is looked at
/// later, in its turn: its flags that do not exist, and its ACL, are errors of that part.
#[must_use]
pub fn is_well_formed(request: &MultiRequest<'_>) -> bool {
    request.ops.iter().all(|op| match op {
        MultiOp::Create(create) if create.op == OpCode::CreateTtl => true,
        MultiOp::Create(create) => {
            let mode = CreateMode::from_flags(create.flags);
            mode.is_some_and(|mode| !mode.is_ttl()) && !create.acl.is_null()
        }
        other => !other.is_read(),
    })
}
