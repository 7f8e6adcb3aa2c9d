//! What a subscriber asks for.

use std::sync::Arc;

use super::join::Outcome;
use super::recovery::{Bound, CatchUpError, latest, read_behind};
use super::since::Since;
use crate::backplane::{History, HistoryError, Stored, Top};
use crate::hub::{Base, Manner, Mark, SlowReader};
use crate::protocol::centrifuge::Filter;
use crate::protocol::{Channel, Offset};
use crate::settings::RecoveryMode;

/// What a subscriber asks for, already checked against its namespace's options.
#[derive(Debug, Clone, Default)]
pub struct Wish {
    pub since: Option<Since>,
    /// It is to be told when something is missing.
    pub positioned: bool,
    pub mode: RecoveryMode,
    /// Recovers at most this many publications.
    pub max_publications: usize,
    /// Recovers at most this many bytes.
    pub max_bytes: usize,
    /// Publications may come as patches.
    pub patches: bool,
    /// Only publications that pass.
    pub filter: Option<Arc<Filter>>,
    pub slow: SlowReader,
    /// It gets nothing before it is [let in](super::Relay::let_in).
    pub waits: bool,
}

impl Wish {
    /// Whether the subscriber is to get a publication.
    pub(super) fn wants(&self, message: &Stored) -> bool {
        self.filter.as_ref().is_none_or(|filter| filter.passes(&message.meta.tags))
    }

    /// How the subscriber listens, that has what it recovered.
    pub(super) fn manner(&self, outcome: &Outcome) -> Manner {
        let last = match outcome {
            Outcome::Recovered(messages) if self.patches => messages.last(),
            Outcome::Recovered(_) | Outcome::Fresh | Outcome::Refused(_) => None,
        };
        let has = last.map(|last| Base { mark: Mark::stored(last.offset), data: last.data.clone() });
        Manner { patches: self.patches, has, filter: self.filter.clone(), slow: self.slow }
    }

    /// The newest publication that the subscriber is to get.
    pub(super) async fn latest(
        &self,
        history: &dyn History,
        channel: &Channel,
        top: &Top,
    ) -> Result<Option<Stored>, HistoryError> {
        let Some(message) = latest(history, channel, top).await? else { return Ok(None) };
        if self.wants(&message) {
            return Ok(Some(message));
        }
        let bound = Bound { bytes: self.max_bytes, ..Bound::NONE };
        match read_behind(history, channel, Offset::NONE, message.offset, bound).await {
            Ok(messages) => Ok(messages.into_iter().rev().find(|message| self.wants(message))),
            Err(CatchUpError::Refused(_)) => Ok(None),
            Err(CatchUpError::Unavailable(error)) => Err(error),
        }
    }
}
