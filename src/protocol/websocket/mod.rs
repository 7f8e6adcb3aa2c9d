//! WebSocket frames (RFC 6455) as a server writes and reads them, pure. Extensions are not spoken.

mod frame;
mod parser;

pub use frame::{MAX_CONTROL_PAYLOAD, Opcode, client_frame, close_frame, server_frame};
pub use parser::{Event, FrameError, Parser};
