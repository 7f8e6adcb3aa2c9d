//! On whose behalf a hook is asked.

use super::question::Question;
use crate::protocol::centrifuge::Encoding;

/// A client, as far as backends are told about it.
#[derive(Debug, Clone, Copy)]
pub struct Caller<'a> {
    /// The connection's id.
    pub client: &'a str,
    /// The user's id, `""` for anonymous ones. Not looked at when it connects.
    pub user: &'a str,
    /// `websocket`, `http_stream`, `sse`, or one of these with `uni_` in front.
    pub transport: &'a str,
    pub encoding: Encoding,
    /// Of Socket.IO, `""` for clients of other protocols.
    pub namespace: &'a str,
    /// The handshake's headers, at least those that hooks want (`http_headers`).
    pub headers: &'a [(String, String)],
    /// JSON that a token or the connect hook gave for later hooks.
    pub meta: Option<&'a [u8]>,
}

impl<'a> Caller<'a> {
    /// What every question says, before it is known who this is.
    pub(super) fn stranger(&self) -> Question<'a> {
        let protocol = match self.encoding {
            Encoding::Json => "json",
            Encoding::Protobuf => "protobuf",
        };
        Question {
            client: self.client,
            transport: self.transport,
            protocol,
            encoding: "json",
            namespace: self.namespace,
            ..Question::default()
        }
    }

    /// What every question says.
    pub(super) fn question(&self) -> Question<'a> {
        let meta = self.meta.and_then(|meta| serde_json::from_slice(meta).ok());
        Question { user: Some(self.user), meta, ..self.stranger() }
    }
}
