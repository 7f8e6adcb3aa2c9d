//! What bounds how clients connect, and what users do.

use std::sync::Arc;

use anyhow::Context;

use crate::backplane::Backplane;
use crate::census::Census;
use crate::cluster::patiently;
use crate::presence::Presence;
use crate::session::{Limits, Turnstile, UserRates};
use crate::settings::{Bounds, Settings};
use crate::tasks::Tasks;
use crate::telemetry::Telemetry;

pub(super) const fn turnstile(bounds: Bounds) -> Turnstile {
    Turnstile::new(bounds.concurrency, bounds.queue, bounds.wait)
}

/// The limits that the settings ask for; what they need to run ends with `stop`.
pub(super) async fn limits(
    settings: &Settings,
    presence: &Arc<Presence>,
    backplane: &Arc<dyn Backplane>,
    telemetry: &Arc<Telemetry>,
    tasks: &Tasks,
) -> anyhow::Result<Limits> {
    let users = Arc::new(UserRates::new(&settings.client));
    tasks.run("rates of users", Arc::clone(&users).forget());
    let count = |limit| Census::new(limit, Arc::clone(presence), Arc::clone(backplane), Arc::clone(telemetry));
    let census = settings.client.user_connection_limit.map(count);
    if let Some(census) = &census
        && let Some(asked) =
            patiently(async || census.listen().await).await.context("questions about connections of users")?
    {
        tasks.run("questions about users", Arc::clone(census).answer(asked));
    }
    Ok(Limits { connects: Arc::new(turnstile(settings.client.connects)), users, census })
}
