//! Paths checked before they are sent, with Apache's words (`PathUtils.validatePath`).

use zk_proto::path;

use super::Trouble;

/// Nothing is wrong with the path, or Apache's message about it.
pub(super) fn check(path: &str) -> Result<(), Trouble> {
    let message = match path {
        "" => "Path length must be > 0".to_owned(),
        "/" => return Ok(()),
        _ if !path.starts_with('/') => "Path must start with / character".to_owned(),
        _ if path.ends_with('/') => "Path must not end with / character".to_owned(),
        _ => match reason(path) {
            Some((at, reason)) => {
                format!("Invalid path string \"{path}\" caused by {reason} @{at}")
            }
            None => return Ok(()),
        },
    };
    Err(Trouble::failed(message).hint("a path looks like /app/config"))
}

/// A path that gets a counter may end with a slash.
pub(super) fn check_sequential(path: &str) -> Result<(), Trouble> {
    check(&format!("{path}1"))
}

/// The first fault: its place in UTF-16 units, as Java counts, and what it is.
fn reason(path: &str) -> Option<(usize, &'static str)> {
    let units = path.encode_utf16().collect::<Vec<_>>();
    let slash = u16::from(b'/');
    let mut start = 1;
    for at in 1..=units.len() {
        if at < units.len() && units[at] != slash {
            if let Some(reason) = refused(units[at]) {
                return Some((at, reason));
            }
            continue;
        }
        match String::from_utf16_lossy(&units[start..at]).as_str() {
            "" => return Some((at, "empty node name specified")),
            "." | ".." => return Some((at - 1, "relative paths not allowed")),
            _ => start = at + 1,
        }
    }
    (!path::is_valid(path)).then_some((1, "invalid character"))
}

fn refused(unit: u16) -> Option<&'static str> {
    match unit {
        0 => Some("null character not allowed"),
        1..=0x1f | 0x7f..=0x9f | 0xd800..=0xf8ff | 0xfff0.. => Some("invalid character"),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_are_apaches() {
        for (path, want) in [
            ("", "Path length must be > 0"),
            ("a", "Path must start with / character"),
            ("/a/", "Path must not end with / character"),
            ("//a", "Invalid path string \"//a\" caused by empty node name specified @1"),
            ("/a//b", "Invalid path string \"/a//b\" caused by empty node name specified @3"),
            ("/a/./b", "Invalid path string \"/a/./b\" caused by relative paths not allowed @3"),
            ("/a/..", "Invalid path string \"/a/..\" caused by relative paths not allowed @4"),
            ("/a\u{1}", "Invalid path string \"/a\u{1}\" caused by invalid character @2"),
            ("/\u{1f600}", "Invalid path string \"/\u{1f600}\" caused by invalid character @1"),
        ] {
            assert_eq!(check(path).unwrap_err().message, want);
        }
        for good in ["/", "/a", "/a/...", "/ä b", "/a/..b"] {
            assert!(check(good).is_ok(), "{good}");
        }
        assert!(check_sequential("/a/").is_ok());
    }

    #[test]
    fn what_is_accepted_here_is_valid() {
        for path in ["/a", "/.", "/..", "/a.", "/\u{e000}", "/\u{fffd}", "/a/b/.", "/\u{7f}"] {
            assert_eq!(check(path).is_ok(), path::is_valid(path), "{path:?}");
        }
    }
}
