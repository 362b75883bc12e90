//! Requests that are small, and make much work or long answers.

use std::iter;

use zk_proto::request::{MultiOp, MultiRequest, ReadOp, ReadRequest, Request, VersionedPath};

use super::Kept;
use super::ground::{Ground, LONG, ROOT, WIDE, hear, send_all};
use crate::Error;

/// More than the system's own buffers take.
const READS: usize = 40;

/// Asks for the same so many times, and reads nothing.
fn ask_deaf(
    ground: &Ground,
    kept: &mut Kept,
    count: usize,
    request: impl FnMut() -> Request<'static>,
) -> Result<(), Error> {
    let mut connection = ground.session()?;
    send_all(&mut connection, iter::repeat_with(request).take(count))?;
    kept.keep(connection);
    Ok(())
}

/// Asks for a long znode again and again, and reads nothing.
pub(super) fn deaf_reads(ground: &Ground, kept: &mut Kept) -> Result<(), Error> {
    let read = || Request::GetData(ReadRequest { path: LONG.into(), watch: false });
    ask_deaf(ground, kept, READS, read)
}

fn multi_read(count: usize) -> Request<'static> {
    let op = MultiOp::GetData(ReadOp { path: Some(LONG.into()), watch: false });
    Request::MultiRead(MultiRequest { ops: vec![op; count] })
}

/// Less than two thousand bytes that ask for a hundred million.
pub(super) fn large_multi_reads(ground: &Ground, _: &mut Kept) -> Result<(), Error> {
    let mut connection = ground.session()?;
    send_all(&mut connection, [multi_read(100)])?;
    hear(&mut connection, 1)
}

/// Asks for as much at a time as may be, and reads nothing.
pub(super) fn deaf_multi_reads(ground: &Ground, kept: &mut Kept) -> Result<(), Error> {
    ask_deaf(ground, kept, READS / 4, || multi_read(4))
}

/// A multi of 20,000 operations.
pub(super) fn large_multis(ground: &Ground, _: &mut Kept) -> Result<(), Error> {
    let check = MultiOp::Check(VersionedPath { path: ROOT.into(), version: -1 });
    let mut connection = ground.session()?;
    let multi = Request::Multi(MultiRequest { ops: vec![check; 20_000] });
    send_all(&mut connection, [multi])?;
    hear(&mut connection, 1)
}

/// Asks for many children again and again, and reads nothing.
pub(super) fn deaf_children(ground: &Ground, kept: &mut Kept) -> Result<(), Error> {
    let list = || Request::GetChildren(ReadRequest { path: WIDE.into(), watch: false });
    ask_deaf(ground, kept, READS, list)
}
