//! The channels that give this node most to do: by deliveries to its listeners, in the last ten to twenty seconds.
//!
//! Each pump has a meter of its own, whose lock nobody else takes but who asks. A pump that is busy counts a few messages
//! of each batch, drawn at random, and lets each stand for several: what is counted costs no more for it.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use rand::Rng;
use tokio::time::Instant;

use super::Relay;
use super::sketch::Sketch;
use crate::protocol::Channel;

/// Channels that are counted at one time, for each pump.
const COUNTERS: usize = 128;
/// How long is counted before the numbers are the last ones.
const WINDOW: Duration = Duration::from_secs(10);
/// Messages of a batch that are counted.
const SAMPLES: usize = 8;

/// What a channel gives this node to do. At least: what is not certain is left out.
#[derive(Debug, Clone, PartialEq)]
pub struct Busy {
    pub channel: Channel,
    /// To listeners, per second.
    pub deliveries: f64,
    /// Per second.
    pub publications: f64,
    /// Now.
    pub listeners: usize,
}

/// The meters of all pumps.
#[derive(Default)]
pub(super) struct Busiest(Mutex<Vec<Arc<Mutex<Windows>>>>);

/// What was counted since the last window began, and before it.
struct Windows {
    begun: Instant,
    current: Sketch,
    last: Option<(Duration, Sketch)>,
}

/// Counts for one pump.
pub(super) struct Meter {
    windows: Arc<Mutex<Windows>>,
    /// For how many messages one stands that is counted, on average.
    stands_for: usize,
    /// So many pass before one is counted.
    passing: usize,
}

impl Busiest {
    pub(super) fn meter(&self) -> Meter {
        let windows = Arc::new(Mutex::new(Windows::begin()));
        self.0.lock().push(Arc::clone(&windows));
        Meter { windows, stands_for: 1, passing: 0 }
    }
}

impl Meter {
    /// Notes a message that was delivered to so many listeners; not of a channel that nobody can name.
    pub(super) fn count(&mut self, channel: &Channel, deliveries: usize) {
        if channel.is_of_events() {
            return;
        }
        if self.passing > 0 {
            self.passing -= 1;
            return;
        }
        // A fixed step would fall in with publishers that take turns.
        self.passing = if self.stands_for > 1 { rand::rng().random_range(0..self.stands_for * 2 - 1) } else { 0 };
        let times = self.stands_for as u64;
        let mut windows = self.windows.lock();
        windows.turn();
        windows.current.note(channel, times, times * deliveries.max(1) as u64);
    }

    /// Notes how large the last batch was: the next one is likely to be of its size.
    pub(super) fn batch(&mut self, messages: usize) {
        self.stands_for = (messages / SAMPLES).max(1);
        self.passing = self.passing.min(self.stands_for * 2);
    }
}

impl Windows {
    fn begin() -> Self {
        Self { begun: Instant::now(), current: Sketch::new(COUNTERS), last: None }
    }

    /// Begins a new window where the current one is over.
    fn turn(&mut self) {
        let lasted = self.begun.elapsed();
        if lasted >= WINDOW * 2 {
            // It was quiet for so long that what was counted says nothing about now.
            *self = Self::begin();
        } else if lasted >= WINDOW {
            let ended = std::mem::replace(self, Self::begin());
            self.last = Some((lasted, ended.current));
        }
    }

    /// Deliveries and publications per second, added to those that are known.
    fn add_to(&mut self, channels: &mut HashMap<Channel, (f64, f64)>) {
        self.turn();
        let before = self.last.as_ref().map_or(Duration::ZERO, |(lasted, _)| *lasted);
        let seconds = (before + self.begun.elapsed()).as_secs_f64().max(1.0);
        let last = self.last.iter().flat_map(|(_, sketch)| sketch.counters());
        for counter in last.chain(self.current.counters()) {
            let (deliveries, publications) = channels.entry(counter.channel.clone()).or_default();
            *deliveries += counter.surely() as f64 / seconds;
            *publications += counter.times as f64 / seconds;
        }
    }
}

impl Relay {
    /// The channels that give this node most to do, the busiest first; those to which nobody listens are not among them.
    #[must_use]
    pub fn busiest(&self) -> Vec<Busy> {
        let mut channels = HashMap::new();
        for windows in &*self.busiest.0.lock() {
            windows.lock().add_to(&mut channels);
        }
        let busy = channels.into_iter().filter_map(|(channel, (deliveries, publications))| {
            let listeners = self.registry.get(&channel)?.state.lock().audience.len();
            (listeners > 0).then_some(Busy { channel, deliveries, publications, listeners })
        });
        let mut busy: Vec<_> = busy.collect();
        busy.sort_by(|one, other| other.deliveries.total_cmp(&one.deliveries));
        busy.truncate(COUNTERS);
        busy
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rates(busiest: &Busiest) -> HashMap<String, (f64, f64)> {
        let mut channels = HashMap::new();
        for windows in &*busiest.0.lock() {
            windows.lock().add_to(&mut channels);
        }
        channels.into_iter().map(|(channel, rates)| (channel.to_string(), rates)).collect()
    }

    #[tokio::test(start_paused = true)]
    async fn what_two_pumps_count_in_two_windows_is_told_by_the_second_and_forgotten_after() {
        let busiest = Busiest::default();
        let (mut one, mut other) = (busiest.meter(), busiest.meter());
        let [loud, quiet] = ["loud", "quiet"].map(|name| Channel::parse(name, 255).unwrap());
        for _ in 0..20 {
            tokio::time::advance(Duration::from_millis(500)).await;
            one.count(&loud, 10);
            other.count(&quiet, 2);
        }
        tokio::time::advance(Duration::from_secs(5)).await;
        let rates_now = rates(&busiest);
        let (deliveries, publications) = rates_now["loud"];
        assert!((deliveries - 200.0 / 15.0).abs() < 0.1 && (publications - 20.0 / 15.0).abs() < 0.1, "{rates_now:?}");
        assert!(rates_now["quiet"].0 < deliveries);
        tokio::time::advance(WINDOW * 2).await;
        assert!(rates(&busiest).is_empty());
    }

    #[tokio::test(start_paused = true)]
    async fn the_channel_of_events_that_nobody_can_name_was_among_the_busiest() {
        let busiest = Busiest::default();
        let mut meter = busiest.meter();
        meter.count(&Channel::of_events("chat"), 10);
        assert!(rates(&busiest).is_empty());
    }

    #[tokio::test(start_paused = true)]
    async fn of_large_batches_a_part_stands_for_all_also_where_publishers_take_turns() {
        let busiest = Busiest::default();
        let mut meter = busiest.meter();
        let channels: Vec<_> = (0..8).map(|n| Channel::parse(&format!("turn:{n}"), 255).unwrap()).collect();
        for _ in 0..1000 {
            for n in 0..64 {
                meter.count(&channels[n % 8], 1);
            }
            meter.batch(64);
        }
        tokio::time::advance(Duration::from_secs(1)).await;
        let rates = rates(&busiest);
        let total: f64 = rates.values().map(|(deliveries, _)| deliveries).sum();
        assert!((50_000.0..80_000.0).contains(&total), "{total}");
        assert!(
            rates.len() == 8 && rates.values().all(|(deliveries, _)| (4000.0..14_000.0).contains(deliveries)),
            "{rates:?}"
        );
    }
}
