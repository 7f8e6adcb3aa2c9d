//! Who may speak HTTP at a time. A newcomer is never kept waiting: where all places are taken, the connection that has
//! asked for nothing longest gives its own. So whoever holds many, and says nothing or reads nothing, makes room for whoever
//! asks.

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::http::request::Parts;
use parking_lot::Mutex;
use tokio::sync::Notify;
use tracing::warn;

use crate::telemetry::{Cut, Pace, Telemetry};

/// Connections that give way at once where there is no descriptor for a new one.
const AT_ONCE: usize = 64;

/// The places of one listener.
pub(super) struct Places {
    most: usize,
    taken: Mutex<Taken>,
    telemetry: Arc<Telemetry>,
    told: Pace,
}

/// By numbers that rise: the first has asked for nothing longest.
#[derive(Default)]
struct Taken {
    by_number: BTreeMap<u64, Arc<Notify>>,
    last: u64,
}

/// The place of one connection; free again when dropped.
pub(super) struct Place {
    places: Arc<Places>,
    number: Mutex<u64>,
    displaced: Arc<Notify>,
}

/// A request's word to its connection's place.
#[derive(Clone)]
pub(super) struct Held(pub(super) Arc<Place>);

/// Takes the place again on drop.
pub(super) struct Aside<'a>(&'a Place);

impl Places {
    pub(super) fn new(most: usize, telemetry: Arc<Telemetry>) -> Arc<Self> {
        Arc::new(Self { most, taken: Mutex::default(), telemetry, told: Pace::default() })
    }

    /// A place for a newcomer.
    pub(super) fn take(self: &Arc<Self>) -> Arc<Place> {
        let displaced = Arc::default();
        let number = Mutex::new(self.enter(&displaced));
        Arc::new(Place { places: Arc::clone(self), number, displaced })
    }

    /// Frees descriptors, which connections that ask for nothing take too. The newer half may be about to be answered.
    pub(super) fn make_room(&self) {
        let mut taken = self.taken.lock();
        let many = (taken.by_number.len() / 2).min(AT_ONCE);
        self.displace(&mut taken, many);
    }

    /// The newest number; the oldest gives way if it must.
    fn enter(&self, displaced: &Arc<Notify>) -> u64 {
        let mut taken = self.taken.lock();
        taken.last += 1;
        let number = taken.last;
        taken.by_number.insert(number, Arc::clone(displaced));
        let surplus = taken.by_number.len().saturating_sub(self.most);
        self.displace(&mut taken, surplus);
        drop(taken);
        if surplus > 0
            && let Some(left_out) = self.told.due()
        {
            warn!(left_out, "all places of HTTP are taken: connections that are idle longest are closed");
        }
        number
    }

    fn displace(&self, taken: &mut Taken, many: usize) {
        for (_, place) in std::iter::from_fn(|| taken.by_number.pop_first()).take(many) {
            place.notify_one();
            self.telemetry.http.cut.of(Cut::Displaced).increment(1);
        }
    }

    /// Whether the place was still there.
    fn leave(&self, number: u64) -> bool {
        self.taken.lock().by_number.remove(&number).is_some()
    }
}

impl Place {
    /// The connection asks for something.
    pub(super) fn renew(&self) {
        let mut number = self.number.lock();
        // Who was displaced is so for good.
        if self.places.leave(*number) {
            *number = self.places.enter(&self.displaced);
        }
    }

    /// Gives the place up for a while; `None` where it is lost.
    fn step_aside(&self) -> Option<Aside<'_>> {
        self.places.leave(*self.number.lock()).then(|| Aside(self))
    }

    /// Ready once another connection has got the place.
    pub(super) async fn displaced(&self) {
        self.displaced.notified().await;
    }
}

impl Drop for Aside<'_> {
    fn drop(&mut self) {
        *self.0.number.lock() = self.0.places.enter(&self.0.displaced);
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.places.leave(*self.number.get_mut());
    }
}

/// For a request that waits as a client that is connected is meant to: those have a limit of their own, so it goes without
/// its connection's place meanwhile.
pub(super) fn aside(head: &Parts) -> Option<Aside<'_>> {
    head.extensions.get::<Held>().and_then(|Held(place)| place.step_aside())
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt as _;

    use super::*;
    use crate::settings::Namespaces;

    fn places(most: usize) -> Arc<Places> {
        Places::new(most, Telemetry::new(&Namespaces(std::collections::HashMap::new())))
    }

    fn is_displaced(place: &Place) -> bool {
        place.displaced().now_or_never().is_some()
    }

    #[test]
    fn who_has_asked_for_nothing_longest_gives_way() {
        let places = places(2);
        let (first, second) = (places.take(), places.take());
        first.renew();
        let third = places.take();
        assert!(is_displaced(&second) && !is_displaced(&first) && !is_displaced(&third));
        second.renew();
        assert!(!is_displaced(&first) && !is_displaced(&third), "who was displaced displaces nobody");
    }

    #[test]
    fn who_leaves_makes_room() {
        let places = places(1);
        drop(places.take());
        let first = places.take();
        assert!(!is_displaced(&first));
        drop(first);
        assert!(places.taken.lock().by_number.is_empty());
    }

    #[test]
    fn descriptors_come_from_the_longer_idle_half() {
        let places = places(10);
        let (first, second, third) = (places.take(), places.take(), places.take());
        places.make_room();
        assert!(is_displaced(&first) && !is_displaced(&second) && !is_displaced(&third));
        drop((first, second));
        places.make_room();
        assert!(!is_displaced(&third), "the last may be a probe");
    }

    #[test]
    fn who_waits_as_it_is_meant_to_takes_no_place() {
        let places = places(1);
        let first = places.take();
        let aside = first.step_aside();
        let second = places.take();
        assert!(!is_displaced(&first) && !is_displaced(&second));
        drop(aside);
        assert!(is_displaced(&second) && !is_displaced(&first), "it asks for something again");
        assert!(second.step_aside().is_none(), "and a place that was lost is not taken again");
    }
}
