//! A line of an interactive shell as words (`ZooKeeperMain.MyCommandOptions.parseCommand`).

/// Splits at blanks; a word that begins with a quote ends with it and may hold blanks. There are
/// no escapes. A quote that is never closed is dropped.
pub(super) fn split(line: &str) -> Vec<String> {
    let mut words = Vec::new();
    let mut rest = line.trim_start();
    while let Some(first) = rest.chars().next() {
        let quoted = matches!(first, '"' | '\'').then(|| rest[1..].split_once(first));
        let (word, left) = match quoted {
            Some(Some((word, left))) => (word, left),
            Some(None) => {
                rest = rest[1..].trim_start();
                continue;
            }
            None => rest.split_at(rest.find(char::is_whitespace).unwrap_or(rest.len())),
        };
        words.push(word.to_owned());
        rest = left.trim_start();
    }
    words
}

#[cfg(test)]
mod tests {
    use super::split;

    #[test]
    fn quotes_hold_blanks() {
        for (line, want) in [
            ("", &[] as &[&str]),
            ("  ls   /a ", &["ls", "/a"]),
            ("set /a \"two words\"", &["set", "/a", "two words"]),
            ("set /a 'say \"hi\"' ", &["set", "/a", "say \"hi\""]),
            ("set /a \"\"", &["set", "/a", ""]),
            ("set /a it's", &["set", "/a", "it's"]),
            ("set /a \"open", &["set", "/a", "open"]),
            ("create /ä ü", &["create", "/ä", "ü"]),
        ] {
            assert_eq!(split(line), want, "{line}");
        }
    }
}
