//! What travels in the headers of a message: the server's own (`Nats-…`, of which only the last one counts, since a
//! publisher can put others in front), and ours (`Midplane-…`). Metadata that is malformed is left out and counted.

use async_nats::{HeaderMap, HeaderValue};
use bytes::Bytes;
use percent_encoding::{AsciiSet, CONTROLS, NON_ALPHANUMERIC, percent_decode_str, utf8_percent_encode};
use serde::de::IgnoredAny;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;
use tracing::debug;

use crate::backplane::message::{Link, Meta, Version};
use crate::protocol::Offset;

/// JSON `ClientInfo` of the client that published.
const INFO: &str = "Midplane-Info";
/// Followed by a tag's name.
const TAG: &str = "Midplane-Tag-";
/// Marks what is no publication but the end of a removed history.
const TOMBSTONE: &str = "Midplane-Tombstone";
/// "1" or "true" where patches are to be sent.
const DELTA: &str = "Midplane-Delta";
/// Marks what came over a bridge.
const BRIDGED: &str = "Midplane-Bridged";
const VERSION: &str = "Midplane-Version";
const VERSION_EPOCH: &str = "Midplane-Version-Epoch";
/// The names that Centrifugo's own consumers use for the same things.
const FOREIGN_TAG: &str = "centrifugo-tag-";
const FOREIGN_DELTA: &str = "centrifugo-delta";
const FOREIGN_VERSION: &str = "centrifugo-version";
const FOREIGN_VERSION_EPOCH: &str = "centrifugo-version-epoch";

/// Tags of one publication that are passed on.
const MAX_TAGS: usize = 64;
/// What a tag's name keeps as it is.
const NAME: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'_').remove(b'.');
/// What a value must not hold as it is.
const VALUE: &AsciiSet = &CONTROLS.add(b'%');

/// The headers of one message that mean something to us, each the last of its name.
#[derive(Debug, Default)]
pub struct Envelope<'a> {
    pub stream: Option<&'a str>,
    pub subject: Option<&'a str>,
    sequence: Option<&'a str>,
    previous: Option<&'a str>,
    stored_at: Option<&'a str>,
    pub pending: Option<&'a str>,
    pub up_to: Option<&'a str>,
    pub message_id: Option<&'a str>,
    size: Option<&'a str>,
    version: Option<&'a str>,
    version_epoch: Option<&'a str>,
    info: Option<&'a str>,
    tombstone: bool,
    delta: bool,
    bridged: bool,
    /// In a bucket: that the key has no value any more.
    pub removed: bool,
    tags: Vec<(&'a str, &'a str)>,
    /// What could not be understood and is left out.
    pub malformed: u64,
}

impl<'a> Envelope<'a> {
    /// Reads a header block as it comes over the wire, its version line included.
    pub fn of_block(block: &'a [u8]) -> Self {
        let mut envelope = Self::default();
        let mut rest = block;
        while let Some(end) = rest.iter().position(|&byte| byte == b'\n') {
            let line = rest[..end].strip_suffix(b"\r").unwrap_or(&rest[..end]);
            rest = &rest[end + 1..];
            let Some(colon) = line.iter().position(|&byte| byte == b':') else { continue };
            match (std::str::from_utf8(&line[..colon]), std::str::from_utf8(&line[colon + 1..])) {
                (Ok(name), Ok(value)) => envelope.note(name, value.trim_matches(' ')),
                _ => envelope.malformed += 1,
            }
        }
        envelope
    }

    /// The server's own names are matched exactly: it writes them so, and others are a publisher's.
    fn note(&mut self, name: &'a str, value: &'a str) {
        match name {
            "Nats-Stream" => self.stream = Some(value),
            "Nats-Subject" => self.subject = Some(value),
            "Nats-Sequence" => self.sequence = Some(value),
            "Nats-Last-Sequence" => self.previous = Some(value),
            "Nats-Time-Stamp" => self.stored_at = Some(value),
            "Nats-Num-Pending" => self.pending = Some(value),
            "Nats-UpTo-Sequence" => self.up_to = Some(value),
            "Nats-Msg-Size" => self.size = Some(value),
            "Nats-Msg-Id" => self.message_id = Some(value),
            "KV-Operation" => self.removed |= matches!(value, "DEL" | "PURGE"),
            "Nats-Marker-Reason" => self.removed = true,
            _ if is(name, INFO) => self.info = Some(value),
            _ if is(name, TOMBSTONE) => self.tombstone = true,
            _ if is(name, BRIDGED) => self.bridged = true,
            _ if is(name, DELTA) || is(name, FOREIGN_DELTA) => {
                self.delta = value == "1" || value.eq_ignore_ascii_case("true");
            }
            _ if is(name, VERSION) || is(name, FOREIGN_VERSION) => self.version = Some(value),
            _ if is(name, VERSION_EPOCH) || is(name, FOREIGN_VERSION_EPOCH) => self.version_epoch = Some(value),
            _ => {
                if let Some(tag) = after(name, TAG).or_else(|| after(name, FOREIGN_TAG)) {
                    self.tags.push((tag, value));
                }
            }
        }
    }

    /// The sequence that the server gave, 0 if none.
    pub fn sequence(&self) -> u64 {
        number(self.sequence)
    }

    /// The sequence of the message before it, in its channel or in an answer that brings several; 0 if there is none.
    pub fn previous(&self) -> u64 {
        number(self.previous)
    }

    /// When the server stored it: nanoseconds since the Unix epoch, 0 if it does not say.
    pub fn stored_at(&self) -> i64 {
        self.stored_at.and_then(nanoseconds).unwrap_or(0)
    }

    /// Whether the stream passed on the headers alone of a message that has a body: somebody told it to.
    pub fn is_hollow(&self, body: &[u8]) -> bool {
        body.is_empty() && number(self.size) > 0
    }

    /// Its place in the chain; `None` for what was not stored.
    pub fn link(&self) -> Option<Link> {
        let offset = self.sequence();
        (offset > 0).then(|| Link {
            offset: Offset(offset),
            previous: Offset(self.previous()),
            stored_at: self.stored_at(),
        })
    }

    /// The guard that the publication was stored with.
    pub fn version(&self) -> Option<Version> {
        let number = number(self.version);
        (number > 0).then(|| Version { number, epoch: decoded(self.version_epoch.unwrap_or_default()) })
    }

    /// What travels beside the data; counts what is malformed.
    pub fn meta(&mut self) -> Meta {
        let is_sound = |info: &&str| info.starts_with('{') && serde_json::from_str::<IgnoredAny>(info).is_ok();
        let info = self.info.filter(is_sound);
        self.malformed += u64::from(info.is_none() && self.info.is_some()) + u64::from(self.tags.len() > MAX_TAGS);
        let tags = self.tags.iter().take(MAX_TAGS).map(|(name, value)| (decoded(name), decoded(value))).collect();
        let info = info.map(|info| Bytes::copy_from_slice(info.as_bytes()));
        Meta { info, tags, tombstone: self.tombstone, delta: self.delta, bridged: self.bridged }
    }
}

/// Puts metadata into headers.
pub fn write(headers: &mut HeaderMap, meta: &Meta, version: Option<&Version>) {
    if let Some(info) = &meta.info {
        match std::str::from_utf8(info) {
            // Line ends in JSON are white space: inside strings they are escaped.
            Ok(info) => headers.insert(INFO, info.replace(['\r', '\n'], " ")),
            Err(error) => debug!(%error, "client information that is no text is left out"),
        }
    }
    if meta.tombstone {
        headers.insert(TOMBSTONE, "1");
    }
    if meta.delta {
        headers.insert(DELTA, "1");
    }
    if meta.bridged {
        headers.insert(BRIDGED, "1");
    }
    for (name, value) in &meta.tags {
        let name = format!("{TAG}{}", utf8_percent_encode(name, NAME));
        headers.insert(name.as_str(), encoded(value));
    }
    if let Some(version) = version {
        headers.insert(VERSION, HeaderValue::from(version.number));
        if !version.epoch.is_empty() {
            headers.insert(VERSION_EPOCH, encoded(&version.epoch));
        }
    }
}

/// Everything that one header block says. Nodes read blocks by themselves: this is for fuzzing.
#[doc(hidden)]
#[derive(Debug)]
pub struct Described {
    pub link: Option<Link>,
    pub version: Option<Version>,
    pub meta: Meta,
    pub malformed: u64,
}

impl Described {
    /// Reads a block as it comes over the wire.
    #[must_use]
    pub fn by(block: &[u8]) -> Self {
        let mut envelope = Envelope::of_block(block);
        let (link, version, meta) = (envelope.link(), envelope.version(), envelope.meta());
        Self { link, version, meta, malformed: envelope.malformed }
    }

    /// What a publisher of the same would send.
    #[must_use]
    pub fn block(&self) -> Vec<u8> {
        let mut headers = HeaderMap::new();
        write(&mut headers, &self.meta, self.version.as_ref());
        block(&headers)
    }
}

/// Headers as they go over the wire.
fn block(headers: &HeaderMap) -> Vec<u8> {
    let lines =
        headers.iter().flat_map(|(name, values)| values.iter().map(move |value| format!("{name}: {value}\r\n")));
    format!("NATS/1.0\r\n{}\r\n", lines.collect::<String>()).into_bytes()
}

/// Bytes that headers take on the wire.
pub fn wire_length(headers: &HeaderMap) -> usize {
    if headers.is_empty() {
        return 0;
    }
    let lines: usize = headers
        .iter()
        .flat_map(|(name, values)| {
            let name: &str = name.as_ref();
            values.iter().map(move |value| name.len() + value.as_str().len() + ": \r\n".len())
        })
        .sum();
    lines + "NATS/1.0\r\n\r\n".len()
}

/// A time as the server writes it, in nanoseconds since the Unix epoch.
pub fn nanoseconds(text: &str) -> Option<i64> {
    let time = OffsetDateTime::parse(text, &Rfc3339).ok()?;
    i64::try_from(time.unix_timestamp_nanos()).ok()
}

/// A number in a header, 0 if there is none.
pub fn number(text: Option<&str>) -> u64 {
    text.and_then(|text| text.parse().ok()).unwrap_or(0)
}

fn is(name: &str, known: &str) -> bool {
    name.eq_ignore_ascii_case(known)
}

fn after<'a>(name: &'a str, prefix: &str) -> Option<&'a str> {
    let head = name.get(..prefix.len())?;
    (head.eq_ignore_ascii_case(prefix) && name.len() > prefix.len()).then(|| &name[prefix.len()..])
}

fn encoded(value: &str) -> String {
    let mut text = utf8_percent_encode(value, VALUE).to_string();
    // White space at the ends would not survive.
    if text.starts_with(' ') {
        text.replace_range(..1, "%20");
    }
    if text.ends_with(' ') {
        text.replace_range(text.len() - 1.., "%20");
    }
    text
}

fn decoded(value: &str) -> String {
    percent_decode_str(value).decode_utf8_lossy().into_owned()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_last_of_the_servers_headers_counts() {
        let block = b"NATS/1.0\r\nNats-Sequence: 999\r\nnats-sequence: 7\r\nNats-Stream: S\r\nNats-Sequence: 12\r\n\
            Nats-Time-Stamp: 2024-01-01T00:00:00.000000005Z\r\nNats-Last-Sequence: 4\r\n\r\n";
        let link = Envelope::of_block(block).link().expect("a link");
        assert_eq!((link.offset, link.previous), (Offset(12), Offset(4)));
        assert_eq!(link.stored_at, 1_704_067_200_000_000_005);
    }

    #[test]
    fn malformed_metadata_is_left_out() {
        let block =
            b"NATS/1.0\r\nMidplane-Info: {oops\r\nMidplane-Version: many\r\nMidplane-Tag-: x\r\n\xff: 1\r\n\r\n";
        let mut envelope = Envelope::of_block(block);
        assert_eq!(envelope.meta(), Meta::default());
        assert_eq!(envelope.version(), None);
        assert_eq!(envelope.link(), None);
        assert_eq!(envelope.malformed, 2, "the information and a line that is no text");
    }

    #[test]
    fn names_of_centrifugos_consumers_are_understood() {
        let block = b"NATS/1.0\r\ncentrifugo-tag-kind: a\r\ncentrifugo-version: 3\r\n\r\n";
        let mut envelope = Envelope::of_block(block);
        assert_eq!(envelope.meta().tags, [("kind".to_owned(), "a".to_owned())]);
        assert_eq!(envelope.version().map(|version| version.number), Some(3));
    }

    proptest! {
        #[test]
        fn metadata_comes_back(
            tags in proptest::collection::hash_map(any::<String>().prop_filter("a name", |n| !n.is_empty()), any::<String>(), 0..5),
            number in 1u64..,
            epoch in any::<String>(),
        ) {
            let mut tags: Vec<_> = tags.into_iter().collect();
            tags.sort();
            let meta = Meta { info: Some(Bytes::from_static(b"{\"user\":\"ada\",\n\"client\":\"1\"}")), tags, tombstone: true, delta: true, bridged: true };
            let version = Version { number, epoch };
            let mut headers = HeaderMap::new();
            write(&mut headers, &meta, Some(&version));
            let block = block(&headers);
            prop_assert_eq!(block.len(), if headers.is_empty() { "NATS/1.0\r\n\r\n".len() } else { wire_length(&headers) });
            let mut envelope = Envelope::of_block(&block);
            let mut read = envelope.meta();
            read.tags.sort();
            prop_assert_eq!(read.tags, meta.tags);
            prop_assert!(read.tombstone && read.bridged);
            prop_assert_eq!(envelope.version(), Some(version));
            prop_assert!(read.info.is_some_and(|info| !info.contains(&b'\n')));
        }

        #[test]
        fn no_block_is_too_strange(block in any::<Vec<u8>>()) {
            let mut envelope = Envelope::of_block(&block);
            let _ = (envelope.meta(), envelope.link(), envelope.version());
        }
    }
}
