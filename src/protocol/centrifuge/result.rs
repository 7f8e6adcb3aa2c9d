//! What replies carry.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use super::message::messages;
use super::publication::{ClientInfo, Publication};
use super::server_subs::ServerSubscription;

/// Seconds until something expires, for the `ttl` fields: rounded up and never 0, since SDKs end for good or refresh
/// in a tight loop where `expires` comes without `ttl`.
#[must_use]
pub fn ttl(remaining: Duration) -> u32 {
    let seconds = remaining.as_secs().saturating_add(u64::from(remaining.subsec_nanos() > 0));
    u32::try_from(seconds).unwrap_or(u32::MAX).max(1)
}

messages! {
    /// Does not print its session, which is a secret.
    #[prost(skip_debug)]
    ConnectResult {
        /// The connection's id.
        client: String = (string, tag = "1"),
        /// The server's name and version.
        version: String = (string, tag = "2"),
        /// The client must refresh its token within [`ttl`] seconds.
        expires: bool = (bool, tag = "3"),
        ttl: u32 = (uint32, tag = "4"),
        /// From the connect hook.
        data: Bytes = (bytes = "bytes", tag = "5"),
        /// Subscriptions that the server made. A client drops those of its own that are missing here.
        subs: Vec<ServerSubscription> = (message, repeated, tag = "6"),
        /// Seconds between the server's pings, 0 where there are none.
        ping: u32 = (uint32, tag = "7"),
        /// The client must answer pings.
        pong: bool = (bool, tag = "8"),
        /// The secret of emulated transports.
        session: String = (string, tag = "9"),
        /// Where emulated transports send what the client says.
        node: String = (string, tag = "10"),
        /// The server's clock, Unix milliseconds.
        time: i64 = (int64, tag = "11"),
        /// Which of the features that the request offered are on.
        flag: i64 = (int64, tag = "12"),
    }

    SubscribeResult {
        /// The client must refresh the subscription's token within [`ttl`] seconds.
        expires: bool = (bool, tag = "1"),
        ttl: u32 = (uint32, tag = "2"),
        /// The client may recover. Must not change during a subscription: a reply without it makes clients forget
        /// where they were.
        recoverable: bool = (bool, tag = "3"),
        epoch: String = (string, tag = "6"),
        /// What was missed, ascending; with `recovered` only.
        publications: Vec<Publication> = (message, repeated, tag = "7"),
        recovered: bool = (bool, tag = "8"),
        /// After a recovery the request's offset, else the channel's top.
        offset: u64 = (uint64, tag = "9"),
        positioned: bool = (bool, tag = "10"),
        /// From the subscribe hook.
        data: Bytes = (bytes = "bytes", tag = "11"),
        /// The request asked for recovery.
        was_recovering: bool = (bool, tag = "12"),
        /// Patches are on.
        delta: bool = (bool, tag = "13"),
        /// This and all below: channel compaction and map subscriptions, which are not offered here.
        id: i64 = (int64, tag = "14"),
        r#type: i32 = (int32, tag = "15"),
        phase: i32 = (int32, tag = "16"),
        cursor: String = (string, tag = "17"),
        state: Vec<Publication> = (message, repeated, tag = "18"),
        publish_debounce: u32 = (uint32, tag = "19"),
    }

    UnsubscribeResult {}

    PublishResult {}

    PingResult {}

    RpcResult {
        data: Bytes = (bytes = "bytes", tag = "1"),
    }

    RefreshResult {
        client: String = (string, tag = "1"),
        version: String = (string, tag = "2"),
        expires: bool = (bool, tag = "3"),
        /// From [`ttl`], if `expires`.
        ttl: u32 = (uint32, tag = "4"),
    }

    SubRefreshResult {
        expires: bool = (bool, tag = "1"),
        /// From [`ttl`], if `expires`.
        ttl: u32 = (uint32, tag = "2"),
        /// For shared polls, which are not offered here.
        items: Vec<Publication> = (message, repeated, tag = "3"),
    }
}

impl fmt::Debug for ConnectResult {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut result = f.debug_struct("ConnectResult");
        result.field("client", &self.client).field("expires", &self.expires).field("ttl", &self.ttl);
        result.field("subs", &self.subs).finish_non_exhaustive()
    }
}

/// Who is in a channel, by connection id. Stands on the JSON wire even when empty.
#[derive(Clone, PartialEq, prost::Message, Serialize, Deserialize)]
#[serde(default)]
pub struct PresenceResult {
    #[prost(btree_map = "string, message", tag = "1")]
    pub presence: BTreeMap<String, ClientInfo>,
}

/// How many are in a channel. Zeros stand on the JSON wire.
#[derive(Clone, PartialEq, prost::Message, Serialize, Deserialize)]
#[serde(default)]
pub struct PresenceStatsResult {
    /// Connections.
    #[prost(uint32, tag = "1")]
    pub num_clients: u32,
    /// Distinct users.
    #[prost(uint32, tag = "2")]
    pub num_users: u32,
}

/// A part of a channel's history, and the channel's top. Zero values stand on the JSON wire.
#[derive(Clone, PartialEq, prost::Message, Serialize, Deserialize)]
#[serde(default)]
pub struct HistoryResult {
    #[prost(message, repeated, tag = "1")]
    pub publications: Vec<Publication>,
    #[prost(string, tag = "2")]
    pub epoch: String,
    #[prost(uint64, tag = "3")]
    pub offset: u64,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_ttl_is_rounded_up_and_never_zero() {
        for (remaining, seconds) in [
            (Duration::ZERO, 1),
            (Duration::from_millis(1), 1),
            (Duration::from_secs(600), 600),
            (Duration::from_millis(600_001), 601),
            (Duration::MAX, u32::MAX),
        ] {
            assert_eq!(ttl(remaining), seconds, "{remaining:?}");
        }
    }
}
