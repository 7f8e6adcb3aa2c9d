//! A connection that goes on at another node: what waits goes there, and what came there meanwhile is not said twice.

use bytes::Bytes;

use super::Outbox;

impl Outbox {
    /// How many frames wait.
    #[must_use]
    pub fn waiting(&self) -> usize {
        let state = self.state.lock();
        state.queue.len() + state.held.as_ref().map_or(0, |held| held.frames.len())
    }

    /// Takes everything that waits, in order, and lets nothing more in; `None` where something was lost before, so that the
    /// connection has to end.
    #[must_use]
    pub fn take_waiting(&self) -> Option<Vec<Bytes>> {
        let mut state = self.state.lock();
        if state.closed {
            return None;
        }
        state.queue_latest();
        let bytes = state.bytes;
        self.uncount(&mut state, bytes);
        let (queue, held) = (std::mem::take(&mut state.queue), state.held.take());
        state.closed = true;
        Some(queue.into_frames().chain(held.into_iter().flat_map(|held| held.frames)).collect())
    }

    /// Forgets, of the frames that are held back, each that is among `known`, once for each time that it is there.
    pub fn forget_held(&self, known: &[Bytes]) {
        let mut state = self.state.lock();
        let Some(mut held) = state.held.take() else { return };
        for known in known {
            if let Some(at) = held.frames.iter().position(|frame| frame == known) {
                let frame = held.frames.remove(at);
                self.uncount(&mut state, frame.len());
            }
        }
        state.held = Some(held);
    }
}
