//! Word from node to node: core subjects that all of them hear.

use async_trait::async_trait;
use bytes::Bytes;
use futures_util::StreamExt;
use tokio::sync::mpsc;

use super::Nats;
use crate::backplane::{Broadcast, PublishError, SubscribeError};

/// Messages that wait for whoever hears them.
const WAITING: usize = 256;

#[async_trait]
impl Broadcast for Nats {
    async fn tell(&self, topic: &str, message: Bytes) -> Result<(), PublishError> {
        if !self.services.is_up() {
            return Err(PublishError::Unavailable("not connected to NATS".to_owned()));
        }
        let (size, limit) = (message.len(), self.services.client.max_payload());
        if size > limit {
            return Err(PublishError::TooLarge { size, limit });
        }
        let told = self.services.client.publish(self.subjects.below(topic), message).await;
        told.map_err(|error| PublishError::Unavailable(error.to_string()))
    }

    async fn hear(&self, pattern: &str) -> Result<mpsc::Receiver<Bytes>, SubscribeError> {
        let unavailable = |why: String| SubscribeError::Unavailable(why);
        let subject = self.subjects.below(pattern);
        let heard = self.services.client.subscribe(subject.clone()).await;
        let mut heard = heard.map_err(|error| unavailable(error.to_string()))?;
        let barrier = self.services.barrier(&self.subjects.below("barrier")).await;
        barrier.map_err(|error| unavailable(error.to_string()))?;
        if let Some(why) = self.services.refusals.of(&subject) {
            return Err(SubscribeError::Refused { subject, why });
        }
        let (sender, receiver) = mpsc::channel(WAITING);
        tokio::spawn(async move {
            while let Some(message) = heard.next().await {
                if sender.send(message.payload).await.is_err() {
                    return;
                }
            }
        });
        Ok(receiver)
    }
}
