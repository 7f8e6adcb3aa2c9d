//! Questions to all nodes, and what this one answers.

use std::collections::BTreeMap;

use async_trait::async_trait;
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::value::{RawValue, to_raw_value};

use super::channels::ChannelsRequest;
use super::command::decode;
use super::connections::ConnectionsRequest;
use super::{Api, ApiError, Method};
use crate::cluster::{PART, Respond, SurveyError};

/// Nodes ask each other for this.
pub(super) const CHANNELS: &str = "channels";
pub(super) const CONNECTIONS: &str = "connections";
pub(super) const BUSIEST: &str = "busiest_channels";
pub(super) const NAMESPACES: &str = "namespaces";

#[async_trait]
impl Respond for Api {
    async fn respond(&self, question: &str, params: &RawValue) -> Option<Vec<Box<RawValue>>> {
        let params = params.get().as_bytes();
        match question {
            CHANNELS => {
                let request: ChannelsRequest = decode(params).ok()?;
                Some(parts(self.channels_here(&request).ok()?))
            }
            CONNECTIONS => {
                let request: ConnectionsRequest = decode(params).ok()?;
                Some(parts(self.connections_here(&request).await))
            }
            BUSIEST => Some(parts(self.busiest_here())),
            NAMESPACES => Some(parts(self.namespaces_here())),
            _ => self.socketio_here(Method::parse(question)?, params).await,
        }
    }
}

impl Api {
    /// Asks all nodes; returns the maps that they answer with, one after the other.
    pub(super) async fn survey<T: DeserializeOwned>(
        &self,
        question: &str,
        params: &impl Serialize,
    ) -> Result<Vec<BTreeMap<String, T>>, ApiError> {
        let params = to_raw_value(params).map_err(|_| ApiError::Internal)?;
        let answers = self.cluster.ask(question, &params).await.map_err(ApiError::Survey)?;
        let mut maps = Vec::new();
        for (node, parts) in answers {
            for part in parts {
                let map = serde_json::from_str(part.get());
                maps.push(map.map_err(|_| ApiError::Survey(SurveyError::NotUnderstood(node.clone())))?);
            }
        }
        Ok(maps)
    }
}

/// A map in parts that messages carry.
pub(super) fn parts<T: Serialize>(entries: impl IntoIterator<Item = (String, T)>) -> Vec<Box<RawValue>> {
    let mut parts = Vec::new();
    let mut json = String::from("{");
    for (key, value) in entries {
        let (Ok(key), Ok(value)) = (serde_json::to_string(&key), serde_json::to_string(&value)) else { continue };
        if json.len() > 1 {
            if json.len() + key.len() + value.len() > PART {
                parts.push(std::mem::replace(&mut json, String::from("{")));
            } else {
                json.push(',');
            }
        }
        json.push_str(&key);
        json.push(':');
        json.push_str(&value);
        // Closed where it ends, below.
    }
    parts.push(json);
    let closed = parts.into_iter().filter_map(|mut part| {
        part.push('}');
        RawValue::from_string(part).ok()
    });
    closed.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_large_map_comes_in_parts_and_whole() {
        let map: BTreeMap<String, usize> = (0..50_000).map(|n| (format!("channel \"{n}\""), n)).collect();
        let parts = parts(map.clone());
        assert!(parts.len() > 1);
        assert!(parts.iter().all(|part| part.get().len() <= PART + 1));
        let mut read = BTreeMap::new();
        for part in &parts {
            read.append(&mut serde_json::from_str::<BTreeMap<String, usize>>(part.get()).unwrap());
        }
        assert_eq!(read, map);
    }

    #[test]
    fn an_empty_map_is_one_part() {
        let parts = parts(BTreeMap::<String, u8>::new());
        assert_eq!(parts.iter().map(|part| part.get()).collect::<Vec<_>>(), ["{}"]);
    }
}
