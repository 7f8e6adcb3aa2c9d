//! What everybody did and saw, as lines of JSON in files. All that the checker knows.
//!
//! One process writes everything, so one clock orders it: `at` is microseconds since the run began, and grows.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::time::Instant;

use serde::{Deserialize, Serialize};

use crate::plan::{Scene, Step};

/// The code with which backends send users away; they come back.
pub const ORDERED: u32 = 4_001;
/// The code of a subscription that a backend ended.
pub const PUT_OUT: u32 = 2_000;
/// The code with which nodes send away whose token was taken back.
pub const REVOKED: u32 = 3_500;

/// What a backend wants of a user.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Order {
    /// That it goes away, with the code [`ORDERED`]; it comes back.
    #[default]
    Disconnect,
    /// That it leaves the lounge, with the code [`PUT_OUT`]; it asks to come in again.
    Unsubscribe,
}

/// Where a client stands in a channel.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Position {
    pub offset: u64,
    pub epoch: String,
}

/// One line.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Line {
    /// Microseconds since the run began.
    pub at: u64,
    #[serde(flatten)]
    pub entry: Entry,
}

/// How a publication went in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Via {
    Http,
    NatsApi,
    JetStream,
    Client,
    /// What a backend emits to clients of Socket.IO in more than one room.
    Emit,
    /// The last one of each channel, when everything is healed.
    Barrier,
}

/// How a publication came out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum How {
    Live,
    Recovered,
}

/// When a snapshot or a scrape was taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Phase {
    /// Clients are there, nothing was broken yet.
    Before,
    Faults,
    /// Everything is healed, clients are there.
    Healed,
    /// The clients go.
    Gone,
}

/// What happened.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(tag = "what", rename_all = "snake_case")]
pub enum Entry {
    PublishBegan {
        id: String,
        channel: String,
        via: Via,
    },
    /// Offset and epoch as far as they were told: JetStream knows no epoch, channels without history have neither.
    PublishAcked {
        id: String,
        offset: Option<u64>,
        epoch: Option<String>,
    },
    /// Nobody can say whether it is stored.
    PublishUnknown {
        id: String,
        why: String,
    },
    PublishRefused {
        id: String,
        why: String,
    },

    Connected {
        client: String,
        node: String,
        uuid: String,
    },
    Disconnected {
        client: String,
        code: u32,
        reason: String,
    },
    /// It will not come back by itself.
    GaveUp {
        client: String,
        reason: String,
    },
    /// `since` is what it asked to recover from. Clients of Socket.IO tell of each of their rooms; they know neither, and
    /// `recovered` says whether the socket is the same.
    Subscribed {
        client: String,
        channel: String,
        since: Option<Position>,
        recovered: bool,
        position: Option<Position>,
    },
    SubscribeFailed {
        client: String,
        channel: String,
        code: u32,
        reason: String,
    },
    Unsubscribed {
        client: String,
        channel: String,
        code: u32,
        reason: String,
    },
    Received {
        client: String,
        channel: String,
        id: String,
        offset: Option<u64>,
        how: How,
        /// At a client of Socket.IO that may come back: how far it is, as it would say.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        stand: Option<String>,
    },
    /// A client of Socket.IO has come again, after `Connected`: how far it said that it was, and whether it is the same
    /// socket again.
    CameBack {
        client: String,
        stand: Option<String>,
        recovered: bool,
    },
    Joined {
        client: String,
        channel: String,
        uuid: String,
    },
    Left {
        client: String,
        channel: String,
        uuid: String,
    },
    /// Something that the protocol does not allow.
    Broken {
        client: String,
        how: String,
    },

    /// Who is in a channel by what a node answers.
    Snapshot {
        phase: Phase,
        node: String,
        channel: String,
        uuids: Vec<String>,
    },
    /// Who really is.
    Expected {
        phase: Phase,
        channel: String,
        uuids: Vec<String>,
    },

    /// A backend wants something of a user.
    OrderBegan {
        user: String,
        #[serde(default)]
        order: Order,
    },
    /// A node took the order; whether others heard it is another matter.
    OrderAcked {
        user: String,
        #[serde(default)]
        order: Order,
    },

    /// A node accepted a token of this user, which is taken back sooner or later.
    LetIn {
        user: String,
        node: String,
        connection: u64,
    },
    /// That connection is over.
    SentAway {
        connection: u64,
        code: u32,
    },
    /// Every node is ready again: from now on tokens are taken back while all is well.
    LastVisits,
    /// A node said that all tokens of this user are taken back.
    Revoked {
        user: String,
    },

    /// The run itself got to do nothing for so long: the machine is busy.
    Late {
        micros: u64,
    },
    /// Once everything was healed: every node is ready.
    AllReady,
    /// ... and every client is in all of its channels.
    AllSubscribed,
    NodeStarted {
        node: String,
        life: u32,
    },
    NodeEnded {
        node: String,
        life: u32,
        how: String,
    },
    FaultBegan {
        index: usize,
        fault: String,
    },
    FaultEnded {
        index: usize,
    },
    PhaseBegan {
        phase: Phase,
    },
    Scraped {
        phase: Phase,
        node: String,
        life: u32,
        resident: u64,
        descriptors: u64,
        values: BTreeMap<String, f64>,
    },
}

/// What the run was meant to be.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Manifest {
    pub seed: u64,
    pub scene: Scene,
    pub steps: Vec<Step>,
    /// How long clients had to come back once everything was healed, in seconds.
    pub patience: u64,
    /// Whether everybody went on for a while after that, in calm. Too short a run has no time for it.
    #[serde(default)]
    pub calm: bool,
}

/// Which file an entry goes to.
const FILES: [&str; 5] = ["published", "clients", "presence", "faults", "metrics"];

const fn file_of(entry: &Entry) -> usize {
    match entry {
        Entry::PublishBegan { .. }
        | Entry::PublishAcked { .. }
        | Entry::PublishUnknown { .. }
        | Entry::PublishRefused { .. }
        | Entry::OrderBegan { .. }
        | Entry::OrderAcked { .. }
        | Entry::Revoked { .. } => 0,
        Entry::Snapshot { .. } | Entry::Expected { .. } | Entry::Joined { .. } | Entry::Left { .. } => 2,
        Entry::Late { .. }
        | Entry::AllReady
        | Entry::AllSubscribed
        | Entry::NodeStarted { .. }
        | Entry::NodeEnded { .. }
        | Entry::FaultBegan { .. }
        | Entry::FaultEnded { .. }
        | Entry::PhaseBegan { .. } => 3,
        Entry::Scraped { .. } => 4,
        Entry::Connected { .. }
        | Entry::Disconnected { .. }
        | Entry::GaveUp { .. }
        | Entry::Subscribed { .. }
        | Entry::SubscribeFailed { .. }
        | Entry::Unsubscribed { .. }
        | Entry::Received { .. }
        | Entry::CameBack { .. }
        | Entry::LetIn { .. }
        | Entry::SentAway { .. }
        | Entry::LastVisits
        | Entry::Broken { .. } => 1,
    }
}

/// Takes down what happens.
pub struct Journal {
    begun: Instant,
    files: Mutex<Vec<BufWriter<File>>>,
}

impl Journal {
    /// Begins the journal of a run in this directory.
    pub fn begin(directory: &Path, manifest: &Manifest) -> anyhow::Result<Self> {
        fs::create_dir_all(directory)?;
        fs::write(directory.join("manifest.json"), serde_json::to_vec_pretty(manifest)?)?;
        let files: io::Result<Vec<_>> =
            FILES.iter().map(|name| File::create(path(directory, name)).map(BufWriter::new)).collect();
        Ok(Self { begun: Instant::now(), files: Mutex::new(files?) })
    }

    /// Takes one entry down, with the time of now.
    pub fn write(&self, entry: Entry) {
        let mut files = self.files.lock().expect("nobody panics while writing");
        let file = &mut files[file_of(&entry)];
        let at = u64::try_from(self.begun.elapsed().as_micros()).unwrap_or(u64::MAX);
        let line = Line { at, entry };
        serde_json::to_writer(&mut *file, &line).expect("the journal can be written");
        file.write_all(b"\n").expect("the journal can be written");
    }

    /// Brings everything to the disk.
    pub fn flush(&self) -> io::Result<()> {
        self.files.lock().expect("nobody panics while writing").iter_mut().try_for_each(Write::flush)
    }
}

fn path(directory: &Path, name: &str) -> PathBuf {
    directory.join(format!("{name}.jsonl"))
}

/// Reads a run back: what it was meant to be, and everything that happened in its order.
pub fn read(directory: &Path) -> anyhow::Result<(Manifest, Vec<Line>)> {
    let manifest = serde_json::from_slice(&fs::read(directory.join("manifest.json"))?)?;
    let mut lines = Vec::new();
    for name in FILES {
        for line in fs::read_to_string(path(directory, name))?.lines() {
            lines.push(serde_json::from_str(line)?);
        }
    }
    // Stable: lines of one file keep their order.
    lines.sort_by_key(|line: &Line| line.at);
    Ok((manifest, lines))
}
