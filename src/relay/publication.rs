//! From what the backplane carries to what clients see.

use bytes::Bytes;

use super::topic::Topic;
use crate::backplane::Stored;
use crate::hub::Frames;
use crate::protocol::centrifuge::{ClientInfo, Encoding, Publication, Push, pushed, raw};
use crate::settings::{DataFormat, Namespace};

/// Whether a message must not reach clients: its namespace promises JSON, and somebody published something else past us.
#[must_use]
pub(super) fn is_withheld(namespace: &Namespace, message: &Stored) -> bool {
    match namespace.publication_data_format {
        DataFormat::Json => !raw::is_json(&message.data),
        DataFormat::JsonObject => !message.data.trim_ascii_start().starts_with(b"{") || !raw::is_json(&message.data),
        DataFormat::NotEmpty | DataFormat::Binary => false,
    }
}

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

/// The push of a message, as whole frames; none in a format that cannot carry its data.
#[must_use]
pub(super) fn push_frames<'a>(topic: &'a Topic, message: &'a Stored) -> Frames<'a> {
    if is_withheld(&topic.namespace, message) {
        return Frames::withheld();
    }
    Frames::new(move |format| {
        if format.encoding() == Encoding::Json && !raw::is_json(&message.data) {
            return None;
        }
        let push = Push::Publication { channel: topic.channel.clone(), publication: publication(message) };
        Some(pushed(format, push))
    })
}

/// A publisher's data as its namespace wants it, JSON on one line; `None` when it is something else.
///
/// `encoding` is how the data came: on the JSON wire nothing else can.
#[must_use]
pub fn fitting(format: DataFormat, encoding: Encoding, data: Bytes) -> Option<Bytes> {
    match format {
        DataFormat::Binary => Some(data),
        DataFormat::NotEmpty if data.is_empty() => None,
        DataFormat::NotEmpty if encoding == Encoding::Protobuf => Some(raw::one_line(&data).unwrap_or(data)),
        DataFormat::NotEmpty | DataFormat::Json => raw::one_line(&data),
        DataFormat::JsonObject => raw::one_line(&data).filter(|data| data.starts_with(b"{")),
    }
}
