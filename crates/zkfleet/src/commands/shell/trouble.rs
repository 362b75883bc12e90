//! What went wrong, in zkCli's words, and what to do about it.

use serde_json::json;
use zk_client::tls::TlsTrouble;
use zk_client::{Error, QuotaError};
use zk_proto::{ErrorCode, path};

/// The root is always there.
pub(super) const NO_CHROOT: &str = "the path behind the servers (-server HOST:PORT/PATH) does not exist: create it from a shell \
     without it";

/// A command that failed, or that cannot be understood.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Trouble {
    pub(super) message: String,
    /// What to do; empty if there is nothing to say.
    hint: String,
    code: Option<ErrorCode>,
    is_usage: bool,
}

impl Trouble {
    /// The command cannot be understood.
    pub(super) fn usage(message: impl Into<String>) -> Trouble {
        Trouble { is_usage: true, ..Trouble::failed(message) }
    }

    /// The command failed.
    pub(super) fn failed(message: impl Into<String>) -> Trouble {
        Trouble { message: message.into(), hint: String::new(), code: None, is_usage: false }
    }

    pub(super) fn hint(mut self, hint: impl Into<String>) -> Trouble {
        self.hint = hint.into();
        self
    }

    pub(super) fn code(&self) -> Option<ErrorCode> {
        self.code
    }

    pub(super) fn exit_code(&self) -> u8 {
        if self.is_usage { super::BAD_USAGE } else { super::FAILED }
    }

    /// To standard error, as text or JSON.
    pub(super) fn print(&self, is_json: bool) {
        if is_json {
            let value = json!({
                "error": self.message,
                "code": self.code.map(ErrorCode::code),
                "name": self.code.map(ErrorCode::name),
                "hint": (!self.hint.is_empty()).then_some(&self.hint),
            });
            super::warn(&format!("{value}\n"));
        } else {
            super::warn(&format!("{}\n", self.text()));
        }
    }

    pub(super) fn text(&self) -> String {
        match self.hint.as_str() {
            "" => self.message.clone(),
            hint => format!("{}\n  ({hint})", self.message),
        }
    }
}

impl From<Error> for Trouble {
    fn from(error: Error) -> Trouble {
        let code = Some(error.code());
        let trouble = match &error {
            Error::Refused { code, path } | Error::Multi { code, path, .. } => {
                Trouble::failed(message(*code, path)).hint(hint(*code, path))
            }
            Error::SessionExpired => Trouble::failed("KeeperErrorCode = Session expired")
                .hint("its ephemerals are gone; open another session with: connect"),
            Error::AuthFailed => Trouble::failed("KeeperErrorCode = AuthFailed")
                .hint("the server knows no such scheme or refuses the credentials, and has closed the session; open another one with: connect"),
            Error::Closed => Trouble::failed("Not connected").hint("connect host:port"),
            Error::ConnectionLoss { .. } => {
                Trouble::failed(format!("KeeperErrorCode = ConnectionLoss: {error}"))
            }
            Error::NoServer { tls, cause, .. } => Trouble::failed(format!("{error}")).hint(match tls {
                None if cause.ends_with(zk_client::CLOSED_AT_ONCE) => {
                    "it lets nobody in now; it says why to: echo srvr | nc HOST PORT"
                }
                None => "is it the right -server, and does it run? echo srvr | nc HOST PORT",
                Some(trouble) => tls_hint(*trouble),
            }),
            Error::TlsWanted { .. } => Trouble::failed(format!("{error}")).hint(
                "give --tls-ca FILE, and --tls-cert FILE --tls-key FILE if it asks for a certificate; \
                 or -client-configuration FILE",
            ),
            Error::TooLong { len } => Trouble::failed(format!("the request has {len} bytes"))
                .hint("that is more than the shell sends; raise jute.maxbuffer in a -client-configuration"),
            _ => Trouble::failed(error.to_string()),
        };
        Trouble { code, ..trouble }
    }
}

fn tls_hint(trouble: TlsTrouble) -> &'static str {
    match trouble {
        TlsTrouble::IdentityWanted => {
            "give --tls-cert FILE --tls-key FILE, or -client-configuration FILE with a key store"
        }
        TlsTrouble::IdentityRefused => {
            "the certificate is that of --tls-cert, or of the key store in -client-configuration"
        }
        TlsTrouble::ServerRefused => {
            "the authorities are those of --tls-ca, or of the trust store in -client-configuration; \
             the name is that of -server"
        }
        TlsTrouble::NotTls => {
            "is it the right -server? The secure port is secureClientPort; a plain one is reached \
             without --tls-ca and -client-configuration"
        }
        _ => "",
    }
}

impl From<QuotaError> for Trouble {
    fn from(error: QuotaError) -> Trouble {
        match error {
            QuotaError::Client(error) => error.into(),
            error @ QuotaError::Nested { .. } => Trouble::failed(error.to_string())
                .hint("quotas are not nested: remove the other one with delquota"),
            error => Trouble::failed(error.to_string()),
        }
    }
}

/// zkCli's wording (`CliWrapperException`), or that of Apache's exceptions.
fn message(code: ErrorCode, path: &str) -> String {
    match code {
        ErrorCode::NoNode => format!("Node does not exist: {path}"),
        ErrorCode::NoChildrenForEphemerals => format!("Ephemerals cannot have children: {path}"),
        ErrorCode::NodeExists => format!("Node already exists: {path}"),
        ErrorCode::NotEmpty => format!("Node not empty: {path}"),
        ErrorCode::NotReadOnly => format!("Not a read-only call: {path}"),
        ErrorCode::InvalidAcl => format!("Acl is not valid : {path}"),
        ErrorCode::NoAuth => format!("Insufficient permission : {path}"),
        ErrorCode::BadArguments => format!("Arguments are not valid : {path}"),
        ErrorCode::BadVersion => format!("version No is not valid : {path}"),
        ErrorCode::ReconfigInProgress => {
            "Another reconfiguration is in progress -- concurrent reconfigs not supported (yet)"
                .to_owned()
        }
        ErrorCode::NewConfigNoQuorum => {
            "No quorum of new config is connected and up-to-date with the leader of last commmitted \
             config - try invoking reconfiguration after new servers are connected and synced"
                .to_owned()
        }
        ErrorCode::QuotaExceeded => format!("Quota has exceeded : {path}"),
        ErrorCode::NoWatcher => format!("KeeperErrorCode = No such watcher for {path}"),
        ErrorCode::ReconfigDisabled => "KeeperErrorCode = Reconfig is disabled".to_owned(),
        ErrorCode::EphemeralOnLocalSession => {
            "Unable to create ephemeral node on a local session".to_owned()
        }
        ErrorCode::SessionClosedRequireSaslAuth => {
            "KeeperErrorCode = Session closed because client failed to authenticate".to_owned()
        }
        ErrorCode::ThrottledOp => "KeeperErrorCode = Op throttled due to high load".to_owned(),
        code => format!("KeeperErrorCode = {} for {path}", code.name()),
    }
}

fn hint(code: ErrorCode, path: &str) -> String {
    let parent = match path::split(path) {
        None | Some(("", _)) => "/",
        Some((parent, _)) => parent,
    };
    match code {
        ErrorCode::NoNode if path == "/" => NO_CHROOT.to_owned(),
        ErrorCode::NoNode => format!("see what is there: ls {parent}"),
        ErrorCode::NoChildrenForEphemerals => format!("{parent} is ephemeral: stat {parent}"),
        ErrorCode::NodeExists => format!("change its data: set {path} DATA"),
        ErrorCode::NotEmpty => format!("with everything below it: deleteall {path}"),
        ErrorCode::NotReadOnly => {
            "this member has no quorum; connect to another one, or without -r".to_owned()
        }
        ErrorCode::InvalidAcl => {
            "an entry is scheme:id:perms, with commas between entries: world:anyone:cdrwa; \
             auth::cdrwa needs addauth first"
                .to_owned()
        }
        ErrorCode::NoAuth => {
            format!("who may: getAcl {path}; add an identity: addauth digest USER:PASSWORD")
        }
        ErrorCode::BadVersion => format!("the present versions: stat {path}"),
        ErrorCode::QuotaExceeded => {
            format!("limits and usage: listquota {path}, or of a znode above it")
        }
        ErrorCode::Unimplemented => {
            "TTL znodes need zookeeper.extendedTypesEnabled=true on the servers, other commands \
             a newer server, reconfig an ensemble"
                .to_owned()
        }
        ErrorCode::ReconfigDisabled => "set reconfigEnabled=true on the servers".to_owned(),
        _ => String::new(),
    }
}
