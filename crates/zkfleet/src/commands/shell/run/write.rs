//! create, set, delete, deleteall.

use std::time::Duration;

use serde_json::json;
use zk_client::{ANY_VERSION, Client, NewZnode};
use zk_proto::acl::AclBytes;
use zk_proto::request::CreateMode;
use zk_proto::{EphemeralOwner, ErrorCode, path};

use super::super::spec::Parsed;
use super::super::trouble::NO_CHROOT;
use super::super::{Report, Trouble, format, paths};

/// How many deletes go into one multi (`DeleteAllCommand`).
const DELETE_BATCH: usize = 1000;

pub(super) async fn create(client: &Client, parsed: &Parsed) -> Result<Report, Trouble> {
    let (mode, ttl) = create_mode(parsed)?;
    let path = parsed.arg(0);
    match mode.is_sequential() {
        true => paths::check_sequential(path)?,
        false => paths::check(path)?,
    }
    let acl = match parsed.args.get(2) {
        Some(text) => format::parse_acl(text)?,
        None => AclBytes::OPEN.as_bytes().to_vec(),
    };
    let acl = AclBytes::parse(&acl).map_err(|e| Trouble::usage(e.to_string()))?;
    let data = parsed.args.get(1).map(String::as_bytes);
    let created = client.create(path, NewZnode { data, mode, acl, ttl }).await;
    let (path, stat) =
        created.map_err(|error| match (Trouble::from(error), path::split(path)) {
            // What does not exist is the parent.
            (trouble, Some(("", _))) if trouble.code() == Some(ErrorCode::NoNode) => {
                trouble.hint(NO_CHROOT)
            }
            (trouble, Some((parent, _))) if trouble.code() == Some(ErrorCode::NoNode) => {
                trouble.hint(format!("its parent must exist: create {parent}"))
            }
            (trouble, _) => trouble,
        })?;
    Ok(Report::new()
        .note(format_args!("Created {path}"))
        .json(json!({ "path": path, "stat": format::stat_json(&stat) })))
}

fn create_mode(parsed: &Parsed) -> Result<(CreateMode, Duration), Trouble> {
    let [is_ephemeral, is_sequential, is_container] = ["e", "s", "c"].map(|flag| parsed.has(flag));
    if is_container && (is_ephemeral || is_sequential) {
        return Err(Trouble::usage(
            "-c cannot be combined with -s or -e. Containers cannot be ephemeral or sequential.",
        ));
    }
    if let Some(ttl) = parsed.value("t") {
        let bad = |message: &str| Err(Trouble::usage(message));
        let Ok(ttl) = ttl.parse::<i64>() else { return bad("-t argument must be a long value") };
        if is_ephemeral {
            return bad("TTLs cannot be used with Ephemeral znodes");
        }
        if is_container {
            return bad("TTLs cannot be used with Container znodes");
        }
        if EphemeralOwner::ttl(ttl).is_none() {
            let max = EphemeralOwner::MAX_TTL_MS;
            return bad(&format!("ttl must be between 1 and {max}, in ms"));
        }
        let mode = match is_sequential {
            true => CreateMode::PersistentSequentialWithTtl,
            false => CreateMode::PersistentWithTtl,
        };
        return Ok((mode, Duration::from_millis(ttl.unsigned_abs())));
    }
    let mode = match (is_ephemeral, is_sequential, is_container) {
        (true, true, _) => CreateMode::EphemeralSequential,
        (true, false, _) => CreateMode::Ephemeral,
        (false, true, _) => CreateMode::PersistentSequential,
        (false, false, true) => CreateMode::Container,
        (false, false, false) => CreateMode::Persistent,
    };
    Ok((mode, Duration::ZERO))
}

pub(super) async fn set(client: &Client, parsed: &Parsed) -> Result<Report, Trouble> {
    let path = parsed.arg(0);
    paths::check(path)?;
    let data = match parsed.has("b") {
        true => format::from_base64(parsed.arg(1))?,
        false => parsed.arg(1).as_bytes().to_vec(),
    };
    let version = parsed.number("v", ANY_VERSION)?;
    let stat = client.set_data(path, Some(&data), version).await?;
    let report = Report::new().json(format::stat_json(&stat));
    Ok(if parsed.has("s") { format::stat_block(report, &stat) } else { report })
}

pub(super) async fn delete(client: &Client, parsed: &Parsed) -> Result<Report, Trouble> {
    let path = parsed.arg(0);
    paths::check(path)?;
    let mut report = Report::new();
    let mut version = parsed.number("v", ANY_VERSION)?;
    if let Some(old) = parsed.args.get(1) {
        report = report.note(
            "'delete path [version]' has been deprecated. Please use 'delete [-v version] path' instead.",
        );
        // Apache ignores this version and deletes whatever is there.
        version = old
            .parse()
            .map_err(|_| Trouble::usage(format!("a version is a number, not {old:?}")))?;
    }
    client.delete(path, version).await?;
    Ok(report.json(json!({ "path": path })))
}

pub(super) async fn delete_all(client: &Client, parsed: &Parsed) -> Result<Report, Trouble> {
    let path = parsed.arg(0);
    paths::check(path)?;
    let batch = parsed.number("b", DELETE_BATCH)?;
    match client.delete_subtree(path, batch).await.map_err(Trouble::from) {
        Ok(deleted) => Ok(Report::new().json(json!({ "path": path, "deleted": deleted }))),
        Err(trouble) if trouble.code() == Some(ErrorCode::NoNode) => Err(trouble),
        Err(trouble) => Ok(Report::new()
            .note("Failed to delete some node(s) in the subtree!")
            .note(trouble.text())
            .failed()),
    }
}
