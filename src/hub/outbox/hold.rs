//! Keeping deliveries back, so that a reply which is still being made goes before them.

use std::sync::Arc;

use super::Outbox;

/// Keeps deliveries back while it lives.
#[must_use]
pub struct Hold(Arc<Outbox>);

impl Hold {
    /// Deliveries never go out any more, neither those that wait nor later ones: the connection ends.
    pub fn discard(self) {
        self.0.discard_held();
    }
}

impl Drop for Hold {
    fn drop(&mut self) {
        self.0.release();
    }
}

impl Outbox {
    /// From now on deliveries wait until the hold is dropped, so that a reply can go before them. Nests.
    pub fn hold(self: &Arc<Self>) -> Hold {
        self.state.lock().held.get_or_insert_default().depth += 1;
        Hold(Arc::clone(self))
    }

    /// Whether any delivery is kept back.
    #[must_use]
    pub fn holds_some(&self) -> bool {
        self.state.lock().held.as_ref().is_some_and(|held| !held.frames.is_empty())
    }

    fn discard_held(&self) {
        let mut state = self.state.lock();
        let Some(held) = &mut state.held else { return };
        // One that nobody undoes.
        held.depth += 1;
        let frames = std::mem::take(&mut held.frames);
        self.uncount(&mut state, frames.iter().map(bytes::Bytes::len).sum());
    }

    /// Undoes one hold; with the last, what was held follows what is queued.
    fn release(&self) {
        let mut state = self.state.lock();
        let Some(held) = &mut state.held else { return };
        held.depth -= 1;
        if held.depth == 0 {
            let frames = state.held.take().map(|held| held.frames).unwrap_or_default();
            state.queue.extend(frames);
        }
    }
}
