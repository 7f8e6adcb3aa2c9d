//! Nodes die, servers restart, records vanish, changes do not arrive: everybody is told everything once.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use midplane::backplane::embedded::Embedded;
use midplane::backplane::faults::{Faults, Faulty};
use midplane::backplane::{Backplane, Occupant, Word, feed};
use midplane::presence::Stay;
use midplane::protocol::Channel;
use midplane::settings::Nats;
use uuid::Uuid;

use super::{Listener, Node, registry};
use crate::support::eventually;
use crate::support::member::channel;
use crate::support::nats_server::{NatsCluster, NatsServer};
use crate::support::nats_settings::nats;

#[tokio::test]
async fn each_client_of_a_dead_node_leaves_once() {
    let cluster = NatsCluster::start().await;
    let settings = nats(cluster.urls(), 3);
    let nodes: [Node; 2] = Node::pair(&settings).await.into();
    let dying = Node::join(&settings, "c~1").await;
    let rooms: Vec<_> = (0..20).map(|n| channel(&format!("room.{n}"))).collect();
    let mut listeners = Vec::new();
    for room in &rooms {
        listeners.push(nodes[0].listen(room).await);
    }
    let stays: Vec<_> = (0..200).map(|n| dying.enter(&rooms[n % 20], n as u128, &format!("user {n}"))).collect();
    for listener in &listeners {
        listener.is_told(10).await;
    }
    dying.presence.settled().await;
    // Its tasks end and nothing more is recorded, as after a kill.
    drop(dying);
    drop(stays);
    let (first, second) = tokio::join!(nodes[0].presence.reap("c~1"), nodes[1].presence.reap("c~1"));
    assert!(first.unwrap().max(second.unwrap()) > 0);
    for (listener, room) in listeners.iter().zip(&rooms) {
        let told = listener.is_told(20).await;
        let leaves: BTreeSet<_> = told[10..].iter().cloned().collect();
        assert!(told.len() == 20 && leaves.len() == 10 && leaves.iter().all(|word| word.starts_with('-')), "{told:?}");
        nodes[1].sees(room, 0).await;
    }
    assert_eq!(nodes[1].presence.reap("c~1").await.unwrap(), 0);
}

#[tokio::test]
async fn what_happens_while_the_server_is_away_is_told_afterwards() {
    let mut server = NatsServer::start().await;
    let settings = nats([server.url()], 1);
    let (a, b) = Node::pair(&settings).await;
    let room = channel("room");
    let at_b = b.listen(&room).await;
    let ann = a.enter(&room, 1, "ann");
    let _bob = a.enter(&room, 2, "bob");
    at_b.is_told(2).await;
    server.kill();
    drop(ann);
    let _cay = a.enter(&room, 3, "cay");
    server.restart().await;
    let mut told = at_b.is_told(4).await.split_off(2);
    told.sort();
    assert_eq!(told, ["+cay", "-ann"]);
    b.sees(&room, 2).await;
}

#[tokio::test]
async fn records_that_vanished_are_written_anew_and_nobody_leaves() {
    let mut server = NatsServer::start().await;
    let settings = nats([server.url()], 1);
    let (a, b) = Node::pair(&settings).await;
    let room = channel("room");
    let at_b = b.listen(&room).await;
    let _stays = [a.enter(&room, 1, "ann"), b.enter(&room, 2, "bob")];
    at_b.is_told(2).await;
    server.kill();
    server.wipe_store();
    server.restart().await;
    let third = Node::join(&settings, "c~1").await;
    third.sees(&room, 2).await;
    let _cay = a.enter(&room, 3, "cay");
    let told = at_b.is_told(3).await;
    assert_eq!(told.len(), 3, "{told:?}");
    assert_eq!(told[2], "+cay");
}

#[tokio::test]
async fn who_left_while_a_store_stepped_back_is_gone_on_every_node() {
    let mut server = NatsServer::start().await;
    let settings = nats([server.url()], 1);
    let (a, b) = Node::pair(&settings).await;
    let room = channel("room");
    let (at_a, at_b) = (a.listen(&room).await, b.listen(&room).await);
    let (_ann, bob) = (a.enter(&room, 1, "ann"), b.enter(&room, 2, "bob"));
    at_a.is_told(2).await;
    at_b.is_told(2).await;
    server.stop().await;
    let snapshot = server.snapshot();
    server.restart().await;
    // Of these the store will know nothing, and nodes know revisions of them that others will have.
    let (cay, dan, _eve) = (b.enter(&room, 3, "cay"), b.enter(&room, 4, "dan"), b.enter(&room, 5, "eve"));
    at_a.is_told(5).await;
    at_b.is_told(5).await;
    b.presence.settled().await;
    server.kill();
    drop((bob, cay, dan));
    server.roll_back(&snapshot);
    server.restart().await;
    let third = Node::join(&settings, "c~1").await;
    for listener in [&at_a, &at_b] {
        let left: BTreeSet<_> = listener.is_told(8).await.split_off(5).into_iter().collect();
        assert_eq!(left, ["-bob", "-cay", "-dan"].map(str::to_owned).into());
    }
    for node in [&a, &b, &third] {
        node.sees(&room, 2).await;
    }
    assert_eq!((at_a.told().len(), at_b.told().len()), (8, 8), "each was told once, and nobody who is there left");
}

/// A node on a backplane that fails as it is told to.
fn faulty() -> (Node, Arc<Faulty>, Arc<Faults>) {
    let (sender, feeds) = feed::open(1);
    let faults = Arc::new(Faults::default());
    let (faulty, feeds) = Faulty::around(Embedded::new(&registry(), 1 << 20, sender), feeds, Arc::clone(&faults));
    (Node::on(Arc::clone(&faulty) as _, feeds, "a~1"), faulty, faults)
}

#[tokio::test]
async fn changes_that_did_not_arrive_are_found_by_the_audit() {
    let (node, faulty, faults) = faulty();
    let room = channel("room");
    let listener = node.listen(&room).await;
    let ann = node.enter(&room, 1, "ann");
    listener.is_told(1).await;
    faults.changes_lost.store(true, Ordering::SeqCst);
    drop(ann);
    let _bob = node.enter(&room, 2, "bob");
    node.presence.settled().await;
    let mut told = eventually("the lost ones are told", async || {
        faulty.doubt();
        Some(listener.told()).filter(|told| told.len() >= 3)
    })
    .await;
    told[1..].sort();
    assert_eq!(told, ["+ann", "+bob", "-ann"]);
    // The first of all may have been compared before it arrived, and counted as well.
    eventually("they are counted", async || {
        let metrics = node.telemetry.render();
        let healed = metrics.lines().find_map(|line| line.strip_prefix("midplane_presence_healed_total "))?;
        (healed.parse::<u64>().ok()? >= 2).then_some(())
    })
    .await;
}

#[tokio::test]
async fn who_comes_while_it_is_not_known_yet_who_is_there_is_in_the_answer_or_told() {
    let (node, _, faults) = faulty();
    let room = channel("room");
    let _ann = node.enter(&room, 1, "ann");
    node.presence.settled().await;
    // A replica that lags is asked again a moment later: so long who is there is not known.
    faults.replicas_empty.store(true, Ordering::SeqCst);
    let listener = node.listen_at_once(&room).await;
    tokio::task::yield_now().await;
    faults.replicas_empty.store(false, Ordering::SeqCst);
    let present = node.presence.list(&room).await.unwrap();
    assert_eq!(present.counts(), (1, 1));
    let _bob = node.enter(&room, 2, "bob");
    assert_eq!(listener.is_told(1).await, ["+bob"]);
}

#[tokio::test]
async fn an_answer_from_before_it_was_known_who_is_there_leaves_nobody_out() {
    let (node, faulty, faults) = faulty();
    let room = channel("room");
    // As long as no changes can be asked for, nobody is told of who comes, although the records can be read.
    faults.subscribe_down.store(true, Ordering::SeqCst);
    let listener = node.listen_at_once(&room).await;
    assert!(node.presence.list(&room).await.is_err(), "whoever comes now would be neither in the answer nor told of");
    let ann = Occupant { node: "b~1".into(), channel: room.clone(), client: Uuid::from_u128(1) };
    let here = Word::Here(r#"{"user":"ann","client":"x"}"#.into());
    faulty.presences().unwrap().record(&ann, here).await.unwrap();
    faults.subscribe_down.store(false, Ordering::SeqCst);
    node.sees(&room, 1).await;
    let _bob = node.enter(&room, 2, "bob");
    assert_eq!(listener.is_told(1).await, ["+bob"]);
}

#[tokio::test]
async fn what_no_replica_knows_is_asked_of_the_authority() {
    let (node, faulty, faults) = faulty();
    let room = channel("room");
    let left_behind = Occupant { node: "dead~1".into(), channel: room.clone(), client: Uuid::from_u128(9) };
    let records = faulty.presences().unwrap();
    records.record(&left_behind, Word::Here(r#"{"user":"dan","client":"x"}"#.into())).await.unwrap();
    faults.replicas_empty.store(true, Ordering::SeqCst);
    let listener = node.listen(&room).await;
    node.sees(&room, 1).await;
    assert_eq!(node.presence.lives().await.unwrap().into_iter().collect::<Vec<_>>(), ["dead~1"]);
    assert_eq!(node.presence.reap("dead~1").await.unwrap(), 1, "nothing may be left behind");
    assert_eq!(listener.is_told(1).await, ["-dan"]);
}

/// Two nodes with ann and bob, whose records somebody has deleted, and who is told at the second.
struct Deleted {
    settings: Nats,
    room: Channel,
    nodes: (Node, Node),
    at_b: Listener,
    _server: NatsServer,
    _stays: [Stay; 2],
}

impl Deleted {
    async fn records() -> Self {
        let server = NatsServer::start().await;
        let settings = nats([server.url()], 1);
        let (a, b) = Node::pair(&settings).await;
        let room = channel("room");
        let at_b = b.listen(&room).await;
        let stays = [a.enter(&room, 1, "ann"), b.enter(&room, 2, "bob")];
        at_b.is_told(2).await;
        let operator = async_nats::connect(server.url().as_str()).await.unwrap();
        operator.request("$JS.API.STREAM.DELETE.MP-presence_midplane", "".into()).await.unwrap();
        Self { settings, room, nodes: (a, b), at_b, _server: server, _stays: stays }
    }

    /// A node that starts now sees so many, and nobody was told of more.
    async fn all_are_seen(&self, clients: usize) {
        let third = Node::join(&self.settings, "c~1").await;
        third.sees(&self.room, clients).await;
        assert_eq!(self.at_b.told().len(), clients, "{:?}", self.at_b.told());
    }
}

#[tokio::test]
async fn records_that_somebody_deleted_are_made_and_written_anew_and_nobody_leaves() {
    let deleted = Deleted::records().await;
    let _cay = deleted.nodes.0.enter(&deleted.room, 3, "cay");
    assert_eq!(deleted.at_b.is_told(3).await[2], "+cay");
    deleted.all_are_seen(3).await;
}

#[tokio::test]
async fn records_that_are_deleted_while_nobody_comes_or_goes_are_written_anew() {
    Deleted::records().await.all_are_seen(2).await;
}

#[tokio::test]
async fn a_node_that_goes_on_as_another_life_keeps_its_clients() {
    let server = NatsServer::start().await;
    let settings = nats([server.url()], 1);
    let (a, b) = Node::pair(&settings).await;
    let room = channel("room");
    let at_b = b.listen(&room).await;
    let _stays: Vec<_> = (0..50).map(|n| a.enter(&room, n, &format!("user {n}"))).collect();
    at_b.is_told(50).await;
    a.life.send_replace("a~2".into());
    // Its own last life is cleaned up by whoever comes to it, itself included.
    let (by_a, by_b) = tokio::join!(a.presence.reap("a~1"), b.presence.reap("a~1"));
    assert!(by_a.is_ok() && by_b.is_ok());
    a.presence.settled().await;
    assert_eq!(b.presence.reap("a~1").await.unwrap(), 0, "something was written under a life that is over");
    b.sees(&room, 50).await;
    let third = Node::join(&settings, "c~1").await;
    third.sees(&room, 50).await;
    let told = at_b.told();
    let still_there = told.iter().filter(|word| word.starts_with('+')).count()
        - told.iter().filter(|word| word.starts_with('-')).count();
    assert_eq!(still_there, 50, "{told:?}");
}

#[tokio::test]
async fn who_left_after_its_node_began_another_life_is_seen_by_nobody() {
    let server = NatsServer::start().await;
    let settings = nats([server.url()], 1);
    let (a, b) = Node::pair(&settings).await;
    let room = channel("room");
    let at_b = b.listen(&room).await;
    let (ann, _bob) = (a.enter(&room, 1, "ann"), a.enter(&room, 2, "bob"));
    at_b.is_told(2).await;
    // Nobody has cleaned up after its first life yet.
    a.life.send_replace("a~2".into());
    let _cay = a.enter(&room, 3, "cay");
    assert_eq!(at_b.is_told(3).await[2], "+cay");
    a.presence.settled().await;
    drop(ann);
    assert_eq!(at_b.is_told(4).await[3], "-ann");
    // Neither by whoever reads the records only now, nor by its own node.
    let third = Node::join(&settings, "c~1").await;
    third.sees(&room, 2).await;
    a.sees(&room, 2).await;
    let at_third = third.listen(&room).await;
    third.sees(&room, 2).await;
    b.presence.reap("a~1").await.unwrap();
    let _dan = a.enter(&room, 4, "dan");
    assert_eq!(at_third.is_told(1).await, ["+dan"]);
    assert_eq!(at_b.is_told(5).await[4..], ["+dan"]);
}
