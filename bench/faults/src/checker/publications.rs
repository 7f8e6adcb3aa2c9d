//! What was published, and what came of it.

use std::collections::HashMap;

use crate::journal::{Entry, Line, Via};
use crate::plan::half;

/// One publication.
#[derive(Debug, Clone)]
pub struct Publication {
    pub channel: String,
    pub via: Via,
    pub began: u64,
    pub outcome: Outcome,
}

#[derive(Debug, Clone, PartialEq)]
pub enum Outcome {
    Acked { at: u64, offset: Option<u64>, epoch: Option<String> },
    Unknown,
    Refused,
}

/// All of them, by id.
#[derive(Debug, Default)]
pub struct Publications(pub HashMap<String, Publication>);

impl Publications {
    /// Whether a publication has the tag of this half; clients' own have none.
    pub fn is_of(&self, id: &str, wanted: &str) -> bool {
        half(id) == wanted && self.0.get(id).is_none_or(|publication| publication.via != Via::Client)
    }

    pub fn gather(lines: &[Line]) -> Self {
        let mut all: HashMap<String, Publication> = HashMap::new();
        for line in lines {
            let (id, outcome) = match &line.entry {
                Entry::PublishBegan { id, channel, via } => {
                    let (channel, via) = (channel.clone(), *via);
                    // Until its end is known nobody can say.
                    let outcome = Outcome::Unknown;
                    all.insert(id.clone(), Publication { channel, via, began: line.at, outcome });
                    continue;
                }
                Entry::PublishAcked { id, offset, epoch } => {
                    (id, Outcome::Acked { at: line.at, offset: *offset, epoch: epoch.clone() })
                }
                Entry::PublishRefused { id, .. } => (id, Outcome::Refused),
                _ => continue,
            };
            if let Some(publication) = all.get_mut(id) {
                publication.outcome = outcome;
            }
        }
        Self(all)
    }
}
