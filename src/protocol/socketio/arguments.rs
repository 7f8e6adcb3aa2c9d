//! What an event or an acknowledgement carries.

use std::borrow::Cow;
use std::fmt;

use bytes::Bytes;
use serde::de::{IgnoredAny, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer};
use serde_json::value::RawValue;

use super::{PacketError, placeholders};

/// Attachments of one packet. The libraries of clients take no more.
pub(super) const MAX_ATTACHMENTS: usize = 10;
/// Event names that belong to the protocol's own libraries.
const RESERVED: [&str; 6] =
    ["connect", "connect_error", "disconnect", "disconnecting", "newListener", "removeListener"];

/// A JSON array on one line, and the attachments that placeholders in it stand for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Arguments {
    json: Bytes,
    attachments: Vec<Bytes>,
}

impl Arguments {
    /// Of an event: the first argument is its name.
    ///
    /// # Errors
    /// As the definition has it; see [`PacketError`].
    pub fn event(json: &Bytes, attachments: Vec<Bytes>) -> Result<Self, PacketError> {
        let arguments = Self::ack(json, attachments)?;
        match arguments.first().map(|first| first.get().as_bytes()) {
            Some([b'"', ..]) if RESERVED.contains(&&*arguments.name()) => Err(PacketError::ReservedEvent),
            Some([b'"' | b'-' | b'0'..=b'9', ..]) => Ok(arguments),
            _ => Err(PacketError::Payload),
        }
    }

    /// None at all.
    #[must_use]
    pub const fn none() -> Self {
        Self { json: Bytes::from_static(b"[]"), attachments: Vec::new() }
    }

    /// Of an acknowledgement.
    ///
    /// # Errors
    /// As the definition has it; see [`PacketError`].
    pub fn ack(json: &Bytes, attachments: Vec<Bytes>) -> Result<Self, PacketError> {
        let json = one_line(json)?;
        if !json.starts_with(b"[") {
            return Err(PacketError::Payload);
        }
        if attachments.len() > MAX_ATTACHMENTS {
            return Err(PacketError::TooManyAttachments);
        }
        if !attachments.is_empty() {
            placeholders::check(&json, attachments.len())?;
        }
        Ok(Self { json, attachments })
    }

    /// What a publication is to those in a room: the event that it holds, where it holds one, or else the event `message`
    /// with its data, as an attachment where that is not JSON.
    #[must_use]
    pub fn of_publication(data: &Bytes) -> Self {
        if let Ok(event) = Self::event(data, Vec::new()) {
            return event;
        }
        match one_line(data) {
            Ok(json) => {
                let json = [b"[\"message\",", &json[..], b"]"].concat();
                Self { json: json.into(), attachments: Vec::new() }
            }
            Err(_) => Self {
                json: Bytes::from_static(b"[\"message\",{\"_placeholder\":true,\"num\":0}]"),
                attachments: vec![data.clone()],
            },
        }
    }

    /// The same with a text behind the last: `text` must need no escaping in JSON.
    #[must_use]
    pub fn followed_by(&self, text: &str) -> Self {
        let json = self.json.strip_suffix(b"]").unwrap_or(&self.json);
        let comma: &[u8] = if json == b"[" { b"" } else { b"," };
        let json = [json, comma, b"\"", text.as_bytes(), b"\"]"].concat();
        Self { json: json.into(), attachments: self.attachments.clone() }
    }

    pub(super) fn attach(&mut self, attachment: Bytes) {
        self.attachments.push(attachment);
    }

    /// A JSON array on one line.
    #[must_use]
    pub const fn json(&self) -> &Bytes {
        &self.json
    }

    #[must_use]
    pub fn attachments(&self) -> &[Bytes] {
        &self.attachments
    }

    /// The event's name: its first argument, a number as it is written. What is no text in Rust is replaced.
    #[must_use]
    pub fn name(&self) -> Cow<'_, str> {
        let first = self.first().map(RawValue::get).unwrap_or_default();
        if !first.starts_with('"') {
            return first.into();
        }
        serde_json::from_str(first).map_or_else(|_| lossy(first).into(), Cow::Owned)
    }

    /// What stands behind the event's name, where that is a text.
    #[must_use]
    pub fn first_argument(&self) -> Option<String> {
        let arguments: Vec<&RawValue> = serde_json::from_slice(&self.json).ok()?;
        serde_json::from_str(arguments.get(1)?.get()).ok()
    }

    fn first(&self) -> Option<&RawValue> {
        serde_json::from_slice::<First<'_>>(&self.json).ok()?.0
    }
}

pub(super) fn one_line(json: &Bytes) -> Result<Bytes, PacketError> {
    crate::protocol::centrifuge::raw::one_line(json).ok_or(PacketError::Json)
}

/// A JSON string with half of a surrogate pair in it, which is none in Rust.
fn lossy(json: &str) -> String {
    struct Wtf8(Vec<u8>);

    impl<'de> Deserialize<'de> for Wtf8 {
        fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
            struct Text;

            impl Visitor<'_> for Text {
                type Value = Wtf8;

                fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                    f.write_str("a string")
                }

                fn visit_bytes<E>(self, text: &[u8]) -> Result<Wtf8, E> {
                    Ok(Wtf8(text.to_vec()))
                }
            }

            deserializer.deserialize_bytes(Text)
        }
    }

    serde_json::from_str::<Wtf8>(json).map(|text| String::from_utf8_lossy(&text.0).into_owned()).unwrap_or_default()
}

/// The first element of an array, if there is one.
struct First<'a>(Option<&'a RawValue>);

impl<'de: 'a, 'a> Deserialize<'de> for First<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Elements;

        impl<'de> Visitor<'de> for Elements {
            type Value = First<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an array")
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut elements: A) -> Result<First<'de>, A::Error> {
                let first = elements.next_element()?;
                while elements.next_element::<IgnoredAny>()?.is_some() {}
                Ok(First(first))
            }
        }

        deserializer.deserialize_seq(Elements)
    }
}
