//! From what the backplane carries to what clients see.

use crate::backplane::Stored;
use crate::hub::Frames;
use crate::protocol::Channel;
use crate::protocol::centrifuge::{ClientInfo, Encoding, Publication, Push, Reply, framed, raw};

/// A message as clients see it.
#[must_use]
pub fn publication(message: &Stored) -> Publication {
    // Whoever may publish into the backplane may say who published; what is no ClientInfo says nothing.
    let info = message.meta.info.as_ref().and_then(|info| serde_json::from_slice::<ClientInfo>(info).ok());
    Publication {
        data: message.data.clone(),
        info,
        offset: message.offset.0,
        tags: message.meta.tags.iter().cloned().collect(),
        ..Publication::default()
    }
}

/// The push of a message, as whole frames; none on a wire that cannot carry its data.
#[must_use]
pub fn push_frames<'a>(channel: &'a Channel, message: &'a Stored) -> Frames<'a> {
    Frames::new(move |encoding| {
        if encoding == Encoding::Json && !raw::is_json(&message.data) {
            return None;
        }
        let push = Push::Publication { channel: channel.clone(), publication: publication(message) };
        Some(framed(encoding, &Reply::from(push)))
    })
}
