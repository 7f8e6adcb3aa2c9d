//! What clients post that cannot send on their connection.

use std::fmt;

use bytes::Bytes;
use prost::Message;
use serde::Deserialize;
use uuid::Uuid;

use super::Encoding;

/// A client's message for its session, wherever that is. Does not print the session, which is a secret.
#[derive(Clone, PartialEq, Eq)]
pub struct EmulationRequest {
    pub node: Uuid,
    pub session: Uuid,
    /// One message of commands, as it would have been sent on a connection.
    pub data: Bytes,
}

/// Why a body is no such message.
#[derive(Debug, thiserror::Error)]
pub enum EmulationError {
    #[error("not JSON of an emulation request")]
    Json(#[source] serde_json::Error),
    #[error("not Protobuf of an emulation request")]
    Protobuf(#[source] prost::DecodeError),
    /// What is no id of ours names no node or session.
    #[error("no id of a node or session")]
    Id(#[source] uuid::Error),
}

#[derive(Deserialize)]
struct Json {
    session: String,
    node: String,
    /// JSON in a text.
    data: String,
}

/// `EmulationRequest` of the schema.
#[derive(Clone, PartialEq, prost::Message)]
#[prost(skip_debug)]
struct Protobuf {
    #[prost(string, tag = "1")]
    node: String,
    #[prost(string, tag = "2")]
    session: String,
    #[prost(bytes = "bytes", tag = "3")]
    data: Bytes,
}

impl EmulationRequest {
    /// Reads the body of a post.
    ///
    /// # Errors
    /// See [`EmulationError`].
    pub fn decode(encoding: Encoding, body: &[u8]) -> Result<Self, EmulationError> {
        let (node, session, data) = match encoding {
            Encoding::Json => {
                let Json { session, node, data } = serde_json::from_slice(body).map_err(EmulationError::Json)?;
                (node, session, data.into())
            }
            Encoding::Protobuf => {
                let Protobuf { node, session, data } = Protobuf::decode(body).map_err(EmulationError::Protobuf)?;
                (node, session, data)
            }
        };
        let id = |text: String| text.parse().map_err(EmulationError::Id);
        Ok(Self { node: id(node)?, session: id(session)?, data })
    }
}

impl fmt::Debug for EmulationRequest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("EmulationRequest").field("node", &self.node).finish_non_exhaustive()
    }
}

impl fmt::Debug for Protobuf {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Protobuf").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const NODE: Uuid = Uuid::from_u128(1);
    const SESSION: Uuid = Uuid::from_u128(2);

    fn json(data: &str) -> Vec<u8> {
        serde_json::json!({ "session": SESSION.to_string(), "node": NODE.to_string(), "data": data })
            .to_string()
            .into_bytes()
    }

    #[test]
    fn what_sdks_post_is_read_in_both_encodings() {
        let commands = "{\"id\":2,\"subscribe\":{\"channel\":\"news\"}}\n{}";
        let expected = EmulationRequest { node: NODE, session: SESSION, data: commands.into() };
        assert_eq!(EmulationRequest::decode(Encoding::Json, &json(commands)).unwrap(), expected);
        let message = Protobuf { node: NODE.to_string(), session: SESSION.to_string(), data: commands.into() };
        assert_eq!(EmulationRequest::decode(Encoding::Protobuf, &message.encode_to_vec()).unwrap(), expected);
    }

    #[test]
    fn what_is_no_request_is_refused() {
        for body in ["", "{}", "null", "[]", "{\"session\":1,\"node\":2,\"data\":3}", "{"] {
            let refused = EmulationRequest::decode(Encoding::Json, body.as_bytes());
            assert!(matches!(refused, Err(EmulationError::Json(_))), "{body}");
        }
        let foreign = format!("{{\"session\":\"{SESSION}\",\"node\":\"*.>\",\"data\":\"\"}}");
        assert!(matches!(EmulationRequest::decode(Encoding::Json, foreign.as_bytes()), Err(EmulationError::Id(_))));
        assert!(matches!(EmulationRequest::decode(Encoding::Protobuf, b"\xff"), Err(EmulationError::Protobuf(_))));
        assert!(matches!(EmulationRequest::decode(Encoding::Protobuf, b""), Err(EmulationError::Id(_))));
    }

    #[test]
    fn the_session_is_not_printed() {
        let request = EmulationRequest { node: NODE, session: SESSION, data: "secret".into() };
        let printed = format!("{request:?}");
        assert!(!printed.contains(&SESSION.to_string()) && !printed.contains("secret"), "{printed}");
    }

    proptest! {
        #[test]
        fn any_data_comes_through(data: String) {
            let read = EmulationRequest::decode(Encoding::Json, &json(&data)).unwrap();
            prop_assert_eq!(read.data, data);
        }

        #[test]
        fn rubbish_is_refused_and_never_panics(body: Vec<u8>) {
            let _ = EmulationRequest::decode(Encoding::Json, &body);
            let _ = EmulationRequest::decode(Encoding::Protobuf, &body);
        }

        #[test]
        fn damage_is_refused_or_read_and_never_panics(data: String, at: prop::sample::Index, byte: u8) {
            let mut body = json(&data);
            let at = at.index(body.len());
            body[at] = byte;
            let _ = EmulationRequest::decode(Encoding::Json, &body);
        }
    }
}
