use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt as _;
use tokio::sync::watch;
use tokio::time::Instant;
use uuid::Uuid;

use super::state::{Heard, State};
use super::{Canary, LOOK, NAMESPACE, Options, namespace};
use crate::backplane::embedded::Embedded;
use crate::backplane::{Backplane, Delivery, Feed, Health, feed};
use crate::cluster::{Cluster, Introduction, Work};
use crate::lifecycle::Readiness;
use crate::settings::{Namespaces, Settings};
use crate::telemetry::Telemetry;

const SECOND: Duration = Duration::from_secs(1);

/// What only this node knows of a word.
fn nonce(number: u64) -> Uuid {
    Uuid::from_u128(u128::from(number))
}

#[test]
fn a_word_that_is_acknowledged_is_waited_for_until_one_comes_back() {
    let (mut state, begun) = (State::default(), Instant::now());
    state.speaks(1, nonce(1), begun);
    assert_eq!(state.waits(begun + SECOND * 9), None, "the store has nothing yet");
    state.acknowledged(1, begun + SECOND);
    state.speaks(2, nonce(2), begun + SECOND * 2);
    state.acknowledged(2, begun + SECOND * 3);
    assert_eq!(state.waits(begun + SECOND * 9), Some(SECOND * 8));
    assert_eq!(state.heard(2, nonce(2), begun + SECOND * 9), Heard::Back(SECOND * 7));
    assert_eq!(state.waits(begun + SECOND * 99), None);
    assert_eq!(state.heard(1, nonce(1), begun + SECOND * 99), Heard::Again, "late, and no longer news");
}

#[test]
fn a_word_that_comes_back_before_its_acknowledgement_is_not_waited_for() {
    let (mut state, begun) = (State::default(), Instant::now());
    state.speaks(1, nonce(1), begun);
    state.heard(1, nonce(1), begun);
    state.acknowledged(1, begun);
    assert_eq!(state.waits(begun + SECOND), None);
}

#[test]
fn only_the_last_words_are_known() {
    let (mut state, begun) = (State::default(), Instant::now());
    (1..=100).for_each(|number| state.speaks(number, nonce(number), begun));
    assert_eq!(state.heard(1, nonce(1), begun), Heard::NeverSpoken);
    assert_eq!(state.heard(100, nonce(100), begun + SECOND), Heard::Back(SECOND));
}

#[test]
fn what_does_not_come_back_is_waited_for_also_when_everybody_gets_time_anew() {
    let (mut state, begun) = (State::default(), Instant::now());
    state.speaks(1, nonce(1), begun);
    state.forgive(begun);
    assert_eq!(state.waits(begun), None);
    state.acknowledged(1, begun);
    state.forgive(begun + SECOND * 5);
    assert_eq!(state.waits(begun + SECOND * 7), Some(SECOND * 2));
    assert!(!state.hears_itself(SECOND, begun));
    state.heard(1, nonce(1), begun + SECOND * 8);
    assert!(state.hears_itself(SECOND * 2, begun + SECOND * 9));
    assert!(!state.hears_itself(SECOND * 2, begun + SECOND * 10));
}

#[test]
fn a_node_that_spoke_and_is_not_heard_any_more_is_silent_until_it_is() {
    let (mut state, begun) = (State::default(), Instant::now());
    let up = [("p", "ann"), ("q", "bob")];
    assert!(state.silent_peers(&up, SECOND * 5, begun).is_empty());
    assert!(state.silent_peers(&up, SECOND * 5, begun + SECOND * 9).is_empty(), "they may have no canary");
    state.heard_peer("p", begun + SECOND * 10);
    state.heard_peer("stranger", begun + SECOND * 10);
    assert_eq!(state.silent_peers(&up, SECOND * 5, begun + SECOND * 15), ["ann"]);
    assert_eq!(state.silent_peers(&up, SECOND * 5, begun + SECOND * 16), ["ann"]);
    state.forgive(begun + SECOND * 17);
    assert!(state.silent_peers(&up, SECOND * 5, begun + SECOND * 18).is_empty());
    state.heard_peer("p", begun + SECOND * 30);
    assert!(state.silent_peers(&up, SECOND * 5, begun + SECOND * 31).is_empty());
    assert!(state.silent_peers(&[], SECOND * 5, begun + SECOND * 99).is_empty(), "gone");
}

/// A node alone with its canary, whose deliveries the test passes on, or does not.
struct Aviary {
    canary: Arc<Canary>,
    readiness: Arc<Readiness>,
    feed: Feed,
}

impl Aviary {
    /// With the defaults of every node.
    fn open() -> Self {
        let settings = Settings::from_toml("").unwrap();
        let namespaces = Namespaces([(NAMESPACE.to_owned(), Arc::new(namespace()))].into());
        let telemetry = Telemetry::new(&namespaces);
        let (sender, mut feeds) = feed::open(1);
        let backplane: Arc<dyn Backplane> = Embedded::new(&namespaces, 1 << 20, sender);
        let introduction = Introduction {
            name: "ada".to_owned(),
            address: "here".to_owned(),
            version: "1".to_owned(),
            capacity: None,
        };
        let joining = Cluster::join(
            Arc::clone(&backplane),
            &settings.cluster,
            introduction,
            Work::default,
            Arc::clone(&telemetry),
        );
        let cluster = joining.now_or_never().expect("the embedded backplane never waits").unwrap();
        let readiness = Arc::new(Readiness::default());
        let canary = Canary::new(backplane, cluster, Arc::clone(&readiness), settings.canary, telemetry);
        Self { canary, readiness, feed: feeds.remove(0) }
    }

    /// Delivers the next word that the store has.
    async fn hear(&mut self) {
        match self.feed.next().await {
            Some(Delivery::Message(word)) => self.canary.hear(&word),
            other => panic!("no word: {other:?}"),
        }
    }
}

/// What operators are promised of `/ready`, by a clock that only the configured intervals move.
#[tokio::test(start_paused = true)]
async fn a_node_is_not_ready_within_ten_seconds_of_the_last_delivery_and_is_again_with_the_next() {
    let mut aviary = Aviary::open();
    let Options { interval, fail_after, .. } = aviary.canary.options;
    assert!(interval + fail_after + LOOK <= SECOND * 10, "a word is spoken, waited for, and missed at the next look");
    let (told, mut ready) = watch::channel(true);
    tokio::spawn(aviary.readiness.watch(move |ready| {
        told.send_replace(ready);
    }));
    tokio::spawn(Arc::clone(&aviary.canary).run());
    for _ in 0..10 {
        aviary.hear().await;
    }
    let last_delivery = Instant::now();
    ready.wait_for(|ready| !ready).await.unwrap();
    assert!(last_delivery.elapsed() <= SECOND * 10, "{:?}", last_delivery.elapsed());
    assert!(last_delivery.elapsed() >= fail_after, "one that is late is none that is lost");
    assert_eq!(*aviary.canary.backplane.health().borrow(), Health::Ready, "nothing is cut but deliveries");
    aviary.hear().await;
    ready.wait_for(|ready| *ready).await.unwrap();
}

#[test]
fn a_word_that_was_forged_neither_ends_the_waiting_nor_stands_for_those_to_come() {
    let (mut state, begun) = (State::default(), Instant::now());
    state.speaks(1, nonce(1), begun);
    state.acknowledged(1, begun);
    for (number, nonce) in [(u64::MAX, Uuid::nil()), (2, nonce(1)), (1, Uuid::nil()), (1, nonce(2))] {
        assert_eq!(state.heard(number, nonce, begun + SECOND), Heard::NeverSpoken);
    }
    assert_eq!(state.waits(begun + SECOND * 9), Some(SECOND * 9));
    assert!(!state.hears_itself(SECOND * 10, begun + SECOND));
    assert_eq!(state.heard(1, nonce(1), begun + SECOND * 9), Heard::Back(SECOND * 9));
    assert_eq!(state.waits(begun + SECOND * 9), None);
}

#[test]
fn a_store_that_refuses_words_for_good_is_known_until_it_takes_one() {
    let (mut state, begun) = (State::default(), Instant::now());
    state.refused(begun);
    state.refused(begun + SECOND * 2);
    assert!(!state.is_refused(SECOND * 6, begun + SECOND * 5));
    assert!(state.is_refused(SECOND * 6, begun + SECOND * 6));
    state.acknowledged(1, begun + SECOND * 7);
    assert!(!state.is_refused(SECOND * 6, begun + SECOND * 99));
}
