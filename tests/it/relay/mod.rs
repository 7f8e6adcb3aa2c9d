//! The relay heals what the backplane loses, or tells those who were promised to be told.

mod healing;
mod joining;
mod order;
mod parked;
mod reading;
mod storms;

use std::ops::RangeInclusive;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use midplane::backplane::embedded::Embedded;
use midplane::backplane::faults::{Fate, Faults, Faulty};
use midplane::backplane::{Backplane, Gap, GapCause, History, Incoming, Outgoing, PublishError, Scope, feed};
use midplane::hub::{Control, Turnstile};
use midplane::protocol::{Channel, Offset, Position};
use midplane::relay::{Joined, Membership, Outcome, Refusal, Relay, Since, Wish};
use midplane::settings::{Namespace, Namespaces, RecoveryMode};
use midplane::tasks::Tasks;
use midplane::telemetry::{Source, Telemetry};
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

use crate::support::listener::Ear;
use crate::support::{PATIENCE, eventually, namespaces};

/// A relay on an embedded backplane that fails when told to.
struct Stage {
    relay: Arc<Relay>,
    backplane: Arc<Faulty>,
    faults: Arc<Faults>,
    namespaces: Namespaces,
    telemetry: Arc<Telemetry>,
    stop: CancellationToken,
}

impl Stage {
    /// `chat` keeps 10 publications, `live` none.
    fn set() -> Self {
        Self::set_with([namespaces::open("chat", Some(10)), namespaces::open("live", None)])
    }

    fn set_with(namespaces: impl IntoIterator<Item = Namespace>) -> Self {
        Self::bounded(namespaces, Turnstile::new(64, 64, PATIENCE))
    }

    fn bounded(namespaces: impl IntoIterator<Item = Namespace>, recoveries: Turnstile) -> Self {
        Self::of(2, namespaces, recoveries)
    }

    fn of(partitions: usize, namespaces: impl IntoIterator<Item = Namespace>, recoveries: Turnstile) -> Self {
        let namespaces = namespaces::registry(namespaces);
        let (sender, feeds) = feed::open(partitions);
        let faults = Arc::new(Faults::default());
        let embedded = Embedded::new(&namespaces, 1 << 20, sender);
        let (backplane, feeds) = Faulty::around(embedded, feeds, Arc::clone(&faults));
        let telemetry = Telemetry::new(&namespaces);
        let backplane_of_relay = Arc::clone(&backplane) as Arc<dyn Backplane>;
        let relay = Relay::bounded(backplane_of_relay, &namespaces, recoveries, Arc::clone(&telemetry));
        let stop = CancellationToken::new();
        relay.start(feeds, &Tasks::new(|_| {}).until(&stop));
        Self { relay, backplane, faults, namespaces, telemetry, stop }
    }

    /// The lines of the metrics of gaps, as an operator sees them, sorted: a scrape has no order.
    fn gaps(&self) -> Vec<String> {
        let metrics = self.telemetry.render();
        let gaps = metrics.lines().filter(|line| line.starts_with("midplane_gaps") && !line.ends_with(" 0"));
        let mut gaps: Vec<_> = gaps.map(str::to_owned).collect();
        gaps.sort();
        gaps
    }

    async fn join(&self, ear: &Ear, channel: &str, since: Option<&Position>) -> Joined {
        self.join_as(ear, channel, since, true).await
    }

    async fn join_as(&self, ear: &Ear, channel: &str, since: Option<&Position>, positioned: bool) -> Joined {
        let channel = channel_of(channel);
        let namespace = self.namespaces.of(&channel).expect("a namespace of the stage");
        let since = since.map(|at| Since { offset: at.offset, epoch: at.epoch.as_str().to_owned() });
        let wish = Wish { since, positioned, ..wish() };
        self.relay.join(&channel, namespace, &wish, &ear.outbox).await.expect("joins")
    }

    /// Joins without a position, and listens from then on.
    async fn listen(&self, ear: &Ear, channel: &str) -> Membership {
        let joined = self.join(ear, channel, None).await;
        drop(joined.hold);
        joined.membership
    }

    /// Publishes `first` to `chat:room`, of which 1 is lost, and `then` while the page that is to heal it is read already:
    /// one that ends `lag` messages before the newest. The next page comes from a replica that has everything.
    async fn publish_around_a_page(&self, lag: usize, first: RangeInclusive<u64>, then: RangeInclusive<u64>) {
        self.faults.judge(|message| if number(message) == 1 { Fate::Drop } else { Fate::Pass });
        self.faults.history_lag.store(lag, Ordering::SeqCst);
        self.faults.history_held.send_replace(true);
        self.publish("chat:room", first).await;
        self.faults.history_read.notified().await;
        self.publish("chat:room", then).await;
        self.faults.history_lag.store(0, Ordering::SeqCst);
        self.faults.history_held.send_replace(false);
    }

    async fn publish(&self, channel: &str, numbers: impl IntoIterator<Item = u64>) -> Option<Position> {
        let mut last = None;
        for number in numbers {
            let message = Outgoing { data: number.to_string().into(), ..Outgoing::default() };
            last = self.relay.publish(&channel_of(channel), message, Source::Http).await.expect("publishes").position;
        }
        last
    }
}

impl Drop for Stage {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

fn wish() -> Wish {
    Wish { max_publications: 100, max_bytes: 1 << 20, ..Wish::default() }
}

fn channel_of(name: &str) -> Channel {
    Channel::parse(name, 255).expect("a channel name")
}

fn number(message: &Incoming) -> u64 {
    String::from_utf8_lossy(&message.data).parse().expect("a number")
}

fn recovered(joined: &Joined) -> Result<Vec<u64>, Refusal> {
    match &joined.outcome {
        Outcome::Recovered(messages) => Ok(messages
            .iter()
            .map(|message| String::from_utf8_lossy(&message.data).parse().expect("a number"))
            .collect()),
        Outcome::Refused(refusal) => Err(*refusal),
        Outcome::Fresh => panic!("recovery was asked for"),
    }
}

/// Waits until the listener was told that something of the channel is lost.
async fn is_told_of_a_loss(ear: &Ear, channel: &str) {
    let requests =
        eventually("the loss is told", async || Some(ear.requests()).filter(|asked| !asked.is_empty())).await;
    assert_eq!(requests, [Control::Lost(channel_of(channel))]);
}

async fn hears(ear: &Ear, numbers: impl IntoIterator<Item = u64>) {
    let expected: Vec<u64> = numbers.into_iter().collect();
    eventually("everything is heard", async || (ear.heard().len() >= expected.len()).then_some(())).await;
    assert_eq!(ear.heard(), expected);
}
