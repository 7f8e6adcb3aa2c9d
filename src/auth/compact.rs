//! A token as it travels: header, payload and signature in base64url, joined by dots (RFC 7515, section 7.1).

use std::borrow::Cow;
use std::str::FromStr;

use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use jsonwebtoken::{Algorithm, DecodingKey};
use serde::Deserialize;
use serde::de::IgnoredAny;

use super::TokenError;

/// A token taken apart. Nothing in it is believed yet.
#[derive(Debug)]
pub struct Compact<'a> {
    pub algorithm: Algorithm,
    /// The id of the key that the token says it is signed with.
    pub key_id: Option<String>,
    signed: &'a str,
    payload: &'a str,
    signature: &'a str,
}

#[derive(Deserialize)]
struct Header<'a> {
    #[serde(borrow)]
    alg: Cow<'a, str>,
    #[serde(default)]
    kid: Option<String>,
    #[serde(default)]
    crit: Option<IgnoredAny>,
}

impl<'a> Compact<'a> {
    /// Takes `token` apart.
    ///
    /// # Errors
    /// When it is no JWS in compact form, its algorithm is unknown, or its header has extensions that we would have to
    /// understand (`crit`).
    pub fn parse(token: &'a str) -> Result<Self, TokenError> {
        let (signed, signature) = token.rsplit_once('.').ok_or(TokenError::Malformed("it has no three parts"))?;
        let (header, payload) = signed.split_once('.').ok_or(TokenError::Malformed("it has no three parts"))?;
        if payload.contains('.') {
            return Err(TokenError::Malformed("it has more than three parts"));
        }
        let header = BASE64_URL_SAFE_NO_PAD
            .decode(header)
            .map_err(|_| TokenError::Malformed("its header is not in base64url"))?;
        let header: Header<'_> = object(&header)
            .and_then(|header| serde_json::from_slice(header).ok())
            .ok_or(TokenError::Malformed("its header is no JOSE header"))?;
        if header.crit.is_some() {
            return Err(TokenError::Malformed("its header holds critical extensions"));
        }
        let algorithm = Algorithm::from_str(&header.alg).map_err(|_| TokenError::Algorithm(header.alg.into_owned()))?;
        Ok(Self { algorithm, key_id: header.kid, signed, payload, signature })
    }

    /// Whether `key` signed it. The caller has made sure that the key may be used with [`algorithm`](Self::algorithm).
    pub fn is_signed_by(&self, key: &DecodingKey) -> bool {
        // An error is a key of another family, or a signature that is no base64url: not signed by this key either way.
        jsonwebtoken::crypto::verify(self.signature, self.signed.as_bytes(), key, self.algorithm).unwrap_or(false)
    }

    /// The claims' JSON: an object, by its first byte.
    ///
    /// # Errors
    /// When it is not in base64url, or something else than an object.
    pub fn payload(&self) -> Result<Vec<u8>, TokenError> {
        let payload = BASE64_URL_SAFE_NO_PAD
            .decode(self.payload)
            .map_err(|_| TokenError::Malformed("its payload is not in base64url"))?;
        if object(&payload).is_none() {
            return Err(TokenError::Malformed("its payload is no JSON object"));
        }
        Ok(payload)
    }
}

/// `json`, if it can only be an object: a list of values would do for a struct as well.
fn object(json: &[u8]) -> Option<&[u8]> {
    json.trim_ascii_start().starts_with(b"{").then_some(json)
}
