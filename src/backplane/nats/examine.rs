//! Looks at a NATS as a node would find it, and changes nothing: which servers there are, what JetStream has and allows,
//! how the streams are, whether the clocks agree, and whether everything that a node does is permitted ([`needs`]).

mod needs;

use std::collections::{BTreeMap, HashSet};
use std::time::Duration;

use serde::Deserialize;
use serde_json::{Value, json};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;
use tokio::sync::mpsc;
use tokio::time::Instant;
use url::Url;

pub use self::needs::{Act, Need, Weight};

use super::connection::{ApiError, Link, LinkError, Refusal, Unanswered};
use super::live::{Live, LiveEvent, LiveOptions};
use super::streams::{Copies, Plan, list};
use crate::backplane::Bucket;
use crate::settings::{self, Namespaces};

/// Servers that are asked one by one, however many a cluster tells of.
const SERVERS: usize = 16;
/// Questions by which the clocks are compared; the one that was answered fastest counts.
const QUESTIONS: usize = 5;
const EVENTS: usize = 64;

/// What was found.
#[derive(Debug)]
pub struct Examination {
    pub servers: Vec<Server>,
    /// Those that were named and not reached, each with the reason.
    pub unreached: Vec<(String, String)>,
    pub jetstream: Result<Account, NoAccount>,
    pub streams: Vec<Stream>,
    /// What was tried, and whether the server permits it.
    pub needs: Vec<(Need, bool)>,
    pub clock: Option<Clock>,
}

/// One server, as it describes itself.
#[derive(Debug, Clone)]
pub struct Server {
    pub name: String,
    pub version: String,
    pub cluster: String,
    pub max_payload: u64,
}

/// What JetStream says of the account. Limits are `None` where there is none.
#[derive(Debug, Clone, Default)]
pub struct Account {
    pub memory: Usage,
    pub storage: Usage,
    pub streams: Usage,
    pub consumers: Usage,
}

#[derive(Debug, Clone, Copy, Default)]
pub struct Usage {
    pub used: u64,
    pub limit: Option<u64>,
}

/// Why JetStream says nothing of it.
#[derive(Debug)]
pub enum NoAccount {
    /// There is none, or not for this account.
    Absent,
    /// This user may not ask. A node does not.
    Denied,
    Unanswered(String),
}

/// One stream that a node needs.
#[derive(Debug)]
pub struct Stream {
    pub name: String,
    pub state: StreamState,
}

#[derive(Debug)]
pub enum StreamState {
    /// Nobody has made it yet.
    Absent,
    Unknown(String),
    There {
        replicas: u64,
        /// Copies that are behind or away.
        lagging: Vec<String>,
        /// What is not as a node wants it, and cannot be changed by it.
        differences: String,
        /// What it keeps more of than these settings say.
        surplus: Vec<String>,
    },
}

/// How the servers' clock compares with this machine's.
#[derive(Debug, Clone, Copy)]
pub struct Clock {
    /// How far theirs is ahead, in seconds.
    pub ahead: f64,
    /// By how much that may be wrong.
    pub within: f64,
}

/// Examines the NATS of these settings.
///
/// # Errors
/// When no server lets us in.
pub async fn examine(options: &settings::Nats, namespaces: &Namespaces) -> Result<Examination, LinkError> {
    let link = Link::establish(options, "doctor").await?;
    let (servers, unreached) = servers(options).await;
    let jetstream = account(&link, options.replicas).await;
    let plans = plans(options, namespaces);
    let mut streams = Vec::new();
    if !matches!(jetstream, Err(NoAccount::Absent)) {
        for plan in &plans {
            streams.push(stream(&link, plan).await);
        }
    }
    let there = streams.iter().find(|stream| matches!(stream.state, StreamState::There { .. }));
    let clock = match there {
        Some(stream) => clock(&link, &stream.name).await,
        None => None,
    };
    let needs = needs::of(options, namespaces, &plans);
    let needs = tried(&link, options, needs).await;
    let _ = link.client.drain().await;
    Ok(Examination { servers, unreached, jetstream, streams, needs, clock })
}

/// Every stream that a node of these settings makes or uses.
fn plans(options: &settings::Nats, namespaces: &Namespaces) -> Vec<Plan> {
    let mut plans: Vec<_> = namespaces
        .iter()
        .filter_map(|namespace| Some(Plan::of_namespace(options, &namespace.name, namespace.history.as_ref()?)))
        .collect();
    if !plans.is_empty() {
        plans.push(Plan::of_epochs(options));
    }
    if namespaces.record_presence() || options.record_users {
        plans.push(Plan::of_presence(options));
    }
    let registry = |bucket: Bucket| Plan::of_registry(options, bucket.name(), &needs::changes(options, bucket));
    plans.extend(Bucket::wanted(namespaces).map(registry));
    plans.sort_by(|a, b| a.name.cmp(&b.name));
    plans
}

/// A connection that only listens; what comes over it is thrown away.
async fn listening(options: LiveOptions) -> Result<Live, super::live::ConnectError> {
    let (sender, mut events) = mpsc::channel::<LiveEvent>(EVENTS);
    let live = Live::start(options, sender).await?;
    tokio::spawn(async move { while events.recv().await.is_some() {} });
    Ok(live)
}

/// The servers that were named, and those that they tell of; each once.
async fn servers(options: &settings::Nats) -> (Vec<Server>, Vec<(String, String)>) {
    let mut urls = options.servers.clone();
    let (mut seen, mut unreached, mut next) = (BTreeMap::new(), Vec::new(), 0);
    while next < urls.len().min(SERVERS) {
        let url = urls[next].clone();
        let named = next < options.servers.len();
        next += 1;
        let mut one = LiveOptions::new(options, "doctor");
        one.servers = vec![url.clone()];
        match listening(one).await {
            Ok(live) => {
                if let Some(info) = live.server_info() {
                    // Only of those who were named are the others asked: addresses that they tell may be inner ones.
                    let told = info.connect_urls.iter().filter(|_| named);
                    let told = told.filter_map(|it| format!("{}://{it}", url.scheme()).parse::<Url>().ok());
                    let told: Vec<_> = told.filter(|told| !urls.contains(told)).collect();
                    urls.extend(told);
                    seen.entry(info.server_id.clone()).or_insert_with(|| Server {
                        name: info.server_name.clone(),
                        version: info.version.clone(),
                        cluster: info.cluster.clone(),
                        max_payload: info.max_payload,
                    });
                }
                live.close().await;
            }
            Err(error) if named => unreached.push((address(&url), super::live::described(&error))),
            Err(_) => {}
        }
    }
    (seen.into_values().collect(), unreached)
}

/// An address without what may be secret in it.
fn address(url: &Url) -> String {
    format!("{}:{}", url.host_str().unwrap_or_default(), url.port().unwrap_or(4222))
}

#[derive(Deserialize)]
struct Described {
    #[serde(default)]
    memory: u64,
    #[serde(default)]
    storage: u64,
    #[serde(default)]
    streams: u64,
    #[serde(default)]
    consumers: u64,
    #[serde(default)]
    limits: Limits,
    /// Where an account has limits by number of copies: `R1`, `R3`.
    #[serde(default)]
    tiers: BTreeMap<String, Described>,
}

#[derive(Deserialize)]
#[serde(default)]
struct Limits {
    max_memory: i64,
    max_storage: i64,
    max_streams: i64,
    max_consumers: i64,
}

impl Default for Limits {
    fn default() -> Self {
        Self { max_memory: -1, max_storage: -1, max_streams: -1, max_consumers: -1 }
    }
}

async fn account(link: &Link, replicas: usize) -> Result<Account, NoAccount> {
    match link.ask::<Described>("INFO", &json!({})).await {
        Ok(mut described) => {
            let tier = described.tiers.remove(&format!("R{replicas}"));
            let of = tier.unwrap_or(described);
            let usage = |used, limit: i64| Usage { used, limit: u64::try_from(limit).ok() };
            Ok(Account {
                memory: usage(of.memory, of.limits.max_memory),
                storage: usage(of.storage, of.limits.max_storage),
                streams: usage(of.streams, of.limits.max_streams),
                consumers: usage(of.consumers, of.limits.max_consumers),
            })
        }
        Err(ApiError::Unanswered(Unanswered::Denied(_))) => Err(NoAccount::Denied),
        Err(ApiError::Unanswered(Unanswered::NoResponders)) => Err(NoAccount::Absent),
        Err(error)
            if matches!(error.code(), Refusal::JETSTREAM_NOT_ENABLED | Refusal::JETSTREAM_NOT_ENABLED_FOR_ACCOUNT) =>
        {
            Err(NoAccount::Absent)
        }
        Err(error) => Err(NoAccount::Unanswered(error.to_string())),
    }
}

#[derive(Deserialize)]
struct StreamDescribed {
    config: serde_json::Map<String, Value>,
    #[serde(default)]
    cluster: Copies,
    /// When the server wrote this.
    ts: Option<String>,
}

async fn described(link: &Link, name: &str) -> Result<StreamDescribed, ApiError> {
    link.ask(&format!("STREAM.INFO.{name}"), &json!({})).await
}

async fn stream(link: &Link, plan: &Plan) -> Stream {
    let state = match described(link, &plan.name).await {
        Ok(described) => {
            let lagging = described.cluster.lagging();
            let differences = list(&plan.lasting_differences(&described.config));
            let surplus = plan.deviations(&described.config).into_iter().filter(|deviation| !deviation.is_less());
            let surplus = surplus.map(|more| more.to_string()).collect();
            let replicas = described.config.get("num_replicas").and_then(Value::as_u64).unwrap_or(1);
            StreamState::There { replicas, lagging, differences, surplus }
        }
        Err(error) if error.code() == Refusal::STREAM_NOT_FOUND => StreamState::Absent,
        Err(error) => StreamState::Unknown(error.to_string()),
    };
    Stream { name: plan.name.clone(), state }
}

/// Compares the time that stands in an answer with the middle of the time that it took.
async fn clock(link: &Link, stream: &str) -> Option<Clock> {
    let mut best: Option<(Duration, f64)> = None;
    for _ in 0..QUESTIONS {
        let (asked, began) = (OffsetDateTime::now_utc(), Instant::now());
        let told = described(link, stream).await.ok()?.ts?;
        let took = began.elapsed();
        let told = OffsetDateTime::parse(&told, &Rfc3339).ok()?;
        let ahead = (told - asked).as_seconds_f64() - took.as_secs_f64() / 2.0;
        if best.is_none_or(|(fastest, _)| took < fastest) {
            best = Some((took, ahead));
        }
    }
    best.map(|(took, ahead)| Clock { ahead, within: took.as_secs_f64() / 2.0 })
}

/// Tries each: publications that nobody takes, subscriptions that end at once.
async fn tried(link: &Link, options: &settings::Nats, needs: Vec<Need>) -> Vec<(Need, bool)> {
    let publications = needs.iter().filter(|need| need.act == Act::Publish);
    let publications = publications.map(|need| (need.subject.clone(), need.headers(), need.body()));
    let nobody = format!("{}.barrier", options.prefix);
    let mut refused: HashSet<(Act, String)> =
        link.denied_of(publications, &nobody).await.into_iter().map(|subject| (Act::Publish, subject)).collect();
    if let Ok(live) = listening(LiveOptions::new(options, "doctor")).await {
        for need in needs.iter().filter(|need| need.act == Act::Subscribe) {
            match live.subscribe(&need.subject).await {
                Ok(sid) => live.unsubscribe(sid),
                Err(_) => {
                    refused.insert((Act::Subscribe, need.subject.clone()));
                }
            }
        }
        live.close().await;
    }
    let permitted = |need: &Need| !refused.contains(&(need.act, need.subject.clone()));
    needs.into_iter().map(|need| (permitted(&need), need)).map(|(permitted, need)| (need, permitted)).collect()
}
