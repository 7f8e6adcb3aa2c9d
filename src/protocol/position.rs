//! Where a reader stands in a channel's history.

use std::fmt;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

/// A publication's place in its channel: grows along the channel, with holes. 0 means "no offset".
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Offset(pub u64);

impl Offset {
    /// The absent offset: of a publication that was not stored, or of a reader that has seen nothing.
    pub const NONE: Self = Self(0);

    /// The smallest offset behind this one.
    #[must_use]
    pub const fn next(self) -> Self {
        Self(self.0 + 1)
    }

    /// Whether whoever says this offset may mean one beside it. Clients in JavaScript keep offsets as 64-bit floats, on both
    /// wires, and so round those from 2^53 on: what a float can hold there stands for its neighbours as well.
    #[must_use]
    pub const fn may_be_rounded(self) -> bool {
        let surplus = (u64::BITS - self.0.leading_zeros()).saturating_sub(f64::MANTISSA_DIGITS);
        surplus > 0 && self.0.trailing_zeros() >= surplus
    }
}

impl fmt::Display for Offset {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Names one unbroken life of a channel's history. Offsets of different epochs must not be compared.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Epoch(Arc<str>);

impl Epoch {
    /// Wraps an epoch's text, which is opaque to everybody but its maker.
    #[must_use]
    pub fn new(text: &str) -> Self {
        Self(text.into())
    }

    /// The text as clients see it.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Epoch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// An offset within an epoch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Position {
    pub offset: Offset,
    pub epoch: Epoch,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_offset_is_doubtful_where_floats_stand_for_more_than_one() {
        const LIMIT: u64 = 1 << 53;
        for exact in [0, 1, 4096, LIMIT - 1, LIMIT + 1, LIMIT + 3, 2 * LIMIT + 2, u64::MAX] {
            assert!(!Offset(exact).may_be_rounded(), "{exact}");
        }
        for rounded in [LIMIT, LIMIT + 2, 2 * LIMIT, 2 * LIMIT + 4, 1 << 63] {
            assert!(Offset(rounded).may_be_rounded(), "{rounded}");
        }
    }
}
