//! Sets of keys in JSON (RFC 7517): which of them can verify tokens, and with which algorithms.

use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use jsonwebtoken::jwk::{AlgorithmParameters, EllipticCurve, Jwk, KeyOperations, PublicKeyUse};
use jsonwebtoken::{Algorithm, DecodingKey};
use serde::Deserialize;
use serde_json::value::RawValue;

use super::TokenError;
use super::compact::Compact;
use super::keys::{self, Key};

/// Keys of one set that are looked at: no provider has more, and each may cost a verification.
const MOST_KEYS: usize = 64;

/// The keys of a set that can verify tokens.
pub struct KeySet(Vec<Key>);

/// What a set says about a token.
pub enum Verdict {
    Valid,
    /// The key that the token names is here, and did not sign it.
    Invalid(TokenError),
    /// No key here signed it, but a newer set may have one that did.
    Unknown,
}

#[derive(Deserialize)]
struct Document {
    keys: Vec<Box<RawValue>>,
}

impl KeySet {
    /// Reads a set. Keys that are not for us (another use, type or algorithm) are left out, as RFC 7517, section 5 asks.
    ///
    /// # Errors
    /// When it is no set of keys.
    pub fn parse(json: &[u8]) -> Result<Self, serde_json::Error> {
        let document: Document = serde_json::from_slice(json)?;
        Ok(Self(document.keys.iter().take(MOST_KEYS).filter_map(|key| usable(key.get())).collect()))
    }

    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Holds `token` against the key it names; where none has that name, against those without any.
    pub fn check(&self, token: &Compact<'_>) -> Verdict {
        if let Some(id) = &token.key_id {
            let mut named = self.0.iter().filter(|key| key.id.as_ref() == Some(id)).peekable();
            if named.peek().is_some() {
                return Self::check_named(named, token);
            }
        }
        let mut nameless = self.0.iter().filter(|key| token.key_id.is_none() || key.id.is_none());
        if nameless.any(|key| key.signed(token)) { Verdict::Valid } else { Verdict::Unknown }
    }

    fn check_named<'a>(named: impl Iterator<Item = &'a Key>, token: &Compact<'_>) -> Verdict {
        let mut allowed = named.filter(|key| key.allows(token.algorithm)).peekable();
        if allowed.peek().is_none() {
            Verdict::Invalid(TokenError::Algorithm(format!("{:?}", token.algorithm)))
        } else if allowed.any(|key| key.signed(token)) {
            Verdict::Valid
        } else {
            Verdict::Invalid(TokenError::Signature)
        }
    }
}

fn usable(json: &str) -> Option<Key> {
    let jwk: Jwk = serde_json::from_str(json).ok()?;
    let verifies = jwk.common.public_key_use.as_ref().is_none_or(|purpose| *purpose == PublicKeyUse::Signature)
        && jwk.common.key_operations.as_ref().is_none_or(|operations| operations.contains(&KeyOperations::Verify));
    let possible = algorithms_of(&jwk)?;
    let algorithms = match jwk.common.key_algorithm {
        None => possible.to_vec(),
        Some(own) => {
            vec![*possible.iter().find(|algorithm| Algorithm::try_from(own).is_ok_and(|own| own == **algorithm))?]
        }
    };
    let key = DecodingKey::from_jwk(&jwk).ok()?;
    (verifies && has_right_size(&jwk, &key)).then(|| Key::new(jwk.common.key_id, &algorithms, key))
}

/// What a key of this type can do. Symmetric keys can do nothing here: whoever may read the set could sign with them.
fn algorithms_of(jwk: &Jwk) -> Option<&'static [Algorithm]> {
    match &jwk.algorithm {
        AlgorithmParameters::RSA(_) => Some(keys::RSA),
        AlgorithmParameters::EllipticCurve(key) if key.curve == EllipticCurve::P256 => Some(keys::P256),
        AlgorithmParameters::EllipticCurve(key) if key.curve == EllipticCurve::P384 => Some(keys::P384),
        AlgorithmParameters::OctetKeyPair(key) if key.curve == EllipticCurve::Ed25519 => Some(keys::ED25519),
        _ => None,
    }
}

fn has_right_size(jwk: &Jwk, key: &DecodingKey) -> bool {
    match &jwk.algorithm {
        AlgorithmParameters::RSA(rsa) => {
            BASE64_URL_SAFE_NO_PAD.decode(&rsa.n).is_ok_and(|modulus| modulus.len() * 8 >= keys::RSA_BITS)
        }
        AlgorithmParameters::EllipticCurve(ec) if ec.curve == EllipticCurve::P256 => {
            keys::point(key).len() == keys::P256_POINT
        }
        AlgorithmParameters::EllipticCurve(_) => keys::point(key).len() == keys::P384_POINT,
        AlgorithmParameters::OctetKeyPair(_) => keys::point(key).len() == keys::ED25519_POINT,
        _ => false,
    }
}
