//! What holds for every set of keys, whoever wrote it.

use jsonwebtoken::Algorithm;
use proptest::prelude::*;
use proptest::sample::select;
use serde_json::{Value, json};

use super::fixtures::{ED25519, OTHER_P256, OTHER_RSA, P256, P384, Pair, RSA, SECRET, ada, signed, signed_with_secret};
use crate::auth::compact::Compact;
use crate::auth::jwk::{KeySet, Verdict};

/// Pairs with an algorithm that each may be used with.
fn signer() -> impl Strategy<Value = (&'static Pair, Algorithm)> {
    select(vec![
        (&*RSA, Algorithm::RS256),
        (&*RSA, Algorithm::RS512),
        (&*RSA, Algorithm::PS384),
        (&*P256, Algorithm::ES256),
        (&*P384, Algorithm::ES384),
        (&*ED25519, Algorithm::EdDSA),
        (&*OTHER_P256, Algorithm::ES256),
    ])
}

/// Fields of keys, with what belongs there and what does not.
fn field() -> impl Strategy<Value = (&'static str, Value)> {
    let name = select(&["kty", "kid", "use", "key_ops", "alg", "crv", "n", "e", "x", "y", "k", "x5c", "d"][..]);
    let value = prop_oneof![
        select(
            &["RSA", "EC", "OKP", "oct", "sig", "enc", "verify", "P-256", "P-384", "P-521", "Ed25519", "secp256k1"][..]
        )
        .prop_map(Value::from),
        select(&["RS256", "PS512", "ES256", "ES384", "EdDSA", "HS256", "RSA-OAEP", "none", "AQAB", ""][..])
            .prop_map(Value::from),
        "[A-Za-z0-9_=+/-]{0,90}".prop_map(Value::from),
        "\\PC{0,12}".prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        Just(json!(null)),
        Just(json!(["verify"])),
        Just(json!([["sign"], {}])),
        Just(json!({ "a": {} })),
    ];
    (name, value)
}

/// A member of a set that is made up, or a real key that was tampered with.
fn rubbish() -> impl Strategy<Value = Value> {
    let fields = proptest::collection::vec(field(), 0..8);
    let made_up = fields.prop_map(|fields| fields.into_iter().map(|(name, value)| (name.to_owned(), value)).collect());
    let tampered = (signer(), proptest::collection::vec(field(), 1..3)).prop_map(|((pair, algorithm), fields)| {
        let mut key = pair.jwk(algorithm, json!({}));
        fields.into_iter().for_each(|(name, value)| key[name] = value);
        key
    });
    prop_oneof![made_up, tampered, Just(json!("no key")), Just(json!(null)), Just(json!([]))]
}

fn parse(keys: &[Value]) -> KeySet {
    KeySet::parse(json!({ "keys": keys }).to_string().as_bytes()).expect("a set, whatever is in it")
}

fn check(set: &KeySet, token: &str) -> Verdict {
    set.check(&Compact::parse(token).expect("a token"))
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

    #[test]
    fn any_bytes_are_answered(bytes in any::<Vec<u8>>(), text in "\\PC{0,60}|[\\[\\]{}\":,a-z0-9]{0,60}") {
        let _ = KeySet::parse(&bytes);
        let _ = KeySet::parse(text.as_bytes());
        let endless = text.replace('}', "");
        prop_assert!(KeySet::parse(format!("{{\"keys\":[{endless}").as_bytes()).is_err(), "a set that does not end");
    }

    #[test]
    fn a_set_has_no_more_keys_than_members_and_than_anybody_needs(keys in proptest::collection::vec(rubbish(), 0..100)) {
        let set = parse(&keys);
        prop_assert!(set.len() <= keys.len().min(64));
    }

    #[test]
    fn a_key_verifies_what_it_signed_whatever_stands_beside_it(
        (pair, algorithm) in signer(),
        id in "\\PC{0,20}",
        (names_its_algorithm, token_names_key) in any::<(bool, bool)>(),
        mut keys in proptest::collection::vec(rubbish(), 0..8),
        at in any::<prop::sample::Index>(),
    ) {
        let mut key = pair.jwk(algorithm, json!({ "kid": id, "use": "sig" }));
        if !names_its_algorithm {
            key.as_object_mut().expect("an object").remove("alg");
        }
        for other in &mut keys {
            // Of two keys with one name the other may be the one that is meant, and others must have names of their own.
            if let Some(other) = other.as_object_mut() {
                other.insert("kid".to_owned(), format!("{id}, not").into());
            }
        }
        keys.insert(at.index(keys.len() + 1), key);
        let token = signed(algorithm, &pair.private, token_names_key.then_some(&*id), &ada());
        let set = parse(&keys);
        prop_assert!(matches!(check(&set, &token), Verdict::Valid));
        // The same with a bit of the signed part or the signature changed.
        let dot = token.rfind('.').expect("a signature");
        for at in [dot - 5, dot + 5] {
            let mut forged = token.clone().into_bytes();
            forged[at] = if forged[at] == b'A' { b'B' } else { b'A' };
            let forged = String::from_utf8(forged).expect("ASCII");
            prop_assert!(!matches!(check(&set, &forged), Verdict::Valid));
        }
    }

    #[test]
    fn a_set_without_the_signer_never_vouches(
        keys in proptest::collection::vec(rubbish(), 0..8),
        id in proptest::option::of("[a-z]{0,4}"),
        algorithm in select(&[Algorithm::RS256, Algorithm::RS384, Algorithm::PS256, Algorithm::PS512][..]),
    ) {
        let token = signed(algorithm, &OTHER_RSA.private, id.as_deref(), &ada());
        prop_assert!(!matches!(check(&parse(&keys), &token), Verdict::Valid));
    }

    #[test]
    fn what_can_be_read_in_a_set_never_signs_a_token(
        keys in proptest::collection::vec(rubbish(), 0..4),
        (pair, own) in signer(),
        algorithm in select(&[Algorithm::HS256, Algorithm::HS384, Algorithm::HS512][..]),
        id in proptest::option::of(Just("id")),
    ) {
        use base64::Engine;
        let encoded = base64::prelude::BASE64_URL_SAFE_NO_PAD.encode(SECRET);
        let symmetric = json!({ "kty": "oct", "kid": "id", "k": encoded, "alg": format!("{algorithm:?}") });
        let public = pair.jwk(own, json!({ "kid": "id" }));
        // The famous confusion: a public key taken for a shared secret.
        let field = ["n", "x"].iter().find_map(|name| public[name].as_str()).expect("a public key").to_owned();
        let set = parse(&[keys, vec![symmetric, public]].concat());
        for secret in [SECRET, &pair.public_pem, &field] {
            let token = signed_with_secret(algorithm, secret, &ada());
            prop_assert!(!matches!(check(&set, &token), Verdict::Valid));
            let named = signed(algorithm, &jsonwebtoken::EncodingKey::from_secret(secret.as_bytes()), id, &ada());
            prop_assert!(!matches!(check(&set, &named), Verdict::Valid));
        }
    }

    #[test]
    fn a_key_for_something_else_is_left_out((pair, algorithm) in signer(), other in select(vec![
        json!({ "use": "enc" }),
        json!({ "key_ops": ["encrypt"] }),
        json!({ "key_ops": [] }),
        json!({ "alg": "RSA-OAEP" }),
        json!({ "alg": "HS256" }),
    ])) {
        prop_assert_eq!(parse(&[pair.jwk(algorithm, other)]).len(), 0);
    }
}
