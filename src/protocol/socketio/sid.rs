//! The session's id, which only its client knows, and which names the session's node to all nodes.

use std::fmt;
use std::str::FromStr;

use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use serde::{Serialize, Serializer};
use uuid::Uuid;

/// A session's id. Whoever knows it may speak for the client, so it is not printed.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Sid {
    /// The node, as it calls itself since its start.
    pub node: Uuid,
    pub session: Uuid,
}

/// Not an id of ours.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not an id of a session")]
pub struct NoSid;

impl Sid {
    /// As clients have it.
    #[must_use]
    pub fn secret(&self) -> String {
        let mut bytes = [0; 32];
        bytes[..16].copy_from_slice(self.node.as_bytes());
        bytes[16..].copy_from_slice(self.session.as_bytes());
        BASE64_URL_SAFE_NO_PAD.encode(bytes)
    }
}

impl FromStr for Sid {
    type Err = NoSid;

    fn from_str(text: &str) -> Result<Self, NoSid> {
        let mut bytes = [0; 32];
        if text.len() != 43 || BASE64_URL_SAFE_NO_PAD.decode_slice(text, &mut bytes) != Ok(32) {
            return Err(NoSid);
        }
        let id = |half: &[u8]| Uuid::from_slice(half).map_err(|_| NoSid);
        Ok(Self { node: id(&bytes[..16])?, session: id(&bytes[16..])? })
    }
}

impl Serialize for Sid {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.secret())
    }
}

impl fmt::Debug for Sid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sid").field("node", &self.node).finish_non_exhaustive()
    }
}
