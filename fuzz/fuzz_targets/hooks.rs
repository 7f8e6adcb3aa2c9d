#![no_main]

use std::sync::{Arc, LazyLock};
use std::time::Duration;

use bytes::Bytes;
use libfuzzer_sys::fuzz_target;
use midplane::backplane::{
    Answer, Backplane, Broadcast, Bucket, Delivery, Health, History, Outgoing, Presences, PublishError, Published,
    Registry, Request, RequestError, Requests, SubscribeError,
};
use midplane::hooks::{Caller, Hooks};
use midplane::protocol::Channel;
use midplane::protocol::centrifuge::Encoding;
use midplane::settings::{self, Hook, HookEndpoint, Settings};
use midplane::telemetry::Telemetry;
use parking_lot::Mutex;
use tokio::runtime::{Builder, Runtime};
use tokio::sync::{mpsc, watch};

/// A service that answers everything with the same bytes.
#[derive(Default)]
struct Service(Mutex<Bytes>);

static STAGE: LazyLock<(Runtime, Hooks, Arc<Service>)> = LazyLock::new(|| {
    let runtime = Builder::new_current_thread().enable_all().build().expect("a runtime");
    let service = Arc::new(Service::default());
    let hook = || {
        let endpoint = HookEndpoint::Nats("hooks.any".to_owned());
        let timeout = Duration::from_secs(1);
        Some(Hook { endpoint, timeout, http_headers: Vec::new(), static_headers: Default::default() })
    };
    let settings = settings::Hooks {
        connect: hook(),
        refresh: hook(),
        subscribe: hook(),
        publish: hook(),
        sub_refresh: hook(),
        rpc: settings::Rpc { enabled: true, timeout: Duration::from_secs(1) },
    };
    let telemetry = Telemetry::new(&Settings::from_toml("").expect("the defaults").channel.namespaces);
    let backplane = Arc::clone(&service) as Arc<dyn Backplane>;
    (runtime, Hooks::new(&settings, backplane, telemetry).expect("hooks"), service)
});

fuzz_target!(|answer: &[u8]| {
    let (runtime, hooks, service) = &*STAGE;
    *service.0.lock() = Bytes::copy_from_slice(answer);
    for encoding in [Encoding::Json, Encoding::Protobuf] {
        let caller = Caller {
            client: "c",
            user: "ada",
            transport: "websocket",
            encoding,
            namespace: "",
            headers: &[],
            meta: Some(answer),
        };
        runtime.block_on(async {
            let _ = hooks.connect(&caller, "name", "1", &["chat:a"], answer).await;
            let _ = hooks.refresh(&caller).await;
            let _ = hooks.subscribe(&caller, "chat:a", "token", answer).await;
            let _ = hooks.publish(&caller, "chat:a", answer).await;
            let _ = hooks.sub_refresh(&caller, "chat:a").await;
            if let Ok(data) = hooks.rpc(&caller, "sum", Bytes::copy_from_slice(answer)).await {
                let is_json = data.is_empty() || serde_json::from_slice::<serde::de::IgnoredAny>(&data).is_ok();
                assert!(encoding == Encoding::Protobuf || is_json, "a JSON client gets JSON, or nothing");
            }
        });
    }
});

#[async_trait::async_trait]
impl Requests for Service {
    async fn request(&self, _: &str, _: &[(&str, &str)], _: Bytes, _: Duration) -> Result<Answer, RequestError> {
        Ok(Answer { headers: Vec::new(), body: self.0.lock().clone() })
    }

    async fn tell(&self, _: &str, _: &[(&str, &str)], _: Bytes) -> Result<(), RequestError> {
        Ok(())
    }

    async fn serve(&self, _: &str, _: usize) -> Result<mpsc::Receiver<Request>, SubscribeError> {
        Err(SubscribeError::Unavailable("nobody asks".to_owned()))
    }
}

#[async_trait::async_trait]
impl Backplane for Service {
    async fn publish(&self, _: &Channel, _: Outgoing) -> Result<Published, PublishError> {
        Ok(Published::default())
    }

    async fn subscribe(&self, _: &Channel) -> Result<(), SubscribeError> {
        Ok(())
    }

    fn unsubscribe(&self, _: &Channel) {}

    async fn overhear(&self, namespace: &str) -> Result<mpsc::Receiver<Delivery>, SubscribeError> {
        Err(SubscribeError::Unavailable(namespace.to_owned()))
    }

    fn history(&self) -> Option<&dyn History> {
        None
    }

    fn requests(&self) -> Option<&dyn Requests> {
        Some(self)
    }

    fn broadcast(&self) -> &dyn Broadcast {
        unreachable!("nothing is told to nodes here")
    }

    fn presences(&self) -> Option<&dyn Presences> {
        None
    }

    fn registry(&self, _: Bucket) -> &dyn Registry {
        unreachable!("nodes share nothing here")
    }

    fn health(&self) -> watch::Receiver<Health> {
        watch::channel(Health::Ready).1
    }

    async fn close(&self) {}
}
