//! What of a token matters once it was believed.

use sha2::{Digest, Sha256};

/// A token as revocations see it: small, since every session keeps it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Token {
    /// Stands for its `jti`, where it has one.
    pub id: Option<u128>,
    /// `iat` in Unix seconds; 0 where it does not say, so that it is older than any time.
    pub issued_at: u32,
}

impl Token {
    /// From the claims `jti` and `iat`.
    #[must_use]
    pub fn new(jti: Option<&str>, iat: Option<u64>) -> Self {
        let issued_at = iat.map_or(0, |at| u32::try_from(at).unwrap_or(u32::MAX));
        Self { id: jti.filter(|jti| !jti.is_empty()).map(|jti| digest(&[jti])), issued_at }
    }
}

/// A number that stands for some texts; nobody finds others with the same.
pub(super) fn digest(texts: &[&str]) -> u128 {
    let mut hash = Sha256::new();
    for text in texts {
        hash.update((text.len() as u64).to_be_bytes());
        hash.update(text);
    }
    let bytes: [u8; 32] = hash.finalize().into();
    bytes.iter().take(16).fold(0, |number, byte| number << 8 | u128::from(*byte))
}
