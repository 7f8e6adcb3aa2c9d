//! How often one address may ask for something.

use std::net::SocketAddr;
use std::sync::Arc;

use axum::Router;
use axum::extract::ConnectInfo;
use axum::http::{Request, StatusCode};
use axum::response::IntoResponse;
use tower_governor::governor::GovernorConfigBuilder;
use tower_governor::key_extractor::KeyExtractor;
use tower_governor::{GovernorError, GovernorLayer};
use tracing::warn;

use super::address::{TrustedProxies, customer};
use crate::http::refusal::Refusal;
use crate::session::{FORGET_EVERY, Places};
use crate::settings::Rate;
use crate::telemetry::{LimitScope, Pace};

/// What is limited for each address.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AddressLimit {
    Handshakes,
    /// What clients on streams say.
    Posts,
    /// Requests for sessions that are not there.
    Misses,
    /// Calls of the server API.
    Calls,
}

impl AddressLimit {
    /// What is said to whoever asks too often.
    #[must_use]
    pub const fn message(self) -> &'static str {
        match self {
            Self::Handshakes => "too many handshakes from this address (http.handshake_rate)",
            Self::Posts => "too many posts from this address (emulation.rate)",
            Self::Misses => "too many requests from this address for sessions that are not there (emulation.rate)",
            Self::Calls => "too many calls from this address (http_api.rate)",
        }
    }

    /// What it is counted as.
    #[must_use]
    pub const fn scope(self) -> LimitScope {
        match self {
            Self::Handshakes => LimitScope::HandshakeIp,
            Self::Posts | Self::Misses => LimitScope::Emulation,
            Self::Calls => LimitScope::Api,
        }
    }
}

/// Puts a token bucket per client address in front of every route of `routers`, one for all; none without a rate. Needs a
/// runtime.
pub fn limited<const N: usize>(
    routers: [Router; N],
    limit: AddressLimit,
    rate: Option<Rate>,
    proxies: &Arc<TrustedProxies>,
) -> [Router; N] {
    let Some(rate) = rate else { return routers };
    let config = GovernorConfigBuilder::default()
        .period(rate.period())
        .burst_size(rate.at_once().get())
        .key_extractor(ByAddress { proxies: Arc::clone(proxies), places: Places::default() })
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
    let told = Pace::default();
    let layer = GovernorLayer::new(config).error_handler(move |error| match error {
        GovernorError::TooManyRequests { wait_time, .. } => {
            if let Some(left_out) = told.due() {
                warn!(left_out, "refused: {}; if it is a proxy's, set http.trusted_proxies", limit.message());
            }
            Refusal::RateLimited { limit, seconds: wait_time.max(1) }.into_response()
        }
        GovernorError::UnableToExtractKey | GovernorError::Other { .. } => {
            Refusal::Plain(StatusCode::INTERNAL_SERVER_ERROR, "the client's address is unknown").into_response()
        }
    });
    routers.map(|router| router.layer(layer.clone()))
}

/// Gives every address its bucket.
#[derive(Debug, Clone)]
struct ByAddress {
    proxies: Arc<TrustedProxies>,
    places: Places,
}

impl KeyExtractor for ByAddress {
    type Key = u64;

    fn extract<T>(&self, request: &Request<T>) -> Result<u64, GovernorError> {
        let ConnectInfo(peer) =
            request.extensions().get::<ConnectInfo<SocketAddr>>().ok_or(GovernorError::UnableToExtractKey)?;
        let address = customer(self.proxies.client(peer.ip(), request.headers()));
        Ok(self.places.of(address))
    }
}
