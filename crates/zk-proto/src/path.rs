//! Paths of znodes: validation and taking apart (client-protocol 7.1).

/// `/zookeeper`, the parent of everything the server keeps for itself.
pub const ZOOKEEPER: &str = "/zookeeper";
/// Root of the quota tree.
pub const QUOTA: &str = "/zookeeper/quota";
/// The ensemble's configuration.
pub const CONFIG: &str = "/zookeeper/config";
/// Name of a quota's limit znode.
pub const QUOTA_LIMITS: &str = "zookeeper_limits";
/// Name of a quota's usage znode.
pub const QUOTA_STATS: &str = "zookeeper_stats";

/// Whether a znode may have this path (`PathUtils.validatePath`): it begins with a slash, does not
/// end with one, has no empty, `.` or `..` component and no character that Apache refuses. Java
/// looks at UTF-16 units, so everything above U+FFFF is refused as well.
#[must_use]
pub fn is_valid(path: &str) -> bool {
    let bytes = path.as_bytes();
    let Some((b'/', rest)) = bytes.split_first() else { return false };
    if rest.is_empty() {
        return true;
    }
    rest.split(|&b| b == b'/').all(is_plain_name) || path[1..].split('/').all(is_valid_name)
}

/// Whether a znode may have this name, see [`is_valid`].
#[must_use]
pub fn is_valid_name(name: &str) -> bool {
    is_plain_name(name.as_bytes())
        || (!matches!(name, "" | "." | "..")
            && !name.contains('/')
            && !name.chars().any(is_refused))
}

/// The usual case, with one look at each byte.
fn is_plain_name(name: &[u8]) -> bool {
    let is_plain = |b: &u8| (b' '..0x7f).contains(b) && *b != b'/';
    !matches!(name, b"" | b"." | b"..") && name.iter().all(is_plain)
}

fn is_refused(c: char) -> bool {
    matches!(
        c,
        '\0'..='\u{1f}'
            | '\u{7f}'..='\u{9f}'
            | '\u{e000}'..='\u{f8ff}'
            | '\u{fff0}'..='\u{ffff}'
            | '\u{10000}'..
    )
}

/// The parent's path and the last component, split at the last slash; `None` without a slash. The
/// parent of a top-level znode is `""`, an alias of `/`.
#[must_use]
#[inline]
pub fn split(path: &str) -> Option<(&str, &str)> {
    path.rsplit_once('/')
}

/// Whether `path` is `ancestor` or lies below it, by components.
#[must_use]
pub fn is_at_or_below(path: &str, ancestor: &str) -> bool {
    match path.strip_prefix(ancestor.trim_end_matches('/')) {
        Some(rest) => rest.is_empty() || rest.starts_with('/'),
        None => false,
    }
}

/// The four znodes that cannot be deleted.
#[must_use]
pub fn is_special(path: &str) -> bool {
    matches!(path, "/" | ZOOKEEPER | QUOTA | CONFIG)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn apaches_rules() {
        for good in [
            "/",
            "/a",
            "/a/b",
            "/a.b",
            "/...",
            "/a/..b",
            "/\u{4e2d}",
            "/ ",
            "/\u{a0}",
            "/\u{f900}",
            "/\u{ffef}",
        ] {
            assert!(is_valid(good), "{good:?}");
        }
        for bad in [
            "",
            "a",
            "//a",
            "/a/",
            "/a//b",
            "/.",
            "/..",
            "/a/./b",
            "/a/..",
            "/\0",
            "/\u{1f}",
            "/\u{7f}",
            "/\u{9f}",
            "/\u{e000}",
            "/\u{f8ff}",
            "/\u{fffd}",
            "/\u{fff0}",
            "/\u{1f600}",
            "//",
        ] {
            assert!(!is_valid(bad), "{bad:?}");
        }
        for name in ["a", "...", "\u{4e2d}", " "] {
            assert!(is_valid_name(name), "{name:?}");
        }
        for name in ["", ".", "..", "a/b", "/", "\u{4e2d}/", "\0", "\u{e000}"] {
            assert!(!is_valid_name(name), "{name:?}");
        }
    }

    #[test]
    fn splitting() {
        assert_eq!(split("/a"), Some(("", "a")));
        assert_eq!(split("/a/b"), Some(("/a", "b")));
        assert_eq!(split("/"), Some(("", "")));
        assert_eq!(split("a"), None);
    }

    #[test]
    fn below_goes_by_components() {
        assert!(is_at_or_below("/r/x", "/r"));
        assert!(is_at_or_below("/r", "/r"));
        assert!(!is_at_or_below("/rx", "/r"));
        assert!(is_at_or_below("/anything", "/"));
    }
}
