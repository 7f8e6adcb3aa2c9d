//! Keys, each tied to the algorithms it may be used with.

use jsonwebtoken::errors::Error;
use jsonwebtoken::{Algorithm, DecodingKey};
use secrecy::{ExposeSecret, SecretString};

use super::KeyError;
use super::compact::Compact;
use crate::settings::TokenKeys;

pub const HMAC: &[Algorithm] = &[Algorithm::HS256, Algorithm::HS384, Algorithm::HS512];
pub const RSA: &[Algorithm] =
    &[Algorithm::RS256, Algorithm::RS384, Algorithm::RS512, Algorithm::PS256, Algorithm::PS384, Algorithm::PS512];
pub const P256: &[Algorithm] = &[Algorithm::ES256];
pub const P384: &[Algorithm] = &[Algorithm::ES384];
pub const ED25519: &[Algorithm] = &[Algorithm::EdDSA];

/// Bytes of an uncompressed point on the curve.
pub const P256_POINT: usize = 65;
pub const P384_POINT: usize = 97;
pub const ED25519_POINT: usize = 32;
/// Bits below which no RSA key is accepted.
pub const RSA_BITS: usize = 2048;

/// A key, and what it may be used for.
pub struct Key {
    /// Its name in the set that it came from.
    pub id: Option<String>,
    algorithms: Vec<Algorithm>,
    key: DecodingKey,
}

impl Key {
    pub fn new(id: Option<String>, algorithms: &[Algorithm], key: DecodingKey) -> Self {
        Self { id, algorithms: algorithms.to_vec(), key }
    }

    /// Whether it may be used with `algorithm`.
    pub fn allows(&self, algorithm: Algorithm) -> bool {
        self.algorithms.contains(&algorithm)
    }

    /// Whether it may have signed `token`, and did.
    pub fn signed(&self, token: &Compact<'_>) -> bool {
        self.allows(token.algorithm) && token.is_signed_by(&self.key)
    }
}

/// The keys that stand in the settings themselves, each with its option, or why it is not what its name says.
pub fn configured(settings: &TokenKeys) -> Vec<(&'static str, Result<Key, KeyError>)> {
    let secrets =
        [("hmac_secret_key", &settings.hmac_secret), ("hmac_previous_secret_key", &settings.hmac_previous_secret)];
    let secret = |secret: &SecretString| hmac(secret).map(|key| Key::new(None, HMAC, key));
    let mut keys: Vec<_> = secrets.into_iter().filter_map(|(name, key)| Some((name, secret(key.as_ref()?)))).collect();
    if let Some(pem) = &settings.rsa_public_key {
        keys.push(("rsa_public_key", rsa(pem).map(|key| Key::new(None, RSA, key))));
    }
    if let Some(pem) = &settings.ecdsa_public_key {
        keys.push(("ecdsa_public_key", ec(pem).map(|(algorithms, key)| Key::new(None, algorithms, key))));
    }
    if let Some(pem) = &settings.eddsa_public_key {
        keys.push(("eddsa_public_key", ed25519(pem).map(|key| Key::new(None, ED25519, key))));
    }
    keys
}

/// The options among `settings` whose keys cannot be used.
#[must_use]
pub fn unusable(settings: &TokenKeys) -> Vec<(&'static str, KeyError)> {
    configured(settings).into_iter().filter_map(|(name, key)| Some((name, key.err()?))).collect()
}

fn hmac(secret: &SecretString) -> Result<DecodingKey, KeyError> {
    let secret = secret.expose_secret();
    if secret.is_empty() { Err(KeyError::EmptySecret) } else { Ok(DecodingKey::from_secret(secret.as_bytes())) }
}

fn rsa(pem: &str) -> Result<DecodingKey, KeyError> {
    let key = read("RSA", pem, DecodingKey::from_rsa_pem)?;
    // The modulus fills all of the DER but some 14 bytes of frame and exponent.
    let bits = point(&key).len().saturating_sub(8) * 8;
    if bits < RSA_BITS { Err(KeyError::ShortRsa(bits / 64 * 64)) } else { Ok(key) }
}

fn ec(pem: &str) -> Result<(&'static [Algorithm], DecodingKey), KeyError> {
    let key = read("EC", pem, DecodingKey::from_ec_pem)?;
    match point(&key).len() {
        P256_POINT => Ok((P256, key)),
        P384_POINT => Ok((P384, key)),
        _ => Err(KeyError::Curve),
    }
}

fn ed25519(pem: &str) -> Result<DecodingKey, KeyError> {
    let key = read("Ed25519", pem, DecodingKey::from_ed_pem)?;
    if point(&key).len() == ED25519_POINT { Ok(key) } else { Err(KeyError::Ed25519) }
}

/// The library would take the first bit string of a certificate or a private key for the public key.
fn read(
    kind: &'static str,
    pem: &str,
    read: impl FnOnce(&[u8]) -> Result<DecodingKey, Error>,
) -> Result<DecodingKey, KeyError> {
    if !pem.contains("PUBLIC KEY-----") {
        return Err(KeyError::NotPublic(kind));
    }
    read(pem.trim().as_bytes()).map_err(|source| KeyError::Pem { kind, source })
}

/// The key's raw bytes: a point, or the DER of an RSA key.
pub fn point(key: &DecodingKey) -> &[u8] {
    key.try_get_as_bytes().unwrap_or_default()
}
