//! What clients ask for. Fields of features that are not offered here are decoded, so that a session can refuse them.

use std::collections::BTreeMap;
use std::fmt;

use bytes::Bytes;

use super::message::messages;
use super::publication::StreamPosition;

messages! {
    /// Opens the session. Does not print its token and headers.
    #[prost(skip_debug)]
    ConnectRequest {
        token: String = (string, tag = "1"),
        /// For the connect hook.
        data: Bytes = (bytes = "bytes", tag = "2"),
        /// Positions in server-side subscriptions. Refines what the server grants, never adds to it.
        subs: BTreeMap<String, SubscribeRequest> = (btree_map = "string, message", tag = "3"),
        /// The client's kind, at most 16 characters.
        name: String = (string, tag = "4"),
        /// The client's version, at most 64 characters.
        version: String = (string, tag = "5"),
        /// In place of HTTP headers, which browsers cannot set.
        headers: BTreeMap<String, String> = (btree_map = "string, string", tag = "6"),
        /// Bit 1 offers dictionary compression, as do `dict` and `profile`.
        flag: i64 = (int64, tag = "7"),
        dict: String = (string, tag = "8"),
        profile: String = (string, tag = "9"),
    }

    /// Subscribes to a channel. Does not print its token.
    #[prost(skip_debug)]
    SubscribeRequest {
        channel: String = (string, tag = "1"),
        token: String = (string, tag = "2"),
        /// Asks for what was missed since `offset` of `epoch`; both are absent where the client has no position.
        recover: bool = (bool, tag = "3"),
        epoch: String = (string, tag = "6"),
        offset: u64 = (uint64, tag = "7"),
        /// For the subscribe hook.
        data: Bytes = (bytes = "bytes", tag = "8"),
        /// The three wishes: granted where the namespace allows it, told in the result.
        positioned: bool = (bool, tag = "9"),
        recoverable: bool = (bool, tag = "10"),
        join_leave: bool = (bool, tag = "11"),
        /// Kind of patches wanted, `"fossil"` or none.
        delta: String = (string, tag = "12"),
        /// Which publications are wanted, by their tags.
        tf: Option<FilterNode> = (message, optional, tag = "13"),
        /// Bit 1 offers channel compaction (may be ignored); bit 2 asks for error 112 in place of `recovered: false`.
        flag: i64 = (int64, tag = "14"),
        /// 0 is an ordinary stream; the others, and the four fields below, belong to map subscriptions.
        r#type: i32 = (int32, tag = "15"),
        phase: i32 = (int32, tag = "16"),
        cursor: String = (string, tag = "17"),
        limit: i32 = (int32, tag = "18"),
        asc: bool = (bool, tag = "19"),
    }

    /// A node of a filter over publications' tags: a comparison, or other nodes combined.
    FilterNode {
        /// `""` for a comparison, or `and`, `or`, `not`.
        op: String = (string, tag = "1"),
        key: String = (string, tag = "2"),
        /// `eq`, `neq`, `in`, `nin`, `ex`, `nex`, `sw`, `ew`, `ct`, `lt`, `lte`, `gt`, `gte`.
        cmp: String = (string, tag = "3"),
        val: String = (string, tag = "4"),
        vals: Vec<String> = (string, repeated, tag = "5"),
        nodes: Vec<FilterNode> = (message, repeated, tag = "6"),
    }

    UnsubscribeRequest {
        channel: String = (string, tag = "1"),
    }

    PublishRequest {
        channel: String = (string, tag = "1"),
        data: Bytes = (bytes = "bytes", tag = "2"),
        /// Not 0, a key or a removal: for map subscriptions.
        r#type: i32 = (int32, tag = "3"),
        key: String = (string, tag = "4"),
        removed: bool = (bool, tag = "5"),
    }

    PresenceRequest {
        channel: String = (string, tag = "1"),
    }

    PresenceStatsRequest {
        channel: String = (string, tag = "1"),
    }

    HistoryRequest {
        channel: String = (string, tag = "1"),
        /// 0 asks for the position only, -1 for everything.
        limit: i32 = (int32, tag = "7"),
        /// Excluded itself.
        since: Option<StreamPosition> = (message, optional, tag = "8"),
        /// Newest first.
        reverse: bool = (bool, tag = "9"),
    }

    PingRequest {}

    /// A message to the application that gets no reply.
    SendRequest {
        data: Bytes = (bytes = "bytes", tag = "1"),
    }

    RpcRequest {
        data: Bytes = (bytes = "bytes", tag = "1"),
        method: String = (string, tag = "2"),
    }

    /// Renews the connection's token. Does not print it.
    #[prost(skip_debug)]
    RefreshRequest {
        token: String = (string, tag = "1"),
    }

    /// Renews a subscription's token. Does not print it.
    #[prost(skip_debug)]
    SubRefreshRequest {
        channel: String = (string, tag = "1"),
        token: String = (string, tag = "2"),
        /// Not 0: for shared polls, as `track` and `untrack`.
        r#type: i32 = (int32, tag = "3"),
        track: Vec<TrackBatch> = (message, repeated, tag = "4"),
        untrack: Vec<String> = (string, repeated, tag = "5"),
    }

    TrackBatch {
        signature: String = (string, tag = "1"),
        items: Vec<KeyedItem> = (message, repeated, tag = "2"),
    }

    KeyedItem {
        key: String = (string, tag = "1"),
        version: u64 = (uint64, tag = "2"),
    }
}

impl fmt::Debug for ConnectRequest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut request = f.debug_struct("ConnectRequest");
        request.field("name", &self.name).field("version", &self.version).field("subs", &self.subs);
        request.finish_non_exhaustive()
    }
}

impl fmt::Debug for SubscribeRequest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut request = f.debug_struct("SubscribeRequest");
        request.field("channel", &self.channel).field("recover", &self.recover);
        request.field("offset", &self.offset).field("epoch", &self.epoch);
        request.finish_non_exhaustive()
    }
}

impl fmt::Debug for RefreshRequest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RefreshRequest").finish_non_exhaustive()
    }
}

impl fmt::Debug for SubRefreshRequest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SubRefreshRequest").field("channel", &self.channel).finish_non_exhaustive()
    }
}
