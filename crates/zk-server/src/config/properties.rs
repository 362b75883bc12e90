//! The `java.util.Properties` text format, with line numbers (operations 1, row "syntax").
//!
//! Mirrors `java.util.Properties.load(InputStream)`: bytes are ISO-8859-1, `#` and `!` start
//! comments, a line that ends in an odd number of backslashes goes on in the next one, the key ends
//! at the first `=`, `:` or white space that is not escaped. Differs in: entries keep their order,
//! their line and their duplicates, because an operator wants to hear of all three, and a backslash
//! that is alone at the end of the file is not an entry without a name.

use std::fmt;

/// One `key=value` of a file.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Property {
    /// The key, escapes undone.
    pub key: String,
    /// The value, escapes undone; white space at its end is part of it.
    pub value: String,
    /// Where the logical line starts, from 1.
    pub line: u32,
    /// Where it ends: greater than `line` when it is continued.
    pub last_line: u32,
}

/// A `\u` that is not followed by four hex digits; Java refuses the whole file then.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub struct BadEscape {
    /// The line where the entry starts, from 1.
    pub line: u32,
}

impl fmt::Display for BadEscape {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("\\u must be followed by four hex digits; write a backslash as \\\\")
    }
}

/// The entries of a file in order, duplicates included (the last one wins).
pub fn parse(bytes: &[u8]) -> Result<Vec<Property>, BadEscape> {
    let mut out = Vec::new();
    let mut lines = Lines { rest: bytes, number: 0 };
    while let Some((line, logical)) = lines.next_logical() {
        let (key, value) = split(&logical);
        let undo = |raw| unescape(raw).ok_or(BadEscape { line });
        out.push(Property { key: undo(key)?, value: undo(value)?, line, last_line: lines.number });
    }
    Ok(out)
}

/// The lines as [`parse`] counts them, without their ends.
pub fn natural_lines(bytes: &[u8]) -> impl Iterator<Item = &[u8]> {
    let mut lines = Lines { rest: bytes, number: 0 };
    std::iter::from_fn(move || lines.next_natural())
}

struct Lines<'a> {
    rest: &'a [u8],
    number: u32,
}

impl<'a> Lines<'a> {
    /// The next line that holds an entry, joined with those that continue it.
    fn next_logical(&mut self) -> Option<(u32, Vec<char>)> {
        loop {
            let mut part = trim_start(self.next_natural()?);
            let start = self.number;
            if part.is_empty() || matches!(part[0], b'#' | b'!') {
                continue;
            }
            let mut logical = Vec::new();
            loop {
                let backslashes = part.iter().rev().take_while(|&&b| b == b'\\').count();
                let continues = backslashes % 2 == 1;
                let kept = &part[..part.len() - usize::from(continues)];
                logical.extend(kept.iter().map(|&byte| byte as char));
                // As long as there is nothing, the next line can still be a comment.
                match (continues && !logical.is_empty()).then(|| self.next_natural()).flatten() {
                    Some(next) => part = trim_start(next),
                    None => break,
                }
            }
            if !logical.is_empty() {
                return Some((start, logical));
            }
        }
    }

    /// The bytes up to the next `\n`, `\r` or `\r\n`.
    fn next_natural(&mut self) -> Option<&'a [u8]> {
        if self.rest.is_empty() {
            return None;
        }
        self.number += 1;
        let end = self.rest.iter().position(|b| matches!(b, b'\n' | b'\r'));
        let line = &self.rest[..end.unwrap_or(self.rest.len())];
        let after = &self.rest[line.len()..];
        let ending = match after {
            [b'\r', b'\n', ..] => 2,
            [] => 0,
            _ => 1,
        };
        self.rest = &after[ending..];
        Some(line)
    }
}

fn trim_start(line: &[u8]) -> &[u8] {
    let blank = line.iter().take_while(|byte| is_blank(**byte as char)).count();
    &line[blank..]
}

/// Java's white space of this format: space, tab and form feed.
fn is_blank(c: char) -> bool {
    matches!(c, ' ' | '\t' | '\x0c')
}

/// Cuts a logical line into raw key and raw value.
fn split(line: &[char]) -> (&[char], &[char]) {
    let mut escaped = false;
    let key_end = line
        .iter()
        .position(|&c| {
            let ends = !escaped && (matches!(c, '=' | ':') || is_blank(c));
            escaped = c == '\\' && !escaped;
            ends
        })
        .unwrap_or(line.len());
    let mut value = skip_blank(&line[key_end..]);
    if matches!(value.first(), Some('=' | ':')) {
        value = skip_blank(&value[1..]);
    }
    (&line[..key_end], value)
}

fn skip_blank(text: &[char]) -> &[char] {
    &text[text.iter().take_while(|c| is_blank(**c)).count()..]
}

/// Undoes escapes. Java works in UTF-16 units, so two `\u` escapes may make one character.
fn unescape(raw: &[char]) -> Option<String> {
    if !raw.contains(&'\\') {
        return Some(raw.iter().collect());
    }
    let mut units = Vec::with_capacity(raw.len());
    let mut chars = raw.iter();
    while let Some(&c) = chars.next() {
        if c != '\\' {
            units.push(c as u16);
            continue;
        }
        match chars.next() {
            None => break,
            Some('t') => units.push(u16::from(b'\t')),
            Some('n') => units.push(u16::from(b'\n')),
            Some('r') => units.push(u16::from(b'\r')),
            Some('f') => units.push(0x0c),
            Some('u') => {
                let mut unit = 0;
                for _ in 0..4 {
                    unit = unit << 4 | chars.next()?.to_digit(16)? as u16;
                }
                units.push(unit);
            }
            Some(&other) => units.push(other as u16),
        }
    }
    Some(String::from_utf16_lossy(&units))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[track_caller]
    fn check(text: &str, wanted: &[(&str, &str, u32)]) {
        let got = parse(text.as_bytes()).unwrap();
        let got =
            got.iter().map(|p| (p.key.as_str(), p.value.as_str(), p.line)).collect::<Vec<_>>();
        assert_eq!(got, wanted);
    }

    #[test]
    fn separators_are_equals_colon_and_white_space() {
        check(
            "a=1\nb: 2\nc 3\nd\t=\t4\ne==5\nf : = 6\ng",
            &[
                ("a", "1", 1),
                ("b", "2", 2),
                ("c", "3", 3),
                ("d", "4", 4),
                ("e", "=5", 5),
                ("f", "= 6", 6),
                ("g", "", 7),
            ],
        );
    }

    #[test]
    fn comments_and_blank_lines_hold_nothing() {
        check("# a=1\n  ! b=2\n\n \t\x0c\nc=3 # no comment\n", &[("c", "3 # no comment", 5)]);
        check("#ends with a backslash\\\nd=4", &[("d", "4", 2)]);
    }

    #[test]
    fn a_backslash_at_the_end_continues_the_line() {
        check("a=1,\\\n   2,\\\r\n\t3\nb=4", &[("a", "1,2,3", 1), ("b", "4", 4)]);
        check("a=1\\\\\nb=2", &[("a", "1\\", 1), ("b", "2", 2)]);
        check("a=1\\", &[("a", "1", 1)]);
        check("\\\na=1", &[("a", "1", 2)]);
        check("\\\n#a=1", &[]);
        check("a=\\\n\nb=1", &[("a", "", 1), ("b", "1", 3)]);
    }

    #[test]
    fn escapes_are_javas() {
        check("a\\=b\\:c\\ d=x\\ty\\nz\\q\\u0041\\\\", &[("a=b:c d", "x\ty\nzqA\\", 1)]);
        check("a=\\uD83D\\uDE00", &[("a", "\u{1F600}", 1)]);
        check("a= \\ lead and trail  ", &[("a", " lead and trail  ", 1)]);
        assert_eq!(parse(b"x=1\ny=\\u00G1"), Err(BadEscape { line: 2 }));
        assert_eq!(parse(b"y=\\u00"), Err(BadEscape { line: 1 }));
    }

    #[test]
    fn bytes_are_iso_8859_1() {
        assert_eq!(parse(b"a=\xe9\xff").unwrap()[0].value, "\u{e9}\u{ff}");
    }

    #[test]
    fn carriage_returns_end_lines() {
        check(
            "a=1\rb=2\r\nc=3\n\rd=4",
            &[("a", "1", 1), ("b", "2", 2), ("c", "3", 3), ("d", "4", 5)],
        );
    }

    /// Writes a key or value so that Java reads it back.
    fn escape(text: &str) -> String {
        text.encode_utf16().map(|unit| format!("\\u{unit:04x}")).collect()
    }

    proptest! {
        #[test]
        fn what_is_written_is_read(entries in prop::collection::vec((".{1,8}", ".{0,8}"), 0..8)) {
            let text = entries
                .iter()
                .map(|(k, v)| format!("{}={}\n", escape(k), escape(v)))
                .collect::<String>();
            let got = parse(text.as_bytes()).unwrap();
            let got = got.into_iter().map(|p| (p.key, p.value)).collect::<Vec<_>>();
            prop_assert_eq!(got, entries);
        }

        #[test]
        fn no_bytes_make_it_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            let _ = parse(&bytes);
        }
    }
}
