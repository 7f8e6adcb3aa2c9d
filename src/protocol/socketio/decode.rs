//! From a connection's messages to packets, strictly: what a Node server closes its connection for is refused.

use std::borrow::Cow;

use bytes::Bytes;

use super::arguments::{MAX_ATTACHMENTS, one_line};
use super::{Arguments, Body, MAIN_NAMESPACE, Message, Packet, PacketError, placeholders};

/// Bytes of a namespace's name.
const MAX_NAMESPACE: usize = 255;
/// JavaScript counts exactly up to here.
const MAX_ACK_ID: u64 = (1 << 53) - 1;

/// Puts the packets of one connection together. Between packets it holds no memory but itself.
#[derive(Debug)]
pub struct Decoder {
    /// Bytes of the attachments of one packet.
    limit: usize,
    partial: Option<Box<Partial>>,
}

/// A packet whose attachments have not all come.
#[derive(Debug)]
struct Partial {
    /// As it came.
    text: Bytes,
    packet: Packet,
    due: usize,
    bytes: usize,
}

impl Decoder {
    /// Takes packets with attachments of at most `limit` bytes together.
    #[must_use]
    pub const fn new(limit: usize) -> Self {
        Self { limit, partial: None }
    }

    /// Whether attachments are due.
    #[must_use]
    pub const fn is_waiting(&self) -> bool {
        self.partial.is_some()
    }

    /// The messages of a packet whose attachments have not all come, as they came: whoever takes them stands here too.
    #[must_use]
    pub fn half(&self) -> Vec<Message> {
        let Some(partial) = &self.partial else { return Vec::new() };
        let attachments = match &partial.packet.body {
            Body::Event { arguments, .. } | Body::Ack { arguments, .. } => arguments.attachments(),
            Body::Connect(_) | Body::Disconnect | Body::ConnectError(_) => &[],
        };
        let text = std::iter::once(Message::Text(partial.text.clone()));
        text.chain(attachments.iter().cloned().map(Message::Binary)).collect()
    }

    /// Takes the next message; a packet, if one is whole with it.
    ///
    /// # Errors
    /// See [`PacketError`]. Nothing that follows can be trusted.
    pub fn take(&mut self, message: Message) -> Result<Option<Packet>, PacketError> {
        match (message, self.partial.take()) {
            (Message::Text(text), None) => {
                let (packet, due) = Reader { text: text.clone(), at: 0 }.packet()?;
                if due == 0 {
                    return Ok(Some(packet));
                }
                self.partial = Some(Box::new(Partial { text, packet, due, bytes: 0 }));
                Ok(None)
            }
            (Message::Text(_), Some(_)) => Err(PacketError::AttachmentsDue),
            (Message::Binary(_), None) => Err(PacketError::UnexpectedBinary),
            (Message::Binary(attachment), Some(partial)) => self.attach(partial, attachment),
        }
    }

    fn attach(&mut self, mut partial: Box<Partial>, attachment: Bytes) -> Result<Option<Packet>, PacketError> {
        partial.bytes += attachment.len();
        if partial.bytes > self.limit {
            return Err(PacketError::TooLarge);
        }
        partial.packet.body.attach(attachment);
        partial.due -= 1;
        if partial.due == 0 {
            return Ok(Some(partial.packet));
        }
        self.partial = Some(partial);
        Ok(None)
    }
}

impl Body {
    fn attach(&mut self, attachment: Bytes) {
        match self {
            Self::Event { arguments, .. } | Self::Ack { arguments, .. } => arguments.attach(attachment),
            Self::Connect(_) | Self::Disconnect | Self::ConnectError(_) => {}
        }
    }
}

/// Reads a packet's text from front to back.
struct Reader {
    text: Bytes,
    at: usize,
}

impl Reader {
    /// The packet, and how many attachments it waits for.
    fn packet(mut self) -> Result<(Packet, usize), PacketError> {
        let kind = *self.text.first().ok_or(PacketError::UnknownType)?;
        self.at = 1;
        let binary = matches!(kind, b'5' | b'6');
        let due = if binary { self.attachments()? } else { 0 };
        let namespace = self.namespace()?;
        let id = self.ack_id()?;
        let payload = self.text.slice(self.at..);
        let body = match kind {
            b'0' => Body::Connect(object(&payload)?),
            b'1' if payload.is_empty() => Body::Disconnect,
            b'1' => return Err(PacketError::Payload),
            b'2' | b'5' => Body::Event { id, arguments: due_arguments(&payload, due, Arguments::event)? },
            b'3' | b'6' => {
                let arguments = due_arguments(&payload, due, Arguments::ack)?;
                Body::Ack { id: id.ok_or(PacketError::AckId)?, arguments }
            }
            b'4' => Body::ConnectError(object_or_string(&payload)?),
            _ => return Err(PacketError::UnknownType),
        };
        Ok((Packet { namespace, body }, due))
    }

    fn attachments(&mut self) -> Result<usize, PacketError> {
        let digits = self.digits();
        let count = digits.filter(|_| self.text.get(self.at) == Some(&b'-')).ok_or(PacketError::AttachmentCount)?;
        self.at += 1;
        usize::try_from(count).ok().filter(|count| *count <= MAX_ATTACHMENTS).ok_or(PacketError::TooManyAttachments)
    }

    fn namespace(&mut self) -> Result<Cow<'static, str>, PacketError> {
        let rest = &self.text[self.at..];
        if !rest.starts_with(b"/") {
            return Ok(MAIN_NAMESPACE.into());
        }
        let end = memchr::memchr(b',', rest).unwrap_or(rest.len());
        let name = str::from_utf8(&rest[..end]).map_err(|_| PacketError::Namespace)?;
        if name.len() > MAX_NAMESPACE || name.contains(char::is_control) {
            return Err(PacketError::Namespace);
        }
        let name = if name == MAIN_NAMESPACE { MAIN_NAMESPACE.into() } else { name.to_owned().into() };
        self.at += (end + 1).min(rest.len());
        Ok(name)
    }

    fn ack_id(&mut self) -> Result<Option<u64>, PacketError> {
        match self.digits() {
            Some(id) if id > MAX_ACK_ID => Err(PacketError::AckId),
            id => Ok(id),
        }
    }

    /// The number that comes next, if one does. Too large a one is the largest.
    fn digits(&mut self) -> Option<u64> {
        let digits = self.text[self.at..].iter().take_while(|byte| byte.is_ascii_digit()).count();
        let number = self.text.slice(self.at..self.at + digits);
        self.at += digits;
        let add = |sum: u64, digit: &u8| sum.saturating_mul(10).saturating_add(u64::from(digit - b'0'));
        (digits > 0).then(|| number.iter().fold(0, add))
    }
}

/// Arguments, checked as they will be once their attachments have come.
fn due_arguments(
    payload: &Bytes,
    due: usize,
    check: fn(&Bytes, Vec<Bytes>) -> Result<Arguments, PacketError>,
) -> Result<Arguments, PacketError> {
    let arguments = check(payload, Vec::new())?;
    if due > 0 {
        placeholders::check(arguments.json(), due)?;
    }
    Ok(arguments)
}

fn object(payload: &Bytes) -> Result<Option<Bytes>, PacketError> {
    if payload.is_empty() {
        return Ok(None);
    }
    let json = one_line(payload)?;
    if json.starts_with(b"{") { Ok(Some(json)) } else { Err(PacketError::Payload) }
}

fn object_or_string(payload: &Bytes) -> Result<Bytes, PacketError> {
    let json = one_line(payload)?;
    if json.starts_with(b"{") || json.starts_with(b"\"") { Ok(json) } else { Err(PacketError::Payload) }
}
