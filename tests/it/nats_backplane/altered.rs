//! Somebody alters streams while nodes run: that is put right, or told.

use midplane::backplane::nats::Nats;
use midplane::backplane::{GapCause, Health, Outgoing, PublishError, feed};
use midplane::tasks::Tasks;
use midplane::telemetry::Telemetry;
use serde_json::{Value, json};

use super::{Operator, STREAM, join, namespaces};
use crate::support::eventually;
use crate::support::member::channel;
use crate::support::nats_server::NatsServer;
use crate::support::nats_settings::nats;

const PRESENCE: &str = "MP-presence_midplane";
const NODES: &str = "KV_midplane_nodes";

impl Operator {
    async fn config(&self, stream: &str) -> Value {
        self.ask(&format!("STREAM.INFO.{stream}"), json!({})).await["config"].take()
    }

    async fn update(&self, config: &Value) {
        self.ask(&format!("STREAM.UPDATE.{}", config["name"].as_str().unwrap()), config.clone()).await;
    }

    /// Takes away what deliveries come by; what it was.
    async fn mute(&self, stream: &str) -> Value {
        let mut config = self.config(stream).await;
        let republish = config.as_object_mut().unwrap().remove("republish").unwrap();
        self.update(&config).await;
        republish
    }
}

#[tokio::test]
async fn deliveries_that_somebody_took_from_a_stream_are_given_back_and_what_did_not_come_is_a_gap() {
    let server = NatsServer::start().await;
    let settings = nats([server.url()], 1);
    let operator = Operator::of(&settings).await;
    let telemetry = Telemetry::new(&namespaces());
    let (sender, _feeds) = feed::open(1);
    let tasks = Tasks::new(|_| {});
    let _counting = Nats::connect(&settings, &namespaces(), sender, &telemetry, &tasks).await.unwrap();
    let node = join(&settings).await;
    for stream in [STREAM, PRESENCE, NODES] {
        let republish = operator.mute(stream).await;
        eventually(&format!("{stream} tells again"), async || {
            (operator.config(stream).await["republish"] == republish).then_some(())
        })
        .await;
    }
    eventually("one of the nodes says that it put it right", async || {
        let is_told = node.gaps().iter().any(|gap| gap.cause == GapCause::Dropped);
        let line = "midplane_stream_alterations_total{result=\"put_right\"}";
        let counted = telemetry.render().lines().any(|told| told.starts_with(line) && !told.ends_with(" 0"));
        (is_told || counted).then_some(())
    })
    .await;
    let mut config = operator.config(STREAM).await;
    config["max_msgs_per_subject"] = 3.into();
    config["allow_direct"] = false.into();
    operator.update(&config).await;
    eventually("replicas answer again", async || (operator.config(STREAM).await["allow_direct"] == true).then_some(()))
        .await;
    assert_eq!(operator.config(STREAM).await["max_msgs_per_subject"], 3, "sizes are another matter");
}

#[tokio::test]
async fn what_somebody_altered_and_a_node_may_not_put_right_makes_it_not_ready_until_it_is() {
    let server = NatsServer::start().await;
    let mut settings = nats([server.url()], 1);
    join(&settings).await.backplane.close().await;
    settings.provision = false;
    let node = join(&settings).await;
    let operator = Operator::of(&settings).await;
    let health = node.backplane.health();
    for stream in [STREAM, PRESENCE] {
        let config = operator.config(stream).await;
        operator.mute(stream).await;
        eventually("it is not ready", async || {
            matches!(&*health.borrow(), Health::Lost { why } if why.contains(stream) && why.contains("republish"))
                .then_some(())
        })
        .await;
        operator.update(&config).await;
        node.ready().await;
    }
}

#[tokio::test]
async fn a_publication_whose_body_a_stream_leaves_out_is_a_gap_and_no_empty_one() {
    let server = NatsServer::start().await;
    let settings = nats([server.url()], 1);
    let node = join(&settings).await;
    let operator = Operator::of(&settings).await;
    let room = channel("kept:a");
    node.subscribe(&room).await;
    let mut config = operator.config(STREAM).await;
    config["republish"]["headers_only"] = true.into();
    operator.update(&config).await;
    node.backplane.publish(&room, Outgoing { data: "one".into(), ..Outgoing::default() }).await.unwrap();
    node.gap(GapCause::Dropped).await;
    eventually("bodies come again", async || {
        (operator.config(STREAM).await["republish"]["headers_only"] != true).then_some(())
    })
    .await;
    node.store(&room, "two").await;
    node.received(&room, 1).await;
    assert_eq!(node.texts(&room), ["two"]);
}

#[tokio::test]
async fn a_stream_that_refuses_every_write_for_good_makes_nodes_not_ready() {
    let server = NatsServer::start().await;
    let settings = nats([server.url()], 1);
    let node = join(&settings).await;
    let operator = Operator::of(&settings).await;
    let mut config = operator.config(STREAM).await;
    config["sealed"] = true.into();
    operator.update(&config).await;
    let refused =
        node.backplane.publish(&channel("kept:a"), Outgoing { data: "x".into(), ..Outgoing::default() }).await;
    assert!(matches!(refused, Err(PublishError::Refused(_))), "{refused:?}");
    let health = node.backplane.health();
    eventually("it is not ready", async || {
        matches!(&*health.borrow(), Health::Lost { why } if why.contains(STREAM)).then_some(())
    })
    .await;
}
