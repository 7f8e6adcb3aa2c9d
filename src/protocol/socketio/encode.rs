//! From packets to what goes out: one text, and its attachments right behind it.

use std::io::Write;

use bytes::Bytes;

use super::{Arguments, Body, EnginePacket, MAIN_NAMESPACE, Message, Packet};

impl Packet {
    /// The packet's text.
    #[must_use]
    pub fn text(&self) -> Bytes {
        let (kind, id, payload, attachments) = match &self.body {
            Body::Connect(payload) => (b'0', None, payload.as_ref(), 0),
            Body::Disconnect => (b'1', None, None, 0),
            Body::Event { id, arguments } => (arguments.kind(b'2'), *id, Some(arguments.json()), arguments.count()),
            Body::Ack { id, arguments } => (arguments.kind(b'3'), Some(*id), Some(arguments.json()), arguments.count()),
            Body::ConnectError(payload) => (b'4', None, Some(payload), 0),
        };
        let payload = payload.map(|payload| &payload[..]).unwrap_or_default();
        let mut text = Vec::with_capacity(self.namespace.len() + payload.len() + 28);
        text.push(kind);
        // Writing to memory cannot fail.
        if attachments > 0 {
            let _ = write!(text, "{attachments}-");
        }
        if self.namespace != MAIN_NAMESPACE {
            let _ = write!(text, "{},", self.namespace);
        }
        if let Some(id) = id {
            let _ = write!(text, "{id}");
        }
        text.extend_from_slice(payload);
        text.into()
    }

    /// The packet as whole WebSocket frames, in one piece: nothing may come between a text and its attachments.
    #[must_use]
    pub fn frames(&self) -> Bytes {
        let text = EnginePacket::Message(Message::Text(self.text())).frame();
        match &self.body {
            Body::Event { arguments, .. } | Body::Ack { arguments, .. } if arguments.count() > 0 => {
                let attachment = |binary: &Bytes| EnginePacket::Message(Message::Binary(binary.clone())).frame();
                let frames: Vec<_> =
                    std::iter::once(text).chain(arguments.attachments().iter().map(attachment)).collect();
                frames.concat().into()
            }
            _ => text,
        }
    }
}

impl Arguments {
    fn count(&self) -> usize {
        self.attachments().len()
    }

    /// The type of a packet that has attachments is three more than that of one without.
    fn kind(&self, plain: u8) -> u8 {
        if self.attachments().is_empty() { plain } else { plain + 3 }
    }
}
