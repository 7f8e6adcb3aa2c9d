//! A node that cannot serve yet says so, and one that serves keeps to its limits.

use std::net::TcpListener;
use std::time::Duration;

use midplane::app::App;
use midplane::settings::Settings;

use crate::support::eventually;
use crate::support::node::Node;

/// A port that nobody listens on.
fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

#[tokio::test]
async fn a_node_that_waits_for_nats_lives_and_is_not_ready() {
    let (http, nats) = (free_port(), free_port());
    let settings = format!("http.bind = \"127.0.0.1:{http}\"\nnats.servers = [\"nats://127.0.0.1:{nats}\"]");
    let client = reqwest::Client::builder().timeout(Duration::from_secs(5)).build().unwrap();
    let get = async |path: &str| client.get(format!("http://127.0.0.1:{http}{path}")).send().await.ok();
    let asking = async {
        let alive = eventually("it answers", async || get("/health").await).await;
        assert_eq!(alive.status(), 200);
        let ready = get("/ready").await.unwrap();
        assert_eq!(ready.status(), 503);
        assert!(ready.text().await.unwrap().contains("not connected yet"));
        assert_eq!(get("/connection/websocket").await.unwrap().status(), 503);
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
