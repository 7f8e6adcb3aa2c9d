//! What nodes see of each other's clients.

use std::time::Duration;

use futures_util::future::join_all;

use super::Node;
use crate::support::member::channel;
use crate::support::nats_server::{NatsCluster, NatsServer};
use crate::support::nats_settings::nats;

#[tokio::test]
async fn all_nodes_see_the_same_and_are_told_the_same() {
    let cluster = NatsCluster::start().await;
    let settings = nats(cluster.urls(), 3);
    let (a, b) = Node::pair(&settings).await;
    let room = channel("room");
    let (at_a, at_b) = (a.listen(&room).await, b.listen(&room).await);
    let ann = a.enter(&room, 1, "ann");
    assert_eq!(a.presence.list(&room).await.unwrap().counts(), (1, 1), "one's own clients are seen at once");
    at_b.is_told(1).await;
    let bob = b.enter(&room, 2, "bob");
    let also_ann = b.enter(&room, 3, "ann");
    for node in [&a, &b] {
        node.sees_users(&room, 3, 2).await;
    }
    drop(ann);
    for listener in [&at_a, &at_b] {
        let mut told = listener.is_told(4).await;
        assert_eq!((&*told[0], &*told[3]), ("+ann", "-ann"), "{told:?}");
        told[1..3].sort();
        assert_eq!(told[1..3], ["+ann", "+bob"]);
    }
    drop((bob, also_ann));
    a.sees(&room, 0).await;
    b.sees(&room, 0).await;
}

#[tokio::test]
async fn a_channel_that_nobody_here_listens_to_is_read_when_asked_for() {
    let server = NatsServer::start().await;
    let settings = nats([server.url()], 1);
    let (a, b) = Node::pair(&settings).await;
    let rooms = ["room", "room.x"].map(channel);
    let stays: Vec<_> =
        (0..2_500).map(|client| a.enter(&rooms[0], client, &format!("user {}", client % 100))).collect();
    let _other = a.enter(&rooms[1], 9_999, "ann");
    b.sees_users(&rooms[0], 2_500, 100).await;
    // Those who ask together share what is read.
    for present in join_all((0..20).map(|_| b.presence.list(&rooms[0]))).await {
        assert_eq!(present.unwrap().counts(), (2_500, 100));
    }
    assert_eq!(b.presence.list(&rooms[1]).await.unwrap().counts(), (1, 1));
    drop(stays);
    b.sees(&rooms[0], 0).await;
}

#[tokio::test]
async fn a_user_who_is_back_in_time_is_not_told_of() {
    let server = NatsServer::start().await;
    let settings = nats([server.url()], 1);
    let (a, b) = Node::pair(&settings).await;
    let room = channel("room");
    let patient = b.listen_to_users(&room, Duration::from_secs(3600)).await;
    let hasty = a.listen_to_users(&room, Duration::from_millis(1)).await;
    let first = a.enter(&room, 1, "ann");
    patient.is_told(1).await;
    drop(first);
    assert_eq!(hasty.is_told(2).await, ["+ann", "-ann"]);
    let _second = b.enter(&room, 2, "ann");
    let _bob = b.enter(&room, 3, "bob");
    hasty.is_told(4).await;
    assert_eq!(patient.is_told(2).await, ["+ann", "+bob"]);
}

#[tokio::test]
async fn a_user_who_is_back_in_time_is_not_told_of_where_somebody_has_just_begun_to_listen() {
    let server = NatsServer::start().await;
    let settings = nats([server.url()], 1);
    let (a, b) = Node::pair(&settings).await;
    let room = channel("room");
    let hasty = a.listen_to_users(&room, Duration::from_millis(1)).await;
    let first = a.enter(&room, 1, "ann");
    hasty.is_told(1).await;
    drop(first);
    hasty.is_told(2).await;
    let fresh = b.listen_to_users(&room, Duration::from_secs(3600)).await;
    b.sees_users(&room, 1, 1).await;
    let _second = a.enter(&room, 2, "ann");
    let _bob = a.enter(&room, 3, "bob");
    assert_eq!(fresh.is_told(1).await, ["+bob"]);
    b.sees_users(&room, 2, 2).await;
}

#[tokio::test]
async fn a_client_whose_record_is_longer_than_headers_may_be_leaves_and_is_cleaned_up_after() {
    let server = NatsServer::start().await;
    let settings = nats([server.url()], 1);
    let (a, b) = Node::pair(&settings).await;
    let room = channel("room");
    let at_b = b.listen(&room).await;
    let long = "u".repeat(70_000);
    let leaves = a.enter(&room, 1, &long);
    let _stays = [a.enter(&room, 2, &long), a.enter(&room, 3, "ann")];
    at_b.is_told(3).await;
    drop(leaves);
    assert_eq!(at_b.is_told(4).await[3], format!("-{long}"));
    a.presence.settled().await;
    assert_eq!(b.presence.reap("a~1").await.unwrap(), 2);
    b.sees(&room, 0).await;
    assert_eq!(at_b.is_told(6).await.len(), 6);
}

#[tokio::test]
async fn a_record_that_is_refused_for_good_keeps_nobody_waiting() {
    let server = NatsServer::start().await;
    let settings = nats([server.url()], 1);
    let (a, b) = Node::pair(&settings).await;
    let room = channel("room");
    let at_b = b.listen(&room).await;
    // More than a server takes in one message.
    let _too_long = a.enter(&room, 1, &"u".repeat(2 << 20));
    let _stays: Vec<_> = (2..50).map(|client| a.enter(&room, client, "ann")).collect();
    assert_eq!(at_b.is_told(48).await, vec!["+ann"; 48]);
    a.presence.settled().await;
    assert!(a.telemetry.render().contains("midplane_presence_records_refused_total 1\n"), "{}", a.telemetry.render());
}
