//! The pure crates do no I/O, read no clock, start no thread and draw no random number: so the
//! simulator can drive them, and a run is decided by its seed.

use crate::code;
use crate::layers::Package;
use crate::{Finding, files::TextFile};

/// The crates that are pure.
pub const PURE: [&str; 6] = ["zk-proto", "zk-sasl", "zk-tree", "zk-session", "zk-zab", "zk-core"];

/// Crates from outside that are known to compute and to do nothing else, as we configure them.
const KNOWN_PURE: [&str; 10] = [
    "base64",
    "crc32fast",
    "foldhash",
    "hashbrown",
    "hmac",
    "md-5",
    "sha1",
    "sha2",
    "subtle",
    "thiserror",
];

/// Parts of the standard library that touch the world. Of `std::net` the addresses are values.
const WORLD: [&str; 14] = [
    "std::env",
    "std::fs",
    "std::io::stderr",
    "std::io::stdin",
    "std::io::stdout",
    "std::net::TcpListener",
    "std::net::TcpStream",
    "std::net::ToSocketAddrs",
    "std::net::UdpSocket",
    "std::os",
    "std::process",
    "std::thread",
    "std::time::Instant",
    "std::time::SystemTime",
];

/// Where randomness or a clock could come from under other names.
const ALSO: [&str; 4] = [
    "std::collections::hash_map::RandomState",
    "std::hash::RandomState",
    "std::time::*",
    "std::net::*",
];

/// What pure crates name and must not.
#[must_use]
pub fn impure_code(files: &[TextFile]) -> Vec<Finding> {
    let mut found = Vec::new();
    for file in files.iter().filter(|file| is_pure_source(&file.path)) {
        let code = code::without_text(&file.text);
        for (line, path) in code::paths(code::shipped(&code)) {
            let touches = |world: &str| path == *world || path.starts_with(&format!("{world}::"));
            if WORLD.iter().chain(&ALSO).any(|world| touches(world)) {
                found.push(Finding::new(
                    &file.path,
                    line,
                    format!("{path} in a pure crate: pass it in"),
                ));
            }
        }
    }
    found
}

/// Sources that ship, not their tests.
fn is_pure_source(path: &str) -> bool {
    let is_test = path.ends_with("/tests.rs") || path.contains("/tests/");
    let of = |name: &&str| path.starts_with(&format!("crates/{name}/src/"));
    path.ends_with(".rs") && !is_test && PURE.iter().any(of)
}

/// What pure crates depend on and must not.
#[must_use]
pub fn impure_dependencies(packages: &[Package]) -> Vec<Finding> {
    let mut found = Vec::new();
    for package in packages.iter().filter(|package| PURE.contains(&package.name.as_str())) {
        for name in &package.dependencies {
            if !PURE.contains(&name.as_str()) && !KNOWN_PURE.contains(&name.as_str()) {
                let what = format!("{name} is not known to be pure; see test/tidy/src/purity.rs");
                found.push(Finding::new(&package.name, 0, what));
            }
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    const NONE: [usize; 0] = [];

    fn lines(path: &str, text: &str) -> Vec<usize> {
        impure_code(&[TextFile::new(path, text)]).iter().map(|finding| finding.line).collect()
    }

    #[test]
    fn a_look_at_the_world_is_found_in_every_form() {
        let path = "crates/zk-core/src/a.rs";
        assert_eq!(lines(path, "use std::{fmt,\n    time::{Duration, Instant}};\n"), [2]);
        assert_eq!(lines(path, "fn f() { std::thread::sleep(d) }\n"), [1]);
        assert_eq!(lines(path, "use std::fs;\nuse std::time::*;\n"), [1, 2]);
        assert_eq!(lines(path, "use std::net::IpAddr; // not std::net::TcpStream\n"), NONE);
        assert_eq!(lines(path, "#[cfg(test)]\nmod tests {\n    use std::fs;\n}\n"), NONE);
        assert_eq!(lines("crates/zk-core/src/a/tests.rs", "use std::fs;\n"), NONE);
        assert_eq!(lines("crates/zk-store/src/a.rs", "use std::fs;\n"), NONE);
    }

    #[test]
    fn a_dependency_must_be_known() {
        let package = |name: &str, dependency: &str| Package {
            name: name.to_owned(),
            layer: Some(1),
            dependencies: vec![dependency.to_owned(), "zk-proto".to_owned()],
        };
        let names = |all: &[Package]| impure_dependencies(all).len();
        assert_eq!(names(&[package("zk-tree", "tokio")]), 1);
        assert_eq!(names(&[package("zk-tree", "sha1"), package("zk-server", "tokio")]), 0);
    }
}
