use super::{Stage, without_epochs};
use crate::telemetry::Source;

async fn call(stage: &Stage, body: &str) -> Option<String> {
    let replies = stage.api.call_legacy(body.as_bytes(), Source::Http).await.ok()?;
    Some(without_epochs(std::str::from_utf8(&replies).unwrap()))
}

#[tokio::test]
async fn commands_are_answered_line_by_line() {
    let stage = Stage::set();
    let commands = [
        r#"{"method":"publish","params":{"channel":"chat:a","data":1}}"#,
        r#"{"id":7,"method":"HISTORY","params":{"channel":"chat:a"}}"#,
        r#"{"method":0,"params":{"channel":"live:a","data":1}}"#,
        r#"{"method":"presence","params":{"channel":"chat:a"}}"#,
        r#"{"method":"nonsense","params":{}}"#,
        r#"{"id":8,"method":"publish"}"#,
        r#"{"method":"batch","params":{}}"#,
    ];
    let replies = [
        r#"{"result":{"offset":2,"epoch":"EPOCH"}}"#,
        r#"{"id":7,"result":{"publications":[],"epoch":"EPOCH","offset":2}}"#,
        r#"{"result":{}}"#,
        r#"{"result":{"presence":{}}}"#,
        r#"{"error":{"code":104,"message":"not found"}}"#,
        r#"{"id":8,"error":{"code":107,"message":"bad request: no JSON object"}}"#,
        r#"{"error":{"code":104,"message":"not found"}}"#,
    ];
    assert_eq!(call(&stage, &commands.join("\n")).await.unwrap(), replies.join("\n"));
}

#[tokio::test]
async fn a_malformed_line_stops_all_of_them() {
    let stage = Stage::set();
    let publish = r#"{"method":"publish","params":{"channel":"chat:a","data":1}}"#;
    for body in ["", "  ", "{", &format!("{publish}\nrubbish")] {
        assert_eq!(call(&stage, body).await, None, "{body}");
    }
    let history = stage.call("history", r#"{"channel":"chat:a"}"#).await;
    assert_eq!(history, r#"{"result":{"publications":[],"epoch":"EPOCH","offset":1}}"#);
}
