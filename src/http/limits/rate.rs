//! How many handshakes one address may try.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::ConnectInfo;
use axum::http::{Request, StatusCode};
use axum::response::IntoResponse;
use tower_governor::governor::GovernorConfigBuilder;
use tower_governor::key_extractor::KeyExtractor;
use tower_governor::{GovernorError, GovernorLayer};

use super::address::{TrustedProxies, customer};
use crate::http::refusal::Refusal;
use crate::settings::Rate;

/// How often addresses that were quiet for long enough are forgotten.
const FORGET_EVERY: Duration = Duration::from_secs(60);

/// Puts a token bucket per client address in front of every route of `routers`, one for all. Needs a runtime.
pub fn limited<const N: usize>(routers: [Router; N], rate: Rate, proxies: Arc<TrustedProxies>) -> [Router; N] {
    let period = Duration::try_from_secs_f64(1.0 / rate.per_second).unwrap_or(Duration::MAX);
    let config = GovernorConfigBuilder::default()
        .period(period.max(Duration::from_nanos(1)))
        .burst_size(rate.burst.max(1))
        .key_extractor(ByAddress(proxies))
        .finish()
        .expect("neither the period nor the burst is zero");
    // The buckets of addresses that never come back would pile up. The task ends with the router.
    let buckets = Arc::downgrade(config.limiter());
    tokio::spawn(async move {
        let mut ticks = tokio::time::interval(FORGET_EVERY);
        loop {
            ticks.tick().await;
            let Some(buckets) = buckets.upgrade() else { break };
            buckets.retain_recent();
        }
    });
    let layer = GovernorLayer::new(config).error_handler(|error| match error {
        GovernorError::TooManyRequests { wait_time, .. } => {
            Refusal::RateLimited { seconds: wait_time.max(1) }.into_response()
        }
        GovernorError::UnableToExtractKey | GovernorError::Other { .. } => {
            Refusal::Plain(StatusCode::INTERNAL_SERVER_ERROR, "the client's address is unknown").into_response()
        }
    });
    routers.map(|router| router.layer(layer.clone()))
}

#[derive(Debug, Clone)]
struct ByAddress(Arc<TrustedProxies>);

impl KeyExtractor for ByAddress {
    type Key = IpAddr;

    fn extract<T>(&self, request: &Request<T>) -> Result<IpAddr, GovernorError> {
        let ConnectInfo(peer) =
            request.extensions().get::<ConnectInfo<SocketAddr>>().ok_or(GovernorError::UnableToExtractKey)?;
        Ok(customer(self.0.client(peer.ip(), request.headers())))
    }
}
