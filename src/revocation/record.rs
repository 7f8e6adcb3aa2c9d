//! A revocation as it stands in the registry: JSON below a key that is made of a digest, since ids may be long.

use std::time::Duration;

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use super::remaining;
use super::token::digest;

/// One revocation. An `expires_at` of 0 is never.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Record {
    Token {
        id: u128,
        expires_at: u64,
    },
    User {
        user: String,
        channel: String,
        issued_before: u64,
        expires_at: u64,
    },
    /// The same of whom only the digest is known any more: what a node writes again from memory.
    Digest {
        id: u128,
        issued_before: u64,
        expires_at: u64,
    },
}

/// A record as it is written; ids in hexadecimal digits.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Written {
    Token { id: String, expires_at: u64 },
    User { user: String, channel: String, issued_before: u64, expires_at: u64 },
    Digest { id: String, issued_before: u64, expires_at: u64 },
}

impl Record {
    pub fn token(uid: &str, until: Option<u64>) -> Self {
        Self::Token { id: digest(&[uid]), expires_at: until.unwrap_or(0) }
    }

    pub fn user(user: &str, channel: &str, issued_before: u64, until: Option<u64>) -> Self {
        let (user, channel, expires_at) = (user.to_owned(), channel.to_owned(), until.unwrap_or(0));
        Self::User { user, channel, issued_before, expires_at }
    }

    /// Where it stands: one key for each token, and for each user and channel.
    pub fn key(&self) -> String {
        match self {
            Self::Token { id, .. } => format!("token-{id:032x}"),
            Self::User { user, channel, .. } => format!("user-{:032x}", digest(&[user, channel])),
            Self::Digest { id, .. } => format!("user-{id:032x}"),
        }
    }

    /// What refuses all that either of them refuses.
    pub fn merged_with(&self, before: Option<Self>) -> Self {
        let mut merged = self.clone();
        match (&mut merged, before) {
            (Self::Token { expires_at, .. }, Some(Self::Token { expires_at: before, .. })) => {
                *expires_at = later(*expires_at, before);
            }
            (
                Self::User { issued_before, expires_at, .. } | Self::Digest { issued_before, expires_at, .. },
                Some(
                    Self::User { issued_before: older, expires_at: before, .. }
                    | Self::Digest { issued_before: older, expires_at: before, .. },
                ),
            ) => {
                *issued_before = older.max(*issued_before);
                *expires_at = later(*expires_at, before);
            }
            // What is not understood gives way.
            (Self::Token { .. } | Self::User { .. } | Self::Digest { .. }, _) => {}
        }
        merged
    }

    /// Whether it refuses anything that `other`, below the same key, does not.
    pub fn refuses_more_than(&self, other: &Self) -> bool {
        let age = |record: &Self| match record {
            Self::Token { .. } => u64::MAX,
            Self::User { issued_before, .. } | Self::Digest { issued_before, .. } => *issued_before,
        };
        age(self) > age(other) || later(self.expires_at(), other.expires_at()) != other.expires_at()
    }

    pub const fn expires_at(&self) -> u64 {
        match self {
            Self::Token { expires_at, .. } | Self::User { expires_at, .. } | Self::Digest { expires_at, .. } => {
                *expires_at
            }
        }
    }

    /// How long the registry has to keep it; `None` is for ever.
    pub fn remaining(&self) -> Option<Duration> {
        Some(self.expires_at()).filter(|at| *at > 0).map(remaining)
    }

    pub fn to_json(&self) -> Bytes {
        let written = match self.clone() {
            Self::Token { id, expires_at } => Written::Token { id: format!("{id:032x}"), expires_at },
            Self::User { user, channel, issued_before, expires_at } => {
                Written::User { user, channel, issued_before, expires_at }
            }
            Self::Digest { id, issued_before, expires_at } => {
                Written::Digest { id: format!("{id:032x}"), issued_before, expires_at }
            }
        };
        // A structure of strings and numbers cannot fail to be written.
        serde_json::to_vec(&written).unwrap_or_default().into()
    }

    pub fn parse(json: &[u8]) -> Option<Self> {
        Some(match serde_json::from_slice(json).ok()? {
            Written::Token { id, expires_at } => Self::Token { id: u128::from_str_radix(&id, 16).ok()?, expires_at },
            Written::User { user, channel, issued_before, expires_at } => {
                Self::User { user, channel, issued_before, expires_at }
            }
            Written::Digest { id, issued_before, expires_at } => {
                Self::Digest { id: u128::from_str_radix(&id, 16).ok()?, issued_before, expires_at }
            }
        })
    }
}

/// The later of two ends, of which 0 is none.
pub(super) fn later(one: u64, other: u64) -> u64 {
    if one == 0 || other == 0 { 0 } else { one.max(other) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_can_be_read() {
        let again = Record::Digest { id: 7, issued_before: 17, expires_at: 99 };
        for record in [Record::token("a", None), Record::user("ann", "news", 17, Some(99)), again] {
            assert_eq!(Record::parse(&record.to_json()), Some(record));
        }
        assert_eq!(Record::parse(b"{}"), None);
    }

    #[test]
    fn a_later_revocation_never_weakens_an_earlier_one() {
        let before = Record::user("ann", "", 100, None);
        let after = Record::user("ann", "", 50, Some(7)).merged_with(Some(before.clone()));
        assert_eq!(after, before);
        let longer = Record::token("a", Some(9)).merged_with(Some(Record::token("a", Some(5))));
        assert_eq!(longer, Record::token("a", Some(9)));
    }

    #[test]
    fn what_is_older_or_ends_sooner_refuses_less() {
        let user = |before, until| Record::user("ann", "", before, until);
        assert!(user(100, None).refuses_more_than(&user(99, None)));
        assert!(user(99, None).refuses_more_than(&user(100, Some(7))));
        assert!(!user(99, Some(7)).refuses_more_than(&user(100, None)));
        assert!(!Record::token("a", Some(7)).refuses_more_than(&Record::token("a", Some(7))));
        assert!(Record::token("a", Some(8)).refuses_more_than(&Record::token("a", Some(7))));
    }

    #[test]
    fn users_and_channels_are_not_mixed_up() {
        assert_ne!(Record::user("a", "bc", 1, None).key(), Record::user("ab", "c", 1, None).key());
        assert_ne!(Record::user("a", "", 1, None).key(), Record::token("a", None).key());
    }
}
