//! What a WebSocket request asks for (RFC 6455, section 4.2.1).

use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, Version, header};
use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use sha1::{Digest, Sha1};

use crate::protocol::centrifuge::Encoding;
use crate::protocol::websocket::negotiate;

/// Appended to the client's key before hashing (RFC 6455, 1.3).
const GUID: &[u8] = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11";

/// Why a request cannot become a WebSocket.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    #[error("a WebSocket opens with GET")]
    Method,
    #[error("a WebSocket opens over HTTP/1.1")]
    HttpVersion,
    #[error("not a WebSocket request: needs Connection: Upgrade and Upgrade: websocket")]
    NotUpgrade,
    #[error("only version 13 of the WebSocket protocol is spoken here")]
    Version,
    #[error("Sec-WebSocket-Key must be 16 bytes in base64")]
    Key,
    #[error("Sec-WebSocket-Extensions is malformed")]
    Extensions,
    /// The server in front of the handler does not hand connections over.
    #[error("this connection cannot be upgraded")]
    NotUpgradable,
}

impl Refused {
    /// The HTTP status that says so.
    #[must_use]
    pub const fn status(self) -> StatusCode {
        match self {
            Self::Method => StatusCode::METHOD_NOT_ALLOWED,
            Self::HttpVersion => StatusCode::HTTP_VERSION_NOT_SUPPORTED,
            Self::NotUpgrade | Self::Version => StatusCode::UPGRADE_REQUIRED,
            Self::Key | Self::Extensions => StatusCode::BAD_REQUEST,
            Self::NotUpgradable => StatusCode::INTERNAL_SERVER_ERROR,
        }
    }
}

/// Checks the request line and headers; gives the value of `Sec-WebSocket-Accept`.
pub(super) fn accept(method: &Method, version: Version, headers: &HeaderMap) -> Result<HeaderValue, Refused> {
    if method != Method::GET {
        return Err(Refused::Method);
    }
    if version != Version::HTTP_11 {
        return Err(Refused::HttpVersion);
    }
    if !lists(headers, &header::CONNECTION, "upgrade") || !lists(headers, &header::UPGRADE, "websocket") {
        return Err(Refused::NotUpgrade);
    }
    if headers.get(header::SEC_WEBSOCKET_VERSION).is_none_or(|version| version != "13") {
        return Err(Refused::Version);
    }
    let key = headers.get(header::SEC_WEBSOCKET_KEY).map(|key| key.as_bytes()).unwrap_or_default();
    let mut nonce = [0; 18];
    if BASE64_STANDARD.decode_slice(key, &mut nonce) != Ok(16) {
        return Err(Refused::Key);
    }
    let answer = BASE64_STANDARD.encode(Sha1::new().chain_update(key).chain_update(GUID).finalize());
    Ok(HeaderValue::try_from(answer).expect("base64 is ASCII"))
}

/// The subprotocol to answer with, of those that the client offers, and what it means.
pub(super) fn subprotocol(headers: &HeaderMap) -> Option<(&'static str, Encoding)> {
    tokens(headers, &header::SEC_WEBSOCKET_PROTOCOL).find_map(|offered| match offered {
        "centrifuge-json" => Some(("centrifuge-json", Encoding::Json)),
        "centrifuge-protobuf" => Some(("centrifuge-protobuf", Encoding::Protobuf)),
        _ => None,
    })
}

/// The extension to answer with, of those that the client offers.
pub(super) fn extension(headers: &HeaderMap) -> Result<Option<&'static str>, Refused> {
    let offers = headers.get_all(header::SEC_WEBSOCKET_EXTENSIONS).iter();
    let offers: Result<Vec<_>, _> = offers.map(HeaderValue::to_str).collect();
    negotiate(offers.map_err(|_| Refused::Extensions)?).map_err(|_| Refused::Extensions)
}

/// Whether the query says `name=value`. None of the names and values we look for needs percent-decoding.
pub(super) fn query_says(query: Option<&str>, name: &str, value: &str) -> bool {
    query.unwrap_or_default().split('&').any(|pair| pair.split_once('=') == Some((name, value)))
}

fn lists(headers: &HeaderMap, name: &HeaderName, wanted: &str) -> bool {
    tokens(headers, name).any(|token| token.eq_ignore_ascii_case(wanted))
}

fn tokens<'a>(headers: &'a HeaderMap, name: &HeaderName) -> impl Iterator<Item = &'a str> {
    headers.get_all(name).iter().filter_map(|value| value.to_str().ok()).flat_map(|list| list.split(',')).map(str::trim)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(changes: &[(&'static str, &'static str)]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for (name, value) in [
            ("connection", "keep-alive, Upgrade"),
            ("upgrade", "WebSocket"),
            ("sec-websocket-version", "13"),
            ("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ=="),
        ]
        .iter()
        .chain(changes)
        {
            headers.insert(*name, value.parse().unwrap());
        }
        headers
    }

    fn get(headers: &HeaderMap) -> Result<HeaderValue, Refused> {
        accept(&Method::GET, Version::HTTP_11, headers)
    }

    #[test]
    fn the_key_of_the_rfc_gets_the_answer_of_the_rfc() {
        assert_eq!(get(&request(&[])).unwrap(), "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");
    }

    #[test]
    fn what_is_no_websocket_request_is_refused() {
        for (change, refusal) in [
            (("connection", "keep-alive"), Refused::NotUpgrade),
            (("upgrade", "h2c"), Refused::NotUpgrade),
            (("sec-websocket-version", "8"), Refused::Version),
            (("sec-websocket-key", "short"), Refused::Key),
            (("sec-websocket-key", "AAAA"), Refused::Key),
            (("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZSEh"), Refused::Key),
            (("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ==dGhlIHNhbXBsZSBub25jZQ=="), Refused::Key),
        ] {
            assert_eq!(get(&request(&[change])), Err(refusal), "{change:?}");
        }
        let whole = request(&[]);
        assert_eq!(accept(&Method::POST, Version::HTTP_11, &whole), Err(Refused::Method));
        assert_eq!(accept(&Method::GET, Version::HTTP_10, &whole), Err(Refused::HttpVersion));
    }

    #[test]
    fn the_first_known_subprotocol_is_taken() {
        let json = ("centrifuge-json", Encoding::Json);
        let protobuf = ("centrifuge-protobuf", Encoding::Protobuf);
        for (offered, taken) in [
            ("centrifuge-protobuf", Some(protobuf)),
            ("chat, centrifuge-json,centrifuge-protobuf", Some(json)),
            ("chat", None),
        ] {
            let headers = request(&[("sec-websocket-protocol", offered)]);
            assert_eq!(subprotocol(&headers), taken, "{offered}");
        }
        assert_eq!(subprotocol(&request(&[])), None);
    }

    #[test]
    fn the_query_is_searched_pair_by_pair() {
        assert!(query_says(Some("a=b&format=protobuf"), "format", "protobuf"));
        assert!(!query_says(Some("xformat=protobuf"), "format", "protobuf"));
        assert!(!query_says(None, "format", "protobuf"));
    }
}
