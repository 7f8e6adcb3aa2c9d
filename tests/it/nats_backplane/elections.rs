//! Leaders step down, die and hang: what was acknowledged stays, and what did not come out is told.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use midplane::backplane::{GapCause, Health, Scope};
use midplane::protocol::{Channel, Offset};
use serde_json::json;
use tokio::task::JoinHandle;
use tokio::time::Instant;

use super::{Operator, STREAM, join};
use crate::support::eventually;
use crate::support::member::{Member, channel, concerns, outgoing, text};
use crate::support::nats_server::NatsCluster;
use crate::support::nats_settings::nats;

const CHANNELS: usize = 64;

/// An offset and the data that was published.
type Acknowledged = (u64, String);

/// Publishes to many channels until it is told to stop; returns what was acknowledged.
struct Load {
    stop: Arc<AtomicBool>,
    publishers: Vec<JoinHandle<(Channel, Vec<Acknowledged>)>>,
}

impl Load {
    fn start(node: &Arc<Member>) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let publishers = (0..CHANNELS).map(|n| {
            let (stop, node, channel) = (Arc::clone(&stop), Arc::clone(node), channel(&format!("kept:load.{n}")));
            tokio::spawn(async move {
                let mut acknowledged = Vec::new();
                for n in 0.. {
                    if stop.load(Ordering::Relaxed) {
                        break;
                    }
                    let data = n.to_string();
                    let published = node.backplane.publish(&channel, outgoing(&data)).await.unwrap();
                    assert!(!published.suppressed);
                    acknowledged.push((published.position.unwrap().offset.0, data));
                    tokio::task::yield_now().await;
                }
                (channel, acknowledged)
            })
        });
        Self { publishers: publishers.collect(), stop }
    }

    async fn stop(self) -> HashMap<Channel, Vec<Acknowledged>> {
        self.stop.store(true, Ordering::Relaxed);
        let mut acknowledged = HashMap::new();
        for publisher in self.publishers {
            let (channel, offsets) = publisher.await.unwrap();
            acknowledged.insert(channel, offsets);
        }
        acknowledged
    }
}

async fn subscribed(settings: &midplane::settings::Nats) -> Arc<Member> {
    let node = Arc::new(join(settings).await);
    for n in 0..CHANNELS {
        node.subscribe(&channel(&format!("kept:load.{n}"))).await;
    }
    node
}

/// Waits until publications have arrived for a while.
async fn goes_on(node: &Member) {
    let channel = channel("kept:load.0");
    let before = node.messages(&channel).len();
    node.received(&channel, before + 50).await;
}

/// What was acknowledged is stored, each once, in order.
async fn all_is_stored(node: &Member, acknowledged: &HashMap<Channel, Vec<Acknowledged>>) {
    for (channel, wanted) in acknowledged {
        let last = wanted.last().unwrap().0;
        let stored = eventually("the history reaches the last acknowledged message", async || {
            let page = node.history().page(channel, Offset(1), 100_000).await.ok()?;
            let reached = page.messages.last().is_some_and(|message| message.offset.0 >= last);
            reached.then_some(page.messages)
        })
        .await;
        let stored: Vec<_> = stored.iter().map(|message| (message.offset.0, text(&message.data))).collect();
        assert_eq!(&stored, wanted, "{channel}");
    }
}

/// What was not delivered lies in a channel or namespace of which a gap was told; nothing came twice or out of order.
async fn losses_are_told(node: &Member, acknowledged: &HashMap<Channel, Vec<Acknowledged>>) {
    let elections = node.gaps().iter().any(|gap| gap.cause == GapCause::LeaderElected && concerns(gap, "kept"));
    let nudged: HashSet<Channel> = node
        .gaps()
        .into_iter()
        .filter_map(|gap| match gap.scope {
            Scope::Channel { channel, .. } if gap.cause == GapCause::Nudge => Some(channel),
            _ => None,
        })
        .collect();
    for (channel, wanted) in acknowledged {
        let delivered: Vec<u64> =
            node.messages(channel).iter().map(|message| message.link.expect("stored").offset.0).collect();
        assert!(delivered.windows(2).all(|pair| pair[0] < pair[1]), "{channel}: {delivered:?}");
        let delivered: HashSet<u64> = delivered.into_iter().collect();
        let missing = wanted.iter().filter(|(offset, _)| !delivered.contains(offset)).count();
        assert!(missing == 0 || elections || nudged.contains(channel), "{channel}: {missing} lost and nobody says so");
    }
}

#[tokio::test]
async fn a_leader_that_steps_down_loses_nothing_unsaid() {
    let cluster = NatsCluster::start().await;
    let settings = nats(cluster.urls(), 3);
    let (publisher, listener) = (subscribed(&settings).await, subscribed(&settings).await);
    let operator = Operator::of(&settings).await;
    listener.forget();
    let load = Load::start(&publisher);
    // About every third election swallows acknowledgements and deliveries of what was stored.
    for election in 0..40 {
        let before = listener.gaps().len();
        operator.leader().await;
        operator.ask(&format!("STREAM.LEADER.STEPDOWN.{STREAM}"), json!({})).await;
        eventually("the election is told", async || {
            let gaps = listener.gaps();
            gaps[before..].iter().any(|gap| gap.cause == GapCause::LeaderElected).then_some(())
        })
        .await;
        goes_on(&listener).await;
        if election >= 2 && listener.gaps().iter().any(|gap| gap.cause == GapCause::Nudge) {
            break;
        }
    }
    let acknowledged = load.stop().await;
    all_is_stored(&listener, &acknowledged).await;
    losses_are_told(&listener, &acknowledged).await;
    losses_are_told(&publisher, &acknowledged).await;
    assert!(listener.gaps().iter().all(|gap| gap.cause != GapCause::EpochChanged), "no step back");
    assert!(listener.gaps().iter().any(|gap| gap.cause == GapCause::Nudge), "no election swallowed an acknowledgement");
}

#[tokio::test]
async fn a_leader_that_is_killed_takes_nothing_acknowledged_with_it() {
    let mut cluster = NatsCluster::start().await;
    let settings = nats(cluster.urls(), 3);
    let (publisher, listener) = (subscribed(&settings).await, subscribed(&settings).await);
    let operator = Operator::of(&settings).await;
    let load = Load::start(&publisher);
    goes_on(&listener).await;
    let leader = operator.leader().await;
    listener.forget();
    publisher.forget();
    cluster.named(&leader).kill();
    listener.gap(GapCause::LeaderElected).await;
    goes_on(&listener).await;
    let acknowledged = load.stop().await;
    all_is_stored(&listener, &acknowledged).await;
    assert!(listener.gaps().iter().all(|gap| gap.cause != GapCause::EpochChanged), "no step back");
    cluster.named(&leader).restart().await;
}

#[tokio::test]
async fn reads_are_answered_while_a_follower_hangs() {
    let mut cluster = NatsCluster::start().await;
    let mut settings = nats(cluster.urls(), 3);
    let channels: Vec<_> = (0..10).map(|n| channel(&format!("kept:{n}"))).collect();
    let first = join(&settings).await;
    for channel in &channels {
        first.store(channel, "x").await;
    }
    first.backplane.close().await;
    let leader = Operator::of(&settings).await.leader().await;
    // Connected to the leader's server, so that what hangs is nothing but a replica.
    settings.servers = vec![cluster.named(&leader).url()];
    let node = join(&settings).await;
    let hung = ["n0", "n1", "n2"].into_iter().find(|name| *name != leader).unwrap();
    cluster.named(hung).pause().await;
    let bound = settings.read_timeout * 2 + Duration::from_secs(2);
    for round in 0..20 {
        let channel = &channels[round % channels.len()];
        let asked = Instant::now();
        assert_eq!(node.history().page(channel, Offset(1), 10).await.unwrap().messages.len(), 1);
        assert!(asked.elapsed() < bound, "{:?}", asked.elapsed());
        let floor = Offset(6);
        let newer = node.history().newer("kept", &channels, floor).await.unwrap().tops;
        assert_eq!(newer.len(), 5);
        assert!(asked.elapsed() < bound * 2, "{:?}", asked.elapsed());
        node.history().top(channel).await.unwrap();
    }
    node.store(&channels[0], "y").await;
    cluster.named(hung).resume();
}

#[tokio::test]
async fn a_lost_quorum_is_said_and_its_return_is_noticed() {
    let mut cluster = NatsCluster::start().await;
    let settings = nats([cluster.servers[0].url()], 3);
    let node = Arc::new(join(&settings).await);
    let kept = channel("kept:a");
    node.store(&kept, "x").await;
    cluster.servers[1].kill();
    cluster.servers[2].kill();
    let publishing = {
        let (node, kept) = (Arc::clone(&node), kept.clone());
        tokio::spawn(async move { node.backplane.publish(&kept, outgoing("y")).await })
    };
    let mut health = node.backplane.health();
    health.wait_for(|health| matches!(health, Health::Lost { why } if why.contains("no writes"))).await.unwrap();
    cluster.servers[1].restart_unready();
    cluster.servers[2].restart_unready();
    node.ready().await;
    // Either outcome may be told, but not a false one.
    let told = publishing.await.unwrap();
    assert!(told.is_ok() || matches!(told, Err(midplane::backplane::PublishError::Unknown(_))), "{told:?}");
    node.store(&kept, "z").await;
}
