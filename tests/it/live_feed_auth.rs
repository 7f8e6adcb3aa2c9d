//! The live connection proves who it is in each way that NATS knows, and names what was refused.

use std::path::PathBuf;

use midplane::backplane::nats::live::{ConnectError, LiveOptions, LiveSubscribeError};
use midplane::settings::nats::{NatsAuth, NatsTls};
use nkeys::KeyPair;
use url::Url;

use crate::support::certificates::Authority;
use crate::support::live::{Ear, options};
use crate::support::nats_accounts::Operator;
use crate::support::nats_server::NatsServer;

fn as_who(server: &NatsServer, auth: NatsAuth) -> LiveOptions {
    LiveOptions { auth, ..options(&[server.url()]) }
}

fn user(name: &str, password: &str) -> NatsAuth {
    NatsAuth::UserPassword { user: name.to_owned(), password: password.into() }
}

/// Connects and has a round trip behind it.
async fn enters(options: LiveOptions) -> Result<(), ConnectError> {
    let ear = Ear::with(options, 8).await?;
    match ear.live.subscribe("room").await {
        Ok(_) => Ok(()),
        Err(error @ (LiveSubscribeError::Refused { .. } | LiveSubscribeError::Unavailable { .. })) => panic!("{error}"),
    }
}

async fn is_refused(options: LiveOptions, presented: &str) {
    match enters(options).await {
        Err(error @ ConnectError::Refused { .. }) => {
            let text = error.to_string();
            assert!(text.contains(presented) && text.contains("Authorization Violation"), "{text}");
        }
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn user_and_password_from_settings_or_address() {
    let server = NatsServer::with_config("authorization { user: gateway, password: \"p@ss\" }\n").await;
    enters(as_who(&server, user("gateway", "p@ss"))).await.unwrap();
    let address = Url::parse(&format!("nats://gateway:p%40ss@127.0.0.1:{}", server.port())).unwrap();
    enters(options(&[address])).await.unwrap();
    is_refused(as_who(&server, user("gateway", "wrong")), "user \"gateway\"").await;
    is_refused(as_who(&server, NatsAuth::None), "without credentials").await;
}

#[tokio::test]
async fn a_token_from_settings_or_address() {
    let server = NatsServer::with_config("authorization { token: \"s3cret\" }\n").await;
    enters(as_who(&server, NatsAuth::Token("s3cret".into()))).await.unwrap();
    enters(options(&[Url::parse(&format!("nats://s3cret@127.0.0.1:{}", server.port())).unwrap()])).await.unwrap();
    is_refused(as_who(&server, NatsAuth::Token("other".into())), "the token").await;
}

#[tokio::test]
async fn an_nkey() {
    let (ours, other) = (KeyPair::new_user(), KeyPair::new_user());
    let config = format!("authorization {{ users: [ {{ nkey: {} }} ] }}\n", ours.public_key());
    let server = NatsServer::with_config(&config).await;
    enters(as_who(&server, NatsAuth::NKey(ours.seed().unwrap().into()))).await.unwrap();
    is_refused(as_who(&server, NatsAuth::NKey(other.seed().unwrap().into())), &other.public_key()).await;
}

#[tokio::test]
async fn a_credentials_file_of_an_operators_account() {
    let (operator, stranger) = (Operator::new(), Operator::new());
    let server = NatsServer::with_config(&operator.server_config()).await;
    let directory = tempfile::tempdir().unwrap();
    let file = |name: &str, text: String| -> PathBuf {
        let path = directory.path().join(name);
        std::fs::write(&path, text).unwrap();
        path
    };
    let good = file("good.creds", operator.credentials());
    enters(as_who(&server, NatsAuth::Credentials(good))).await.unwrap();
    let bad = file("bad.creds", stranger.credentials());
    is_refused(as_who(&server, NatsAuth::Credentials(bad)), "bad.creds").await;
    let missing = directory.path().join("missing.creds");
    let error = enters(as_who(&server, NatsAuth::Credentials(missing))).await.expect_err("cannot be read");
    assert!(matches!(error, ConnectError::Auth { .. }), "{error:?}");
}

#[tokio::test]
async fn tls_because_the_server_the_address_or_the_settings_ask_for_it() {
    let authority = Authority::new();
    let shown = authority.certify("server", &["localhost", "127.0.0.1"]);
    let server = NatsServer::with_config(&shown.server_config("")).await;
    let trusting = NatsTls { ca_file: Some(authority.ca()), ..NatsTls::default() };
    let with = |scheme: &str, host: &str, tls: &NatsTls| LiveOptions {
        tls: tls.clone(),
        ..options(&[Url::parse(&format!("{scheme}://{host}:{}", server.port())).unwrap()])
    };
    enters(with("nats", "127.0.0.1", &trusting)).await.unwrap();
    enters(with("tls", "localhost", &trusting)).await.unwrap();

    let strangers = NatsTls { ca_file: Some(Authority::new().ca()), ..NatsTls::default() };
    for (tls, host) in [(&strangers, "127.0.0.1"), (&NatsTls::default(), "127.0.0.1"), (&trusting, "127.0.0.2")] {
        let error = enters(with("tls", host, tls)).await.expect_err("is not trusted");
        assert!(matches!(error, ConnectError::Tls { .. } | ConnectError::Unreachable { .. }), "{error:?}");
    }

    let open = NatsServer::start().await;
    let required = NatsTls { required: true, ..trusting };
    let error = enters(LiveOptions { tls: required, ..options(&[open.url()]) }).await.expect_err("is not secure");
    assert!(matches!(error, ConnectError::Tls { .. }), "{error:?}");
}

#[tokio::test]
async fn tls_first_with_a_client_certificate() {
    let authority = Authority::new();
    let (shown, ours) = (authority.certify("server", &["127.0.0.1"]), authority.certify("gateway", &["gateway"]));
    let more = format!("ca_file: {:?}, verify: true, handshake_first: true", authority.ca());
    let server = NatsServer::with_config(&shown.server_config(&more)).await;
    let first = NatsTls { first: true, ca_file: Some(authority.ca()), ..NatsTls::default() };
    let with_certificate = NatsTls { cert_file: Some(ours.cert), key_file: Some(ours.key), ..first.clone() };
    enters(LiveOptions { tls: with_certificate.clone(), ..options(&[server.url()]) }).await.unwrap();

    let error = enters(LiveOptions { tls: first, ..options(&[server.url()]) }).await.expect_err("shows nothing");
    assert!(matches!(error, ConnectError::Tls { .. } | ConnectError::Unreachable { .. }), "{error:?}");
    let half = NatsTls { key_file: None, ..with_certificate };
    let error = enters(LiveOptions { tls: half, ..options(&[server.url()]) }).await.expect_err("is half");
    assert!(matches!(error, ConnectError::Tls { .. }), "{error:?}");
}
