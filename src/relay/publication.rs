//! From what the backplane carries to what clients see.

use bytes::Bytes;

use crate::backplane::Stored;
use crate::hub::Frames;
use crate::protocol::Channel;

/// The push of a message, as whole frames.
#[must_use]
pub fn push_frames<'a>(channel: &'a Channel, message: &'a Stored) -> Frames<'a> {
    Frames::new(move |_encoding| {
        Bytes::from(format!("{channel} {} {}\n", message.offset, String::from_utf8_lossy(&message.data)))
    })
}
