//! The public, reversible mapping between channels and subjects.
//!
//! `chat:room.1` is published to `midplane.pub.chat.room.1`: the prefix, what it is for, the namespace (one token, `_`
//! for the default one), then the rest, whose dots are levels. What a token cannot hold is percent-encoded as UTF-8:
//! white space, control characters, `*`, `>`, `%`, and a dot that would leave a token empty. A private channel
//! (`$chat:room`) has its `$` in front of the rest (`midplane.pub.chat.$room`); a rest that itself begins with `$` has
//! that one encoded. Each channel has exactly one subject, so a subject that is spelled differently names no channel.

use std::fmt::Write as _;

use percent_encoding::percent_decode_str;

use uuid::Uuid;

use crate::backplane::Occupant;
use crate::protocol::Channel;

/// What a subject is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Purpose {
    /// Where everybody publishes.
    Publish,
    /// Where nodes hear what was stored.
    Live,
    /// Where publishers tell that something was stored which may not have come out.
    Nudge,
}

impl Purpose {
    const fn token(self) -> &'static str {
        match self {
            Self::Publish => "pub",
            Self::Live => "live",
            Self::Nudge => "nudge",
        }
    }
}

/// Where it is recorded who is where, and where records come out once they are stored.
const RECORDS: &str = "pres";
const LIVE_RECORDS: &str = "preslive";

/// The subjects below one prefix.
#[derive(Debug, Clone)]
pub struct Subjects {
    prefix: String,
}

impl Subjects {
    /// Subjects that begin with `prefix` (`midplane`).
    #[must_use]
    pub fn new(prefix: &str) -> Self {
        Self { prefix: prefix.to_owned() }
    }

    /// The subject of one channel.
    #[must_use]
    pub fn of(&self, purpose: Purpose, channel: &Channel) -> String {
        let mut subject = format!("{}.{}.", self.prefix, purpose.token());
        push_channel(&mut subject, channel);
        subject
    }

    /// Where an occupant is recorded.
    #[must_use]
    pub fn record(&self, occupant: &Occupant) -> String {
        let mut subject = format!("{}.{RECORDS}.{}.", self.prefix, occupant.node);
        push_channel(&mut subject, &occupant.channel);
        write!(subject, ".{}", occupant.client.simple()).expect("writing to a string succeeds");
        subject
    }

    /// Where everybody's records are, or those of one node.
    #[must_use]
    pub fn records(&self, node: Option<&str>) -> String {
        match node {
            None => format!("{}.{RECORDS}.>", self.prefix),
            Some(node) => format!("{}.{RECORDS}.{node}.>", self.prefix),
        }
    }

    /// Where the records of one channel are, as a pattern.
    #[must_use]
    pub fn records_of(&self, channel: &Channel) -> String {
        self.occupants(RECORDS, channel)
    }

    /// Where records come out once they are stored.
    #[must_use]
    pub fn live_records(&self) -> String {
        format!("{}.{LIVE_RECORDS}.>", self.prefix)
    }

    /// Where those of one channel come out, as a pattern.
    #[must_use]
    pub fn live_records_of(&self, channel: &Channel) -> String {
        self.occupants(LIVE_RECORDS, channel)
    }

    fn occupants(&self, purpose: &str, channel: &Channel) -> String {
        let mut subject = format!("{}.{purpose}.*.", self.prefix);
        push_channel(&mut subject, channel);
        subject.push_str(".*");
        subject
    }

    /// The occupant whose record this is; `None` for any other subject.
    #[must_use]
    pub fn occupant(&self, subject: &str) -> Option<Occupant> {
        let record = self.strip(subject)?.strip_prefix(RECORDS)?.strip_prefix('.')?;
        let (node, rest) = record.split_once('.')?;
        let (channel, client) = rest.rsplit_once('.')?;
        let client = Uuid::try_parse(client).ok()?;
        Some(Occupant { node: node.into(), channel: decoded(channel)?, client })
    }

    /// The subjects of all channels of a namespace, as a pattern.
    #[must_use]
    pub fn all(&self, purpose: Purpose, namespace: &str) -> String {
        let mut subject = format!("{}.{}.", self.prefix, purpose.token());
        push_namespace(&mut subject, namespace);
        subject.push_str(".>");
        subject
    }

    /// A subject in a namespace that no channel maps to, for proving that a stream takes writes.
    #[must_use]
    pub fn probe(&self, namespace: &str) -> String {
        let mut subject = self.all(Purpose::Publish, namespace);
        subject.pop();
        subject.push('%');
        subject
    }

    /// A subject in a namespace that no channel maps to, for one of its stream's marks.
    #[must_use]
    pub fn mark(&self, namespace: &str, number: u64) -> String {
        format!("{}.mark.{number}", self.probe(namespace))
    }

    /// Where nodes tell each other that a namespace's epoch changed.
    #[must_use]
    pub fn epoch(&self, namespace: &str) -> String {
        let mut subject = format!("{}.epoch.", self.prefix);
        push_namespace(&mut subject, namespace);
        subject
    }

    /// A subject below the prefix that is not a channel's: `rpc.sum`.
    #[must_use]
    pub fn below(&self, name: &str) -> String {
        format!("{}.{name}", self.prefix)
    }

    /// What stands behind the prefix.
    #[must_use]
    pub fn strip<'a>(&self, subject: &'a str) -> Option<&'a str> {
        subject.strip_prefix(&*self.prefix)?.strip_prefix('.')
    }

    /// The channel whose subject this is; `None` for any other subject, and for any other spelling.
    #[must_use]
    pub fn channel(&self, purpose: Purpose, subject: &str) -> Option<Channel> {
        decoded(self.strip(subject)?.strip_prefix(purpose.token())?.strip_prefix('.')?)
    }
}

/// The channel of these tokens; `None` for any other spelling.
fn decoded(tokens: &str) -> Option<Channel> {
    let (namespace, rest) = tokens.split_once('.')?;
    let mut name = String::with_capacity(tokens.len());
    let rest = match rest.strip_prefix('$') {
        Some(rest) => {
            name.push('$');
            rest
        }
        None => rest,
    };
    if namespace != "_" {
        name.push_str(&percent_decode_str(namespace).decode_utf8().ok()?);
        name.push(':');
    }
    name.push_str(&percent_decode_str(rest).decode_utf8().ok()?);
    let channel = Channel::stored(&name)?;
    let mut spelled = String::with_capacity(tokens.len());
    push_channel(&mut spelled, &channel);
    (spelled == tokens).then_some(channel)
}

fn push_channel(subject: &mut String, channel: &Channel) {
    push_namespace(subject, channel.namespace());
    subject.push('.');
    push_rest(subject, channel);
}

/// A namespace as one token; also fit for the name of a stream once `%` is replaced.
fn push_namespace(subject: &mut String, namespace: &str) {
    match namespace {
        "" => subject.push('_'),
        "_" => push_encoded(subject, '_'),
        name => {
            for c in name.chars() {
                if c.is_ascii_alphanumeric() || c == '_' || c == '-' {
                    subject.push(c);
                } else {
                    push_encoded(subject, c);
                }
            }
        }
    }
}

fn push_rest(subject: &mut String, channel: &Channel) {
    let mut rest = channel.as_str();
    if channel.is_private() {
        subject.push('$');
        rest = &rest[1..];
    }
    if !channel.namespace().is_empty() {
        rest = channel.rest();
    }
    let mut token_is_empty = true;
    let mut characters = rest.chars().peekable();
    let mut first = true;
    while let Some(c) = characters.next() {
        let is_level = c == '.' && !token_is_empty && characters.peek().is_some();
        let is_special = matches!(c, '.' | '*' | '>' | '%') || (first && c == '$');
        let fits = !is_special && !c.is_whitespace() && !c.is_control();
        if is_level || fits {
            subject.push(c);
        } else {
            push_encoded(subject, c);
        }
        token_is_empty = is_level;
        first = false;
    }
}

fn push_encoded(text: &mut String, c: char) {
    for byte in c.encode_utf8(&mut [0; 4]).bytes() {
        write!(text, "%{byte:02X}").expect("writing to a string succeeds");
    }
}

/// The name of the stream that keeps a namespace: `MP_<prefix>_<namespace>`, different for different prefixes.
#[must_use]
pub fn stream_name(prefix: &str, namespace: &str) -> String {
    let mut name = format!("MP_{}_", name_part(prefix));
    let mut token = String::new();
    push_namespace(&mut token, namespace);
    name.push_str(&token.replace('%', "="));
    name
}

/// The name of the stream that keeps the records of who is where: `MP-presence_<prefix>`.
#[must_use]
pub fn presence_stream_name(prefix: &str) -> String {
    format!("MP-presence_{}", name_part(prefix))
}

/// A text as part of a stream's name.
fn name_part(text: &str) -> String {
    let mut part = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || byte == b'-' {
            part.push(byte as char);
        } else {
            write!(part, "={byte:02X}").expect("writing to a string succeeds");
        }
    }
    part
}

/// A text as part of a message id: the same encoding, and `|` as well, which separates the parts.
#[must_use]
pub fn id_part(text: &str) -> String {
    let mut part = String::with_capacity(text.len());
    for c in text.chars() {
        if c == '|' || c == '%' || c.is_whitespace() || c.is_control() {
            push_encoded(&mut part, c);
        } else {
            part.push(c);
        }
    }
    part
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn subjects() -> Subjects {
        Subjects::new("midplane")
    }

    fn channel(name: &str) -> Channel {
        Channel::parse(name, usize::MAX).expect("a valid name")
    }

    #[test]
    fn the_mapping_is_the_documented_one() {
        for (name, subject) in [
            ("news", "midplane.pub._.news"),
            ("chat:room", "midplane.pub.chat.room"),
            ("chat:room.1.a", "midplane.pub.chat.room.1.a"),
            ("$chat:room", "midplane.pub.chat.$room"),
            ("$room", "midplane.pub._.$room"),
            ("chat:$room", "midplane.pub.chat.%24room"),
            ("chat:a b*>%", "midplane.pub.chat.a%20b%2A%3E%25"),
            ("chat:.a..b.", "midplane.pub.chat.%2Ea.%2Eb%2E"),
            ("chat:a:b", "midplane.pub.chat.a:b"),
            (":x", "midplane.pub._.:x"),
            ("a.b:c", "midplane.pub.a%2Eb.c"),
            ("_:c", "midplane.pub.%5F.c"),
            ("personal:#42", "midplane.pub.personal.#42"),
            ("chat:zürich", "midplane.pub.chat.zürich"),
        ] {
            assert_eq!(subjects().of(Purpose::Publish, &channel(name)), subject);
            assert_eq!(subjects().channel(Purpose::Publish, subject), Some(channel(name)));
        }
    }

    #[test]
    fn a_subject_that_is_no_channels_names_none() {
        for subject in [
            "midplane.pub.chat",
            "midplane.pub._.chat:room",
            "midplane.pub.chat.%61",
            "midplane.pub.chat.a%2e",
            "midplane.pub.chat.%FF",
            "midplane.pub.chat.%",
            "midplane.live.chat.room",
            "other.pub.chat.room",
            "midplanet.pub.chat.room",
        ] {
            assert_eq!(subjects().channel(Purpose::Publish, subject), None, "{subject}");
        }
        assert_eq!(subjects().channel(Purpose::Publish, &subjects().probe("chat")), None);
    }

    #[test]
    fn streams_of_different_prefixes_have_different_names() {
        assert_eq!(stream_name("midplane", "chat"), "MP_midplane_chat");
        assert_eq!(stream_name("midplane", ""), "MP_midplane__");
        assert_ne!(stream_name("a", "b_c"), stream_name("a_b", "c"));
        assert_eq!(stream_name("my.app", "a.b"), "MP_my=2Eapp_a=2Eb");
    }

    proptest! {
        #[test]
        fn every_channel_comes_back_from_its_subject(name in "[$]?([a-z._%-]{0,4}:)?[$.*>% a-c:#|ü\u{2028}]{0,12}|\\PC{0,24}") {
            let Ok(channel) = Channel::parse(&name, usize::MAX) else { return Ok(()) };
            for purpose in [Purpose::Publish, Purpose::Live, Purpose::Nudge] {
                let subject = subjects().of(purpose, &channel);
                prop_assert_eq!(subjects().channel(purpose, &subject), Some(channel.clone()));
                prop_assert!(subject.split('.').all(|token| !token.is_empty()), "empty token in {}", subject);
                prop_assert!(!subject.contains(|c: char| c.is_whitespace() || c.is_control() || c == '*' || c == '>'));
                prop_assert!(subject.split('.').count() >= 4);
            }
        }

        #[test]
        fn every_occupant_comes_back_from_its_subject(
            name in "[$]?([a-z._%-]{0,4}:)?[$.*>% a-c:#|ü]{0,12}",
            node in "[a-z0-9_-]{1,8}~[0-9]{1,3}",
            client: u128,
        ) {
            let Ok(channel) = Channel::parse(&name, usize::MAX) else { return Ok(()) };
            let occupant = Occupant { node: node.into(), channel, client: Uuid::from_u128(client) };
            let subject = subjects().record(&occupant);
            prop_assert_eq!(subjects().occupant(&subject), Some(occupant));
        }

        #[test]
        fn no_subject_names_a_channel_with_another_subject(subject in "midplane[.]pub[.][a-z%_]{1,3}[.][$a-c.:%2E]{1,10}") {
            if let Some(channel) = subjects().channel(Purpose::Publish, &subject) {
                prop_assert_eq!(subjects().of(Purpose::Publish, &channel), subject);
            }
        }

        #[test]
        fn names_of_streams_are_valid(prefix in "\\PC{1,12}", namespace in "\\PC{0,12}") {
            let name = stream_name(&prefix, &namespace);
            prop_assert!(name.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_=".contains(&b)), "{}", name);
        }
    }
}
