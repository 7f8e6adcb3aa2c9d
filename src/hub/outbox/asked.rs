//! What others ask of the session that owns the connection.

use super::{Control, Outbox, State};
use crate::hub::Order;
use crate::protocol::Channel;

/// What may be asked of a session that does not come to it; beyond that it connects anew.
pub(super) const CONTROLS: usize = 1024;

impl Outbox {
    /// Whether the connection was asked to end.
    #[must_use]
    pub fn is_closing(&self) -> bool {
        self.state.lock().is_asked(|control| matches!(control, Control::Close(_) | Control::Overrun))
    }

    /// Whether the session was asked to look at its tokens again.
    #[must_use]
    pub fn is_doubted(&self) -> bool {
        self.state.lock().is_asked(|control| matches!(control, Control::Obey(order) if **order == Order::Recheck))
    }

    /// Takes back that a channel's deliveries were lost: its subscription has ended by itself.
    pub fn forget_loss(&self, channel: &Channel) {
        self.state.lock().controls.retain(|control| !matches!(control, Control::Lost(lost) if lost == channel));
    }

    /// Asks the session for something.
    pub fn request(&self, control: Control) {
        let mut state = self.state.lock();
        // Orders count each time: they may undo one another.
        let is_news = matches!(control, Control::Obey(_)) || !state.controls.contains(&control);
        let full = state.controls.len() >= CONTROLS;
        if state.gone || !is_news || (full && state.controls.contains(&Control::Overrun)) {
            return;
        }
        state.controls.push(if full { Control::Overrun } else { control });
        drop(state);
        self.attention.notify_one();
    }

    /// Tells the session that a deadline has come.
    pub fn remind(&self) {
        self.state.lock().due = true;
        self.attention.notify_one();
    }

    /// Waits until somebody wants the session's attention: a control, a deadline, a full socket. Cancel safe.
    pub async fn attention(&self) {
        self.attention.notified().await;
    }

    /// What was asked of the session since the last call, and whether a deadline has come.
    pub fn take_requests(&self) -> (Vec<Control>, bool) {
        let mut state = self.state.lock();
        (std::mem::take(&mut state.controls), std::mem::take(&mut state.due))
    }
}

impl State {
    fn is_asked(&self, what: impl Fn(&Control) -> bool) -> bool {
        self.controls.iter().any(what)
    }
}
