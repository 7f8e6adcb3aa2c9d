//! Who is the bridge: whoever wrote its name into the registry while nobody's stood there. What is written goes by itself
//! unless it is written again, and whoever could not do so in time has stopped before that.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tokio::time::{Instant, sleep, timeout, timeout_at};
use tokio_util::sync::CancellationToken;
use tracing::debug;

use crate::backplane::{Backplane, Bucket, Guard, Registry, RegistryError, Revision};

const KEY: &str = "bridge";
/// How long a name stands that is not written again: as long may nobody be the bridge after a node has died.
const TERM: Duration = Duration::from_secs(6);
/// By how much earlier its bearer stops.
const MARGIN: Duration = Duration::from_secs(1);
const PROLONG_EVERY: Duration = Duration::from_millis(1500);
/// Between two attempts.
const PAUSE: Duration = Duration::from_secs(1);
/// What giving the name back may take.
const RESIGN_WITHIN: Duration = Duration::from_secs(1);

/// This process among those who may be the bridge.
pub(super) struct Election {
    backplane: Arc<dyn Backplane>,
    process: Bytes,
}

/// Its name stands.
pub(super) struct Term {
    revision: Revision,
    until: Instant,
}

/// Why a term is over.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Over {
    /// It could not be prolonged, or another stands there.
    Lost,
    /// Its bearer is asked to resign.
    Asked,
}

impl Election {
    pub(super) fn new(backplane: Arc<dyn Backplane>, process: String) -> Self {
        Self { backplane, process: process.into() }
    }

    /// Returns once this process is the bridge.
    pub(super) async fn win(&self) -> Term {
        loop {
            let begun = Instant::now();
            match self.write(Guard::Absent).await {
                Ok(revision) => return Term::begun(begun, revision),
                // An earlier write may have taken place although it was not acknowledged.
                Err(RegistryError::Conflict(_)) => {
                    if let Some(revision) = self.own().await
                        && let Ok(revision) = self.write(Guard::Revision(revision)).await
                    {
                        return Term::begun(begun, revision);
                    }
                }
                Err(error) => debug!(%error, "who is the bridge cannot be written"),
            }
            sleep(PAUSE).await;
        }
    }

    /// Prolongs the term again and again; returns once it is over, or `stop` is cancelled. A write under way is awaited first,
    /// so that the term is known as it stands.
    pub(super) async fn hold(&self, term: &mut Term, stop: &CancellationToken) -> Over {
        loop {
            if stop.run_until_cancelled(sleep(PROLONG_EVERY)).await.is_none() {
                return Over::Asked;
            }
            let begun = Instant::now();
            match timeout_at(term.until, self.write(Guard::Revision(term.revision))).await {
                Ok(Ok(revision)) => *term = Term::begun(begun, revision),
                Ok(Err(RegistryError::Conflict(_))) => match timeout_at(term.until, self.own()).await {
                    Ok(Some(revision)) => term.revision = revision,
                    Ok(None) | Err(_) => return Over::Lost,
                },
                Ok(Err(error)) if Instant::now() < term.until => debug!(%error, "the term is not prolonged yet"),
                Ok(Err(_)) | Err(_) => return Over::Lost,
            }
        }
    }

    /// Takes the name away.
    pub(super) async fn resign(&self, term: Term) {
        let resigning = self.registry().delete(KEY, Guard::Revision(term.revision));
        if !matches!(timeout(RESIGN_WITHIN, resigning).await, Ok(Ok(_))) {
            debug!("the next bridge waits until this one's term is over");
        }
    }

    async fn write(&self, guard: Guard) -> Result<Revision, RegistryError> {
        self.registry().put(KEY, self.process.clone(), guard, Some(TERM)).await
    }

    /// Under which revision this process's name stands.
    async fn own(&self) -> Option<Revision> {
        let found = self.registry().get(KEY).await.ok()??;
        (found.value == self.process).then_some(found.revision)
    }

    fn registry(&self) -> &dyn Registry {
        self.backplane.registry(Bucket::Scaling)
    }
}

impl Term {
    /// By the time before it was written.
    fn begun(at: Instant, revision: Revision) -> Self {
        Self { revision, until: at + TERM - MARGIN }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use super::*;
    use crate::backplane::embedded::Embedded;
    use crate::backplane::feed;
    use crate::settings::Namespaces;

    fn backplane() -> Arc<dyn Backplane> {
        Embedded::new(&Namespaces(HashMap::new()), 1 << 20, feed::open(1).0)
    }

    #[tokio::test(start_paused = true)]
    async fn one_is_the_bridge_until_it_resigns_or_its_term_is_over() {
        let backplane = backplane();
        let [ada, bob] = ["ada", "bob"].map(|name| Election::new(Arc::clone(&backplane), name.to_owned()));
        let mut term = ada.win().await;
        assert!(timeout(TERM / 2, bob.win()).await.is_err(), "there is one already");
        let stop = CancellationToken::new();
        let asked = async {
            sleep(TERM * 3).await;
            stop.cancel();
        };
        let held = async { tokio::join!(ada.hold(&mut term, &stop), asked).0 };
        tokio::select! {
            over = held => assert_eq!(over, Over::Asked),
            _ = bob.win() => panic!("two at a time"),
        }
        ada.resign(term).await;
        // It dies: nobody prolongs its term.
        timeout(PAUSE * 2, bob.win()).await.unwrap();
        assert!(timeout(TERM + PAUSE * 2, ada.win()).await.is_ok());
    }

    #[tokio::test(start_paused = true)]
    async fn whose_name_another_has_overwritten_stops() {
        let backplane = backplane();
        let ada = Election::new(Arc::clone(&backplane), "ada".to_owned());
        let mut term = ada.win().await;
        backplane.registry(Bucket::Scaling).put(KEY, "bob".into(), Guard::Any, Some(TERM)).await.unwrap();
        let over = timeout(TERM, ada.hold(&mut term, &CancellationToken::new())).await;
        assert_eq!(over, Ok(Over::Lost));
    }
}
