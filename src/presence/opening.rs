//! Opens views: asks for a channel's changes, then reads who is there. It goes on behind whoever waits for it, until it
//! is done or nobody listens any more.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::{sleep, timeout};
use tracing::{debug, warn};

use super::Presence;
use super::view::{Opened, View};
use super::views::Listening;
use crate::backplane::{PresenceError, SubscribeError, Whose};
use crate::hub::Outbox;
use crate::protocol::Channel;

/// Before it is tried again.
const PAUSE: Duration = Duration::from_millis(500);

impl Presence {
    /// Has `outbox` told who comes to `channel` and who leaves it, from the moment on in which this returns. With a
    /// `delay`, of users who stay away for as long, in place of clients.
    ///
    /// What the backplane does not say within `patience` is not waited for: it is told of what happens after.
    pub async fn listen(
        self: &Arc<Self>,
        channel: &Channel,
        delay: Duration,
        outbox: &Arc<Outbox>,
        patience: Duration,
    ) -> Listening {
        let (view, slot) = self.views.enter(channel, delay, outbox);
        self.open(&view);
        let mut opened = view.opened.subscribe();
        if !patience.is_zero()
            && timeout(patience, opened.wait_for(|opened| *opened == Opened::Known)).await.is_err()
            && self.views.unopened.due().is_some()
        {
            warn!(%channel, "who is there is not known yet; joins and leaves are told once it is");
        }
        Listening::new(Arc::clone(self), view, slot)
    }

    /// Begins to open a view, unless that is done or under way.
    fn open(self: &Arc<Self>, view: &Arc<View>) {
        let Some(tasks) = self.running.get() else { return };
        {
            let mut state = view.state.lock();
            if state.open || state.opening {
                return;
            }
            state.opening = true;
        }
        let opening = Arc::clone(self).go_on_opening(Arc::clone(view));
        tasks.spawn("opening of presence", opening);
    }

    async fn go_on_opening(self: Arc<Self>, view: Arc<View>) {
        loop {
            if view.state.lock().stop_opening_unheard() {
                view.opened.send_modify(|_| ());
                return;
            }
            // The semaphore is never closed.
            let permit = self.views.openings.acquire().await;
            let outcome = self.try_open(&view).await;
            drop(permit);
            match outcome {
                Ok(()) => break,
                Err(error) => {
                    debug!(channel = %view.channel, %error, "who is there is not known yet");
                    if matches!(error, PresenceError::Refused(_)) {
                        view.opened.send_replace(Opened::Refused);
                        self.tell_refused(&view.channel, &error);
                    }
                }
            }
            sleep(PAUSE).await;
        }
        view.state.lock().opening = false;
        view.opened.send_replace(Opened::Known);
        self.views.unopened.over();
        // What was recorded before the whole backplane knew that somebody watches is found by the next comparison.
        self.views.opened.notify_one();
    }

    fn tell_refused(&self, channel: &Channel, error: &PresenceError) {
        if let Some(left_out) = self.views.refused.due() {
            warn!(%channel, left_out, "joins and leaves are not told: {error}");
        }
    }

    async fn try_open(&self, view: &Arc<View>) -> Result<(), PresenceError> {
        let watched = self.records()?.watch(&view.channel).await;
        watched.map_err(|error| match error {
            SubscribeError::Refused { .. } => PresenceError::Refused(error.to_string()),
            SubscribeError::Unavailable(_) => PresenceError::Unavailable(error.to_string()),
        })?;
        let _remembering = self.views.departures.remember();
        self.each_record(Whose::Channel(&view.channel), |record| self.views.known(view, record)).await?;
        view.state.lock().open = true;
        Ok(())
    }

    /// Asks for the changes of all views again: the backplane may have taken some back.
    pub(super) async fn watch_again(&self) -> Result<(), PresenceError> {
        let records = self.records()?;
        for view in self.views.all() {
            {
                let mut state = view.state.lock();
                // One that is not open is watched by whoever opens it.
                if state.closed || state.opening || !state.open {
                    continue;
                }
                state.opening = true;
            }
            let watched = records.watch(&view.channel).await;
            view.state.lock().opening = false;
            watched.map_err(|error| PresenceError::Unavailable(error.to_string()))?;
        }
        Ok(())
    }
}
