//! The files in which an ensemble that changes keeps its members (quorum-protocol 13.1): a dynamic
//! file beside the zoo.cfg, with the version in its name, and the one that is proposed. Mirrors
//! `QuorumPeerConfig.writeDynamicConfig` and `editStaticConfig`; differs in: comments and the order
//! of the zoo.cfg stay as they are.

use std::ffi::OsString;
use std::fs::{self, File};
use std::io::{self, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt, fchown};
use std::path::{Path, PathBuf};

use zk_zab::{Ensemble, EnsembleError};

use super::{is_dynamic, properties};

/// Behind the zoo.cfg's name, with the version in hexadecimal behind that.
const DYNAMIC: &str = ".dynamic.";
/// Behind the zoo.cfg's name: what is proposed, and not committed.
const NEXT: &str = ".dynamic.next";
/// Behind the zoo.cfg's name: what it was before its first change.
const BACKUP: &str = ".bak";

/// Where they are.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct DynamicFiles {
    /// The zoo.cfg.
    pub static_file: PathBuf,
}

/// What a file says of the ensemble, that cannot be understood.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DynamicError {
    /// A file operation.
    #[error("{}: {source}", .path.display())]
    File {
        /// Of which file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// Its content.
    #[error(
        "{}: {error}; it is a configuration that was proposed: correct it, or remove it if the others \
         have committed another one",
        .path.display()
    )]
    Content {
        /// Of which file.
        path: PathBuf,
        /// What is wrong.
        error: EnsembleError,
    },
}

/// The version that a dynamic file's name tells; 0 for a name without one.
pub(super) fn version_of(path: &str) -> i64 {
    let version = path.rsplit_once('.').and_then(|(_, hex)| i64::from_str_radix(hex, 16).ok());
    version.filter(|version| *version > 0).unwrap_or(0)
}

impl DynamicFiles {
    fn beside(&self, suffix: &str) -> PathBuf {
        let mut name = OsString::from(&self.static_file);
        name.push(suffix);
        name.into()
    }

    /// The configuration that was proposed when this member ended, if it was not committed.
    pub(super) fn next(&self) -> Result<Option<Ensemble>, DynamicError> {
        let path = self.beside(NEXT);
        let text = match fs::read_to_string(&path) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(source) => return Err(DynamicError::File { path, source }),
        };
        Ensemble::parse(&text).map(Some).map_err(|error| DynamicError::Content { path, error })
    }

    /// A configuration is proposed.
    pub(crate) fn write_next(&self, config: &Ensemble) -> Result<(), DynamicError> {
        self.replace(&self.beside(NEXT), config.to_string().as_bytes())
    }

    /// A configuration is committed: it gets its file, and the zoo.cfg names that. With
    /// `has_client` the file says where this member serves its clients, and the zoo.cfg no longer.
    pub(crate) fn activate(&self, config: &Ensemble, has_client: bool) -> Result<(), DynamicError> {
        let dynamic = self.beside(&format!("{DYNAMIC}{:x}", config.version));
        self.replace(&dynamic, config.without_version().as_bytes())?;
        let fail = |source| DynamicError::File { path: self.static_file.clone(), source };
        let text = fs::read(&self.static_file).map_err(fail)?;
        let edited = edit(&text, &absolute(&dynamic), has_client).map_err(fail)?;
        if edited != text {
            let backup = self.beside(BACKUP);
            if !backup.exists() {
                self.replace(&backup, &text)?;
            }
            // Where a link leads, not the link.
            self.replace(&absolute(&self.static_file), &edited)?;
        }
        let next = self.beside(NEXT);
        if let Ok(Some(proposed)) = self.next()
            && proposed.version <= config.version
        {
            fs::remove_file(&next).map_err(|source| DynamicError::File { path: next, source })?;
        }
        Ok(())
    }

    /// Writes a file in one step. Who may read the zoo.cfg may read it, and nobody else: there may
    /// be secrets in it.
    fn replace(&self, path: &Path, bytes: &[u8]) -> Result<(), DynamicError> {
        let mut temporary = OsString::from(path);
        temporary.push(".tmp");
        let write = || -> io::Result<()> {
            let like = fs::metadata(&self.static_file)?;
            let mut options = File::options();
            options.write(true).create(true).truncate(true).mode(0o600);
            let mut file = options.open(&temporary)?;
            file.set_permissions(like.permissions())?;
            // Only root may give files away; others have their own already.
            let _ = fchown(&file, Some(like.uid()), Some(like.gid()));
            file.write_all(bytes)?;
            file.sync_all()?;
            fs::rename(&temporary, path)?;
            let dir = path.parent().filter(|dir| !dir.as_os_str().is_empty());
            File::open(dir.unwrap_or(Path::new(".")))?.sync_all()
        };
        write().map_err(|source| DynamicError::File { path: path.to_owned(), source })
    }
}

fn absolute(path: &Path) -> PathBuf {
    path.canonicalize().unwrap_or_else(|_| path.to_owned())
}

/// The zoo.cfg with another dynamic file, and without what stands in that.
fn edit(text: &[u8], dynamic: &Path, has_client: bool) -> io::Result<Vec<u8>> {
    let invalid = |error: properties::BadEscape| io::Error::new(io::ErrorKind::InvalidData, error);
    let goes = |key: &str| {
        let key = key.trim();
        is_dynamic(key)
            || key == "dynamicConfigFile"
            || key == "peerType"
            || has_client && (key == "clientPort" || key == "clientPortAddress")
    };
    let entries = properties::parse(text).map_err(invalid)?;
    let gone: Vec<_> = entries.iter().filter(|entry| goes(&entry.key)).collect();
    let mut out = Vec::with_capacity(text.len());
    for (line, number) in properties::natural_lines(text).zip(1..) {
        if !gone.iter().any(|entry| (entry.line..=entry.last_line).contains(&number)) {
            out.extend_from_slice(line);
            out.push(b'\n');
        }
    }
    writeln!(out, "dynamicConfigFile={}", escape(&dynamic.to_string_lossy()))?;
    Ok(out)
}

/// A value as properties files have it.
fn escape(value: &str) -> String {
    value.replace('\\', "\\\\")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::load;
    use std::os::unix::fs::PermissionsExt;
    use tempfile::TempDir;

    const THREE: &str = "server.1=a:1:2:participant;a:9\nserver.2=b:1:2:participant;b:9\n\
                         server.3=c:1:2:participant;c:9\n";

    fn config(version: i64) -> Ensemble {
        Ensemble { version, ..Ensemble::parse(THREE).unwrap() }
    }

    fn start(text: &str) -> (TempDir, DynamicFiles) {
        let dir = TempDir::new().unwrap();
        fs::create_dir(dir.path().join("data")).unwrap();
        fs::write(dir.path().join("data/myid"), "1\n").unwrap();
        let static_file = dir.path().join("zoo.cfg");
        let data = dir.path().join("data");
        fs::write(&static_file, text.replace("DATA", &data.display().to_string())).unwrap();
        (dir, DynamicFiles { static_file })
    }

    #[test]
    fn a_committed_configuration_is_found_at_the_next_start() {
        let text = format!(
            "# ours\ndataDir=DATA\nclientPort=9\ninitLimit=5\nsyncLimit=\\\n  2\n{THREE}\
             group.1=1:\\\n 2:3\nreconfigEnabled=true\n"
        );
        let (dir, files) = start(&text);
        let loaded = load(&files.static_file, &[], crate::config::Options::default()).unwrap();
        assert_eq!(loaded.config.quorum.ensemble.version, 0);
        files.write_next(&config(0x1_0000_0000)).unwrap();
        files.write_next(&config(0x1_0000_0001)).unwrap();
        let loaded = load(&files.static_file, &[], crate::config::Options::default()).unwrap();
        assert_eq!(loaded.config.quorum.proposed, Some(config(0x1_0000_0001)));
        let secret = fs::Permissions::from_mode(0o640);
        fs::set_permissions(&files.static_file, secret).unwrap();
        files.activate(&config(0x1_0000_0000), true).unwrap();
        for name in ["zoo.cfg", "zoo.cfg.bak", "zoo.cfg.dynamic.100000000"] {
            let mode = fs::metadata(dir.path().join(name)).unwrap().permissions().mode();
            assert_eq!(mode & 0o777, 0o640, "{name}");
        }
        assert!(files.next().unwrap().is_some(), "another one is proposed");
        files.activate(&config(0x1_0000_0001), true).unwrap();
        assert_eq!(files.next().unwrap(), None);
        let text = fs::read_to_string(&files.static_file).unwrap();
        let dynamic = dir.path().canonicalize().unwrap().join("zoo.cfg.dynamic.100000001");
        let data = dir.path().join("data");
        assert_eq!(
            text,
            format!(
                "# ours\ndataDir={}\ninitLimit=5\nsyncLimit=\\\n  2\nreconfigEnabled=true\n\
                 dynamicConfigFile={}\n",
                data.display(),
                dynamic.display()
            )
        );
        assert_eq!(fs::read_to_string(dynamic).unwrap(), THREE);
        let backup = fs::read_to_string(dir.path().join("zoo.cfg.bak")).unwrap();
        assert!(backup.contains("group.1") && backup.contains("clientPort"));
        let loaded = load(&files.static_file, &[], crate::config::Options::default()).unwrap();
        assert_eq!(loaded.config.quorum.ensemble, config(0x1_0000_0001));
        assert_eq!(loaded.config.quorum.proposed, None);
        assert_eq!(loaded.config.listeners.client.unwrap().to_string(), "a:9");
    }

    #[test]
    fn a_proposed_configuration_that_is_damaged_is_told() {
        let (dir, files) = start(&format!("dataDir=DATA\ninitLimit=5\nsyncLimit=2\n{THREE}"));
        fs::write(dir.path().join("zoo.cfg.dynamic.next"), "server.1=x").unwrap();
        let error = load(&files.static_file, &[], crate::config::Options::default()).unwrap_err();
        assert!(error.to_string().contains("zoo.cfg.dynamic.next: server.1"), "{error}");
    }

    #[test]
    fn a_version_is_in_the_name() {
        for (name, version) in [
            ("/etc/zoo.cfg.dynamic.100000001", 0x1_0000_0001),
            ("zoo.cfg.dynamic", 0),
            ("/x/members", 0),
            ("zoo.-1", 0),
        ] {
            assert_eq!(version_of(name), version, "{name}");
        }
    }
}
