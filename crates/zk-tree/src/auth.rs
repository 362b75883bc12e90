//! Who may do what: identities, ACL checks, the fix-up of given lists (client-protocol 8).

mod fix_up;
mod order;
mod verdicts;

use base64::Engine;
use sha1::{Digest, Sha1};
use sha2::{Sha256, Sha384, Sha512};
use std::borrow::Cow;
use std::net::IpAddr;
use subtle::ConstantTimeEq;
use zk_proto::acl::{self, Acl, AclBytes};
use zk_proto::{ErrorCode, Perms};

pub use order::sort_as_apache;
use verdicts::Digests;
pub use verdicts::Verdicts;

/// What a connection has proven to be.
#[derive(Clone, PartialEq, Eq, Debug, Hash)]
pub struct Identity {
    /// `ip`, `digest`, `x509`, `sasl`, `super`.
    pub scheme: Cow<'static, str>,
    /// The name in that scheme.
    pub id: String,
}

impl Identity {
    /// An identity.
    #[must_use]
    pub fn new(scheme: &'static str, id: impl Into<String>) -> Identity {
        Identity { scheme: Cow::Borrowed(scheme), id: id.into() }
    }

    /// The part that whoAmI shows: nothing secret (`getUserName` of Apache's providers).
    #[must_use]
    pub fn user(&self) -> &str {
        match &*self.scheme {
            "digest" => self.id.split(':').next().unwrap_or_default(),
            "super" => "",
            _ => &self.id,
        }
    }
}

/// How the server checks identities; from its configuration.
#[derive(Clone, Debug, Default)]
pub struct AuthOptions {
    /// The scheme `digest`.
    pub digest: DigestScheme,
    /// `DigestAuthenticationProvider.superDigest`: `user:base64(hash(user:password))`.
    pub super_digest: Option<String>,
    /// Whether the x509 provider is there (TLS is configured).
    pub x509: bool,
    /// Whether ACLs may name `sasl` ids.
    pub sasl: bool,
    /// `letAnySaslUserDoX`: an id of scheme `sasl` that stands for every SASL identity.
    pub any_sasl_user: Option<String>,
    /// `skipACL=yes`.
    pub skip_acl: bool,
    /// `ensembleAuthName`: names of which the scheme `ensemble` must give one; empty allows all,
    /// and without there is no such scheme.
    pub ensemble_names: Option<Vec<String>>,
}

/// What an auth packet came to.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum AuthOutcome {
    /// These identities are added.
    Granted(Vec<Identity>),
    /// Error -115, and the connection closes.
    Failed,
    /// The connection closes without an answer (scheme `ensemble`).
    CloseSilently,
}

/// The scheme `digest`: its hash (`DigestAuthenticationProvider.digestAlg`), or that there is none.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum DigestScheme {
    /// Apache's default.
    #[default]
    Sha1,
    /// SHA-256.
    Sha256,
    /// SHA-384.
    Sha384,
    /// SHA-512.
    Sha512,
    /// The scheme does not exist (`DigestAuthenticationProvider.enabled=false`).
    Off,
}

impl DigestScheme {
    /// `user:base64(hash(user:password))` of `user:password`, as ACLs have it. Apache takes it for
    /// UTF-8 first: what is none becomes U+FFFD, and the hash is that of the text.
    #[must_use]
    pub fn id(self, credentials: &[u8]) -> Option<String> {
        let text = String::from_utf8_lossy(credentials);
        let credentials = text.as_bytes();
        let base64 = |hash: &[u8]| base64::engine::general_purpose::STANDARD.encode(hash);
        let hash = match self {
            DigestScheme::Sha1 => base64(&Sha1::digest(credentials)),
            DigestScheme::Sha256 => base64(&Sha256::digest(credentials)),
            DigestScheme::Sha384 => base64(&Sha384::digest(credentials)),
            DigestScheme::Sha512 => base64(&Sha512::digest(credentials)),
            DigestScheme::Off => return None,
        };
        let user = text.split(':').next().unwrap_or_default();
        Some(format!("{user}:{hash}"))
    }
}

/// Whether two secrets are equal, in a time that does not depend on where they differ.
fn equal_secrets(a: &str, b: &str) -> bool {
    a.as_bytes().ct_eq(b.as_bytes()).into()
}

impl AuthOptions {
    /// Handles an auth packet (opcode 100) from a client at `peer`.
    #[must_use]
    pub fn authenticate(
        &self,
        scheme: &str,
        credentials: Option<&[u8]>,
        peer: Option<IpAddr>,
    ) -> AuthOutcome {
        match (scheme, credentials) {
            ("digest", Some(credentials)) => {
                let Some(id) = self.digest.id(credentials) else { return AuthOutcome::Failed };
                let mut granted = Vec::new();
                if self.super_digest.as_deref().is_some_and(|wanted| equal_secrets(wanted, &id)) {
                    granted.push(Identity::new("super", ""));
                }
                granted.push(Identity::new("digest", id));
                AuthOutcome::Granted(granted)
            }
            ("ip", _) => AuthOutcome::Granted(
                peer.map(|ip| Identity::new("ip", ip_text(ip))).into_iter().collect(),
            ),
            ("ensemble", name) => {
                let name = String::from_utf8_lossy(name.unwrap_or_default());
                match &self.ensemble_names {
                    None => AuthOutcome::Failed,
                    // A client that does not care which ensemble it is, or a server.
                    Some(names) if names.is_empty() || name.is_empty() => {
                        AuthOutcome::Granted(Vec::new())
                    }
                    Some(names) if names.iter().any(|wanted| equal_secrets(wanted, &name)) => {
                        AuthOutcome::Granted(Vec::new())
                    }
                    Some(_) => AuthOutcome::CloseSilently,
                }
            }
            _ => AuthOutcome::Failed,
        }
    }

    /// Whether an ACL gives one of the identities one of the permissions (client-protocol 8.2).
    pub fn allows(
        &self,
        list: &[u8],
        wanted: Perms,
        identities: &[Identity],
    ) -> Result<(), ErrorCode> {
        if list == AclBytes::OPEN.as_bytes() || self.skip_acl {
            return Ok(());
        }
        let Ok(list) = AclBytes::parse(list) else { return Err(ErrorCode::NoAuth) };
        if list.is_empty() || identities.iter().any(|identity| identity.scheme == "super") {
            return Ok(());
        }
        let digests = Digests::of(identities, list.as_bytes().len());
        let allowed = list.iter().filter(|entry| entry.perms.intersects(wanted)).any(|entry| {
            let (scheme, id) = (entry.scheme.as_deref(), entry.id.as_deref().unwrap_or_default());
            match (scheme, &digests) {
                (Some("world"), _) => id == "anyone",
                (Some("digest"), Some(digests)) => digests.contains(id),
                (Some(scheme), _) => identities
                    .iter()
                    .filter(|identity| identity.scheme == scheme)
                    .any(|identity| self.matches(scheme, id, identity)),
                (None, _) => false,
            }
        });
        if allowed { Ok(()) } else { Err(ErrorCode::NoAuth) }
    }

    fn matches(&self, scheme: &str, id: &str, identity: &Identity) -> bool {
        match scheme {
            "ip" => ip_matches(id, &identity.id),
            "digest" => equal_secrets(id, &identity.id),
            "sasl" => {
                identity.id == "super"
                    || identity.id == id
                    || self.any_sasl_user.as_deref() == Some(id)
            }
            _ => identity.id == id,
        }
    }
}

fn is_distinguished_name(id: &str) -> bool {
    !id.is_empty()
        && id
            .split(',')
            .all(|part| part.split_once('=').is_some_and(|(key, _)| !key.trim().is_empty()))
}

/// An address and the number of bits that count, as Java reads them.
fn parse_network(id: &str) -> Option<(IpAddr, u32)> {
    let (address, bits) = match id.split_once('/') {
        Some((address, bits)) => (address, Some(bits)),
        None => (id, None),
    };
    let address = parse_address(address)?;
    let most = if address.is_ipv4() { 32 } else { 128 };
    let bits = match bits {
        None => most,
        Some(text) => text.parse().ok().filter(|bits| *bits <= most)?,
    };
    Some((address, bits))
}

/// An address as Java writes it (`InetAddress.getHostAddress`): IPv6 with all eight parts.
#[must_use]
pub fn ip_text(ip: IpAddr) -> String {
    match ip.to_canonical() {
        IpAddr::V4(ip) => ip.to_string(),
        IpAddr::V6(ip) => ip.segments().map(|part| format!("{part:x}")).join(":"),
    }
}

/// Java reads the parts of a dotted quad as numbers, so `01` and `+1` are fine; an IPv4 address in
/// IPv6 clothes is none of either.
fn parse_address(text: &str) -> Option<IpAddr> {
    if text.contains(':') {
        let address: std::net::Ipv6Addr = text.parse().ok()?;
        return address.to_ipv4_mapped().is_none().then_some(address.into());
    }
    let parts: Vec<u8> = text.split('.').map(|part| part.parse().ok()).collect::<Option<_>>()?;
    <[u8; 4]>::try_from(parts).ok().map(IpAddr::from)
}

fn ip_matches(network: &str, ip: &str) -> bool {
    let (Some((network, bits)), Ok(ip)) = (parse_network(network), ip.parse::<IpAddr>()) else {
        return false;
    };
    match (network, ip) {
        (IpAddr::V4(a), IpAddr::V4(b)) => {
            let differ = u32::from(a) ^ u32::from(b);
            differ.checked_shr(32 - bits).unwrap_or(0) == 0
        }
        (IpAddr::V6(a), IpAddr::V6(b)) => {
            let differ = u128::from(a) ^ u128::from(b);
            differ.checked_shr(128 - bits).unwrap_or(0) == 0
        }
        _ => false,
    }
}

/// The list as somebody without ADMIN sees it: the secret half of digest ids is `x`
/// (CVE-2019-0201).
#[must_use]
pub fn mask_digests(list: &[u8]) -> Vec<u8> {
    let Ok(list) = AclBytes::parse(list) else { return Vec::new() };
    let masked: Vec<Acl<'_>> = list
        .iter()
        .map(|mut entry| {
            if entry.scheme.as_deref() == Some("digest")
                && let Some((user, _)) = entry.id.as_deref().unwrap_or_default().split_once(':')
            {
                entry.id = Some(Cow::Owned(format!("{user}:x")));
            }
            entry
        })
        .collect();
    acl::encode(&masked)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn allows(entry: Acl<'_>, identities: &[Identity]) -> bool {
        AuthOptions::default().allows(&acl::encode(&[entry]), Perms::READ, identities).is_ok()
    }

    #[test]
    fn addresses_are_written_as_in_java() {
        for (ip, text) in [
            ("10.0.0.1", "10.0.0.1"),
            ("::ffff:10.0.0.1", "10.0.0.1"),
            ("::1", "0:0:0:0:0:0:0:1"),
            ("2001:DB8::a0", "2001:db8:0:0:0:0:0:a0"),
        ] {
            assert_eq!(ip_text(ip.parse().unwrap()), text);
        }
    }

    #[test]
    fn digest_ids_are_apaches() {
        // From Apache's documentation of superDigest: super:superpw.
        let id = |scheme: DigestScheme| scheme.id(b"super:superpw");
        let want = "super:g9oN2HttPfn8MMWJZ2r45Np/LIA=";
        assert_eq!(id(DigestScheme::default()).as_deref(), Some(want));
        // From printf super:superpw | openssl dgst -binary | base64.
        for (scheme, want) in [
            (DigestScheme::Sha256, "super:NhrDsglBUaCwNy464nxjg/Ig/dwhOCotNQxX54rqg50="),
            (
                DigestScheme::Sha384,
                "super:Kf/+YZDlbElZSIiZqLwDLec30cN1UETUkqUtVzhGcQCOJuWuhUyFgS6iaJgo2osV",
            ),
            (
                DigestScheme::Sha512,
                "super:qT5NrG28chvcJYXI29lh1kO1uJ+x80PJNDkNatWXAlOd05fYNovtcDcx38J3\
                 9plrBq+SphmV85uUmCQJ5mD44A==",
            ),
        ] {
            assert_eq!(id(scheme).as_deref(), Some(want), "{scheme:?}");
        }
    }

    #[test]
    fn a_password_that_is_no_text_is_taken_for_one() {
        // As 3.9.4 stores it: the hash of u:p\u{fffd}ss.
        let id = DigestScheme::Sha1.id(b"u:p\xe9ss");
        assert_eq!(id.as_deref(), Some("u:hMx719w9d+Gjy5QrGLZxqJoym7k="));
    }

    #[test]
    fn a_scheme_that_is_off_gives_no_identity() {
        let off = AuthOptions { digest: DigestScheme::Off, ..AuthOptions::default() };
        assert_eq!(off.authenticate("digest", Some(b"u:p"), None), AuthOutcome::Failed);
        let list = acl::encode(&[Acl::new(Perms::ALL, "digest", "u:h")]);
        let fixed = off.fix_up(AclBytes::parse(&list).unwrap(), &[]);
        assert_eq!(fixed, Err(ErrorCode::InvalidAcl));
    }

    #[test]
    fn an_ensemble_is_asked_for_by_name() {
        let told = |names: Option<&[&str]>, name: &str| {
            let ensemble_names = names.map(|names| names.iter().map(|&n| n.to_owned()).collect());
            let options = AuthOptions { ensemble_names, ..AuthOptions::default() };
            options.authenticate("ensemble", Some(name.as_bytes()), None)
        };
        let granted = AuthOutcome::Granted(Vec::new());
        assert_eq!(told(None, "a"), AuthOutcome::Failed);
        assert_eq!(told(Some(&[]), "a"), granted);
        assert_eq!(told(Some(&["a", "b"]), "b"), granted);
        assert_eq!(told(Some(&["a", "b"]), ""), granted);
        assert_eq!(told(Some(&["a", "b"]), "c"), AuthOutcome::CloseSilently);
    }

    #[test]
    fn any_sasl_user_may_do_what_the_stand_in_may() {
        let options = AuthOptions { any_sasl_user: Some("x".into()), ..AuthOptions::default() };
        let list = |id| acl::encode(&[Acl::new(Perms::READ, "sasl", id)]);
        let bob = [Identity::new("sasl", "bob")];
        assert_eq!(options.allows(&list("x"), Perms::READ, &bob), Ok(()));
        assert_eq!(options.allows(&list("ann"), Perms::READ, &bob), Err(ErrorCode::NoAuth));
        let digest = [Identity::new("digest", "bob:h")];
        assert_eq!(options.allows(&list("x"), Perms::READ, &digest), Err(ErrorCode::NoAuth));
    }

    #[test]
    fn the_super_digest_opens_everything() {
        let options =
            AuthOptions { super_digest: DigestScheme::Sha1.id(b"s:p"), ..AuthOptions::default() };
        let AuthOutcome::Granted(ids) = options.authenticate("digest", Some(b"s:p"), None) else {
            panic!()
        };
        let closed = acl::encode(&[Acl::new(Perms(0), "digest", "x:y")]);
        assert!(options.allows(&closed, Perms::ADMIN, &ids).is_ok());
        let AuthOutcome::Granted(ids) = options.authenticate("digest", Some(b"s:q"), None) else {
            panic!()
        };
        assert_eq!(options.allows(&closed, Perms::ADMIN, &ids), Err(ErrorCode::NoAuth));
    }

    #[test]
    fn networks_match_by_their_first_bits() {
        let me = [Identity::new("ip", "10.1.2.3")];
        for (network, want) in [
            ("10.1.2.3", true),
            ("10.1.0.0/16", true),
            ("10.2.0.0/16", false),
            ("0.0.0.0/0", true),
            ("10.1.2.2/31", true),
            ("10.1.2.2/32", false),
            ("::/0", false),
        ] {
            assert_eq!(allows(Acl::new(Perms::ALL, "ip", network), &me), want, "{network}");
        }
    }

    #[test]
    fn fix_up_refuses_what_apache_refuses() {
        let options = AuthOptions::default();
        let me = [Identity::new("ip", "127.0.0.1"), Identity::new("digest", "u:h")];
        let fix = |entries: &[Acl<'_>]| {
            let bytes = acl::encode(entries);
            options.fix_up(AclBytes::parse(&bytes).unwrap(), &me).map(Cow::into_owned)
        };
        for bad in ["u", "u:", ":", "a:b:c"] {
            assert_eq!(
                fix(&[Acl::new(Perms::ALL, "digest", bad)]),
                Err(ErrorCode::InvalidAcl),
                "{bad}"
            );
        }
        for good in ["u:h", ":x"] {
            assert!(fix(&[Acl::new(Perms::ALL, "digest", good)]).is_ok(), "{good}");
        }
        for bad in ["1.2.3", "1.2.3.4/", "1.2.3.4/33", "host"] {
            assert_eq!(
                fix(&[Acl::new(Perms::ALL, "ip", bad)]),
                Err(ErrorCode::InvalidAcl),
                "{bad}"
            );
        }
        assert_eq!(fix(&[Acl::new(Perms::ALL, "world", "me")]), Err(ErrorCode::InvalidAcl));
        assert_eq!(fix(&[Acl::new(Perms::ALL, "super", "me")]), Err(ErrorCode::InvalidAcl));
        assert_eq!(fix(&[]), Err(ErrorCode::InvalidAcl));
        let no_id = Acl { perms: Perms::ALL, scheme: Some("world".into()), id: None };
        assert_eq!(fix(&[no_id]), Err(ErrorCode::MarshallingError));
        let auth = Acl::new(Perms::READ, "auth", "");
        let mine = acl::encode(&[Acl::new(Perms::READ, "digest", "u:h")]);
        assert_eq!(
            fix(&[auth.clone(), auth]),
            Ok(mine),
            "auth becomes the digest identity, not ip"
        );
    }

    #[test]
    fn digests_are_masked() {
        let list = acl::encode(&[
            Acl::new(Perms::ALL, "digest", "u:secret"),
            Acl::new(Perms::ALL, "ip", "1.2.3.4"),
        ]);
        let want = acl::encode(&[
            Acl::new(Perms::ALL, "digest", "u:x"),
            Acl::new(Perms::ALL, "ip", "1.2.3.4"),
        ]);
        assert_eq!(mask_digests(&list), want);
    }
}
