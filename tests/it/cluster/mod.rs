//! Nodes know each other, on real servers that die, hang and come back: who is there is the same everywhere, who is dead is
//! noticed once, and nobody is dead who lives.

mod alarms;
mod deaths;
mod lives;
mod operators;
mod orphans;
mod processes;
mod surveys;

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use midplane::backplane::Backplane;
use midplane::cluster::{Cluster, Introduction, Reap, ReapError, Respond, State, Work};
use midplane::settings;
use midplane::tasks::Tasks;
use midplane::telemetry::Telemetry;
use parking_lot::Mutex;
use serde_json::value::RawValue;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::support::eventually;
use crate::support::member::Member;
use crate::support::namespaces::registry;
use crate::support::nats_settings::connect;

const INTERVAL: Duration = Duration::from_millis(100);
const TIMEOUT: Duration = Duration::from_millis(1000);

/// A node that is nothing but a member of a cluster.
struct Fellow {
    name: String,
    cluster: Cluster,
    backplane: Arc<dyn Backplane>,
    telemetry: Arc<Telemetry>,
    reaper: Arc<Reaper>,
    stop: CancellationToken,
}

/// Remembers what it was asked to remove.
#[derive(Default)]
struct Reaper {
    asked: Mutex<Vec<String>>,
    /// It never gets it done.
    hangs: bool,
}

#[async_trait]
impl Reap for Reaper {
    async fn reap(&self, incarnation: &str) -> Result<usize, ReapError> {
        self.asked.lock().push(incarnation.to_owned());
        if self.hangs {
            std::future::pending::<()>().await;
        }
        Ok(0)
    }

    async fn lives(&self) -> Result<BTreeSet<String>, ReapError> {
        Ok(BTreeSet::new())
    }
}

/// Says its name, or as many names as one asks for.
struct Speaker(String);

#[async_trait]
impl Respond for Speaker {
    async fn respond(&self, question: &str, params: &RawValue) -> Option<Vec<Box<RawValue>>> {
        let times: usize = serde_json::from_str(params.get()).ok()?;
        let name = || RawValue::from_string(format!("\"{}\"", self.0)).unwrap();
        (question == "name").then(|| (0..times).map(|_| name()).collect())
    }
}

fn options() -> settings::Cluster {
    settings::Cluster { heartbeat_interval: INTERVAL, failure_detection_timeout: TIMEOUT, address: None }
}

impl Fellow {
    async fn join(nats: &settings::Nats, name: &str) -> Self {
        Self::join_with(nats, name, Reaper::default()).await
    }

    async fn join_with(nats: &settings::Nats, name: &str, reaper: Reaper) -> Self {
        Self::join_as(nats, name, reaper, &options()).await
    }

    /// At a pace that a busy machine keeps up with.
    async fn join_slow(nats: &settings::Nats, name: &str) -> Self {
        let heartbeat_interval = INTERVAL * 5;
        let options = settings::Cluster { heartbeat_interval, failure_detection_timeout: TIMEOUT * 5, ..options() };
        Self::join_as(nats, name, Reaper::default(), &options).await
    }

    async fn join_as(nats: &settings::Nats, name: &str, reaper: Reaper, options: &settings::Cluster) -> Self {
        let make = async |feed| connect(nats, &registry([]), feed).await.unwrap() as Arc<dyn Backplane>;
        Self::live(Member::start(make).await.backplane, name, reaper, options).await
    }

    async fn on(backplane: Arc<dyn Backplane>, name: &str, reaper: Reaper) -> Self {
        Self::live(backplane, name, reaper, &options()).await
    }

    async fn live(backplane: Arc<dyn Backplane>, name: &str, reaper: Reaper, options: &settings::Cluster) -> Self {
        let telemetry = Telemetry::new(&registry([]));
        let introduction = Introduction {
            name: name.to_owned(),
            address: "somewhere".to_owned(),
            version: "1.2.3".to_owned(),
            capacity: Some(10),
        };
        let work = || Work { clients: 7, ..Work::default() };
        let joining = Cluster::join(Arc::clone(&backplane), options, introduction, work, Arc::clone(&telemetry));
        let cluster = joining.await.unwrap();
        let (stop, reaper) = (CancellationToken::new(), Arc::new(reaper));
        let speaker = Arc::new(Speaker(name.to_owned()));
        cluster.start(Arc::clone(&reaper) as _, speaker, &Tasks::new(|_| {}).until(&stop)).await.unwrap();
        Self { name: name.to_owned(), cluster, backplane, telemetry, reaper, stop }
    }

    fn id(&self) -> String {
        self.cluster.incarnation().borrow().to_string()
    }

    /// Everybody it knows, with how they are.
    fn sees(&self) -> Vec<(String, State)> {
        self.cluster.members().into_iter().map(|member| (member.entry.name, member.entry.state)).collect()
    }

    fn reaped(&self) -> Vec<String> {
        self.reaper.asked.lock().clone()
    }

    /// A series of its metrics.
    fn counted(&self, series: &str) -> u64 {
        counted(&self.telemetry.render(), series)
    }

    async fn leave(&self) {
        self.cluster.leave(Instant::now() + Duration::from_secs(10)).await;
        self.backplane.close().await;
    }

    /// Ends it as a crash does: nothing is said.
    async fn die(&self) {
        self.stop.cancel();
        self.backplane.close().await;
    }
}

impl Drop for Fellow {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

/// The value of a series, 0 if there is none.
fn counted(metrics: &str, series: &str) -> u64 {
    let line = metrics.lines().find_map(|line| line.strip_prefix(series)?.strip_prefix(' '));
    line.map_or(0, |value| value.parse::<f64>().unwrap() as u64)
}

const VERDICTS: &str = "midplane_cluster_verdicts_total{result=\"failed\"}";
const REJOINS: &str = "midplane_cluster_rejoins_total";

/// Waits until all of `fellows` see the same, and that is `expected`.
async fn agree(fellows: &[&Fellow], expected: &[(&str, State)]) {
    for fellow in fellows {
        let what = format!("{} sees {expected:?}", fellow.name);
        eventually(&what, async || {
            let sees = fellow.sees();
            let same = sees.iter().map(|(name, state)| (name.as_str(), *state)).eq(expected.iter().copied());
            same.then_some(())
        })
        .await;
    }
}

/// Nobody was declared dead, and nobody had to join anew.
fn no_alarm(fellows: &[&Fellow]) {
    for fellow in fellows {
        assert_eq!((fellow.counted(VERDICTS), fellow.counted(REJOINS)), (0, 0), "{}", fellow.name);
        assert!(fellow.sees().iter().all(|(_, state)| state.is_live()), "{:?}", fellow.sees());
    }
}

/// Lets `count` heartbeats of each go by, as `watcher` hears them.
async fn heartbeats(watcher: &Fellow, count: u64) {
    const HEARD: &str = "midplane_cluster_heartbeats_total{result=\"heard\"}";
    let before = watcher.counted(HEARD);
    let peers = watcher.sees().len() as u64;
    eventually("heartbeats are heard", async || (watcher.counted(HEARD) >= before + count * peers).then_some(())).await;
}
