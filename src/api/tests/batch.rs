use super::Stage;

#[tokio::test]
async fn a_batch_is_answered_item_by_item_without_results_inside() {
    let stage = Stage::set();
    let commands = r#"[
        {"publish":{"channel":"chat:a","data":1}},
        {"broadcast":{"channels":["live:a"],"data":1}},
        {"history":{"channel":"chat:a","limit":1}},
        {"publish":{"channel":"nowhere:a","data":1}},
        {"presence":{"channel":"chat:a"}},
        {"history_remove":{"channel":"chat:a"}},
        {"channels":{}},
        {"disconnect":{"user":"ada"}},
        {"unsubscribe":{"user":"ada"}},
        {"connections":{"user":"ada"}},
        {"nonsense":{}},
        {"batch":{"commands":[]}},
        null
    ]"#;
    let replies = [
        r#"{"publish":{"offset":2,"epoch":"EPOCH"}}"#,
        r#"{"broadcast":{"responses":[{"result":{}}]}}"#,
        r#"{"history":{"publications":[{"data":1,"offset":2}],"epoch":"EPOCH","offset":2}}"#,
        r#"{"error":{"code":102,"message":"unknown channel: no namespace \"nowhere\""}}"#,
        r#"{"presence":{"presence":{}}}"#,
        r#"{"history_remove":{}}"#,
        r#"{"channels":{"channels":{}}}"#,
        r#"{"disconnect":{}}"#,
        r#"{"unsubscribe":{}}"#,
        r#"{"connections":{"connections":{}}}"#,
        r#"{"error":{"code":104,"message":"not found"}}"#,
        r#"{"error":{"code":104,"message":"not found"}}"#,
        r#"{"error":{"code":107,"message":"bad request: a command is null"}}"#,
    ];
    let expected = format!(r#"{{"replies":[{}]}}"#, replies.join(","));
    assert_eq!(stage.call("batch", &format!(r#"{{"commands":{commands}}}"#)).await, expected);
}

#[tokio::test]
async fn a_parallel_batch_answers_in_the_order_of_the_calls() {
    let stage = Stage::set();
    let command = |n: usize| match n % 2 {
        0 => r#"{"publish":{"channel":"live:a","data":1}}"#,
        _ => r#"{"publish":{"channel":"nowhere:a","data":1}}"#,
    };
    let commands: Vec<_> = (0..300).map(command).collect();
    let body = format!(r#"{{"parallel":true,"commands":[{}]}}"#, commands.join(","));
    let reply: serde_json::Value = serde_json::from_str(&stage.call("batch", &body).await).unwrap();
    let replies = reply["replies"].as_array().unwrap();
    assert_eq!(replies.len(), 300);
    for (n, reply) in replies.iter().enumerate() {
        assert_eq!(reply.get("error").is_some(), n % 2 == 1, "{n}");
    }
}

#[tokio::test]
async fn an_empty_batch_has_no_replies() {
    let stage = Stage::set();
    assert_eq!(stage.call("batch", r#"{"commands":[]}"#).await, r#"{"replies":[]}"#);
    assert_eq!(stage.call("batch", "{}").await, r#"{"replies":[]}"#);
}
