//! Who on this node listens to what, and what waits for each of them.
//!
//! Synchronous: nothing on the way of a delivery awaits. An [`Audience`] is one channel's listeners; an [`Outbox`] is what waits for one
//! connection, an [`Inbox`] what its client posted for it elsewhere; [`Frames`] is one message encoded once for everybody. Sockets appear only as [`Wire`], behind which any
//! transport may stand. The relay decides *what* is delivered; the session decides *who* may listen.

pub mod audience;
pub mod bearers;
pub mod connections;
mod filters;
pub mod frames;
pub mod inbox;
pub mod manner;
pub mod orders;
pub mod outbox;
pub mod pulse;
pub mod reach;
pub mod turnstile;

pub use audience::{Audience, Listener, Slot};
pub use bearers::{Bearers, Borne};
pub use connections::{Client, Connections, Known, Profile, Registered};
pub use frames::{Base, Content, Frames, Mark, Shape};
pub use inbox::{Inbox, Inboxes, NotTaken};
pub use manner::{Manner, SlowReader};
pub use orders::{Asker, Description, Errand, Order, Placement};
pub use outbox::{Control, Flushed, Hold, Outbox, Spill, Taken, Wire};
pub use pulse::Pulse;
pub use reach::{Reach, Sent};
pub use turnstile::{TurnedAway, Turnstile};
