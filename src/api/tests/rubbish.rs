//! No body ends in anything but an answer in JSON.

use proptest::prelude::*;
use serde_json::Value;

use super::Stage;
use crate::api::Method;
use crate::telemetry::Source;

fn json() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        "[a-z]{0,8}:?\\PC{0,8}".prop_map(Value::from),
        "(chat|live|binary):[a-c]".prop_map(Value::from),
    ];
    let name = prop_oneof![
        "(channel|channels|data|b64data|tags|version|limit|since|reverse|pattern|method|params|commands|parallel)",
        "(publish|broadcast|history|history_remove|channels|info|rpc|offset|epoch|idempotency_key)",
        "\\PC{0,6}",
    ];
    leaf.prop_recursive(5, 48, 6, move |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..6).prop_map(Value::from),
            prop::collection::hash_map(name.clone(), inner, 0..6).prop_map(|map| map.into_iter().collect()),
        ]
    })
}

fn bodies() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        any::<Vec<u8>>(),
        json().prop_map(|value| value.to_string().into_bytes()),
        // Cut off in the middle.
        (json(), any::<prop::sample::Index>()).prop_map(|(value, at)| {
            let mut bytes = value.to_string().into_bytes();
            bytes.truncate(at.index(bytes.len()));
            bytes
        }),
    ]
}

#[test]
fn rubbish_is_answered() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let stage = runtime.block_on(async { Stage::set() });
    let answered = |body: &[u8]| {
        for method in Method::ALL.into_iter().filter(|method| *method != Method::Info) {
            let reply = runtime.block_on(stage.api.call(method.name(), body, Source::Http)).into_json();
            let reply: Value = serde_json::from_slice(&reply).expect("JSON");
            assert!(["result", "error", "replies"].iter().any(|key| reply.get(key).is_some()), "{reply}");
        }
        if let Ok(replies) = runtime.block_on(stage.api.call_legacy(body, Source::Http)) {
            for line in replies.split(|byte| *byte == b'\n') {
                serde_json::from_slice::<Value>(line).expect("JSON on each line");
            }
        }
    };
    proptest!(|(body in bodies())| answered(&body));
}
