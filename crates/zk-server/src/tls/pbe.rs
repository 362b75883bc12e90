//! Encryption under a password, as PKCS#5 (PBES2) and PKCS#12 define it; decryption only.

use std::num::NonZeroU32;

use aes::{Aes128, Aes192, Aes256};
use cbc::Decryptor;
use cbc::cipher::block_padding::Pkcs7;
use cbc::cipher::{BlockCipherDecrypt, BlockModeDecrypt, InnerIvInit, KeyInit};
use des::{TdesEde2, TdesEde3};
use ring::{digest, pbkdf2};

use super::Secret;
use super::der::Items;
use super::store::Fault;

/// Java's own bound; a store that asks for more would only keep the server from starting. Fuzz
/// targets have better things to do.
const MAX_ITERATIONS: u32 = if cfg!(fuzzing) { 16 } else { 5_000_000 };

/// Which of PKCS#12's derived values is wanted.
#[derive(Clone, Copy)]
pub(super) enum Purpose {
    Key = 1,
    Iv = 2,
    Mac = 3,
}

/// Decrypts data by an `AlgorithmIdentifier`, given as its elements.
pub(super) fn decrypt(
    mut algorithm: Items<'_>,
    data: &[u8],
    password: &Secret,
) -> Result<Secret, Fault> {
    match algorithm.oid()?.to_string().as_str() {
        "1.2.840.113549.1.5.13" => pbes2(algorithm.sequence()?, data, password),
        "1.2.840.113549.1.12.1.3" => pbes1(algorithm.sequence()?, Cipher::Tdes3, data, password),
        "1.2.840.113549.1.12.1.4" => pbes1(algorithm.sequence()?, Cipher::Tdes2, data, password),
        "1.2.840.113549.1.12.1.5" => pbes1(algorithm.sequence()?, Cipher::Rc2(16), data, password),
        "1.2.840.113549.1.12.1.6" => pbes1(algorithm.sequence()?, Cipher::Rc2(5), data, password),
        _ => Err(Fault::Unsupported("an encryption that is neither PBES2 nor of PKCS#12")),
    }
}

#[derive(Clone, Copy)]
enum Cipher {
    Aes128,
    Aes192,
    Aes256,
    Tdes2,
    Tdes3,
    /// With the length of its key in bytes.
    Rc2(usize),
}

impl Cipher {
    fn key_len(self) -> usize {
        match self {
            Cipher::Aes128 | Cipher::Tdes2 => 16,
            Cipher::Aes192 | Cipher::Tdes3 => 24,
            Cipher::Aes256 => 32,
            Cipher::Rc2(len) => len,
        }
    }

    fn open(self, key: &[u8], iv: &[u8], data: &[u8]) -> Result<Secret, Fault> {
        match self {
            Cipher::Aes128 => cbc(Aes128::new_from_slice(key).ok(), iv, data),
            Cipher::Aes192 => cbc(Aes192::new_from_slice(key).ok(), iv, data),
            Cipher::Aes256 => cbc(Aes256::new_from_slice(key).ok(), iv, data),
            Cipher::Tdes2 => cbc(TdesEde2::new_from_slice(key).ok(), iv, data),
            Cipher::Tdes3 => cbc(TdesEde3::new_from_slice(key).ok(), iv, data),
            Cipher::Rc2(len) => cbc(Some(rc2::Rc2::new_with_eff_key_len(key, len * 8)), iv, data),
        }
    }
}

/// Undoes CBC; wrong padding is what a wrong password looks like.
fn cbc<C: BlockCipherDecrypt>(cipher: Option<C>, iv: &[u8], data: &[u8]) -> Result<Secret, Fault> {
    let cipher = cipher.ok_or(Fault::Malformed("the length of a cipher key is wrong"))?;
    let decryptor = Decryptor::inner_iv_slice_init(cipher, iv)
        .map_err(|_| Fault::Malformed("the length of an initialisation vector is wrong"))?;
    let plain = decryptor.decrypt_padded_vec::<Pkcs7>(data).map_err(|_| Fault::WrongPassword)?;
    Ok(Secret::new(plain))
}

fn pbes1(
    mut parameters: Items<'_>,
    cipher: Cipher,
    data: &[u8],
    password: &Secret,
) -> Result<Secret, Fault> {
    let salt = parameters.octets()?;
    let rounds = rounds(parameters.u32()?)?;
    let hash = &digest::SHA1_FOR_LEGACY_USE_ONLY;
    let key = pkcs12_derive(hash, password, salt, rounds, Purpose::Key, cipher.key_len())?;
    let iv = pkcs12_derive(hash, password, salt, rounds, Purpose::Iv, 8)?;
    cipher.open(key.expose(), iv.expose(), data)
}

fn pbes2(mut parameters: Items<'_>, data: &[u8], password: &Secret) -> Result<Secret, Fault> {
    let (mut derivation, mut encryption) = (parameters.sequence()?, parameters.sequence()?);
    let cipher = match encryption.oid()?.to_string().as_str() {
        "2.16.840.1.101.3.4.1.2" => Cipher::Aes128,
        "2.16.840.1.101.3.4.1.22" => Cipher::Aes192,
        "2.16.840.1.101.3.4.1.42" => Cipher::Aes256,
        "1.2.840.113549.3.7" => Cipher::Tdes3,
        _ => return Err(Fault::Unsupported("a cipher that is neither AES nor triple DES")),
    };
    let iv = encryption.octets()?;
    if derivation.oid()?.to_string() != "1.2.840.113549.1.5.12" {
        return Err(Fault::Unsupported("a key derivation that is not PBKDF2"));
    }
    let mut derivation = derivation.sequence()?;
    let salt = derivation.octets()?;
    let rounds = rounds(derivation.u32()?)?;
    if derivation.next_is(::der::Tag::Integer) {
        derivation.any()?;
    }
    let hash = match derivation.is_empty() {
        true => pbkdf2::PBKDF2_HMAC_SHA1,
        false => match derivation.sequence()?.oid()?.to_string().as_str() {
            "1.2.840.113549.2.7" => pbkdf2::PBKDF2_HMAC_SHA1,
            "1.2.840.113549.2.9" => pbkdf2::PBKDF2_HMAC_SHA256,
            "1.2.840.113549.2.10" => pbkdf2::PBKDF2_HMAC_SHA384,
            "1.2.840.113549.2.11" => pbkdf2::PBKDF2_HMAC_SHA512,
            _ => return Err(Fault::Unsupported("a PBKDF2 that is not on SHA-1 or SHA-2")),
        },
    };
    let mut key = vec![0; cipher.key_len()];
    pbkdf2::derive(hash, rounds, salt, password.expose(), &mut key);
    cipher.open(Secret::new(key).expose(), iv, data)
}

pub(super) fn rounds(count: u32) -> Result<NonZeroU32, Fault> {
    NonZeroU32::new(count)
        .filter(|count| count.get() <= MAX_ITERATIONS)
        .ok_or(Fault::Unsupported("a number of iterations that is 0 or above five million"))
}

/// The key derivation of PKCS#12 (RFC 7292, appendix B.2).
pub(super) fn pkcs12_derive(
    hash: &'static digest::Algorithm,
    password: &Secret,
    salt: &[u8],
    rounds: NonZeroU32,
    purpose: Purpose,
    len: usize,
) -> Result<Secret, Fault> {
    let text = std::str::from_utf8(password.expose()).map_err(|_| Fault::PasswordNotText)?;
    let password = text.encode_utf16().chain([0]).flat_map(u16::to_be_bytes).collect::<Vec<_>>();
    let block = hash.block_len();
    let repeat = |bytes: &[u8]| {
        let full = bytes.len().div_ceil(block) * block;
        bytes.iter().copied().cycle().take(full).collect::<Vec<u8>>()
    };
    let mut input = repeat(salt);
    input.extend(repeat(&password));
    let diversifier = vec![purpose as u8; block];
    let mut out = Vec::new();
    while out.len() < len {
        let mut sum = digest::digest(hash, &[diversifier.as_slice(), &input].concat());
        for _ in 1..rounds.get() {
            sum = digest::digest(hash, sum.as_ref());
        }
        out.extend_from_slice(sum.as_ref());
        // Every block of the input becomes itself plus the sum plus one, as big-endian numbers.
        let addend = sum.as_ref().iter().copied().cycle().take(block).collect::<Vec<u8>>();
        for chunk in input.chunks_mut(block) {
            let mut carry = 1;
            for (byte, add) in chunk.iter_mut().zip(&addend).rev() {
                carry += u16::from(*byte) + u16::from(*add);
                *byte = carry as u8;
                carry >>= 8;
            }
        }
    }
    out.truncate(len);
    Ok(Secret::new(out))
}
