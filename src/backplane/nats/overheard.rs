//! Namespaces that are overheard as a whole, for whoever passes on elsewhere what is published in them.

use std::sync::Arc;

use tokio::sync::mpsc;
use tokio::sync::mpsc::error::TrySendError;

use super::keep::Keep;
use super::subjects::Purpose;
use crate::backplane::{Delivery, Gap, GapCause, Scope};
use crate::telemetry::{Overflow, Telemetry};

/// Publications that wait for who overhears; beyond it they are lost to it, and counted. Others must not wait for it.
const WAITING: usize = 4096;

/// Where what is overheard goes.
#[derive(Clone)]
pub struct Ear {
    pub purpose: Purpose,
    pub keep: Option<Arc<Keep>>,
    heard: mpsc::Sender<Delivery>,
    telemetry: Arc<Telemetry>,
}

impl Ear {
    pub fn new(
        purpose: Purpose,
        keep: Option<Arc<Keep>>,
        telemetry: Arc<Telemetry>,
    ) -> (Self, mpsc::Receiver<Delivery>) {
        let (heard, receiver) = mpsc::channel(WAITING);
        (Self { purpose, keep, heard, telemetry }, receiver)
    }

    /// Passes on; what finds no room is lost.
    pub fn hear(&self, delivery: Delivery) {
        match self.heard.try_send(delivery) {
            Ok(()) | Err(TrySendError::Closed(_)) => {}
            Err(TrySendError::Full(_)) => self.telemetry.queues.overflows.of(Overflow::Bridge).increment(1),
        }
    }

    /// Some of what was published may not have come.
    pub fn miss(&self, cause: GapCause) {
        self.hear(Delivery::Gap(Gap { scope: Scope::Everything, cause }));
    }

    /// Returns once nobody listens any more.
    pub async fn closed(&self) {
        self.heard.closed().await;
    }
}
