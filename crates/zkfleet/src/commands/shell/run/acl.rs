//! getAcl, setAcl, addauth, whoami.

use std::collections::{BTreeSet, VecDeque};

use serde_json::{Value, json};
use zk_client::{ANY_VERSION, Client, Reached};
use zk_proto::acl::AclBytes;

use super::super::spec::Parsed;
use super::super::{Report, Trouble, format, paths};

/// What follows is a user's name and password. Without them it would be those of an empty name,
/// which anybody can give.
const DIGEST: &str = "digest";

pub(super) async fn get(client: &Client, parsed: &Parsed) -> Result<Report, Trouble> {
    let path = parsed.arg(0);
    paths::check(path)?;
    let (entries, stat) = client.get_acl(path).await?;
    let mut json = json!({ "acl": format::acl_json(&entries) });
    let mut report = format::acl_lines(Report::new(), &entries);
    if parsed.has("s") {
        json["stat"] = format::stat_json(&stat);
        report = format::stat_block(report, &stat);
    }
    Ok(report.json(json))
}

pub(super) async fn set(client: &Client, parsed: &Parsed) -> Result<Report, Trouble> {
    let path = parsed.arg(0);
    paths::check(path)?;
    let acl = format::parse_acl(parsed.arg(1))?;
    let acl = AclBytes::parse(&acl).map_err(|e| Trouble::usage(e.to_string()))?;
    let version = parsed.number("v", ANY_VERSION)?;
    if !parsed.has("R") {
        let stat = client.set_acl(path, acl, version).await?;
        let report = Report::new().json(format::stat_json(&stat));
        return Ok(if parsed.has("s") { format::stat_block(report, &stat) } else { report });
    }
    set_recursive(client, path, acl, version).await
}

/// Parents first, as Apache: an error on one znode does not stop the others.
async fn set_recursive(
    client: &Client,
    root: &str,
    acl: AclBytes<'_>,
    version: i32,
) -> Result<Report, Trouble> {
    client.get_data(root).await?;
    let (mut report, mut set_count, mut failed) = (Report::new(), 0, BTreeSet::new());
    let mut left = VecDeque::from([(root.to_owned(), false)]);
    while let Some((root, is_set)) = left.pop_front() {
        let Reached { paths, refused } = client.reach(&root).await?;
        for at in paths.into_iter().skip(usize::from(is_set)) {
            match client.set_acl(&at, acl, version).await {
                Ok(_) => set_count += 1,
                Err(error) => {
                    report = report.note(Trouble::from(error).text()).failed();
                    failed.insert(at);
                }
            }
        }
        for (at, error) in refused {
            if is_set && at == root {
                report = report.note(Trouble::from(error).text()).failed();
                failed.insert(at);
            } else if !failed.contains(&at) {
                // Apache lists what is below a znode when it has its new ACL, which may allow it.
                left.push_back((at, true));
            }
        }
    }
    Ok(report.json(json!({ "set": set_count, "failed": failed })))
}

pub(super) async fn add_auth(client: &Client, parsed: &Parsed) -> Result<Report, Trouble> {
    let (scheme, auth) = (parsed.arg(0), parsed.args.get(1));
    if scheme == DIGEST && auth.is_none() {
        return Err(Trouble::usage("scheme digest needs user:password")
            .hint("usage: addauth digest user:password"));
    }
    client.add_auth(scheme, auth.map(String::as_bytes)).await?;
    Ok(Report::new().json(json!({ "scheme": scheme })))
}

pub(super) async fn who_am_i(client: &Client) -> Result<Report, Trouble> {
    let identities = client.who_am_i().await?;
    let json = identities.iter().map(|(scheme, user)| json!({ "scheme": scheme, "user": user }));
    let report = Report::new().line("Auth scheme: User").json(json.collect::<Value>());
    let line = |report: Report, (scheme, user): &(String, String)| {
        report.line(format_args!("{scheme}: {user}"))
    };
    Ok(identities.iter().fold(report, line))
}
