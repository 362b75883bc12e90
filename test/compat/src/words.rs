//! Answers to four-letter words, with everything taken out that differs from run to run.

use zk_testkit::Server;

/// The lines, numbers as `N`, dates as `DATE`, the version as `V`, the data directory as `DIR`. How
/// many connections and sessions there are, and in which order, depends on the moment: a line that
/// was there already is left out, and lists are sorted.
#[must_use]
pub(crate) fn lines(word: &[u8], answer: &[u8], server: &Server) -> Vec<String> {
    let dir = server.data_dir().display().to_string();
    let text = String::from_utf8_lossy(answer).replace(&dir, "DIR");
    let mut lines: Vec<String> = Vec::new();
    for line in text.lines().map(mask) {
        if !lines.contains(&line) {
            lines.push(line);
        }
    }
    if matches!(word, b"cons" | b"wchp" | b"wchc") {
        lines.sort();
    }
    lines
}

fn mask(line: &str) -> String {
    for name in ["Zookeeper version: ", "zk_version\t"] {
        if line.starts_with(name) {
            return format!("{name}V");
        }
    }
    if let Some((head, _)) = line.split_once(" expire at ") {
        return format!("{} expire at DATE:", mask(head));
    }
    let mut out = String::new();
    let mut rest = line;
    while let Some(c) = rest.chars().next() {
        let hex =
            rest.strip_prefix("0x").map(|r| r.trim_start_matches(|c: char| c.is_ascii_hexdigit()));
        let decimal = rest.trim_start_matches(|c: char| c.is_ascii_digit());
        (out, rest) = match hex {
            Some(after) => (out + "0xN", after),
            None if decimal.len() < rest.len() => (out + "N", behind_exponent(decimal)),
            None => (out + c.encode_utf8(&mut [0; 4]), &rest[c.len_utf8()..]),
        };
    }
    out
}

/// Java writes small numbers as `1.0E-4`.
fn behind_exponent(rest: &str) -> &str {
    let digits =
        rest.strip_prefix("E-").filter(|digits| digits.starts_with(|c: char| c.is_ascii_digit()));
    digits.map_or(rest, |digits| digits.trim_start_matches(|c: char| c.is_ascii_digit()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_masked() {
        assert_eq!(mask("Latency min/avg/max: 0/0.5/12"), "Latency min/avg/max: N/N.N/N");
        assert_eq!(mask("Latency min/avg/max: 0/1.0E-4/1"), "Latency min/avg/max: N/N.N/N");
        assert_eq!(mask("Zxid: 0x1f"), "Zxid: 0xN");
        assert_eq!(mask("1 expire at Sun Nov 22 17:57:04 UTC 2026:"), "N expire at DATE:");
        assert_eq!(mask("Zookeeper version: 3.9.4-abc"), "Zookeeper version: V");
    }
}
