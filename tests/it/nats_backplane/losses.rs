//! Connections break and messages are forged: what is lost is told, what is false is not believed.

use std::collections::HashMap;

use midplane::backplane::{Backplane, Delivery, GapCause, Health, Scope, feed};
use midplane::protocol::Offset;

use tokio::time::timeout;

use super::{Operator, join, namespaces};
use crate::support::liar::Liar;
use crate::support::member::{channel, text};
use crate::support::nats_server::NatsServer;
use crate::support::nats_settings::{connect, nats};
use crate::support::{PATIENCE, eventually};

#[tokio::test]
async fn a_restarted_server_is_a_gap_and_then_everything_goes_on() {
    let mut server = NatsServer::start().await;
    let node = join(&nats([server.url()], 1)).await;
    let (kept, plain) = (channel("kept:a"), channel("plain:a"));
    node.subscribe(&kept).await;
    node.subscribe(&plain).await;
    let before = node.publish(&kept, "before").await.position.unwrap();

    server.kill();
    let mut health = node.backplane.health();
    health.wait_for(|health| matches!(health, Health::Lost { .. })).await.unwrap();
    server.restart().await;

    let gap = node.gap(GapCause::Reconnect).await;
    assert_eq!(gap.scope, Scope::Everything);
    node.ready().await;
    node.forget();
    let after = node.publish(&kept, "after").await.position.unwrap();
    node.publish(&plain, "after").await;
    assert_eq!(after.epoch, before.epoch, "the store survived");
    assert!(after.offset > before.offset);
    let message = &node.received(&kept, 1).await[0];
    assert_eq!(message.link.map(|link| link.previous), Some(before.offset));
    node.received(&plain, 1).await;
}

#[tokio::test]
async fn deliveries_that_the_server_drops_because_a_node_is_too_slow_are_a_gap() {
    const MESSAGES: usize = 20_000;
    let server = NatsServer::with_config("max_pending: 2MB").await;
    let settings = nats([server.url()], 1);
    let (sender, mut feeds) = feed::open(1);
    let node = connect(&settings, &namespaces(), sender).await.unwrap();
    let plain = channel("plain:flood");
    node.subscribe(&plain).await.unwrap();
    let operator = Operator::of(&settings).await;
    let filling = "x".repeat(5_000);
    // Nobody takes what comes, until the server has had enough.
    for _ in 0..MESSAGES {
        operator.0.publish("midplane.pub.plain.flood", filling.clone().into()).await.unwrap();
    }
    operator.0.flush().await.unwrap();
    eventually("the server gives up on the node", async || server.log().contains("Slow Consumer").then_some(())).await;
    let mut delivered = 0;
    let gap = loop {
        match timeout(PATIENCE, feeds[0].next()).await.expect("something comes").expect("the feed goes on") {
            Delivery::Message(_) => delivered += 1,
            Delivery::Gap(gap) => break gap,
        }
    };
    assert_eq!((gap.scope, gap.cause), (Scope::Everything, GapCause::Reconnect));
    assert!(delivered < MESSAGES, "{delivered} are all of them");
}

#[tokio::test]
async fn an_answer_of_which_a_part_is_lost_is_not_taken_for_everything_that_is_stored() {
    let server = NatsServer::start().await;
    let liar = Liar::before(server.port()).await;
    let node = join(&nats([liar.url()], 1)).await;
    let (kept, other) = (channel("kept:a"), channel("kept:b"));
    let mut stored = Vec::new();
    for number in 0..8 {
        stored.push(node.store(&kept, &number.to_string()).await);
    }
    let top = node.store(&other, "newest").await;
    for (lost, what) in [(7, "its beginning"), (3, "its middle"), (0, "its last, and its end with it")] {
        // Each message says how many of the answer follow.
        liar.swallow(&format!("Nats-Num-Pending: {lost}\r\n"));
        let page = node.history().page(&kept, Offset(1), 100).await.unwrap();
        let offsets: Vec<u64> = page.messages.iter().map(|message| message.offset.0).collect();
        assert_eq!(offsets, stored, "the answer lost {what}");
    }
    liar.swallow("Nats-Num-Pending: 1\r\n");
    let newer = node.history().newer("kept", &[kept.clone(), other.clone()], Offset(0)).await.unwrap();
    let tops: HashMap<_, _> = newer.tops.into_iter().collect();
    assert_eq!(tops, HashMap::from([(kept, Offset(stored[7])), (other, Offset(top))]));
}

#[tokio::test]
async fn headers_that_are_no_text_cost_neither_their_message_nor_the_connection() {
    let server = NatsServer::start().await;
    let settings = nats([server.url()], 1);
    let node = join(&settings).await;
    let kept = channel("kept:latin");
    node.subscribe(&kept).await;
    node.store(&kept, "before").await;
    server.publish_raw("midplane.pub.kept.latin", b"Name: Andr\xe9\r\nMidplane-Tag-a: b\r\n", b"latin").await;
    node.store(&kept, "after").await;

    let page = node.history().page(&kept, Offset(1), 10).await.unwrap();
    let texts: Vec<_> = page.messages.iter().map(|message| text(&message.data)).collect();
    assert_eq!(texts, ["before", "latin", "after"]);
    assert_eq!(page.messages[1].meta.tags, [("a".to_owned(), "b".to_owned())]);
    node.received(&kept, 3).await;
    assert_eq!(node.texts(&kept), texts);
    assert_eq!(server.monitor("/varz").await.and_then(|page| total_connections(&page)), Some(5), "nobody came back");
}

/// Connections that the server ever had, by its own account.
fn total_connections(varz: &str) -> Option<u64> {
    serde_json::from_str::<serde_json::Value>(varz).ok()?["total_connections"].as_u64()
}

#[tokio::test]
async fn sequences_that_a_publisher_invents_are_not_believed() {
    let server = NatsServer::start().await;
    let settings = nats([server.url()], 1);
    let node = join(&settings).await;
    let (kept, plain) = (channel("kept:forged"), channel("plain:forged"));
    node.subscribe(&kept).await;
    node.subscribe(&plain).await;
    let first = node.store(&kept, "sound").await;

    let mut headers = async_nats::HeaderMap::new();
    for (name, value) in [
        ("Nats-Sequence", "999"),
        ("Nats-Last-Sequence", "998"),
        ("Nats-Stream", "MP_midplane_kept"),
        ("Nats-Subject", "midplane.pub.kept.other"),
        ("Nats-Time-Stamp", "2001-01-01T00:00:00Z"),
        ("Midplane-Info", "{not json"),
    ] {
        headers.insert(name, value);
    }
    let operator = Operator::of(&settings).await;
    for subject in ["midplane.pub.kept.forged", "midplane.pub.plain.forged"] {
        operator.0.publish_with_headers(subject, headers.clone(), "forged".into()).await.unwrap();
    }

    let link = node.received(&kept, 2).await[1].link.expect("a stored message");
    assert_eq!((link.offset, link.previous), (Offset(first + 1), Offset(first)));
    let message = &node.received(&plain, 1).await[0];
    assert!(message.link.is_none());
    assert!(message.meta.info.is_none());
    let page = node.history().page(&kept, Offset(1), 10).await.unwrap();
    assert_eq!(page.messages[1].offset, Offset(first + 1));
    assert!(page.messages[1].stored_at > 1_700_000_000_000_000_000);
}

#[tokio::test]
async fn any_nats_client_publishes_to_the_documented_subject() {
    let server = NatsServer::start().await;
    let settings = nats([server.url()], 1);
    let node = join(&settings).await;
    let operator = Operator::of(&settings).await;
    for (name, subject) in [
        ("kept:room.1", "midplane.pub.kept.room.1"),
        ("kept:a b", "midplane.pub.kept.a%20b"),
        ("$kept:secret", "midplane.pub.kept.$secret"),
        ("plain:room", "midplane.pub.plain.room"),
    ] {
        let channel = channel(name);
        node.subscribe(&channel).await;
        operator.0.publish(subject, name.into()).await.unwrap();
        assert_eq!(text(&node.received(&channel, 1).await[0].data), name);
    }
}

#[tokio::test]
async fn a_nudge_concerns_only_who_listens() {
    let server = NatsServer::start().await;
    let settings = nats([server.url()], 1);
    let node = join(&settings).await;
    let heard = channel("kept:heard");
    node.subscribe(&heard).await;
    let operator = Operator::of(&settings).await;
    operator.0.publish("midplane.nudge.kept.unheard", "7".into()).await.unwrap();
    operator.0.publish("midplane.nudge.kept.heard", "8".into()).await.unwrap();
    let gap = node.gap(GapCause::Nudge).await;
    assert_eq!(gap.scope, Scope::Channel { channel: heard, up_to: Offset(8) });
}

#[tokio::test]
async fn a_closed_node_has_published_what_it_took() {
    let server = NatsServer::start().await;
    let settings = nats([server.url()], 1);
    let (leaving, staying) = (join(&settings).await, join(&settings).await);
    let plain = channel("plain:farewell");
    staying.subscribe(&plain).await;
    for n in 0..1_000 {
        leaving.publish(&plain, &n.to_string()).await;
    }
    leaving.backplane.close().await;
    staying.received(&plain, 1_000).await;
    assert!(leaving.backplane.publish(&channel("kept:late"), crate::support::member::outgoing("x")).await.is_err());
    eventually("its connections are gone", async || {
        let page = server.monitor("/connz").await?;
        let connections: serde_json::Value = serde_json::from_str(&page).ok()?;
        (connections["num_connections"] == 4).then_some(())
    })
    .await;
}

#[tokio::test]
async fn a_node_whose_connection_broke_off_at_its_first_subscription_gave_up() {
    let server = NatsServer::start().await;
    let liar = Liar::before(server.port()).await;
    let settings = nats([liar.url()], 1);
    liar.hang_up_at(&format!("SUB {}.epoch.", settings.prefix));
    let node = join(&settings).await;
    assert!(liar.has_hung_up());
    let kept = channel("kept:a");
    node.subscribe(&kept).await;
    node.store(&kept, "heard").await;
    node.received(&kept, 1).await;
}
