//! Messages that requests, results and pushes share.

use std::collections::BTreeMap;

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use super::message::messages;

/// A client as other clients see it.
///
/// `user` and `client` stand on the JSON wire even when empty.
#[derive(Clone, PartialEq, prost::Message, Serialize, Deserialize)]
#[serde(default)]
pub struct ClientInfo {
    /// The user's id, `""` for an anonymous one.
    #[prost(string, tag = "1")]
    pub user: String,
    /// The connection's id.
    #[prost(string, tag = "2")]
    pub client: String,
    /// What the connection's token or hook says of the client.
    #[prost(bytes = "bytes", tag = "3")]
    #[serde(skip_serializing_if = "Bytes::is_empty", with = "super::raw")]
    pub conn_info: Bytes,
    /// What the subscription's token or hook says of the client.
    #[prost(bytes = "bytes", tag = "4")]
    #[serde(skip_serializing_if = "Bytes::is_empty", with = "super::raw")]
    pub chan_info: Bytes,
}

messages! {
    /// A message in a channel.
    Publication {
        data: Bytes = (bytes = "bytes", tag = "4"),
        /// Who published it, if a client did.
        info: Option<ClientInfo> = (message, optional, tag = "5"),
        /// Its place in the channel's history, 0 if it has none.
        offset: u64 = (uint64, tag = "6"),
        tags: BTreeMap<String, String> = (btree_map = "string, string", tag = "7"),
        /// `data` is a patch against the channel's previous publication.
        delta: bool = (bool, tag = "8"),
        /// Unix milliseconds. Not sent to clients.
        time: i64 = (int64, tag = "9"),
        /// Only where it differs from the subscription's: wildcards, which are not offered here.
        channel: String = (string, tag = "10"),
        /// Key, removal, score and version belong to map subscriptions, which are not offered here.
        key: String = (string, tag = "11"),
        removed: bool = (bool, tag = "12"),
        score: i64 = (sint64, tag = "13"),
        /// With offset 1 only: the epoch that begins with this publication.
        epoch: String = (string, tag = "14"),
        /// Between servers only.
        prev_data: Bytes = (bytes = "bytes", tag = "15"),
        version: u64 = (uint64, tag = "16"),
    }

    /// A place in a channel's history.
    StreamPosition {
        offset: u64 = (uint64, tag = "1"),
        /// `""` means any epoch.
        epoch: String = (string, tag = "2"),
    }
}
