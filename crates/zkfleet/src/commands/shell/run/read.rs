//! ls, get, stat, sync and what else only reads.

use std::collections::HashMap;

use serde_json::json;
use zk_client::{Client, Reached};
use zk_proto::path;
use zk_proto::request::{ReadRequest, Request};
use zk_proto::response::{GetChildren2Response, GetDataResponse, StatResponse};

use super::super::format::{self, Shape};
use super::super::spec::Parsed;
use super::super::{Report, Trouble, paths};
use super::watches;

fn body<'a>(client: &Client, path: &'a str, watch: bool) -> ReadRequest<'a> {
    ReadRequest { path: client.full(path), watch }
}

pub(super) async fn ls(client: &Client, parsed: &Parsed) -> Result<Report, Trouble> {
    let path = parsed.arg(0);
    paths::check(path)?;
    let mut report = Report::new();
    let watch = watches(&mut report, parsed, "ls [-w] path");
    if parsed.has("R") {
        return ls_recursive(client, path, watch, report).await;
    }
    let request = Request::GetChildren2(body(client, path, watch));
    let reply = client.call(&request).await?.ok(path)?;
    let GetChildren2Response { children, stat } = reply.record()?;
    let mut names = children.into_iter().map(|name| name.into_owned()).collect::<Vec<_>>();
    names.sort_unstable();
    let with_stat = parsed.has("s");
    report = report.line(format::list(&names));
    report = report.json(match with_stat {
        true => json!({ "children": names, "stat": format::stat_json(&stat) }),
        false => json!({ "children": names }),
    });
    Ok(if with_stat { format::stat_block(report, &stat) } else { report })
}

async fn ls_recursive(
    client: &Client,
    root: &str,
    watch: bool,
    mut report: Report,
) -> Result<Report, Trouble> {
    // As in Apache, one must be able to read the root.
    let request = Request::GetData(body(client, root, watch));
    client.call(&request).await?.ok(root)?;
    // Apache ends the walk at the first znode that cannot be read, behind what it has printed.
    let Reached { paths: found, refused } = client.reach(root).await?;
    if watch {
        let mut pending = Vec::with_capacity(found.len());
        for path in &found {
            pending.push(client.send(&Request::GetChildren2(body(client, path, true))).await?);
        }
        for pending in pending {
            // A znode that has gone meanwhile needs no watch.
            pending.await?;
        }
    }
    let order = print_order(&found);
    for path in &order {
        report = report.line(path);
    }
    let failed = refused.iter().map(|(path, _)| path).collect::<Vec<_>>();
    let json = json!({ "paths": order, "failed": failed });
    for (_, error) in refused {
        report = report.note(Trouble::from(error).text()).failed();
    }
    Ok(report.json(json))
}

/// The order of `ZKUtil.visitSubTreeDFS`: all children of a znode, then what is below each.
fn print_order(found: &[String]) -> Vec<&str> {
    let Some((root, below)) = found.split_first() else { return Vec::new() };
    let mut children: HashMap<&str, Vec<&str>> = HashMap::new();
    for at in below {
        let parent = match path::split(at) {
            Some(("", _)) | None => "/",
            Some((parent, _)) => parent,
        };
        children.entry(parent).or_default().push(at);
    }
    let mut order = vec![root.as_str()];
    let mut left = vec![root.as_str()];
    while let Some(at) = left.pop() {
        if let Some(children) = children.get(at) {
            order.extend(children);
            left.extend(children.iter().rev());
        }
    }
    order
}

pub(super) async fn get(client: &Client, parsed: &Parsed) -> Result<Report, Trouble> {
    let path = parsed.arg(0);
    paths::check(path)?;
    let mut report = Report::new();
    let watch = watches(&mut report, parsed, "get [-s] [-w] path");
    let request = Request::GetData(body(client, path, watch));
    let reply = client.call(&request).await?.ok(path)?;
    let GetDataResponse { data, stat } = reply.record()?;
    let shape = match (parsed.has("x"), parsed.has("b")) {
        (true, _) => Shape::Hexdump,
        (false, true) => Shape::Base64,
        (false, false) => Shape::Plain,
    };
    let mut json = format::data_json(data);
    let mut report = report.line(format::data_text(data, shape));
    if parsed.has("s") {
        json["stat"] = format::stat_json(&stat);
        report = format::stat_block(report, &stat);
    }
    Ok(report.json(json))
}

pub(super) async fn stat(client: &Client, parsed: &Parsed) -> Result<Report, Trouble> {
    let path = parsed.arg(0);
    paths::check(path)?;
    let mut report = Report::new();
    let watch = watches(&mut report, parsed, "stat [-w] path");
    let request = Request::Exists(body(client, path, watch));
    let reply = client.call(&request).await?.ok(path)?;
    let StatResponse { stat } = reply.record()?;
    Ok(format::stat_block(report, &stat).json(format::stat_json(&stat)))
}

pub(super) async fn sync(client: &Client, parsed: &Parsed) -> Result<Report, Trouble> {
    paths::check(parsed.arg(0))?;
    client.sync(parsed.arg(0)).await?;
    let zxid = client.last_zxid().to_string();
    Ok(Report::new().line("Sync is OK").json(json!({ "zxid": zxid })))
}

pub(super) async fn ephemerals(client: &Client, parsed: &Parsed) -> Result<Report, Trouble> {
    let prefix = parsed.args.first().map_or("/", String::as_str);
    paths::check(prefix)?;
    let mut found = client.get_ephemerals(prefix).await?;
    found.sort_unstable();
    Ok(Report::new().line(format::list(&found)).json(json!({ "paths": found })))
}

pub(super) async fn all_children_number(
    client: &Client,
    parsed: &Parsed,
) -> Result<Report, Trouble> {
    let path = parsed.arg(0);
    paths::check(path)?;
    let number = client.get_all_children_number(path).await?;
    Ok(Report::new().line(number).json(json!({ "number": number })))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn children_come_before_grandchildren_of_each() {
        let found = ["/", "/a", "/b", "/a/x", "/a/y", "/b/z", "/a/x/1"].map(str::to_owned);
        assert_eq!(print_order(&found), ["/", "/a", "/b", "/a/x", "/a/y", "/a/x/1", "/b/z"]);
    }
}
