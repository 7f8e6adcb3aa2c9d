//! What a client says and hears: the upgrade, masked frames out, server frames in.

use std::time::{SystemTime, UNIX_EPOCH};

use jsonwebtoken::{EncodingKey, Header, encode};
use serde_json::{Value, json};

use crate::node::SECRET;

/// An upgrade request of about the size that a browser sends.
pub fn upgrade_request(path: &str) -> Vec<u8> {
    format!(
        "GET {path} HTTP/1.1\r\nHost: realtime.example.com\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
     Pragma: no-cache\r\nCache-Control: no-cache\r\nSec-WebSocket-Version: 13\r\n\
     User-Agent: Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/140.0.0.0 Safari/537.36\r\n\
     Accept-Encoding: gzip, deflate, br, zstd\r\nAccept-Language: en-GB,en-US;q=0.9,en;q=0.8\r\n\
     Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\
     Sec-WebSocket-Extensions: permessage-deflate; client_max_window_bits\r\n\r\n"
    )
    .into_bytes()
}

/// A token of `user`, valid for an hour.
pub fn token(user: &str) -> anyhow::Result<String> {
    let now = SystemTime::now().duration_since(UNIX_EPOCH)?.as_secs();
    let claims = json!({ "sub": user, "exp": now + 3600, "info": { "name": user } });
    Ok(encode(&Header::default(), &claims, &EncodingKey::from_secret(SECRET.as_bytes()))?)
}

/// The first frame of a client: `connect`, and `subscribe` with each of these parameters.
pub fn hello(user: &str, subscribe: &[Value]) -> anyhow::Result<Vec<u8>> {
    let mut text = json!({ "id": 1, "connect": { "token": token(user)?, "name": "bench" } }).to_string();
    for (index, subscribe) in subscribe.iter().enumerate() {
        text.push('\n');
        text.push_str(&json!({ "id": index + 2, "subscribe": subscribe }).to_string());
    }
    Ok(masked_text(text.as_bytes()))
}

/// What a push tells of somebody who came or went: `+channel user`, `-channel user`.
pub fn told(message: &[u8]) -> Option<String> {
    let says = |what: &[u8]| memchr::memmem::find(message, what).is_some();
    if !message.starts_with(b"{\"push\"") || !(says(b"\"join\":") || says(b"\"leave\":")) {
        return None;
    }
    let message: Value = serde_json::from_slice(message).ok()?;
    let push = &message["push"];
    let (sign, about) =
        [('+', &push["join"]), ('-', &push["leave"])].into_iter().find(|(_, about)| !about.is_null())?;
    Some(format!("{sign}{} {}", push["channel"].as_str()?, about["info"]["user"].as_str()?))
}

/// The data of a publication: `number`, `time` and padding to `size` bytes.
pub fn data(number: u64, time: u64, size: usize) -> String {
    let mut text = format!(r#"{{"n":{number},"t":{time},"p":""#);
    while text.len() + 2 < size {
        text.push('x');
    }
    text.push_str("\"}");
    text
}

/// A masked text frame. The mask is zero, which saves our CPU and not the server's.
pub fn masked_text(payload: &[u8]) -> Vec<u8> {
    let mut frame = vec![0x81];
    match payload.len() {
        length @ 0..=125 => frame.push(0x80 | length as u8),
        length @ 126..=0xffff => {
            frame.push(0x80 | 126);
            frame.extend((length as u16).to_be_bytes());
        }
        length => {
            frame.push(0x80 | 127);
            frame.extend((length as u64).to_be_bytes());
        }
    }
    frame.extend([0; 4]);
    frame.extend(payload);
    frame
}

/// A text frame as a server sends it.
pub fn server_text(payload: &[u8]) -> Vec<u8> {
    let mut frame = masked_text(payload);
    frame[1] &= 0x7f;
    let header = frame.len() - payload.len();
    frame.drain(header - 4..header);
    frame
}

/// The opcode and payload of the first whole frame in `bytes`, and its whole length.
pub fn server_frame(bytes: &[u8]) -> Option<(u8, &[u8], usize)> {
    let (header, length) = match *bytes.get(1)? {
        126 => (4, usize::from(u16::from_be_bytes(bytes.get(2..4)?.try_into().ok()?))),
        127 => (10, usize::try_from(u64::from_be_bytes(bytes.get(2..10)?.try_into().ok()?)).ok()?),
        length => (2, usize::from(length)),
    };
    let payload = bytes.get(header..header + length)?;
    Some((bytes[0] & 0x0f, payload, header + length))
}

/// Whether a frame closes the connection with a code after which SDKs come again: all but 3500 to 3999 and 4500 to 4999.
/// Source: the client protocol's disconnect codes.
pub fn is_passing(opcode: u8, payload: &[u8]) -> bool {
    let code = payload.first_chunk().map_or(1005, |code| u16::from_be_bytes(*code));
    opcode == 8 && !matches!(code, 3500..=3999 | 4500..=4999)
}

/// The number behind `name` in `text`.
pub fn number(text: &[u8], name: &[u8]) -> Option<u64> {
    let at = memchr::memmem::find(text, name)? + name.len();
    let digits = text[at..].iter().take_while(|byte| byte.is_ascii_digit());
    Some(digits.fold(0, |number, digit| number * 10 + u64::from(digit - b'0')))
}
