use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use tokio::sync::watch;

use super::Stage;
use crate::backplane::{
    Backplane, Broadcast, Bucket, Health, History, Outgoing, PublishError, Published, Registry, Requests,
    SubscribeError,
};
use crate::protocol::Channel;

#[tokio::test]
async fn a_publication_with_history_is_answered_with_its_place() {
    let stage = Stage::set();
    let first = stage.call("publish", r#"{"channel":"chat:a","data":{"n":1}}"#).await;
    assert_eq!(first, r#"{"result":{"offset":2,"epoch":"EPOCH"}}"#);
    let second = stage.call("publish", r#"{"channel":"chat:b","data":"text"}"#).await;
    assert_eq!(second, r#"{"result":{"offset":3,"epoch":"EPOCH"}}"#);
}

#[tokio::test]
async fn a_publication_that_is_not_stored_is_answered_with_an_empty_result() {
    let stage = Stage::set();
    assert_eq!(stage.call("publish", r#"{"channel":"live:a","data":1}"#).await, r#"{"result":{}}"#);
    let skipping = r#"{"channel":"chat:a","data":1,"skip_history":true}"#;
    assert_eq!(stage.call("publish", skipping).await, r#"{"result":{}}"#);
}

#[tokio::test]
async fn a_call_that_makes_no_sense_is_answered_by_number() {
    let stage = Stage::set();
    for (body, code, message) in [
        (r#"{"data":1}"#, 107, "bad request: channel name is empty"),
        (r#"{"channel":"chat:a"}"#, 107, "bad request: data is not set"),
        (r#"{"channel":"chat:","data":1}"#, 107, "bad request: channel name has nothing behind its namespace"),
        (r#"{"channel":"chat:a","b64data":"%%"}"#, 107, "bad request: b64data: Invalid symbol 37, offset 0."),
        (r#"{"channel":"nowhere:a","data":1}"#, 102, "unknown channel: no namespace \\\"nowhere\\\""),
        (
            r#"{"channel":"json:a","b64data":"eA=="}"#,
            107,
            "bad request: data is not what publication_data_format of namespace \\\"json\\\" says",
        ),
        (
            r#"{"channel":"object:a","data":[1]}"#,
            107,
            "bad request: data is not what publication_data_format of namespace \\\"object\\\" says",
        ),
        ("null", 107, "bad request: no JSON object"),
        ("[1]", 107, "bad request: no JSON object"),
        ("{\"channel\"", 107, "bad request: EOF while parsing an object at line 1 column 10"),
    ] {
        let error = format!(r#"{{"error":{{"code":{code},"message":"{message}"}}}}"#);
        assert_eq!(stage.call("publish", body).await, error, "{body}");
    }
    assert_eq!(stage.call("nonsense", "{}").await, r#"{"error":{"code":104,"message":"not found"}}"#);
}

#[tokio::test]
async fn unknown_fields_and_those_of_other_editions_are_ignored() {
    let stage = Stage::set();
    let body = r#"{"channel":"live:a","data":1,"delta":true,"label_filter":{"op":"and"},"tags":null,"new":[]}"#;
    assert_eq!(stage.call("publish", body).await, r#"{"result":{}}"#);
}

#[tokio::test]
async fn null_is_data_like_any_other() {
    let stage = Stage::set();
    assert_eq!(stage.call("publish", r#"{"channel":"live:a","data":null}"#).await, r#"{"result":{}}"#);
}

#[tokio::test]
async fn the_same_idempotency_key_publishes_once() {
    let stage = Stage::set();
    let body = r#"{"channel":"chat:a","data":1,"idempotency_key":"k"}"#;
    let first = stage.call("publish", body).await;
    assert_eq!(stage.call("publish", body).await, first);
    let history = stage.call("history", r#"{"channel":"chat:a","limit":-1}"#).await;
    assert_eq!(history, r#"{"result":{"publications":[{"data":1,"offset":2}],"epoch":"EPOCH","offset":2}}"#);
}

#[tokio::test]
async fn an_older_version_is_dropped() {
    let stage = Stage::set();
    let publish = |version: u64, epoch: &str| {
        format!(r#"{{"channel":"chat:a","data":{version},"version":{version},"version_epoch":"{epoch}"}}"#)
    };
    stage.call("publish", &publish(5, "x")).await;
    assert_eq!(stage.call("publish", &publish(4, "x")).await, r#"{"result":{"offset":2,"epoch":"EPOCH"}}"#);
    assert_eq!(stage.call("publish", &publish(1, "y")).await, r#"{"result":{"offset":3,"epoch":"EPOCH"}}"#);
}

#[tokio::test]
async fn a_broadcast_answers_for_each_channel_in_its_order() {
    let stage = Stage::set();
    let body = r#"{"channels":["live:a","","nowhere:a","chat:a","object:a"],"data":1}"#;
    let bad = |why: &str| format!(r#"{{"error":{{"code":107,"message":"bad request: {why}"}}}}"#);
    let unfit = bad(r#"data is not what publication_data_format of namespace \"object\" says"#);
    let expected = [
        r#"{"result":{}}"#,
        &bad("channel name is empty"),
        r#"{"error":{"code":102,"message":"unknown channel: no namespace \"nowhere\""}}"#,
        r#"{"result":{"offset":2,"epoch":"EPOCH"}}"#,
        &unfit,
    ];
    let expected = format!(r#"{{"result":{{"responses":[{}]}}}}"#, expected.join(","));
    assert_eq!(stage.call("broadcast", body).await, expected);
    for (body, why) in [
        (r#"{"data":1}"#, "channels is empty"),
        (r#"{"channels":[],"data":1}"#, "channels is empty"),
        (r#"{"channels":["live:a"],"b64data":"%"}"#, "b64data: Invalid symbol 37, offset 0."),
    ] {
        assert_eq!(stage.call("broadcast", body).await, bad(why), "{body}");
    }
}

#[tokio::test]
async fn a_large_broadcast_keeps_its_order() {
    let stage = Stage::set();
    let channels: Vec<String> = (0..500).map(|n| format!("chat:{n}")).collect();
    let body = serde_json::json!({ "channels": channels, "data": 1 }).to_string();
    let reply: serde_json::Value = serde_json::from_str(&stage.call("broadcast", &body).await).unwrap();
    for n in [0, 63, 64, 300, 499] {
        let history = stage.call("history", &format!(r#"{{"channel":"chat:{n}"}}"#)).await;
        let offset = &reply["result"]["responses"][n]["result"]["offset"];
        assert_eq!(history, format!(r#"{{"result":{{"publications":[],"epoch":"EPOCH","offset":{offset}}}}}"#));
    }
}

/// Fails every publication in one way.
struct Failing(fn() -> PublishError);

#[async_trait]
impl Backplane for Failing {
    async fn publish(&self, _: &Channel, _: Outgoing) -> Result<Published, PublishError> {
        Err((self.0)())
    }

    async fn subscribe(&self, _: &Channel) -> Result<(), SubscribeError> {
        Ok(())
    }

    fn unsubscribe(&self, _: &Channel) {}

    async fn overhear(
        &self,
        _: &str,
    ) -> Result<tokio::sync::mpsc::Receiver<crate::backplane::Delivery>, SubscribeError> {
        unreachable!("nobody overhears here")
    }

    fn history(&self) -> Option<&dyn History> {
        None
    }

    fn requests(&self) -> Option<&dyn Requests> {
        None
    }

    fn broadcast(&self) -> &dyn Broadcast {
        unreachable!("nothing is told to nodes here")
    }

    fn registry(&self, _: Bucket) -> &dyn Registry {
        unreachable!("nothing is shared here")
    }

    fn presences(&self) -> Option<&dyn crate::backplane::Presences> {
        None
    }

    fn health(&self) -> watch::Receiver<Health> {
        watch::channel(Health::Ready).1
    }

    async fn close(&self) {}
}

#[tokio::test]
async fn an_unknown_outcome_is_told_apart_from_a_failure() {
    let away = r#"{"error":{"code":100,"message":"backplane unavailable: gone"}}"#;
    let internal = r#"{"error":{"code":100,"message":"internal server error"}}"#;
    let unknown = r#"{"error":{"code":100,"message":"outcome unknown, retry with the same idempotency_key"}}"#;
    let bad =
        r#"{"error":{"code":107,"message":"bad request: publication of 2 bytes, the backplane takes at most 1"}}"#;
    for (failure, expected) in [
        (Failing(|| PublishError::Unavailable("gone".to_owned())), away),
        (Failing(|| PublishError::Refused("no".to_owned())), internal),
        (Failing(|| PublishError::Unknown(Duration::from_secs(15))), unknown),
        (Failing(|| PublishError::TooLarge { size: 2, limit: 1 }), bad),
    ] {
        let stage = Stage::set_on(|_| Arc::new(failure));
        assert_eq!(stage.call("publish", r#"{"channel":"live:a","data":1}"#).await, expected);
    }
}
