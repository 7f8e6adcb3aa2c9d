//! Which of many channels weigh most, in bounded room ("space-saving", Metwally, Agrawal and El Abbadi, 2005).
//!
//! A channel that finds every counter taken gets the lightest one, with the weight that it holds: so a counter may hold too
//! much, by no more than that, and whoever weighs more than the lightest is never missed.

use std::collections::HashMap;

use crate::protocol::Channel;

/// So many counters for any number of channels.
#[derive(Debug)]
pub(super) struct Sketch {
    capacity: usize,
    counters: Vec<Counter>,
    places: HashMap<Channel, usize>,
}

/// What is known of one channel. All of it is counted since the channel has this counter.
#[derive(Debug, Clone)]
pub(super) struct Counter {
    pub(super) channel: Channel,
    /// What it weighs, and what the counter held before.
    weight: u64,
    inherited: u64,
    pub(super) times: u64,
}

impl Counter {
    /// What the channel weighs at least.
    pub(super) const fn surely(&self) -> u64 {
        self.weight - self.inherited
    }
}

impl Sketch {
    pub(super) fn new(capacity: usize) -> Self {
        Self { capacity, counters: Vec::new(), places: HashMap::new() }
    }

    /// Notes that `channel` came so many `times`, and weighed so much in all.
    pub(super) fn note(&mut self, channel: &Channel, times: u64, weight: u64) {
        if let Some(place) = self.places.get(channel) {
            let counter = &mut self.counters[*place];
            counter.weight += weight;
            counter.times += times;
            return;
        }
        if self.counters.len() < self.capacity {
            self.places.insert(channel.clone(), self.counters.len());
            self.counters.push(Counter { channel: channel.clone(), weight, inherited: 0, times });
            return;
        }
        let lightest = self.counters.iter_mut().enumerate().min_by_key(|(_, counter)| counter.weight);
        let Some((place, counter)) = lightest else { return };
        let inherited = counter.weight;
        let anew = Counter { channel: channel.clone(), weight: inherited + weight, inherited, times };
        let displaced = std::mem::replace(counter, anew);
        self.places.remove(&displaced.channel);
        self.places.insert(channel.clone(), place);
    }

    pub(super) fn counters(&self) -> &[Counter] {
        &self.counters
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn channel(name: &str) -> Channel {
        Channel::parse(name, 255).unwrap()
    }

    fn surely(sketch: &Sketch, name: &str) -> Option<u64> {
        sketch.counters().iter().find(|counter| counter.channel.as_str() == name).map(Counter::surely)
    }

    #[test]
    fn with_room_for_all_everything_is_counted() {
        let mut sketch = Sketch::new(4);
        for name in ["a", "b", "a", "c", "a"] {
            sketch.note(&channel(name), 1, 10);
        }
        assert_eq!(["a", "b", "c", "d"].map(|name| surely(&sketch, name)), [Some(30), Some(10), Some(10), None]);
        assert_eq!(sketch.counters().iter().map(|counter| counter.times).sum::<u64>(), 5);
    }

    #[test]
    fn who_weighs_much_is_found_among_any_number_of_others_and_never_weighed_too_heavy() {
        let mut sketch = Sketch::new(16);
        for n in 0..10_000 {
            sketch.note(&channel(&format!("quiet:{n}")), 1, 1);
            if n % 10 == 0 {
                sketch.note(&channel("loud"), 1, 5);
            }
        }
        assert_eq!(sketch.counters().len(), 16);
        let loud = surely(&sketch, "loud").unwrap();
        assert!((4000..=5000).contains(&loud), "{loud}");
        assert!(sketch.counters().iter().all(|counter| counter.channel.as_str() == "loud" || counter.surely() <= 1));
    }
}
