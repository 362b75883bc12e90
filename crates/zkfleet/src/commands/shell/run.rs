//! The commands themselves, by what they are about.

mod acl;
mod ensemble;
mod quota;
mod read;
mod watch;
mod write;

use serde_json::json;

use super::session::Session;
use super::spec::{self, Parsed, Spec};
use super::{Report, Trouble};

/// Runs a command. `history`, `redo` and `quit` belong to the interactive shell, which does not
/// let them come this far.
pub(super) async fn execute(session: &mut Session, parsed: &Parsed) -> Result<Report, Trouble> {
    match parsed.spec.name {
        "addWatch" => watch::add(session.client()?, parsed).await,
        "addauth" => acl::add_auth(session.client()?, parsed).await,
        "close" => {
            session.close().await;
            Ok(Report::new().json(json!({ "closed": true })))
        }
        "config" => ensemble::config(session.client()?, parsed).await,
        "connect" => {
            session.reconnect(parsed.args.first().map(String::as_str)).await?;
            Ok(Report::new().json(json!({ "server": session.target() })))
        }
        "create" => write::create(session.client()?, parsed).await,
        "delete" => write::delete(session.client()?, parsed).await,
        "deleteall" => write::delete_all(session.client()?, parsed).await,
        "delquota" => quota::delete(session.client()?, parsed).await,
        "get" => read::get(session.client()?, parsed).await,
        "getAcl" => acl::get(session.client()?, parsed).await,
        "getAllChildrenNumber" => read::all_children_number(session.client()?, parsed).await,
        "getEphemerals" => read::ephemerals(session.client()?, parsed).await,
        "help" => help(parsed),
        "listquota" => quota::list(session.client()?, parsed).await,
        "ls" => read::ls(session.client()?, parsed).await,
        "printwatches" => Ok(watch::print_watches(session, parsed)),
        "reconfig" => ensemble::reconfig(session.client()?, parsed).await,
        "removewatches" => watch::remove(session, parsed).await,
        "set" => write::set(session.client()?, parsed).await,
        "setAcl" => acl::set(session.client()?, parsed).await,
        "setquota" => quota::set(session.client()?, parsed).await,
        "stat" => read::stat(session.client()?, parsed).await,
        "sync" => read::sync(session.client()?, parsed).await,
        "version" => Ok(version()),
        "whoami" => acl::who_am_i(session.client()?).await,
        other => Err(Trouble::usage(format!("{other} belongs into an interactive shell"))),
    }
}

fn help(parsed: &Parsed) -> Result<Report, Trouble> {
    match parsed.args.first() {
        None => Ok(Report::new().line(spec::overview().trim_end()).json(spec::overview_json())),
        Some(name) => match Spec::find(name) {
            Some(spec) => Ok(Report::new().line(spec.usage()).json(spec.json())),
            None => Err(Trouble::usage(format!("Command not found {name}"))),
        },
    }
}

fn version() -> Report {
    let version = env!("CARGO_PKG_VERSION");
    Report::new()
        .line(format_args!("ZooKeeper CLI version: zkfleet {version}, commands of 3.9"))
        .json(json!({ "version": version }))
}

/// Apache still takes `ls path watch` and its like, and says so.
fn watches(report: &mut Report, parsed: &Parsed, better: &str) -> bool {
    let is_old = parsed.args.len() > 1;
    if is_old {
        let name = parsed.spec.name;
        *report = std::mem::take(report).note(format_args!(
            "'{name} path [watch]' has been deprecated. Please use '{better}' instead."
        ));
    }
    is_old || parsed.has("w")
}
