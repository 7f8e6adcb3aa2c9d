//! An application that decides who connects, subscribes and publishes.

use serde_json::{Value, json};

use crate::support::backend::Backend;
use crate::support::eventually;
use crate::support::node::Node;

async fn node(backend: &Backend, hooks: &[&str]) -> Node {
    let mut toml = String::from(
        "[[channel.namespaces]]\nname = \"asked\"\nsubscribe_proxy_enabled = true\npublish_proxy_enabled = true\n\
         sub_refresh_proxy_enabled = true\n[channel.without_namespace]\nallow_subscribe_for_client = true\n",
    );
    for hook in hooks {
        toml += &format!("[hooks.{hook}]\nendpoint = \"{}/{hook}\"\ntimeout = \"20s\"\n", backend.url);
    }
    for hook in ["connect", "subscribe", "publish", "sub_refresh"].iter().filter(|hook| !hooks.contains(hook)) {
        toml += &format!("[hooks.{hook}]\nendpoint = \"{}/unused\"\n", backend.url);
    }
    Node::start(&toml).await
}

fn by_name(question: &Value) -> Option<Value> {
    match question["data"]["name"].as_str() {
        Some("ada") => Some(json!({ "result": {
            "user": "ada", "info": { "name": "Ada" }, "data": { "hello": true }, "channels": ["news"],
        } })),
        Some("bob") => Some(json!({ "error": { "code": 1000, "message": "no credit" } })),
        Some("eve") => Some(json!({ "disconnect": { "code": 4500, "reason": "banned" } })),
        Some("crash") => None,
        _ => Some(json!({ "message": "too many requests" })),
    }
}

#[tokio::test]
async fn the_connect_hook_says_who_a_client_without_a_token_is() {
    let backend = Backend::start(|_, question| by_name(question)).await;
    let node = node(&backend, &["connect"]).await;
    let connect = |name: &str| json!({"id": 1, "connect": {"data": {"name": name}, "name": "js", "version": "5.8"}});

    let mut ada = node.socket().await;
    let connected = ada.ask(connect("ada")).await;
    assert_eq!(connected["connect"]["data"], json!({ "hello": true }), "{connected}");
    assert!(connected["connect"]["subs"]["news"].is_object(), "{connected}");
    let question = &backend.asked("connect")[0];
    assert_eq!((&question["name"], &question["transport"]), (&json!("js"), &json!("websocket")));
    assert_eq!(question["client"], connected["connect"]["client"]);

    let mut bob = node.socket().await;
    assert_eq!(bob.ask(connect("bob")).await["error"], json!({ "code": 1000, "message": "no credit" }));
    let mut eve = node.socket().await;
    eve.say(connect("eve")).await;
    assert_eq!(eve.closed().await, (4500, "banned".to_owned()));
    let mut crash = node.socket().await;
    let error = json!({ "code": 100, "message": "internal server error", "temporary": true });
    assert_eq!(crash.ask(connect("crash")).await["error"], error);
    let mut nobody = node.socket().await;
    assert_eq!(nobody.ask(connect("nobody")).await["error"], error, "neither yes nor no");
}

#[tokio::test]
async fn the_application_decides_about_subscriptions_and_publications() {
    let backend = Backend::start(|event, question| match (event, question["channel"].as_str()) {
        ("connect", _) => Some(json!({ "result": { "user": "ada" } })),
        ("subscribe", Some("asked:open")) => Some(json!({ "result": { "data": { "topic": "all" } } })),
        ("publish", Some("asked:open")) => Some(json!({ "result": { "data": { "clean": question["data"] } } })),
        _ => Some(json!({ "error": { "code": 103, "message": "permission denied" } })),
    })
    .await;
    let node = node(&backend, &["connect", "subscribe", "publish"]).await;
    let mut ada = node.socket().await;
    assert!(ada.ask(json!({"id": 1, "connect": {}})).await["connect"]["client"].is_string());
    let subscribed = ada.ask(json!({"id": 2, "subscribe": {"channel": "asked:open"}})).await;
    assert_eq!(subscribed["subscribe"]["data"], json!({ "topic": "all" }), "{subscribed}");
    let refused = ada.ask(json!({"id": 3, "subscribe": {"channel": "asked:closed"}})).await;
    assert_eq!(refused["error"]["code"], 103, "{refused}");
    let refused = ada.ask(json!({"id": 4, "publish": {"channel": "asked:closed", "data": 1}})).await;
    assert_eq!(refused["error"]["code"], 103, "{refused}");

    ada.say(json!({"id": 5, "publish": {"channel": "asked:open", "data": "dirty"}})).await;
    let heard = [ada.hear().await, ada.hear().await];
    assert!(heard.contains(&json!({"id": 5, "publish": {}})), "{heard:?}");
    let push = heard.iter().find(|message| message["push"].is_object()).expect("hears itself");
    assert_eq!(push["push"]["pub"]["data"], json!({ "clean": "dirty" }));
    let question = &backend.asked("publish")[1];
    assert_eq!((&question["user"], &question["data"]), (&json!("ada"), &json!("dirty")));
}

#[tokio::test]
async fn an_answer_that_said_neither_yes_nor_no_opened_every_channel() {
    let backend = Backend::start(|event, question| match (event, question["channel"].as_str()) {
        ("connect", _) => Some(json!({ "result": { "user": "ada" } })),
        ("subscribe", Some("asked:open")) => Some(json!({ "result": {} })),
        _ => Some(json!({ "message": "rate limited" })),
    })
    .await;
    let node = node(&backend, &["connect", "subscribe", "publish"]).await;
    let mut ada = node.socket().await;
    assert!(ada.ask(json!({"id": 1, "connect": {}})).await["connect"]["client"].is_string());
    let refused = ada.ask(json!({"id": 2, "subscribe": {"channel": "asked:closed"}})).await;
    assert_eq!((&refused["error"]["code"], &refused["error"]["temporary"]), (&json!(100), &json!(true)), "{refused}");
    assert!(ada.ask(json!({"id": 3, "subscribe": {"channel": "asked:open"}})).await["subscribe"].is_object());
    let refused = ada.ask(json!({"id": 4, "publish": {"channel": "asked:open", "data": 1}})).await;
    assert_eq!(refused["error"]["code"], 100, "{refused}");
    let metrics = reqwest::get(format!("http://{}/metrics", node.address)).await.unwrap().text().await.unwrap();
    for hook in ["subscribe", "publish"] {
        let failed = format!("midplane_hooks_total{{hook=\"{hook}\",result=\"bad_answer\"}} 1");
        assert!(metrics.lines().any(|line| line == failed), "{failed}");
    }
}

#[tokio::test]
async fn a_connection_that_the_application_does_not_renew_ends() {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_secs();
    let backend = Backend::start(move |event, _| match event {
        "connect" => Some(json!({ "result": { "user": "ada", "expire_at": now + 2 } })),
        _ => Some(json!({ "result": { "expired": true } })),
    })
    .await;
    let node = node(&backend, &["connect", "refresh"]).await;
    let mut ada = node.socket().await;
    let connected = ada.ask(json!({"id": 1, "connect": {}})).await;
    assert_eq!(connected["connect"].get("expires"), None, "the client has nothing to renew: {connected}");
    assert_eq!(ada.closed().await.0, 3005);
    eventually("the application was asked", async || (!backend.asked("refresh").is_empty()).then_some(())).await;
    assert_eq!(backend.asked("refresh")[0]["user"], "ada");
}

#[tokio::test]
async fn a_node_that_stands_alone_offers_no_calls() {
    let node = Node::start("").await;
    let mut client = node.client().await;
    let answer = client.ask(json!({"id": 2, "rpc": {"method": "sum", "data": [1, 2]}})).await;
    assert_eq!(answer["error"], json!({ "code": 108, "message": "not available" }));
}

#[tokio::test]
async fn an_application_may_end_a_connection_with_codes_that_the_node_itself_never_uses() {
    let backend = Backend::start(|_, question| {
        let code = &question["data"]["code"];
        Some(json!({ "disconnect": { "code": code, "reason": "no luck today" } }))
    })
    .await;
    let node = node(&backend, &["connect"]).await;
    for code in [3004, 3009, 3505, 3507] {
        let mut client = node.socket().await;
        client.say(json!({"id": 1, "connect": {"data": {"code": code}}})).await;
        assert_eq!(client.closed().await, (code, "no luck today".to_owned()));
    }
}
