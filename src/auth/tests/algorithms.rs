//! Every algorithm passes with its own key, and with no other.

use jsonwebtoken::{Algorithm, EncodingKey};
use serde_json::json;

use super::fixtures::{
    ED25519, OTHER_P256, OTHER_RSA, P256, P384, RSA, SECRET, ada, hmac_settings, raw_token, secret, signed,
    signed_with_secret,
};
use crate::auth::{KeyError, TokenError, Verifier};
use crate::settings::TokenKeys;

fn everything() -> TokenKeys {
    TokenKeys {
        rsa_public_key: Some(RSA.public_pem.clone()),
        ecdsa_public_key: Some(P256.public_pem.clone()),
        eddsa_public_key: Some(ED25519.public_pem.clone()),
        ..hmac_settings()
    }
}

fn keys() -> [(Algorithm, EncodingKey); 11] {
    let hmac = EncodingKey::from_secret(SECRET.as_bytes());
    [
        (Algorithm::HS256, hmac.clone()),
        (Algorithm::HS384, hmac.clone()),
        (Algorithm::HS512, hmac),
        (Algorithm::RS256, RSA.private.clone()),
        (Algorithm::RS384, RSA.private.clone()),
        (Algorithm::RS512, RSA.private.clone()),
        (Algorithm::PS256, RSA.private.clone()),
        (Algorithm::PS384, RSA.private.clone()),
        (Algorithm::PS512, RSA.private.clone()),
        (Algorithm::ES256, P256.private.clone()),
        (Algorithm::EdDSA, ED25519.private.clone()),
    ]
}

#[tokio::test]
async fn a_token_passes_by_the_key_of_its_algorithms_family() {
    let verifier = Verifier::new(&everything()).unwrap();
    for (algorithm, key) in keys() {
        let grant = verifier.connection(&signed(algorithm, &key, None, &ada())).await;
        assert_eq!(grant.unwrap().user, "ada", "{algorithm:?}");
    }
}

#[tokio::test]
async fn a_key_on_the_curve_p_384_takes_es384_alone() {
    let settings = TokenKeys { ecdsa_public_key: Some(P384.public_pem.clone()), ..TokenKeys::default() };
    let verifier = Verifier::new(&settings).unwrap();
    assert!(verifier.connection(&signed(Algorithm::ES384, &P384.private, None, &ada())).await.is_ok());
    let refusal = verifier.connection(&signed(Algorithm::ES256, &P256.private, None, &ada())).await.unwrap_err();
    assert!(matches!(refusal, TokenError::Algorithm(_)), "{refusal:?}");
}

#[tokio::test]
async fn another_key_of_the_same_kind_is_a_wrong_signature() {
    let verifier = Verifier::new(&everything()).unwrap();
    for (algorithm, key) in [
        (Algorithm::HS256, EncodingKey::from_secret(b"another secret of thirty-two bytes")),
        (Algorithm::RS256, OTHER_RSA.private.clone()),
        (Algorithm::PS512, OTHER_RSA.private.clone()),
        (Algorithm::ES256, OTHER_P256.private.clone()),
    ] {
        let refusal = verifier.connection(&signed(algorithm, &key, None, &ada())).await.unwrap_err();
        assert!(matches!(refusal, TokenError::Signature), "{algorithm:?}: {refusal:?}");
    }
}

#[tokio::test]
async fn a_public_key_is_never_taken_for_a_shared_secret() {
    for pem in [&RSA.public_pem, &P256.public_pem, &ED25519.public_pem] {
        let settings = TokenKeys {
            rsa_public_key: Some(RSA.public_pem.clone()),
            ecdsa_public_key: Some(P256.public_pem.clone()),
            eddsa_public_key: Some(ED25519.public_pem.clone()),
            ..TokenKeys::default()
        };
        for text in [pem.as_str(), pem.trim()] {
            let token = signed_with_secret(Algorithm::HS256, text, &ada());
            let refusal = Verifier::new(&settings).unwrap().connection(&token).await.unwrap_err();
            assert!(matches!(&refusal, TokenError::Algorithm(name) if name == "HS256"), "{refusal:?}");
        }
    }
}

#[tokio::test]
async fn no_algorithm_is_no_signature() {
    let verifier = Verifier::new(&everything()).unwrap();
    for name in ["none", "None", "NONE", "nOnE", "", "HS1", "ES512", "hs256"] {
        let header = json!({ "alg": name }).to_string();
        let unsigned = raw_token(&header, &ada().to_string());
        for token in [
            unsigned.as_str(),
            unsigned.rsplit_once('.').unwrap().0,
            &format!("{}.", unsigned.rsplit_once('.').unwrap().0),
        ] {
            let refusal = verifier.connection(token).await.unwrap_err();
            assert!(matches!(refusal, TokenError::Algorithm(_) | TokenError::Malformed(_)), "{name}: {refusal:?}");
        }
    }
}

#[tokio::test]
async fn a_signature_is_not_carried_over_to_another_algorithm_of_the_family() {
    let verifier = Verifier::new(&everything()).unwrap();
    let token = raw_token(r#"{"alg":"HS384"}"#, &ada().to_string());
    assert!(matches!(verifier.connection(&token).await, Err(TokenError::Signature)));
}

#[tokio::test]
async fn two_secrets_are_good_at_once_while_keys_are_rotated() {
    let settings = TokenKeys { hmac_previous_secret: secret("the secret that was used until now"), ..hmac_settings() };
    let verifier = Verifier::new(&settings).unwrap();
    for key in [SECRET, "the secret that was used until now"] {
        assert!(verifier.connection(&signed_with_secret(Algorithm::HS512, key, &ada())).await.is_ok(), "{key}");
    }
    let third = signed_with_secret(Algorithm::HS512, "a secret that nobody ever configured", &ada());
    assert!(matches!(verifier.connection(&third).await, Err(TokenError::Signature)));
}

#[test]
fn keys_that_are_not_what_their_name_says_are_refused_at_once() {
    type Expected = fn(&KeyError) -> bool;
    let none = TokenKeys::default;
    let foreign = |name: &str| std::fs::read_to_string(super::foreign::path(name)).unwrap();
    let cases: [(TokenKeys, Expected); 10] = [
        (none(), |e| matches!(e, KeyError::None)),
        (TokenKeys { hmac_secret: secret(""), ..none() }, |e| matches!(e, KeyError::EmptySecret)),
        (TokenKeys { rsa_public_key: Some("nonsense".into()), ..none() }, |e| matches!(e, KeyError::NotPublic("RSA"))),
        (TokenKeys { rsa_public_key: Some(P256.public_pem.clone()), ..none() }, |e| matches!(e, KeyError::Pem { .. })),
        (TokenKeys { rsa_public_key: Some(foreign("rsa1024.pem")), ..none() }, |e| {
            matches!(e, KeyError::ShortRsa(1024))
        }),
        (TokenKeys { ecdsa_public_key: Some(RSA.public_pem.clone()), ..none() }, |e| matches!(e, KeyError::Pem { .. })),
        (TokenKeys { ecdsa_public_key: Some(foreign("p521.pem")), ..none() }, |e| matches!(e, KeyError::Curve)),
        (TokenKeys { eddsa_public_key: Some(P256.public_pem.clone()), ..none() }, |e| {
            matches!(e, KeyError::Pem { .. })
        }),
        (TokenKeys { eddsa_public_key: Some(super::fixtures::pem("PRIVATE KEY", b"0")), ..none() }, |e| {
            matches!(e, KeyError::NotPublic(_))
        }),
        (TokenKeys { rsa_public_key: Some(super::fixtures::pem("CERTIFICATE", b"0")), ..none() }, |e| {
            matches!(e, KeyError::NotPublic(_))
        }),
    ];
    for (index, (settings, expected)) in cases.iter().enumerate() {
        let refusal = Verifier::new(settings).err().unwrap_or_else(|| panic!("case {index} was accepted"));
        assert!(expected(&refusal), "case {index}: {refusal:?}");
    }
}
