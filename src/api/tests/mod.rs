//! The API on an embedded backplane.

mod batch;
mod history;
mod legacy;
mod node;
mod publish;
mod requests;
mod rubbish;

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use futures_util::FutureExt;

use super::Api;
use crate::backplane::embedded::Embedded;
use crate::backplane::{Backplane, feed};
use crate::cluster::{Cluster, Introduction, Reap, ReapError, Work};
use crate::hooks::Hooks;
use crate::hub::Connections;
use crate::presence::Presence;
use crate::relay::Relay;
use crate::revocation::Revocations;
use crate::settings::Settings;
use crate::tasks::Tasks;
use crate::telemetry::{Source, Telemetry};

/// `chat` keeps 3 publications, `live` none; the others differ in what they let in.
const SETTINGS: &str = r#"
    http.bind = "127.0.0.1:0"
    http_api.key = "a key for the tests"
    node.name = "ada"

    [[channel.namespaces]]
    name = "chat"
    history_size = 3
    history_ttl = "10m"
    presence = true

    [[channel.namespaces]]
    name = "live"

    [[channel.namespaces]]
    name = "json"
    publication_data_format = "json"

    [[channel.namespaces]]
    name = "object"
    publication_data_format = "json_object"

    [[channel.namespaces]]
    name = "binary"
    publication_data_format = "binary"
    history_size = 3
    history_ttl = "10m"
"#;

/// An API whose relay runs until the end of the test.
pub(crate) struct Stage {
    pub api: Arc<Api>,
    pub presence: Arc<Presence>,
    pub settings: Settings,
    pub telemetry: Arc<Telemetry>,
    tasks: Tasks,
}

impl Stage {
    pub fn set() -> Self {
        Self::set_on(|embedded| embedded)
    }

    /// On a backplane of one's own around the embedded one.
    pub fn set_on(around: impl FnOnce(Arc<dyn Backplane>) -> Arc<dyn Backplane>) -> Self {
        let settings = Settings::from_toml(SETTINGS).unwrap();
        let namespaces = &settings.channel.namespaces;
        let telemetry = Telemetry::new(namespaces);
        let (sender, feeds) = feed::open(1);
        let embedded: Arc<dyn Backplane> = Embedded::new(namespaces, 1 << 20, sender);
        let backplane = around(Arc::clone(&embedded));
        let relay = Relay::new(Arc::clone(&backplane), namespaces, Arc::clone(&telemetry));
        let tasks = Tasks::new(|_| {});
        relay.start(feeds, &tasks);
        let hooks = Hooks::new(&settings.hooks, Arc::clone(&backplane), Arc::clone(&telemetry)).unwrap();
        let cluster = member(Arc::clone(&embedded), &settings, &relay, &telemetry);
        let presence = Presence::new(Arc::clone(&backplane), cluster.incarnation(), Arc::clone(&telemetry));
        presence.start(&tasks);
        let connections = Connections::new();
        let revocations =
            Revocations::new(Arc::clone(&backplane), Arc::clone(&connections), Duration::ZERO, Arc::clone(&telemetry));
        let api = Arc::new(Api {
            relay,
            presence: Arc::clone(&presence),
            backplane,
            connections,
            channels: settings.channel.clone(),
            hooks: Arc::new(hooks),
            cluster: cluster.clone(),
            revocations,
            socketio: None,
        });
        let started = cluster.start(Arc::new(Nothing), Arc::clone(&api) as _, &tasks);
        started.now_or_never().expect("the embedded backplane never waits").unwrap();
        Self { api, presence, settings, telemetry, tasks }
    }

    /// The answer's JSON, with epochs written as `EPOCH`.
    pub async fn call(&self, method: &str, body: &str) -> String {
        let reply = self.api.call(method, body.as_bytes(), Source::Http).await.into_json();
        without_epochs(std::str::from_utf8(&reply).unwrap())
    }
}

/// A node that is alone in its cluster.
fn member(
    embedded: Arc<dyn Backplane>,
    settings: &Settings,
    relay: &Arc<Relay>,
    telemetry: &Arc<Telemetry>,
) -> Cluster {
    let introduction = Introduction {
        name: settings.node.name.clone(),
        address: "here".to_owned(),
        version: env!("CARGO_PKG_VERSION").to_owned(),
        capacity: None,
    };
    let relay = Arc::clone(relay);
    let work = move || Work {
        channels: relay.tally().channels() as u64,
        subscriptions: relay.tally().subscriptions() as u64,
        ..Work::default()
    };
    let joining = Cluster::join(embedded, &settings.cluster, introduction, work, Arc::clone(telemetry));
    joining.now_or_never().expect("the embedded backplane never waits").unwrap()
}

/// Leaves no traces.
struct Nothing;

#[async_trait]
impl Reap for Nothing {
    async fn reap(&self, _: &str) -> Result<usize, ReapError> {
        Ok(0)
    }

    async fn lives(&self) -> Result<BTreeSet<String>, ReapError> {
        Ok(BTreeSet::new())
    }
}

impl Drop for Stage {
    fn drop(&mut self) {
        self.tasks.stop();
    }
}

/// Epochs are made anew by every backplane.
pub(crate) fn without_epochs(json: &str) -> String {
    let epoch = regex::Regex::new(r#""epoch":"[^"]+""#).unwrap();
    epoch.replace_all(json, r#""epoch":"EPOCH""#).into_owned()
}
