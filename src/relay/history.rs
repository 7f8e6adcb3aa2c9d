//! Reading a channel's history, for clients and backends.

use super::Relay;
use super::publication::is_withheld;
use super::recovery::{Bound, CatchUpError, age, read_behind};
use super::since::Since;
use crate::backplane::{HistoryError, Stored};
use crate::hub::TurnedAway;
use crate::protocol::{Channel, Offset, Position};
use crate::settings::Namespace;

/// What of a history is wanted.
#[derive(Debug, Clone, Default)]
pub struct HistoryQuery {
    /// At most this many publications; 0 asks for the position only, `None` for all.
    pub limit: Option<usize>,
    /// Only what lies behind this position (before it, when reversed).
    pub since: Option<Since>,
    /// Newest first.
    pub reverse: bool,
}

/// A part of a channel's history.
#[derive(Debug, Clone)]
pub struct HistoryPage {
    pub publications: Vec<Stored>,
    /// Where the channel stands.
    pub position: Position,
}

/// Why there is nothing to read.
#[derive(Debug, thiserror::Error)]
pub enum HistoryQueryError {
    #[error("namespace {0:?} keeps no history")]
    Absent(String),
    #[error("the position is of another epoch, or too large to be exact")]
    Unrecoverable,
    #[error(transparent)]
    Unavailable(#[from] HistoryError),
    #[error("too many read history: {0}")]
    Busy(#[from] TurnedAway),
}

impl Relay {
    /// Reads history, when it is its turn: like a recovery it may read a whole channel.
    ///
    /// # Errors
    /// Where the namespace keeps none, the position's epoch is another or its offset doubtful, too many wait, or the backplane
    /// does not answer.
    pub async fn history(
        &self,
        channel: &Channel,
        namespace: &Namespace,
        query: &HistoryQuery,
    ) -> Result<HistoryPage, HistoryQueryError> {
        let absent = || HistoryQueryError::Absent(namespace.name.to_string());
        let options = namespace.history.as_ref().ok_or_else(absent)?;
        let history = self.backplane.history().ok_or_else(absent)?;
        let top = history.top(channel).await?;
        let position = top.position();
        if let Some(since) = &query.since
            && since.refusal(&position.epoch).is_some()
        {
            return Err(HistoryQueryError::Unrecoverable);
        }
        let mut publications = match top.newest {
            Some(newest) if query.limit != Some(0) => {
                let _permit = self.permit().await?;
                let from = query.since.as_ref().filter(|_| !query.reverse).map_or(Offset::NONE, |since| since.offset);
                match read_behind(history, channel, from, newest, Bound::NONE).await {
                    Ok(messages) => messages,
                    Err(CatchUpError::Unavailable(error)) => return Err(error.into()),
                    Err(CatchUpError::Refused(_)) => Vec::new(),
                }
            }
            _ => Vec::new(),
        };
        let removed = publications.iter().rposition(|message| message.meta.tombstone).map_or(0, |index| index + 1);
        publications.drain(..removed);
        let surplus = publications.len().saturating_sub(options.size);
        publications.drain(..surplus);
        let now = history.now(channel.namespace());
        publications.retain(|message| age(message, now) <= options.ttl && !is_withheld(namespace, message));
        Ok(HistoryPage { publications: select(publications, query), position })
    }

    /// Removes everything that was published in a channel so far.
    ///
    /// # Errors
    /// Where the namespace keeps no history, or the backplane does not answer.
    pub async fn remove_history(&self, channel: &Channel, namespace: &Namespace) -> Result<(), HistoryQueryError> {
        let history = namespace.history.as_ref().and_then(|_| self.backplane.history());
        let history = history.ok_or_else(|| HistoryQueryError::Absent(namespace.name.to_string()))?;
        Ok(history.remove(channel).await?)
    }
}

fn select(mut publications: Vec<Stored>, query: &HistoryQuery) -> Vec<Stored> {
    let since = query.since.as_ref().map(|since| since.offset);
    if query.reverse {
        publications.reverse();
        publications.retain(|message| since.is_none_or(|since| message.offset < since));
    } else {
        publications.retain(|message| since.is_none_or(|since| message.offset > since));
    }
    publications.truncate(query.limit.unwrap_or(usize::MAX));
    publications
}
