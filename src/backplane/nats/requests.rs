//! Questions to and from services outside, as NATS requests below the prefix.

use std::sync::Arc;
use std::time::Duration;

use async_nats::{HeaderMap, HeaderName, HeaderValue, Message, Subscriber};
use async_trait::async_trait;
use bytes::Bytes;
use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use metrics::Counter;
use tokio::sync::{mpsc, oneshot};
use tracing::{debug, warn};

use super::Nats;
use super::connection::{Link, Unanswered};
use super::subjects::Subjects;
use crate::backplane::{Answer, Request, RequestError, Requests, SubscribeError};
use crate::settings;
use crate::telemetry::{Pace, Telemetry};

/// Nodes share the requests of one subject.
const GROUP: &str = "midplane";
/// Requests of one subject that wait for whoever serves it.
const WAITING: usize = 256;

#[async_trait]
impl Requests for Nats {
    async fn request(
        &self,
        subject: &str,
        headers: &[(&str, &str)],
        body: Bytes,
        timeout: Duration,
    ) -> Result<Answer, RequestError> {
        if !self.services.is_up() {
            return Err(RequestError::Unavailable("not connected to NATS".to_owned()));
        }
        let whole = self.subjects.below(subject);
        let headers = (!headers.is_empty()).then(|| header_map(headers));
        match self.services.request(&whole, headers, body, timeout).await {
            Ok(answer) => Ok(Answer { headers: pairs(answer.headers.as_ref()), body: answer.payload }),
            Err(Unanswered::NoResponders) => Err(RequestError::NoResponder(whole)),
            Err(Unanswered::Timeout(within)) => Err(RequestError::Timeout(within)),
            Err(Unanswered::TooLarge { limit, .. }) => Err(RequestError::TooLarge { limit }),
            Err(error) => Err(RequestError::Unavailable(error.to_string())),
        }
    }

    async fn tell(&self, subject: &str, headers: &[(&str, &str)], body: Bytes) -> Result<(), RequestError> {
        if !self.services.is_up() {
            return Err(RequestError::Unavailable("not connected to NATS".to_owned()));
        }
        let told = self.services.client.publish_with_headers(self.subjects.below(subject), header_map(headers), body);
        told.await.map_err(|error| RequestError::Unavailable(error.to_string()))
    }

    async fn serve(&self, pattern: &str, at_once: usize) -> Result<mpsc::Receiver<Request>, SubscribeError> {
        let whole = self.subjects.below(pattern);
        let unavailable = |why: String| SubscribeError::Unavailable(why);
        let subscriber = self.services.client.queue_subscribe(whole.clone(), GROUP.to_owned()).await;
        let subscriber = subscriber.map_err(|error| unavailable(error.to_string()))?;
        let barrier = self.services.barrier(&self.subjects.below("barrier")).await;
        barrier.map_err(|error| unavailable(error.to_string()))?;
        if let Some(why) = self.services.refusals.of(&whole) {
            return Err(SubscribeError::Refused { subject: whole, why });
        }
        let (sender, receiver) = mpsc::channel(WAITING);
        let inboxes = Arc::clone(&self.inboxes);
        tokio::spawn(serve(subscriber, sender, self.services.clone(), self.subjects.clone(), inboxes, at_once));
        Ok(receiver)
    }
}

/// Where answers may go. A node sends them with its own rights, which are more than those of whoever asks: at any subject
/// they would be words of a node, or a publication into any channel.
pub(super) struct Inboxes {
    prefixes: Vec<String>,
    refused: Counter,
    pace: Pace,
}

impl Inboxes {
    pub(super) fn new(options: &settings::Nats, telemetry: &Telemetry) -> Self {
        let refused = telemetry.backplane.replies_refused.clone();
        let prefixes = ["_INBOX"].into_iter().chain(options.inbox_prefixes.iter().map(String::as_str));
        Self { prefixes: prefixes.map(|prefix| format!("{prefix}.")).collect(), refused, pace: Pace::default() }
    }

    /// Whether an answer may go to `reply`; that it may not is counted and told.
    fn take(&self, subject: &str, reply: &str) -> bool {
        let below = |prefix: &String| reply.strip_prefix(prefix.as_str()).is_some_and(|rest| !rest.is_empty());
        let taken = self.prefixes.iter().any(below);
        if !taken {
            self.refused.increment(1);
            if let Some(more) = self.pace.due() {
                let why =
                    "a request was not heard: its answer would go to a subject that is no inbox (nats.inbox_prefixes)";
                warn!(subject, reply, more, "{why}");
            }
        }
        taken
    }
}

/// Passes requests on and answers back, until nobody takes them any more.
async fn serve(
    mut requests: Subscriber,
    sender: mpsc::Sender<Request>,
    link: Link,
    subjects: Subjects,
    inboxes: Arc<Inboxes>,
    at_once: usize,
) {
    let mut answers = FuturesUnordered::new();
    loop {
        tokio::select! {
            Some((reply, answer)) = answers.next(), if !answers.is_empty() => {
                let Ok(answer) = answer else { continue };
                if let Err(error) = link.client.publish(reply, answer).await {
                    warn!(%error, "an answer was not sent");
                }
            }
            request = requests.next(), if answers.len() < at_once => {
                let Some(message) = request else { break };
                let Some(reply) = message.reply.clone() else {
                    debug!(subject = %message.subject, "a request that wants no answer");
                    continue;
                };
                if !inboxes.take(&message.subject, &reply) {
                    continue;
                }
                let (answer, answered) = oneshot::channel::<Bytes>();
                let room = link.client.max_payload();
                let Some(request) = taken_apart(message, &subjects, room, answer) else { continue };
                if sender.send(request).await.is_err() {
                    break;
                }
                answers.push(async move { (reply, answered.await) });
            }
            () = sender.closed() => break,
        }
    }
    while let Some((reply, answer)) = answers.next().await {
        if let Ok(answer) = answer
            && let Err(error) = link.client.publish(reply, answer).await
        {
            warn!(%error, "an answer was not sent");
        }
    }
}

fn taken_apart(message: Message, subjects: &Subjects, room: usize, reply: oneshot::Sender<Bytes>) -> Option<Request> {
    let subject = subjects.strip(&message.subject)?.to_owned();
    Some(Request { subject, headers: pairs(message.headers.as_ref()), body: message.payload, room, reply })
}

fn pairs(headers: Option<&HeaderMap>) -> Vec<(String, String)> {
    let pairs = headers.into_iter().flat_map(HeaderMap::iter).filter_map(|(name, values)| {
        let name: &str = name.as_ref();
        Some((name.to_owned(), values.last()?.as_str().to_owned()))
    });
    pairs.collect()
}

/// What cannot be written as a header is left out, rather than change what is written.
fn header_map(headers: &[(&str, &str)]) -> HeaderMap {
    let mut map = HeaderMap::new();
    for (name, value) in headers {
        match (name.parse::<HeaderName>(), value.parse::<HeaderValue>()) {
            (Ok(name), Ok(value)) => map.append(name, value),
            _ => debug!(name, "a header that NATS cannot carry"),
        }
    }
    map
}
