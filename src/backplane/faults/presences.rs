//! Presence that fails on purpose: changes are lost on their way.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use async_trait::async_trait;
use tokio::sync::{mpsc, watch};

use super::Faulty;
use crate::backplane::presences::CHANGES;
use crate::backplane::{
    Doubts, Occupant, PresenceError, Presences, Record, RecordPage, Roll, Source, SubscribeError, Whose, Word,
};
use crate::protocol::Channel;

impl Faulty {
    fn inner_presences(&self) -> Result<&dyn Presences, PresenceError> {
        self.inner.presences().ok_or_else(|| PresenceError::Unavailable("not recorded".to_owned()))
    }
}

#[async_trait]
impl Presences for Faulty {
    async fn record(&self, occupant: &Occupant, word: Word) -> Result<u64, PresenceError> {
        self.inner_presences()?.record(occupant, word).await
    }

    async fn page(
        &self,
        whose: Whose<'_>,
        from: u64,
        limit: usize,
        source: Source,
    ) -> Result<RecordPage, PresenceError> {
        let mut page = self.inner_presences()?.page(whose, from, limit, source).await?;
        if source == Source::Replica && self.faults.replicas_empty.load(Ordering::SeqCst) {
            page = RecordPage { next: from, ..RecordPage::default() };
        }
        Ok(page)
    }

    async fn newest(&self, whose: Whose<'_>) -> Result<u64, PresenceError> {
        self.inner_presences()?.newest(whose).await
    }

    async fn roll(&self) -> Result<Roll, PresenceError> {
        self.inner_presences()?.roll().await
    }

    async fn watch(&self, channel: &Channel) -> Result<(), SubscribeError> {
        if self.faults.subscribe_down.load(Ordering::SeqCst) {
            return Err(SubscribeError::Unavailable("as the test wants it".to_owned()));
        }
        let inner = self.inner_presences().map_err(|error| SubscribeError::Unavailable(error.to_string()))?;
        inner.watch(channel).await
    }

    fn unwatch(&self, channel: &Channel) {
        if let Ok(inner) = self.inner_presences() {
            inner.unwatch(channel);
        }
    }

    fn changes(&self) -> Option<mpsc::Receiver<Record>> {
        let mut changes = self.inner_presences().ok()?.changes()?;
        let (sender, receiver) = mpsc::channel(CHANGES);
        let faults = Arc::clone(&self.faults);
        tokio::spawn(async move {
            while let Some(change) = changes.recv().await {
                if !faults.changes_lost.load(Ordering::SeqCst) && sender.send(change).await.is_err() {
                    return;
                }
            }
        });
        Some(receiver)
    }

    fn doubts(&self) -> watch::Receiver<Doubts> {
        self.doubts.subscribe()
    }
}
