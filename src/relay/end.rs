//! How a listener goes that will listen elsewhere.

use super::join::Membership;
use crate::protocol::{Offset, Position};

impl Membership {
    /// The newest publication that passed here; `None` without history.
    #[must_use]
    pub fn had(&self) -> Option<Offset> {
        self.topic.state.lock().had()
    }

    /// Ends what comes, and tells where the listener stands: everything up to there was appended to its outbox, and nothing
    /// behind it. `None` without history.
    #[must_use]
    pub fn end(&self) -> Option<Position> {
        let mut state = self.topic.state.lock();
        // From here on nothing reaches it, under the lock that no delivery can pass.
        let floor = state.audience.silence(self.slot);
        let mut position = state.position(self.relay.store_time(&self.topic))?;
        position.offset = position.offset.max(floor);
        Some(position)
    }
}
