//! Keys made by OpenSSL and tokens signed by PyJWT 2.15, as applications have them.

use std::fs;
use std::path::{Path, PathBuf};

use super::fixtures::secret;
use crate::auth::{TokenError, Verifier};
use crate::settings::TokenKeys;

pub fn path(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("src/auth/tests/foreign").join(name)
}

fn key(name: &str) -> Option<String> {
    Some(fs::read_to_string(path(name)).unwrap())
}

#[tokio::test]
async fn tokens_of_another_library_pass_by_keys_of_another_tool() {
    let settings = TokenKeys {
        hmac_secret: secret("a secret that other libraries signed with, long enough for all of the three"),
        rsa_public_key: key("rsa.pem"),
        ecdsa_public_key: key("p256.pem"),
        eddsa_public_key: key("ed25519.pem"),
        ..TokenKeys::default()
    };
    let verifier = Verifier::new(&settings).unwrap();
    let p384 = Verifier::new(&TokenKeys { ecdsa_public_key: key("p384.pem"), ..TokenKeys::default() }).unwrap();
    let tokens = fs::read_to_string(path("tokens.txt")).unwrap();
    for (algorithm, token) in tokens.lines().map(|line| line.split_once(' ').unwrap()) {
        let verifier = if algorithm == "ES384" { &p384 } else { &verifier };
        match verifier.connection(token).await {
            Ok(grant) => assert_eq!((grant.user.as_str(), grant.expires_at), ("ada", None), "{algorithm}"),
            Err(TokenError::Algorithm(name)) => assert_eq!((algorithm, name.as_str()), ("ES512", "ES512")),
            Err(error) => panic!("{algorithm}: {error:?}"),
        }
    }
    assert_eq!(tokens.lines().count(), 13);
}
