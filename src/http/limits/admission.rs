//! How many connections a node takes, and whether it takes any now.

use std::sync::Arc;
use std::sync::atomic::{AtomicU8, AtomicUsize, Ordering};

use tokio::sync::Notify;

/// Counts the connections of clients and turns away what is too much.
#[derive(Debug)]
pub struct Admission {
    limit: Option<usize>,
    taken: AtomicUsize,
    gate: AtomicU8,
    left: Notify,
}

/// Whether new connections are taken at all. A node behind a closed gate keeps listening and answers 503, so that a
/// proxy goes on to the next node.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Gate {
    Open,
    NotReady,
    Draining,
}

/// Why a connection is turned away.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Turned {
    Full,
    /// More clients connect than may at a time.
    Busy,
    NotReady,
    Draining,
}

/// The place of one connection; free again when dropped.
#[derive(Debug)]
pub struct Seat(Arc<Admission>);

impl Admission {
    /// An open gate to `limit` places; `None` is without limit.
    #[must_use]
    pub fn new(limit: Option<usize>) -> Arc<Self> {
        let gate = AtomicU8::new(Gate::Open as u8);
        Arc::new(Self { limit, taken: AtomicUsize::new(0), gate, left: Notify::new() })
    }

    /// Takes a place, or says why there is none.
    ///
    /// # Errors
    /// When the gate is closed or every place is taken.
    pub fn enter(self: &Arc<Self>) -> Result<Seat, Turned> {
        match self.gate() {
            Gate::Open => {}
            Gate::NotReady => return Err(Turned::NotReady),
            Gate::Draining => return Err(Turned::Draining),
        }
        let limit = self.limit.unwrap_or(usize::MAX);
        let free = |taken: usize| (taken < limit).then_some(taken + 1);
        match self.taken.fetch_update(Ordering::AcqRel, Ordering::Acquire, free) {
            Ok(_) => Ok(Seat(Arc::clone(self))),
            Err(_) => Err(Turned::Full),
        }
    }

    /// Opens or closes the gate. Who is inside stays. A node that began to drain stays closed, whoever finds it ready
    /// at the same moment.
    pub fn set(&self, gate: Gate) {
        let unless_draining = |now| (now != Gate::Draining as u8).then_some(gate as u8);
        // Refused where it drains already, which is as it should be.
        let _ = self.gate.fetch_update(Ordering::AcqRel, Ordering::Acquire, unless_draining);
    }

    #[must_use]
    pub fn gate(&self) -> Gate {
        match self.gate.load(Ordering::Acquire) {
            gate if gate == Gate::Open as u8 => Gate::Open,
            gate if gate == Gate::NotReady as u8 => Gate::NotReady,
            _ => Gate::Draining,
        }
    }

    /// Connections that are inside now.
    #[must_use]
    pub fn taken(&self) -> usize {
        self.taken.load(Ordering::Acquire)
    }

    #[must_use]
    pub const fn limit(&self) -> Option<usize> {
        self.limit
    }

    /// Waits until everybody has left. Close the gate before.
    pub async fn emptied(&self) {
        loop {
            let left = self.left.notified();
            if self.taken() == 0 {
                return;
            }
            left.await;
        }
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        if self.0.taken.fetch_sub(1, Ordering::AcqRel) == 1 {
            self.0.left.notify_waiters();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_more_than_the_limit_are_inside_and_who_leaves_makes_room() {
        let admission = Admission::new(Some(2));
        let first = admission.enter().unwrap();
        let _second = admission.enter().unwrap();
        assert_eq!(admission.enter().unwrap_err(), Turned::Full);
        drop(first);
        assert!(admission.enter().is_ok());
        assert_eq!(admission.taken(), 1);
    }

    #[test]
    fn a_closed_gate_says_why_and_keeps_who_is_inside() {
        let admission = Admission::new(None);
        let _seat = admission.enter().unwrap();
        admission.set(Gate::NotReady);
        assert_eq!(admission.enter().unwrap_err(), Turned::NotReady);
        assert_eq!(admission.taken(), 1);
        admission.set(Gate::Open);
        assert!(admission.enter().is_ok());
    }

    #[test]
    fn a_node_that_drains_never_opens_again() {
        let admission = Admission::new(None);
        admission.set(Gate::Draining);
        admission.set(Gate::Open);
        assert_eq!(admission.enter().unwrap_err(), Turned::Draining);
    }

    #[tokio::test]
    async fn whoever_waits_for_an_empty_house_hears_the_last_one_leave() {
        let admission = Admission::new(None);
        let seats: Vec<_> = (0..3).map(|_| admission.enter().unwrap()).collect();
        let waiting = tokio::spawn({
            let admission = Arc::clone(&admission);
            async move { admission.emptied().await }
        });
        tokio::task::yield_now().await;
        assert!(!waiting.is_finished());
        drop(seats);
        waiting.await.unwrap();
    }
}
