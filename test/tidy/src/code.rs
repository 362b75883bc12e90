//! Rust source without comments and literals, and the paths that it names.
//!
//! A lexer of one screen, not a parser: enough to tell code from text about code.

/// `source` with every comment, string and character replaced by blanks; lines stay where they
/// were.
#[must_use]
pub fn without_text(source: &str) -> String {
    let mut out = String::with_capacity(source.len());
    let mut rest = source;
    while let Some(c) = rest.chars().next() {
        let is_in_name = out.ends_with(|c: char| c.is_alphanumeric() || c == '_');
        let length = match text_at(rest, is_in_name) {
            0 => {
                out.push(c);
                rest = &rest[c.len_utf8()..];
                continue;
            }
            length => length,
        };
        out.extend(rest[..length].chars().map(|c| if c == '\n' { '\n' } else { ' ' }));
        rest = &rest[length..];
    }
    out
}

/// How many bytes of comment or literal begin here; 0 for code.
fn text_at(rest: &str, is_in_name: bool) -> usize {
    if rest.starts_with("//") {
        return rest.find('\n').unwrap_or(rest.len());
    }
    if rest.starts_with("/*") {
        return block_comment(rest);
    }
    if let Some(inner) = rest.strip_prefix('"') {
        return 1 + quoted(inner, '"');
    }
    if !is_in_name {
        let raw = rest.strip_prefix("br").or_else(|| rest.strip_prefix('r')).unwrap_or_default();
        let hashes = raw.len() - raw.trim_start_matches('#').len();
        if raw[hashes..].starts_with('"') {
            let open = rest.len() - raw.len() + hashes + 1;
            let close = format!("\"{}", "#".repeat(hashes));
            return rest[open..].find(&close).map_or(rest.len(), |at| open + at + close.len());
        }
    }
    // A character, unless it is a lifetime: 'a has no second quote behind its first letter.
    if let Some(inner) = rest.strip_prefix('\'') {
        let mut chars = inner.char_indices();
        if inner.starts_with('\\')
            || (chars.next().is_some() && chars.next().is_some_and(|(_, c)| c == '\''))
        {
            return 1 + quoted(inner, '\'');
        }
    }
    0
}

/// Up to and with the closing quote.
fn quoted(inner: &str, quote: char) -> usize {
    let mut is_escaped = false;
    for (at, c) in inner.char_indices() {
        match c {
            _ if is_escaped => is_escaped = false,
            '\\' => is_escaped = true,
            c if c == quote => return at + 1,
            _ => {}
        }
    }
    inner.len()
}

/// Block comments nest.
fn block_comment(rest: &str) -> usize {
    let (mut depth, mut at) = (0, 0);
    while at < rest.len() {
        if rest[at..].starts_with("/*") {
            (depth, at) = (depth + 1, at + 2);
        } else if rest[at..].starts_with("*/") {
            (depth, at) = (depth - 1, at + 2);
            if depth == 0 {
                return at;
            }
        } else {
            at += rest[at..].chars().next().map_or(1, char::len_utf8);
        }
    }
    rest.len()
}

/// The part of a file that ships: without the test module, which stands last.
#[must_use]
pub fn shipped(code: &str) -> &str {
    code.find("#[cfg(test)]\nmod tests {").map_or(code, |at| &code[..at])
}

/// Every path in code without text, with its line: `use` trees are spread out, so that
/// `use std::{fs, io::Read}` gives `std::fs` and `std::io::Read`.
#[must_use]
pub fn paths(code: &str) -> Vec<(usize, String)> {
    let mut found = Vec::new();
    // The prefixes of the braces that are open, and the path so far.
    let mut open: Vec<String> = Vec::new();
    let (mut path, mut line) = (String::new(), 1);
    let mut chars = code.chars().peekable();
    while let Some(c) = chars.next() {
        match c {
            ':' if chars.peek() == Some(&':') && !path.is_empty() => {
                chars.next();
                path.push_str("::");
            }
            c if c.is_alphanumeric() || c == '_' || (c == '*' && path.ends_with("::")) => {
                path.push(c);
            }
            '{' if path.ends_with("::") => open.push(prefixed(&open, &std::mem::take(&mut path))),
            c => {
                let whole = prefixed(&open, &std::mem::take(&mut path));
                if whole.contains("::") && !whole.ends_with("::") {
                    found.push((line, whole));
                }
                match c {
                    '}' => drop(open.pop()),
                    ';' => open.clear(),
                    // Any other brace closes by itself.
                    '{' => open.push(String::new()),
                    _ => {}
                }
            }
        }
        line += usize::from(c == '\n');
    }
    found
}

fn prefixed(open: &[String], path: &str) -> String {
    match open.last() {
        Some(prefix) if !prefix.is_empty() && path != "self" => format!("{prefix}{path}"),
        Some(prefix) if !prefix.is_empty() => prefix.trim_end_matches("::").to_owned(),
        _ => path.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_is_blanked_and_code_stays() {
        for (source, code) in [
            ("a // b\nc", "a     \nc"),
            ("a /* b /* c */ d */ e", "a                   e"),
            (r#"f("x\"y", z)"#, "f(      , z)"),
            (r##"f(r#"a"b"#, z)"##, "f(        , z)"),
            ("fn f<'a>(c: &'a str) { c == 'x' }", "fn f<'a>(c: &'a str) { c ==     }"),
            (r"g('\'', '\n')", "g(    ,     )"),
            ("br\"x\" bar", "      bar"),
            ("\"ü\nü\" x", "  \n   x"),
        ] {
            assert_eq!(without_text(source), code, "{source}");
        }
    }

    #[test]
    fn use_trees_are_spread_out() {
        let code = "use std::{fs::{self, File}, io};\nfn f() { std::thread::spawn(|| 1); }\n";
        let found: Vec<(usize, String)> = paths(code);
        let want =
            [(1, "std::fs"), (1, "std::fs::File"), (1, "std::io"), (2, "std::thread::spawn")];
        assert_eq!(found, want.map(|(line, path)| (line, path.to_owned())));
    }

    #[test]
    fn the_test_module_does_not_ship() {
        assert_eq!(shipped("fn a() {}\n#[cfg(test)]\nmod tests {\n}\n"), "fn a() {}\n");
        assert_eq!(shipped("#[cfg(test)]\nmod testing;\nfn a() {}\n").lines().count(), 3);
    }
}
