//! Which server: ours, or one of Apache's as `test/foreign/setup.sh` collects them.

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;
use std::{env, fmt, io};

use crate::Error;

/// A ZooKeeper server's make.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Engine {
    /// `zkfleet server`.
    Ours,
    /// Apache ZooKeeper 3.8.0, the oldest that is compared with.
    Apache38,
    /// Apache ZooKeeper 3.9.4, the model.
    Apache39,
}

impl fmt::Display for Engine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Engine::Ours => "ours",
            Engine::Apache38 => "3.8.0",
            Engine::Apache39 => "3.9.4",
        })
    }
}

/// What a fast-starting JVM for a short life wants; a test server never gets hot.
const JVM: &str = "-XX:TieredStopAtLevel=1 -XX:+UseSerialGC -Xshare:auto";

impl Engine {
    /// Whether it reads `-D` system properties.
    #[must_use]
    pub fn is_apache(self) -> bool {
        self != Engine::Ours
    }

    /// The command that serves the configuration file `cfg` in the foreground. `properties` are
    /// Java system properties; ours has none and reads the same names from its `zoo.cfg`.
    pub fn command(self, cfg: &Path, properties: &[(String, String)]) -> Result<Command, Error> {
        if self == Engine::Ours {
            let mut command = zkfleet()?;
            command.arg("server").arg(cfg);
            return Ok(command);
        }
        let missing = |why: String| Error::Missing { engine: self, why };
        let mut jvm = String::from(JVM);
        for (name, value) in properties {
            jvm.push_str(&format!(" -D{name}={value}"));
        }
        let script = foreign().join("apache.sh");
        let output = Command::new(&script)
            .arg(self.to_string())
            .arg("command")
            .arg(cfg)
            .env("ZK_JVM", jvm)
            .output()
            .map_err(|e| missing(format!("{}: {e}", script.display())))?;
        let text = String::from_utf8_lossy(&output.stdout);
        let mut words = text.lines();
        match words.next() {
            Some(program) if output.status.success() => {
                let mut command = Command::new(program);
                command.args(words);
                Ok(command)
            }
            _ => Err(missing(String::from_utf8_lossy(&output.stderr).trim().to_owned())),
        }
    }
}

/// Our binary, to be given a command.
pub fn zkfleet() -> Result<Command, Error> {
    Ok(Command::new(our_binary()?))
}

fn foreign() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../foreign")
}

/// `ZKFLEET_BIN`, or the `zkfleet` of this very build. Cargo builds no binaries of other packages
/// for a test, so it is asked to; that costs nothing when they are fresh.
fn our_binary() -> Result<PathBuf, Error> {
    static BUILT: OnceLock<Result<PathBuf, String>> = OnceLock::new();
    if let Some(path) = env::var_os("ZKFLEET_BIN") {
        return Ok(path.into());
    }
    BUILT.get_or_init(build).clone().map_err(|why| Error::Missing { engine: Engine::Ours, why })
}

fn build() -> Result<PathBuf, String> {
    // This test is target/PROFILE/deps/NAME.
    let test = env::current_exe().map_err(|e| e.to_string())?;
    let profile_dir = test.ancestors().nth(2).ok_or("this test does not lie in a target folder")?;
    let target = profile_dir.parent().ok_or("a target folder has a parent")?;
    let mut cargo = Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    cargo.args(["build", "--quiet", "--package", "zkfleet", "--target-dir"]).arg(target);
    if profile_dir.ends_with("release") {
        cargo.arg("--release");
    }
    cargo.current_dir(env!("CARGO_MANIFEST_DIR"));
    let output = cargo.output().map_err(|e| format!("cargo build -p zkfleet: {e}"))?;
    if !output.status.success() {
        let why = String::from_utf8_lossy(&output.stderr).into_owned();
        return Err(format!("cargo build -p zkfleet failed, or set ZKFLEET_BIN:\n{why}"));
    }
    Ok(profile_dir.join("zkfleet"))
}

/// Whether tests against this Apache can run here. If not, says so loudly, or fails where
/// `ZKFLEET_REQUIRE_APACHE=1` (continuous integration).
///
/// # Panics
/// If it is missing and required.
#[must_use]
pub fn apache_or_skip(engine: Engine) -> bool {
    let probe = engine.command(Path::new("zoo.cfg"), &[]).and_then(|command| {
        Command::new(command.get_program())
            .arg("-version")
            .output()
            .map_err(|e| Error::Missing { engine, why: format!("java: {e}") })
    });
    let Err(why) = probe else { return true };
    let required = env::var_os("ZKFLEET_REQUIRE_APACHE").is_some_and(|v| v == "1");
    assert!(!required, "ZKFLEET_REQUIRE_APACHE=1, but {why}");
    // Not eprintln, which the test harness keeps to itself when a test passes.
    let _ = writeln!(io::stderr(), "SKIPPED: {why}");
    false
}
