//! A node that cannot serve yet says so, and one that serves keeps to its limits.

use std::net::TcpListener;
use std::time::Duration;

use midplane::app::App;
use midplane::backplane::{Backplane, Bucket, feed};
use midplane::cluster::{Entry, State};
use midplane::settings::Settings;

use crate::support::eventually;
use crate::support::namespaces::registry;
use crate::support::nats_server::NatsServer;
use crate::support::nats_settings::{self, connect};
use crate::support::node::Node;

/// Ports that nobody listens on, no two the same.
fn free_ports<const N: usize>() -> [u16; N] {
    let listeners = [(); N].map(|()| TcpListener::bind("127.0.0.1:0").unwrap());
    listeners.map(|listener| listener.local_addr().unwrap().port())
}

#[tokio::test]
async fn a_node_that_waits_for_nats_lives_and_is_not_ready() {
    let [http, operators] = free_ports();
    Box::pin(waits_for_nats(http, http, "")).await;
    let internal = format!("http.internal_bind = \"127.0.0.1:{operators}\"\n");
    Box::pin(waits_for_nats(http, operators, &internal)).await;
}

/// Starts a node that finds no NATS, and asks it what clients ask, and operators at their port.
async fn waits_for_nats(http: u16, operators: u16, settings: &str) {
    let [nats] = free_ports();
    let settings = format!("{settings}http.bind = \"127.0.0.1:{http}\"\nnats.servers = [\"nats://127.0.0.1:{nats}\"]");
    let client = reqwest::Client::builder().timeout(Duration::from_secs(5)).build().unwrap();
    let get = async |port: u16, path: &str| client.get(format!("http://127.0.0.1:{port}{path}")).send().await.ok();
    let later = async |port: u16, path: &str| {
        let answer = get(port, path).await.unwrap();
        assert_eq!((answer.status().as_u16(), answer.headers().contains_key("retry-after")), (503, true), "{path}");
    };
    let asking = async {
        let alive = eventually("it answers", async || get(http, "/health").await).await;
        assert_eq!(alive.status(), 200);
        let ready = get(http, "/ready").await.unwrap();
        assert_eq!(ready.status(), 503);
        assert!(ready.text().await.unwrap().contains("not connected yet"));
        for path in ["/connection/websocket", "/emulation"] {
            later(http, path).await;
        }
        for path in ["/api", "/api/info", "/api/stats", "/cluster/status", "/console", "/console/session"] {
            later(operators, path).await;
        }
        assert_eq!(get(operators, "/metrics").await.unwrap().status(), 200);
        assert_eq!(get(http, "/nowhere").await.unwrap().status(), 404);
        let status = if http == operators { 503 } else { 404 };
        assert_eq!(get(http, "/api/info").await.unwrap().status(), status, "operators have their own");
    };
    tokio::select! {
        _ = App::build(Settings::from_toml(&settings).unwrap()) => panic!("nothing is there to be joined"),
        () = asking => {}
    }
}

#[tokio::test]
async fn a_body_is_limited_by_our_setting_and_by_nothing_else() {
    let node = Node::start("http.body_limit = \"4MiB\"").await;
    let url = format!("http://{}/api/publish", node.address);
    let publish = async |bytes: usize| {
        let body = format!(r#"{{"channel": "chat:lobby", "data": "{}"}}"#, "x".repeat(bytes));
        reqwest::Client::new().post(&url).body(body).send().await.unwrap().status()
    };
    assert_eq!(publish(3 << 20).await, 200);
    assert_eq!(publish(5 << 20).await, 413);
}

#[tokio::test]
async fn a_node_that_cannot_be_built_leaves_the_cluster() {
    let server = NatsServer::start().await;
    let nats = format!("http.bind = \"127.0.0.1:0\"\nnats.servers = [\"{}\"]\n", server.url());
    let key = "-----BEGIN PUBLIC KEY-----\\nbm8ga2V5\\n-----END PUBLIC KEY-----";
    let broken = format!("node.name = \"broken\"\n[client.token]\nrsa_public_key = \"{key}\"\n");
    let Err(refused) = App::build(Settings::from_toml(&format!("{nats}{broken}")).unwrap()).await else {
        panic!("its key cannot be used")
    };
    assert!(format!("{refused:#}").contains("client.token"), "{refused:#}");
    let namespaces = registry([]);
    let (sender, _feeds) = feed::open(1);
    let other = connect(&nats_settings::nats([server.url()], 1), &namespaces, sender).await.unwrap();
    let found = other.registry(Bucket::Nodes).get("broken").await.unwrap().expect("it had joined");
    let entry: Entry = serde_json::from_slice(&found.value).unwrap();
    assert_eq!((entry.state, entry.debts), (State::Left, Vec::new()));
    other.close().await;
}
