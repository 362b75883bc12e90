//! The words of docs/glossary.md: what it says not to say is said nowhere.
//!
//! In the glossary's tables the last column, headed "not", lists words. Those in backticks are
//! looked for in Rust and Markdown, in names as well as in sentences; the others depend on what is
//! meant and are left to reviewers.

use crate::{Finding, files::TextFile};

/// Where the words come from.
pub const GLOSSARY: &str = "docs/glossary.md";

/// A word not to be used, and what to use.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Synonym {
    /// In lower case, with single blanks.
    pub banned: String,
    /// The word for it.
    pub say: String,
}

/// The synonyms that a glossary bans.
#[must_use]
pub fn banned(glossary: &str) -> Vec<Synonym> {
    let mut found = Vec::new();
    let mut has_not = false;
    for line in glossary.lines() {
        let cells: Vec<&str> = line.trim_matches('|').split('|').map(str::trim).collect();
        if !line.starts_with('|') {
            has_not = false;
        } else if cells.last() == Some(&"not") {
            has_not = true;
        } else if let (true, [say, .., not]) = (has_not, cells.as_slice()) {
            let quoted = not.split('`').skip(1).step_by(2);
            found.extend(
                quoted
                    .map(|word| Synonym { banned: normal(word), say: say.replace(['*', '`'], "") }),
            );
        }
    }
    found
}

/// Every use of a banned word.
#[must_use]
pub fn uses(banned: &[Synonym], files: &[TextFile]) -> Vec<Finding> {
    let mut found = Vec::new();
    let of_us = |file: &&TextFile| (file.is_rust() || file.is_markdown()) && file.path != GLOSSARY;
    for file in files.iter().filter(of_us) {
        for (number, line) in (1..).zip(file.text.lines()) {
            let words = format!(" {} ", normal(line));
            for word in banned.iter().filter(|word| words.contains(&format!(" {} ", word.banned))) {
                let what = format!("\"{}\": say {} ({GLOSSARY})", word.banned, word.say);
                found.push(Finding::new(&file.path, number, what));
            }
        }
    }
    found
}

/// Words in lower case with single blanks between them: `TxnLog`, `txn_log` and "Txn log," are the
/// same.
fn normal(text: &str) -> String {
    let mut words = String::with_capacity(text.len() + 8);
    let mut last_is_lower = false;
    for c in text.chars() {
        let starts_word = last_is_lower && c.is_uppercase();
        if !words.ends_with(' ') && (starts_word || !c.is_alphanumeric()) {
            words.push(' ');
        }
        if c.is_alphanumeric() {
            words.extend(c.to_lowercase());
        }
        last_is_lower = c.is_lowercase();
    }
    words.trim().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    const GLOSSARY_TEXT: &str = "\
# Glossary

| say | meaning | not |
| --- | --- | --- |
| **zxid** | the number of a txn | `txid`, index |
| **txn log** | all txns | `write-ahead log`, `WAL` |

| key | value |
| --- | --- |
| a | `b` |
";

    #[test]
    fn quoted_words_of_the_last_column_are_banned() {
        let banned = banned(GLOSSARY_TEXT);
        let words: Vec<(&str, &str)> =
            banned.iter().map(|word| (word.banned.as_str(), word.say.as_str())).collect();
        assert_eq!(words, [("txid", "zxid"), ("write ahead log", "txn log"), ("wal", "txn log")]);
    }

    #[test]
    fn they_are_found_in_names_and_sentences() {
        let banned = banned(GLOSSARY_TEXT);
        let text = "struct WalWriter;\nlet last_txid = 1;\n/// The Write-ahead  log.\nlet wall = \"walk\";\n";
        let found = uses(&banned, &[TextFile::new("a.rs", text)]);
        assert_eq!(found.iter().map(|f| f.line).collect::<Vec<_>>(), [1, 2, 3]);
        assert_eq!(uses(&banned, &[TextFile::new(GLOSSARY, text)]), []);
        assert_eq!(uses(&banned, &[TextFile::new("a.java", text)]), []);
    }
}
