//! Links between documents lead somewhere.

use std::path::{Component, Path, PathBuf};

use crate::{Finding, files::TextFile};

/// Relative links of Markdown files to what is not there, by `exists`, which is asked about paths
/// below the root.
#[must_use]
pub fn dead(files: &[TextFile], exists: impl Fn(&Path) -> bool) -> Vec<Finding> {
    let mut found = Vec::new();
    for file in files.iter().filter(|file| file.is_markdown()) {
        let folder = Path::new(&file.path).parent().unwrap_or(Path::new(""));
        for (number, line) in (1..).zip(file.text.lines()) {
            for target in targets(line) {
                let path = target.split('#').next().unwrap_or_default();
                if path.is_empty() || path.contains("://") || path.starts_with("mailto:") {
                    continue;
                }
                if !resolve(folder, path).is_some_and(|path| exists(&path)) {
                    found.push(Finding::new(&file.path, number, format!("{target} is not there")));
                }
            }
        }
    }
    found
}

/// What stands in `](...)`.
fn targets(line: &str) -> impl Iterator<Item = &str> {
    line.split("](").skip(1).filter_map(|rest| rest.split(')').next())
}

/// `None` for what lies outside.
fn resolve(folder: &Path, link: &str) -> Option<PathBuf> {
    let mut path = PathBuf::new();
    for part in folder.join(link).components() {
        match part {
            Component::Normal(name) => path.push(name),
            Component::CurDir => {}
            Component::ParentDir if path.pop() => {}
            _ => return None,
        }
    }
    Some(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_link_to_nothing_is_found() {
        let text = "[a](glossary.md#zxid) [b](../README.md) [c](https://example.org/x) [d](#here)\n\
                    [e](gone.md)\n[f](../../outside.md)\n";
        let exists = |path: &Path| {
            ["docs/glossary.md", "README.md"].iter().any(|known| path == Path::new(known))
        };
        let found = dead(&[TextFile::new("docs/a.md", text)], exists);
        assert_eq!(found.iter().map(|f| f.line).collect::<Vec<_>>(), [2, 3]);
    }
}
