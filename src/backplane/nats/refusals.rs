//! Subscriptions that NATS takes back: permissions may change while nodes run, and change again.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::watch;
use tokio::time::{Instant, sleep};
use tracing::{debug, info, warn};

use super::connection::Link;

/// Before a connection asks anew for what was taken back.
const ASK_AGAIN: Duration = Duration::from_secs(5);
/// How long it may take to be back with all subscriptions.
const BACK_WITHIN: Duration = Duration::from_secs(5);

/// What a server has taken back of a connection's subscriptions.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct TakenBack {
    /// Subscriptions; 0 is none.
    pub count: usize,
    /// The server's word on one of them.
    pub why: Arc<str>,
}

/// What is refused on a connection whose library does not tell who asked.
#[derive(Default)]
pub struct Refusals {
    standing: watch::Sender<TakenBack>,
    subjects: Mutex<Subjects>,
}

#[derive(Default)]
struct Subjects {
    /// With the server's word on each.
    refused: BTreeMap<String, Arc<str>>,
    /// Those of the connection that asks anew.
    again: BTreeSet<String>,
}

impl Refusals {
    /// Notes an error of the server; whether it takes a subscription back.
    pub fn note(&self, error: &str) -> bool {
        let Some(subject) = refused_subject(error) else { return false };
        let why: Arc<str> = error.into();
        let mut subjects = self.subjects.lock();
        subjects.again.insert(subject.to_owned());
        subjects.refused.insert(subject.to_owned(), Arc::clone(&why));
        self.stand(&subjects, why);
        true
    }

    /// What is refused, now and from now on.
    pub fn standing(&self) -> watch::Receiver<TakenBack> {
        self.standing.subscribe()
    }

    /// The server's word where it refuses `subject`.
    pub fn of(&self, subject: &str) -> Option<String> {
        self.subjects.lock().refused.get(subject).map(ToString::to_string)
    }

    fn begin(&self) {
        self.subjects.lock().again.clear();
    }

    /// Only what was refused since it began is refused still.
    fn settle(&self) -> usize {
        let mut subjects = self.subjects.lock();
        let Subjects { refused, again } = &mut *subjects;
        refused.retain(|subject, _| again.contains(subject));
        let why = refused.values().next().cloned().unwrap_or_default();
        self.stand(&subjects, why);
        subjects.refused.len()
    }

    /// Tells how it stands. With the subjects locked: what is told last has to be what holds.
    fn stand(&self, subjects: &Subjects, why: Arc<str>) {
        self.standing.send_replace(TakenBack { count: subjects.refused.len(), why });
    }
}

/// Asks, for ever, for what the server has taken back: by connecting anew, which brings every subscription with it. What was
/// said on them meanwhile is lost.
pub async fn keep_subscribed(link: Link, nobodys_subject: String) {
    let mut standing = link.refusals.standing();
    while standing.wait_for(|standing| standing.count > 0).await.is_ok() {
        sleep(ASK_AGAIN).await;
        link.refusals.begin();
        let losses = link.losses();
        if link.client.force_reconnect().await.is_err() {
            return;
        }
        if !link.back_after(losses, Instant::now() + BACK_WITHIN).await || link.barrier(&nobodys_subject).await.is_err()
        {
            debug!("not known yet whether NATS still refuses subscriptions");
            continue;
        }
        match link.refusals.settle() {
            0 => info!("NATS takes all subscriptions again; word from other nodes and backends may have been missed"),
            count => debug!(count, "NATS still refuses subscriptions"),
        }
    }
}

/// Says what NATS has taken back.
pub fn tell_of(why: &str, left_out: u64) {
    warn!(left_out, "NATS has revoked subscriptions; asking for them again: {why}");
}

/// The subject in `Permissions Violation for Subscription to "a.b" using queue "q"`.
fn refused_subject(text: &str) -> Option<&str> {
    let (_, subject) = text.split_once("ermissions Violation for Subscription to \"")?;
    subject.split_once('"').map(|(subject, _)| subject)
}

#[cfg(test)]
mod tests {
    use super::*;

    const A: &str = "nats: Permissions Violation for Subscription to \"a.*\" using queue \"q\"";

    #[test]
    fn what_is_refused_is_refused_until_it_was_asked_for_again() {
        let refusals = Refusals::default();
        assert!(!refusals.note("Permissions Violation for Publish to \"a\""));
        assert!(refusals.note(A));
        assert!(refusals.note("Permissions Violation for Subscription to \"b\""));
        assert_eq!(refusals.standing().borrow().count, 2);
        refusals.begin();
        assert!(refusals.note(A));
        assert!(refusals.of("b").is_some_and(|why| why.contains("\"b\"")), "not known yet, and in its own words");
        assert_eq!(refusals.settle(), 1);
        assert_eq!((refusals.of("a.*").is_some(), refusals.of("b")), (true, None));
        refusals.begin();
        assert_eq!(refusals.settle(), 0);
        assert_eq!(refusals.standing().borrow().count, 0);
    }
}
