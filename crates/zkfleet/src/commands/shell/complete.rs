//! Completion of commands and paths (`JLineZNodeCompleter`).

use std::time::Duration;

use tokio::runtime::Handle;
use tokio::time::timeout;
use zk_client::Client;

use super::spec;

/// How long a person waits for names.
const PATIENCE: Duration = Duration::from_secs(1);

/// Where the completed word begins in the line, and what it may become.
pub(super) fn complete(
    line: &str,
    children: impl FnOnce(&str) -> Vec<String>,
) -> (usize, Vec<String>) {
    let start = line.rfind(' ').map_or(0, |at| at + 1);
    let word = &line[start..];
    let Some(slash) = word.rfind('/').filter(|_| word.starts_with('/')) else {
        if start > 0 {
            return (start, Vec::new());
        }
        let names = spec::ALL.iter().map(|spec| spec.name).filter(|name| name.starts_with(word));
        return (start, names.map(|name| format!("{name} ")).collect());
    };
    let parent = if slash == 0 { "/" } else { &word[..slash] };
    let begun = &word[slash + 1..];
    let mut names = children(parent);
    names.retain(|name| name.starts_with(begun));
    names.sort_unstable();
    (start + slash + 1, names)
}

/// Names of children, or none if there is no quick answer.
pub(super) fn children(runtime: &Handle, client: &Client, path: &str) -> Vec<String> {
    if !client.state().is_connected() {
        return Vec::new();
    }
    // Made inside of the runtime, which a timer needs.
    let names = runtime.block_on(async { timeout(PATIENCE, client.get_children(path)).await });
    names.ok().and_then(Result::ok).map(|(names, _)| names).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn completed(line: &str) -> (usize, Vec<String>) {
        complete(line, |path| match path {
            "/" => vec!["zookeeper".to_owned(), "app".to_owned()],
            "/app" => vec!["config".to_owned(), "cache".to_owned(), "x".to_owned()],
            _ => Vec::new(),
        })
    }

    #[test]
    fn commands_then_paths() {
        assert_eq!(completed("getA"), (0, vec!["getAcl ".into(), "getAllChildrenNumber ".into()]));
        assert_eq!(completed("ls /"), (4, vec!["app".into(), "zookeeper".into()]));
        assert_eq!(completed("ls -R /app/c"), (11, vec!["cache".into(), "config".into()]));
        assert_eq!(completed("ls /none/"), (9, vec![]));
        assert_eq!(completed("set /app va"), (9, vec![]));
    }
}
