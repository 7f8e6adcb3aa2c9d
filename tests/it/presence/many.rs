//! Many in one channel, and many channels.

use std::collections::BTreeSet;

use midplane::protocol::Channel;

use super::Node;
use crate::support::member::channel;
use crate::support::nats_server::NatsServer;
use crate::support::nats_settings::nats;

const MANY: u32 = 10_000;

#[tokio::test(flavor = "multi_thread")]
async fn ten_thousand_in_a_channel_and_in_as_many_channels_are_seen_by_all_nodes() {
    let server = NatsServer::start().await;
    let (a, b) = Node::pair(&nats([server.url()], 1)).await;
    let room = channel("room");
    let own_room = |client: u32| -> Channel { channel(&format!("of.{client}")) };
    let user = |client: u32| format!("user {}", client % 1_000);
    let enter = |node: &Node, clients: std::ops::Range<u32>| -> Vec<_> {
        let rooms = clients.flat_map(|client| [(room.clone(), client), (own_room(client), client)]);
        rooms.map(|(room, client)| node.enter(&room, client.into(), &user(client))).collect()
    };
    let here = enter(&a, 0..MANY / 2);
    let there = enter(&b, MANY / 2..MANY);
    for node in [&a, &b] {
        node.sees_users(&room, MANY as usize, 1_000).await;
        for client in (0..MANY).step_by(500) {
            node.sees(&own_room(client), 1).await;
        }
    }
    drop(there);
    for node in [&a, &b] {
        node.sees_users(&room, MANY as usize / 2, 1_000).await;
        node.sees(&own_room(MANY - 1), 0).await;
    }
    drop(here);
    b.sees(&room, 0).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn of_ten_thousand_in_one_channel_whose_node_died_each_left_once() {
    let server = NatsServer::start().await;
    let settings = nats([server.url()], 1);
    let (a, _b) = Node::pair(&settings).await;
    let dying = Node::join(&settings, "c~1").await;
    let room = channel("room");
    let listener = a.listen(&room).await;
    let stays: Vec<_> = (0..MANY).map(|client| dying.enter(&room, client.into(), &format!("user {client}"))).collect();
    a.sees(&room, MANY as usize).await;
    listener.is_told(MANY as usize).await;
    dying.presence.settled().await;
    // Its tasks end and nothing more is recorded, as after a kill.
    drop(dying);
    drop(stays);
    a.presence.reap("c~1").await.expect("it can be recorded");
    let told = listener.is_told(2 * MANY as usize).await;
    let leaves: BTreeSet<_> = told[MANY as usize..].iter().filter(|word| word.starts_with('-')).collect();
    assert_eq!((leaves.len(), told.len()), (MANY as usize, 2 * MANY as usize));
    a.sees(&room, 0).await;
}
