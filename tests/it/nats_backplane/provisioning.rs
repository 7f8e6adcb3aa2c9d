//! Streams come about by themselves, fit what is configured, or are refused with what would help.

use std::sync::Arc;
use std::time::Duration;

use futures_util::future::join_all;
use midplane::backplane::nats::{ConnectError, Nats, StreamError};
use midplane::backplane::{GapCause, feed};
use midplane::settings::{self, Namespaces, NatsAuth, Storage};
use midplane::tasks::Tasks;
use midplane::telemetry::Telemetry;
use serde_json::{Value, json};

use super::{Operator, STREAM, join, join_with, namespaces, refusal};
use crate::support::eventually;
use crate::support::member::channel;
use crate::support::namespaces::{open, registry};
use crate::support::nats_server::{NatsCluster, NatsServer};
use crate::support::nats_settings::nats;

#[tokio::test]
async fn nodes_that_start_together_make_one_stream() {
    let cluster = NatsCluster::start().await;
    let settings = nats(cluster.urls(), 3);
    let nodes = join_all((0..5).map(|_| join(&settings))).await;
    let tops = join_all(nodes.iter().map(async |node| node.history().top(&channel("kept:a")).await.unwrap())).await;
    assert!(tops.iter().all(|top| top.epoch == tops[0].epoch));
    let info = Operator::of(&settings).await.info().await;
    assert_eq!(info["config"]["num_replicas"], 3);
    for node in &nodes {
        assert!(node.gaps().iter().all(|gap| gap.cause != midplane::backplane::GapCause::EpochChanged));
    }
}

#[tokio::test]
async fn a_node_that_starts_before_the_last_server_waits_for_it() {
    let mut cluster = NatsCluster::start().await;
    let settings = nats(cluster.urls(), 3);
    cluster.servers[2].kill();
    // It could not join before the server is back, so it must have met the refusal.
    let ((), node) = tokio::join!(cluster.servers[2].restart(), join(&settings));
    node.history().top(&channel("kept:a")).await.unwrap();
}

#[tokio::test]
async fn a_stream_is_made_as_recovery_needs_it() {
    let server = NatsServer::start().await;
    let mut settings = nats([server.url()], 1);
    settings.max_bytes = Some(1 << 20);
    join(&settings).await;
    let config = Operator::of(&settings).await.info().await["config"].clone();
    for (field, value) in [
        ("subjects", json!(["midplane.pub.kept.>"])),
        ("max_msgs_per_subject", json!(100_001)),
        ("max_age", json!(3_600_000_000_000_u64)),
        ("duplicate_window", json!(120_000_000_000_u64)),
        ("allow_direct", json!(true)),
        ("deny_delete", json!(true)),
        ("discard", json!("old")),
        ("retention", json!("limits")),
        ("max_bytes", json!(1 << 20)),
        ("republish", json!({"src": "midplane.pub.kept.>", "dest": "midplane.live.kept.>"})),
    ] {
        assert_eq!(config[field], value, "{field}");
    }
}

#[tokio::test]
async fn what_can_be_changed_is_changed_and_the_rest_is_left_alone() {
    let server = NatsServer::start().await;
    let settings = nats([server.url()], 1);
    let operator = Operator::of(&settings).await;
    let mut by_hand = json!({"name": STREAM, "subjects": ["midplane.pub.kept.>"], "storage": "file", "max_age": 60_000_000_000_u64,
        "description": "by hand", "compression": "s2", "allow_rollup_hdrs": true});
    operator.ask(&format!("STREAM.CREATE.{STREAM}"), by_hand.take()).await;
    let node = join(&settings).await;
    node.store(&channel("kept:a"), "x").await;
    let config = operator.info().await["config"].clone();
    assert_eq!(config["max_age"], 3_600_000_000_000_u64);
    assert_eq!(config["description"], "by hand");
    assert_eq!(config["compression"], "s2");
    assert!(!config.get("allow_rollup_hdrs").and_then(Value::as_bool).unwrap_or(false));
}

/// What the stream of `kept` keeps: copies, messages of a channel, seconds.
async fn kept(operator: &Operator) -> [u64; 3] {
    let config = operator.info().await["config"].clone();
    let number = |field: &str| config[field].as_u64().expect("a number");
    [number("num_replicas"), number("max_msgs_per_subject"), number("max_age") / 1_000_000_000]
}

/// A node of small settings: a copy, five publications, five minutes.
fn lesser(settings: &settings::Nats) -> (settings::Nats, Namespaces) {
    let mut namespace = open("kept", Some(5));
    namespace.history.as_mut().expect("a history").horizon = Duration::from_secs(300);
    (settings::Nats { replicas: 1, ..settings.clone() }, registry([namespace, open("plain", None)]))
}

#[tokio::test]
async fn a_node_of_lesser_settings_takes_nothing_from_the_streams_of_the_others() {
    let cluster = NatsCluster::start().await;
    let settings = nats(cluster.urls(), 3);
    let operator = Operator::of(&settings).await;
    let one = join(&settings).await;
    assert_eq!(kept(&operator).await, [3, 100_001, 3600]);
    let (mut lesser, namespaces) = lesser(&settings);
    let other = join_with(&lesser, &namespaces).await;
    assert_eq!(kept(&operator).await, [3, 100_001, 3600]);
    for bucket in ["KV_midplane_epochs", "KV_midplane_nodes", "MP-presence_midplane"] {
        let info = operator.ask(&format!("STREAM.INFO.{bucket}"), json!({})).await;
        assert_eq!(info["config"]["num_replicas"], 3, "{bucket}");
    }
    other.store(&channel("kept:a"), "x").await;
    assert_eq!(other.history().retention("kept"), Duration::from_secs(300), "what it wants is surely there");

    // Told to, it lowers them: once, when it starts.
    lesser.shrink_streams = true;
    let told = join_with(&lesser, &namespaces).await;
    assert_eq!(kept(&operator).await, [1, 6, 300]);
    eventually("all take note of it", async || {
        let bounds = (one.history().bounds("kept").await.ok()?, told.history().bounds("kept").await.ok()?);
        let depths = (bounds.0.depths.now(), bounds.1.depths.now());
        (depths == (6, 6) && one.history().retention("kept") == Duration::from_secs(300)).then_some(())
    })
    .await;
}

#[tokio::test]
async fn nodes_of_different_settings_do_not_take_turns_at_the_streams() {
    let mut server = NatsServer::start().await;
    let settings = nats([server.url()], 1);
    let operator = Operator::of(&settings).await;
    let (mut lesser, namespaces) = lesser(&settings);
    lesser.shrink_streams = true;
    let (one, other) = (join(&settings).await, join_with(&lesser, &namespaces).await);
    assert_eq!(kept(&operator).await, [1, 6, 300], "it was told to");
    // Both restore what they want; from then on nobody changes anything.
    for _ in 0..2 {
        for node in [&one, &other] {
            node.forget();
        }
        server.restart().await;
        for node in [&one, &other] {
            node.gap(GapCause::Reconnect).await;
            node.ready().await;
        }
        assert_eq!(kept(&operator).await, [1, 100_001, 3600]);
    }
}

#[tokio::test]
async fn a_running_node_says_that_a_stream_keeps_less_than_it_wants_and_leaves_it_alone() {
    let server = NatsServer::start().await;
    let settings = nats([server.url()], 1);
    let operator = Operator::of(&settings).await;
    let telemetry = Telemetry::new(&namespaces());
    let (sender, _feeds) = feed::open(1);
    let tasks = Tasks::new(|_| {});
    let _node = Nats::connect(&settings, &namespaces(), sender, &telemetry, &tasks).await.unwrap();
    let told = async |limit: &str, streams: u64| {
        let line = format!("midplane_streams_below_settings{{limit=\"{limit}\"}} {streams}");
        eventually(&line, async || telemetry.render().contains(&line).then_some(())).await;
    };
    told("depth", 0).await;
    let mut config = operator.info().await["config"].clone();
    config["max_msgs_per_subject"] = 3.into();
    operator.ask(&format!("STREAM.UPDATE.{STREAM}"), config.clone()).await;
    told("depth", 1).await;
    assert_eq!(kept(&operator).await, [1, 3, 3600]);
    config["max_msgs_per_subject"] = 100_001.into();
    operator.ask(&format!("STREAM.UPDATE.{STREAM}"), config).await;
    told("depth", 0).await;
}

#[tokio::test]
async fn what_cannot_be_changed_is_refused_with_the_exact_difference() {
    let server = NatsServer::start().await;
    let mut settings = nats([server.url()], 1);
    settings.storage = Storage::Memory;
    join(&settings).await.backplane.close().await;
    // The others can be changed no more than the namespace's: take them out of the way.
    let operator = Operator::of(&settings).await;
    for other in [
        "KV_midplane_epochs",
        "KV_midplane_nodes",
        "KV_midplane_revocations",
        "KV_midplane_scaling",
        "MP-presence_midplane",
    ] {
        operator.ask(&format!("STREAM.DELETE.{other}"), json!({})).await;
    }
    settings.storage = Storage::File;
    let error = refusal(&settings, &namespaces()).await;
    let ConnectError::Stream(StreamError::Different { stream, differences, .. }) = &error else { panic!("{error}") };
    assert_eq!(stream, STREAM);
    assert_eq!(differences.len(), 1);
    assert_eq!(differences[0].field, "storage");
    let text = error.to_string();
    assert!(text.contains(r#"storage is "memory", should be "file""#), "{text}");
}

#[tokio::test]
async fn more_copies_than_servers_is_a_refusal_at_once() {
    let server = NatsServer::start().await;
    let error = refusal(&nats([server.url()], 3), &namespaces()).await;
    assert!(error.to_string().contains("replicas"), "{error}");
}

#[tokio::test]
async fn a_server_without_jetstream_is_a_refusal_at_once() {
    let server = NatsServer::with_config("accounts { A { users: [ {user: a, password: a} ] } }").await;
    let mut settings = nats([server.url()], 1);
    settings.auth = NatsAuth::UserPassword { user: "a".to_owned(), password: "a".into() };
    for namespaces in [namespaces(), registry([open("plain", None)])] {
        let error = refusal(&settings, &namespaces).await;
        assert!(matches!(error, ConnectError::Stream(StreamError::NoJetStream)), "{error}");
    }
}

/// A gateway that may do all but provision, and an operator.
const RESTRICTED: &str = r#"
authorization { users: [
  { user: operator, password: o }
  { user: gateway, password: g, permissions: {
    publish: { allow: ["midplane.>", "$KV.midplane_epochs.>", "$KV.midplane_nodes.>", "$KV.midplane_revocations.>", "$KV.midplane_scaling.>", "$JS.API.INFO", "$JS.API.STREAM.INFO.*",
      "$JS.API.STREAM.MSG.GET.*", "$JS.API.DIRECT.GET.>", "$JS.API.STREAM.PURGE.MP_midplane_kept"] },
    subscribe: { allow: ["midplane.>", "_INBOX.>", "$JS.EVENT.ADVISORY.STREAM.LEADER_ELECTED.*",
      "$JS.EVENT.ADVISORY.STREAM.QUORUM_LOST.*"] },
    allow_responses: true } }
] }
"#;

/// The subject and body of `nats request 'subject' 'body'` in a refusal.
fn command_in(text: &str) -> (String, Value) {
    let (_, command) = text.split_once("nats request '").expect("a command");
    let (subject, body) = command.split_once("' '").unwrap();
    (subject.to_owned(), serde_json::from_str(body.trim_end().trim_end_matches('\'')).unwrap())
}

#[tokio::test]
async fn a_gateway_that_may_not_provision_says_which_commands_would() {
    for provision in [true, false] {
        let server = NatsServer::with_config(RESTRICTED).await;
        let mut settings = nats([server.url()], 1);
        settings.provision = provision;
        settings.auth = NatsAuth::UserPassword { user: "gateway".to_owned(), password: "g".into() };
        let operator = async_nats::ConnectOptions::with_user_and_password("operator".into(), "o".into());
        let operator = operator.connect(server.url().as_str()).await.unwrap();
        for stream in [
            "KV_midplane_nodes",
            "KV_midplane_revocations",
            "KV_midplane_scaling",
            "MP-presence_midplane",
            "KV_midplane_epochs",
            STREAM,
        ] {
            let error = refusal(&settings, &namespaces()).await.to_string();
            let (subject, body) = command_in(&error);
            assert_eq!(subject, format!("$JS.API.STREAM.CREATE.{stream}"), "{error}");
            operator.request(subject, body.to_string().into()).await.unwrap();
        }
        let node = join(&settings).await;
        let kept = channel("kept:a");
        node.subscribe(&kept).await;
        node.store(&kept, "x").await;
        node.received(&kept, 1).await;
        node.history().remove(&kept).await.unwrap();
        assert!(node.history().bounds("kept").await.is_ok());
    }
}

#[tokio::test]
async fn what_the_user_may_not_do_is_a_refusal_not_a_timeout() {
    let server = NatsServer::with_config(
        r#"authorization { users: [ { user: u, password: p, permissions: {
            publish: { deny: ["midplane.pub.kept.no"] }, subscribe: { deny: ["midplane.live.kept.no"] } } } ] }"#,
    )
    .await;
    let mut settings = nats([server.url()], 1);
    settings.auth = NatsAuth::UserPassword { user: "u".to_owned(), password: "p".into() };
    let node = join(&settings).await;
    let no = channel("kept:no");
    let error = node.backplane.publish(&no, crate::support::member::outgoing("x")).await.unwrap_err();
    assert!(matches!(error, midplane::backplane::PublishError::Refused(_)), "{error}");
    let error = node.backplane.subscribe(&no).await.unwrap_err();
    assert!(matches!(error, midplane::backplane::SubscribeError::Refused { .. }), "{error}");
    settings.auth = NatsAuth::UserPassword { user: "u".to_owned(), password: "wrong".into() };
    let error = refusal(&settings, &namespaces()).await.to_string();
    assert!(error.contains("authorization"), "{error}");
}

#[tokio::test]
async fn a_node_that_cannot_join_says_why_and_nothing_of_tasks_that_it_ended_itself() {
    let server = NatsServer::with_config(RESTRICTED).await;
    let mut settings = nats([server.url()], 1);
    settings.auth = NatsAuth::UserPassword { user: "gateway".to_owned(), password: "g".into() };
    let lost = Arc::new(parking_lot::Mutex::new(Vec::new()));
    let tasks = Tasks::new({
        let lost = Arc::clone(&lost);
        move |task| lost.lock().push(task)
    });
    let (sender, _feeds) = feed::open(1);
    let telemetry = Telemetry::new(&namespaces());
    let refused = Nats::connect(&settings, &namespaces(), sender, &telemetry, &tasks).await.err();
    assert!(refused.expect("nothing is provisioned").to_string().contains("no permission"));
    tasks.ended().await;
    assert!(lost.lock().is_empty(), "{lost:?}");
}
