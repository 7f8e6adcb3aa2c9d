//! Takes deliveries from one feed, in order, and passes them to the audiences.
//!
//! Everything that is ready is delivered first and every touched socket written once afterwards: the busier a node is,
//! the less a delivery costs.

use std::sync::Arc;

use tokio::time::Instant;

use super::Relay;
use super::busiest::Meter;
use super::publication::standing_frames;
use super::topic::{Arrival, Topic, Wanted, stored};
use crate::backplane::{Delivery, Feed, Gap, GapCause, Incoming, Scope};
use crate::hub::{Flushed, Outbox};
use crate::protocol::Offset;

/// Deliveries handled before the sockets are written.
const BATCH: usize = 64;
/// Sockets written before other tasks get their turn.
const YIELD_EVERY: usize = 256;

/// Runs until the feed ends. The `first` pump also answers for gaps that concern more than one channel.
pub(super) async fn run(relay: Arc<Relay>, mut feed: Feed, mut meter: Meter, first: bool) {
    let mut touched = Vec::new();
    while let Some(delivery) = feed.next().await {
        relay.take(delivery, first, &mut meter, &mut touched);
        let mut taken = 1;
        while taken < BATCH {
            let Some(delivery) = feed.try_next() else { break };
            relay.take(delivery, first, &mut meter, &mut touched);
            taken += 1;
        }
        meter.batch(taken);
        flush(&mut touched).await;
    }
}

/// Writes every touched outbox once.
pub(super) async fn flush(touched: &mut Vec<Arc<Outbox>>) {
    for (index, outbox) in touched.drain(..).enumerate() {
        match outbox.flush() {
            // The session is told by the outbox itself.
            Flushed::Empty | Flushed::Blocked | Flushed::Gone => {}
        }
        if index % YIELD_EVERY == YIELD_EVERY - 1 {
            tokio::task::yield_now().await;
        }
    }
}

impl Relay {
    fn take(&self, delivery: Delivery, first: bool, meter: &mut Meter, touched: &mut Vec<Arc<Outbox>>) {
        match delivery {
            Delivery::Message(message) => self.take_message(message, meter, touched),
            Delivery::Gap(gap) => self.take_gap(gap, first),
        }
    }

    fn take_message(&self, message: Incoming, meter: &mut Meter, touched: &mut Vec<Arc<Outbox>>) {
        // Held until the publication has passed: nobody is let in between two channels meanwhile.
        let mut passing = self.orders.get(message.channel.namespace()).map(|order| order.pass());
        let found = self.registry.get(&message.channel);
        if let Some((passing, link)) = passing.as_mut().zip(message.link.as_ref()) {
            let epoch = found.as_ref().and_then(|topic| topic.state.lock().epoch());
            if passing.note(link, epoch) {
                self.audits.demand(message.channel.namespace(), GapCause::Hole);
            }
        }
        let Some(topic) = found else {
            // Nobody listens, or nobody any more: then the unsubscription is on its way.
            if let Some(probe) = self.probe.get() {
                probe(&message);
            }
            return;
        };
        if let Some(link) = message.link {
            self.audits.saw(&topic.namespace.name, link.offset);
        }
        let copy = stored(message.clone());
        let Wanted { formats, base, patches } = topic.state.lock().wanted();
        // Encoded before the lock is taken again.
        let offset = message.link.map(|link| link.offset);
        let stand = passing.as_mut().map(|passing| passing.stand(offset, &self.registry));
        let frames = standing_frames(&topic, &copy, base.as_ref(), stand.as_ref());
        if frames.is_withheld() {
            self.count_withheld(&topic.channel);
        }
        self.prepare(&topic.channel, &frames, formats, patches);
        let begun = Instant::now();
        let arrival = topic.state.lock().arrive(message, &frames, touched);
        match arrival {
            Arrival::Delivered(reach) => {
                self.count_reach(reach);
                meter.count(&topic.channel, reach.messages());
                self.time_delivery(&topic, &copy, begun.elapsed());
            }
            Arrival::Dropped | Arrival::Held { overflow: false } => {}
            Arrival::Held { overflow: true } => self.count_overflow(),
            Arrival::Hole(cause) => {
                cause.into_iter().for_each(|cause| self.count_gap(cause));
                self.heals.push(Arc::clone(&topic));
            }
        }
    }

    fn take_gap(&self, gap: Gap, first: bool) {
        match gap.scope {
            Scope::Channel { channel, up_to } => {
                if let Some(topic) = self.registry.get(&channel) {
                    self.take_channel_gap(&topic, gap.cause, up_to);
                }
            }
            Scope::Namespace(namespace) if first => self.audits.demand(&namespace, gap.cause),
            Scope::Everything if first => self.audits.demand_all(gap.cause),
            Scope::Namespace(_) | Scope::Everything => {}
        }
    }

    fn take_channel_gap(&self, topic: &Arc<Topic>, cause: GapCause, up_to: Offset) {
        if !topic.has_history() {
            self.tell_loss(topic, cause);
            return;
        }
        let had = topic.state.lock().had();
        let behind = up_to == Offset::NONE || had.is_some_and(|had| had < up_to);
        if behind {
            self.suspect(topic, cause, up_to);
        }
    }
}
