//! A server under test, and the all-seeing session beside the script: it reads the tree that a
//! case leaves, and cleans up for the next one.

use zk_proto::acl::AclBytes;
use zk_proto::request::{PathRequest, Request};
use zk_proto::response::GetAclResponse;
use zk_proto::{Jute, Reader, Stat, Zxid, path};
use zk_testkit::{Client, Engine, Error, Server, ServerConfig};

use crate::audit::AuditLog;
use crate::render;
use crate::script::CaseFile;
use crate::symbols::Symbols;

/// What `addauth digest` takes to become the superuser of every server under test.
pub const SUPER_AUTH: &[u8] = b"super:zkfleet";
const SUPER_DIGEST: &str = "super:nhkjiPrzX146uLcxpa5AcUqDWNo=";

/// Settings of every server that a file does not set itself. Short ticks keep expiry short.
const BASE_CONFIG: [(&str, &str); 4] = [
    ("tickTime", "500"),
    ("maxClientCnxns", "0"),
    ("4lw.commands.whitelist", "*"),
    ("DigestAuthenticationProvider.superDigest", SUPER_DIGEST),
];

/// A running server and the session that watches over it.
pub struct World {
    server: Server,
    keeper: Option<Client>,
    audit: Option<AuditLog>,
}

/// Apache's servers are quiet in tests, and must not be about this: 3.9.4's log has one level for
/// all.
const AUDIT_LEVELS: [(&str, &str); 2] =
    [("zk.log", "INFO"), ("org.slf4j.simpleLogger.log.org.apache.zookeeper.audit", "info")];

impl World {
    /// Starts a server as the file wants it.
    pub fn start(engine: Engine, file: &CaseFile) -> Result<World, Error> {
        let mut config = ServerConfig::new(engine);
        config.lines.clear();
        for (key, value) in BASE_CONFIG {
            if !file.config.iter().any(|(set, _)| set == key) {
                config.lines.push(format!("{key}={value}"));
            }
        }
        config.lines.extend(file.config.iter().map(|(key, value)| format!("{key}={value}")));
        config.properties = file.properties.clone();
        let is_audited =
            file.config.iter().any(|(key, value)| key == "audit.enable" && value == "true");
        if is_audited && engine.is_apache() {
            let levels = AUDIT_LEVELS.map(|(name, value)| (name.to_owned(), value.to_owned()));
            config.properties.extend(levels);
        }
        let audit = is_audited.then(AuditLog::default);
        Ok(World { server: Server::start(config)?, keeper: None, audit })
    }

    /// The server.
    #[must_use]
    pub fn server(&self) -> &Server {
        &self.server
    }

    /// Before a case: opens the keeper's session and takes the zxid that the case counts from. On a
    /// `fresh` server the root is shown as it is.
    pub fn begin(&mut self, fresh: bool) -> Result<Symbols, Error> {
        let mut keeper = Client::connect(self.server.addr(), i32::MAX)?;
        keeper.auth("digest", SUPER_AUTH)?;
        let root = keeper.exists("/")?;
        if let Some(audit) = self.audit.as_mut().filter(|_| !fresh) {
            // What the end of the last case told.
            audit.news(&self.server, &mut keeper, &Symbols::new(0, None))?;
        }
        let base = keeper.ping()?;
        self.keeper = Some(keeper);
        Ok(Symbols::new(base.0, (!fresh).then_some(root)))
    }

    /// What is new in the audit log.
    pub fn audit(&mut self, symbols: &Symbols) -> Result<Vec<String>, Error> {
        match (&mut self.audit, &mut self.keeper) {
            (Some(audit), Some(keeper)) => audit.news(&self.server, keeper, symbols),
            (None, _) => Ok(vec!["there is no audit log".to_owned()]),
            (_, None) => Err(Error::Stopped),
        }
    }

    fn keeper(&mut self) -> Result<&mut Client, Error> {
        self.keeper.as_mut().ok_or(Error::Stopped)
    }

    /// Whether a znode exists.
    pub fn exists(&mut self, path: &str) -> Result<bool, Error> {
        match self.keeper()?.exists(path) {
            Ok(_) => Ok(true),
            Err(Error::Refused(-101)) => Ok(false),
            Err(e) => Err(e),
        }
    }

    /// Stops the server and starts it on the same directory. The keeper goes on with its session,
    /// so that none of its own transactions comes in between.
    pub fn restart(&mut self, hard: bool) -> Result<(), Error> {
        let session = self.keeper()?.session().clone();
        if !hard {
            self.server.terminate()?;
        }
        self.server.restart()?;
        let mut keeper = Client::resume(self.server.addr(), &session, Zxid::ZERO)?;
        keeper.auth("digest", SUPER_AUTH)?;
        self.keeper = Some(keeper);
        Ok(())
    }

    /// Every znode but those that are always there: path, data, Stat, and the ACL if not open.
    pub fn tree(&mut self, symbols: &mut Symbols) -> Result<Vec<String>, Error> {
        let mut lines = Vec::new();
        let mut todo = vec!["/".to_owned()];
        while let Some(path) = todo.pop() {
            let keeper = self.keeper()?;
            let (data, stat) = keeper.get_data(&path)?;
            if !always_there(&path) || path == "/" {
                let acl = acl_of(keeper, &path)?;
                lines.push(node(&path, data.as_deref(), &stat, &acl, symbols));
            }
            let children = keeper.children(&path)?;
            todo.extend(children.iter().rev().map(|name| child(&path, name)));
        }
        Ok(lines)
    }

    /// After a case: ends its sessions, deletes its znodes and closes the keeper's session.
    pub fn end(&mut self, symbols: &Symbols) -> Result<(), Error> {
        for session in symbols.sessions() {
            // Most are gone already; the server says so and closes.
            if let Ok(client) = Client::resume(self.server.addr(), &session.response, Zxid::ZERO) {
                client.close()?;
            }
        }
        let keeper = self.keeper()?;
        for parent in ["/", path::ZOOKEEPER, path::QUOTA] {
            delete_below(keeper, parent)?;
        }
        if let Some(keeper) = self.keeper.take() {
            keeper.close()?;
        }
        Ok(())
    }
}

fn always_there(path: &str) -> bool {
    path::is_special(path)
}

fn child(parent: &str, name: &str) -> String {
    format!("{}/{name}", parent.trim_end_matches('/'))
}

fn acl_of(keeper: &mut Client, path: &str) -> Result<Vec<u8>, Error> {
    let reply = keeper.call(&Request::GetAcl(PathRequest { path: path.into() }))?;
    let response = GetAclResponse::read(&mut Reader::new(&reply.body))?;
    Ok(response.acl.as_bytes().to_vec())
}

fn node(path: &str, data: Option<&[u8]>, stat: &Stat, acl: &[u8], symbols: &mut Symbols) -> String {
    let mut line = format!(
        "{} {} {}",
        render::path(path),
        render::data(data),
        symbols.stat(stat, path == "/")
    );
    if acl != AclBytes::OPEN.as_bytes() {
        match AclBytes::parse(acl) {
            Ok(acl) => line.push_str(&format!(" acl={}", render::acl(acl))),
            Err(_) => line.push_str(&format!(" acl=unreadable:{}", render::hex(acl))),
        }
    }
    line
}

fn delete_below(keeper: &mut Client, parent: &str) -> Result<(), Error> {
    for name in keeper.children(parent)? {
        let path = child(parent, &name);
        if always_there(&path) {
            continue;
        }
        match delete_below(keeper, &path).and_then(|()| keeper.delete(&path, -1)) {
            // The reaper of containers and TTL znodes may have been faster.
            Ok(_) | Err(Error::Refused(-101)) => {}
            Err(e) => return Err(e),
        }
    }
    Ok(())
}
