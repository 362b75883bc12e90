//! From files, command line and environment to a [`ServerConfig`].

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use super::dynamic::{DynamicFiles, version_of};
use super::keys::{Keys, Value, is_secret, looks_secret};
use super::problem::{ConfigError, Origin, Problem, Problems};
use super::properties::{self, Property};
use super::{Ensemble, ServerConfig, schema};

/// A property that is not from the file. It may be a secret, so it cannot be printed.
#[derive(Clone, PartialEq, Eq)]
pub struct Override {
    key: String,
    value: String,
    origin: Origin,
}

impl Override {
    /// The text after `-D` of the command line: `key=value`, or `key` alone for an empty value.
    #[must_use]
    pub fn from_argument(text: &str) -> Override {
        Override::new(text, Origin::CommandLine)
    }

    /// The `-Dkey=value` words of `JVMFLAGS` or `SERVER_JVMFLAGS`; other words are for a JVM.
    #[must_use]
    pub fn from_jvm_flags(flags: &str) -> Vec<Override> {
        let words = flags.split_whitespace().filter_map(|word| word.strip_prefix("-D"));
        words.map(|text| Override::new(text, Origin::Environment)).collect()
    }

    fn new(text: &str, origin: Origin) -> Override {
        let (key, value) = text.split_once('=').unwrap_or((text, ""));
        Override { key: key.to_owned(), value: value.to_owned(), origin }
    }
}

/// What is not in the file.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Options {
    /// `--unsafe`: values that give data away are accepted.
    pub unsafe_allowed: bool,
    /// The number in the file `myid`.
    pub server_id: Option<i64>,
}

/// A configuration that can be started, and what the operator should know about it.
#[derive(Clone, PartialEq, Debug)]
pub struct Loaded {
    /// The settings.
    pub config: ServerConfig,
    /// Warnings only.
    pub warnings: Vec<Problem>,
}

/// Reads a zoo.cfg, the dynamic file that it names, and the `myid` of its data directory.
pub fn load(
    path: &Path,
    overrides: &[Override],
    mut options: Options,
) -> Result<Loaded, ConfigError> {
    let text = read(path)?;
    let name = path.display().to_string();
    let mut draft = Draft::new(&name, &text, overrides);
    if let Some(value) = draft.keys.values.get("dynamicConfigFile").cloned() {
        draft.add_dynamic(&value.text, &read(Path::new(&value.text))?);
        draft.version = version_of(&value.text);
    }
    let files = DynamicFiles { static_file: path.to_owned() };
    draft.next = files.next().unwrap_or_else(|error| {
        draft.keys.problems.error(&Origin::Nowhere, error.to_string());
        None
    });
    draft.files = Some(files);
    if let Some(dir) = draft.keys.values.get("dataDir") {
        options.server_id = my_id(&Path::new(&dir.text).join("myid"), &mut draft.keys.problems);
    }
    draft.finish(options)
}

/// The same for text in memory, without a dynamic file.
pub fn parse(
    name: &str,
    text: &[u8],
    overrides: &[Override],
    options: Options,
) -> Result<Loaded, ConfigError> {
    Draft::new(name, text, overrides).finish(options)
}

fn read(path: &Path) -> Result<Vec<u8>, ConfigError> {
    let fail = |source| ConfigError::Read { path: path.display().to_string(), source };
    std::fs::read(path).map_err(fail)
}

fn my_id(path: &Path, problems: &mut Problems) -> Option<i64> {
    use std::io::ErrorKind::{NotADirectory, NotFound};
    // A standalone server needs no such file; one that exists and cannot be read is a problem. That
    // dataDir is no directory is found, and said better, when it is opened.
    let text = match std::fs::read_to_string(path) {
        Ok(text) => text,
        Err(error) if matches!(error.kind(), NotFound | NotADirectory) => return None,
        Err(error) => {
            problems.error(&Origin::Nowhere, format!("{}: {error}", path.display()));
            return None;
        }
    };
    let id = text.lines().next().and_then(|line| line.trim().parse::<i64>().ok());
    if id.is_none() {
        let text = format!("{}: the first line must be the server's number", path.display());
        problems.error(&Origin::Nowhere, text);
    }
    id
}

/// Properties on their way to a configuration.
struct Draft {
    keys: Keys,
    initial_text: String,
    /// Of the configuration of the ensemble.
    version: i64,
    next: Option<Ensemble>,
    files: Option<DynamicFiles>,
    /// A file could not be read as properties: what is missing may be in it.
    is_cut_short: bool,
}

impl Draft {
    fn new(name: &str, text: &[u8], overrides: &[Override]) -> Draft {
        let mut draft = Draft {
            keys: Keys::default(),
            initial_text: String::new(),
            version: 0,
            next: None,
            files: None,
            is_cut_short: false,
        };
        let file: Arc<str> = name.into();
        let text = draft.behind_mark(&file, text);
        let entries = draft.parse_file(&file, text);
        draft.initial_text = masked(text, &entries);
        draft.add_file(&file, entries);
        draft.add_overrides(overrides);
        draft
    }

    /// Editors of Windows mark UTF-8 by three bytes. For Apache 3.9.4 they are a part of the first
    /// key (`Properties.load` of a stream takes bytes for ISO-8859-1), which is then unknown.
    fn behind_mark<'a>(&mut self, file: &Arc<str>, text: &'a [u8]) -> &'a [u8] {
        let Some(rest) = text.strip_prefix(BYTE_ORDER_MARK) else { return text };
        let text = "the file begins with a byte order mark (EF BB BF), which is skipped here; for Apache \
                    it is a part of the first key: remove it";
        self.keys.problems.warn(&Origin::File(file.clone(), 1), text);
        rest
    }

    fn parse_file(&mut self, file: &Arc<str>, text: &[u8]) -> Vec<Property> {
        properties::parse(text).unwrap_or_else(|bad| {
            self.is_cut_short = true;
            self.keys.problems.error(&Origin::File(file.clone(), bad.line), bad.to_string());
            Vec::new()
        })
    }

    fn add_file(&mut self, file: &Arc<str>, entries: Vec<Property>) {
        let has_dynamic = entries.iter().any(|entry| entry.key == "dynamicConfigFile");
        for entry in entries {
            let origin = Origin::File(file.clone(), entry.line);
            if has_dynamic && is_dynamic(&entry.key) {
                let text = format!(
                    "{}: dynamicConfigFile is set, so this line must be in that file",
                    entry.key
                );
                self.keys.problems.error(&origin, text);
                continue;
            }
            self.add(&entry.key, entry.value.trim(), origin);
        }
    }

    /// Adds one value of a file; a later one wins, as in Java.
    fn add(&mut self, key: &str, value: &str, origin: Origin) {
        let problems = &mut self.keys.problems;
        let name = canonical(key.trim());
        if name != key.trim() {
            let text = format!("{key}: Apache ignores it with this prefix in a file; write {name}");
            problems.warn(&origin, text);
        } else if APACHE_NEEDS_D.contains(&name) {
            let text =
                format!("{name}: honoured here; Apache ignores it in a file and needs -D{name}=");
            problems.warn(&origin, text);
        }
        let value = Value { text: value.to_owned(), origin: origin.clone() };
        if let Some(before) = self.keys.values.insert(name.to_owned(), value)
            && let Origin::File(_, line) = before.origin
        {
            problems.warn(&origin, format!("{name}: set on line {line} too; this one counts"));
        }
    }

    fn add_dynamic(&mut self, name: &str, text: &[u8]) {
        let file: Arc<str> = name.into();
        let text = self.behind_mark(&file, text);
        for entry in self.parse_file(&file, text) {
            let origin = Origin::File(file.clone(), entry.line);
            if is_dynamic(&entry.key) {
                self.add(&entry.key, entry.value.trim(), origin);
            } else {
                let text = format!(
                    "{}: a dynamic file holds only server, group and weight lines; move it to \
                     zoo.cfg",
                    entry.key
                );
                self.keys.problems.error(&origin, text);
            }
        }
    }

    /// The file wins over `-D`, as in Apache, where the file is read later. The command line wins
    /// over the environment.
    fn add_overrides(&mut self, overrides: &[Override]) {
        let mut chosen = BTreeMap::new();
        let from_environment = |one: &&Override| one.origin == Origin::Environment;
        let in_order = overrides.iter().filter(from_environment);
        for one in in_order.chain(overrides.iter().filter(|one| !from_environment(one))) {
            chosen.insert(canonical(&one.key), one);
        }
        for (name, one) in chosen {
            // A JVM has properties that are none of our business.
            let is_ours = one.key.starts_with(PREFIX) || schema::find(name).is_some();
            if one.origin == Origin::Environment && !is_ours {
                continue;
            }
            if let Some(Origin::File(file, line)) =
                self.keys.values.get(name).map(|value| &value.origin)
            {
                let text = format!("-D{}: {file}:{line} sets it too and counts", one.key);
                self.keys.problems.warn(&one.origin, text);
                continue;
            }
            let value = Value { text: one.value.trim().to_owned(), origin: one.origin.clone() };
            self.keys.values.insert(name.to_owned(), value);
        }
    }

    fn finish(mut self, options: Options) -> Result<Loaded, ConfigError> {
        if self.is_cut_short {
            return Err(ConfigError::Invalid(self.keys.problems.sorted()));
        }
        self.keys.check_against_schema();
        let mut config = ServerConfig::read(&mut self.keys, options);
        config.initial_text = self.initial_text;
        let quorum = &mut config.quorum;
        quorum.ensemble.version = self.version;
        (quorum.proposed, quorum.files) = (self.next, self.files);
        let shown = |(key, value): (&String, &Value)| {
            (key.clone(), if is_secret(key) { "***".to_owned() } else { value.text.clone() })
        };
        config.properties = self.keys.values.iter().map(shown).collect();
        if self.keys.problems.has_errors() {
            return Err(ConfigError::Invalid(self.keys.problems.sorted()));
        }
        Ok(Loaded { config, warnings: self.keys.problems.sorted() })
    }
}

const BYTE_ORDER_MARK: &[u8] = b"\xef\xbb\xbf";

/// What Apache puts before a key of the file when it makes a system property of it.
const PREFIX: &str = "zookeeper.";

/// System properties that Apache reads without the prefix, so a line of the file does not reach
/// them (operations 1, row "unknown key").
const APACHE_NEEDS_D: [&str; 6] = [
    "jute.maxbuffer",
    "readonlymode.enabled",
    "znode.container.checkIntervalMs",
    "znode.container.maxPerMinute",
    "znode.container.maxNeverUsedIntervalMs",
    "java.security.auth.login.config",
];

fn canonical(key: &str) -> &str {
    key.strip_prefix(PREFIX).unwrap_or(key)
}

/// Whether a key belongs into a dynamic file, if there is one.
pub(super) fn is_dynamic(key: &str) -> bool {
    let key = key.trim();
    let server = key.starts_with("server.") && key != "server.principal";
    server || key.starts_with("group") || key.starts_with("weight")
}

/// A secret may stand in a line that was put out of use.
fn masked_comment(line: &str) -> Cow<'_, str> {
    let is_comment = line.trim_start().starts_with(['#', '!']);
    let Some(end) = line.find(['=', ':']).filter(|_| is_comment) else { return line.into() };
    let (before, _) = line.split_at(end);
    let mut words = before.split(['#', '!', ' ', '\t']);
    // Prose has many words; a key is the last one.
    let key = before.trim_end().rsplit(['#', '!', ' ', '\t']).next().unwrap_or_default();
    match is_secret(canonical(key)) || words.any(|word| looks_secret(canonical(word))) {
        true => format!("{before}=***").into(),
        false => line.into(),
    }
}

/// The text of a file with the values of secret keys replaced.
fn masked(text: &[u8], entries: &[Property]) -> String {
    let secret = entries.iter().filter(|entry| is_secret(canonical(entry.key.trim())));
    let secret = secret.collect::<Vec<_>>();
    let mut out = String::with_capacity(text.len());
    for (line, number) in properties::natural_lines(text).zip(1..) {
        match secret.iter().find(|entry| (entry.line..=entry.last_line).contains(&number)) {
            None => out.push_str(&masked_comment(&String::from_utf8_lossy(line))),
            Some(entry) if entry.line == number => out.push_str(&format!("{}=***", entry.key)),
            Some(_) => continue,
        }
        out.push('\n');
    }
    out
}
