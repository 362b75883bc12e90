//! PKCS#12 stores (RFC 7292) as keytool and openssl write them, read only.

use ring::{digest, hmac};

use super::Secret;
use super::der::{Items, context};
use super::dn::Certificate;
use super::pbe::{self, Purpose};
use super::store::{Contents, Fault, KeyEntry};

const DATA: &str = "1.2.840.113549.1.7.1";
const ENCRYPTED_DATA: &str = "1.2.840.113549.1.7.6";
const KEY_BAG: &str = "1.2.840.113549.1.12.10.1.1";
const SHROUDED_KEY_BAG: &str = "1.2.840.113549.1.12.10.1.2";
const CERTIFICATE_BAG: &str = "1.2.840.113549.1.12.10.1.3";
const LOCAL_KEY_ID: &str = "1.2.840.113549.1.9.21";
/// Java's mark of a certificate to trust; those without are only parts of chains.
const TRUSTED_KEY_USAGE: &str = "2.16.840.1.113894.746875.1.1";

/// Reads a store.
pub(super) fn parse(bytes: &[u8], password: &Secret) -> Result<Contents, Fault> {
    let mut pfx = Items::of_sequence(bytes)?;
    if pfx.u32()? != 3 {
        return Err(Fault::Unsupported("a PKCS#12 version that is not 3"));
    }
    let mut content = pfx.sequence()?;
    if content.oid()?.to_string() != DATA {
        return Err(Fault::Unsupported("a PKCS#12 store that is signed"));
    }
    let safes = Items::new(content.context(0, true)?)?.octets()?;
    if !pfx.is_empty() {
        check_mac(pfx.sequence()?, safes, password)?;
    }
    let mut bags = Bags::default();
    let mut safes = Items::of_sequence(safes)?;
    while !safes.is_empty() {
        let mut safe = safes.sequence()?;
        match safe.oid()?.to_string().as_str() {
            DATA => bags.read(Items::new(safe.context(0, true)?)?.octets()?, password)?,
            ENCRYPTED_DATA => {
                let mut encrypted = Items::new(safe.context(0, true)?)?.sequence()?;
                let _version = encrypted.any()?;
                let mut info = encrypted.sequence()?;
                let _content_type = info.any()?;
                let algorithm = info.sequence()?;
                let data = info.context(0, false)?;
                let plain = pbe::decrypt(algorithm, data, password)?;
                bags.read(plain.expose(), password)?;
            }
            _ => return Err(Fault::Unsupported("a part encrypted for a certificate")),
        }
    }
    Ok(bags.into_contents())
}

/// Checks that nobody without the password changed the store.
fn check_mac(mut mac: Items<'_>, content: &[u8], password: &Secret) -> Result<(), Fault> {
    let mut info = mac.sequence()?;
    let algorithm = info.sequence()?.oid()?.to_string();
    let wanted = info.octets()?;
    let salt = mac.octets()?;
    let rounds = pbe::rounds(if mac.is_empty() { 1 } else { mac.u32()? })?;
    let (hash, mac_hash) = match algorithm.as_str() {
        "1.3.14.3.2.26" => (&digest::SHA1_FOR_LEGACY_USE_ONLY, hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY),
        "2.16.840.1.101.3.4.2.1" => (&digest::SHA256, hmac::HMAC_SHA256),
        "2.16.840.1.101.3.4.2.2" => (&digest::SHA384, hmac::HMAC_SHA384),
        "2.16.840.1.101.3.4.2.3" => (&digest::SHA512, hmac::HMAC_SHA512),
        _ => return Err(Fault::Unsupported("a checksum that is not an HMAC of SHA-1 or SHA-2")),
    };
    let len = hash.output_len();
    let key = pbe::pkcs12_derive(hash, password, salt, rounds, Purpose::Mac, len)?;
    let key = hmac::Key::new(mac_hash, key.expose());
    // No fuzz target finds the checksum of what it changed.
    let is_right = cfg!(fuzzing) || hmac::verify(&key, content, wanted).is_ok();
    if is_right { Ok(()) } else { Err(Fault::WrongPassword) }
}

/// What the bags hold, before certificates are put to their keys.
#[derive(Default)]
struct Bags {
    keys: Vec<(Vec<u8>, Secret)>,
    certificates: Vec<CertificateBag>,
}

struct CertificateBag {
    der: Vec<u8>,
    key_id: Option<Vec<u8>>,
    is_trusted: bool,
}

impl Bags {
    fn read(&mut self, contents: &[u8], password: &Secret) -> Result<(), Fault> {
        let mut bags = Items::of_sequence(contents)?;
        while !bags.is_empty() {
            let mut bag = bags.sequence()?;
            let kind = bag.oid()?.to_string();
            let value = bag.context(0, true)?;
            let (key_id, is_trusted) = attributes(bag)?;
            match kind.as_str() {
                KEY_BAG => self.keys.push((key_id.unwrap_or_default(), Secret::new(value))),
                SHROUDED_KEY_BAG => {
                    let mut info = Items::of_sequence(value)?;
                    let key = pbe::decrypt(info.sequence()?, info.octets()?, password)?;
                    self.keys.push((key_id.unwrap_or_default(), key));
                }
                CERTIFICATE_BAG => {
                    let mut info = Items::of_sequence(value)?;
                    let _kind = info.oid()?;
                    let der = Items::new(info.context(0, true)?)?.octets()?.to_vec();
                    self.certificates.push(CertificateBag { der, key_id, is_trusted });
                }
                // Revocation lists and secrets are of no use here.
                _ => {}
            }
        }
        Ok(())
    }

    fn into_contents(self) -> Contents {
        let trusted = self.certificates.iter().filter(|bag| bag.is_trusted);
        let trusted = trusted.map(|bag| bag.der.clone()).collect();
        let keys = self.keys.iter();
        let keys = keys.map(|(id, key)| KeyEntry { pkcs8: key.clone(), chain: self.chain(id) });
        Contents { keys: keys.collect(), trusted }
    }

    /// The certificate of a key, then issuer after issuer, as far as they are in the store.
    fn chain(&self, key_id: &[u8]) -> Vec<Vec<u8>> {
        let own = self.certificates.iter().find(|bag| bag.key_id.as_deref() == Some(key_id));
        let mut chain = Vec::new();
        let mut next = own.map(|bag| &bag.der);
        while let Some(der) = next {
            if chain.contains(der) {
                break;
            }
            chain.push(der.clone());
            let Ok(parsed) = Certificate::parse(der) else { break };
            let issued = |bag: &&CertificateBag| {
                Certificate::parse(&bag.der).is_ok_and(|issuer| issuer.subject == parsed.issuer)
            };
            next = self.certificates.iter().find(issued).map(|bag| &bag.der);
        }
        chain
    }
}

/// The local key id, and whether Java trusts the bag.
fn attributes(mut bag: Items<'_>) -> Result<(Option<Vec<u8>>, bool), Fault> {
    let (mut key_id, mut is_trusted) = (None, false);
    if bag.is_empty() || bag.next_is(context(1, true)) {
        return Ok((key_id, is_trusted));
    }
    let mut attributes = bag.set()?;
    while !attributes.is_empty() {
        let mut attribute = attributes.sequence()?;
        match attribute.oid()?.to_string().as_str() {
            LOCAL_KEY_ID => key_id = Some(attribute.set()?.octets()?.to_vec()),
            TRUSTED_KEY_USAGE => is_trusted = true,
            _ => {}
        }
    }
    Ok((key_id, is_trusted))
}
