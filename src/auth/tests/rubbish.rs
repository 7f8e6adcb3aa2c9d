//! Whatever comes in, the verifier answers.

use futures_util::FutureExt;
use proptest::prelude::*;

use super::fixtures::{ED25519, P256, RSA, hmac_settings, hmac_verifier, raw_token};
use crate::auth::Verifier;
use crate::settings::TokenKeys;

proptest! {
    #[test]
    fn any_text_is_answered(token in "\\PC{0,200}") {
        let outcome = hmac_verifier().connection(&token).now_or_never();
        prop_assert!(outcome.expect("no wait without a key server").is_err());
    }

    #[test]
    fn any_three_parts_are_answered(
        alg in prop_oneof![Just("HS256"), Just("RS256"), Just("PS512"), Just("ES256"), Just("EdDSA"), Just("none")],
        payload in "[A-Za-z0-9_-]{0,80}",
        signature in "[A-Za-z0-9_-]{0,400}",
    ) {
        use base64::Engine;
        let header = base64::prelude::BASE64_URL_SAFE_NO_PAD.encode(format!(r#"{{"alg":"{alg}"}}"#));
        let settings = TokenKeys {
            rsa_public_key: Some(RSA.public_pem.clone()),
            ecdsa_public_key: Some(P256.public_pem.clone()),
            eddsa_public_key: Some(ED25519.public_pem.clone()),
            ..hmac_settings()
        };
        let verifier = Verifier::new(&settings).expect("good keys");
        let token = format!("{header}.{payload}.{signature}");
        prop_assert!(verifier.connection(&token).now_or_never().expect("no wait").is_err());
    }

    #[test]
    fn any_signed_payload_is_answered(
        name in prop_oneof![
            Just("sub"), Just("exp"), Just("aud"), Just("info"), Just("subs"), Just("channels"), Just("channel"),
            Just("b64info"), Just("meta"), Just("expire_at"), Just("override"), Just("data"),
        ],
        value in prop_oneof![
            "\\PC{0,40}",
            Just("{\"a\":{\"override\":{\"presence\":{\"value\":1e999}}}}".to_owned()),
            Just("[".repeat(5000)),
            Just(format!("{}{}", "[".repeat(5000), "]".repeat(5000))),
            any::<f64>().prop_map(|number| number.to_string()),
            any::<i64>().prop_map(|number| number.to_string()),
            "\"\\PC{0,20}\"",
        ],
    ) {
        let token = raw_token(r#"{"alg":"HS256"}"#, &format!("{{\"{name}\":{value}}}"));
        prop_assert!(hmac_verifier().connection(&token).now_or_never().is_some());
        prop_assert!(hmac_verifier().subscription(&token).now_or_never().is_some());
    }
}
