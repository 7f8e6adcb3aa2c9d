//! From what the backplane carries to what clients see.

use bytes::Bytes;

use super::order::Addressed;
use super::topic::Topic;
use crate::backplane::Stored;
use crate::hub::{Base, Content, Frames, Shape};
use crate::protocol::centrifuge::{ClientInfo, Encoding, Format, Publication, Push, pushed, raw};
use crate::protocol::fossil;
use crate::protocol::socketio::{Arguments, Body, Packet, Stand};
use crate::protocol::{Epoch, Position};
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

/// What somebody who reads patches gets of publications that follow one another: the first whole, of the others what
/// changed, where that is smaller.
#[must_use]
pub fn patched(encoding: Encoding, messages: &[Stored]) -> Vec<Publication> {
    let mut base: Option<&Bytes> = None;
    let patched = messages.iter().map(|message| {
        let patch = base.and_then(|base| fossil::patch(base, &message.data)).map(Bytes::from);
        base = Some(&message.data).filter(|_| is_carried(encoding, message));
        match &patch {
            Some(patch) => shaped(encoding, message, Shape::Patch(patch)),
            None => shaped(encoding, message, Shape::Whole),
        }
    });
    patched.collect()
}

fn shaped(encoding: Encoding, message: &Stored, shape: Shape<'_>) -> Publication {
    let whole = publication(message);
    let (data, delta) = match shape {
        Shape::Plain => return whole,
        Shape::Whole => (&whole.data, false),
        Shape::Patch(patch) => (patch, true),
    };
    let data = match encoding {
        Encoding::Protobuf => data.clone(),
        Encoding::Json => raw::text(data),
    };
    Publication { data, delta, ..whole }
}

/// Whether a message's data fits into messages of `encoding`.
pub(super) fn is_carried(encoding: Encoding, message: &Stored) -> bool {
    encoding == Encoding::Protobuf || raw::is_json(&message.data)
}

/// The push of a message, as whole frames; none in a format that cannot carry its data. It may be a patch against `base`
/// for those who have that.
#[must_use]
pub(super) fn push_frames<'a>(topic: &'a Topic, message: &'a Stored, base: Option<&Base>) -> Frames<'a> {
    standing_frames(topic, message, base, None)
}

/// The same; whoever gets it stands there, if that is known.
#[must_use]
pub(super) fn standing_frames<'a>(
    topic: &'a Topic,
    message: &'a Stored,
    base: Option<&Base>,
    stand: Option<&Stand>,
) -> Frames<'a> {
    if is_withheld(&topic.namespace, message) {
        return Frames::withheld();
    }
    let stand = topic.order.as_ref().map(|_| stand.map_or_else(|| doubtful(message), ToString::to_string));
    if topic.channel.is_of_events() {
        return addressed_frames(topic, message, stand);
    }
    let wants_patches = topic.namespace.delta_publish || message.meta.delta;
    let content = Content { data: Some(&message.data), tags: &message.meta.tags };
    let frames = Frames::new(content, move |format, shape| {
        if format == Format::SocketIo {
            return standing_event(&topic.namespace, Arguments::of_publication(&message.data), stand.as_deref());
        }
        if !is_carried(format.encoding(), message) {
            return None;
        }
        let publication = shaped(format.encoding(), message, shape);
        Some(pushed(format, Push::Publication { channel: topic.channel.clone(), publication }))
    });
    frames.against(base.filter(|_| wants_patches))
}

/// A message as an event of the room that its channel is; `None` where it is none.
#[must_use]
pub fn event_frames(namespace: &Namespace, message: &Stored) -> Option<Bytes> {
    standing_event(namespace, Arguments::of_publication(&message.data), None)
}

/// An event of the room that a channel is, with where one stands who has it.
fn standing_event(namespace: &Namespace, arguments: Arguments, stand: Option<&str>) -> Option<Bytes> {
    let namespace = namespace.socketio.as_ref()?.to_string().into();
    let arguments = stand.map_or_else(|| arguments.clone(), |stand| arguments.followed_by(stand));
    Some(Packet { namespace, body: Body::Event { id: None, arguments } }.frames())
}

/// An event that is not for one room, for those alone whom it names.
fn addressed_frames<'a>(topic: &'a Topic, message: &Stored, stand: Option<String>) -> Frames<'a> {
    let reader = topic.order.as_ref().and_then(|order| order.reader.get());
    let Some(Addressed { arguments, volatile, to }) = reader.and_then(|read| read(&message.data)) else {
        return Frames::withheld();
    };
    let frames = Frames::new(Content::default(), move |format, _| {
        let is_event = format == Format::SocketIo;
        is_event.then(|| standing_event(&topic.namespace, arguments.clone(), stand.as_deref())).flatten()
    });
    frames.only(to, volatile)
}

/// Where somebody stands who gets a message out of the order of its namespace.
fn doubtful(message: &Stored) -> String {
    // Of no epoch: it may be any by now.
    let position = Position { offset: message.offset, epoch: Epoch::new("") };
    Stand { position, doubtful: true }.to_string()
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
