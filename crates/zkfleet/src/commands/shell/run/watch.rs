//! addWatch, removewatches, printwatches.

use serde_json::json;
use zk_client::{Client, WatchKind};
use zk_proto::request::{AddWatchRequest, Request};
use zk_proto::watch::{AddWatchMode, WatcherType};

use super::super::session::Session;
use super::super::spec::Parsed;
use super::super::{Report, Trouble, paths};

pub(super) async fn add(client: &Client, parsed: &Parsed) -> Result<Report, Trouble> {
    let path = parsed.arg(0);
    paths::check(path)?;
    let mode = match parsed.value("m").map(str::to_ascii_uppercase).as_deref() {
        None | Some("PERSISTENT_RECURSIVE") => AddWatchMode::PersistentRecursive,
        Some("PERSISTENT") => AddWatchMode::Persistent,
        Some(_) => return Err(Trouble::usage(parsed.spec.usage())),
    };
    // Raw, so that no stream has to be held: events are shown by whoever listens to all.
    let body = AddWatchRequest { path: Some(client.full(path)), mode: mode.code() };
    client.call(&Request::AddWatch(body)).await?.ok(path)?;
    Ok(Report::new().json(json!({ "path": path })))
}

pub(super) async fn remove(session: &Session, parsed: &Parsed) -> Result<Report, Trouble> {
    let client = session.client()?;
    let path = parsed.arg(0);
    paths::check(path)?;
    let of = if parsed.has("c") {
        WatcherType::Children
    } else if parsed.has("d") {
        WatcherType::Data
    } else if parsed.has("p") {
        WatcherType::Persistent
    } else if parsed.has("r") {
        WatcherType::PersistentRecursive
    } else {
        WatcherType::Any
    };
    let kinds = client.watch_kinds(path, of);
    if parsed.has("l") && !client.state().is_connected() {
        client.forget_watches(path, of);
    } else {
        client.remove_watches(path, of).await?;
    }
    for kind in removal_events(&kinds) {
        session.show_event(kind, path);
    }
    Ok(Report::new().json(json!({ "path": path })))
}

/// What Apache's client tells the watchers that it has removed (`ZKWatchManager.removeWatcher`); no
/// server sends this.
fn removal_events(kinds: &[WatchKind]) -> Vec<&'static str> {
    use WatchKind::{Child, Data, Exist, Persistent, PersistentRecursive};
    let events: [(&[WatchKind], _); 3] = [
        (&[Persistent, PersistentRecursive], "PersistentWatchRemoved"),
        (&[Child], "ChildWatchRemoved"),
        (&[Data, Exist], "DataWatchRemoved"),
    ];
    let is_told = |(of, _): &(&[WatchKind], _)| of.iter().any(|kind| kinds.contains(kind));
    events.into_iter().filter(is_told).map(|(_, event)| event).collect()
}

pub(super) fn print_watches(session: &mut Session, parsed: &Parsed) -> Report {
    let report = match parsed.args.first() {
        None => {
            let state = if session.prints_watches() { "on" } else { "off" };
            Report::new().line(format_args!("printwatches is {state}"))
        }
        Some(word) => {
            session.set_prints_watches(word == "on");
            Report::new()
        }
    };
    report.json(json!({ "printwatches": session.prints_watches() }))
}
