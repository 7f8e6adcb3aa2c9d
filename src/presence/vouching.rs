//! Whose records are right. Where servers may have stepped back, a record that is missing does not say whether its client
//! has left, or its node has yet to write it anew. So whoever misses some asks the lives that they are of: each compares
//! its records with its clients once more, and says so when all of them are written.
//!
//! Both are told at most once: whoever has no answer asks again.

use std::cmp::Ordering;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use parking_lot::Mutex;
use serde::{Deserialize, Serialize};
use tokio::sync::{Notify, mpsc, watch};
use tokio::time::sleep;
use tracing::debug;
use uuid::Uuid;

use super::{Presence, life};
use crate::backplane::SubscribeError;
use crate::telemetry::Topic;

/// Where questions are heard.
const QUESTIONS: &str = "presence.ask";
/// Before it is tried again to hear them.
const PAUSE: Duration = Duration::from_secs(1);

/// Are the records of these lives right?
#[derive(Debug, Serialize, Deserialize)]
struct Question {
    /// Who asks.
    asker: Uuid,
    /// Which of its doubts this is about.
    doubt: u64,
    lives: BTreeSet<String>,
}

/// Since that question this life has compared its records with its clients, and has written what was wrong.
#[derive(Debug, Serialize, Deserialize)]
struct Vouched {
    doubt: u64,
    life: String,
}

/// What this node asks others, and is asked.
pub(super) struct Vouching {
    asker: Uuid,
    vouched: watch::Sender<Sound>,
    /// Which doubt of whom waits for this node's word: of each asker the last.
    asked: Mutex<BTreeMap<Uuid, u64>>,
    wake: Notify,
}

/// The lives whose records are right, whatever was wrong at the time of a doubt.
#[derive(Debug, Default)]
struct Sound {
    doubt: u64,
    lives: BTreeSet<String>,
}

impl Sound {
    /// A later life of the same node knows that this one is over: whoever was recorded under it is gone.
    fn covers(&self, life: &str) -> bool {
        self.lives.iter().any(|sound| sound == life || life::compare(sound, life) == Some(Ordering::Greater))
    }
}

impl Default for Vouching {
    fn default() -> Self {
        let (asker, vouched) = (Uuid::new_v4(), watch::Sender::default());
        Self { asker, vouched, asked: Mutex::default(), wake: Notify::new() }
    }
}

impl Vouching {
    /// There is another reason to doubt records: what was vouched for before says nothing any more.
    pub(super) fn doubt(&self) {
        self.vouched.send_modify(|sound| *sound = Sound { doubt: sound.doubt + 1, ..Sound::default() });
    }

    /// Those of `lives` that have not vouched for their records since the last doubt.
    pub(super) fn unsound(&self, mut lives: BTreeSet<String>) -> BTreeSet<String> {
        let sound = self.vouched.borrow();
        lives.retain(|life| !sound.covers(life));
        lives
    }

    /// Returns once all of these have vouched for their records.
    pub(super) async fn sound(&self, lives: &BTreeSet<String>) {
        let all = |sound: &Sound| lives.iter().all(|life| sound.covers(life));
        // The sender lives in self.
        let _ = self.vouched.subscribe().wait_for(all).await;
    }

    /// Returns once somebody asks this node.
    pub(super) async fn asked(&self) {
        self.wake.notified().await;
    }

    /// The questions that wait for an answer.
    pub(super) fn take(&self) -> BTreeMap<Uuid, u64> {
        std::mem::take(&mut *self.asked.lock())
    }

    fn hear_question(&self, message: &[u8], own: &str) -> serde_json::Result<()> {
        let Question { asker, doubt, lives } = serde_json::from_slice(message)?;
        let is_own = |life: &String| matches!(life::compare(own, life), Some(Ordering::Equal | Ordering::Greater));
        if lives.iter().any(is_own) {
            self.asked.lock().insert(asker, doubt);
            self.wake.notify_one();
        }
        Ok(())
    }

    fn hear_answer(&self, message: &[u8]) -> serde_json::Result<()> {
        let Vouched { doubt, life } = serde_json::from_slice(message)?;
        self.vouched.send_if_modified(|sound| sound.doubt == doubt && sound.lives.insert(life));
        Ok(())
    }
}

fn answers(asker: Uuid) -> String {
    format!("presence.vouched.{}", asker.simple())
}

/// Hears what is asked and answered, until nobody brings it any more.
pub(super) async fn run(presence: Arc<Presence>) {
    let vouching = &presence.vouching;
    let (mut questions, mut answered) = loop {
        match presence.hear_of_records().await {
            Ok(both) => break both,
            Err(error) => debug!(%error, "not heard yet what is asked of records"),
        }
        sleep(PAUSE).await;
    };
    loop {
        let (topic, heard) = tokio::select! {
            question = questions.recv() => {
                let heard = question.map(|question| vouching.hear_question(&question, &presence.life()));
                (Topic::Question, heard)
            }
            answer = answered.recv() => (Topic::Answer, answer.map(|answer| vouching.hear_answer(&answer))),
        };
        // Without either nobody can be believed, or answered.
        let Some(heard) = heard else { return };
        if heard.is_err() {
            presence.telemetry.cluster.not_understood(topic);
        }
    }
}

impl Presence {
    async fn hear_of_records(&self) -> Result<(mpsc::Receiver<Bytes>, mpsc::Receiver<Bytes>), SubscribeError> {
        let broadcast = self.backplane.broadcast();
        Ok((broadcast.hear(QUESTIONS).await?, broadcast.hear(&answers(self.vouching.asker)).await?))
    }

    /// Asks these lives whether their records are right.
    pub(super) async fn ask(&self, lives: &BTreeSet<String>) {
        let doubt = self.vouching.vouched.borrow().doubt;
        let question = Question { asker: self.vouching.asker, doubt, lives: lives.clone() };
        self.say(QUESTIONS, &question).await;
    }

    /// Answers these questions for this `life`.
    pub(super) async fn vouch(&self, life: &str, questions: BTreeMap<Uuid, u64>) {
        for (asker, doubt) in questions {
            self.say(&answers(asker), &Vouched { doubt, life: life.to_owned() }).await;
        }
    }

    async fn say(&self, topic: &str, word: &impl Serialize) {
        let Ok(word) = serde_json::to_vec(word) else { return };
        if let Err(error) = self.backplane.broadcast().tell(topic, word.into()).await {
            debug!(%error, topic, "word of records not told");
        }
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt;

    use super::*;

    fn lives(lives: &[&str]) -> BTreeSet<String> {
        lives.iter().map(|life| (*life).to_owned()).collect()
    }

    fn vouched(doubt: u64, life: &str) -> Vec<u8> {
        serde_json::to_vec(&Vouched { doubt, life: life.to_owned() }).expect("JSON")
    }

    #[test]
    fn what_was_vouched_for_before_the_last_doubt_says_nothing() {
        let vouching = Vouching::default();
        vouching.doubt();
        vouching.hear_answer(&vouched(1, "a~1")).expect("an answer");
        assert_eq!(vouching.unsound(lives(&["a~1", "b~1"])), lives(&["b~1"]));
        vouching.doubt();
        vouching.hear_answer(&vouched(1, "b~1")).expect("an answer");
        assert_eq!(vouching.unsound(lives(&["a~1", "b~1"])), lives(&["a~1", "b~1"]));
        assert!(vouching.sound(&lives(&["a~1"])).now_or_never().is_none());
        vouching.hear_answer(&vouched(2, "a~1")).expect("an answer");
        assert!(vouching.sound(&lives(&["a~1"])).now_or_never().is_some());
    }

    #[test]
    fn a_later_life_of_a_node_vouches_for_those_before_it_and_nobody_for_those_to_come() {
        let vouching = Vouching::default();
        vouching.hear_answer(&vouched(0, "a~2")).expect("an answer");
        assert_eq!(vouching.unsound(lives(&["a~1", "a~2", "a~3", "b~1"])), lives(&["a~3", "b~1"]));
    }

    #[test]
    fn only_who_is_asked_answers_and_of_each_asker_the_last_doubt() {
        let vouching = Vouching::default();
        let ask = |doubt, of: &[&str]| {
            let question = Question { asker: Uuid::nil(), doubt, lives: lives(of) };
            vouching.hear_question(&serde_json::to_vec(&question).expect("JSON"), "a~2").expect("a question");
        };
        ask(1, &["a~3", "b~1"]);
        assert!(vouching.take().is_empty() && vouching.asked().now_or_never().is_none());
        ask(1, &["a~1"]);
        ask(2, &["a~2"]);
        assert_eq!(vouching.take(), BTreeMap::from([(Uuid::nil(), 2)]));
        assert!(vouching.take().is_empty());
    }
}
