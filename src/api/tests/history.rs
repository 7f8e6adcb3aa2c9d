use super::Stage;

async fn with_four() -> Stage {
    let stage = Stage::set();
    for n in 1..=4 {
        stage
            .call("publish", &format!(r#"{{"channel":"chat:a","data":{{"n":{n}}},"tags":{{"b":"2","a":"1"}}}}"#))
            .await;
    }
    stage
}

fn entries(numbers: &[u64]) -> String {
    // The first publication has offset 2: 1 is the beginning of the stream.
    let entry = |n: &u64| format!(r#"{{"data":{{"n":{n}}},"offset":{},"tags":{{"a":"1","b":"2"}}}}"#, n + 1);
    let entries: Vec<_> = numbers.iter().map(entry).collect();
    format!(r#"{{"result":{{"publications":[{}],"epoch":"EPOCH","offset":5}}}}"#, entries.join(","))
}

#[tokio::test]
async fn history_is_read_in_parts_from_either_end() {
    let stage = with_four().await;
    for (query, numbers) in [
        (r#"{"channel":"chat:a"}"#, &[][..]),
        (r#"{"channel":"chat:a","limit":0}"#, &[]),
        (r#"{"channel":"chat:a","limit":-1}"#, &[2, 3, 4]),
        (r#"{"channel":"chat:a","limit":2}"#, &[2, 3]),
        (r#"{"channel":"chat:a","limit":-1,"reverse":true}"#, &[4, 3, 2]),
        (r#"{"channel":"chat:a","limit":-1,"since":{"offset":4}}"#, &[4]),
        (r#"{"channel":"chat:a","limit":-1,"since":{"offset":5},"reverse":true}"#, &[3, 2]),
        (r#"{"channel":"chat:a","limit":-1,"since":null}"#, &[2, 3, 4]),
    ] {
        assert_eq!(stage.call("history", query).await, entries(numbers), "{query}");
    }
}

const NO_HISTORY: &str = "not available: history_size of namespace \\\"live\\\" is not set";
const NO_NAMESPACE: &str = "unknown channel: no namespace \\\"nowhere\\\"";

#[tokio::test]
async fn a_history_that_cannot_be_read_says_why() {
    let stage = with_four().await;
    for (query, code, message) in [
        (r#"{"channel":"live:a"}"#, 108, NO_HISTORY),
        (r#"{"channel":"plain"}"#, 108, "not available: channel.without_namespace.history_size is not set"),
        (r#"{"channel":"nowhere:a"}"#, 102, NO_NAMESPACE),
        (r"{}", 107, "bad request: channel name is empty"),
        (
            r#"{"channel":"chat:a","since":{"offset":0},"reverse":true}"#,
            107,
            "bad request: since.offset is 0, and nothing comes before it (reverse)",
        ),
        (r#"{"channel":"chat:a","since":{"offset":1,"epoch":"_"}}"#, 112, "unrecoverable position"),
    ] {
        let error = format!(r#"{{"error":{{"code":{code},"message":"{message}"}}}}"#);
        assert_eq!(stage.call("history", query).await, error, "{query}");
    }
}

#[tokio::test]
async fn a_removed_history_is_empty_and_offsets_go_on() {
    let stage = with_four().await;
    assert_eq!(stage.call("history_remove", r#"{"channel":"chat:a"}"#).await, r#"{"result":{}}"#);
    stage.call("publish", r#"{"channel":"chat:a","data":"new"}"#).await;
    let history = stage.call("history", r#"{"channel":"chat:a","limit":-1}"#).await;
    assert!(history.contains(r#""publications":[{"data":"new","offset":"#), "{history}");
    for (channel, code, message) in [("live:a", 108, NO_HISTORY), ("nowhere:a", 102, NO_NAMESPACE)] {
        let error = format!(r#"{{"error":{{"code":{code},"message":"{message}"}}}}"#);
        assert_eq!(stage.call("history_remove", &format!(r#"{{"channel":"{channel}"}}"#)).await, error);
    }
}

#[tokio::test]
async fn data_that_is_no_json_comes_back_in_base64() {
    let stage = Stage::set();
    stage.call("publish", r#"{"channel":"binary:a","b64data":"AP8=","data":"loses"}"#).await;
    let history = stage.call("history", r#"{"channel":"binary:a","limit":-1}"#).await;
    assert!(history.contains(r#""publications":[{"data":null,"offset":2,"b64data":"AP8="}]"#), "{history}");
}

#[tokio::test]
async fn what_was_published_over_several_lines_is_kept_on_one() {
    let stage = Stage::set();
    stage.call("publish", "{\"channel\":\"chat:a\",\"data\":{\n  \"a\": \"x\\n\"\r\n}}").await;
    let history = stage.call("history", r#"{"channel":"chat:a","limit":-1}"#).await;
    assert!(history.contains(r#"{"data":{  "a": "x\n"},"offset":2}"#), "{history}");
}
