//! What one client may have at most, and what it is told beyond.

use serde_json::{Value, json};

use crate::support::node::{Node, Socket};
use crate::support::token::signed;

const SECRET: &str = "a secret of thirty-two bytes, or more";

/// Everything is allowed, and 20 publications are kept; `client` is more of that section.
async fn node(client: &str) -> Node {
    Node::start(&format!(
        "http_api.key = \"a key\"\n[client]\nallow_anonymous_connect_without_token = true\n{client}\n[client.token]\nhmac_secret_key = \"{SECRET}\"\n[channel.without_namespace]\n\
         history_size = 20\nhistory_ttl = \"5m\"\nforce_recovery = true\nallow_subscribe_for_client = true\n\
         allow_subscribe_for_anonymous = true\nallow_publish_for_client = true\nallow_publish_for_anonymous = true\n"
    ))
    .await
}

async fn subscribe(client: &mut Socket, channel: &str) -> Value {
    client.ask(json!({"id": 2, "subscribe": {"channel": channel}})).await
}

async fn connect_with(node: &Node, claims: Value) -> Socket {
    let mut socket = node.socket().await;
    socket.say(json!({"id": 1, "connect": {"token": signed(SECRET, &claims)}})).await;
    socket
}

#[tokio::test]
async fn a_client_has_as_many_channels_as_it_may_and_makes_room_by_leaving_one() {
    for (setting, limit) in [("", 128), ("channel_limit = 3", 3)] {
        let node = node(setting).await;
        let mut client = node.client().await;
        for n in 0..limit {
            let subscribed = subscribe(&mut client, &format!("room.{n}")).await;
            assert_eq!(subscribed["subscribe"]["recoverable"], true, "{n}: {subscribed}");
        }
        let too_many = json!({"id": 2, "error": {"code": 106, "message": "limit exceeded"}});
        assert_eq!(subscribe(&mut client, "one.more").await, too_many);
        assert_eq!(client.ask(json!({"id": 3, "unsubscribe": {"channel": "room.0"}})).await["id"], 3);
        assert!(subscribe(&mut client, "one.more").await["subscribe"].is_object());
        assert_eq!(subscribe(&mut client, "another").await, too_many);
        // Others have limits of their own.
        assert!(subscribe(&mut node.client().await, "another").await["subscribe"].is_object());
    }
}

#[tokio::test]
async fn a_token_with_more_channels_than_a_client_may_have_is_refused_for_good() {
    let node = node("channel_limit = 2").await;
    let mut ada = connect_with(&node, json!({"sub": "ada", "channels": ["a", "b"]})).await;
    assert_eq!(ada.hear().await["connect"]["subs"].as_object().map(serde_json::Map::len), Some(2));
    let mut bob = connect_with(&node, json!({"sub": "bob", "channels": ["a", "b", "c"]})).await;
    assert_eq!(bob.closed().await, (3505, "channel limit".to_owned()));
}

#[tokio::test]
async fn the_personal_channel_counts_as_one() {
    let node = node("channel_limit = 2\nsubscribe_to_user_personal_channel.enabled = true").await;
    let mut ada = connect_with(&node, json!({"sub": "ada", "channels": ["a"]})).await;
    assert!(ada.hear().await["connect"]["subs"]["#ada"].is_object());
    let mut bob = connect_with(&node, json!({"sub": "bob", "channels": ["a", "b"]})).await;
    assert_eq!(bob.closed().await, (3505, "channel limit".to_owned()));
}

#[tokio::test]
async fn a_client_whom_a_backend_subscribes_beyond_its_limit_is_told_by_its_end() {
    let node = node("channel_limit = 1").await;
    let mut ada = connect_with(&node, json!({"sub": "ada"})).await;
    assert!(ada.hear().await["connect"].is_object());
    let subscribe = async |channel: &str| {
        let question = json!({"user": "ada", "channel": channel});
        let url = format!("http://{}/api/subscribe", node.address);
        let answer = reqwest::Client::new()
            .post(url)
            .header("X-API-Key", "a key")
            .body(question.to_string())
            .send()
            .await
            .unwrap();
        assert_eq!(answer.text().await.unwrap(), r#"{"result":{}}"#);
    };
    subscribe("a").await;
    assert_eq!(ada.hear().await["push"]["channel"], "a");
    // What it has already takes no further room.
    subscribe("a").await;
    subscribe("b").await;
    assert_eq!(ada.closed().await, (3505, "channel limit".to_owned()));
}

#[tokio::test]
async fn whoever_missed_more_than_a_recovery_may_carry_is_not_recovered_in_part() {
    let node = node("recovery_max_publication_limit = 3").await;
    let start = subscribe(&mut node.client().await, "news").await["subscribe"].clone();
    let since = json!({"channel": "news", "recover": true, "offset": start["offset"], "epoch": start["epoch"]});
    let mut publisher = node.client().await;
    for missed in 1..=4 {
        publisher.ask(json!({"id": 3, "publish": {"channel": "news", "data": missed}})).await;
        let back = node.client().await.ask(json!({"id": 2, "subscribe": since})).await["subscribe"].clone();
        let publications: Vec<_> =
            back["publications"].as_array().into_iter().flatten().map(|publication| &publication["data"]).collect();
        if missed <= 3 {
            assert_eq!(back["recovered"], true, "{back}");
            assert_eq!(publications, (1..=missed).collect::<Vec<_>>());
        } else {
            assert_eq!(back.get("recovered"), None, "{back}");
            assert_eq!(back["was_recovering"], true, "{back}");
            assert!(publications.is_empty(), "nothing in part: {back}");
        }
    }
}

#[tokio::test]
async fn a_subscribe_recovers_no_more_bytes_than_half_of_what_may_wait() {
    let node = node("queue_max_size = \"64KiB\"").await;
    let start = subscribe(&mut node.client().await, "news").await["subscribe"].clone();
    let since = json!({"channel": "news", "recover": true, "offset": start["offset"], "epoch": start["epoch"]});
    let mut publisher = node.client().await;
    for missed in 1..=4 {
        let data = missed.to_string().repeat(10_000);
        publisher.ask(json!({"id": 3, "publish": {"channel": "news", "data": data}})).await;
        let back = node.client().await.ask(json!({"id": 2, "subscribe": since})).await["subscribe"].clone();
        let publications = back["publications"].as_array().map_or(0, Vec::len);
        let recovered = back["recovered"] == true;
        assert_eq!((recovered, publications), if missed <= 3 { (true, missed) } else { (false, 0) }, "{missed} missed");
        assert_eq!(back["was_recovering"], true);
    }
}
