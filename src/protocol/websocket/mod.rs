//! WebSocket frames (RFC 6455) as a server writes and reads them, pure. The one extension that is spoken is
//! permessage-deflate (RFC 7692).

mod deflate;
mod extension;
mod frame;
mod parser;

pub use deflate::{Deflate, compressed, deflated_frame};
pub use extension::{MalformedOffers, negotiate};
pub use frame::{MAX_CONTROL_PAYLOAD, Opcode, client_frame, close_frame, server_frame, server_frame_of, server_frames};
pub use parser::{Event, FrameError, Parser};
