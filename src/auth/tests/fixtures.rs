//! Keys made on the spot, and tokens signed with them.

use std::sync::LazyLock;

use aws_lc_rs::encoding::{AsDer, Pkcs8V1Der, PublicKeyX509Der};
use aws_lc_rs::rsa::{KeyPair as RsaKeyPair, KeySize};
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED_SIGNING, ECDSA_P384_SHA384_FIXED_SIGNING, EcdsaKeyPair, EcdsaSigningAlgorithm,
    Ed25519KeyPair, KeyPair as _,
};
use base64::Engine;
use base64::prelude::{BASE64_STANDARD, BASE64_URL_SAFE_NO_PAD};
use jsonwebtoken::jwk::Jwk;
use jsonwebtoken::{Algorithm, EncodingKey, Header};
use secrecy::SecretString;
use serde_json::{Value, json};

use crate::auth::{ConnectionGrant, TokenError, Verifier};
use crate::clock::unix_seconds;
use crate::settings::TokenKeys;

pub const SECRET: &str = "a secret of thirty-two bytes, or more";

/// Two halves of one key.
pub struct Pair {
    pub public_pem: String,
    pub private: EncodingKey,
}

pub static RSA: LazyLock<Pair> = LazyLock::new(rsa);
pub static OTHER_RSA: LazyLock<Pair> = LazyLock::new(rsa);
pub static P256: LazyLock<Pair> = LazyLock::new(|| ec(&ECDSA_P256_SHA256_FIXED_SIGNING));
pub static OTHER_P256: LazyLock<Pair> = LazyLock::new(|| ec(&ECDSA_P256_SHA256_FIXED_SIGNING));
pub static P384: LazyLock<Pair> = LazyLock::new(|| ec(&ECDSA_P384_SHA384_FIXED_SIGNING));
pub static ED25519: LazyLock<Pair> = LazyLock::new(|| {
    let key = Ed25519KeyPair::generate().unwrap();
    let private: Pkcs8V1Der<'_> = key.as_der().unwrap();
    let public: PublicKeyX509Der<'_> = key.public_key().as_der().unwrap();
    Pair {
        public_pem: pem("PUBLIC KEY", public.as_ref()),
        private: EncodingKey::from_ed_pem(pem("PRIVATE KEY", private.as_ref()).as_bytes()).unwrap(),
    }
});

fn rsa() -> Pair {
    let key = RsaKeyPair::generate(KeySize::Rsa2048).unwrap();
    let private: Pkcs8V1Der<'_> = key.as_der().unwrap();
    let public: PublicKeyX509Der<'_> = key.public_key().as_der().unwrap();
    Pair {
        public_pem: pem("PUBLIC KEY", public.as_ref()),
        private: EncodingKey::from_rsa_pem(pem("PRIVATE KEY", private.as_ref()).as_bytes()).unwrap(),
    }
}

fn ec(curve: &'static EcdsaSigningAlgorithm) -> Pair {
    let key = EcdsaKeyPair::generate(curve).unwrap();
    let private = key.to_pkcs8v1().unwrap();
    let public: PublicKeyX509Der<'_> = key.public_key().as_der().unwrap();
    Pair {
        public_pem: pem("PUBLIC KEY", public.as_ref()),
        private: EncodingKey::from_ec_pem(pem("PRIVATE KEY", private.as_ref()).as_bytes()).unwrap(),
    }
}

pub fn pem(label: &str, der: &[u8]) -> String {
    format!("-----BEGIN {label}-----\n{}\n-----END {label}-----\n", BASE64_STANDARD.encode(der))
}

impl std::fmt::Debug for Pair {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.public_pem)
    }
}

impl Pair {
    /// Its public half as a member of a key set, with `more` fields set over it.
    pub fn jwk(&self, algorithm: Algorithm, more: Value) -> Value {
        let mut jwk = serde_json::to_value(Jwk::from_encoding_key(&self.private, algorithm).unwrap()).unwrap();
        for (name, value) in more.as_object().unwrap() {
            jwk[name] = value.clone();
        }
        jwk
    }
}

pub fn secret(text: &str) -> Option<SecretString> {
    Some(text.to_owned().into())
}

/// Settings with the shared secret [`SECRET`] and nothing else.
pub fn hmac_settings() -> TokenKeys {
    TokenKeys { hmac_secret: secret(SECRET), ..TokenKeys::default() }
}

pub fn hmac_verifier() -> Verifier {
    Verifier::new(&hmac_settings()).unwrap()
}

/// A token of these claims, signed by `SECRET` with HS256.
pub fn hmac_token(claims: &Value) -> String {
    signed_with_secret(Algorithm::HS256, SECRET, claims)
}

pub fn signed_with_secret(algorithm: Algorithm, secret: &str, claims: &Value) -> String {
    signed(algorithm, &EncodingKey::from_secret(secret.as_bytes()), None, claims)
}

pub fn signed(algorithm: Algorithm, key: &EncodingKey, key_id: Option<&str>, claims: &Value) -> String {
    let header = Header { kid: key_id.map(str::to_owned), ..Header::new(algorithm) };
    jsonwebtoken::encode(&header, claims, key).unwrap()
}

/// A token with exactly this header and payload, signed by `SECRET` as HS256 whatever the header says.
pub fn raw_token(header: &str, payload: &str) -> String {
    let message = format!("{}.{}", BASE64_URL_SAFE_NO_PAD.encode(header), BASE64_URL_SAFE_NO_PAD.encode(payload));
    let key = EncodingKey::from_secret(SECRET.as_bytes());
    let signature = jsonwebtoken::crypto::sign(message.as_bytes(), &key, Algorithm::HS256).unwrap();
    format!("{message}.{signature}")
}

/// Ada's claims, good for an hour.
pub fn ada() -> Value {
    json!({ "sub": "ada", "exp": in_seconds(3600) })
}

/// Unix seconds `delta` from now.
pub fn in_seconds(delta: i64) -> u64 {
    unix_seconds().saturating_add_signed(delta)
}

/// What a verifier of `SECRET` says to these claims.
pub async fn connection(claims: &Value) -> Result<ConnectionGrant, TokenError> {
    hmac_verifier().connection(&hmac_token(claims)).await
}
