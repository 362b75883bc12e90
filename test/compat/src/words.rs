//! Answers to four-letter words, with everything taken out that differs from run to run.

use zk_testkit::Server;

/// The lines, numbers as `N`, the version as `V`, the data directory as `DIR`.
#[must_use]
pub(crate) fn lines(answer: &[u8], server: &Server) -> Vec<String> {
    let dir = server.data_dir().display().to_string();
    let text = String::from_utf8_lossy(answer).replace(&dir, "DIR");
    text.lines().map(mask).collect()
}

fn mask(line: &str) -> String {
    for name in ["Zookeeper version: ", "zk_version\t"] {
        if line.starts_with(name) {
            return format!("{name}V");
        }
    }
    let mut out = String::new();
    let mut rest = line;
    while let Some(c) = rest.chars().next() {
        let hex =
            rest.strip_prefix("0x").map(|r| r.trim_start_matches(|c: char| c.is_ascii_hexdigit()));
        let decimal = rest.trim_start_matches(|c: char| c.is_ascii_digit());
        (out, rest) = match hex {
            Some(after) => (out + "0xN", after),
            None if decimal.len() < rest.len() => (out + "N", decimal),
            None => (out + c.encode_utf8(&mut [0; 4]), &rest[c.len_utf8()..]),
        };
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_masked() {
        assert_eq!(mask("Latency min/avg/max: 0/0.5/12"), "Latency min/avg/max: N/N.N/N");
        assert_eq!(mask("Zxid: 0x1f"), "Zxid: 0xN");
        assert_eq!(mask("Zookeeper version: 3.9.4-abc"), "Zookeeper version: V");
    }
}
