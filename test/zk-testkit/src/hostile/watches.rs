//! Watches: very many, and those whose events nobody reads.

use zk_proto::Xid;
use zk_proto::request::{
    AddWatchRequest, MultiOp, MultiRequest, ReadRequest, Request, SetDataRequest, SetWatches2,
};

use super::Kept;
use super::ground::{Ground, NOISE, ROOT, hear, noisy, send_all};
use crate::Error;
use crate::client::put_request;

/// `AddWatchMode.PERSISTENT_RECURSIVE`.
const RECURSIVE: i32 = 1;
/// Watches that one session sets.
const THOUSANDS: usize = 10_000;
/// Events that one write fires for each watcher.
const EVENTS: usize = 5;

/// Watches everything below a busy znode, or below the root, and reads no event.
pub(super) fn deaf(ground: &Ground, kept: &mut Kept) -> Result<(), Error> {
    let path = kept.choose(&[NOISE, NOISE, NOISE, "/"]);
    let mut connection = ground.session()?;
    let watch = AddWatchRequest { path: Some(path.into()), mode: RECURSIVE };
    send_all(&mut connection, [Request::AddWatch(watch)])?;
    hear(&mut connection, 1)?;
    kept.keep(connection);
    Ok(())
}

/// Writes what others watch: a little data with a long path.
pub(super) fn noise(ground: &Ground, kept: &mut Kept) -> Result<(), Error> {
    let mut connection = match kept.take() {
        Some(connection) => connection,
        None => ground.session()?,
    };
    let set = SetDataRequest { path: noisy().into(), data: Some(b"loud"), version: -1 };
    let ops = vec![MultiOp::SetData(set); EVENTS];
    send_all(&mut connection, [Request::Multi(MultiRequest { ops })])?;
    hear(&mut connection, 1)?;
    kept.keep(connection);
    Ok(())
}

/// Sets watches on znodes that do not exist.
pub(super) fn thousands(ground: &Ground, kept: &mut Kept) -> Result<(), Error> {
    let mut connection = ground.session()?;
    let path = |n| format!("{ROOT}/missing-{}-{n}", kept.turn);
    let watch = |n| Request::Exists(ReadRequest { path: path(n).into(), watch: true });
    send_all(&mut connection, (0..THOUSANDS).map(watch))?;
    hear(&mut connection, THOUSANDS)?;
    kept.keep(connection);
    Ok(())
}

/// Sets thousands of watches again, as a client that reconnects.
pub(super) fn set_again(ground: &Ground, kept: &mut Kept) -> Result<(), Error> {
    let paths = |kind: &str| {
        let path = |n| Some(format!("{ROOT}/{kind}-{n}").into());
        Some((0..THOUSANDS / 5).map(path).collect())
    };
    let watches = Request::SetWatches(SetWatches2 {
        relative_zxid: i64::MAX,
        data: paths("data"),
        exist: paths("exist"),
        child: paths("child"),
        persistent: paths("persistent"),
        persistent_recursive: paths("recursive"),
    });
    let mut bytes = Vec::new();
    put_request(&mut bytes, Xid::SET_WATCHES.0, &watches);
    let mut connection = ground.session()?;
    connection.send(&bytes)?;
    hear(&mut connection, 1)?;
    kept.keep(connection);
    Ok(())
}

/// setWatches that says that two thousand million paths follow.
pub(super) fn impossible_counts(ground: &Ground, kept: &mut Kept) -> Result<(), Error> {
    let mut body = Vec::new();
    for word in [Xid::SET_WATCHES.0, 101, 0, 0, i32::MAX] {
        body.extend_from_slice(&word.to_be_bytes());
    }
    let mut connection = match kept.take() {
        Some(connection) => connection,
        None => ground.session()?,
    };
    connection.send_frame(&body)?;
    hear(&mut connection, 1)?;
    kept.keep(connection);
    Ok(())
}
