//! Replies and pushes as bytes: once a message and wire, then shared by all who get them.

use std::cell::Cell;

use bytes::Bytes;
use prost::encoding::{self, WireType};
use serde::Serialize;
use serde::ser::SerializeMap;

use super::format::{Format, Framing};
use super::{Encoding, Push, Reply};
use crate::protocol::websocket::{Opcode, deflated_frame, server_frame};

/// A message that can go out on both wires: [`Reply`](super::Reply), [`Push`](super::Push), and what they hold.
pub trait Encode: Serialize {
    /// Bytes of the message on the Protobuf wire, without its length in front.
    fn protobuf_len(&self) -> usize;
    /// Appends these bytes.
    fn write_protobuf(&self, buffer: &mut Vec<u8>);
}

impl<M: prost::Message + Serialize> Encode for M {
    fn protobuf_len(&self) -> usize {
        self.encoded_len()
    }

    fn write_protobuf(&self, buffer: &mut Vec<u8>) {
        self.encode_raw(buffer);
    }
}

/// One message: JSON without a line end, Protobuf with its length in front.
#[must_use]
pub fn encode(encoding: Encoding, message: &impl Encode) -> Bytes {
    with_scratch(|scratch| {
        append(encoding, message, scratch);
        Bytes::copy_from_slice(scratch)
    })
}

/// One message as its format wants it on the wire, with whatever stands around it.
#[must_use]
pub fn framed(format: impl Into<Format>, message: &impl Encode) -> Bytes {
    let format = format.into();
    let encoding = format.encoding();
    with_scratch(|scratch| match format.framing() {
        Framing::WebSocket => {
            append(encoding, message, scratch);
            server_frame(opcode(encoding), scratch)
        }
        Framing::Deflated(deflate) => {
            append(encoding, message, scratch);
            deflated_frame(opcode(encoding), scratch, deflate)
        }
        Framing::Plain => {
            append(encoding, message, scratch);
            if encoding == Encoding::Json {
                scratch.push(b'\n');
            }
            Bytes::copy_from_slice(scratch)
        }
        Framing::Event => {
            scratch.extend_from_slice(b"data: ");
            append(encoding, message, scratch);
            scratch.extend_from_slice(b"\n\n");
            Bytes::copy_from_slice(scratch)
        }
    })
}

/// A push as its format wants it: inside a reply, or bare where nothing is replied to.
#[must_use]
pub fn pushed(format: Format, push: Push) -> Bytes {
    if format.is_unidirectional() { framed(format, &push) } else { framed(format, &Reply::from(push)) }
}

/// Several messages in one WebSocket frame; `None` for no message, since an empty frame makes clients give up.
#[must_use]
pub fn framed_many<'a, M: Encode + 'a>(encoding: Encoding, messages: impl IntoIterator<Item = &'a M>) -> Option<Bytes> {
    with_scratch(|scratch| {
        for message in messages {
            if encoding == Encoding::Json && !scratch.is_empty() {
                scratch.push(b'\n');
            }
            append(encoding, message, scratch);
        }
        (!scratch.is_empty()).then(|| server_frame(opcode(encoding), scratch))
    })
}

const fn opcode(encoding: Encoding) -> Opcode {
    match encoding {
        Encoding::Json => Opcode::Text,
        Encoding::Protobuf => Opcode::Binary,
    }
}

fn append(encoding: Encoding, message: &impl Encode, buffer: &mut Vec<u8>) {
    match encoding {
        Encoding::Json => serde_json::to_writer(buffer, message).expect("string keys and a writer that takes all"),
        Encoding::Protobuf => {
            encoding::encode_varint(message.protobuf_len() as u64, buffer);
            message.write_protobuf(buffer);
        }
    }
}

/// Messages are put together in one buffer a thread, then copied into an allocation of exactly their size.
fn with_scratch<T>(work: impl FnOnce(&mut Vec<u8>) -> T) -> T {
    /// A rare large message must not occupy every thread for good.
    const KEPT: usize = 64 * 1024;
    thread_local!(static SCRATCH: Cell<Vec<u8>> = const { Cell::new(Vec::new()) });

    let mut scratch = SCRATCH.take();
    scratch.clear();
    let result = work(&mut scratch);
    if scratch.capacity() <= KEPT {
        SCRATCH.set(scratch);
    }
    result
}

/// Takes the one field that says what a [`Reply`](super::Reply) or [`Push`](super::Push) is about, so that numbers and
/// names of the schema stand in one place for all that is done with them.
pub(super) trait Fields {
    type Output;
    fn field(self, tag: u32, name: &'static str, message: &impl Encode) -> Self::Output;
}

/// Counts a field's bytes on the Protobuf wire.
pub(super) struct Length;

impl Length {
    pub(super) fn of_text(tag: u32, text: &str) -> usize {
        encoding::key_len(tag) + encoding::encoded_len_varint(text.len() as u64) + text.len()
    }

    pub(super) fn of_number(tag: u32, number: u32) -> usize {
        encoding::uint32::encoded_len(tag, &number)
    }
}

impl Fields for Length {
    type Output = usize;

    fn field(self, tag: u32, _: &'static str, message: &impl Encode) -> usize {
        let length = message.protobuf_len();
        encoding::key_len(tag) + encoding::encoded_len_varint(length as u64) + length
    }
}

/// Writes a field to the Protobuf wire.
pub(super) struct Writer<'a>(pub(super) &'a mut Vec<u8>);

impl Writer<'_> {
    pub(super) fn text(tag: u32, text: &str, buffer: &mut Vec<u8>) {
        encoding::encode_key(tag, WireType::LengthDelimited, buffer);
        encoding::encode_varint(text.len() as u64, buffer);
        buffer.extend_from_slice(text.as_bytes());
    }

    pub(super) fn number(tag: u32, number: u32, buffer: &mut Vec<u8>) {
        encoding::uint32::encode(tag, &number, buffer);
    }
}

impl Fields for Writer<'_> {
    type Output = ();

    fn field(self, tag: u32, _: &'static str, message: &impl Encode) {
        encoding::encode_key(tag, WireType::LengthDelimited, self.0);
        encoding::encode_varint(message.protobuf_len() as u64, self.0);
        message.write_protobuf(self.0);
    }
}

/// Writes a field to the JSON wire.
impl<M: SerializeMap> Fields for &mut M {
    type Output = Result<(), M::Error>;

    fn field(self, _: u32, name: &'static str, message: &impl Encode) -> Self::Output {
        self.serialize_entry(name, message)
    }
}
