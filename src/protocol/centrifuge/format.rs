//! How messages look on their way to a client.

use super::Encoding;

/// What carries a client's connection, and how messages to it are written there.
///
/// A message is encoded once for each format that somebody listens in, whatever frames it included.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Format {
    /// Text frames of JSON.
    WebSocketJson,
    /// Binary frames of Protobuf, each message behind its length.
    WebSocketProtobuf,
    /// A line of JSON each.
    HttpStreamJson,
    /// Protobuf, each message behind its length.
    HttpStreamProtobuf,
    /// Server-sent events whose data is JSON.
    Sse,
    /// As `WebSocketJson`, with bare pushes in place of replies; so are the other unidirectional ones.
    UniWebSocket,
    UniHttpStream,
    UniSse,
}

/// What stands around a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Framing {
    WebSocket,
    /// A line end behind JSON; nothing around Protobuf, whose length stands in front of it already.
    Plain,
    Event,
}

impl Format {
    /// Every format, in the order of [`index`](Self::index).
    pub const ALL: [Self; 8] = [
        Self::WebSocketJson,
        Self::WebSocketProtobuf,
        Self::HttpStreamJson,
        Self::HttpStreamProtobuf,
        Self::Sse,
        Self::UniWebSocket,
        Self::UniHttpStream,
        Self::UniSse,
    ];

    /// Its place in [`ALL`](Self::ALL).
    #[must_use]
    pub const fn index(self) -> usize {
        self as usize
    }

    #[must_use]
    pub const fn encoding(self) -> Encoding {
        match self {
            Self::WebSocketProtobuf | Self::HttpStreamProtobuf => Encoding::Protobuf,
            Self::WebSocketJson
            | Self::HttpStreamJson
            | Self::Sse
            | Self::UniWebSocket
            | Self::UniHttpStream
            | Self::UniSse => Encoding::Json,
        }
    }

    /// Whether the client only listens: it says who it is, and nothing more.
    #[must_use]
    pub const fn is_unidirectional(self) -> bool {
        matches!(self, Self::UniWebSocket | Self::UniHttpStream | Self::UniSse)
    }

    /// Whether WebSocket frames carry the messages, so that its pings and close frames are there too.
    #[must_use]
    pub const fn is_websocket(self) -> bool {
        matches!(self.framing(), Framing::WebSocket)
    }

    pub(super) const fn framing(self) -> Framing {
        match self {
            Self::WebSocketJson | Self::WebSocketProtobuf | Self::UniWebSocket => Framing::WebSocket,
            Self::HttpStreamJson | Self::HttpStreamProtobuf | Self::UniHttpStream => Framing::Plain,
            Self::Sse | Self::UniSse => Framing::Event,
        }
    }

    /// The transport's name, as hooks and metrics have it.
    #[must_use]
    pub const fn transport(self) -> &'static str {
        match self {
            Self::WebSocketJson | Self::WebSocketProtobuf => "websocket",
            Self::HttpStreamJson | Self::HttpStreamProtobuf => "http_stream",
            Self::Sse => "sse",
            Self::UniWebSocket => "uni_websocket",
            Self::UniHttpStream => "uni_http_stream",
            Self::UniSse => "uni_sse",
        }
    }
}

/// On a WebSocket.
impl From<Encoding> for Format {
    fn from(encoding: Encoding) -> Self {
        match encoding {
            Encoding::Json => Self::WebSocketJson,
            Encoding::Protobuf => Self::WebSocketProtobuf,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Push, Reply, encode, framed, pushed};
    use super::*;

    #[test]
    fn every_format_stands_at_its_index() {
        assert!(Format::ALL.iter().enumerate().all(|(index, format)| format.index() == index));
    }

    #[test]
    fn what_stands_around_a_message_is_its_formats() {
        let ping = |format: Format| framed(format, &Reply::PING);
        assert_eq!(ping(Format::WebSocketJson), &b"\x81\x02{}"[..]);
        assert_eq!(ping(Format::WebSocketProtobuf), &b"\x82\x01\0"[..]);
        assert_eq!(ping(Format::HttpStreamJson), &b"{}\n"[..]);
        assert_eq!(ping(Format::HttpStreamProtobuf), &b"\0"[..]);
        assert_eq!(ping(Format::Sse), &b"data: {}\n\n"[..]);
        assert_eq!(ping(Format::UniWebSocket), ping(Format::WebSocketJson));
        assert_eq!(ping(Format::UniSse), ping(Format::Sse));
    }

    #[test]
    fn pushes_are_bare_where_nothing_is_replied_to() {
        let push = || Push::Message { data: "{\"a\":\n1}".into() };
        let bare = "{\"message\":{\"data\":{\"a\":1}}}";
        for (format, expected) in [
            (Format::HttpStreamJson, format!("{{\"push\":{bare}}}\n")),
            (Format::Sse, format!("data: {{\"push\":{bare}}}\n\n")),
            (Format::UniHttpStream, format!("{bare}\n")),
            (Format::UniSse, format!("data: {bare}\n\n")),
        ] {
            assert_eq!(pushed(format, push()), expected.as_bytes(), "{format:?}");
        }
        assert_eq!(pushed(Format::HttpStreamProtobuf, push()), encode(Encoding::Protobuf, &Reply::from(push())));
        assert_eq!(&pushed(Format::UniWebSocket, push())[2..], bare.as_bytes());
    }
}
