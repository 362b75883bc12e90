//! config and reconfig.

use serde_json::json;
use zk_client::Client;
use zk_proto::path::CONFIG;
use zk_proto::request::{ReadRequest, Request};
use zk_proto::response::GetDataResponse;

use super::super::format::{self, Shape};
use super::super::spec::Parsed;
use super::super::{Report, Trouble};

pub(super) async fn config(client: &Client, parsed: &Parsed) -> Result<Report, Trouble> {
    let body = ReadRequest { path: CONFIG.into(), watch: parsed.has("w") };
    let reply = client.call(&Request::GetData(body)).await?.ok(CONFIG)?;
    let GetDataResponse { data, stat } = reply.record()?;
    let text = format::data_text(data, Shape::Plain);
    let shown = if parsed.has("c") { client_string(&text) } else { text };
    let mut json = json!({ "config": shown });
    let mut report = Report::new().line(&shown);
    if parsed.has("s") {
        json["stat"] = format::stat_json(&stat);
        report = format::stat_block(report, &stat);
    }
    Ok(report.json(json))
}

/// The version and the client addresses (`ConfigUtils.getClientConfigStr`).
fn client_string(config: &str) -> String {
    let pairs = config.lines().filter_map(|line| line.split_once('='));
    let (mut version, mut addresses) = ("", Vec::new());
    for (key, value) in pairs {
        match key.trim() {
            "version" => version = value.trim(),
            key if key.starts_with("server.") => addresses.extend(client_address(value.trim())),
            _ => {}
        }
    }
    format!("{version} {}", addresses.join(","))
}

/// `host:2888:3888:participant;[client host:]client port`, several hosts with `|`.
fn client_address(server: &str) -> Option<String> {
    let (quorum, client) = server.split_once(';')?;
    if client.parse::<u16>().is_err() {
        return Some(client.to_owned());
    }
    let first = quorum.split('|').next().unwrap_or_default();
    let host = match first.find(']') {
        Some(end) => &first[..=end],
        None => first.split(':').next().unwrap_or_default(),
    };
    Some(format!("{host}:{client}"))
}

pub(super) async fn reconfig(client: &Client, parsed: &Parsed) -> Result<Report, Trouble> {
    let value = |option| parsed.value(option).map(str::to_ascii_lowercase);
    let (joining, leaving, members) = (value("add"), value("remove"), value("members"));
    let file = parsed.value("file");
    let is_whole = file.is_some() || members.is_some();
    let is_step = joining.is_some() || leaving.is_some();
    match (is_whole, is_step) {
        (false, false) => return Err(Trouble::usage(parsed.spec.usage())),
        (true, true) => {
            return Err(Trouble::usage(
                "Can't use -file or -members together with -add or -remove (mixing incremental \
                 and non-incremental modes is not allowed)",
            ));
        }
        _ if file.is_some() && members.is_some() => {
            return Err(Trouble::usage(
                "Can't use -file and -members together (conflicting non-incremental modes)",
            ));
        }
        _ => {}
    }
    let version = match parsed.value("v") {
        None => -1,
        Some(hex) => i64::from_str_radix(hex, 16)
            .map_err(|_| Trouble::usage("-v must be followed by a long (configuration version)"))?,
    };
    let members = match file {
        Some(file) => Some(members_of(file)?),
        None => members,
    };
    let (data, stat) = client
        .reconfig(joining.as_deref(), leaving.as_deref(), members.as_deref(), version)
        .await?;
    let text = format::data_text(data.as_deref(), Shape::Plain);
    let mut json = json!({ "config": text });
    let mut report = Report::new().line(format_args!("Committed new configuration:\n{text}"));
    if parsed.has("s") {
        json["stat"] = format::stat_json(&stat);
        report = format::stat_block(report, &stat);
    }
    Ok(report.json(json))
}

/// The membership lines of a dynamic configuration file.
fn members_of(file: &str) -> Result<String, Trouble> {
    let text = std::fs::read_to_string(file)
        .map_err(|e| Trouble::failed(format!("Error processing {file}: {e}")))?;
    let is_member = |line: &&str| {
        ["server.", "group.", "weight."].iter().any(|prefix| line.starts_with(prefix))
    };
    let members = text.lines().map(str::trim).filter(is_member).collect::<Vec<_>>();
    match members.is_empty() {
        true => Err(Trouble::failed(format!("Error processing {file}: it names no server.N"))),
        false => Ok(members.join(",")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn client_strings_are_apaches() {
        let config = "server.1=a:2888:3888:participant;0.0.0.0:2181\n\
                      server.2=b:2888:3888:observer;2182\n\
                      server.3=[::1]:2888:3888;2183\n\
                      server.4=d:2888:3888\nversion=100000000";
        assert_eq!(client_string(config), "100000000 0.0.0.0:2181,b:2182,[::1]:2183");
    }
}
