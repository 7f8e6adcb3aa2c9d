//! What a run will be, out of its seed alone: who is there, what breaks when, and for how long.

mod draw;
mod fault;

use serde::{Deserialize, Serialize};

pub use draw::steps;
pub use fault::{Fault, Harm, Party, Target, link_name};

/// Nodes of midplane, and as many servers of NATS.
pub const NODES: usize = 3;
pub const SERVERS: usize = 3;

/// A fault, when it comes, and how long it stays.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Step {
    pub at_ms: u64,
    pub for_ms: u64,
    pub fault: Fault,
}

/// What channels of a namespace promise.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Promise {
    /// History that holds the whole run.
    Kept,
    /// History that holds little: who is away for long is refused.
    Short,
    /// At most once.
    Plain,
    /// Presence, joins and leaves.
    Room,
}

impl Promise {
    pub const ALL: [Self; 4] = [Self::Kept, Self::Short, Self::Plain, Self::Room];

    pub const fn namespace(self) -> &'static str {
        match self {
            Self::Kept => "kept",
            Self::Short => "short",
            Self::Plain => "plain",
            Self::Room => "room",
        }
    }

    /// What a channel's name says.
    pub fn of(channel: &str) -> Option<Self> {
        let (namespace, _) = channel.split_once(':')?;
        Self::ALL.into_iter().find(|promise| promise.namespace() == namespace)
    }

    pub const fn recovers(self) -> bool {
        matches!(self, Self::Kept | Self::Short)
    }
}

/// A client and what it listens to.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Listener {
    pub name: String,
    pub channels: Vec<String>,
    /// Where it publishes itself.
    pub publishes: Option<String>,
}

/// Who is there.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Scene {
    pub channels: Vec<String>,
    pub clients: Vec<Listener>,
    /// Clients of the official JavaScript SDK. Nothing is done to their own links, all else happens to them as well.
    #[serde(default)]
    pub sdk: Vec<Listener>,
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
        let (kept, short) = (names(Promise::Kept, 4), names(Promise::Short, 2));
        let (plain, rooms) = (names(Promise::Plain, 2), names(Promise::Room, 2));
        let clients = (0..clients)
            .map(|number| {
                let pick = |from: &[String], step: usize| from[(number / step) % from.len()].clone();
                let channels = vec![
                    pick(&kept, 1),
                    kept[(number + 1 + number / 4) % kept.len()].clone(),
                    pick(&short, 1),
                    pick(&plain, 1),
                    pick(&rooms, 1),
                ];
                let mut channels: Vec<String> = channels;
                channels.sort();
                channels.dedup();
                let publishes = (number % 3 == 0).then(|| pick(&kept, 3));
                Listener { name: format!("client-{number}"), channels, publishes }
            })
            .collect();
        let channels = [kept, short, plain, rooms].concat();
        Self { channels, clients, sdk: Vec::new(), pace_ms, seconds }
    }

    /// The same, with so many clients of the SDK besides.
    pub fn with_sdk(mut self, count: usize) -> Self {
        let likened = self.clients.iter().cycle().take(count).enumerate();
        let sdk = likened.map(|(number, other)| Listener {
            name: format!("sdk-{number}"),
            channels: other.channels.clone(),
            publishes: None,
        });
        self.sdk = sdk.collect();
        self
    }
}
