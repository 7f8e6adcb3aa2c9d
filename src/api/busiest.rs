//! `busiest_channels`: which channels give the nodes most to do.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::command::or_null;
use super::survey::BUSIEST;
use super::{Api, ApiError};

const DEFAULT_LIMIT: usize = 20;

#[derive(Debug, Deserialize, Default)]
#[serde(default)]
pub(super) struct BusiestRequest {
    /// 20 where it is 0.
    #[serde(deserialize_with = "or_null")]
    limit: usize,
}

#[derive(Serialize)]
pub(super) struct BusiestResult {
    channels: Vec<BusyChannel>,
}

#[derive(Serialize)]
struct BusyChannel {
    channel: String,
    #[serde(flatten)]
    busy: Figures,
}

/// What a channel gives one node, or all, to do.
#[derive(Serialize, Deserialize, Default)]
pub(super) struct Figures {
    /// To subscribers.
    deliveries_per_second: f64,
    publications_per_second: f64,
    num_clients: usize,
}

impl Api {
    pub(super) async fn busiest(&self, request: &BusiestRequest) -> Result<BusiestResult, ApiError> {
        let mut channels: BTreeMap<String, Figures> = BTreeMap::new();
        for (channel, here) in self.survey::<Figures>(BUSIEST, &()).await?.into_iter().flatten() {
            let all = channels.entry(channel).or_default();
            all.deliveries_per_second += here.deliveries_per_second;
            all.num_clients += here.num_clients;
            // Every node that has subscribers sees each of them.
            all.publications_per_second = all.publications_per_second.max(here.publications_per_second);
        }
        let channels = channels.into_iter().map(|(channel, busy)| BusyChannel { channel, busy });
        let mut channels: Vec<_> = channels.collect();
        channels.sort_by(|one, other| other.busy.deliveries_per_second.total_cmp(&one.busy.deliveries_per_second));
        channels.truncate(if request.limit == 0 { DEFAULT_LIMIT } else { request.limit });
        Ok(BusiestResult { channels })
    }

    pub(super) fn busiest_here(&self) -> Vec<(String, Figures)> {
        let busiest = self.relay.busiest().into_iter().map(|busy| {
            let figures = Figures {
                deliveries_per_second: rounded(busy.deliveries),
                publications_per_second: rounded(busy.publications),
                num_clients: busy.listeners,
            };
            (busy.channel.to_string(), figures)
        });
        busiest.collect()
    }
}

fn rounded(number: f64) -> f64 {
    (number * 1000.0).round() / 1000.0
}
