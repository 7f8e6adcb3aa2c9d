//! Keys that a server gives out and changes when it likes (JWKS).
//!
//! They are fetched when a token first needs them and kept; a token whose key is known waits for nobody. Every reason
//! to fetch (nothing known, too old, an unknown key) leads to the same single fetch, and none to another one within the
//! cool-down, whatever tokens come in. A server that is away leaves the old keys in force.

use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwapOption;
use parking_lot::Mutex;
use tokio::sync::watch;
use tokio::time::Instant;
use tracing::{debug, info, warn};
use url::Url;

use super::compact::Compact;
use super::jwk::{KeySet, Verdict};
use super::{KeyError, TokenError};
use crate::settings::Jwks;

/// How patient and how pushy fetching is.
#[derive(Debug, Clone, Copy)]
pub struct Patience {
    /// How long a whole fetch may take.
    pub timeout: Duration,
    /// How long after a fetch nothing is fetched.
    pub cool_down: Duration,
    /// Bytes of a set; the largest known ones have a tenth of it.
    pub body_limit: usize,
}

impl Default for Patience {
    fn default() -> Self {
        Self { timeout: Duration::from_secs(3), cool_down: Duration::from_secs(5), body_limit: 256 * 1024 }
    }
}

/// The keys behind one URL.
pub struct RemoteKeys(Arc<Shared>);

struct Shared {
    url: Url,
    refresh_interval: Duration,
    patience: Patience,
    http: reqwest::Client,
    known: ArcSwapOption<Known>,
    fetching: Mutex<Fetching>,
}

struct Known {
    set: KeySet,
    since: Instant,
}

#[derive(Default)]
struct Fetching {
    /// Its sender lives as long as the fetch.
    flight: Option<watch::Receiver<()>>,
    last: Option<Attempt>,
}

struct Attempt {
    ended: Instant,
    /// Why it failed, if it did.
    failure: Option<String>,
}

#[derive(Debug, thiserror::Error)]
enum FetchError {
    #[error("{0}")]
    Http(#[from] reqwest::Error),
    #[error("answered {0}")]
    Status(reqwest::StatusCode),
    #[error("answered more than {0} bytes")]
    TooLarge(usize),
    #[error("answered no set of keys: {0}")]
    NoSet(#[from] serde_json::Error),
}

impl RemoteKeys {
    /// # Errors
    /// When no HTTP client can be built, for want of root certificates for instance.
    pub fn new(settings: &Jwks, patience: Patience) -> Result<Self, KeyError> {
        let http = reqwest::Client::builder()
            .timeout(patience.timeout)
            .https_only(settings.url.scheme() == "https")
            .redirect(reqwest::redirect::Policy::limited(3))
            .user_agent(concat!("midplane/", env!("CARGO_PKG_VERSION")))
            .build()
            .map_err(KeyError::Client)?;
        Ok(Self(Arc::new(Shared {
            url: settings.url.clone(),
            refresh_interval: settings.refresh_interval,
            patience,
            http,
            known: ArcSwapOption::empty(),
            fetching: Mutex::default(),
        })))
    }

    /// Holds `token` against the keys, fetching them where that may change the verdict.
    pub async fn check(&self, token: &Compact<'_>) -> Result<(), TokenError> {
        if let Some(known) = self.fresh_enough().await {
            match known.set.check(token) {
                Verdict::Valid => return Ok(()),
                Verdict::Invalid(error) => return Err(error),
                Verdict::Unknown => {}
            }
        }
        let Some(mut flight) = self.0.fetch() else {
            // Not refused for good: the key may be newer than the keys we have, and we may ask again in a moment.
            return Err(TokenError::KeysUnavailable(self.0.why_not_now()));
        };
        let _ended = flight.changed().await;
        let failure = self.0.last_failure();
        match (self.0.known.load_full().map(|known| known.set.check(token)), failure) {
            (Some(Verdict::Valid), _) => Ok(()),
            (Some(Verdict::Invalid(error)), _) => Err(error),
            (_, Some(failure)) => Err(TokenError::KeysUnavailable(failure)),
            (_, None) => Err(TokenError::UnknownKey(token.key_id.clone())),
        }
    }

    /// The keys we have. Old ones are fetched anew beside using them; only keys that nobody confirmed for so long that
    /// they may have been withdrawn long ago wait for it, once.
    async fn fresh_enough(&self) -> Option<Arc<Known>> {
        let known = self.0.known.load_full()?;
        let age = known.since.elapsed();
        if age < self.0.refresh_interval {
            return Some(known);
        }
        let server_is_away = self.0.last_failure().is_some();
        if let Some(mut flight) = self.0.fetch()
            && age >= self.0.refresh_interval * 2
            && !server_is_away
        {
            let _ended = flight.changed().await;
        }
        self.0.known.load_full()
    }
}

impl Shared {
    /// Joins the fetch under way or starts one; `None` while it is too early for another.
    ///
    /// It runs in a task of its own: whoever waits for it may go away, the others still need it.
    fn fetch(self: &Arc<Self>) -> Option<watch::Receiver<()>> {
        let mut fetching = self.fetching.lock();
        if let Some(flight) = fetching.flight.as_ref().filter(|flight| flight.has_changed().is_ok()) {
            return Some(flight.clone());
        }
        if fetching.last.as_ref().is_some_and(|last| last.ended.elapsed() < self.patience.cool_down) {
            return None;
        }
        let (running, flight) = watch::channel(());
        fetching.flight = Some(flight.clone());
        let shared = Arc::clone(self);
        tokio::spawn(async move {
            let outcome = shared.get().await;
            shared.conclude(outcome);
            drop(running);
        });
        Some(flight)
    }

    fn conclude(&self, outcome: Result<KeySet, FetchError>) {
        let failure = match outcome {
            Ok(set) => {
                self.note(set.len(), None);
                self.known.store(Some(Arc::new(Known { set, since: Instant::now() })));
                None
            }
            Err(error) => {
                let failure = error.to_string();
                self.note(self.known.load().as_ref().map_or(0, |known| known.set.len()), Some(&failure));
                Some(failure)
            }
        };
        self.fetching.lock().last = Some(Attempt { ended: Instant::now(), failure });
    }

    /// Says what changed; that it is still so is for those who look closely.
    fn note(&self, keys: usize, failure: Option<&str>) {
        let url = &self.url;
        let failed_before = self.fetching.lock().last.as_ref().map(|last| last.failure.is_some());
        match (failure, failed_before) {
            (Some(failure), Some(true)) => debug!(%url, keys, failure, "still cannot fetch the keys for tokens"),
            (Some(failure), _) => {
                warn!(%url, keys, failure, "cannot fetch the keys for tokens: known ones stay in force")
            }
            (None, Some(false)) => debug!(%url, keys, "fetched the keys for tokens again"),
            (None, _) => info!(%url, keys, "fetched the keys for tokens"),
        }
    }

    async fn get(&self) -> Result<KeySet, FetchError> {
        let mut response = self.http.get(self.url.clone()).send().await.map_err(reqwest::Error::without_url)?;
        if response.status() != reqwest::StatusCode::OK {
            return Err(FetchError::Status(response.status()));
        }
        let mut body = Vec::new();
        while let Some(chunk) = response.chunk().await.map_err(reqwest::Error::without_url)? {
            if body.len() + chunk.len() > self.patience.body_limit {
                return Err(FetchError::TooLarge(self.patience.body_limit));
            }
            body.extend_from_slice(&chunk);
        }
        Ok(KeySet::parse(&body)?)
    }

    fn last_failure(&self) -> Option<String> {
        self.fetching.lock().last.as_ref()?.failure.clone()
    }

    fn why_not_now(&self) -> String {
        self.last_failure().unwrap_or_else(|| "the key is not among those fetched a moment ago".to_owned())
    }
}
