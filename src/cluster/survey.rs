//! Surveys: a question to every live node at once, answered by all of them or not at all.
//!
//! Who is asked is known from the membership at that moment, so a survey is over with the last answer, and a node that does
//! not answer is named. Whoever joins meanwhile was not asked. Questions and answers travel at most once; answers in parts
//! that any server carries. A bounded number of parts waits for whoever asked: one beyond that is counted, and ends the
//! survey, which could bring a part of the answers only.

use std::collections::{BTreeMap, HashMap};
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use futures_util::{FutureExt, StreamExt, stream};
use parking_lot::Mutex;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use tokio::sync::mpsc::{self, error::TrySendError};
use tokio::time::{Instant, sleep_until};
use tracing::{debug, warn};

use super::answers::{Answers, Asked, Part};
use super::{Cluster, Shared};
use crate::telemetry::{self, Overflow, Topic};

/// Where questions are heard.
pub(super) const QUESTIONS: &str = "ask";
/// How long all answers may take.
const DEADLINE: Duration = Duration::from_secs(1);
/// Bytes of one part of an answer.
pub const PART: usize = 256 * 1024;
/// Questions that are being answered at one time.
const CONCURRENCY: usize = 16;
/// Parts that wait for whoever asked.
const WAITING: usize = 1024;

/// Answers what other nodes ask.
#[async_trait]
pub trait Respond: Send + Sync {
    /// What this node knows of it, in parts of at most [`PART`] bytes, at least one; `None` for a question that it does not
    /// understand. Well within a second.
    async fn respond(&self, question: &str, params: &RawValue) -> Option<Vec<Box<RawValue>>>;
}

/// Why a survey brought nothing.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SurveyError {
    #[error("no answer from {}", .0.join(", "))]
    Silent(Vec<String>),
    /// It runs another version.
    #[error("node {0} does not understand the question")]
    NotUnderstood(String),
    #[error("the answers are too large: ask for less")]
    TooLarge,
    /// A part that found no room to wait is not among them.
    #[error("only a part of the answers was taken: too much came at once; ask again, or for less")]
    Partial,
    #[error("backplane unavailable: {0}")]
    Unavailable(String),
}

#[derive(Serialize, Deserialize)]
struct Question<'a> {
    id: u64,
    /// The topic of the answer.
    from: &'a str,
    question: &'a str,
    #[serde(borrow)]
    params: &'a RawValue,
}

/// Surveys that this node has under way.
pub(super) struct Surveys {
    /// Begins anywhere: what is still on its way to a process that had this node's name before is no answer to this one.
    next: AtomicU64,
    waiting: Mutex<HashMap<u64, Asker>>,
}

/// Whoever asked.
#[derive(Clone)]
struct Asker {
    parts: mpsc::Sender<Part>,
    /// A part found no room.
    overflown: Arc<AtomicBool>,
}

impl Default for Surveys {
    fn default() -> Self {
        Self { next: AtomicU64::new(rand::random()), waiting: Mutex::default() }
    }
}

/// Forgets a survey that nobody waits for any more.
struct Ticket<'a>(&'a Surveys, u64);

impl Drop for Ticket<'_> {
    fn drop(&mut self) {
        self.0.waiting.lock().remove(&self.1);
    }
}

impl Cluster {
    /// Asks every node that is live now, this one included; returns each one's answer in parts.
    ///
    /// # Errors
    /// When not every node that was asked, and still lives, has answered within about a second; it names those that have not.
    pub async fn ask(&self, question: &str, params: &RawValue) -> Result<Answers, SurveyError> {
        let started = Instant::now();
        let outcome = self.0.ask(question, params).await;
        let result = match &outcome {
            Ok(_) => telemetry::Survey::Complete,
            Err(SurveyError::Silent(_)) => telemetry::Survey::Silent,
            Err(SurveyError::NotUnderstood(_)) => telemetry::Survey::NotUnderstood,
            Err(SurveyError::TooLarge) => telemetry::Survey::TooLarge,
            Err(SurveyError::Partial) => telemetry::Survey::Partial,
            Err(SurveyError::Unavailable(_)) => telemetry::Survey::Unavailable,
        };
        self.0.telemetry.cluster.surveys.of(result).increment(1);
        self.0.telemetry.cluster.survey_duration.record(started.elapsed().as_secs_f64());
        outcome
    }
}

impl Shared {
    async fn ask(&self, question: &str, params: &RawValue) -> Result<Answers, SurveyError> {
        let deadline = Instant::now() + DEADLINE;
        let id = self.surveys.next.fetch_add(1, Ordering::Relaxed);
        let (sender, mut parts) = mpsc::channel(WAITING);
        let overflown = Arc::new(AtomicBool::new(false));
        self.surveys.waiting.lock().insert(id, Asker { parts: sender, overflown: Arc::clone(&overflown) });
        let _ticket = Ticket(&self.surveys, id);
        let mut changes = self.changes.subscribe();
        let mut nodes = Asked::new(self.live_processes());
        let from = self.answers_topic();
        let asked = serde_json::to_vec(&Question { id, from: &from, question, params });
        let asked = asked.map_err(|error| SurveyError::Unavailable(error.to_string()))?;
        let told = self.backplane.broadcast().tell(QUESTIONS, asked.into()).await;
        told.map_err(|error| SurveyError::Unavailable(error.to_string()))?;
        loop {
            if overflown.load(Ordering::Acquire) {
                return Err(SurveyError::Partial);
            }
            let missing = nodes.missing(&self.live_processes());
            if missing.is_empty() {
                return Ok(nodes.into_answers());
            }
            tokio::select! {
                Some(part) = parts.recv() => nodes.take(part)?,
                // Who is no more need not answer.
                Ok(()) = changes.changed() => {}
                () = sleep_until(deadline) => return Err(SurveyError::Silent(missing)),
            }
        }
    }

    /// The processes of the live nodes and their names; this one's also while the registry has forgotten it.
    fn live_processes(&self) -> BTreeMap<String, String> {
        let view = self.view.lock();
        let live = view.all().filter(|known| known.entry.is_live());
        let others = live.map(|known| (known.entry.process.clone(), known.entry.name.clone()));
        others.chain([(self.process.clone(), self.name.clone())]).collect()
    }

    pub(super) fn answers_topic(&self) -> String {
        format!("answer.{}", self.name)
    }

    /// Passes answers on to whoever asked.
    pub(super) async fn collect(self: Arc<Self>, mut answers: mpsc::Receiver<Bytes>) {
        while let Some(answer) = answers.recv().await {
            let Ok(part) = serde_json::from_slice::<Part>(&answer) else {
                self.telemetry.cluster.not_understood(Topic::Answer);
                continue;
            };
            let asker = self.surveys.waiting.lock().get(&part.id).cloned();
            match asker.map(|asker| (asker.parts.try_send(part), asker.overflown)) {
                Some((Err(TrySendError::Full(_)), overflown)) => {
                    self.telemetry.queues.overflows.of(Overflow::Survey).increment(1);
                    // Seen with the next of those that wait.
                    overflown.store(true, Ordering::Release);
                }
                None | Some((Err(TrySendError::Closed(_)), _)) => debug!("an answer that nobody waits for"),
                Some((Ok(()), _)) => {}
            }
        }
    }

    /// Answers the questions of all nodes.
    pub(super) async fn answer(self: Arc<Self>, respond: Arc<dyn Respond>, questions: mpsc::Receiver<Bytes>) {
        let questions = stream::unfold(questions, async |mut questions| Some((questions.recv().await?, questions)));
        let answering = questions.for_each_concurrent(CONCURRENCY, |message| {
            let (shared, respond) = (Arc::clone(&self), Arc::clone(&respond));
            async move {
                let answering = AssertUnwindSafe(shared.answer_one(&*respond, &message)).catch_unwind();
                // A panic is reported by its hook, and must not end the other answers.
                if let Ok(None) = answering.await {
                    shared.telemetry.cluster.not_understood(Topic::Question);
                }
            }
        });
        answering.await;
    }

    async fn answer_one(&self, respond: &dyn Respond, message: &[u8]) -> Option<()> {
        let Question { id, from, question, params } = serde_json::from_slice(message).ok()?;
        let bodies = respond.respond(question, params).await;
        let bodies = bodies.map_or_else(|| vec![None], |bodies| bodies.into_iter().map(Some).collect());
        let of = bodies.len();
        for (part, body) in bodies.into_iter().enumerate() {
            let part = Part { id, node: self.name.clone(), process: self.process.clone(), part, of, body };
            let message = serde_json::to_vec(&part).ok()?;
            if let Err(error) = self.backplane.broadcast().tell(from, message.into()).await {
                warn!(%error, "a question is not answered");
                break;
            }
        }
        Some(())
    }
}
