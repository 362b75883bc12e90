//! Java's own key store format (`sun.security.provider.JavaKeyStore`), read only.
//!
//! ```text
//! 0xfeedfeed, version 1 or 2, count
//! per entry: tag, alias, creation time in ms
//!   tag 1: protected key, count, certificates       tag 2: certificate
//! SHA-1 of (password as UTF-16, "Mighty Aphrodite", everything before)
//! ```

use ring::digest;

use super::Secret;
use super::der::Items;
use super::store::{Contents, Fault, KeyEntry};

const MAGIC: u32 = 0xfeed_feed;
/// The algorithm of protected keys, made by Sun for this format.
const KEY_PROTECTOR: &str = "1.3.6.1.4.1.42.2.17.1.1";
const SHA1_LEN: usize = 20;
const SALT_LEN: usize = 20;

/// Whether the bytes are of this format.
pub(super) fn is_jks(bytes: &[u8]) -> bool {
    bytes.starts_with(&MAGIC.to_be_bytes())
}

/// Reads a store whose keys have the password of the store, as Apache requires.
pub(super) fn parse(bytes: &[u8], password: &Secret) -> Result<Contents, Fault> {
    let split = bytes.len().checked_sub(SHA1_LEN).ok_or(TRUNCATED)?;
    let (content, checksum) = bytes.split_at(split);
    let password = utf16(password)?;
    if !Secret::new(seal(content, &password)).matches(checksum) {
        return Err(Fault::WrongPassword);
    }
    let mut input = Input(content);
    let (magic, version) = (input.u32()?, input.u32()?);
    if magic != MAGIC || !(1..=2).contains(&version) {
        return Err(Fault::Malformed("it is no JKS store of version 1 or 2"));
    }
    let mut contents = Contents::default();
    for _ in 0..input.u32()? {
        let tag = input.u32()?;
        let _alias = input.text()?;
        let _created_ms = input.take(8)?;
        match tag {
            1 => {
                let key = unprotect(input.bytes()?, &password)?;
                let count = input.u32()?;
                let chain = (0..count).map(|_| input.certificate(version));
                let chain = chain.collect::<Result<Vec<_>, _>>()?;
                contents.keys.push(KeyEntry { pkcs8: key, chain });
            }
            2 => contents.trusted.push(input.certificate(version)?),
            _ => return Err(Fault::Unsupported("an entry that is neither key nor certificate")),
        }
    }
    Ok(contents)
}

/// The checksum at the end of a store.
fn seal(content: &[u8], password: &[u8]) -> Vec<u8> {
    sha1(&[password, b"Mighty Aphrodite", content])
}

/// A store with its checksum, for tests of what is behind it.
#[cfg(any(test, fuzzing))]
pub(super) fn sealed(content: &[u8], password: &Secret) -> Vec<u8> {
    [content, &seal(content, &utf16(password).unwrap_or_default())].concat()
}

const TRUNCATED: Fault = Fault::Malformed("it ends too early");

struct Input<'a>(&'a [u8]);

impl<'a> Input<'a> {
    fn take(&mut self, len: usize) -> Result<&'a [u8], Fault> {
        let (taken, rest) = self.0.split_at_checked(len).ok_or(TRUNCATED)?;
        self.0 = rest;
        Ok(taken)
    }

    fn u32(&mut self) -> Result<u32, Fault> {
        let bytes = self.take(4)?.try_into().map_err(|_| TRUNCATED)?;
        Ok(u32::from_be_bytes(bytes))
    }

    fn bytes(&mut self) -> Result<&'a [u8], Fault> {
        let len = self.u32()?;
        self.take(len as usize)
    }

    fn text(&mut self) -> Result<&'a [u8], Fault> {
        let bytes = self.take(2)?.try_into().map_err(|_| TRUNCATED)?;
        self.take(u16::from_be_bytes(bytes).into())
    }

    fn certificate(&mut self, version: u32) -> Result<Vec<u8>, Fault> {
        if version == 2 && self.text()? != b"X.509" {
            return Err(Fault::Unsupported("a certificate that is not X.509"));
        }
        Ok(self.bytes()?.to_vec())
    }
}

/// Undoes Sun's protection: the key is XORed with a chain of SHA-1 sums that starts at a salt.
fn unprotect(protected: &[u8], password: &[u8]) -> Result<Secret, Fault> {
    let mut info = Items::of_sequence(protected)?;
    if info.sequence()?.oid()?.to_string() != KEY_PROTECTOR {
        return Err(Fault::Unsupported("a key that is not protected as JKS does it"));
    }
    let data = info.octets()?;
    let cipher_len = data.len().checked_sub(SALT_LEN + SHA1_LEN).ok_or(TRUNCATED)?;
    let (salt, rest) = data.split_at(SALT_LEN);
    let (cipher, checksum) = rest.split_at(cipher_len);
    let mut plain = Vec::with_capacity(cipher.len());
    let mut pad = salt.to_vec();
    for block in cipher.chunks(SHA1_LEN) {
        pad = sha1(&[password, &pad]);
        plain.extend(block.iter().zip(&pad).map(|(byte, pad)| byte ^ pad));
    }
    if !Secret::new(sha1(&[password, &plain])).matches(checksum) {
        return Err(Fault::WrongPassword);
    }
    Ok(Secret::new(plain))
}

fn sha1(parts: &[&[u8]]) -> Vec<u8> {
    let mut context = digest::Context::new(&digest::SHA1_FOR_LEGACY_USE_ONLY);
    parts.iter().for_each(|part| context.update(part));
    context.finish().as_ref().to_vec()
}

/// The password as Java hashes it.
fn utf16(password: &Secret) -> Result<Vec<u8>, Fault> {
    let text = std::str::from_utf8(password.expose()).map_err(|_| Fault::PasswordNotText)?;
    Ok(text.encode_utf16().flat_map(u16::to_be_bytes).collect())
}
