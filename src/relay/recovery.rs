//! What was missed since a position: everything, proven, or a refusal with its reason.
//!
//! Offsets have holes, so "first == position + 1" proves nothing. What proves is this: removal takes a channel's oldest
//! message first, so if any message at or before the position is still stored, nothing behind the position was removed.
//! Or this: whoever is pushed out leaves as many newer ones as the channel keeps, so where there are fewer than were kept at
//! any time since ([`Depths`](crate::backplane::Depths)), nobody was.

use std::time::Duration;

use tokio::time::sleep;
use tracing::debug;

use crate::backplane::{Bounds, History, HistoryError, Page, Stored, Top};
use crate::protocol::{Channel, Epoch, Offset, Position};

/// Messages read at once, and by somebody who takes one part after another.
const PAGE: usize = 500;
const SMALL_PAGE: usize = 64;
/// How often a replica that lags behind the channel's top is asked again.
const STALE_RETRIES: u32 = 20;
/// How long it gets to catch up in between.
const STALE_WAIT: Duration = Duration::from_millis(25);

/// Everything behind a position, up to the channel's top; or as much of it as was wanted.
#[derive(Debug, Clone)]
pub(super) struct CaughtUp {
    /// Ascending, without a hole.
    pub(super) messages: Vec<Stored>,
    /// Where a reader stands who has them: the channel has nothing else up to here.
    pub(super) top: Position,
    /// The channel's newest stored message.
    pub(super) newest: Option<Offset>,
}

/// Why recovery is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, thiserror::Error)]
pub enum Refusal {
    /// The position is of another life of the history.
    #[error("the history has another epoch")]
    Epoch,
    /// Something behind the position is no longer stored, or may have been removed.
    #[error("messages after the position are no longer stored")]
    Trimmed,
    /// Messages behind the position were removed on purpose.
    #[error("messages after the position were removed")]
    Removed,
    /// Something behind the position is older than readers may see.
    #[error("messages after the position have passed the history's time to live")]
    Expired,
    /// More was missed than one reply may carry.
    #[error("more was missed than one recovery may carry")]
    Limit,
    /// The position lies ahead of everything stored.
    #[error("the position lies ahead of everything stored")]
    Ahead,
    /// The client may have rounded the position, and so may have missed what lies beside it.
    #[error("the position is too large to be exact")]
    Inexact,
}

/// Why a catch-up has no result.
#[derive(Debug, thiserror::Error)]
pub(super) enum CatchUpError {
    #[error(transparent)]
    Refused(#[from] Refusal),
    #[error(transparent)]
    Unavailable(#[from] HistoryError),
}

/// What is done where there is more than a bound allows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Excess {
    /// Nothing is given at all.
    Refused,
    /// The oldest are given, one at least. The rest is asked for later, from where they end.
    Later,
}

/// What bounds a catch-up.
#[derive(Debug, Clone, Copy)]
pub(super) struct Bound {
    /// At most this many messages.
    pub(super) messages: usize,
    /// At most this many bytes of data.
    pub(super) bytes: usize,
    pub(super) excess: Excess,
    /// None older than this.
    pub(super) ttl: Option<Duration>,
}

impl Bound {
    /// None.
    pub(super) const NONE: Self = Self { messages: usize::MAX, bytes: usize::MAX, excess: Excess::Refused, ttl: None };

    const fn page(&self) -> usize {
        match self.excess {
            Excess::Refused => PAGE,
            Excess::Later => SMALL_PAGE,
        }
    }
}

/// Reads everything of `channel` behind `from`, and proves that nothing is missing. There is nothing between `from` and
/// `known`, which the caller proved before, or has from somebody who did.
pub(super) async fn catch_up(
    history: &dyn History,
    channel: &Channel,
    epoch: &Epoch,
    from: Offset,
    known: Offset,
    bound: Bound,
) -> Result<CaughtUp, CatchUpError> {
    let (top, first) = tokio::join!(history.top(channel), history.page(channel, from, bound.page()));
    let top = top?;
    if top.epoch != *epoch {
        return Err(Refusal::Epoch.into());
    }
    if known > top.last {
        return Err(Refusal::Ahead.into());
    }
    let nothing = |through| CaughtUp {
        messages: Vec::new(),
        top: Position { offset: through, epoch: epoch.clone() },
        newest: top.newest,
    };
    let Some(newest) = top.newest else {
        // Nothing is stored. That proves nothing, unless nothing was stored in the whole namespace since, or removed.
        let complete = known == top.last || bounds_in(epoch, history, channel).await?.first <= known.next();
        return if complete { Ok(nothing(top.last)) } else { Err(Refusal::Trimmed.into()) };
    };
    if newest <= from {
        return Ok(nothing(from));
    }
    let read = read_up_to(history, channel, first?, from, newest, bound).await?;
    if read.messages.iter().any(|message| message.meta.tombstone) {
        return Err(Refusal::Removed.into());
    }
    // Asked first, since it asks least. Pages that meet are whole up to the end of the last.
    let holds = read.position_is_stored && !read.broken && history.holds(channel, from).await?;
    if !holds && !read.is_whole(&bounds_in(epoch, history, channel).await?, known) {
        return Err(Refusal::Trimmed.into());
    }
    if let Some(ttl) = bound.ttl
        && read.messages.first().is_some_and(|oldest| age(oldest, history.now(channel.namespace())) > ttl)
    {
        return Err(Refusal::Expired.into());
    }
    debug!(
        %channel, %from, %known, %newest, last = %top.last, read = read.messages.len(), seen = read.seen,
        position_is_stored = read.position_is_stored, holds,
        "read what was missed, whole"
    );
    let offset = read.messages.last().map_or(newest, |last| last.offset);
    let top = Position { offset, epoch: epoch.clone() };
    Ok(CaughtUp { messages: read.messages, top, newest: Some(newest) })
}

/// Reads everything of `channel` behind `from` up to `newest`, without asking what was removed in between.
pub(super) async fn read_behind(
    history: &dyn History,
    channel: &Channel,
    from: Offset,
    newest: Offset,
    bound: Bound,
) -> Result<Vec<Stored>, CatchUpError> {
    let first = history.page(channel, from, bound.page()).await?;
    Ok(read_up_to(history, channel, first, from, newest, bound).await?.messages)
}

#[derive(Default)]
struct Read {
    messages: Vec<Stored>,
    /// Bytes of data in them.
    bytes: usize,
    /// Messages that there are behind the position, also those that are for later.
    seen: usize,
    /// The message at the position itself is still there, on the page that brings what follows it. What one replica holds
    /// proves nothing of the page of another, which may have lost it, and more, since.
    position_is_stored: bool,
    /// A page does not begin where the one before ended.
    broken: bool,
    /// More followed behind a page than was on it.
    cut: bool,
    /// Messages on the page with the most.
    fullest: usize,
    /// Everything was read, not only a part.
    to_the_end: bool,
}

impl Read {
    /// Takes the next message, unless it is for later.
    fn take(&mut self, message: Stored, bound: Bound) {
        self.seen += 1;
        if !self.is_part(bound) {
            self.bytes += message.data.len();
            self.messages.push(message);
        }
    }

    /// Whether it is as much as one part may be.
    fn is_part(&self, bound: Bound) -> bool {
        bound.excess == Excess::Later && !self.messages.is_empty() && self.bytes >= bound.bytes
    }

    /// Takes note of what a page proves, of which everything up to `reached` was read before.
    fn examine(&mut self, page: &Page, from: Offset, reached: Offset) {
        let Some(first) = page.messages.first().map(|message| message.offset) else { return };
        if self.messages.is_empty() {
            self.position_is_stored = first == from;
        } else {
            self.broken |= first != reached;
        }
        self.cut |= page.more;
        self.fullest = self.fullest.max(page.messages.len());
    }

    /// Whether nothing is missing behind `known`, although the position is not stored any more when the store's `bounds`
    /// are asked for.
    ///
    /// Whoever is pushed out leaves as many newer ones as are kept. All of those are there when the reading comes to the end.
    /// So nothing was pushed out if fewer were seen; and nothing *between* the messages of a page, if it reaches the end and
    /// holds fewer.
    fn is_whole(&self, bounds: &Bounds, known: Offset) -> bool {
        let kept = bounds.depths.since(known);
        let nothing_pushed_out = self.to_the_end && self.seen < kept;
        let pages_are_whole = !self.cut && self.fullest < kept;
        let proven = nothing_pushed_out || (self.position_is_stored && pages_are_whole);
        proven && !self.broken && bounds.first <= known.next()
    }
}

/// Reads from `page` on until `newest` is reached, however far the replicas that answer lag behind.
async fn read_up_to(
    history: &dyn History,
    channel: &Channel,
    mut page: Page,
    from: Offset,
    newest: Offset,
    bound: Bound,
) -> Result<Read, CatchUpError> {
    let mut read = Read::default();
    let mut reached = from;
    let mut stale = 0;
    loop {
        read.examine(&page, from, reached);
        let before = reached;
        for message in page.messages {
            if message.offset > reached {
                reached = message.offset;
                read.take(message, bound);
            }
        }
        if bound.excess == Excess::Refused && (read.messages.len() > bound.messages || read.bytes > bound.bytes) {
            return Err(Refusal::Limit.into());
        }
        // Where the position itself is gone, what proves that nothing is missing is how much there is in all.
        let enough = read.position_is_stored && read.is_part(bound);
        read.to_the_end = reached >= newest && !page.more;
        if enough || read.to_the_end {
            return Ok(read);
        }
        if !page.more && reached == before {
            stale += 1;
            if stale > STALE_RETRIES {
                return Err(HistoryError::Unavailable("no replica has caught up with its leader".to_owned()).into());
            }
            sleep(STALE_WAIT).await;
        }
        // What was reached is asked for again, at first the position itself: it is the proof.
        page = history.page(channel, reached, bound.page()).await?;
    }
}

/// What the store has of the whole namespace, in the epoch that was asked for.
async fn bounds_in(epoch: &Epoch, history: &dyn History, channel: &Channel) -> Result<Bounds, CatchUpError> {
    let bounds = history.bounds(channel.namespace()).await?;
    if bounds.epoch == *epoch { Ok(bounds) } else { Err(Refusal::Epoch.into()) }
}

/// How long ago a message was stored, `now` by the store's clock.
pub(super) fn age(message: &Stored, now: i64) -> Duration {
    Duration::from_nanos(u64::try_from(now - message.stored_at).unwrap_or(0))
}

/// The newest message only, for channels whose subscribers want the latest state.
pub(super) async fn latest(
    history: &dyn History,
    channel: &Channel,
    top: &Top,
) -> Result<Option<Stored>, HistoryError> {
    let Some(newest) = top.newest else { return Ok(None) };
    for _ in 0..STALE_RETRIES {
        let page = history.page(channel, newest, 1).await?;
        if let Some(message) = page.messages.into_iter().next() {
            return Ok(Some(message));
        }
        sleep(STALE_WAIT).await;
    }
    Ok(None)
}
