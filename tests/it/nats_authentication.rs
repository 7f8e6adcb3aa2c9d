//! A whole node behind a NATS that asks who it is: each of its connections proves it, also after the server came back,
//! and one that cannot does not start.

use std::collections::BTreeSet;

use async_nats::ConnectOptions;
use futures_util::StreamExt;
use midplane::app::App;
use midplane::settings::Settings;
use nkeys::KeyPair;
use serde_json::{Value, json};

use crate::support::certificates::Authority;
use crate::support::eventually;
use crate::support::nats_accounts::Operator;
use crate::support::nats_server::NatsServer;
use crate::support::node::{Node, Socket};

/// What the node's connections are for: their names say so, and whose they are.
const CONNECTIONS: [&str; 4] = ["publishing", "services", "live", "answers"];

/// A node of the cluster at `server`; `nats` says who it is, in TOML.
fn settings(server: &NatsServer, nats: &str) -> String {
    format!(
        "node.name = \"let-in\"\n[nats]\nservers = [\"{}\"]\n{nats}\n[[channel.namespaces]]\nname = \"kept\"\nhistory_size = 20\n\
         history_ttl = \"5m\"\nforce_recovery = true\nallow_subscribe_for_client = true\n\
         allow_subscribe_for_anonymous = true\nallow_publish_for_client = true\nallow_publish_for_anonymous = true\n\
         allow_history_for_client = true\nallow_history_for_anonymous = true\n",
        server.url()
    )
}

/// Everything that a node needs NATS for works with these settings, before and after the server is restarted.
/// `backend` is somebody outside whom the server lets in.
async fn serves(mut server: NatsServer, nats: &str, backend: ConnectOptions) {
    let node = Node::start(&settings(&server, nats)).await;
    let backend = backend.retry_on_initial_connect().max_reconnects(None).connect(server.url().as_str()).await.unwrap();
    let mut sums = backend.subscribe("midplane.rpc.sum").await.unwrap();
    let answering = backend.clone();
    let service = tokio::spawn(async move {
        while let Some(request) = sums.next().await {
            answering.publish(request.reply.unwrap(), "3".into()).await.unwrap();
        }
    });
    let mut client = node.client().await;
    let start = client.ask(json!({"id": 2, "subscribe": {"channel": "kept:room"}})).await["subscribe"].clone();
    assert_eq!(start["recoverable"], true, "{start}");
    works(&node, &mut client, &backend, &start, 1).await;
    all_connections_are_known(&server).await;

    server.restart().await;
    all_connections_are_known(&server).await;
    let mut client = eventually("the node is ready again", async || {
        let ready = reqwest::get(format!("http://{}/ready", node.address)).await.ok()?.status() == 200;
        if ready { Some(node.client().await) } else { None }
    })
    .await;
    let since = json!({"channel": "kept:room", "recover": true, "offset": start["offset"], "epoch": start["epoch"]});
    let back = client.ask(json!({"id": 2, "subscribe": since})).await;
    assert_eq!(numbers(&back["subscribe"]["publications"]), [1, 2], "{back}");
    works(&node, &mut client, &backend, &start, 3).await;
    service.abort();
    node.stop().await;
}

/// A client of the channel publishes `first`, a backend the number after it: the client hears both, reads both, and a
/// client that was away since `start` gets everything.
async fn works(node: &Node, client: &mut Socket, backend: &async_nats::Client, start: &Value, first: u64) {
    client.say(json!({"id": 3, "publish": {"channel": "kept:room", "data": first}})).await;
    let heard = [client.hear().await, client.hear().await];
    assert!(heard.contains(&json!({"id": 3, "publish": {}})), "{heard:?}");
    assert!(heard.iter().any(|message| message["push"]["pub"]["data"] == first), "{heard:?}");

    let question = json!({"channel": "kept:room", "data": first + 1}).to_string();
    let answer = eventually("the server API answers", async || {
        backend.request("midplane.api.publish", question.clone().into()).await.ok()
    })
    .await;
    let answer: Value = serde_json::from_slice(&answer.payload).unwrap();
    assert!(answer["result"]["offset"].is_u64(), "{answer}");
    assert_eq!(client.hear().await["push"]["pub"]["data"], first + 1);

    let history = client.ask(json!({"id": 4, "history": {"channel": "kept:room", "limit": 20}})).await;
    let all: Vec<u64> = (1..=first + 1).collect();
    assert_eq!(numbers(&history["history"]["publications"]), all, "{history}");
    let since = json!({"channel": "kept:room", "recover": true, "offset": start["offset"], "epoch": start["epoch"]});
    let back = node.client().await.ask(json!({"id": 2, "subscribe": since})).await["subscribe"].clone();
    assert_eq!((&back["recovered"], numbers(&back["publications"])), (&json!(true), all), "{back}");

    let sum = eventually("the service is known", async || {
        let answer = client.ask(json!({"id": 5, "rpc": {"method": "sum", "data": [1, 2]}})).await;
        answer.get("rpc").cloned()
    })
    .await;
    assert_eq!(sum["data"], 3);
}

fn numbers(publications: &Value) -> Vec<u64> {
    publications.as_array().into_iter().flatten().map(|publication| publication["data"].as_u64().unwrap()).collect()
}

/// The server lists each of the node's connections.
async fn all_connections_are_known(server: &NatsServer) {
    eventually("every connection of the node is up", async || {
        let page: Value = serde_json::from_str(&server.monitor("/connz?auth=1").await?).unwrap();
        let names = page["connections"].as_array()?.iter().filter_map(|connection| connection["name"].as_str());
        let of_node: BTreeSet<_> = names.filter_map(|name| name.strip_prefix("midplane let-in ")).collect();
        (of_node == BTreeSet::from(CONNECTIONS)).then_some(())
    })
    .await;
}

/// A node that says this of itself does not start, and says why.
async fn is_refused(server: &NatsServer, nats: &str) {
    let settings = Settings::from_toml(&format!("http.bind = \"127.0.0.1:0\"\n{}", settings(server, nats))).unwrap();
    let refusal = format!("{:#}", App::build(settings).await.err().expect("a refusal"));
    assert!(refusal.contains("cannot be joined") && refusal.to_lowercase().contains("authorization"), "{refusal}");
}

#[tokio::test]
async fn by_user_and_password() {
    let server = NatsServer::with_config("authorization { user: gateway, password: \"p@ss\" }\n").await;
    is_refused(&server, "user = \"gateway\"\npassword = \"wrong\"").await;
    let backend = ConnectOptions::with_user_and_password("gateway".to_owned(), "p@ss".to_owned());
    serves(server, "user = \"gateway\"\npassword = \"p@ss\"", backend).await;
}

#[tokio::test]
async fn by_token() {
    let server = NatsServer::with_config("authorization { token: \"s3cret\" }\n").await;
    is_refused(&server, "token = \"other\"").await;
    is_refused(&server, "").await;
    serves(server, "token = \"s3cret\"", ConnectOptions::with_token("s3cret".to_owned())).await;
}

#[tokio::test]
async fn by_nkey() {
    let (ours, other) = (KeyPair::new_user(), KeyPair::new_user());
    let server =
        NatsServer::with_config(&format!("authorization {{ users: [ {{ nkey: {} }} ] }}\n", ours.public_key())).await;
    is_refused(&server, &format!("nkey = \"{}\"", other.seed().unwrap())).await;
    let seed = ours.seed().unwrap();
    serves(server, &format!("nkey = \"{seed}\""), ConnectOptions::with_nkey(seed)).await;
}

#[tokio::test]
async fn by_the_credentials_of_an_operators_account() {
    let (operator, stranger) = (Operator::new(), Operator::new());
    let server = NatsServer::with_config(&operator.server_config()).await;
    let directory = tempfile::tempdir().unwrap();
    let file = |name: &str, text: String| {
        let path = directory.path().join(name);
        std::fs::write(&path, text).unwrap();
        format!("credentials = {path:?}")
    };
    is_refused(&server, &file("stranger.creds", stranger.credentials())).await;
    let backend = ConnectOptions::with_credentials(&operator.credentials()).unwrap();
    serves(server, &file("gateway.creds", operator.credentials()), backend).await;
}

#[tokio::test]
async fn over_tls_to_a_server_of_a_private_authority() {
    let authority = Authority::new();
    let server = NatsServer::with_config(&authority.certify("server", &["127.0.0.1"]).server_config("")).await;
    let nats = format!("[nats.tls]\nrequired = true\nca_file = {:?}", authority.ca());
    serves(server, &nats, ConnectOptions::new().add_root_certificates(authority.ca())).await;
}

#[tokio::test]
async fn by_a_certificate_of_its_own() {
    let authority = Authority::new();
    let (shown, ours) = (authority.certify("server", &["127.0.0.1"]), authority.certify("gateway", &["gateway"]));
    let more = format!("ca_file: {:?}, verify: true", authority.ca());
    let server = NatsServer::with_config(&shown.server_config(&more)).await;
    let nats =
        format!("[nats.tls]\nca_file = {:?}\ncert_file = {:?}\nkey_file = {:?}", authority.ca(), ours.cert, ours.key);
    let backend = ConnectOptions::new().add_root_certificates(authority.ca());
    serves(server, &nats, backend.add_client_certificate(ours.cert, ours.key)).await;
}
