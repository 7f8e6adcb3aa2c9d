//! Keys and checks of tokens.

use secrecy::{ExposeSecret, SecretString};

use super::super::model::{Jwks, TokenKeys};
use super::super::section::Section;
use super::super::value::{Positive, WebAddress};

/// The options that bring a key.
pub(super) const KEYS: [&str; 7] = [
    "hmac_secret_key",
    "hmac_previous_secret_key",
    "rsa_public_key",
    "ecdsa_public_key",
    "eddsa_public_key",
    "jwks_public_endpoint",
    "supabase_url",
];

/// RFC 7518, 3.2: a key of the size of the hash or larger.
const SHORTEST_SECRET: usize = 32;

/// Beginnings of secrets that were copied from some manual.
const PLACEHOLDERS: [&str; 5] = ["your_", "your-", "changeme", "change_me", "change-me"];

pub(super) fn connection(section: &Section<'_>, development: bool) -> Option<TokenKeys> {
    let mut keys = read(section, development);
    if let Some(WebAddress(project)) = section.take::<Option<WebAddress>>("supabase_url") {
        let issuer = format!("{}/auth/v1", project.as_str().trim_end_matches('/'));
        if keys.jwks.is_none() {
            let url = format!("{issuer}/.well-known/jwks.json").parse().expect("an address with a path is an address");
            keys.jwks = Some(Jwks { url, refresh_interval: section.take::<Positive>("jwks_refresh_interval").0 });
        }
        keys.issuer.get_or_insert(issuer);
        keys.audience.get_or_insert_with(|| "authenticated".to_owned());
    }
    has_key(&keys).then_some(keys)
}

pub(super) fn subscription(section: &Section<'_>, development: bool) -> Option<TokenKeys> {
    let keys = read(section, development);
    has_key(&keys).then_some(keys)
}

fn read(section: &Section<'_>, development: bool) -> TokenKeys {
    let endpoint: Option<WebAddress> = section.take("jwks_public_endpoint");
    let Positive(refresh_interval) = section.take("jwks_refresh_interval");
    let claim: String = section.take("user_id_claim");
    if claim.is_empty() || !claim.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_') {
        section.refuse("user_id_claim", "not a claim (try \"sub\")");
    }
    TokenKeys {
        hmac_secret: secret(section, "hmac_secret_key", development),
        hmac_previous_secret: secret(section, "hmac_previous_secret_key", development),
        rsa_public_key: pem(section, "rsa_public_key"),
        ecdsa_public_key: pem(section, "ecdsa_public_key"),
        eddsa_public_key: pem(section, "eddsa_public_key"),
        jwks: endpoint.map(|WebAddress(url)| Jwks { url, refresh_interval }),
        audience: section.take("audience"),
        issuer: section.take("issuer"),
        leeway: section.take("leeway"),
        user_id_claim: (claim != "sub").then_some(claim),
    }
}

fn secret(section: &Section<'_>, key: &'static str, development: bool) -> Option<SecretString> {
    let secret: Option<SecretString> = section.take(key);
    if let Some(secret) = secret.as_ref().filter(|_| !development) {
        let text = secret.expose_secret();
        let lower = text.to_ascii_lowercase();
        if text.len() < SHORTEST_SECRET {
            let why = format!(
                "{} bytes; at least {SHORTEST_SECRET} are required outside development mode (try openssl rand -hex 32)",
                text.len()
            );
            section.refuse(key, why);
        } else if PLACEHOLDERS.iter().any(|placeholder| lower.starts_with(placeholder)) {
            section.refuse(key, "the placeholder of a manual, which everybody knows (try openssl rand -hex 32)");
        }
    }
    secret
}

/// A public key in PEM; the environment may write its line breaks as `\n`.
fn pem(section: &Section<'_>, key: &'static str) -> Option<String> {
    let pem: Option<String> = section.take(key);
    let pem = pem.map(|pem| pem.replace("\\n", "\n"));
    if pem.as_ref().is_some_and(|pem| !pem.starts_with("-----BEGIN ") || !pem.contains("PUBLIC KEY")) {
        section.refuse(key, "not a public key in PEM (it begins with \"-----BEGIN PUBLIC KEY-----\")");
    }
    pem
}

fn has_key(keys: &TokenKeys) -> bool {
    let TokenKeys { hmac_secret, hmac_previous_secret, rsa_public_key, ecdsa_public_key, eddsa_public_key, .. } = keys;
    let secret = hmac_secret.is_some() || hmac_previous_secret.is_some();
    let public = rsa_public_key.is_some() || ecdsa_public_key.is_some() || eddsa_public_key.is_some();
    secret || public || keys.jwks.is_some()
}
