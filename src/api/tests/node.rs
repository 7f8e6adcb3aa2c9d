use std::sync::Arc;

use serde_json::{Value, json};
use uuid::Uuid;

use super::Stage;
use crate::hub::Outbox;
use crate::protocol::Channel;
use crate::protocol::centrifuge::{ClientInfo, Encoding};
use crate::relay::{Membership, Wish};

async fn listen(stage: &Stage, channel: &str) -> Membership {
    let channel = Channel::parse(channel, 255).unwrap();
    let namespace = stage.settings.channel.namespaces.of(&channel).unwrap();
    let outbox = Outbox::new(Encoding::Json, 1 << 20, Arc::default());
    stage.api.relay.join(&channel, namespace, &Wish::default(), &outbox).await.unwrap().membership
}

#[tokio::test]
async fn channels_are_those_with_listeners() {
    let stage = Stage::set();
    let _members = [listen(&stage, "chat:a").await, listen(&stage, "chat:a").await, listen(&stage, "live:x/y.z").await];
    for (pattern, expected) in [
        ("", r#"{"chat:a":{"num_clients":2},"live:x/y.z":{"num_clients":1}}"#),
        ("chat:*", r#"{"chat:a":{"num_clients":2}}"#),
        ("live:*z", r#"{"live:x/y.z":{"num_clients":1}}"#),
        ("{chat,live}:[a-c]", r#"{"chat:a":{"num_clients":2}}"#),
        ("chat:?", r#"{"chat:a":{"num_clients":2}}"#),
        ("nobody*", "{}"),
    ] {
        let reply = stage.call("channels", &format!(r#"{{"pattern":"{pattern}"}}"#)).await;
        assert_eq!(reply, format!(r#"{{"result":{{"channels":{expected}}}}}"#), "{pattern}");
    }
    let long = stage.call("channels", &format!(r#"{{"pattern":"{}"}}"#, "*a".repeat(100_000))).await;
    assert!(long.contains("\"code\":107"), "{long}");
    let refused = stage.call("channels", r#"{"pattern":"[a"}"#).await;
    assert_eq!(
        refused,
        r#"{"error":{"code":107,"message":"bad request: pattern: unclosed character class; missing ']'"}}"#
    );
}

#[tokio::test]
async fn info_tells_of_this_node() {
    let stage = Stage::set();
    let _members = [listen(&stage, "chat:a").await, listen(&stage, "chat:a").await, listen(&stage, "live:a").await];
    let info: Value = serde_json::from_str(&stage.call("info", "{}").await).unwrap();
    let [node] = info["result"]["nodes"].as_array().unwrap().as_slice() else { panic!("one node: {info}") };
    assert_eq!((&node["name"], &node["num_channels"], &node["num_subs"]), (&"ada".into(), &2.into(), &3.into()));
    assert_eq!((&node["num_clients"], &node["version"]), (&0.into(), &env!("CARGO_PKG_VERSION").into()));
    assert!(node["uid"].as_str().is_some_and(|uid| uid.len() == 36), "{node}");
    assert!(node["uptime"].is_u64() && node["process"]["cpu"].is_f64(), "{node}");
    assert!(node["process"]["rss"].as_u64().is_some_and(|rss| rss > 1 << 20), "{node}");
}

#[tokio::test]
async fn presence_tells_who_is_there_and_how_many() {
    let stage = Stage::set();
    let channel = Channel::parse("chat:a", 255).unwrap();
    let info = |user: &str, client| ClientInfo { user: user.into(), client, ..ClientInfo::default() };
    let clients = [Uuid::from_u128(1), Uuid::from_u128(2), Uuid::from_u128(3)];
    let _stays = clients.map(|client| {
        let user = if client.as_u128() < 3 { "ann" } else { "bob" };
        stage.presence.enter(&channel, client, &info(user, client.to_string()))
    });
    let stats = stage.call("presence_stats", r#"{"channel":"chat:a"}"#).await;
    assert_eq!(stats, r#"{"result":{"num_clients":3,"num_users":2}}"#);
    let present = stage.call("presence", r#"{"channel":"chat:a"}"#).await;
    let present: Value = serde_json::from_str(&present).unwrap();
    let ann = &present["result"]["presence"][clients[0].to_string()];
    assert_eq!(*ann, json!({"user": "ann", "client": clients[0].to_string()}));
    let empty = stage.call("presence", r#"{"channel":"chat:b"}"#).await;
    assert_eq!(empty, r#"{"result":{"presence":{}}}"#);
    let off = stage.call("presence", r#"{"channel":"live:a"}"#).await;
    assert_eq!(off, r#"{"error":{"code":108,"message":"not available: presence of namespace \"live\" is false"}}"#);
}

#[tokio::test]
async fn what_concerns_a_users_connections_is_checked_before_it_is_told() {
    let stage = Stage::set();
    let long = format!(r#"{{"user":"42","info":"{}"}}"#, "x".repeat(8 << 10));
    for (method, body, error) in [
        ("subscribe", r#"{"user":"42"}"#, "107 bad request: channel name is empty"),
        ("subscribe", r#"{"user":"42","channel":"nowhere:a"}"#, "102 unknown channel: no namespace \"nowhere\""),
        ("subscribe", r#"{"user":"42","channel":"chat:a","b64data":"?"}"#, "107 bad request: b64data is not in base64"),
        ("unsubscribe", r#"{"user":"42","channel":"nowhere:a"}"#, "102 unknown channel: no namespace \"nowhere\""),
        (
            "unsubscribe",
            r#"{"user":42,"channel":"chat:a"}"#,
            "107 bad request: invalid type: integer `42`, expected a string",
        ),
        ("disconnect", r#"{"user":"42","client":"nobody"}"#, "107 bad request: client is not an id (a UUID)"),
        ("disconnect", r#"{"user":"42","session":"none"}"#, "107 bad request: session is not an id (a UUID)"),
        (
            "disconnect",
            r#"{"user":"42","disconnect":{"code":2999,"reason":"x"}}"#,
            "107 bad request: disconnect: code 2999 is neither in 4000..=4999 nor one of the protocol's own",
        ),
        ("refresh", "[]", "107 bad request: no JSON object"),
        ("refresh", &long, "107 bad request: info has 8194 bytes, and may have 8192"),
        ("revoke_token", "{}", "107 bad request: uid is not set"),
        ("revoke_token", r#"{"uid":"x","expire_at":1}"#, "107 bad request: expire_at is over already"),
        ("invalidate_user_tokens", "{}", "107 bad request: user is not set"),
        ("invalidate_user_tokens", r#"{"user":"42","issued_before":-1}"#, "107 bad request: issued_before is below 0"),
        ("socketio_sockets", "{}", "108 not available: socketio.namespaces is not set"),
        ("map_publish", "{}", "108 not available: midplane has no map_publish"),
    ] {
        let reply: Value = serde_json::from_str(&stage.call(method, body).await).unwrap();
        let said = format!("{} {}", reply["error"]["code"], reply["error"]["message"].as_str().unwrap_or_default());
        assert!(said.starts_with(error), "{method} {body}: {said}");
    }
    for (method, body) in [
        ("subscribe", r#"{"user":"42","channel":"chat:a","recover_since":{"offset":1,"epoch":"x"}}"#),
        ("unsubscribe", r#"{"user":"42","channel":"chat:a"}"#),
        ("unsubscribe", r#"{"user":"42","channel":""}"#),
        ("unsubscribe", r#"{"user":"42"}"#),
        ("disconnect", r#"{"user":"42","disconnect":{"code":4501,"reason":"closed"}}"#),
        ("refresh", r#"{"user":"42","expire_at":4102444800}"#),
        ("refresh", r#"{"user":"42","info":{"name":"Ada"}}"#),
        ("refresh", r#"{"user":"42","info":null}"#),
    ] {
        assert_eq!(stage.call(method, body).await, r#"{"result":{}}"#, "{method}: nobody known is no error");
    }
}
