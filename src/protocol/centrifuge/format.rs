//! How messages look on their way to a client.

use super::Encoding;
use crate::protocol::websocket::Deflate;

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
    /// The WebSockets again, with messages compressed. All connections of a node have the same [`Deflate`].
    DeflatedJson(Deflate),
    DeflatedProtobuf(Deflate),
    DeflatedUni(Deflate),
    /// Packets of Socket.IO in frames of a WebSocket, also where long-polling carries them in the end.
    SocketIo,
}

/// What stands around a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Framing {
    WebSocket,
    Deflated(Deflate),
    /// A line end behind JSON; nothing around Protobuf, whose length stands in front of it already.
    Plain,
    Event,
}

impl Format {
    /// How many there are.
    pub const COUNT: usize = 12;

    /// Every format, in the order of [`index`](Self::index), where messages are compressed like this.
    #[must_use]
    pub const fn all(deflate: Deflate) -> [Self; Self::COUNT] {
        [
            Self::WebSocketJson,
            Self::WebSocketProtobuf,
            Self::HttpStreamJson,
            Self::HttpStreamProtobuf,
            Self::Sse,
            Self::UniWebSocket,
            Self::UniHttpStream,
            Self::UniSse,
            Self::DeflatedJson(deflate),
            Self::DeflatedProtobuf(deflate),
            Self::DeflatedUni(deflate),
            Self::SocketIo,
        ]
    }

    /// Its place in [`all`](Self::all).
    #[must_use]
    pub const fn index(self) -> usize {
        match self {
            Self::WebSocketJson => 0,
            Self::WebSocketProtobuf => 1,
            Self::HttpStreamJson => 2,
            Self::HttpStreamProtobuf => 3,
            Self::Sse => 4,
            Self::UniWebSocket => 5,
            Self::UniHttpStream => 6,
            Self::UniSse => 7,
            Self::DeflatedJson(_) => 8,
            Self::DeflatedProtobuf(_) => 9,
            Self::DeflatedUni(_) => 10,
            Self::SocketIo => 11,
        }
    }

    /// The same with messages compressed, where its client agreed to that: there are such WebSockets only.
    #[must_use]
    pub const fn deflated(self, agreed: Option<Deflate>) -> Self {
        match (self, agreed) {
            (Self::WebSocketJson, Some(deflate)) => Self::DeflatedJson(deflate),
            (Self::WebSocketProtobuf, Some(deflate)) => Self::DeflatedProtobuf(deflate),
            (Self::UniWebSocket, Some(deflate)) => Self::DeflatedUni(deflate),
            _ => self,
        }
    }

    /// How messages are compressed, if they are.
    #[must_use]
    pub const fn deflate(self) -> Option<Deflate> {
        match self.framing() {
            Framing::Deflated(deflate) => Some(deflate),
            Framing::WebSocket | Framing::Plain | Framing::Event => None,
        }
    }

    #[must_use]
    pub const fn encoding(self) -> Encoding {
        match self {
            Self::WebSocketProtobuf | Self::DeflatedProtobuf(_) | Self::HttpStreamProtobuf => Encoding::Protobuf,
            Self::WebSocketJson
            | Self::HttpStreamJson
            | Self::Sse
            | Self::UniWebSocket
            | Self::UniHttpStream
            | Self::UniSse
            | Self::DeflatedJson(_)
            | Self::DeflatedUni(_)
            | Self::SocketIo => Encoding::Json,
        }
    }

    /// Whether the client only listens: it says who it is, and nothing more.
    #[must_use]
    pub const fn is_unidirectional(self) -> bool {
        matches!(self, Self::UniWebSocket | Self::DeflatedUni(_) | Self::UniHttpStream | Self::UniSse)
    }

    /// Whether WebSocket frames carry the messages, so that its pings and close frames are there too.
    #[must_use]
    pub const fn is_websocket(self) -> bool {
        matches!(self.framing(), Framing::WebSocket | Framing::Deflated(_))
    }

    pub(super) const fn framing(self) -> Framing {
        match self {
            Self::WebSocketJson | Self::WebSocketProtobuf | Self::UniWebSocket | Self::SocketIo => Framing::WebSocket,
            Self::HttpStreamJson | Self::HttpStreamProtobuf | Self::UniHttpStream => Framing::Plain,
            Self::Sse | Self::UniSse => Framing::Event,
            Self::DeflatedJson(deflate) | Self::DeflatedProtobuf(deflate) | Self::DeflatedUni(deflate) => {
                Framing::Deflated(deflate)
            }
        }
    }

    /// The transport's name, as hooks and metrics have it.
    #[must_use]
    pub const fn transport(self) -> &'static str {
        match self {
            Self::WebSocketJson | Self::WebSocketProtobuf | Self::DeflatedJson(_) | Self::DeflatedProtobuf(_) => {
                "websocket"
            }
            Self::HttpStreamJson | Self::HttpStreamProtobuf => "http_stream",
            Self::Sse => "sse",
            Self::UniWebSocket | Self::DeflatedUni(_) => "uni_websocket",
            Self::UniHttpStream => "uni_http_stream",
            Self::UniSse => "uni_sse",
            Self::SocketIo => "socketio",
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

    const DEFLATE: Deflate = Deflate { level: 1, min_size: 64 };

    #[test]
    fn every_format_stands_at_its_index() {
        let all = Format::all(DEFLATE);
        assert!(all.iter().enumerate().all(|(index, format)| format.index() == index));
        assert!(all.iter().all(|format| format.deflate().is_none_or(|deflate| deflate == DEFLATE)));
    }

    #[test]
    fn a_deflated_format_differs_by_that_alone() {
        for format in Format::all(DEFLATE) {
            let deflated = format.deflated(Some(DEFLATE));
            assert_eq!(format.deflated(None), format);
            assert_eq!(deflated.deflate().is_some(), format.is_websocket() && format != Format::SocketIo);
            assert_eq!(deflated.encoding(), format.encoding());
            assert_eq!(deflated.is_unidirectional(), format.is_unidirectional());
            assert_eq!(deflated.transport(), format.transport());
            let small = || framed(deflated, &Reply::PING);
            assert_eq!(small(), framed(format, &Reply::PING), "too small to be compressed");
            let large = || Push::Message { data: format!("\"{}\"", "word ".repeat(100)).into() };
            let (smaller, whole) = (pushed(deflated, large()), pushed(format, large()));
            assert_eq!(smaller.len() < whole.len(), deflated != format, "{format:?}");
        }
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
