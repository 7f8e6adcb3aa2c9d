//! What a client may expect of its connection, spoken by hand.

use std::time::UNIX_EPOCH;

use serde_json::json;

use crate::support::node::Node;

const OPEN: &str = r#"
[channel.without_namespace]
history_size = 10
history_ttl = "5m"
force_recovery = true
force_positioning = true
allow_subscribe_for_client = true
allow_subscribe_for_anonymous = true
allow_publish_for_client = true
allow_publish_for_anonymous = true
allow_history_for_client = true
allow_history_for_anonymous = true
"#;

#[tokio::test]
async fn a_client_connects_subscribes_publishes_and_hears_itself() {
    let node = Node::start(OPEN).await;
    let mut client = node.client().await;
    let subscribed = client.ask(json!({"id": 2, "subscribe": {"channel": "news"}})).await;
    assert_eq!(subscribed["subscribe"]["recoverable"], true, "{subscribed}");
    client.say(json!({"id": 3, "publish": {"channel": "news", "data": {"n": 1}}})).await;
    let mut heard = [client.hear().await, client.hear().await];
    heard.sort_by_key(|message| message["id"].as_u64());
    let [push, reply] = heard;
    assert_eq!(reply, json!({"id": 3, "publish": {}}));
    assert_eq!(push["push"]["pub"]["data"], json!({"n": 1}));
    assert_eq!(push["push"]["pub"]["offset"], 2);
    assert_eq!(push["push"]["channel"], "news");
    let history = client.ask(json!({"id": 4, "history": {"channel": "news", "limit": -1}})).await;
    assert_eq!(history["history"]["publications"][0]["data"], json!({"n": 1}));
    node.stop().await;
}

#[tokio::test]
async fn a_client_that_returns_gets_what_it_missed() {
    let node = Node::start(OPEN).await;
    let mut ada = node.client().await;
    let start = ada.ask(json!({"id": 2, "subscribe": {"channel": "news"}})).await;
    drop(ada);
    let mut bob = node.client().await;
    for n in 1..=3 {
        assert_eq!(bob.ask(json!({"id": 9, "publish": {"channel": "news", "data": n}})).await["id"], 9);
    }
    let (offset, epoch) = (&start["subscribe"]["offset"], &start["subscribe"]["epoch"]);
    let mut ada = node.client().await;
    let since = json!({"channel": "news", "recover": true, "offset": offset, "epoch": epoch});
    let back = ada.ask(json!({"id": 2, "subscribe": since})).await;
    assert_eq!(back["subscribe"]["recovered"], true, "{back}");
    let data: Vec<_> =
        back["subscribe"]["publications"].as_array().expect("publications").iter().map(|p| &p["data"]).collect();
    assert_eq!(data, [1, 2, 3]);
}

#[tokio::test]
async fn what_breaks_the_protocol_ends_with_its_code() {
    let node = Node::start(OPEN).await;
    for (said, why) in [
        ("", "an empty message"),
        ("nonsense", "no JSON"),
        (r#"{"id":1}"#, "nothing asked"),
        ("{}", "a pong before connect"),
        (r#"{"id":1,"subscribe":{"channel":"news"}}"#, "anything before connect"),
        ("{\"id\":1,\"connect\":{}}\n{\"id\":2,\"connect\":{}}", "a second connect"),
        ("{\"id\":1,\"connect\":{}}\n{}", "a pong before the first ping"),
        ("{\"id\":1,\"connect\":{}}\n{\"id\":2,\"publish\":{\"data\":1}}", "no channel"),
    ] {
        let mut socket = node.socket().await;
        socket.say_raw(said).await;
        assert_eq!(socket.closed().await, (3501, "bad request".to_owned()), "{why}");
    }
}

#[tokio::test]
async fn a_stopping_node_tells_its_clients_to_come_back() {
    let node = Node::start(OPEN).await;
    let mut client = node.client().await;
    let stopping = tokio::spawn(node.stop());
    assert_eq!(client.closed().await, (3001, "shutdown".to_owned()));
    stopping.await.expect("stops");
}

#[tokio::test]
async fn the_servers_time_is_told_to_those_who_want_it() {
    let now = || u64::try_from(UNIX_EPOCH.elapsed().unwrap().as_millis()).unwrap();
    let connect = json!({"id": 1, "connect": {}});
    let node = Node::start("client.connect_include_server_time = true").await;
    let before = now();
    let connected = node.socket().await.ask(connect.clone()).await;
    let told = connected["connect"]["time"].as_u64().expect("milliseconds");
    assert!((before..=now()).contains(&told), "{connected}");

    let connected = Node::start("").await.socket().await.ask(connect).await;
    assert_eq!(connected["connect"].get("time"), None, "{connected}");
}

/// Publishes bytes that are no JSON.
async fn publish_bytes(node: &Node, channel: &str) {
    let call = json!({"channel": channel, "b64data": "/wA="}).to_string();
    let answer = reqwest::Client::new().post(format!("http://{}/api/publish", node.address)).body(call).send().await;
    let answer = answer.expect("an answer").text().await.expect("text");
    assert!(answer.starts_with(r#"{"result""#), "{answer}");
}

#[tokio::test]
async fn what_json_cannot_carry_closes_its_readers_whether_it_comes_live_or_is_read() {
    let node = Node::start(OPEN).await;
    let inappropriate = (3506, "inappropriate protocol".to_owned());
    let mut live = node.client().await;
    let start = live.ask(json!({"id": 2, "subscribe": {"channel": "news"}})).await;
    publish_bytes(&node, "news").await;
    assert_eq!(live.closed().await, inappropriate);
    let (offset, epoch) = (&start["subscribe"]["offset"], &start["subscribe"]["epoch"]);
    for command in [
        json!({"id": 2, "subscribe": {"channel": "news", "recover": true, "offset": offset, "epoch": epoch}}),
        json!({"id": 2, "history": {"channel": "news", "limit": -1}}),
    ] {
        let mut reader = node.client().await;
        reader.say(command).await;
        assert_eq!(reader.closed().await, inappropriate);
    }
    let mut fresh = node.client().await;
    let subscribed = fresh.ask(json!({"id": 2, "subscribe": {"channel": "news"}})).await;
    assert_eq!(subscribed["subscribe"]["recoverable"], true, "who reads nothing of it goes on: {subscribed}");
    node.stop().await;
}

#[tokio::test]
async fn names_in_other_scripts_are_for_namespaces_that_let_them_in() {
    let words = r"[[channel.namespaces]]
name = 'words'
channel_regex = '^[\p{L}\p{N}_.-]+$'
allow_subscribe_for_client = true
allow_subscribe_for_anonymous = true
allow_publish_for_client = true
allow_publish_for_anonymous = true
";
    let node = Node::start(&format!("{OPEN}{words}")).await;
    let mut client = node.client().await;
    for (channel, code) in [
        ("straße", json!(107)),
        ("words:straße", json!(null)),
        ("words:улица.1", json!(null)),
        ("words:通り", json!(null)),
        ("words:a b", json!(107)),
        ("words:a\u{7}", json!(107)),
        ("words:", json!(107)),
        ("wörter:a", json!(102)),
    ] {
        let answer = client.ask(json!({"id": 2, "subscribe": {"channel": channel}})).await;
        assert_eq!(answer["error"]["code"], code, "{channel}: {answer}");
    }
    client.say(json!({"id": 3, "publish": {"channel": "words:улица.1", "data": 1}})).await;
    let mut heard = [client.hear().await, client.hear().await];
    heard.sort_by_key(|message| message["id"].as_u64());
    assert_eq!(heard[0]["push"]["channel"], "words:улица.1");
    let composed = client.ask(json!({"id": 4, "subscribe": {"channel": "words:caf\u{e9}"}})).await;
    let decomposed = client.ask(json!({"id": 5, "subscribe": {"channel": "words:cafe\u{301}"}})).await;
    assert_eq!((&composed["error"], &decomposed["error"]["code"]), (&json!(null), &json!(107)), "a mark is no letter");
    node.stop().await;
}
