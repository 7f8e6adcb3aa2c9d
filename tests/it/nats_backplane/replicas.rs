//! Recovery reads from whichever replica answers. One that has just come back from hanging answers with what it had
//! before, and nobody may take that for everything.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use futures_util::future::join_all;
use midplane::backplane::faults::{Faults, Faulty};
use midplane::backplane::{Backplane, feed};
use midplane::protocol::{Channel, Offset, Position};
use midplane::relay::{JoinError, Joined, Outcome, Relay, Since, Wish};
use midplane::settings;
use midplane::tasks::Tasks;
use midplane::telemetry::Telemetry;
use parking_lot::Mutex;
use tokio::task::JoinHandle;
use tokio_util::sync::{CancellationToken, DropGuard};

use super::{Operator, join, namespaces};
use crate::support::eventually;
use crate::support::listener::Ear;
use crate::support::member::{Member, channel};
use crate::support::nats_server::NatsCluster;
use crate::support::nats_settings::{connect, nats};

const CHANNELS: usize = 10;
/// Publications to each channel while the follower hangs.
const MISSED: usize = 15;
const READERS: usize = 3;
/// How often it is tried to catch a replica that lags.
const ROUNDS: usize = 20;

/// A node whose clients recover, and which counts the pages that ended before what was acknowledged.
struct Reader {
    relay: Arc<Relay>,
    newest: Arc<Mutex<HashMap<Channel, Offset>>>,
    stale: Arc<AtomicUsize>,
    _stop: DropGuard,
}

impl Reader {
    async fn join(settings: &settings::Nats) -> Self {
        let (sender, feeds) = feed::open(2);
        let namespaces = namespaces();
        let nats = connect(settings, &namespaces, sender).await.unwrap();
        let faults = Arc::new(Faults::default());
        let newest: Arc<Mutex<HashMap<Channel, Offset>>> = Arc::default();
        let stale = Arc::new(AtomicUsize::new(0));
        let (known, count) = (Arc::clone(&newest), Arc::clone(&stale));
        faults.look_on(move |channel, page| {
            let reached = page.messages.last().map(|message| message.offset);
            if !page.more && reached < known.lock().get(channel).copied() {
                count.fetch_add(1, Ordering::Relaxed);
            }
        });
        let (backplane, feeds) = Faulty::around(nats, feeds, faults);
        let relay = Relay::new(backplane as Arc<dyn Backplane>, &namespaces, Telemetry::new(&namespaces));
        let stop = CancellationToken::new();
        relay.start(feeds, &Tasks::new(|_| {}).until(&stop));
        Self { relay, newest, stale, _stop: stop.drop_guard() }
    }

    /// A client that returns to `channel` from `since`.
    fn recover(
        &self,
        channel: &Channel,
        since: &Position,
    ) -> impl Future<Output = (Ear, Result<Joined, JoinError>)> + use<> {
        let (relay, channel) = (Arc::clone(&self.relay), channel.clone());
        let since = Some(Since { offset: since.offset, epoch: since.epoch.as_str().to_owned() });
        async move {
            let ear = Ear::new();
            let wish = Wish { since, positioned: true, max_publications: 1000, max_bytes: 64 << 20, ..Wish::default() };
            let namespace = Arc::clone(&namespaces().0["kept"]);
            let joined = relay.join(&channel, &namespace, &wish, &ear.outbox).await;
            (ear, joined)
        }
    }
}

/// What was stored before and while the follower hung.
struct Missed {
    channels: Vec<Channel>,
    /// Of each publication, in each channel.
    positions: Vec<Vec<Position>>,
}

impl Missed {
    /// Begins with one publication in each channel.
    async fn begin(publisher: &Member, round: usize) -> Self {
        let channels = (0..CHANNELS).map(|n| channel(&format!("kept:lag.{round}.{n}"))).collect();
        let mut missed = Self { channels, positions: Vec::new() };
        missed.publish(publisher).await;
        missed
    }

    /// Stores one publication in each channel; many of them take a replica a while.
    async fn publish(&mut self, publisher: &Member) {
        let data = format!("\"{}\"", "x".repeat(20_000));
        let published = join_all(self.channels.iter().map(async |channel| publisher.publish(channel, &data).await));
        self.positions.push(published.await.into_iter().map(|one| one.position.expect("stored")).collect());
    }

    /// Clients on all readers return to every channel, from every third position.
    fn recover(&self, readers: &[Reader]) -> Vec<JoinHandle<Returned>> {
        for (channel, newest) in self.channels.iter().zip(self.positions.last().expect("published")) {
            for reader in readers {
                reader.newest.lock().insert(channel.clone(), newest.offset);
            }
        }
        let returning = (0..MISSED).step_by(3).flat_map(|had| (0..CHANNELS).map(move |n| (had, n)));
        let recoveries = returning.enumerate().map(|(index, (had, n))| {
            let recovery = readers[index % READERS].recover(&self.channels[n], &self.positions[had][n]);
            tokio::spawn(async move { Returned { n, had, outcome: recovery.await } })
        });
        recoveries.collect()
    }

    /// What comes after the `had`th in channel `n`.
    fn after(&self, had: usize, n: usize) -> Vec<Offset> {
        self.positions[had + 1..].iter().map(|at| at[n].offset).collect()
    }
}

/// A client that came back.
struct Returned {
    n: usize,
    had: usize,
    outcome: (Ear, Result<Joined, JoinError>),
}

/// Everybody has everything or was refused; and between what was recovered and what comes then nothing is missing.
/// Returns how many have everything.
async fn all_or_nothing(missed: &Missed, recoveries: Vec<JoinHandle<Returned>>, publisher: &Member) -> usize {
    let mut recovered = 0;
    let mut listening = Vec::new();
    for recovery in recoveries {
        let Returned { n, had, outcome: (ear, joined) } = recovery.await.unwrap();
        // The client is told to try again.
        let Ok(joined) = joined else { continue };
        match &joined.outcome {
            Outcome::Recovered(messages) => {
                let offsets: Vec<_> = messages.iter().map(|message| message.offset).collect();
                assert_eq!(offsets, missed.after(had, n), "{} from {had}", missed.channels[n]);
                recovered += 1;
            }
            Outcome::Refused(_) => {}
            Outcome::Fresh => panic!("recovery was asked for"),
        }
        drop(joined.hold);
        listening.push((n, ear, joined.membership));
    }
    for (n, channel) in missed.channels.iter().enumerate() {
        publisher.publish(channel, &n.to_string()).await;
    }
    for (n, ear, _membership) in &listening {
        eventually("what is published then is heard", async || (!ear.heard().is_empty()).then_some(())).await;
        assert_eq!(ear.heard(), [*n as u64], "nothing else, and nothing twice");
        assert!(ear.requests().is_empty(), "nobody was told of a loss");
    }
    recovered
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_replica_that_lags_answers_is_never_taken_for_everything() {
    let mut cluster = NatsCluster::start().await;
    let settings = nats(cluster.urls(), 3);
    join(&settings).await.backplane.close().await;
    let leader = Operator::of(&settings).await.leader().await;
    let lagging = ["n0", "n1", "n2"].into_iter().find(|name| *name != leader).unwrap();
    let publisher = join(&settings::Nats { servers: vec![cluster.named(&leader).url()], ..settings.clone() }).await;
    // Patient enough to stay with their server, and to hear what it has to say.
    let of_reader = settings::Nats {
        servers: vec![cluster.named(lagging).url()],
        ping_interval: Duration::from_secs(60),
        read_timeout: Duration::from_secs(2),
        ..settings
    };
    let readers = join_all((0..READERS).map(|_| Reader::join(&of_reader))).await;

    let mut recovered = 0;
    for round in 0..ROUNDS {
        let mut missed = Missed::begin(&publisher, round).await;
        cluster.named(lagging).pause().await;
        for _ in 0..MISSED {
            missed.publish(&publisher).await;
        }
        // They ask while it hangs, and are answered the moment it goes on.
        let recoveries = missed.recover(&readers);
        cluster.named(lagging).resume();
        recovered += all_or_nothing(&missed, recoveries, &publisher).await;
        let stale: usize = readers.iter().map(|reader| reader.stale.load(Ordering::Relaxed)).sum();
        if round >= 4 && stale > 0 {
            assert!(recovered > 0, "everybody was refused");
            return;
        }
    }
    panic!("no replica was caught lagging");
}
