//! From JSON text, with attachments beside it, to msgpack values with binary data in their places.

use std::borrow::Cow;
use std::fmt;

use bytes::Bytes;
use rmpv::Value;
use serde::de::{MapAccess, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer};

/// Why a value cannot be carried over.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Unfit {
    #[error("no JSON, or too deep")]
    Json,
    #[error("a key that is no text")]
    Key,
    #[error("more than {0} attachments")]
    Attachments(usize),
}

/// Numbers become what they are for JavaScript, keys keep their order, and half of a surrogate pair becomes U+FFFD: a msgpack
/// text is UTF-8.
///
/// # Errors
/// When it is no JSON, or deeper than a peer may take.
pub fn value(json: &[u8], attachments: &[Bytes]) -> Result<Value, Unfit> {
    let json = whole(json);
    let Carried(mut value) = serde_json::from_slice(&json).map_err(|_| Unfit::Json)?;
    if !attachments.is_empty() {
        put(&mut value, attachments);
    }
    Ok(value)
}

/// Puts attachments where placeholders stand.
fn put(value: &mut Value, attachments: &[Bytes]) {
    match value {
        Value::Array(elements) => elements.iter_mut().for_each(|element| put(element, attachments)),
        Value::Map(_) => {
            let marked = super::member(value, "_placeholder").and_then(Value::as_bool) == Some(true);
            let number = super::member(value, "num").and_then(Value::as_u64);
            let attachment = number.and_then(|number| attachments.get(usize::try_from(number).ok()?));
            if let Some(attachment) = attachment.filter(|_| marked) {
                *value = Value::Binary(attachment.to_vec());
            } else if let Value::Map(entries) = value {
                entries.iter_mut().for_each(|(_, value)| put(value, attachments));
            }
        }
        _ => {}
    }
}

/// JSON in which every escaped surrogate has its other half.
fn whole(json: &[u8]) -> Cow<'_, [u8]> {
    let mut mended: Option<Vec<u8>> = None;
    let mut at = 0;
    while let Some(found) = memchr::memchr(b'\\', &json[at.min(json.len())..]) {
        at += found;
        let Some(unit) = escape(json, at) else {
            at += 2;
            continue;
        };
        let low = escape(json, at + 6).is_some_and(|low| (0xDC00..0xE000).contains(&low));
        match unit {
            0xD800..0xDC00 if low => at += 12,
            0xD800..0xE000 => {
                mended.get_or_insert_with(|| json.to_vec())[at..at + 6].copy_from_slice(b"\\uFFFD");
                at += 6;
            }
            _ => at += 6,
        }
    }
    mended.map_or(Cow::Borrowed(json), Cow::Owned)
}

/// What `\uXXXX` at `at` stands for.
fn escape(json: &[u8], at: usize) -> Option<u16> {
    let digits = json.get(at..at + 6)?.strip_prefix(b"\\u")?;
    u16::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok()
}

struct Carried(Value);

impl<'de> Deserialize<'de> for Carried {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(Anything).map(Self)
    }
}

struct Anything;

impl<'de> Visitor<'de> for Anything {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON")
    }

    fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_i64<E>(self, number: i64) -> Result<Value, E> {
        Ok(number.into())
    }

    fn visit_u64<E>(self, number: u64) -> Result<Value, E> {
        Ok(number.into())
    }

    fn visit_f64<E>(self, number: f64) -> Result<Value, E> {
        Ok(number.into())
    }

    fn visit_str<E>(self, text: &str) -> Result<Value, E> {
        Ok(text.into())
    }

    fn visit_string<E>(self, text: String) -> Result<Value, E> {
        Ok(text.into())
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Nil)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut elements: A) -> Result<Value, A::Error> {
        let mut values = Vec::new();
        while let Some(Carried(value)) = elements.next_element()? {
            values.push(value);
        }
        Ok(Value::Array(values))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<Value, A::Error> {
        let mut values = Vec::new();
        while let Some((key, Carried(value))) = members.next_entry::<String, Carried>()? {
            values.push((key.into(), value));
        }
        Ok(Value::Map(values))
    }
}
