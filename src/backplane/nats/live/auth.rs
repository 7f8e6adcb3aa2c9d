//! Who the connection says it is: the part of CONNECT that proves it.

use std::path::Path;

use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use nkeys::KeyPair;
use secrecy::ExposeSecret as _;
use serde::Serialize;

use crate::settings::nats::NatsAuth;

/// The fields of CONNECT that authenticate. Holds secrets: never printed.
#[derive(Default, Serialize)]
pub(super) struct Proof {
    #[serde(skip_serializing_if = "Option::is_none")]
    user: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pass: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    auth_token: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    nkey: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    jwt: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    sig: Option<String>,
}

/// Why no proof could be given.
#[derive(Debug, thiserror::Error)]
pub enum AuthError {
    #[error("credentials file {file}")]
    Unreadable {
        file: String,
        #[source]
        source: std::io::Error,
    },
    #[error("credentials file {0} holds no {1}")]
    Incomplete(String, &'static str),
    #[error("not an nkey seed: {0}")]
    Seed(String),
    #[error("the server gave no nonce to sign: it does not expect keys")]
    NoNonce,
}

impl Proof {
    /// Answers `nonce`, the server's challenge to those who hold a key. Reads a credentials file anew each time, so that a
    /// replaced one is used at the next connect.
    pub(super) fn give(auth: &NatsAuth, nonce: Option<&str>) -> Result<Self, AuthError> {
        match auth {
            NatsAuth::None => Ok(Self::default()),
            NatsAuth::UserPassword { user, password } => Ok(Self {
                user: Some(user.clone()),
                pass: Some(password.expose_secret().to_owned()),
                ..Self::default()
            }),
            NatsAuth::Token(token) => {
                Ok(Self { auth_token: Some(token.expose_secret().to_owned()), ..Self::default() })
            }
            NatsAuth::NKey(seed) => {
                let keys = key_pair(seed.expose_secret())?;
                Ok(Self { nkey: Some(keys.public_key()), sig: Some(sign(&keys, nonce)?), ..Self::default() })
            }
            NatsAuth::Credentials(path) => {
                let (jwt, seed) = read_credentials(path)?;
                Ok(Self { jwt: Some(jwt), sig: Some(sign(&key_pair(&seed)?, nonce)?), ..Self::default() })
            }
        }
    }
}

/// Whether there is something to prove with, whatever a server asks.
///
/// # Errors
/// When a credentials file or a seed cannot be used.
pub fn check_auth(auth: &NatsAuth) -> Result<(), AuthError> {
    Proof::give(auth, Some("")).map(drop)
}

/// What was presented, for people; nothing secret.
pub(super) fn described(auth: &NatsAuth) -> String {
    match auth {
        NatsAuth::None => "a connection without credentials".to_owned(),
        NatsAuth::UserPassword { user, .. } => format!("user {user:?}"),
        NatsAuth::Token(_) => "the token".to_owned(),
        NatsAuth::NKey(seed) => match key_pair(seed.expose_secret()) {
            Ok(keys) => format!("nkey {}", keys.public_key()),
            Err(_) => "the nkey".to_owned(),
        },
        NatsAuth::Credentials(path) => format!("credentials {}", path.display()),
    }
}

fn key_pair(seed: &str) -> Result<KeyPair, AuthError> {
    KeyPair::from_seed(seed.trim()).map_err(|error| AuthError::Seed(error.to_string()))
}

fn sign(keys: &KeyPair, nonce: Option<&str>) -> Result<String, AuthError> {
    let nonce = nonce.ok_or(AuthError::NoNonce)?;
    let signature = keys.sign(nonce.as_bytes()).map_err(|error| AuthError::Seed(error.to_string()))?;
    Ok(BASE64_URL_SAFE_NO_PAD.encode(signature))
}

fn read_credentials(path: &Path) -> Result<(String, String), AuthError> {
    let file = path.display().to_string();
    let text = std::fs::read_to_string(path).map_err(|source| AuthError::Unreadable { file: file.clone(), source })?;
    let jwt = section(&text, "USER JWT").ok_or_else(|| AuthError::Incomplete(file.clone(), "user JWT"))?;
    let seed = section(&text, "NKEY SEED").ok_or(AuthError::Incomplete(file, "nkey seed"))?;
    Ok((jwt.to_owned(), seed.to_owned()))
}

/// The line behind `-----BEGIN ... <title>-----`. The dashes' number differs between tools and between ends.
fn section<'a>(text: &'a str, title: &str) -> Option<&'a str> {
    text.lines()
        .map(str::trim)
        .skip_while(|line| !(line.starts_with("---") && line.contains("BEGIN") && line.contains(title)))
        .skip(1)
        .find(|line| !line.is_empty())
        .filter(|line| !line.starts_with("---"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fields(auth: &NatsAuth, nonce: Option<&str>) -> serde_json::Value {
        serde_json::to_value(Proof::give(auth, nonce).expect("is given")).expect("is JSON")
    }

    #[test]
    fn passwords_and_tokens_go_as_they_are() {
        let auth = NatsAuth::UserPassword { user: "gateway".into(), password: "s3cret".into() };
        assert_eq!(fields(&auth, None), serde_json::json!({"user": "gateway", "pass": "s3cret"}));
        assert_eq!(described(&auth), "user \"gateway\"");
        assert_eq!(fields(&NatsAuth::Token("t".into()), None), serde_json::json!({"auth_token": "t"}));
        assert_eq!(fields(&NatsAuth::None, Some("n")), serde_json::json!({}));
    }

    #[test]
    fn a_key_signs_the_nonce() {
        let keys = KeyPair::new_user();
        let auth = NatsAuth::NKey(keys.seed().expect("has a seed").into());
        let fields = fields(&auth, Some("the nonce"));
        assert_eq!(fields["nkey"], keys.public_key());
        let signature = BASE64_URL_SAFE_NO_PAD.decode(fields["sig"].as_str().expect("text")).expect("base64");
        keys.verify(b"the nonce", &signature).expect("is its signature");
        assert!(matches!(Proof::give(&auth, None), Err(AuthError::NoNonce)));
        assert!(matches!(Proof::give(&NatsAuth::NKey("SUAX".into()), Some("n")), Err(AuthError::Seed(_))));
    }

    #[test]
    fn a_credentials_file_gives_its_token_and_signs_with_its_seed() {
        let keys = KeyPair::new_user();
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join("gateway.creds");
        let text = format!(
            "-----BEGIN NATS USER JWT-----\r\neyJ0.eyJq.c2ln\r\n------END NATS USER JWT------\r\n\r\n\
             ************************* IMPORTANT *************************\r\n\
             -----BEGIN USER NKEY SEED-----\r\n{}\r\n------END USER NKEY SEED------\r\n",
            keys.seed().expect("has a seed")
        );
        std::fs::write(&path, text).expect("is written");
        let auth = NatsAuth::Credentials(path.clone());
        let fields = fields(&auth, Some("n"));
        assert_eq!(fields["jwt"], "eyJ0.eyJq.c2ln");
        let signature = BASE64_URL_SAFE_NO_PAD.decode(fields["sig"].as_str().expect("text")).expect("base64");
        keys.verify(b"n", &signature).expect("is its signature");

        std::fs::write(&path, "-----BEGIN NATS USER JWT-----\n------END NATS USER JWT------\n").expect("is written");
        assert!(matches!(Proof::give(&auth, Some("n")), Err(AuthError::Incomplete(_, "user JWT"))));
        std::fs::remove_file(&path).expect("is removed");
        assert!(matches!(Proof::give(&auth, Some("n")), Err(AuthError::Unreadable { .. })));
    }
}
