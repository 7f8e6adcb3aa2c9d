//! Payloads: opaque bytes on the Protobuf wire, embedded JSON on the JSON wire.

use std::borrow::Cow;

use bytes::Bytes;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::value::RawValue;

/// How deep objects and arrays may lie in one another. Clients' parsers give up, some with the whole connection, at 512
/// levels (Swift) or about 1,000 (Python, Java); the protocol's own message takes a few.
const DEPTH: usize = 500;

/// The payload as the JSON wire carries it, or `None` where it is no JSON: one value, no spaces around it, on one line.
///
/// Cheap for what is so already. A line break inside a value would end the protocol's message, so what people write
/// over several lines is put on one: in JSON no raw line break belongs to a string.
#[must_use]
pub fn one_line(payload: &Bytes) -> Option<Bytes> {
    let text = json(payload)?;
    Some(match single_line(text.get()) {
        Cow::Borrowed(line) => payload.slice_ref(line.as_bytes()),
        Cow::Owned(line) => line.into(),
    })
}

/// Whether the payload is one JSON value, not too deep for clients.
#[must_use]
pub fn is_json(payload: &[u8]) -> bool {
    json(payload).is_some()
}

/// A payload as a JSON text, for those who read patches; `null` in one where it is no text.
#[must_use]
pub fn text(payload: &[u8]) -> Bytes {
    let text = str::from_utf8(payload).unwrap_or("null");
    serde_json::to_vec(text).unwrap_or_default().into()
}

/// Embeds a payload. What is no JSON would let its publisher write the rest of the message, so `null` takes its place;
/// who lets such payloads in must keep them from JSON clients by [`is_json`].
pub(super) fn serialize<S: Serializer>(payload: &[u8], serializer: S) -> Result<S::Ok, S::Error> {
    let Some(text) = json(payload) else { return serializer.serialize_unit() };
    match single_line(text.get()) {
        Cow::Borrowed(_) => text.serialize(serializer),
        Cow::Owned(line) => RawValue::from_string(line).map_err(serde::ser::Error::custom)?.serialize(serializer),
    }
}

pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Bytes, D::Error> {
    let text = <&RawValue>::deserialize(deserializer)?;
    Ok(Bytes::copy_from_slice(single_line(text.get()).as_bytes()))
}

fn json(payload: &[u8]) -> Option<&RawValue> {
    serde_json::from_slice(payload).ok().filter(|_| nests_at_most(payload, DEPTH))
}

/// Whether objects and arrays in `json`, which is valid, lie no deeper in one another than `depth`.
fn nests_at_most(json: &[u8], depth: usize) -> bool {
    let is_opening = |byte: &&u8| matches!(byte, b'{' | b'[');
    if json.iter().filter(is_opening).count() <= depth {
        return true;
    }
    let (mut open, mut in_string, mut escaped) = (0, false, false);
    json.iter().all(|byte| {
        match byte {
            _ if escaped => escaped = false,
            b'\\' if in_string => escaped = true,
            b'"' => in_string = !in_string,
            _ if in_string => {}
            b'{' | b'[' => open += 1,
            b'}' | b']' => open -= 1,
            _ => {}
        }
        open <= depth
    })
}

fn single_line(json: &str) -> Cow<'_, str> {
    if json.contains(['\n', '\r']) { json.replace(['\n', '\r'], "").into() } else { json.into() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn json_over_several_lines_becomes_one_line_and_keeps_its_meaning() {
        let payload = Bytes::from_static(b"\r\n{\r\n  \"a\": \"x\\n y\",\n\t\"b\":1 }\n");
        assert_eq!(one_line(&payload).unwrap(), &b"{  \"a\": \"x\\n y\",\t\"b\":1 }"[..]);
    }

    #[test]
    fn json_on_one_line_is_shared_not_copied() {
        let payload = Bytes::from_static(b" {\"a\":[1,2]} ");
        let line = one_line(&payload).unwrap();
        assert_eq!(line, &b"{\"a\":[1,2]}"[..]);
        assert_eq!(line.as_ptr(), payload[1..].as_ptr());
    }

    #[test]
    fn json_too_deep_for_clients_is_none() {
        let nested = |depth: usize| format!("{}{}", "[".repeat(depth), "]".repeat(depth));
        assert!(is_json(nested(DEPTH).as_bytes()));
        assert!(!is_json(nested(DEPTH + 1).as_bytes()));
        assert!(!is_json(format!("{{\"a\":{}}}", nested(DEPTH)).as_bytes()));
        let broad = format!("[{}[]]", "[],{},".repeat(DEPTH));
        assert!(is_json(broad.as_bytes()));
        let text = format!("[\"{}\\\"[\"]", "[{".repeat(DEPTH));
        assert!(is_json(text.as_bytes()), "brackets in a string");
    }

    #[test]
    fn what_is_no_single_json_value_is_told_apart() {
        for payload in ["", " ", "{", "1 2", "1}}", "\"a\nb\"", "nul", "{\"a\":1},\"id\":7", "'a'", "01", "NaN"] {
            assert!(!is_json(payload.as_bytes()), "{payload}");
            assert_eq!(one_line(&Bytes::copy_from_slice(payload.as_bytes())), None, "{payload}");
        }
        assert!(!is_json(b"\"\xff\""));
        for payload in ["null", "1e999", "\"\\ud800\"", "[]"] {
            assert!(is_json(payload.as_bytes()), "{payload}");
        }
    }
}
