//! What the relay counts.

use std::time::Duration;

use tokio::sync::SemaphorePermit;
use tracing::warn;

use super::Relay;
use super::join::Outcome;
use super::publication::is_carried;
use super::recovery::{Refusal, age};
use super::topic::Topic;
use crate::backplane::message::now;
use crate::backplane::{GapCause, PublishError, Stored};
use crate::hub::{Frames, Reach, TurnedAway};
use crate::protocol::Channel;
use crate::protocol::centrifuge::{Encoding, Format};
use crate::telemetry::{self, Overflow, PublishFailure, Recovery, RecoverySource, SlowAction, Source};

impl Relay {
    pub(super) fn count_reach(&self, reach: Reach) {
        self.tally.delivered(reach.messages());
        let clients = &self.telemetry.clients;
        clients.count_sent(reach.by_format());
        for (action, count) in [(SlowAction::Conflated, reach.conflated), (SlowAction::Parked, reach.parked)] {
            if count > 0 {
                clients.slow_consumers.of(action).increment(count as u64);
            }
        }
    }

    pub(super) fn time_delivery(&self, topic: &Topic, message: &Stored, took: Duration) {
        let relay = &self.telemetry.relay;
        relay.fanout_duration.record(took);
        if message.stored_at > 0 {
            relay.delivery_duration.of(&topic.namespace.name).record(age(message, now()));
        }
    }

    /// Something reached the backplane past us that its namespace does not take, or that this node cannot read.
    pub(super) fn count_withheld(&self, channel: &Channel) {
        if channel.is_of_events() {
            // Nodes alone publish there; one of a later version may say what this one does not understand.
            return self.telemetry.cluster.not_understood(telemetry::Topic::Emit);
        }
        self.telemetry.relay.publish_errors.of((Source::Nats, PublishFailure::Refused)).increment(1);
        if let Some(left_out) = self.unfit.due() {
            warn!(
                %channel,
                left_out,
                "a publication was withheld: its data is not what the namespace's publication_data_format asks for"
            );
        }
    }

    /// Encodes a message, and warns where a format cannot carry it: connections in that are closed.
    pub(super) fn prepare(
        &self,
        channel: &Channel,
        frames: &Frames<'_>,
        mut formats: impl Iterator<Item = Format> + Clone,
        patches: bool,
    ) {
        frames.prepare(formats.clone(), patches);
        let unfit = !frames.is_withheld() && formats.any(|format| frames.plain(format).is_none());
        if unfit {
            self.warn_unfit(channel);
        }
    }

    /// Whether a reply in this encoding can hold what was read of a channel; where not, warns, since its client is closed.
    pub fn can_carry(&self, channel: &Channel, encoding: Encoding, messages: &[Stored]) -> bool {
        let carried = messages.iter().all(|message| message.meta.tombstone || is_carried(encoding, message));
        if !carried {
            self.warn_unfit(channel);
        }
        carried
    }

    fn warn_unfit(&self, channel: &Channel) {
        if let Some(left_out) = self.unfit.due() {
            warn!(
                %channel,
                left_out,
                "a publication that is no JSON closes every JSON client that gets it (3506); \
                 publication_data_format = \"json\" in the namespace withholds such publications"
            );
        }
    }

    pub(super) fn count_overflow(&self) {
        self.telemetry.queues.overflows.of(Overflow::Healing).increment(1);
    }

    /// Lets a recovery read history, when it is its turn.
    pub(super) async fn permit(&self) -> Result<SemaphorePermit<'_>, TurnedAway> {
        self.recoveries
            .enter()
            .await
            .inspect_err(|_| self.telemetry.queues.overflows.of(Overflow::Recovery).increment(1))
    }

    pub(super) fn count_gap(&self, cause: GapCause) {
        self.telemetry.relay.gaps.of(cause).increment(1);
    }

    pub(super) fn count_unhealed(&self, cause: GapCause) {
        self.telemetry.relay.gaps_unhealed.of(cause).increment(1);
    }

    pub(super) fn count_publish(&self, channel: &Channel, source: Source, error: Option<&PublishError>) {
        let relay = &self.telemetry.relay;
        let failure = match error {
            None => {
                relay.publications.of(channel.namespace()).of(source).increment(1);
                return;
            }
            Some(PublishError::Unavailable(_)) => PublishFailure::Unavailable,
            Some(PublishError::Unknown(_)) => PublishFailure::Unknown,
            Some(PublishError::TooLarge { .. }) => PublishFailure::TooLarge,
            Some(PublishError::Refused(_)) => PublishFailure::Refused,
        };
        relay.publish_errors.of((source, failure)).increment(1);
    }

    /// Counts how a recovery ended; `None` for one that failed.
    pub(super) fn count_recovery(&self, outcome: Option<&Outcome>) {
        let relay = &self.telemetry.relay;
        let result = match outcome {
            Some(Outcome::Recovered(messages)) => {
                relay.recovered_publications.record(messages.len() as f64);
                if messages.is_empty() { Recovery::Empty } else { Recovery::Full }
            }
            Some(Outcome::Refused(Refusal::Epoch | Refusal::Ahead | Refusal::Inexact)) => Recovery::RefusedEpoch,
            Some(Outcome::Refused(Refusal::Limit)) => Recovery::RefusedLimit,
            Some(Outcome::Refused(Refusal::Trimmed | Refusal::Removed | Refusal::Expired)) => Recovery::RefusedGap,
            Some(Outcome::Fresh) => return,
            None => Recovery::Error,
        };
        relay.recoveries.of(result).increment(1);
    }

    pub(super) fn time_recovery(&self, source: RecoverySource, took: Duration) {
        self.telemetry.relay.recovery_duration.of(source).record(took);
    }
}
