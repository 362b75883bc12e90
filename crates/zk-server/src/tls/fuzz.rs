//! Doors for the fuzz targets (`fuzz/`); they exist under `cfg(fuzzing)` alone.

use super::store::{Fault, parse, parse_pem};
use super::{Secret, jks};

/// Reads a JKS or PKCS#12 store; the number of keys and of trusted certificates.
pub fn store(bytes: &[u8], password: &Secret) -> Result<[usize; 2], Fault> {
    parse(bytes, password).map(|contents| [contents.keys.len(), contents.trusted.len()])
}

/// A JKS store with the checksum that it needs to be looked at.
#[must_use]
pub fn sealed_jks(content: &[u8], password: &Secret) -> Vec<u8> {
    jks::sealed(content, password)
}

/// Reads a PEM file as a key store and as a trust store; the number of its certificates.
pub fn pem(bytes: &[u8], password: &Secret) -> Result<usize, Fault> {
    parse_pem(bytes, password)
}
