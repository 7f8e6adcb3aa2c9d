//! An operator with one account, as decentralised authentication (JWT) knows them.

use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use nkeys::KeyPair;
use serde_json::{Value, json};

pub struct Operator {
    operator: KeyPair,
    system: KeyPair,
    account: KeyPair,
}

impl Operator {
    pub fn new() -> Self {
        Self { operator: KeyPair::new_operator(), system: KeyPair::new_account(), account: KeyPair::new_account() }
    }

    /// What makes a server trust this operator and know its account.
    pub fn server_config(&self) -> String {
        let operator = signed(&self.operator, &self.operator.public_key(), json!({"type": "operator"}));
        // A system account may not have JetStream.
        let account = |keys: &KeyPair, storage: i64| {
            let limits = json!({"subs": -1, "data": -1, "payload": -1, "imports": -1, "exports": -1, "wildcards": true,
                "conn": -1, "leaf": -1, "mem_storage": storage, "disk_storage": storage, "streams": -1, "consumer": -1});
            let token = signed(&self.operator, &keys.public_key(), json!({"type": "account", "limits": limits}));
            format!("{}: {token}", keys.public_key())
        };
        format!(
            "operator: {operator}\nsystem_account: {}\nresolver: MEMORY\nresolver_preload {{ {}\n {} }}\n",
            self.system.public_key(),
            account(&self.system, 0),
            account(&self.account, -1)
        )
    }

    /// The text of a credentials file for a new user of the account.
    pub fn credentials(&self) -> String {
        let user = KeyPair::new_user();
        let token =
            signed(&self.account, &user.public_key(), json!({"type": "user", "subs": -1, "data": -1, "payload": -1}));
        format!(
            "-----BEGIN NATS USER JWT-----\n{token}\n------END NATS USER JWT------\n\n\
             -----BEGIN USER NKEY SEED-----\n{}\n------END USER NKEY SEED------\n",
            user.seed().unwrap()
        )
    }
}

fn signed(issuer: &KeyPair, subject: &str, mut nats: Value) -> String {
    nats["version"] = json!(2);
    let claims = json!({"jti": "test", "iat": 1_700_000_000, "iss": issuer.public_key(), "name": "test", "sub": subject,
        "nats": nats});
    let encode = |value: &Value| BASE64_URL_SAFE_NO_PAD.encode(value.to_string());
    let text = format!("{}.{}", encode(&json!({"typ": "JWT", "alg": "ed25519-nkey"})), encode(&claims));
    let signature = BASE64_URL_SAFE_NO_PAD.encode(issuer.sign(text.as_bytes()).unwrap());
    format!("{text}.{signature}")
}
