#![no_main]

use std::collections::BTreeSet;
use std::sync::{Arc, LazyLock};
use std::time::Duration;

use async_trait::async_trait;
use libfuzzer_sys::fuzz_target;
use midplane::api::{Api, Method};
use midplane::backplane::embedded::Embedded;
use midplane::backplane::{Backplane, feed};
use midplane::cluster::{Cluster, Introduction, Reap, ReapError, Work};
use midplane::hooks::Hooks;
use midplane::hub::Connections;
use midplane::presence::Presence;
use midplane::relay::Relay;
use midplane::revocation::Revocations;
use midplane::settings::Settings;
use midplane::tasks::Tasks;
use midplane::telemetry::{Source, Telemetry};
use tokio::runtime::{Builder, Runtime};

/// Nobody leaves anything here.
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

static STAGE: LazyLock<(Runtime, Arc<Api>)> = LazyLock::new(|| {
    let runtime = Builder::new_current_thread().enable_all().build().expect("a runtime");
    let api = runtime.block_on(async {
        // Development mode: `chat` keeps history.
        let settings = Settings::from_toml("").expect("the defaults");
        let namespaces = &settings.channel.namespaces;
        let telemetry = Telemetry::new(namespaces);
        let (sender, _feeds) = feed::open(1);
        let backplane: Arc<dyn Backplane> = Embedded::new(namespaces, 1 << 20, sender);
        let relay = Relay::new(Arc::clone(&backplane), namespaces, Arc::clone(&telemetry));
        let hooks = Hooks::new(&settings.hooks, Arc::clone(&backplane), Arc::clone(&telemetry)).expect("no hooks");
        let introduction = Introduction {
            name: settings.node.name.clone(),
            address: "here".to_owned(),
            version: String::new(),
            capacity: None,
        };
        let joined = Cluster::join(
            Arc::clone(&backplane),
            &settings.cluster,
            introduction,
            Work::default,
            Arc::clone(&telemetry),
        );
        let cluster = joined.await.expect("alone in its cluster");
        let tasks = Tasks::new(|_| {});
        let presence = Presence::new(Arc::clone(&backplane), cluster.incarnation(), Arc::clone(&telemetry));
        presence.start(&tasks);
        let connections = Connections::new();
        let revocations = Revocations::new(Arc::clone(&backplane), Arc::clone(&connections), Duration::ZERO, telemetry);
        let api = Arc::new(Api {
            relay,
            presence,
            backplane,
            connections,
            channels: settings.channel.clone(),
            hooks: Arc::new(hooks),
            cluster: cluster.clone(),
            revocations,
            socketio: None,
        });
        cluster.start(Arc::new(Nothing), Arc::clone(&api) as _, &tasks).await.expect("nothing in the way");
        api
    });
    (runtime, api)
});

fuzz_target!(|input: &[u8]| {
    let Some((choice, body)) = input.split_first() else { return };
    let (runtime, api) = &*STAGE;
    let method = Method::ALL[usize::from(*choice) % Method::ALL.len()];
    runtime.block_on(async {
        let reply = api.call(method.name(), body, Source::Http).await.into_json();
        serde_json::from_slice::<serde::de::IgnoredAny>(&reply).expect("an answer in JSON");
        if let Ok(replies) = api.call_legacy(body, Source::Http).await {
            for line in replies.split(|byte| *byte == b'\n') {
                serde_json::from_slice::<serde::de::IgnoredAny>(line).expect("an answer in JSON on each line");
            }
        }
    });
});
