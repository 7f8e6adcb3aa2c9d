//! How a connection comes to listen where only the latest publication counts (the mode "cache").

use std::sync::Arc;
use std::time::Duration;

use tokio::time::sleep;

use super::Relay;
use super::join::{ATTEMPTS, JoinError, Joined, Outcome};
use super::recovery::{Refusal, age};
use super::since::Since;
use super::topic::{Course, Topic};
use super::wish::Wish;
use crate::backplane::{GapCause, History, HistoryError};
use crate::hub::Outbox;
use crate::protocol::{Offset, Position};
use crate::settings::HistoryOptions;

impl Relay {
    /// Enters with the newest publication; `None` where the topic has closed.
    pub(super) async fn enter_with_latest(
        self: &Arc<Self>,
        topic: &Arc<Topic>,
        wish: &Wish,
        since: &Since,
        outbox: &Arc<Outbox>,
        options: &HistoryOptions,
        history: &dyn History,
    ) -> Result<Option<Joined>, JoinError> {
        for _ in 0..ATTEMPTS {
            let permit = self.permit().await?;
            let top = history.top(&topic.channel).await?;
            let stand = top.position();
            let known =
                stand.offset == since.offset && stand.epoch.as_str() == since.epoch && !since.offset.may_be_rounded();
            let message = if known { None } else { wish.latest(history, &topic.channel, &top).await? };
            drop(permit);
            let readable = message
                .filter(|message| age(message, self.store_time(topic)) <= options.ttl && !message.meta.tombstone);
            let outcome = match readable {
                Some(message) => Outcome::Recovered(vec![message]),
                None if known => Outcome::Recovered(Vec::new()),
                None => Outcome::Refused(Refusal::Trimmed),
            };
            if let Some(joined) = self.enter_unless_overtaken(topic, wish, outbox, stand, outcome) {
                return Ok(Some(joined));
            }
            if topic.state.lock().closed {
                return Ok(None);
            }
            sleep(Duration::from_millis(10)).await;
        }
        Err(HistoryError::Unavailable("publications kept overtaking the latest".to_owned()).into())
    }

    /// Enters at `stand`; `None` when the channel has moved on from there.
    fn enter_unless_overtaken(
        self: &Arc<Self>,
        topic: &Arc<Topic>,
        wish: &Wish,
        outbox: &Arc<Outbox>,
        stand: Position,
        outcome: Outcome,
    ) -> Option<Joined> {
        let mut state = topic.state.lock();
        let Course::Chained(chained) = &state.course else { return None };
        if chained.chain.epoch != stand.epoch {
            if state.suspect(GapCause::EpochChanged, Offset::NONE) {
                self.have_healed(topic, GapCause::EpochChanged);
            }
            return None;
        }
        if chained.chain.had > stand.offset {
            return None;
        }
        self.seat(topic, &mut state, wish, outbox, Some(stand), outcome)
    }
}
