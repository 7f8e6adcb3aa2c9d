//! What one node asks of another about a session, and what that answers. The session is named in a header, and not in the
//! subject: whoever may watch subjects must not learn it.

use bytes::{Buf, BufMut, Bytes, BytesMut};
use uuid::Uuid;

use super::door::Refused;

const SESSION: &str = "Midplane-Session";
const ASK: &str = "Midplane-Ask";
const NUMBER: &str = "Midplane-Number";

/// Where a node takes what others ask about its sessions.
pub(super) fn subject(node: Uuid) -> String {
    format!("node.{}.engineio", node.simple())
}

/// What is asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Verb {
    /// What waits for the client, or will.
    Poll,
    /// Whether that request still waits.
    Check,
    /// The client broke that request off.
    BreakOff,
    /// The next part of what that request is answered with.
    Rest,
    /// Packets of the client.
    Post,
    /// The client does what no client may.
    Misuse,
    /// A WebSocket wants to be the session's transport.
    Claim,
    /// It works.
    Probed,
    /// It is of no use after all.
    Release,
    /// What is needed to prepare for the session.
    Pack,
    /// The session is to go on at the node that asks, which is named in the body.
    Depart,
    /// Frames for a client whose session has come from the node that asks.
    Say,
}

impl Verb {
    const ALL: [Self; 12] = [
        Self::Poll,
        Self::Check,
        Self::BreakOff,
        Self::Rest,
        Self::Post,
        Self::Misuse,
        Self::Claim,
        Self::Probed,
        Self::Release,
        Self::Pack,
        Self::Depart,
        Self::Say,
    ];

    const fn name(self) -> &'static str {
        match self {
            Self::Poll => "poll",
            Self::Check => "check",
            Self::BreakOff => "break-off",
            Self::Rest => "rest",
            Self::Post => "post",
            Self::Misuse => "misuse",
            Self::Claim => "claim",
            Self::Probed => "probed",
            Self::Release => "release",
            Self::Pack => "pack",
            Self::Depart => "depart",
            Self::Say => "say",
        }
    }
}

/// A question about a session.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Word {
    pub(super) session: Uuid,
    pub(super) verb: Verb,
    /// The request that is meant.
    pub(super) number: u64,
}

impl Word {
    pub(super) fn headers(&self) -> [(&'static str, String); 3] {
        let session = self.session.simple().to_string();
        [(SESSION, session), (ASK, self.verb.name().to_owned()), (NUMBER, self.number.to_string())]
    }

    pub(super) fn read(headers: &[(String, String)]) -> Option<Self> {
        let of = |wanted: &str| {
            let header = headers.iter().find(|(name, _)| name.eq_ignore_ascii_case(wanted));
            header.map(|(_, value)| value.as_str())
        };
        let verb = of(ASK)?;
        Some(Self {
            session: of(SESSION)?.parse().ok()?,
            verb: Verb::ALL.into_iter().find(|known| known.name() == verb)?,
            number: of(NUMBER)?.parse().ok()?,
        })
    }
}

/// What is answered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Said {
    /// It is done; or the last of what was asked for.
    Done(Bytes),
    /// Some of what was asked for. The next part is to be asked for.
    Part(Bytes),
    /// No such session, or request.
    Unknown,
    Moved,
    Closed,
    /// Too many requests of that kind wait.
    Busy,
}

impl Said {
    /// Bytes that an answer has beside what it brings.
    pub(super) const OVERHEAD: usize = 1;

    pub(super) fn encode(&self) -> Bytes {
        let (kind, data) = match self {
            Self::Done(data) => (b'd', &data[..]),
            Self::Part(data) => (b'p', &data[..]),
            Self::Unknown => (b'u', &b""[..]),
            Self::Moved => (b'm', &b""[..]),
            Self::Closed => (b'c', &b""[..]),
            Self::Busy => (b'b', &b""[..]),
        };
        let mut encoded = BytesMut::with_capacity(Self::OVERHEAD + data.len());
        encoded.put_u8(kind);
        encoded.put_slice(data);
        encoded.freeze()
    }

    pub(super) fn decode(mut encoded: Bytes) -> Option<Self> {
        let kind = encoded.try_get_u8().ok()?;
        match kind {
            b'd' => Some(Self::Done(encoded)),
            b'p' => Some(Self::Part(encoded)),
            b'u' => Some(Self::Unknown),
            b'm' => Some(Self::Moved),
            b'c' => Some(Self::Closed),
            b'b' => Some(Self::Busy),
            _ => None,
        }
    }
}

impl From<Refused> for Said {
    fn from(refused: Refused) -> Self {
        match refused {
            Refused::Moved => Self::Moved,
            Refused::Unknown | Refused::NoNode => Self::Unknown,
            Refused::Busy => Self::Busy,
            Refused::Closed | Refused::TooLarge { .. } | Refused::Timeout | Refused::Unavailable => Self::Closed,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn questions_are_read_as_they_were_written_and_others_not_at_all() {
        let owned = |(name, value): (&str, String)| (name.to_lowercase(), value);
        for verb in Verb::ALL {
            let word = Word { session: Uuid::new_v4(), verb, number: u64::MAX };
            let headers = word.headers().map(owned);
            assert_eq!(Word::read(&headers), Some(word));
            for index in 0..headers.len() {
                let mut strange = headers.to_vec();
                strange[index].1 = "-1".to_owned();
                assert_eq!(Word::read(&strange), None);
                strange.remove(index);
                assert_eq!(Word::read(&strange), None);
            }
        }
    }

    #[test]
    fn answers_are_read_as_they_were_written_and_others_not_at_all() {
        let data = Bytes::from_static(b"4a");
        let all = [Said::Done(data.clone()), Said::Part(data), Said::Unknown, Said::Moved, Said::Closed, Said::Busy];
        for said in all {
            assert_eq!(Said::decode(said.encode()), Some(said));
        }
        assert_eq!(Said::decode(Bytes::new()), None);
        assert_eq!(Said::decode("x".into()), None);
    }
}
