//! setquota, listquota, delquota.

use serde_json::{Value, json};
use zk_client::{Client, Quota};
use zk_proto::path::{QUOTA, QUOTA_LIMITS};

use super::super::spec::Parsed;
use super::super::{Report, Trouble, paths};

fn quota_json(quota: &Quota) -> Value {
    let said = |number: i64| (number > -1).then_some(number);
    json!({
        "count": said(quota.count),
        "bytes": said(quota.bytes),
        "count_hard_limit": said(quota.count_hard_limit),
        "byte_hard_limit": said(quota.byte_hard_limit),
    })
}

pub(super) async fn set(client: &Client, parsed: &Parsed) -> Result<Report, Trouble> {
    let path = parsed.arg(0);
    paths::check(path)?;
    // Commons CLI has an option group here: one of them, and only one.
    if parsed.value_count() != 1 {
        return Err(Trouble::usage(parsed.spec.usage()).hint("one limit at a time"));
    }
    let quota = Quota {
        count: count(parsed, "n")?,
        bytes: parsed.number("b", -1)?,
        count_hard_limit: count(parsed, "N")?,
        byte_hard_limit: parsed.number("B", -1)?,
    };
    let is_given = |option| parsed.value(option).is_some();
    if (is_given("n") && quota.count <= 0) || (is_given("N") && quota.count_hard_limit <= 0) {
        return Err(Trouble::usage("the num quota must be greater than zero"));
    }
    if (is_given("b") && quota.bytes < 0) || (is_given("B") && quota.byte_hard_limit < 0) {
        return Err(Trouble::usage("the bytes quota must be greater than or equal to zero"));
    }
    let (limits, usage) = client.set_quota(path, quota).await?;
    let below = |limit: i64, used: i64| limit > -1 && limit < used;
    let mut report = Report::new();
    if below(limits.count, usage.count) || below(limits.count_hard_limit, usage.count) {
        report = report.line(format_args!(
            "[Warning]: the count quota you create is less than the existing count:{}",
            usage.count
        ));
    }
    if below(limits.bytes, usage.bytes) || below(limits.byte_hard_limit, usage.bytes) {
        report = report.line(format_args!(
            "[Warning]: the bytes quota you create is less than the existing bytes:{}",
            usage.bytes
        ));
    }
    Ok(report.json(json!({ "limits": quota_json(&limits), "usage": quota_json(&usage) })))
}

/// How many znodes: an `int` in zkCli, and in Apache's servers.
fn count(parsed: &Parsed, option: &str) -> Result<i64, Trouble> {
    let most = i32::MAX;
    parsed.number(option, -1_i32).map(i64::from).map_err(|trouble| {
        match parsed.value(option).is_some_and(|text| text.parse::<i64>().is_ok()) {
            true => Trouble::usage(format!("-{option} takes a number up to {most}")),
            false => trouble,
        }
    })
}

pub(super) async fn list(client: &Client, parsed: &Parsed) -> Result<Report, Trouble> {
    let path = parsed.arg(0);
    paths::check(path)?;
    let report = Report::new().note(format_args!("absolute path is {QUOTA}{path}/{QUOTA_LIMITS}"));
    let Some((limits, usage)) = client.quota(path).await? else {
        return Ok(report.note(format_args!("quota for {path} does not exist.")));
    };
    // The usage znode never speaks of hard limits.
    let Quota { count, bytes, .. } = usage;
    Ok(report
        .line(format_args!("Output quota for {path} {limits}"))
        .line(format_args!("Output stat for {path} count={count},bytes={bytes}"))
        .json(json!({ "limits": quota_json(&limits), "usage": quota_json(&usage) })))
}

pub(super) async fn delete(client: &Client, parsed: &Parsed) -> Result<Report, Trouble> {
    let path = parsed.arg(0);
    paths::check(path)?;
    let marked = |flag| if parsed.has(flag) { 1 } else { -1 };
    let which = Quota {
        count: marked("n"),
        bytes: marked("b"),
        count_hard_limit: marked("N"),
        byte_hard_limit: marked("B"),
    };
    let had_quota = match which == Quota::NONE {
        true => client.delete_quota(path).await?,
        false => client.clear_quota(path, which).await?,
    };
    let report = Report::new().json(json!({ "path": path, "had_quota": had_quota }));
    Ok(match had_quota {
        true => report,
        false => report.line(format_args!("Quota does not exist for {path}")),
    })
}
