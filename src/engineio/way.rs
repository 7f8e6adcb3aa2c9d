//! How requests reach a session, wherever it is.

use std::sync::Arc;

use bytes::Bytes;

use super::door::{Door, Posting, Refused};
use super::remote::Remote;

/// How requests reach a session.
pub enum Way {
    Here(Arc<Door>),
    /// At another node, which may know nothing of it.
    Elsewhere(Remote),
}

/// A request that brings packets.
pub enum Post {
    Here(Posting),
    Elsewhere(Remote),
}

impl Way {
    /// Whether the session has moved to a WebSocket, as far as this node knows.
    #[must_use]
    pub fn has_moved(&self) -> bool {
        match self {
            Self::Here(door) => door.has_moved(),
            Self::Elsewhere(_) => false,
        }
    }

    /// Waits for what there is to say to the client, a body. `waits` is called once the session is known to have the
    /// request, if it has to wait: there is one at a time then.
    ///
    /// # Errors
    /// See [`Refused`]. A second one ends the session.
    pub async fn poll(&self, waits: impl FnOnce() + Send) -> Result<Bytes, Refused> {
        match self {
            Self::Here(door) => door.poll(waits).await,
            Self::Elsewhere(remote) => remote.poll(waits).await,
        }
    }

    /// Begins a request that brings packets; before its body is read, so that a second one is noticed. One that comes to
    /// another node than the first is noticed once it is read.
    ///
    /// # Errors
    /// See [`Refused`]. A second one ends the session.
    pub async fn begin_post(&self) -> Result<Post, Refused> {
        match self {
            Self::Here(door) => door.begin_post().await.map(Post::Here),
            Self::Elsewhere(remote) => Ok(Post::Elsewhere(remote.clone())),
        }
    }

    /// Ends the session for what its client did.
    pub async fn misuse(&self) {
        match self {
            Self::Here(door) => door.misuse(),
            Self::Elsewhere(remote) => remote.misuse().await,
        }
    }
}

impl Post {
    /// Brings the packets; returns once the session has taken them, so that the next ones cannot overtake.
    ///
    /// # Errors
    /// See [`Refused`].
    pub async fn bring(self, body: Bytes) -> Result<(), Refused> {
        match self {
            Self::Here(posting) => posting.bring(body).await,
            Self::Elsewhere(remote) => remote.post(body).await,
        }
    }
}
