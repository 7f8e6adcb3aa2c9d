//! Where attachments belong in a packet's JSON. A receiver that finds a placeholder for nothing closes its connection, so
//! what comes in with one must not reach anybody.

use super::PacketError;

const MARK: &str = "_placeholder";
const NUMBER: &str = "num";

/// Checks that each placeholder in `json`, which is valid, stands for one of `attachments`.
pub(super) fn check(json: &[u8], attachments: usize) -> Result<(), PacketError> {
    let mut open: Vec<Container<'_>> = Vec::new();
    let mut rest = json;
    while let Some((token, behind)) = token(rest) {
        rest = behind;
        match token {
            b"{" => open.push(Container::default()),
            b"[" => open.push(Container { array: true, ..Container::default() }),
            b"]" | b"}" => {
                let closed = open.pop().unwrap_or_default();
                if closed.marked && !closed.number.is_some_and(|number| names(number, attachments)) {
                    return Err(PacketError::Placeholder);
                }
                // A container is a value as well.
                note(open.last_mut(), b"");
            }
            b"," | b":" => {}
            token => note(open.last_mut(), token),
        }
    }
    Ok(())
}

/// An array or object that is not over, as far as it was read.
#[derive(Default)]
struct Container<'a> {
    array: bool,
    /// The key whose value comes next.
    key: Option<Key>,
    /// It says of itself that it is a placeholder.
    marked: bool,
    number: Option<&'a [u8]>,
}

enum Key {
    Mark,
    Number,
    Other,
}

/// Takes a key, or the value of the key before. Of a key that comes twice the last value counts, as for JavaScript.
fn note<'a>(container: Option<&mut Container<'a>>, token: &'a [u8]) {
    let Some(object) = container.filter(|container| !container.array) else { return };
    match object.key.take() {
        None => object.key = Some(key(token)),
        Some(Key::Mark) => object.marked = token == b"true",
        Some(Key::Number) => object.number = Some(token),
        Some(Key::Other) => {}
    }
}

fn key(token: &[u8]) -> Key {
    let is = |text: &str| match text {
        MARK => Key::Mark,
        NUMBER => Key::Number,
        _ => Key::Other,
    };
    // Written with escapes it is the same key. One that is no text in Rust is none of these.
    serde_json::from_slice::<std::borrow::Cow<'_, str>>(token).map_or(Key::Other, |text| is(&text))
}

/// Whether a JSON value is the number of one of so many attachments.
fn names(number: &[u8], attachments: usize) -> bool {
    let number: Result<f64, _> = serde_json::from_slice(number);
    number.is_ok_and(|number| number.fract() == 0.0 && number >= 0.0 && number < attachments as f64)
}

/// The next token of valid JSON, and what stands behind it.
fn token(json: &[u8]) -> Option<(&[u8], &[u8])> {
    let json = json.trim_ascii_start();
    let length = match json.first()? {
        b'{' | b'}' | b'[' | b']' | b',' | b':' => 1,
        b'"' => string(json),
        _ => {
            let end = |byte: &u8| byte.is_ascii_whitespace() || matches!(byte, b',' | b']' | b'}' | b':');
            json.iter().position(end).unwrap_or(json.len())
        }
    };
    Some(json.split_at(length))
}

/// The length of the string that `json` begins with.
fn string(json: &[u8]) -> usize {
    let mut at = 1;
    while let Some(found) = memchr::memchr2(b'"', b'\\', &json[at.min(json.len())..]) {
        at += found;
        if json[at] == b'"' {
            return at + 1;
        }
        at += 2;
    }
    json.len()
}
