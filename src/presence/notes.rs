//! Records in channels that nobody can name: what a node notes about its clients for other nodes, with all that presence
//! does to keep such a record true.

use std::sync::Arc;

use tokio::sync::oneshot;
use uuid::Uuid;

use super::said::{Noted, Said};
use super::{Presence, Stay};
use crate::backplane::{PresenceError, Whose};
use crate::protocol::Channel;
use crate::protocol::centrifuge::ClientInfo;

impl Presence {
    /// Records something about a client until the stay is dropped, and tells at which revision once it is recorded.
    #[must_use]
    pub fn note(
        self: &Arc<Self>,
        channel: &Channel,
        client: Uuid,
        info: &ClientInfo,
    ) -> (Stay, oneshot::Receiver<u64>) {
        let recorded = self.roster.enter_and_tell(channel, client, info);
        (Stay::uncounted(Arc::clone(self), channel.clone(), client), recorded)
    }

    /// Who is recorded in `channel`, each once: nobody is missing who was acknowledged before.
    ///
    /// # Errors
    /// When the records cannot be read.
    pub async fn noted(&self, channel: &Channel) -> Result<impl Iterator<Item = Noted>, PresenceError> {
        let mut said = Said::default();
        self.each_record(Whose::Channel(channel), |record| said.take(record)).await?;
        Ok(said.here())
    }
}
