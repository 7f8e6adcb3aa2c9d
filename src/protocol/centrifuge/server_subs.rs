//! The map from channel to subscription in connect results and pushes.

use std::collections::BTreeMap;

use serde::ser::SerializeMap;
use serde::{Deserialize, Deserializer, Serializer};

use super::message::Field;
use super::result::SubscribeResult;

/// A subscription that the server made for the client.
///
/// The schema's map from channel to result, one entry of it. As a map, prost would leave out a result that holds
/// nothing, which protobufjs then reads as `null` and the SDK on top trips over.
#[derive(Clone, PartialEq, prost::Message)]
pub struct ServerSubscription {
    #[prost(string, tag = "1")]
    pub channel: String,
    #[prost(message, required, tag = "2")]
    pub result: SubscribeResult,
}

impl Field for Vec<ServerSubscription> {
    fn is_zero(&self) -> bool {
        self.is_empty()
    }

    fn write<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(self.len()))?;
        for entry in self {
            map.serialize_entry(&entry.channel, &entry.result)?;
        }
        map.end()
    }

    fn read<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let map = Option::<BTreeMap<String, SubscribeResult>>::deserialize(deserializer)?;
        let entries = map.unwrap_or_default().into_iter();
        Ok(entries.map(|(channel, result)| ServerSubscription { channel, result }).collect())
    }
}
