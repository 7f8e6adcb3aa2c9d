//! Many in one channel, and many channels.

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
