//! Commands out of a client's message.

use prost::Message;

use super::Encoding;
use super::codes::{Disconnect, DisconnectCode};
use super::command::{Command, CommandFields};
use super::request::ConnectRequest;

/// Why a client's message is not a list of commands. The connection must end with [`DisconnectCode::BadRequest`]:
/// there is no error reply for what cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum DecodeError {
    #[error("message without a command")]
    Empty,
    #[error("more than {limit} commands in one message")]
    TooMany { limit: usize },
    #[error("command that is not JSON of the protocol")]
    Json(#[source] serde_json::Error),
    #[error("command that is not a JSON object")]
    NotObject,
    #[error("command that is not Protobuf of the protocol")]
    Protobuf(#[source] prost::DecodeError),
    #[error("command cut short")]
    Truncated,
    #[error("command {id} names no known method")]
    NoMethod { id: u32 },
    #[error("command {id} names no channel")]
    NoChannel { id: u32 },
}

impl From<DecodeError> for Disconnect {
    fn from(_: DecodeError) -> Self {
        DisconnectCode::BadRequest.into()
    }
}

/// Whether a message is nothing but the usual answer to a ping, as every SDK writes it. A pong written in another way
/// is one for [`decode`] all the same.
#[must_use]
pub fn is_pong(encoding: Encoding, message: &[u8]) -> bool {
    message
        == match encoding {
            Encoding::Json => b"{}".as_slice(),
            Encoding::Protobuf => &[0],
        }
}

/// All commands of one message, at most `limit`, in their order. Whole or not at all.
///
/// Payloads are copied out, so that a small payload in somebody's history does not keep a large message alive.
///
/// # Errors
/// See [`DecodeError`].
pub fn decode(encoding: Encoding, message: &[u8], limit: usize) -> Result<Vec<Command>, DecodeError> {
    if message.is_empty() {
        return Err(DecodeError::Empty);
    }
    match encoding {
        Encoding::Json => bounded(lines(message).map(json), limit),
        Encoding::Protobuf => bounded(Delimited(message).map(|part| protobuf(part?)), limit),
    }
}

/// What a unidirectional client says of itself: a bare connect request, in JSON. `null` says nothing.
///
/// # Errors
/// When it is something else.
pub fn decode_introduction(message: &[u8]) -> Result<ConnectRequest, DecodeError> {
    let is_object = matches!(message.trim_ascii_start().first(), Some(b'{' | b'n'));
    if !is_object {
        return Err(DecodeError::NotObject);
    }
    let request: Option<ConnectRequest> = serde_json::from_slice(message).map_err(DecodeError::Json)?;
    Ok(request.unwrap_or_default())
}

fn bounded(
    mut commands: impl Iterator<Item = Result<Command, DecodeError>>,
    limit: usize,
) -> Result<Vec<Command>, DecodeError> {
    let decoded = commands.by_ref().take(limit).collect::<Result<_, _>>()?;
    if commands.next().is_some() { Err(DecodeError::TooMany { limit }) } else { Ok(decoded) }
}

fn json(line: &[u8]) -> Result<Command, DecodeError> {
    // serde would take an array for an object's values in their order.
    if line.trim_ascii_start().first() != Some(&b'{') {
        return Err(DecodeError::NotObject);
    }
    serde_json::from_slice::<CommandFields>(line).map_err(DecodeError::Json)?.try_into()
}

fn protobuf(message: &[u8]) -> Result<Command, DecodeError> {
    CommandFields::decode(message).map_err(DecodeError::Protobuf)?.try_into()
}

/// One line a command; one line end may stand behind the last.
fn lines(message: &[u8]) -> impl Iterator<Item = &[u8]> {
    message.strip_suffix(b"\n").unwrap_or(message).split(|byte| *byte == b'\n')
}

/// What stands behind varint lengths.
struct Delimited<'a>(&'a [u8]);

impl<'a> Iterator for Delimited<'a> {
    type Item = Result<&'a [u8], DecodeError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.0.is_empty() {
            return None;
        }
        let part = prost::encoding::decode_varint(&mut self.0)
            .ok()
            .and_then(|length| self.0.split_at_checked(usize::try_from(length).ok()?));
        let Some((part, rest)) = part else {
            self.0 = &[];
            return Some(Err(DecodeError::Truncated));
        };
        self.0 = rest;
        Some(Ok(part))
    }
}

#[cfg(test)]
mod tests {
    use super::super::command::Method;
    use super::*;

    fn commands(text: &str) -> Vec<Command> {
        decode(Encoding::Json, text.as_bytes(), 16).unwrap_or_else(|error| panic!("{text}: {error}"))
    }

    fn methods(text: &str) -> Vec<(u32, &'static str)> {
        commands(text).iter().map(|command| (command.id, command.method.name())).collect()
    }

    fn refused(text: &str) -> DecodeError {
        decode(Encoding::Json, text.as_bytes(), 4).expect_err(text)
    }

    #[test]
    fn one_message_holds_many_commands_in_their_order() {
        let batch = "{\"id\":1,\"connect\":{}}\n{\"id\":2,\"subscribe\":{\"channel\":\"news\"}}\n{}\n";
        assert_eq!(methods(batch), [(1, "connect"), (2, "subscribe"), (0, "pong")]);
    }

    #[test]
    fn the_first_method_of_the_dispatch_order_wins() {
        let all = r#""channel":"c""#;
        for (line, name) in [
            (format!(r#"{{"id":1,"ping":{{}},"refresh":{{}},"send":{{}},"rpc":{{}},"history":{{{all}}}}}"#), "history"),
            (r#"{"id":1,"ping":{},"refresh":{},"send":{},"rpc":{}}"#.to_owned(), "rpc"),
            (r#"{"id":1,"ping":{},"refresh":{},"send":{}}"#.to_owned(), "send"),
            (r#"{"id":1,"ping":{},"refresh":{}}"#.to_owned(), "refresh"),
            (r#"{"id":7,"ping":{}}"#.to_owned(), "ping"),
            (format!(r#"{{"id":1,"subscribe":{{{all}}},"connect":{{}}}}"#), "connect"),
        ] {
            assert_eq!(methods(&line)[0].1, name, "{line}");
        }
    }

    #[test]
    fn without_an_id_everything_but_a_send_is_a_pong() {
        for line in ["{}", " { } ", r#"{"publish":{"channel":"c"}}"#, r#"{"id":0,"connect":{}}"#, r#"{"id":null}"#] {
            assert_eq!(methods(line), [(0, "pong")], "{line}");
        }
        assert_eq!(methods(r#"{"send":{"data":1}}"#), [(0, "send")]);
        assert_eq!(decode(Encoding::Protobuf, &[0, 0], 2).unwrap().len(), 2);
    }

    #[test]
    fn what_is_no_command_is_refused() {
        assert!(matches!(refused(""), DecodeError::Empty));
        for text in ["\n", "{}\n\n", "{}\n\n{}", "[]", "[1,null,null]", "null", "7", " "] {
            assert!(matches!(refused(text), DecodeError::NotObject), "{text:?}");
        }
        for text in
            ["{", "{} {}", "{\"id\":-1}", "{\"id\":\"1\"}", "{\"id\":1.5}", "{\"id\":4294967296}", "{\"id\":1e400}"]
        {
            assert!(matches!(refused(text), DecodeError::Json(_)), "{text:?}");
        }
        for text in ["{\"id\":1}", "{\"id\":1,\"frobnicate\":{}}", "{\"id\":1,\"connect\":null}"] {
            assert!(matches!(refused(text), DecodeError::NoMethod { id: 1 }), "{text:?}");
        }
        for method in ["subscribe", "unsubscribe", "publish", "presence", "presence_stats", "history", "sub_refresh"] {
            let text = format!("{{\"id\":1,\"{method}\":{{}}}}");
            assert!(matches!(refused(&text), DecodeError::NoChannel { id: 1 }), "{text:?}");
        }
        assert!(matches!(refused("{}\n{}\n{}\n{}\n{}"), DecodeError::TooMany { limit: 4 }));
        let invalid = decode(Encoding::Json, b"{\"id\":1,\"send\":{\"data\":\"\xff\"}}", 1);
        assert!(matches!(invalid, Err(DecodeError::Json(_))));
    }

    #[test]
    fn an_introduction_is_a_bare_connect_request() {
        let request = decode_introduction(br#"{"token":"t","subs":{"news":{"recover":true,"offset":7}}}"#).unwrap();
        assert_eq!((request.token.as_str(), request.subs["news"].offset), ("t", 7));
        for text in ["{}", "null", " {}\n"] {
            assert_eq!(decode_introduction(text.as_bytes()).unwrap(), ConnectRequest::default(), "{text}");
        }
        for text in ["", "[]", "7", "\"x\"", "{", "nul", "{\"token\":1}", "{} {}"] {
            assert!(decode_introduction(text.as_bytes()).is_err(), "{text}");
        }
    }

    #[test]
    fn protobuf_with_wrong_lengths_is_refused() {
        for message in [
            &[1][..],
            &[2, 8],
            &[0, 5],
            &[0x80],
            &[0xff; 11],
            &[0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 1],
        ] {
            let refused = decode(Encoding::Protobuf, message, 4).expect_err("cut short");
            assert!(matches!(refused, DecodeError::Truncated), "{message:?}: {refused}");
        }
        assert!(matches!(decode(Encoding::Protobuf, &[2, 8, 5], 4), Err(DecodeError::NoMethod { id: 5 })));
        assert!(matches!(decode(Encoding::Protobuf, &[1, 0x0f], 4), Err(DecodeError::Protobuf(_))));
        assert!(matches!(decode(Encoding::Protobuf, &[0; 5], 4), Err(DecodeError::TooMany { limit: 4 })));
    }

    #[test]
    fn a_payload_is_taken_as_it_was_written_but_on_one_line() {
        let batch =
            commands("{\"id\":1,\"publish\":{\"channel\":\"c\",\"data\": {\"z\":1.0,\r \"a\":\"\\u00e4\" } }}\r\n");
        let Method::Publish(request) = &batch[0].method else { panic!("{batch:?}") };
        assert_eq!(request.data, "{\"z\":1.0, \"a\":\"\\u00e4\" }");
    }

    #[test]
    fn null_is_the_zero_value_but_a_payload_of_its_own() {
        let batch = commands(r#"{"id":1,"publish":{"channel":"c","data":null,"key":null,"removed":null,"type":null}}"#);
        let Method::Publish(request) = &batch[0].method else { panic!("{batch:?}") };
        assert_eq!(request.data, "null");
        assert_eq!((request.r#type, request.removed), (0, false));
    }

    #[test]
    fn depth_is_refused_where_it_is_the_protocols_and_harmless_in_payloads() {
        let deep = "{\"nodes\":[".repeat(5_000) + &"]}".repeat(5_000);
        let filter = format!("{{\"id\":1,\"subscribe\":{{\"channel\":\"c\",\"tf\":{deep}}}}}");
        assert!(matches!(refused(&filter), DecodeError::Json(_)));
        for payload in ["[".repeat(20_000) + &"]".repeat(20_000), deep] {
            assert_eq!(methods(&format!("{{\"id\":1,\"rpc\":{{\"data\":{payload}}}}}")), [(1, "rpc")]);
            assert_eq!(methods(&format!("{{\"id\":1,\"rpc\":{{}},\"unknown\":{payload}}}")), [(1, "rpc")]);
        }
    }

    #[test]
    fn depth_on_the_protobuf_wire_is_refused() {
        let mut filter = Vec::new();
        for _ in 0..2_000 {
            let mut outer = vec![0x32];
            prost::encoding::encode_varint(filter.len() as u64, &mut outer);
            outer.append(&mut filter);
            filter = outer;
        }
        for tag in [0x6a, 0x2a] {
            let mut outer = vec![tag];
            prost::encoding::encode_varint(filter.len() as u64, &mut outer);
            outer.append(&mut filter);
            filter = outer;
        }
        let mut message = Vec::new();
        prost::encoding::encode_varint(filter.len() as u64, &mut message);
        message.append(&mut filter);
        assert!(matches!(decode(Encoding::Protobuf, &message, 1), Err(DecodeError::Protobuf(_))));
    }

    #[test]
    fn secrets_are_not_printed() {
        let line = r#"{"id":1,"connect":{"token":"SECRET","headers":{"authorization":"SECRET"},"subs":{"c":{"token":"SECRET"}}}}"#;
        for line in [
            line,
            r#"{"id":1,"refresh":{"token":"SECRET"}}"#,
            r#"{"id":1,"sub_refresh":{"channel":"c","token":"SECRET"}}"#,
            r#"{"id":1,"subscribe":{"channel":"c","token":"SECRET"}}"#,
        ] {
            assert!(!format!("{:?}", commands(line)).contains("SECRET"), "{line}");
        }
    }
}
