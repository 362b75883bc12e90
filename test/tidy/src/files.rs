//! The text files of the repository.

use std::path::Path;
use std::{fs, io};

/// Folders at the root that hold what programs made, or what a reader of the README made.
const MADE: [&str; 4] = ["target", "data", "fuzz/target", "fuzz/corpus"];

/// A file that is UTF-8.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct TextFile {
    /// Path below the root, with slashes.
    pub path: String,
    /// Everything in it.
    pub text: String,
}

impl TextFile {
    /// A file that exists only here.
    #[must_use]
    pub fn new(path: &str, text: &str) -> TextFile {
        TextFile { path: path.to_owned(), text: text.to_owned() }
    }

    /// Whether it is Rust.
    #[must_use]
    pub fn is_rust(&self) -> bool {
        self.path.ends_with(".rs")
    }

    /// Whether it is Markdown.
    #[must_use]
    pub fn is_markdown(&self) -> bool {
        self.path.ends_with(".md")
    }
}

/// Every text file below `root`, sorted. It walks instead of asking git, which refuses to answer
/// about a checkout that belongs to somebody else, as in containers.
pub fn load(root: &Path) -> io::Result<Vec<TextFile>> {
    let mut files = Vec::new();
    walk(root, "", &mut files)?;
    files.sort_by(|a, b| a.path.cmp(&b.path));
    Ok(files)
}

fn walk(dir: &Path, below: &str, files: &mut Vec<TextFile>) -> io::Result<()> {
    for entry in fs::read_dir(dir)? {
        let entry = entry?;
        let Ok(name) = entry.file_name().into_string() else { continue };
        let path = format!("{below}{name}");
        let kind = entry.file_type()?;
        if kind.is_dir() {
            let is_hidden = name.starts_with('.') && name != ".ci";
            if !is_hidden && !MADE.contains(&path.as_str()) {
                walk(&entry.path(), &format!("{path}/"), files)?;
            }
        // In a second work tree .git is a file, and names a path.
        } else if kind.is_file() && name != ".git" && !name.ends_with(".log") {
            match fs::read(entry.path()) {
                // Another program may clean up meanwhile.
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(error) => return Err(error),
                Ok(bytes) => files.extend(text_file(path, bytes)),
            }
        }
    }
    Ok(())
}

/// `None` for what is no text.
fn text_file(path: String, bytes: Vec<u8>) -> Option<TextFile> {
    let text = String::from_utf8(bytes).ok()?;
    (!text.contains('\0')).then_some(TextFile { path, text })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_repository_is_found() {
        let files = load(&crate::root()).unwrap();
        for path in ["Cargo.toml", ".ci/run", "test/tidy/src/files.rs"] {
            assert!(files.iter().any(|file| file.path == path), "{path}");
        }
        assert!(files.iter().all(|file| !file.path.starts_with("target/")));
    }

    #[test]
    fn binary_files_are_no_text() {
        assert_eq!(text_file("a".into(), b"ZKLG\0\0".to_vec()), None);
        assert_eq!(text_file("a".into(), vec![0xff]), None);
        assert_eq!(text_file("a".into(), b"x\n".to_vec()), Some(TextFile::new("a", "x\n")));
    }
}
