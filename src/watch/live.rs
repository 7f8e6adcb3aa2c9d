//! What one watcher gets: lines of JSON, for as long as it reads them.
//!
//! `{"watching":{"channel":"chat:lobby"},"node":"gateway-1"}` first; then publications as clients that only listen get them
//! (`{"channel":…,"pub":{…}}`), sightings (`{"seen":{…}}`), how many of those were missed (`{"missed":3}`), empty lines as
//! signs of life, and at last why it ends (`{"end":"slow"}`).

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use serde_json::json;
use tokio::time::{Instant, Interval, MissedTickBehavior, interval_at};

use super::pipe::Pipe;
use super::watcher::{Told, Watching};
use super::{Lookout, Subject};
use crate::hub::{Control, Outbox};
use crate::protocol::Channel;
use crate::protocol::centrifuge::Format;
use crate::protocol::centrifuge::codes::DisconnectCode;
use crate::relay::{JoinError, Membership, Wish};
use crate::settings::UnknownNamespace;

/// How often it is said again what is wanted, with a sign of life to whoever watches.
const AGAIN: Duration = Duration::from_secs(5);
/// Bytes that may wait for a watcher.
const QUEUE: usize = 256 << 10;

/// Why something cannot be watched.
#[derive(Debug, thiserror::Error)]
pub enum Refused {
    #[error("as many watch on this node as may")]
    Full,
    #[error("no channel can have this name")]
    Name,
    #[error(transparent)]
    Namespace(#[from] UnknownNamespace),
    #[error("not now: {0}")]
    Join(#[from] JoinError),
}

/// What a watcher reads.
pub struct Live {
    watch: Arc<Lookout>,
    subject: Subject,
    watching: Watching,
    /// The first line, until it is read.
    first: Option<Bytes>,
    pipe: Pipe,
    outbox: Arc<Outbox>,
    /// Ends with the watcher; users have none.
    membership: Option<Membership>,
    again: Interval,
    ended: bool,
}

impl Lookout {
    /// Begins to watch.
    ///
    /// # Errors
    /// When enough watch, there can be no such channel, or it cannot be listened to now.
    pub async fn begin(self: &Arc<Self>, subject: Subject) -> Result<Live, Refused> {
        let watching = self.watchers.enter(subject.clone()).ok_or(Refused::Full)?;
        let (pipe, outbox) = (Pipe::default(), Outbox::new(Format::UniHttpStream, QUEUE, Arc::default()));
        outbox.attach(Box::new(pipe.clone()));
        let membership = match &subject {
            Subject::Channel(name) => Some(self.listen(name, &outbox).await?),
            Subject::User(_) => None,
        };
        self.ask_for(&subject).await;
        let mut again = interval_at(Instant::now() + AGAIN, AGAIN);
        again.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let first = Some(line(&json!({ "watching": subject, "node": self.node })));
        Ok(Live { watch: Arc::clone(self), subject, watching, first, pipe, outbox, membership, again, ended: false })
    }

    async fn listen(self: &Arc<Self>, name: &str, outbox: &Arc<Outbox>) -> Result<Membership, Refused> {
        let channel = Channel::parse(name, self.channels.max_length).map_err(|_| Refused::Name)?;
        let namespace = self.channels.namespaces.of(&channel)?;
        // So that it is told when something is missing.
        let wish = Wish { positioned: true, ..Wish::default() };
        let joined = self.relay.join(&channel, namespace, &wish, outbox).await?;
        Ok(joined.membership)
    }
}

impl Live {
    /// What comes next; `None` when that was all.
    pub async fn next(&mut self) -> Option<Bytes> {
        if let Some(first) = self.first.take() {
            return Some(first);
        }
        while !self.ended {
            let stopping = self.watch.stopping.clone();
            tokio::select! {
                biased;
                () = stopping.cancelled() => return Some(self.end("stopping")),
                bytes = self.pipe.read() => {
                    self.outbox.flush_writable();
                    return Some(bytes);
                }
                () = self.outbox.attention() => {
                    let (controls, _) = self.outbox.take_requests();
                    if let Some(why) = controls.iter().find_map(why) {
                        return Some(self.end(why));
                    }
                }
                told = self.watching.told.recv() => return Some(match told {
                    Some(Told::Seen(sighting)) => line(&json!({ "seen": sighting })),
                    Some(Told::Missed(missed)) => line(&json!({ "missed": missed })),
                    None => self.end("stopping"),
                }),
                _ = self.again.tick() => {
                    self.watch.ask_for(&self.subject).await;
                    return Some(Bytes::from_static(b"\n"));
                }
            }
        }
        None
    }

    /// Ends it; returns the last line, which says why.
    pub fn end(&mut self, why: &str) -> Bytes {
        self.ended = true;
        self.membership = None;
        line(&json!({ "end": why }))
    }
}

impl Drop for Live {
    fn drop(&mut self) {
        self.membership = None;
        self.outbox.abandon();
    }
}

/// Why a watcher is over, if what is asked of its connection ends it.
fn why(control: &Control) -> Option<&'static str> {
    match control {
        Control::Close(disconnect) if *disconnect == DisconnectCode::Slow.into() => Some("slow"),
        Control::Close(disconnect) if *disconnect == DisconnectCode::InappropriateProtocol.into() => {
            Some("data that is no JSON")
        }
        Control::Close(_) => Some("closed"),
        Control::Overrun => Some("more was asked than can wait"),
        Control::Lost(_) => Some("publications were lost"),
        Control::Obey(_) | Control::Drained => None,
    }
}

fn line(value: &serde_json::Value) -> Bytes {
    let mut line = value.to_string();
    line.push('\n');
    line.into()
}
