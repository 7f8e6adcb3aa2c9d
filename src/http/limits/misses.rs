//! How often one address may ask for what is not there, where finding that out costs others something.

use std::collections::HashMap;
use std::net::IpAddr;

use parking_lot::Mutex;
use tokio::time::Instant;
use tracing::warn;

use super::address::customer;
use super::rate::AddressLimit;
use crate::http::refusal::Refusal;
use crate::session::{Bucket, FORGET_EVERY, Places};
use crate::settings::Rate;
use crate::telemetry::Pace;

/// What addresses have asked for in vain. Only that counts: whoever asks for what is there does so as often as it likes,
/// until others of its address have asked for too much that is not.
pub struct Misses {
    rate: Rate,
    places: Places,
    counted: Mutex<Counted>,
    told: Pace,
}

struct Counted {
    /// By place: a bounded number.
    buckets: HashMap<u64, Bucket>,
    forgotten: Instant,
}

impl Misses {
    #[must_use]
    pub fn new(rate: Rate) -> Self {
        let counted = Counted { buckets: HashMap::new(), forgotten: Instant::now() };
        Self { rate, places: Places::default(), counted: Mutex::new(counted), told: Pace::default() }
    }

    /// Whether an address may ask for something that may not be there.
    ///
    /// # Errors
    /// When it has asked for too much that was not.
    pub fn admit(&self, address: IpAddr) -> Result<(), Refusal> {
        let place = self.places.of(customer(address));
        let Some(wait) = self.counted.lock().buckets.get_mut(&place).and_then(|bucket| bucket.wait(Instant::now()))
        else {
            return Ok(());
        };
        let limit = AddressLimit::Misses;
        if let Some(left_out) = self.told.due() {
            warn!(left_out, "refused: {}; if it is a proxy's, set http.trusted_proxies", limit.message());
        }
        Err(Refusal::RateLimited { limit, seconds: wait.as_secs() + u64::from(wait.subsec_nanos() > 0) })
    }

    /// What an address has asked for was not there.
    pub fn count(&self, address: IpAddr) {
        let place = self.places.of(customer(address));
        let now = Instant::now();
        let mut counted = self.counted.lock();
        counted.buckets.entry(place).or_insert_with(|| Bucket::new(self.rate, now)).take(1, now);
        if now - counted.forgotten >= FORGET_EVERY {
            counted.forgotten = now;
            counted.buckets.retain(|_, bucket| !bucket.is_full(now));
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    const ADDRESS: IpAddr = IpAddr::V4(std::net::Ipv4Addr::LOCALHOST);

    #[tokio::test(start_paused = true)]
    async fn who_asked_in_vain_too_often_waits_and_is_forgotten_in_the_end() {
        let misses = Misses::new(Rate { per_second: 0.5, burst: 2 });
        let other = IpAddr::from([127, 0, 0, 2]);
        for _ in 0..2 {
            assert_eq!(misses.admit(ADDRESS), Ok(()));
            misses.count(ADDRESS);
        }
        let refused = Refusal::RateLimited { limit: AddressLimit::Misses, seconds: 2 };
        assert_eq!(misses.admit(ADDRESS), Err(refused));
        assert_eq!(misses.admit(other), Ok(()));
        tokio::time::advance(Duration::from_secs(2)).await;
        assert_eq!(misses.admit(ADDRESS), Ok(()));
        tokio::time::advance(FORGET_EVERY).await;
        misses.count(other);
        assert_eq!(misses.counted.lock().buckets.len(), 1);
    }
}
