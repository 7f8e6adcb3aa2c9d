//! What a publisher is told when things go wrong is true.

use std::time::Duration;

use futures_util::future::join_all;
use midplane::backplane::{Bucket, Guard, Health, Occupant, Outgoing, PublishError, Version, Word};
use midplane::protocol::Offset;
use serde_json::json;

use super::{Operator, STREAM, join};
use crate::support::member::{channel, outgoing, text};
use crate::support::nats_server::NatsServer;
use crate::support::nats_settings::nats;

#[tokio::test]
async fn a_publication_outlives_a_restart_of_the_server_and_is_stored_once() {
    let mut server = NatsServer::start().await;
    let node = join(&nats([server.url()], 1)).await;
    let channels: Vec<_> = (0..20).map(|n| channel(&format!("kept:{n}"))).collect();
    node.store(&channels[0], "before").await;
    server.kill();
    let publishing = join_all(channels.iter().map(|channel| node.store(channel, "during")));
    let (offsets, ()) = tokio::join!(publishing, server.restart());
    for (channel, offset) in channels.iter().zip(offsets) {
        let page = node.history().page(channel, Offset(1), 10).await.unwrap();
        let during: Vec<_> = page.messages.iter().filter(|message| text(&message.data) == "during").collect();
        assert_eq!(during.len(), 1, "{channel}");
        assert_eq!(during[0].offset, Offset(offset));
    }
}

#[tokio::test]
async fn a_publication_that_was_never_sent_is_not_called_unknown() {
    let mut server = NatsServer::start().await;
    let mut settings = nats([server.url()], 1);
    settings.publish_timeout = Duration::from_millis(700);
    let node = join(&settings).await;
    server.kill();
    let mut health = node.backplane.health();
    health.wait_for(|health| *health != midplane::backplane::Health::Ready).await.unwrap();
    for name in ["kept:a", "plain:a"] {
        let error = node.backplane.publish(&channel(name), outgoing("x")).await.unwrap_err();
        assert!(matches!(error, PublishError::Unavailable(_)), "{error}");
    }
}

#[tokio::test]
async fn a_publication_that_may_be_stored_is_called_unknown() {
    let server = NatsServer::start().await;
    let mut settings = nats([server.url()], 1);
    settings.publish_timeout = Duration::from_millis(700);
    settings.ping_interval = Duration::from_secs(60);
    let node = join(&settings).await;
    server.pause().await;
    let error = node.backplane.publish(&channel("kept:a"), outgoing("x")).await.unwrap_err();
    assert!(matches!(error, PublishError::Unknown(_)), "{error}");
    server.resume();
    crate::support::eventually("it was stored after all", async || {
        let page = node.history().page(&channel("kept:a"), Offset(1), 10).await.ok()?;
        (page.messages.len() == 1).then_some(())
    })
    .await;
}

#[tokio::test]
async fn what_no_message_can_hold_is_too_large() {
    let server = NatsServer::with_config("max_payload: 2048").await;
    let node = join(&nats([server.url()], 1)).await;
    for name in ["kept:a", "plain:a"] {
        let error = node.backplane.publish(&channel(name), outgoing(&"x".repeat(2_049))).await.unwrap_err();
        assert!(matches!(error, PublishError::TooLarge { limit: 2_048, .. }), "{error}");
        node.publish(&channel(name), &"x".repeat(1_800)).await;
    }
}

#[tokio::test]
async fn versions_from_many_nodes_never_go_back() {
    let server = NatsServer::start().await;
    let settings = nats([server.url()], 1);
    let nodes = join_all((0..3).map(|_| join(&settings))).await;
    let kept = channel("kept:versions");
    let publishing =
        (1..=30).flat_map(|number| nodes.iter().map(move |node| (number, node))).map(async |(number, node)| {
            let version = Some(Version { number, epoch: String::new() });
            node.backplane.publish(&kept, Outgoing { version, ..outgoing(&number.to_string()) }).await.unwrap()
        });
    let published = join_all(publishing).await;
    let page = nodes[0].history().page(&kept, Offset(1), 1_000).await.unwrap();
    let stored: Vec<u64> = page.messages.iter().map(|message| text(&message.data).parse().unwrap()).collect();
    assert!(stored.windows(2).all(|pair| pair[0] < pair[1]), "{stored:?}");
    assert_eq!(stored.last(), Some(&30));
    assert_eq!(published.iter().filter(|published| !published.suppressed).count(), stored.len());
}

#[tokio::test]
async fn a_key_counts_on_every_node() {
    let server = NatsServer::start().await;
    let settings = nats([server.url()], 1);
    let (one, other) = (join(&settings).await, join(&settings).await);
    let kept = channel("kept:key");
    let message = || Outgoing { idempotency_key: Some("k".to_owned()), ..outgoing("x") };
    let first = one.backplane.publish(&kept, message()).await.unwrap();
    let second = other.backplane.publish(&kept, message()).await.unwrap();
    assert!(second.suppressed);
    assert_eq!(second.position, first.position);
}

#[tokio::test]
async fn nodes_share_the_requests_of_a_subject() {
    let server = NatsServer::start().await;
    let settings = nats([server.url()], 1);
    let nodes = join_all((0..3).map(|_| join(&settings))).await;
    let serving: Vec<_> = join_all(nodes.iter().map(|node| node.backplane.requests().unwrap().serve("work.*", 256)))
        .await
        .into_iter()
        .map(|served| {
            let mut served = served.unwrap();
            tokio::spawn(async move {
                let mut count = 0;
                while let Some(request) = served.recv().await {
                    count += 1;
                    let _ = request.reply.send(request.body);
                }
                count
            })
        })
        .collect();
    let requests = nodes[0].backplane.requests().unwrap();
    let asking =
        (0..200_u32).map(|n| requests.request("work.echo", &[], n.to_string().into(), Duration::from_secs(10)));
    for (n, answer) in join_all(asking).await.into_iter().enumerate() {
        assert_eq!(answer.unwrap().body, n.to_string());
    }
    for node in &nodes {
        node.backplane.close().await;
    }
    let mut served = 0;
    for serving in serving {
        served += serving.await.unwrap();
    }
    assert_eq!(served, 200, "each request reached one node");
}

#[tokio::test]
async fn what_another_stream_acknowledges_is_neither_published_nor_recorded() {
    const PRESENCE: &str = "MP-presence_midplane";
    const NODES: &str = "KV_midplane_nodes";
    let server = NatsServer::start().await;
    let settings = nats([server.url()], 1);
    let node = join(&settings).await;
    node.store(&channel("kept:a"), "x").await;
    let operator = Operator::of(&settings).await;
    for (ours, subjects) in [(PRESENCE, "midplane.pres.>"), (NODES, "$KV.midplane_nodes.>"), (STREAM, "midplane.pub.>")]
    {
        operator.ask(&format!("STREAM.DELETE.{ours}"), json!({})).await;
        let foreign = format!("foreign-{ours}");
        operator.ask(&format!("STREAM.CREATE.{foreign}"), json!({ "name": foreign, "subjects": [subjects] })).await;
    }
    let names = |error: &str, ours: &str| {
        let both = [&format!("stream foreign-{ours} "), &format!("in place of stream {ours}")];
        assert!(both.iter().all(|name| error.contains(*name)), "{error}");
    };

    let error = node.backplane.publish(&channel("kept:a"), outgoing("y")).await.unwrap_err();
    assert!(matches!(error, PublishError::Refused(_)), "{error}");
    names(&error.to_string(), STREAM);
    let somebody = Occupant { node: "n~1".into(), channel: channel("kept:a"), client: uuid::Uuid::from_u128(1) };
    let error = node.backplane.presences().unwrap().record(&somebody, Word::Here("{}".into())).await.unwrap_err();
    names(&error.to_string(), PRESENCE);
    let error = node.backplane.registry(Bucket::Nodes).put("n", "{}".into(), Guard::Any, None).await.unwrap_err();
    names(&error.to_string(), NODES);

    // Probes and marks are acknowledged as well, and prove nothing.
    let mut health = node.backplane.health();
    let lost = health.wait_for(|health| matches!(health, Health::Lost { .. }));
    tokio::time::timeout(crate::support::PATIENCE, lost).await.expect("the node says that it is lost").unwrap();
    // Once nobody is in the way any more, the stream is made again and everything goes on.
    operator.ask(&format!("STREAM.DELETE.foreign-{STREAM}"), json!({})).await;
    node.ready().await;
    node.store(&channel("kept:a"), "z").await;
}
