use std::num::NonZeroUsize;

use tokio::sync::watch;
use tokio_util::sync::{CancellationToken, DropGuard};

use super::*;
use crate::backplane::embedded::Embedded;
use crate::backplane::feed;
use crate::hub::outbox::Backlog;
use crate::protocol::centrifuge::Format;
use crate::settings::Namespaces;
use crate::tasks::Tasks;

fn alone(most: usize, overflow: ConnectionOverflow) -> (Arc<Census>, DropGuard) {
    let namespaces = Namespaces(std::collections::HashMap::new());
    let (sender, _) = feed::open(1);
    let backplane = Embedded::new(&namespaces, 1 << 20, sender);
    let telemetry = Telemetry::new(&namespaces);
    let (_, life) = watch::channel(Arc::from("node~1"));
    let presence = Presence::new(Arc::clone(&backplane) as _, life, Arc::clone(&telemetry));
    let stop = CancellationToken::new();
    presence.start(&Tasks::new(|_| {}).until(&stop));
    let limit = ConnectionLimit { most: NonZeroUsize::new(most).unwrap(), overflow };
    (Census::new(limit, presence, backplane, telemetry), stop.drop_guard())
}

fn outbox() -> Arc<Outbox> {
    Outbox::new(Format::WebSocketJson, 1 << 20, Backlog::default())
}

async fn enter(census: &Census, client: u128) -> Result<Place, NoPlace> {
    census.enter("ann", Uuid::from_u128(client), &outbox()).await
}

#[tokio::test]
async fn whoever_comes_is_refused_until_somebody_leaves() {
    let (census, _stop) = alone(2, ConnectionOverflow::Refuse);
    let first = enter(&census, 1).await.unwrap();
    let _second = enter(&census, 2).await.unwrap();
    assert_eq!(enter(&census, 3).await.err(), Some(NoPlace::Full));
    assert!(census.enter("bob", Uuid::from_u128(4), &outbox()).await.is_ok(), "another user");
    drop(first);
    assert!(enter(&census, 5).await.is_ok());
}

#[tokio::test]
async fn whoever_comes_has_the_oldest_one_closed() {
    let (census, _stop) = alone(2, ConnectionOverflow::Replace);
    let outboxes = [outbox(), outbox(), outbox()];
    let mut places = Vec::new();
    for (client, outbox) in (1..).zip(&outboxes) {
        places.push(census.enter("ann", Uuid::from_u128(client), outbox).await.unwrap());
    }
    let asked = outboxes.map(|outbox| outbox.take_requests().0.len());
    assert_eq!(asked, [1, 0, 0]);
}

#[tokio::test]
async fn at_once_no_more_come_in_than_may() {
    let (census, _stop) = alone(3, ConnectionOverflow::Refuse);
    let entered = futures_util::future::join_all((0..20).map(|client| enter(&census, client))).await;
    assert_eq!(entered.iter().filter(|place| place.is_ok()).count(), 3);
}

#[test]
fn every_user_has_a_channel_that_no_namespace_can_hold() {
    let channels = ["ann", "a\nb*.>", "", &"x".repeat(9999)].map(channel_of);
    assert!(channels.iter().all(|channel| channel.namespace() == "~users" && channel.as_str().len() == 39));
    assert_ne!(channels[0], channels[1]);
}
