//! The topics of this node, by channel.

use std::collections::HashMap;
use std::hash::BuildHasher;
use std::sync::Arc;
use std::time::Duration;

use super::order::Order;
use super::topic::Topic;
use crate::backplane::Backplane;
use crate::protocol::Channel;
use crate::settings::Namespace;
use crate::telemetry::Telemetry;
use foldhash::fast::FixedState;
use parking_lot::Mutex;

const SHARDS: usize = 16;
/// How long a channel stays subscribed after its last listener left: reconnecting clients find it open.
const LINGER: Duration = Duration::from_secs(5);

type Shard = HashMap<Channel, Arc<Topic>, foldhash::fast::RandomState>;

/// Topics by channel, and those that nobody listens to any more.
#[derive(Default)]
pub(super) struct Registry {
    shards: [Mutex<Shard>; SHARDS],
    idle: Mutex<Vec<Arc<Topic>>>,
}

impl Registry {
    pub(super) fn get(&self, channel: &Channel) -> Option<Arc<Topic>> {
        self.shard(channel).lock().get(channel).cloned()
    }

    /// The channel's topic, made when there is none; and whether it was.
    pub(super) fn get_or_make(
        &self,
        channel: &Channel,
        namespace: &Arc<Namespace>,
        order: Option<&Arc<Order>>,
    ) -> (Arc<Topic>, bool) {
        let mut shard = self.shard(channel).lock();
        if let Some(topic) = shard.get(channel) {
            return (Arc::clone(topic), false);
        }
        let topic = Arc::new(Topic::new(channel.clone(), Arc::clone(namespace), order.cloned()));
        shard.insert(channel.clone(), Arc::clone(&topic));
        drop(shard);
        self.idle.lock().push(Arc::clone(&topic));
        (topic, true)
    }

    /// Every topic, at one moment or another.
    pub(super) fn all(&self) -> Vec<Arc<Topic>> {
        self.shards.iter().flat_map(|shard| shard.lock().values().cloned().collect::<Vec<_>>()).collect()
    }

    /// Every topic of a namespace.
    pub(super) fn of_namespace(&self, namespace: &str) -> Vec<Arc<Topic>> {
        let mut topics = self.all();
        topics.retain(|topic| &*topic.namespace.name == namespace);
        topics
    }

    /// Notes that a topic lost its last listener.
    pub(super) fn list_idle(&self, topic: Arc<Topic>) {
        self.idle.lock().push(topic);
    }

    /// Lets go of topics that have been idle for long, here and in the backplane.
    pub(super) fn sweep_idle(&self, backplane: &dyn Backplane, telemetry: &Telemetry) {
        let candidates = std::mem::take(&mut *self.idle.lock());
        let mut waiting = Vec::new();
        for topic in candidates {
            // Held until it is closed, so that nobody opens it meanwhile.
            let turn = topic.turn.try_take();
            let closed = turn.is_some() && self.close_if_idle(&topic, backplane);
            drop(turn);
            if closed {
                telemetry.relay.channels.of(&topic.namespace.name).decrement(1.0);
            } else {
                let mut state = topic.state.lock();
                state.listed_idle = state.idle_since.is_some();
                if state.listed_idle {
                    drop(state);
                    waiting.push(topic);
                }
            }
        }
        self.idle.lock().extend(waiting);
    }

    fn close_if_idle(&self, topic: &Arc<Topic>, backplane: &dyn Backplane) -> bool {
        // The registry's lock first: nobody may make a new topic of this channel before the backplane let go of it.
        let mut shard = self.shard(&topic.channel).lock();
        let mut state = topic.state.lock();
        let idle = state.idle_since.is_some_and(|since| since.elapsed() > LINGER) && state.audience.is_empty();
        if idle {
            state.closed = true;
            shard.remove(&topic.channel);
            backplane.unsubscribe(&topic.channel);
        }
        idle
    }

    fn shard(&self, channel: &Channel) -> &Mutex<Shard> {
        let hash = FixedState::with_seed(1).hash_one(channel);
        &self.shards[(hash % SHARDS as u64) as usize]
    }
}
