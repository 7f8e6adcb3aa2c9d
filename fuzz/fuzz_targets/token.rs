#![no_main]

use std::sync::LazyLock;

use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use futures_util::FutureExt;
use jsonwebtoken::{Algorithm, EncodingKey};
use libfuzzer_sys::fuzz_target;
use midplane::auth::Verifier;
use midplane::settings::TokenKeys;

const SECRET: &str = "a secret of thirty-two bytes, or more";

static VERIFIER: LazyLock<Verifier> = LazyLock::new(|| {
    let settings = TokenKeys { hmac_secret: Some(SECRET.to_owned().into()), ..TokenKeys::default() };
    Verifier::new(&settings).expect("a good key")
});

fuzz_target!(|input: &[u8]| {
    if let Ok(token) = std::str::from_utf8(input) {
        verify(token);
    }
    // What only the holder of the key could send.
    let header = BASE64_URL_SAFE_NO_PAD.encode(r#"{"alg":"HS256"}"#);
    let signed = format!("{header}.{}", BASE64_URL_SAFE_NO_PAD.encode(input));
    let key = EncodingKey::from_secret(SECRET.as_bytes());
    let signature = jsonwebtoken::crypto::sign(signed.as_bytes(), &key, Algorithm::HS256).expect("signs");
    verify(&format!("{signed}.{signature}"));
});

/// Without a server for keys there is nothing to wait for.
fn verify(token: &str) {
    let connection = VERIFIER.connection(token).now_or_never().expect("an answer at once");
    let subscription = VERIFIER.subscription(token).now_or_never().expect("an answer at once");
    assert!(connection.is_err() || subscription.is_err(), "one token is good for one kind only");
    let one_line = |json: &[u8]| !json.contains(&b'\n') || serde_json::from_slice::<serde_json::Value>(json).is_err();
    if let Ok(grant) = connection {
        assert!(grant.info.as_deref().is_none_or(one_line) && grant.meta.as_deref().is_none_or(one_line));
    }
}
