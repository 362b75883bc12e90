//! What the system gives for SASL: the file of users, and nonces.

use std::path::{Path, PathBuf};

use ring::rand::{SecureRandom, SystemRandom};
use zk_sasl::{Jaas, JaasError, NONCE_BYTES, Nonce};

/// Why nobody can be let in by SASL.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SaslFileError {
    /// The file cannot be read.
    #[error("cannot read {}: {source}", .path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// It does not say what it should.
    #[error(transparent)]
    Jaas(#[from] JaasError),
}

/// Reads a file of the JAAS form.
///
/// # Errors
/// If it cannot be read, or does not have the form.
pub fn load_jaas(path: &Path) -> Result<Jaas, SaslFileError> {
    // What is not UTF-8 is refused: different passwords would become the same.
    let text = std::fs::read_to_string(path)
        .map_err(|source| SaslFileError::Read { path: path.to_owned(), source })?;
    Ok(Jaas::parse(&path.display().to_string(), &text)?)
}

/// A nonce; `None` if the system has no random numbers.
#[must_use]
pub fn random_nonce() -> Option<Nonce> {
    let mut bytes = [0; NONCE_BYTES];
    SystemRandom::new().fill(&mut bytes).ok()?;
    Some(bytes)
}
