//! Who takes part, and in what.

use rand::seq::IndexedRandom;
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::Promise;

/// A client and what it listens to.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct Listener {
    pub name: String,
    pub channels: Vec<String>,
    /// Where it publishes itself.
    pub publishes: Option<String>,
    /// Whether it is a user, by its name, who may have one connection; anonymous otherwise.
    #[serde(default)]
    pub is_user: bool,
    /// In channels whose history holds all it asks only for publications of this [`half`].
    #[serde(default)]
    pub half: Option<String>,
    /// How it speaks, if it is one of the SDK.
    #[serde(default)]
    pub build: Build,
    /// How it comes, if it is one of Socket.IO.
    #[serde(default)]
    pub ways: Option<Ways>,
}

impl Listener {
    /// Whether backends send it away, or out of a channel. Clients of Socket.IO are not told why they have to go.
    pub const fn takes_orders(&self) -> bool {
        self.is_user && self.ways.is_none()
    }
}

/// The transports of a client of Socket.IO.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Ways {
    Websocket,
    /// Long-polling, then a WebSocket, where that comes to the session's node.
    Upgrade,
    Polling,
}

impl Ways {
    const ALL: [Self; 3] = [Self::Websocket, Self::Upgrade, Self::Polling];
}

/// What stands for all that backends emit for more than one room: no channel, but stored, kept and judged like one.
pub const EMITTED: &str = "kept:emitted";

/// How a client of the SDK speaks.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Build {
    pub transport: Transport,
    pub wire: Wire,
    /// It asks for patches.
    pub delta: bool,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Transport {
    #[default]
    Websocket,
    HttpStream,
    Sse,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Wire {
    #[default]
    Json,
    Protobuf,
}

impl Build {
    fn draw(rng: &mut ChaCha8Rng) -> Self {
        let transport = *[Transport::Websocket, Transport::HttpStream, Transport::Sse].choose(rng).expect("not empty");
        // Events are text.
        let wire = if transport != Transport::Sse && rng.random_ratio(1, 2) { Wire::Protobuf } else { Wire::Json };
        Self { transport, wire, delta: rng.random_ratio(1, 2) }
    }
}

/// The tag `half` of a publication, by its number, which stands last in its id.
pub fn half(id: &str) -> &'static str {
    if number(id).is_none_or(|number| number.is_multiple_of(2)) { "even" } else { "odd" }
}

/// What a publication carries: its id, and now and then some weight.
pub fn data(channel: &str, id: &str) -> Value {
    let weight = match number(id).map(|number| number % 16) {
        Some(7) => 4_000,
        Some(3 | 11) => 800,
        _ => 20,
    };
    let times = if Promise::of(channel).is_some_and(Promise::is_heavy) { 16 } else { 1 };
    json!({"id": id, "pad": "x".repeat(weight * times)})
}

/// The last part of a publication's id: its publisher's count.
fn number(id: &str) -> Option<u64> {
    id.rsplit('-').next()?.parse().ok()
}

/// Where a channel has a position and no history, the SDK does not say whether it recovers.
fn is_for_sdk(channel: &str) -> bool {
    Promise::of(channel) != Some(Promise::Watched)
}

/// Who is there.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Scene {
    pub channels: Vec<String>,
    pub clients: Vec<Listener>,
    /// Clients of the official JavaScript SDK. Nothing is done to their own links, all else happens to them as well.
    #[serde(default)]
    pub sdk: Vec<Listener>,
    /// Clients of Socket.IO, of which the same holds.
    #[serde(default)]
    pub sockets: Vec<Listener>,
    /// Between two publications of one publisher, in milliseconds.
    pub pace_ms: u64,
    pub seconds: u64,
}

impl Scene {
    /// The scene of a run of so many seconds, with so many clients.
    pub fn new(seconds: u64, clients: usize, pace_ms: u64) -> Self {
        let names = |promise: Promise, count: usize| {
            (0..count).map(move |number| format!("{}:c{number}", promise.namespace())).collect::<Vec<_>>()
        };
        let (kept, parked) = (names(Promise::Kept, 3), names(Promise::Parked, 2));
        let channels = Promise::ALL.into_iter().flat_map(|promise| match promise {
            Promise::Kept => kept.clone(),
            Promise::Parked => parked.clone(),
            _ => names(promise, 1),
        });
        let one = |promise: Promise| format!("{}:c0", promise.namespace());
        let client = |number: usize| {
            // Who is in a channel of another policy is closed for that one's sake before it is parked.
            let mut listens = match number % 3 {
                0 => parked.clone(),
                1 if number.is_multiple_of(2) => vec![one(Promise::Latest)],
                _ => vec![
                    kept[(number / 3) % 3].clone(),
                    kept[(number / 3 + 1) % 3].clone(),
                    one(Promise::Short),
                    one(if number.is_multiple_of(2) { Promise::Plain } else { Promise::Latest }),
                    one(Promise::Plain),
                    one(Promise::Watched),
                ],
            };
            // Of users only there is anything to tell where one may be away for a moment.
            let is_user = (number / 3).is_multiple_of(2);
            listens.push(one(if is_user { Promise::Lounge } else { Promise::Room }));
            listens.sort();
            listens.dedup();
            Listener {
                name: format!("client-{number}"),
                channels: listens,
                publishes: number.is_multiple_of(3).then(|| kept[(number / 3) % 3].clone()),
                is_user,
                half: (number % 4 == 3).then(|| "even".to_owned()),
                build: Build::default(),
                ways: None,
            }
        };
        Self {
            channels: channels.collect(),
            clients: (0..clients).map(client).collect(),
            sdk: Vec::new(),
            sockets: Vec::new(),
            pace_ms,
            seconds,
        }
    }

    /// The same, with so many clients of the SDK besides, which speak as the seed draws it.
    pub fn with_sdk(mut self, count: usize, seed: u64) -> Self {
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        let likened = self.clients.iter().cycle().take(count).enumerate();
        let sdk = likened.map(|(number, other)| {
            let build = Build::draw(&mut rng);
            Listener {
                name: format!("sdk-{number}"),
                publishes: None,
                // Clients of our own hear of what is lost there as well as any.
                channels: other.channels.iter().filter(|channel| is_for_sdk(channel)).cloned().collect(),
                // The SDK refuses both at a time.
                half: other.half.clone().filter(|_| !build.delta),
                build,
                ..other.clone()
            }
        });
        self.sdk = sdk.collect();
        self
    }

    /// The same, with so many clients of Socket.IO besides, whose transports the seed draws. Every fourth is where nobody
    /// may come back, all others are in what backends emit, and in the rooms of everybody; half of those have joined one
    /// more (`world/sockets.toml`).
    pub fn with_sockets(mut self, count: usize, seed: u64) -> Self {
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        let socket = |number: usize| {
            let rooms: &[&str] = match number % 4 {
                3 => &["plain:c0"],
                1 => &["kept:c0", "kept:c1", EMITTED],
                _ => &["kept:c0", "kept:c1", "kept:c2", EMITTED],
            };
            Listener {
                name: format!("socket-{number}"),
                channels: rooms.iter().map(|room| (*room).to_owned()).collect(),
                is_user: number.is_multiple_of(2),
                ways: Ways::ALL.choose(&mut rng).copied(),
                ..Listener::default()
            }
        };
        self.sockets = (0..count).map(socket).collect();
        if count > 0 {
            self.channels.push(EMITTED.to_owned());
        }
        self
    }

    /// Clients of all kinds.
    pub fn everybody(&self) -> impl Iterator<Item = &Listener> {
        self.clients.iter().chain(&self.sdk).chain(&self.sockets)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_promise_is_listened_to_by_users_and_by_others() {
        let scene = Scene::new(10, 12, 50);
        for channel in &scene.channels {
            assert!(scene.clients.iter().any(|client| client.channels.contains(channel)), "{channel}");
        }
        assert!(
            scene.clients.iter().any(|client| client.is_user) && scene.clients.iter().any(|client| !client.is_user)
        );
        assert!(scene.clients.iter().any(|client| client.half.is_some() && client.channels[0].starts_with("parked")));
    }

    #[test]
    fn clients_of_socketio_come_in_every_way_and_listen_to_all_that_backends_emit() {
        let sockets: Vec<_> = (0..20).flat_map(|seed| Scene::new(10, 12, 50).with_sockets(4, seed).sockets).collect();
        for ways in Ways::ALL {
            assert!(sockets.iter().any(|socket| socket.ways == Some(ways)), "{ways:?}");
        }
        assert!(sockets.iter().any(|socket| socket.is_user) && sockets.iter().all(|socket| !socket.takes_orders()));
        let scene = Scene::new(10, 12, 50).with_sockets(4, 0);
        let listened = |channel| scene.sockets.iter().filter(|socket| socket.channels.contains(channel)).count();
        assert_eq!(scene.channels.last().map(listened), Some(3));
        assert!(!Scene::new(10, 12, 50).with_sockets(0, 0).channels.contains(&EMITTED.to_owned()));
    }

    #[test]
    fn the_sdk_speaks_in_every_way() {
        let scenes = (0..20).flat_map(|seed| Scene::new(10, 12, 50).with_sdk(4, seed).sdk);
        let builds: Vec<Build> = scenes.map(|listener| listener.build).collect();
        for transport in [Transport::Websocket, Transport::HttpStream, Transport::Sse] {
            for wire in [Wire::Json, Wire::Protobuf] {
                let spoken = builds.iter().any(|build| build.transport == transport && build.wire == wire);
                assert_eq!(spoken, transport != Transport::Sse || wire == Wire::Json, "{transport:?} {wire:?}");
            }
        }
        assert!(builds.iter().any(|build| build.delta) && builds.iter().any(|build| !build.delta));
    }
}
