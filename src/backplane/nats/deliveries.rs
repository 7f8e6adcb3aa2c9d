//! From the live connection to the feed: which channel a subscription is for, where a message stands in the chain, and
//! what the other subscriptions of a node have to tell.

use std::collections::HashMap;
use std::sync::Arc;

use bytes::Bytes;
use foldhash::fast::RandomState;
use parking_lot::RwLock;
use tokio::sync::mpsc;
use tracing::{debug, warn};

use super::headers::{Envelope, number};
use super::keep::Keep;
use super::live::{Live, LiveEvent, LiveSubscribeError, Sid};
use super::overheard::Ear;
use super::presences::Records;
use super::refusals;
use super::registry::Shelf;
use super::signals::Signals;
use super::subjects::{Purpose, Subjects};
use crate::backplane::feed::FeedClosed;
use crate::backplane::{Delivery, FeedSender, Gap, GapCause, Incoming, Scope};
use crate::protocol::{Channel, Offset};
use crate::telemetry::{Pace, Telemetry};

/// What a subscription is for.
#[derive(Clone)]
pub enum Target {
    /// A channel's messages; with its keep where the namespace has history.
    Channel(Channel, Option<Arc<Keep>>),
    /// All messages of a namespace.
    Overheard(Ear),
    /// The messages of all channels of a namespace that has one order. The channel is the one by which it is found.
    Namespace(Channel, Arc<Keep>),
    /// What publishers say was stored but may not have come out.
    Nudges(Arc<Keep>),
    /// The advisory that the stream has a new leader.
    Leader(Arc<Keep>),
    /// The advisory that the stream cannot take writes.
    QuorumLost(Arc<Keep>),
    /// What other nodes say of the stream's epoch.
    Epoch(Arc<Keep>),
    /// What a registry's bucket republishes.
    Registry(Arc<Shelf>),
    /// The advisory that the bucket has a new leader.
    RegistryLeader(Arc<Shelf>),
    /// A channel's records of who is there.
    Records(Arc<Records>),
    /// The advisory that the stream of these records has a new leader.
    RecordsLeader(Arc<Records>),
}

/// What this node listens to.
pub struct Interests {
    table: RwLock<Table>,
    telemetry: Arc<Telemetry>,
}

#[derive(Default)]
struct Table {
    targets: HashMap<Sid, Target, RandomState>,
    sids: HashMap<Channel, Sid>,
    /// The server's word on those that it has taken back.
    refused: HashMap<Sid, String>,
}

impl Interests {
    pub fn new(telemetry: Arc<Telemetry>) -> Self {
        Self { table: RwLock::default(), telemetry }
    }

    /// Subscribes for `target`. Its messages are known from the first on, also those that are faster than the answer.
    pub async fn subscribe(&self, live: &Live, subject: &str, target: Target) -> Result<Sid, LiveSubscribeError> {
        let sid = live.new_sid();
        let channel = match &target {
            Target::Channel(channel, _) | Target::Namespace(channel, _) => Some(channel.clone()),
            Target::Overheard(_)
            | Target::Nudges(_)
            | Target::Leader(_)
            | Target::QuorumLost(_)
            | Target::Epoch(_)
            | Target::Registry(_)
            | Target::RegistryLeader(_)
            | Target::Records(_)
            | Target::RecordsLeader(_) => None,
        };
        self.table.write().targets.insert(sid, target);
        let mut expected = Expected { interests: self, sid, accepted: false };
        live.subscribe_as(sid, subject).await?;
        expected.accepted = true;
        let mut table = self.table.write();
        table.sids.extend(channel.map(|channel| (channel, sid)));
        self.telemetry.backplane.subscriptions.set(table.targets.len() as f64);
        Ok(sid)
    }

    /// Forgets a subscription that is not a channel's.
    pub fn forget(&self, sid: Sid) {
        let mut table = self.table.write();
        table.targets.remove(&sid);
        table.refused.remove(&sid);
        self.telemetry.backplane.subscriptions.set(table.targets.len() as f64);
    }

    pub fn contains(&self, channel: &Channel) -> bool {
        self.table.read().sids.contains_key(channel)
    }

    /// The server's word where it has taken back the subscription to a channel.
    pub fn refusal(&self, channel: &Channel) -> Option<String> {
        let table = self.table.read();
        table.refused.get(table.sids.get(channel)?).cloned()
    }

    /// Notes that the server has taken one back; what it was for.
    fn take_back(&self, sid: Sid, why: &str) -> Option<Target> {
        let mut table = self.table.write();
        let target = table.targets.get(&sid).cloned()?;
        table.refused.insert(sid, why.to_owned());
        Some(target)
    }

    /// Notes that the server takes it again; what it is for.
    fn grant(&self, sid: Sid) -> Option<Target> {
        let mut table = self.table.write();
        table.refused.remove(&sid);
        table.targets.get(&sid).cloned()
    }

    /// Forgets a channel, and returns the subscription to end.
    pub fn remove(&self, channel: &Channel) -> Option<Sid> {
        let mut table = self.table.write();
        let sid = table.sids.remove(channel)?;
        table.targets.remove(&sid);
        table.refused.remove(&sid);
        self.telemetry.backplane.subscriptions.set(table.targets.len() as f64);
        Some(sid)
    }

    /// Tells those who overhear that they may have missed something.
    fn miss_overheard(&self, cause: GapCause) {
        let table = self.table.read();
        let ears = table
            .targets
            .values()
            .filter_map(|target| if let Target::Overheard(ear) = target { Some(ear) } else { None });
        ears.for_each(|ear| ear.miss(cause));
    }

    fn target(&self, sid: Sid) -> Option<Target> {
        self.table.read().targets.get(&sid).cloned()
    }
}

/// A subscription that the server has not answered yet; forgotten unless it is accepted.
struct Expected<'a> {
    interests: &'a Interests,
    sid: Sid,
    accepted: bool,
}

impl Drop for Expected<'_> {
    fn drop(&mut self) {
        if !self.accepted {
            self.interests.table.write().targets.remove(&self.sid);
        }
    }
}

/// What a message that came is.
enum Came {
    Whole(Incoming),
    /// Its stream left the body out, so that it is to be read.
    Hollow,
    /// It was on its way when its stream was found to have begun anew. Channels begin where the new life was after that, so
    /// what there is of it is read, should it be of that life.
    Late,
}

/// Carries everything that the live connection brings into the feed, in order.
pub struct Pump {
    pub interests: Arc<Interests>,
    pub subjects: Subjects,
    pub feed: FeedSender,
    pub signals: Arc<Signals>,
    pub shelves: Arc<[Arc<Shelf>]>,
    /// Of lines about subscriptions that are taken back.
    pub complaints: Pace,
}

impl Pump {
    /// Runs until the connection ends or nobody reads the feed.
    pub async fn run(self, mut events: mpsc::Receiver<LiveEvent>) {
        while let Some(event) = events.recv().await {
            if self.handle(event).await.is_err() {
                debug!("nobody reads the feed any more");
                return;
            }
        }
    }

    async fn handle(&self, event: LiveEvent) -> Result<(), FeedClosed> {
        match event {
            LiveEvent::Message { sid, subject, headers, payload } => {
                // A subscription that ended a moment ago still brings what was on its way.
                let Some(target) = self.interests.target(sid) else { return Ok(()) };
                self.message(target, &subject, &headers, payload).await
            }
            LiveEvent::Disconnected { why } => {
                debug!(why, "live connection lost");
                self.signals.live_down(why);
                Ok(())
            }
            LiveEvent::Connected { server } => {
                debug!(server, "live connection established");
                self.signals.live_up();
                self.interests.miss_overheard(GapCause::Reconnect);
                self.shelves.iter().for_each(|shelf| shelf.missed());
                Ok(())
            }
            LiveEvent::Refused { sid, why } => {
                let Some(target) = self.interests.take_back(sid, &why) else { return Ok(()) };
                self.complaints.due().into_iter().for_each(|left_out| refusals::tell_of(&why, left_out));
                self.doubt(target).await
            }
            LiveEvent::Granted { sid } => match self.interests.grant(sid) {
                Some(target) => self.doubt(target).await,
                None => Ok(()),
            },
        }
    }

    /// What a subscription brings may be missing.
    async fn doubt(&self, target: Target) -> Result<(), FeedClosed> {
        match target {
            Target::Channel(channel, _) => {
                let scope = Scope::Channel { channel, up_to: Offset::NONE };
                return self.feed.send(Delivery::Gap(Gap { scope, cause: GapCause::Dropped })).await;
            }
            Target::Overheard(ear) => ear.miss(GapCause::Dropped),
            Target::Nudges(keep) | Target::Namespace(_, keep) => {
                let scope = Scope::Namespace(Arc::clone(&keep.namespace));
                return self.feed.send(Delivery::Gap(Gap { scope, cause: GapCause::Dropped })).await;
            }
            Target::Leader(keep) => self.signals.leader_elected(&keep.namespace),
            Target::Epoch(keep) => self.signals.check_epoch(&keep.namespace),
            // Writes show it too.
            Target::QuorumLost(_) => {}
            Target::Registry(shelf) | Target::RegistryLeader(shelf) => shelf.missed(),
            Target::Records(records) | Target::RecordsLeader(records) => records.doubt_changes(),
        }
        Ok(())
    }

    async fn message(&self, target: Target, subject: &Bytes, headers: &Bytes, data: Bytes) -> Result<(), FeedClosed> {
        match target {
            Target::Channel(channel, keep) => match self.incoming(&channel, keep.as_deref(), headers, data) {
                Came::Whole(incoming) => self.feed.send(Delivery::Message(incoming)).await,
                Came::Hollow => self.doubt(Target::Channel(channel, keep)).await,
                Came::Late => Ok(()),
            },
            Target::Overheard(ear) => {
                let channel = std::str::from_utf8(subject).ok();
                if let Some(channel) = channel.and_then(|subject| self.subjects.channel(ear.purpose, subject)) {
                    match self.incoming(&channel, ear.keep.as_deref(), headers, data) {
                        Came::Whole(incoming) => ear.hear(Delivery::Message(incoming)),
                        Came::Hollow => ear.miss(GapCause::Dropped),
                        Came::Late => {}
                    }
                }
                Ok(())
            }
            Target::Namespace(_, keep) => {
                let subject = std::str::from_utf8(subject).unwrap_or_default();
                // Its offset is needed also where nobody can listen to it: nothing may seem to be missing.
                let channel = self.subjects.channel(Purpose::Live, subject);
                let channel = channel.unwrap_or_else(|| Channel::of_marks(&keep.namespace));
                match self.incoming(&channel, Some(&keep), headers, data) {
                    Came::Whole(incoming) => self.feed.send(Delivery::Message(incoming)).await,
                    Came::Hollow => self.doubt(Target::Channel(channel, Some(keep))).await,
                    Came::Late => Ok(()),
                }
            }
            Target::Nudges(keep) => self.nudge(&keep, subject, &data).await,
            Target::Leader(keep) => {
                self.signals.leader_elected(&keep.namespace);
                self.interests.miss_overheard(GapCause::LeaderElected);
                Ok(())
            }
            Target::QuorumLost(keep) => {
                warn!(stream = keep.plan.name, "stream lost its quorum");
                keep.stalled();
                Ok(())
            }
            Target::Epoch(keep) => {
                self.signals.check_epoch(&keep.namespace);
                Ok(())
            }
            Target::Registry(shelf) => {
                shelf.heard(subject, headers, data);
                Ok(())
            }
            Target::RegistryLeader(shelf) => {
                shelf.missed();
                Ok(())
            }
            Target::Records(records) => {
                records.arrived(headers, data);
                Ok(())
            }
            Target::RecordsLeader(records) => {
                records.doubt_changes();
                Ok(())
            }
        }
    }

    fn incoming(&self, channel: &Channel, keep: Option<&Keep>, headers: &Bytes, data: Bytes) -> Came {
        let channel = channel.clone();
        if headers.is_empty() {
            return Came::Whole(Incoming { channel, data, meta: Default::default(), link: None });
        }
        let mut envelope = Envelope::of_block(headers);
        // Only the stream's own republished messages have a place in the chain; elsewhere such headers are a publisher's.
        let ours = keep.filter(|keep| envelope.stream == Some(&*keep.plan.name));
        if let Some(keep) = ours.filter(|_| envelope.is_hollow(&data)) {
            self.signals.check_epoch(&keep.namespace);
            return Came::Hollow;
        }
        let link = ours.and_then(|_| envelope.link());
        if let Some((keep, link)) = ours.zip(link.as_ref()) {
            if keep.is_of_another_life(link) {
                return Came::Late;
            }
            if !keep.delivered(link) {
                self.signals.check_epoch(&keep.namespace);
            }
        }
        let meta = envelope.meta();
        if envelope.malformed > 0 {
            self.interests.telemetry.backplane.malformed_metadata.increment(envelope.malformed);
        }
        Came::Whole(Incoming { channel, data, meta, link })
    }

    async fn nudge(&self, keep: &Keep, subject: &Bytes, data: &Bytes) -> Result<(), FeedClosed> {
        let subject = std::str::from_utf8(subject).unwrap_or_default();
        let Some(channel) = self.subjects.channel(Purpose::Nudge, subject) else { return Ok(()) };
        let ordered = Channel::of_events(&keep.namespace);
        let heard = self.interests.contains(&channel) || self.interests.contains(&ordered);
        if channel.namespace() != &*keep.namespace || !heard {
            return Ok(());
        }
        let up_to = Offset(number(std::str::from_utf8(data).ok()));
        let scope = Scope::Channel { channel, up_to };
        self.feed.send(Delivery::Gap(Gap { scope, cause: GapCause::Nudge })).await
    }
}
