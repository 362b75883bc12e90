//! The same with foreign clients: Apache's Java client and kazoo, where `test/foreign/setup.sh`
//! has brought them. Servers and clients have stores that openssl and keytool made.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use tempfile::TempDir;
use zk_testkit::{Engine, apache_or_skip};

use crate::certificates::Authority;
use crate::member::Member;
use crate::sasl::{PROVIDER, users};

/// The kinds of stores, by the ending of their names.
const KINDS: [&str; 3] = ["pem", "p12", "jks"];

/// Stores of a server and of clients, in all kinds.
struct Stores(TempDir);

/// Whom the clients say they are by SASL.
const JAAS: &str = "Alice {\n  org.apache.zookeeper.server.auth.DigestLoginModule required\n  \
                    username=\"alice\" password=\"a secret\";\n};\n\
                    Wrong {\n  org.apache.zookeeper.server.auth.DigestLoginModule required\n  \
                    username=\"alice\" password=\"wrong\";\n};\n";

impl Stores {
    fn make() -> Stores {
        let (stores, authority) = (Stores(TempDir::new().unwrap()), Authority::new());
        let write = |name: &str, text: String| std::fs::write(stores.path(name), text).unwrap();
        write("trust.pem", authority.pem());
        write("stranger.pem", Authority::new().issue("stranger").pem());
        write("jaas.conf", JAAS.to_owned());
        for (kind, format) in [("p12", "pkcs12"), ("jks", "jks")] {
            stores.run(&format!(
                "keytool -importcert -noprompt -alias ca -file trust.pem -keystore trust.{kind} \
                 -storetype {format} -storepass changeit"
            ));
        }
        for name in ["alice", "server"] {
            write(&format!("{name}.pem"), authority.issue(name).pem());
            stores.run(&format!(
                "openssl pkcs12 -export -in {name}.pem -out {name}.p12 -passout pass:changeit"
            ));
            stores.run(&format!(
                "keytool -importkeystore -noprompt -srckeystore {name}.p12 -srcstoretype pkcs12 \
                 -srcstorepass changeit -destkeystore {name}.jks -deststoretype jks \
                 -deststorepass changeit"
            ));
        }
        stores
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn run(&self, line: &str) {
        let mut words = line.split_whitespace();
        let mut command = Command::new(words.next().unwrap());
        let output = command.args(words).current_dir(&self.0).output().unwrap();
        assert!(output.status.success(), "{line}: {output:?}");
    }

    /// A member with stores of one kind, users of SASL, and both protocols on its client port.
    fn member(&self, kind: &str) -> Member {
        let (dir, users) = (self.0.path().display(), users());
        let password = match kind {
            "pem" => String::new(),
            _ => "ssl.keyStore.password=changeit\nssl.trustStore.password=changeit\n".to_owned(),
        };
        Member::start(&format!(
            "secureClientPort=0\nsecureClientPortAddress=127.0.0.1\nclient.portUnification=true\n\
             ssl.keyStore.location={dir}/server.{kind}\nssl.trustStore.location={dir}/trust.{kind}\n\
             {password}{PROVIDER}superUser=super\njava.security.auth.login.config={}\n",
            users.path().display()
        ))
    }
}

fn foreign() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../test/foreign/clients")
}

/// The words behind which Apache's classes are found, `java` first; `None` to skip.
fn java() -> Option<Command> {
    if !apache_or_skip(Engine::Apache39) {
        return None;
    }
    let server = Engine::Apache39.command(Path::new("zoo.cfg"), &[]).unwrap();
    let mut command = Command::new(server.get_program());
    // All but the server's class and its configuration.
    let words = server.get_args().count() - 2;
    command.args(server.get_args().take(words));
    Some(command)
}

/// The Python that has kazoo and pure-sasl; `None` to skip.
fn python() -> Option<Command> {
    let cache = std::env::var_os("ZKFLEET_FOREIGN")
        .map(PathBuf::from)
        .or_else(|| Some(PathBuf::from(std::env::var_os("HOME")?).join(".cache/zkfleet-foreign")));
    let program = cache?.join("py/bin/python");
    let probe =
        Command::new(&program).args(["-c", "import kazoo.client, puresasl.client"]).output();
    if probe.as_ref().is_ok_and(|output| output.status.success()) {
        return Some(Command::new(program));
    }
    let why = format!("no kazoo with pure-sasl here: run test/foreign/setup.sh kazoo ({probe:?})");
    let is_required = std::env::var_os("ZKFLEET_REQUIRE_APACHE").is_some_and(|v| v == "1");
    assert!(!is_required, "ZKFLEET_REQUIRE_APACHE=1, but {why}");
    let _ = writeln!(std::io::stderr(), "SKIPPED: {why}");
    None
}

/// A suite must say itself how many checks passed, and that none failed.
fn assert_passed(output: &Output, least: usize) {
    let text = String::from_utf8_lossy(&output.stdout);
    let errors = String::from_utf8_lossy(&output.stderr);
    let passed = text.lines().last().and_then(|last| last.strip_suffix(" passed, 0 failed"));
    let passed = passed.and_then(|count| count.parse::<usize>().ok());
    let is_good = output.status.success() && passed.is_some_and(|count| count >= least);
    assert!(is_good, "{text}\n{errors}");
}

#[test]
fn javas_client_with_stores_of_every_kind() {
    let Some(mut java) = java() else { return };
    let stores = Stores::make();
    let members = KINDS.map(|kind| stores.member(kind));
    let property =
        format!("-Djava.security.auth.login.config={}", stores.path("jaas.conf").display());
    java.arg(property).arg(foreign().join("SecureSuite.java")).arg(stores.0.path());
    java.arg(members[0].addr().port().to_string());
    java.args(members.iter().map(|member| member.secure_addr().port().to_string()));
    assert_passed(&java.output().unwrap(), 11);
}

#[test]
fn kazoo_with_tls_and_sasl() {
    let Some(mut python) = python() else { return };
    // The stores come from keytool.
    if !apache_or_skip(Engine::Apache39) {
        return;
    }
    let stores = Stores::make();
    let member = stores.member("jks");
    python.arg(foreign().join("kazoo_secure_suite.py")).arg(stores.0.path());
    python.args([member.addr(), member.secure_addr()].map(|addr| addr.port().to_string()));
    assert_passed(&python.output().unwrap(), 11);
}
