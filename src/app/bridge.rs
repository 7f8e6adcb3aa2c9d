//! The bridge to servers behind Redis, in binaries that have it.

#[cfg(feature = "redis")]
use std::sync::Arc;

use super::base::Base;
use crate::settings::Redis;

/// This node's part in it.
#[derive(Default)]
pub(super) struct Bridging {
    #[cfg(feature = "redis")]
    bridge: Option<Arc<crate::bridge::Bridge>>,
}

/// Why no bridge can be made of `settings`, if none can.
#[cfg(feature = "redis")]
pub(super) fn check(settings: &Redis) -> Result<(), String> {
    crate::bridge::check(settings).map_err(|error| crate::causes::causes(&error))
}

/// Why no bridge can be made of `settings`.
#[cfg(not(feature = "redis"))]
pub(super) fn check(_: &Redis) -> Result<(), String> {
    Err("servers are set, and this binary was built without the bridge (cargo build --features redis, or the image)"
        .to_owned())
}

#[cfg(feature = "redis")]
impl Bridging {
    /// Begins to stand for election, where Redis is configured.
    pub(super) fn begin(base: &Base, api: &Arc<crate::api::Api>) -> anyhow::Result<Self> {
        let Base { settings, backplane, cluster, telemetry, tasks, .. } = base;
        let (Some(redis), Some(sockets)) = (&settings.redis, &api.socketio) else { return Ok(Self::default()) };
        let (sockets, backplane, telemetry) = (Arc::clone(sockets), Arc::clone(backplane), Arc::clone(telemetry));
        let bridge = crate::bridge::Bridge::new(redis, cluster, sockets, Arc::clone(api), backplane, telemetry)?;
        tasks.run("bridge to Redis", Arc::clone(&bridge).run());
        Ok(Self { bridge: Some(bridge) })
    }

    /// Leaves it to another node.
    pub(super) async fn resign(&self) {
        if let Some(bridge) = &self.bridge {
            bridge.resign().await;
        }
    }
}

#[cfg(not(feature = "redis"))]
impl Bridging {
    pub(super) fn begin(_: &Base, _: &std::sync::Arc<crate::api::Api>) -> anyhow::Result<Self> {
        Ok(Self::default())
    }

    pub(super) async fn resign(&self) {}
}
