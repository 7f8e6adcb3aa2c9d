//! What other nodes ask about the sessions of this one, for clients whose requests came to them.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::{StreamExt, stream};
use parking_lot::Mutex;
use tokio::sync::{Semaphore, mpsc, oneshot};
use tokio::time::{Instant, timeout};
use tracing::warn;
use uuid::Uuid;

use super::Engine;
use super::door::{Door, Refused};
use super::words::{Said, Verb, Word, subject};
use crate::backplane::{Request, SubscribeError};
use crate::protocol::socketio::Sid;
use crate::telemetry::{Overflow, Pace, Topic};

/// Requests of long-polling that came to other nodes and wait here at a time. What comes beyond is refused: it would keep
/// waiting whatever else those nodes ask.
pub(super) const POLLS: usize = 64 * 1024;
/// Other requests of theirs that are worked on at a time, those of clients and the nodes' own. The rest waits in the
/// backplane's queue.
const OTHERS: usize = 16 * 1024;
/// How long another node may take to ask for the next part of an answer.
const PATIENCE: Duration = Duration::from_secs(10);

/// Requests that wait here for what there is to say to clients, by session and number.
pub(super) struct Held {
    waiting: Mutex<HashMap<(Uuid, u64), mpsc::Sender<More>>>,
    pub(super) polls: Semaphore,
    /// That one was refused.
    told: Pace,
}

/// What comes of a request while it waits, or is answered part by part.
enum More {
    BrokenOff,
    Rest(oneshot::Sender<Bytes>),
}

/// What is asked of a session that is here.
struct Asked {
    verb: Verb,
    number: u64,
    body: Bytes,
    room: usize,
}

/// A request that waits; it is known as long as this lives.
struct Holding<'a> {
    held: &'a Held,
    key: (Uuid, u64),
    more: mpsc::Receiver<More>,
}

impl Default for Held {
    fn default() -> Self {
        Self { waiting: Mutex::default(), polls: Semaphore::new(POLLS), told: Pace::default() }
    }
}

impl Held {
    fn hold(&self, session: Uuid, number: u64) -> Option<Holding<'_>> {
        let key = (session, number);
        let (sender, more) = mpsc::channel(1);
        match self.waiting.lock().entry(key) {
            Entry::Occupied(_) => None,
            Entry::Vacant(vacant) => {
                vacant.insert(sender);
                Some(Holding { held: self, key, more })
            }
        }
    }

    /// Passes on what concerns a request that waits; whether there is such a one.
    fn pass(&self, session: Uuid, number: u64, more: More) -> bool {
        self.waiting.lock().get(&(session, number)).is_some_and(|waiting| waiting.try_send(more).is_ok())
    }

    fn has(&self, session: Uuid, number: u64) -> bool {
        self.waiting.lock().contains_key(&(session, number))
    }
}

impl Drop for Holding<'_> {
    fn drop(&mut self) {
        self.held.waiting.lock().remove(&self.key);
    }
}

impl Engine {
    /// Begins to take what other nodes ask; `None` where there are none. Give it to [`answer`](Self::answer).
    ///
    /// # Errors
    /// When the backplane does not accept the subscription.
    pub async fn listen(&self) -> Result<Option<mpsc::Receiver<Request>>, SubscribeError> {
        match self.backplane.requests() {
            Some(requests) => requests.serve(&subject(self.sessions.node()), POLLS + OTHERS).await.map(Some),
            None => Ok(None),
        }
    }

    /// Answers what other nodes ask, until they cannot any more.
    pub async fn answer(self: Arc<Self>, asked: mpsc::Receiver<Request>) {
        let asked = stream::unfold(asked, async |mut asked| Some((asked.recv().await?, asked)));
        asked.for_each_concurrent(None, |request| self.answer_one(request)).await;
    }

    async fn answer_one(&self, request: Request) {
        let Request { headers, body, room, reply, .. } = request;
        let fits = |word: &Word| word.verb != Verb::Post || body.len() <= self.options.max_payload;
        let word = Word::read(&headers).filter(fits);
        let Some(Word { session, verb, number }) = word else {
            return self.telemetry.cluster.not_understood(Topic::Session);
        };
        let said = match verb {
            Verb::Rest => {
                // Where nobody takes it, dropping it leaves whoever asked to its timeout.
                self.held.pass(session, number, More::Rest(reply));
                return;
            }
            Verb::Check => known(self.held.has(session, number)),
            Verb::BreakOff => known(self.held.pass(session, number, More::BrokenOff)),
            Verb::Say => known(self.arrivals.say(session, body)),
            Verb::Poll
            | Verb::Post
            | Verb::Misuse
            | Verb::Claim
            | Verb::Probed
            | Verb::Release
            | Verb::Pack
            | Verb::Depart => {
                let asked = Asked { verb, number, body, room };
                match self.sessions.find(Sid { node: self.sessions.node(), session }) {
                    Some(door) => return self.at(&door, asked, reply).await,
                    None => Said::Unknown,
                }
            }
        };
        // Whoever asked may be gone.
        let _ = reply.send(said.encode());
    }

    /// What is asked of a session that is here.
    async fn at(&self, door: &Arc<Door>, asked: Asked, reply: oneshot::Sender<Bytes>) {
        let Asked { verb, number, body, room } = asked;
        let said = match verb {
            Verb::Poll => match self.held.polls.try_acquire() {
                Ok(_place) => return self.hold(door, number, room, reply, door.poll(|| ())).await,
                Err(_) => self.refuse_poll(),
            },
            Verb::Pack => return self.hold(door, number, room, reply, door.pack(number)).await,
            Verb::Depart => match Uuid::from_slice(&body) {
                Ok(to) => return self.hold(door, number, room, reply, door.depart(number, to)).await,
                Err(_) => Said::Closed,
            },
            Verb::Post => done(post(door, body).await),
            Verb::Probed => done(door.probed(number).await),
            Verb::Claim => {
                let until = Instant::now() + self.options.upgrade_timeout + PATIENCE;
                if door.may_move().await && door.claim_as(number, Some(until)) {
                    Said::Done(Bytes::new())
                } else {
                    Said::Closed
                }
            }
            Verb::Release if door.release(number) => Said::Done(Bytes::new()),
            Verb::Release => Said::Moved,
            Verb::Misuse => {
                door.misuse();
                Said::Closed
            }
            Verb::Check | Verb::BreakOff | Verb::Rest | Verb::Say => Said::Unknown,
        };
        let _ = reply.send(said.encode());
    }

    fn refuse_poll(&self) -> Said {
        self.telemetry.queues.overflows.of(Overflow::Polls).increment(1);
        if let Some(more) = self.held.told.due() {
            warn!(more, "requests of long-polling that came to other nodes were refused: {POLLS} of them wait here");
        }
        Said::Busy
    }

    /// Lets a request wait for its `answer` as one of this node would, and gives that in parts of what fits into `room`.
    async fn hold(
        &self,
        door: &Arc<Door>,
        number: u64,
        room: usize,
        reply: oneshot::Sender<Bytes>,
        answer: impl Future<Output = Result<Bytes, Refused>>,
    ) {
        let Some(mut holding) = self.held.hold(door.sid().session, number) else {
            let _ = reply.send(Said::Closed.encode());
            return;
        };
        let answered = tokio::select! {
            biased;
            answered = answer => answered,
            _ = holding.more.recv() => Err(Refused::Closed),
        };
        let mut reply = reply;
        let mut rest = match answered {
            Ok(body) => body,
            Err(refused) => {
                let _ = reply.send(Said::from(refused).encode());
                return;
            }
        };
        loop {
            let part = rest.split_to(rest.len().min(room.saturating_sub(Said::OVERHEAD).max(1)));
            let said = if rest.is_empty() { Said::Done(part) } else { Said::Part(part) };
            // From here on it is the other node's to tell whether it came.
            let _ = reply.send(said.encode());
            if rest.is_empty() {
                return;
            }
            reply = match timeout(PATIENCE, holding.more.recv()).await {
                Ok(Some(More::Rest(reply))) => reply,
                // The client will not get the rest of what it was told in part.
                Ok(Some(More::BrokenOff) | None) | Err(_) => return door.misuse(),
            };
        }
    }
}

async fn post(door: &Arc<Door>, body: Bytes) -> Result<(), Refused> {
    door.begin_post().await?.bring(body).await
}

fn done(outcome: Result<(), Refused>) -> Said {
    outcome.map_or_else(Said::from, |()| Said::Done(Bytes::new()))
}

fn known(known: bool) -> Said {
    if known { Said::Done(Bytes::new()) } else { Said::Unknown }
}
