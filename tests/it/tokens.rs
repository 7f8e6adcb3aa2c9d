//! What tokens open, and what a client is told whose token opens nothing.

use serde_json::{Value, json};

use crate::support::node::{Node, Socket};
use crate::support::token::{at, signed};

const SECRET: &str = "a secret of thirty-two bytes, or more";

fn settings() -> String {
    format!(
        "[client.token]\nhmac_secret_key = \"{SECRET}\"\nleeway = \"0s\"\n[client.subscription_token]\n\
         hmac_secret_key = \"{SECRET} for subscriptions\"\nleeway = \"0s\"\n\
         [channel.without_namespace]\nallow_publish_for_subscriber = true\n"
    )
}

fn connection_token(claims: &Value) -> String {
    signed(SECRET, claims)
}

fn subscription_token(claims: &Value) -> String {
    signed(&format!("{SECRET} for subscriptions"), claims)
}

fn connect(token: &str) -> Value {
    json!({"id": 1, "connect": {"token": token}})
}

async fn ada(node: &Node) -> Socket {
    let mut ada = node.socket().await;
    let connected = ada.ask(connect(&connection_token(&json!({ "sub": "ada" })))).await;
    assert!(connected["connect"]["client"].is_string(), "{connected}");
    ada
}

#[tokio::test]
async fn a_good_token_connects_with_its_channels_and_its_term() {
    let node = Node::start(&settings()).await;
    let mut ada = node.socket().await;
    let claims = json!({ "sub": "ada", "exp": at(600), "info": { "name": "Ada" }, "channels": ["news"],
        "subs": { "chat": { "data": { "n": 1 } } } });
    let connected = ada.ask(connect(&connection_token(&claims))).await["connect"].clone();
    assert_eq!(connected["expires"], true);
    assert!((590..=600).contains(&connected["ttl"].as_u64().unwrap()), "{connected}");
    assert_eq!(connected["subs"]["chat"]["data"], json!({ "n": 1 }), "{connected}");
    assert_eq!(connected["subs"].get("news"), None, "subs win over channels");
    ada.say(json!({"id": 2, "publish": {"channel": "chat", "data": "hi"}})).await;
    let heard = [ada.hear().await, ada.hear().await];
    let push = heard.iter().find(|message| message["push"].is_object()).expect("hears itself");
    assert_eq!(push["push"]["pub"]["info"]["user"], "ada", "{push}");
    assert_eq!(push["push"]["pub"]["info"]["conn_info"], json!({ "name": "Ada" }));
}

#[tokio::test]
async fn a_token_that_is_over_asks_for_a_new_one_and_a_wrong_one_is_final() {
    let node = Node::start(&settings()).await;
    for claims in [json!({ "sub": "ada", "exp": at(-1) }), json!({ "sub": "ada", "nbf": at(600) })] {
        let answer = node.socket().await.ask(connect(&connection_token(&claims))).await;
        assert_eq!(answer["error"], json!({ "code": 109, "message": "token expired" }), "{claims}");
    }
    for token in [
        "rubbish".to_owned(),
        signed("another secret of thirty-two bytes, at least", &json!({ "sub": "ada" })),
        connection_token(&json!({ "sub": 42 })),
        connection_token(&json!({ "sub": "ada", "channel": "news" })),
        subscription_token(&json!({ "sub": "ada", "channel": "news" })),
    ] {
        let mut socket = node.socket().await;
        socket.say(connect(&token)).await;
        assert_eq!(socket.closed().await, (3500, "invalid token".to_owned()), "{token}");
    }
    let unknown = connection_token(&json!({ "sub": "ada", "channels": ["nowhere:1"] }));
    assert_eq!(node.socket().await.ask(connect(&unknown)).await["error"]["code"], 102);
    let mut nobody = node.socket().await;
    nobody.say(json!({"id": 1, "connect": {}})).await;
    assert_eq!(nobody.closed().await.0, 3501);
}

#[tokio::test]
async fn keys_that_cannot_be_fetched_are_no_fault_of_the_client() {
    let closed = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    let toml = format!("[client.token]\njwks_public_endpoint = \"http://{closed}/jwks.json\"\n");
    let node = Node::start(&toml).await;
    // The header and payload of an RS256 token; nobody gets as far as its signature.
    let answer = node.socket().await.ask(connect("eyJhbGciOiJSUzI1NiIsImtpZCI6ImEifQ.eyJzdWIiOiJhZGEifQ.c2ln")).await;
    assert_eq!(answer["error"], json!({ "code": 100, "message": "internal server error", "temporary": true }));
}

#[tokio::test]
async fn a_subscription_token_opens_its_channel_to_its_user_alone() {
    let node = Node::start(&settings()).await;
    let mut client = ada(&node).await;
    let subscribe = |id: u32, channel: &str, claims: Value| json!({"id": id, "subscribe": {"channel": channel, "token": subscription_token(&claims)}});
    let good = json!({ "sub": "ada", "channel": "$secret", "exp": at(600), "data": { "n": 1 } });
    let subscribed = client.ask(subscribe(2, "$secret", good)).await["subscribe"].clone();
    assert_eq!((&subscribed["expires"], &subscribed["data"]), (&json!(true), &json!({ "n": 1 })), "{subscribed}");

    let answer = client.ask(json!({"id": 3, "subscribe": {"channel": "$other"}})).await;
    assert_eq!(answer["error"]["code"], 103, "{answer}");
    let over = json!({ "sub": "ada", "channel": "$other", "exp": at(-1) });
    assert_eq!(client.ask(subscribe(4, "$other", over)).await["error"]["code"], 109);
    let unsigned = json!({"id": 5, "subscribe": {"channel": "$other", "token": "rubbish"}});
    assert_eq!(client.ask(unsigned).await["error"]["code"], 103);

    for foreign in [
        json!({ "sub": "ada", "channel": "$secret" }),
        json!({ "sub": "eve", "channel": "$other" }),
        json!({ "sub": "ada", "channel": "$other", "client": "somebody else's" }),
    ] {
        let mut client = ada(&node).await;
        client.say(subscribe(2, "$other", foreign.clone())).await;
        assert_eq!(client.closed().await.0, 3500, "{foreign}");
    }
}

#[tokio::test]
async fn a_backend_that_sets_a_time_which_is_over_ends_the_connection_at_once() {
    let delay = "http_api.insecure = true\n[client]\nexpired_close_delay = \"1h\"\n";
    let node = Node::start(&format!("{delay}{}", settings())).await;
    let mut client = ada(&node).await;
    let refresh = async |expire_at: u64| {
        let body = json!({ "user": "ada", "expire_at": expire_at }).to_string();
        let call = reqwest::Client::new().post(format!("http://{}/api/refresh", node.address)).body(body);
        let answer: Value = call.send().await.unwrap().json().await.unwrap();
        assert_eq!(answer, json!({ "result": {} }));
    };
    refresh(at(600)).await;
    assert_eq!(client.hear().await["push"]["refresh"]["expires"], true);
    refresh(0).await;
    assert_eq!(client.hear().await["push"]["refresh"].get("expires"), None, "it never expires");
    refresh(at(-1)).await;
    assert_eq!(client.closed().await.0, 3005);
}

#[tokio::test]
async fn a_refresh_renews_the_same_user_or_ends_the_connection() {
    let node = Node::start(&settings()).await;
    let mut client = ada(&node).await;
    let refresh = |claims: Value| json!({"id": 2, "refresh": {"token": connection_token(&claims)}});
    let answer = client.ask(refresh(json!({ "sub": "ada", "exp": at(600) }))).await;
    assert_eq!(answer["refresh"]["expires"], true, "{answer}");
    for (claims, code) in [
        (json!({ "sub": "eve" }), 3500),
        (json!({ "sub": "ada", "exp": at(-1) }), 3005),
        (json!({ "sub": "ada", "channel": "news" }), 3500),
        (json!({ "sub": "ada", "channels": ["news"] }), 3010),
    ] {
        let mut client = ada(&node).await;
        client.say(refresh(claims.clone())).await;
        assert_eq!(client.closed().await.0, code, "{claims}");
    }
}

#[tokio::test]
async fn tokens_without_a_user_open_the_door_unless_that_is_forbidden() {
    let nobody = connect(&connection_token(&json!({ "sub": "", "exp": at(600) })));
    let open = Node::start(&settings()).await;
    assert!(open.socket().await.ask(nobody.clone()).await["connect"]["client"].is_string());

    let settings = format!(
        "client.disallow_anonymous_connection_tokens = true\nclient.allow_anonymous_connect_without_token = true\n{}",
        settings()
    );
    let closed = Node::start(&settings).await;
    for claims in [json!({ "sub": "", "exp": at(600) }), json!({ "exp": at(600) })] {
        let mut socket = closed.socket().await;
        socket.say(connect(&connection_token(&claims))).await;
        assert_eq!(socket.closed().await, (3507, "permission denied".to_owned()), "{claims}");
    }
    ada(&closed).await;
    // It is about tokens: who has none is asked for by another setting.
    closed.client().await;
}
