//! Typed look-ups in the merged properties; every finding goes to the list of problems.

use std::collections::BTreeMap;
use std::ops::RangeInclusive;
use std::path::PathBuf;
use std::str::FromStr;

use super::problem::{Origin, Problems};
use super::schema::{self, Plan};
use crate::tls::Secret;

/// A value and where it was written. It may be a secret, so it cannot be printed.
#[derive(Clone, PartialEq, Eq)]
pub(super) struct Value {
    pub(super) text: String,
    pub(super) origin: Origin,
}

/// The merged properties, by key without `zookeeper.`.
#[derive(Default)]
pub(super) struct Keys {
    pub(super) values: BTreeMap<String, Value>,
    pub(super) problems: Problems,
    /// Names that were looked up: a test compares them with the schema.
    #[cfg(test)]
    pub(super) asked: std::collections::BTreeSet<String>,
}

impl Keys {
    /// The trimmed text of a key that is set.
    pub(super) fn get(&mut self, key: &str) -> Option<Value> {
        #[cfg(test)]
        self.asked.insert(key.to_owned());
        self.values.get(key).cloned()
    }

    pub(super) fn text(&mut self, key: &str) -> Option<String> {
        self.get(key).map(|value| value.text)
    }

    /// A text where empty means unset, as for most system properties.
    pub(super) fn non_empty(&mut self, key: &str) -> Option<String> {
        self.text(key).filter(|text| !text.is_empty())
    }

    pub(super) fn path(&mut self, key: &str) -> Option<PathBuf> {
        self.non_empty(key).map(PathBuf::from)
    }

    pub(super) fn secret(&mut self, key: &str) -> Option<Secret> {
        self.non_empty(key).map(Secret::new)
    }

    /// A whole number (decimal, or hex after `0x`) in a range; `None` when unset or wrong.
    pub(super) fn number(&mut self, key: &str, range: RangeInclusive<i64>) -> Option<i64> {
        let value = self.get(key)?;
        let number = parse_number(&value.text).filter(|number| range.contains(number));
        if number.is_none() {
            let (low, high) = (range.start(), range.end());
            self.reject(key, &value, &format!("it must be a whole number from {low} to {high}"));
        }
        number
    }

    /// A number that must fit the type of its field; the default when unset or wrong.
    pub(super) fn num<T>(&mut self, key: &str, default: T, range: RangeInclusive<T>) -> T
    where
        T: Copy + Into<i64> + TryFrom<i64>,
    {
        let wide = (*range.start()).into()..=(*range.end()).into();
        self.number(key, wide).and_then(|number| T::try_from(number).ok()).unwrap_or(default)
    }

    /// A number where zero and below mean "off".
    pub(super) fn num_or_off(&mut self, key: &str, default: Option<u64>) -> Option<u64> {
        let Some(value) = self.get(key) else { return default };
        let Some(number) = parse_number(&value.text) else {
            self.reject(key, &value, "it must be a whole number; 0 turns it off");
            return default;
        };
        u64::try_from(number).ok().filter(|number| *number > 0)
    }

    /// A decimal fraction.
    pub(super) fn fraction(&mut self, key: &str, default: f64) -> f64 {
        let Some(value) = self.get(key) else { return default };
        match value.text.parse::<f64>() {
            Ok(number) if number.is_finite() => number,
            _ => {
                self.reject(key, &value, "it must be a number such as 0.33");
                default
            }
        }
    }

    /// A boolean that Apache parses strictly: `true` or `false` in any case.
    pub(super) fn strict_bool(&mut self, key: &str, default: bool) -> bool {
        let Some(value) = self.get(key) else { return default };
        match value.text.to_ascii_lowercase().as_str() {
            "true" => true,
            "false" => false,
            _ => {
                self.reject(key, &value, "it must be true or false");
                default
            }
        }
    }

    /// A boolean that Apache reads as a system property: everything but `true` is false there. A
    /// value that is neither is probably a mistake, so it is named.
    pub(super) fn java_bool(&mut self, key: &str, default: bool) -> bool {
        let Some(value) = self.get(key) else { return default };
        match value.text.to_ascii_lowercase().as_str() {
            "true" => true,
            "false" => false,
            _ => {
                let text = format!("{key} = {}: taken as false; write true or false", value.text);
                self.problems.warn(&value.origin, text);
                false
            }
        }
    }

    /// A switch that Apache compares with one word only, such as `forceSync=no`; every other value
    /// means the opposite. `true` and `false` are warned about, since they do not do what they say.
    pub(super) fn is_word(&mut self, key: &str, word: &str) -> bool {
        let Some(value) = self.get(key) else { return false };
        let hit = value.text == word;
        if !hit && !matches!(value.text.as_str(), "yes" | "no") {
            let text = format!(
                "{key} = {}: only the word {word} has an effect, as in Apache; write yes or no",
                value.text
            );
            self.problems.warn(&value.origin, text);
        }
        hit
    }

    /// A word of a fixed list; the first of the list when unset or wrong.
    pub(super) fn choice<T: Copy>(&mut self, key: &str, choices: &[(&str, T)]) -> T {
        let first = choices[0].1;
        let Some(value) = self.get(key) else { return first };
        let hit = choices.iter().find(|(word, _)| word.eq_ignore_ascii_case(&value.text));
        if let Some((_, choice)) = hit {
            return *choice;
        }
        let words = choices.iter().map(|(word, _)| *word).collect::<Vec<_>>().join(", ");
        self.reject(key, &value, &format!("it must be one of: {words}"));
        first
    }

    /// A list separated by commas, blanks removed, empty parts left out.
    pub(super) fn list(&mut self, key: &str) -> Vec<String> {
        let text = self.text(key).unwrap_or_default();
        text.split(',').map(str::trim).filter(|part| !part.is_empty()).map(str::to_owned).collect()
    }

    /// All keys that start with a prefix, with what follows the prefix.
    pub(super) fn with_prefix(&mut self, prefix: &str) -> Vec<(String, Value)> {
        #[cfg(test)]
        self.asked.insert(format!("{prefix}*"));
        let all = self.values.iter();
        all.filter_map(|(key, value)| {
            key.strip_prefix(prefix).map(|rest| (rest.to_owned(), value.clone()))
        })
        .collect()
    }

    /// Where a key was written.
    pub(super) fn origin(&self, key: &str) -> Origin {
        self.values.get(key).map_or(Origin::Nowhere, |value| value.origin.clone())
    }

    /// Adds an error about a key and its value; secrets are not shown.
    pub(super) fn reject(&mut self, key: &str, value: &Value, why: &str) {
        let shown = if is_secret(key) { "***" } else { value.text.as_str() };
        self.problems.error(&value.origin, format!("{key} = {shown}: {why}"));
    }

    /// Adds an error about a key, wherever it was written.
    pub(super) fn error(&mut self, key: &str, text: impl Into<String>) {
        let origin = self.origin(key);
        self.problems.error(&origin, text);
    }

    /// Adds a warning about a key, wherever it was written.
    pub(super) fn warn(&mut self, key: &str, text: impl Into<String>) {
        let origin = self.origin(key);
        self.problems.warn(&origin, text);
    }

    /// Says what the schema says about each key that is set: unknown, without effect or refused.
    pub(super) fn check_against_schema(&mut self) {
        let mut found = Vec::new();
        for (key, value) in &self.values {
            if key.is_empty() {
                let text =
                    "there is no key in front of = or : on this line; it has no effect, remove it";
                found.push((false, value.origin.clone(), text.to_owned()));
                continue;
            }
            let Some(known) = schema::find(key) else {
                let hint = match schema::suggest(key) {
                    Some(name) => format!("did you mean {name}?"),
                    None => "it has no effect; remove it".to_owned(),
                };
                found.push((false, value.origin.clone(), format!("{key}: unknown key; {hint}")));
                continue;
            };
            let inert = !known.inert.is_empty() && value.text.eq_ignore_ascii_case(known.inert);
            let (fatal, text) = match known.plan {
                Plan::Honoured | Plan::Ensemble => continue,
                _ if inert => continue,
                Plan::Later(why) => (false, format!("{key}: accepted without effect: {why}")),
                Plan::Ignored(why) => (false, format!("{key}: accepted without effect: {why}")),
                Plan::Refused(why) => (true, format!("{key}: refused: {why}; remove it")),
            };
            found.push((fatal, value.origin.clone(), text));
        }
        for (fatal, origin, text) in found {
            if fatal {
                self.problems.error(&origin, text);
            } else {
                self.problems.warn(&origin, text);
            }
        }
    }
}

/// Java's `Integer.decode` without octal numbers, which nobody means.
fn parse_number(text: &str) -> Option<i64> {
    match text.strip_prefix("0x") {
        Some(hex) => i64::from_str_radix(hex, 16).ok(),
        None => i64::from_str(text).ok(),
    }
}

/// Whether the value of a key must not be printed. One that nobody knows may be a secret's that is
/// misspelt.
pub(super) fn is_secret(key: &str) -> bool {
    names_secret(key)
        || !schema::is_exact(key)
            && (looks_secret(key) || schema::suggest(key).is_some_and(names_secret))
}

/// That of `sessionPassword` is the name of a rule.
fn names_secret(key: &str) -> bool {
    let key = key.to_ascii_lowercase();
    !names_file(&key)
        && key != "sessionpassword"
        && (key.contains("password") || key.ends_with("superdigest") || key == "ensembleauthname")
}

/// Of a key that is unknown: a comment's words too.
pub(super) fn looks_secret(key: &str) -> bool {
    const PARTS: [&str; 5] = ["passw", "passphrase", "pwd", "secret", "credential"];
    let key = key.to_ascii_lowercase();
    !names_file(&key) && !schema::is_exact(&key) && PARTS.iter().any(|part| key.contains(part))
}

fn names_file(key: &str) -> bool {
    key.ends_with("path") || key.ends_with("file")
}
