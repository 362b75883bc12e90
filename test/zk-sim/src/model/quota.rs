//! Quotas (client-protocol 11): the usage is kept in the data of a znode nobody wrote.

use super::code;
use super::state::{State, is_below, parent};

const TOP: &str = "/zookeeper/quota";

/// The numbers in a limit or usage znode, -1 where nothing is said.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Numbers {
    count: i64,
    bytes: i64,
    hard_bytes: i64,
    hard_count: i64,
}

impl Numbers {
    fn read(data: Option<&[u8]>) -> Numbers {
        let mut numbers = Numbers { count: -1, bytes: -1, hard_bytes: -1, hard_count: -1 };
        let text = String::from_utf8_lossy(data.unwrap_or_default()).into_owned();
        for part in text.split([',', ';']) {
            let fields: Vec<&str> = part.split('=').collect();
            let (Some(key), Some(Ok(value))) = (fields.first(), fields.get(1).map(|v| v.parse()))
            else {
                continue;
            };
            match *key {
                "count" => numbers.count = value,
                "bytes" => numbers.bytes = value,
                "byteHardLimit" => numbers.hard_bytes = value,
                "countHardLimit" => numbers.hard_count = value,
                _ => {}
            }
        }
        numbers
    }

    fn write(self) -> Vec<u8> {
        let mut text = format!("count={},bytes={}", self.count, self.bytes);
        if self.hard_bytes > -1 || self.hard_count > -1 {
            text.push('=');
        }
        if self.hard_bytes > -1 {
            text += &format!(";byteHardLimit={}", self.hard_bytes);
        }
        if self.hard_count > -1 {
            text += &format!(";countHardLimit={}", self.hard_count);
        }
        text.into_bytes()
    }
}

fn limits_of(top: &str) -> String {
    format!("{TOP}{top}/zookeeper_limits")
}

fn usage_of(top: &str) -> String {
    format!("{TOP}{top}/zookeeper_stats")
}

/// The deepest path at or above with a limit; the root and `/zookeeper` have none.
fn governing(state: &State, path: &str) -> Option<String> {
    if path == "/zookeeper" || is_below(path, "/zookeeper") {
        return None;
    }
    let mut at = path;
    while at != "/" {
        if state.node(&limits_of(at)).is_some() {
            return Some(at.to_string());
        }
        at = parent(at)?;
    }
    None
}

/// Counts a change into the usage.
pub(super) fn count(state: &mut State, path: &str, nodes: i64, bytes: i64) {
    let Some(top) = governing(state, path) else { return };
    if let Some(usage) = state.node_mut(&usage_of(&top)) {
        let mut numbers = Numbers::read(usage.data.as_deref());
        numbers.count += nodes;
        numbers.bytes += bytes;
        usage.data = Some(numbers.write());
    }
}

/// A znode was created: if it is to hold a usage, that is counted at once.
pub(super) fn created(state: &mut State, path: &str) {
    let of = path.strip_prefix(TOP).and_then(|rest| rest.strip_suffix("/zookeeper_stats"));
    let Some(top) = of.filter(|top| !top.is_empty()) else { return };
    let mut numbers = Numbers { count: 0, bytes: 0, hard_bytes: -1, hard_count: -1 };
    for (path, node) in &state.nodes {
        if &**path == top || is_below(path, top) {
            numbers.count += 1;
            numbers.bytes += node.data_len() as i64;
        }
    }
    if let Some(usage) = state.node_mut(path) {
        usage.data = Some(numbers.write());
    }
}

/// Whether the hard limits allow a change.
pub(super) fn check(state: &State, path: &str, nodes: i64, bytes: i64) -> Result<(), i32> {
    let Some(top) = governing(state, path) else { return Ok(()) };
    let data = |path: String| state.node(&path).map(|node| Numbers::read(node.data.as_deref()));
    let (Some(limits), Some(usage)) = (data(limits_of(&top)), data(usage_of(&top))) else {
        return Ok(());
    };
    let over = |limit: i64, used: i64, more: i64| more != 0 && limit > -1 && used + more > limit;
    let exceeded =
        over(limits.hard_count, usage.count, nodes) || over(limits.hard_bytes, usage.bytes, bytes);
    if exceeded { Err(code::QUOTA_EXCEEDED) } else { Ok(()) }
}
