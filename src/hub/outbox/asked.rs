//! What others ask of the session that owns the connection.

use std::sync::Arc;

use uuid::Uuid;

use super::{Control, Outbox, State};
use crate::hub::{Errand, Order};
use crate::protocol::Channel;
use crate::protocol::centrifuge::Format;

/// What may be asked of a session that does not come to it; beyond that it connects anew.
pub(super) const CONTROLS: usize = 1024;

impl Outbox {
    /// Whether the connection was asked to end.
    #[must_use]
    pub fn is_closing(&self) -> bool {
        self.state.lock().is_asked(|control| matches!(control, Control::Close(_) | Control::Overrun))
    }

    /// Whether nothing can be written to its socket any more.
    #[must_use]
    pub fn is_gone(&self) -> bool {
        self.state.lock().gone
    }

    /// Whether the session was asked to look at its tokens again.
    #[must_use]
    pub fn is_doubted(&self) -> bool {
        self.state.lock().is_asked(is_recheck)
    }

    /// Takes back that a channel's deliveries were lost: its subscription has ended by itself.
    pub fn forget_loss(&self, channel: &Channel) {
        self.state.lock().controls.retain(|control| !matches!(control, Control::Lost(lost) if lost == channel));
    }

    /// Asks the session for something.
    pub fn request(&self, control: Control) {
        let mut state = self.state.lock();
        let is_news = match &control {
            // It looks at everything that is revoked by then.
            control if is_recheck(control) => !state.is_asked(is_recheck),
            // They count each time: they may undo one another.
            Control::Obey(_) => true,
            // The first says how it ends, also to whom more is asked than can wait.
            Control::Close(_) => !state.is_asked(|waiting| matches!(waiting, Control::Close(_))),
            Control::Lost(_) | Control::Drained | Control::Overrun => !state.controls.contains(&control),
        };
        let full = state.controls.len() >= CONTROLS && !matches!(control, Control::Close(_));
        if state.gone || !is_news || (full && state.controls.contains(&Control::Overrun)) {
            return;
        }
        state.controls.push(if full { Control::Overrun } else { control });
        drop(state);
        self.attention.notify_one();
    }

    /// Asks something of one client on the connection. Where no other can be on it, the connection ends before all else that
    /// it was asked.
    pub fn request_of(&self, client: Uuid, errand: Errand) {
        self.request(match errand {
            Errand::Disconnect(disconnect) if self.format() != Format::SocketIo => Control::Close(disconnect),
            errand => Control::Obey(Arc::new(Order::Client(client, errand))),
        });
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

    /// What was asked of the session since the last call, an end before all else, and whether a deadline has come.
    pub fn take_requests(&self) -> (Vec<Control>, bool) {
        let mut state = self.state.lock();
        let mut controls = std::mem::take(&mut state.controls);
        if let Some(at) = controls.iter().position(|control| matches!(control, Control::Close(_))) {
            controls[..=at].rotate_right(1);
        }
        (controls, std::mem::take(&mut state.due))
    }
}

fn is_recheck(control: &Control) -> bool {
    matches!(control, Control::Obey(order) if **order == Order::Recheck)
}

impl State {
    fn is_asked(&self, what: impl Fn(&Control) -> bool) -> bool {
        self.controls.iter().any(what)
    }
}
