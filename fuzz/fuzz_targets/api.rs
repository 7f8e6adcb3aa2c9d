#![no_main]

use std::sync::{Arc, LazyLock};

use libfuzzer_sys::fuzz_target;
use midplane::api::{Api, Method};
use midplane::backplane::embedded::Embedded;
use midplane::backplane::{Backplane, feed};
use midplane::hooks::Hooks;
use midplane::hub::Connections;
use midplane::relay::Relay;
use midplane::settings::Settings;
use midplane::telemetry::{Source, Telemetry};
use tokio::runtime::{Builder, Runtime};

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
        let hooks = Hooks::new(&settings.hooks, Arc::clone(&backplane), telemetry).expect("no hooks");
        Api::new(relay, backplane, Connections::new(), Arc::new(hooks), &settings)
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
        if let Some(replies) = api.call_legacy(body, Source::Http).await {
            for line in replies.split(|byte| *byte == b'\n') {
                serde_json::from_slice::<serde::de::IgnoredAny>(line).expect("an answer in JSON on each line");
            }
        }
    });
});
