//! In which channels of rooms and sockets the bridge hears, where these have channels of their own: in those of whoever is here,
//! on any node. Nodes tell what comes up; what has gone is found by asking all of them now and then, as is what they could not
//! tell.

use std::collections::{BTreeMap, HashSet};
use std::future::pending;
use std::time::Duration;

use bytes::Bytes;
use parking_lot::Mutex;
use serde::{Deserialize, de::IgnoredAny};
use serde_json::json;
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep, sleep_until};
use tracing::{debug, warn};

use super::Bridge;
use super::crossing::Crossing;
use super::orders::{ask, sockets};
use super::space::Space;
use super::wire::Whom;
use crate::socketio::News;
use crate::telemetry::Pace;

/// How often all nodes are asked.
const ASK_EVERY: Duration = Duration::from_secs(60);
/// How soon again where one did not answer; after twice as long each further time.
const ASK_AGAIN: Duration = Duration::from_secs(1);
/// Before it is tried again to hear of names.
const PAUSE: Duration = Duration::from_millis(500);

/// Channels in which the bridge wants to hear.
#[derive(Default)]
pub(super) struct Rooms(Mutex<HashSet<String>>);

impl Rooms {
    pub(super) fn all(&self) -> Vec<String> {
        self.0.lock().iter().cloned().collect()
    }

    /// Which of them are new.
    pub(super) fn add(&self, channels: impl IntoIterator<Item = String>) -> Vec<String> {
        let mut rooms = self.0.lock();
        channels.into_iter().filter(|channel| rooms.insert(channel.clone())).collect()
    }

    /// Which of the others have gone.
    pub(super) fn retain(&self, channels: &HashSet<String>) -> Vec<String> {
        self.0.lock().extract_if(|channel| !channels.contains(channel)).collect()
    }
}

/// Goes on for ever.
pub(super) async fn run(crossing: &Crossing<'_>) {
    let bridge = crossing.bridge;
    if !bridge.spaces.iter().any(Space::has_channels) {
        return pending().await;
    }
    let told = Pace::default();
    loop {
        // Before anybody is asked: so nothing that comes up in between is missed.
        match bridge.sockets.overhear_names().await {
            Ok(news) => follow(crossing, news).await,
            Err(error) => {
                if let Some(left_out) = told.due() {
                    warn!(%error, left_out, "the bridge does not hear what comes up here");
                }
            }
        }
        sleep(PAUSE).await;
    }
}

/// Until the backplane is closed.
async fn follow(crossing: &Crossing<'_>, mut news: mpsc::Receiver<Bytes>) {
    let (mut asking, mut pause) = (Instant::now(), ASK_AGAIN);
    loop {
        tokio::select! {
            told = news.recv() => match told {
                None => return,
                Some(told) => match risen(crossing.bridge, &told) {
                    Some(channels) => crossing.hear_in(channels).await,
                    None => asking = Instant::now(),
                },
            },
            () = sleep_until(asking) => {
                if ask_all(crossing, &mut news).await {
                    (asking, pause) = (Instant::now() + ASK_EVERY, ASK_AGAIN);
                } else {
                    warn!("not all nodes say which rooms they have: what is emitted there does not reach them yet");
                    (asking, pause) = (Instant::now() + pause, (pause * 2).min(ASK_EVERY));
                }
            }
        }
    }
}

/// Hears in everything that is here, and in nothing else; whether that is known.
async fn ask_all(crossing: &Crossing<'_>, news: &mut mpsc::Receiver<Bytes>) -> bool {
    let mut here = HashSet::new();
    let mut known = true;
    for space in &crossing.bridge.spaces {
        match names(crossing.bridge, space).await {
            Some(names) => here.extend(names.iter().filter_map(|name| space.hears(name))),
            None => known = false,
        }
    }
    // What came up meanwhile, perhaps behind a node's answer.
    while let Ok(told) = news.try_recv() {
        match risen(crossing.bridge, &told) {
            Some(channels) => here.extend(channels),
            None => known = false,
        }
    }
    if known {
        crossing.hear_no_more_but(&here).await;
    }
    crossing.hear_in(here).await;
    known
}

/// The channels of what a node tells; `None` where it could not tell everything.
fn risen(bridge: &Bridge, told: &[u8]) -> Option<Vec<String>> {
    match serde_json::from_slice(told) {
        Ok(News::Risen(names)) => {
            let space = |name: &str| bridge.spaces.iter().find(|space| *space.name == *name);
            Some(names.iter().filter_map(|(namespace, name)| space(namespace)?.hears(name)).collect())
        }
        Ok(News::Missed) => None,
        Err(error) => {
            debug!(%error, "what a node tells of its rooms cannot be read");
            None
        }
    }
}

/// Rooms with listeners of whichever protocol, and sockets; `None` where some node did not answer.
async fn names(bridge: &Bridge, space: &Space) -> Option<Vec<String>> {
    #[derive(Deserialize)]
    struct Channels {
        channels: BTreeMap<String, IgnoredAny>,
    }
    let mut names: Vec<String> =
        sockets(bridge, space, &Whom::default()).await?.into_iter().map(|socket| socket.id).collect();
    if let Some(rooms) = bridge.sockets.rooms_of(&space.name) {
        let prefix = if rooms.is_empty() { String::new() } else { format!("{rooms}:") };
        let Channels { channels } = ask(bridge, "channels", &json!({ "pattern": format!("{prefix}*") })).await?;
        let rooms = channels.keys().filter_map(|channel| channel.strip_prefix(&*prefix));
        names.extend(rooms.filter(|room| bridge.sockets.may_be_room(&space.name, room)).map(str::to_owned));
    }
    Some(names)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rooms_are_heard_in_once_they_come_up_and_until_they_have_gone() {
        let names = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>();
        let rooms = Rooms::default();
        assert_eq!(rooms.add(names(&["a", "b"])), ["a", "b"]);
        assert_eq!(rooms.add(names(&["b", "c"])), ["c"]);
        assert_eq!(rooms.retain(&names(&["b", "c", "d"]).into_iter().collect()), ["a"]);
        let mut left = rooms.all();
        left.sort_unstable();
        assert_eq!(left, ["b", "c"]);
    }
}
