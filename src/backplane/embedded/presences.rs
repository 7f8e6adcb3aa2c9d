//! The records of who is where, in memory.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::hash::Hash;
use std::sync::Arc;
use std::time::{Duration, Instant};

use async_trait::async_trait;
use parking_lot::Mutex;
use tokio::sync::{mpsc, watch};

use super::Embedded;
use crate::backplane::presences::{CHANGES, DEPARTED_FOR};
use crate::backplane::{
    Departed, Doubts, Occupant, PresenceError, Presences, Record, RecordPage, Roll, Source, SubscribeError, Whose, Word,
};
use crate::protocol::Channel;

/// Everybody's last record.
pub(super) struct Records {
    book: Mutex<Book>,
    changes: mpsc::Sender<Record>,
    reader: Mutex<Option<mpsc::Receiver<Record>>>,
    doubts: watch::Sender<Doubts>,
}

#[derive(Default)]
struct Book {
    last: u64,
    by_revision: BTreeMap<u64, Record>,
    by_channel: HashMap<Channel, BTreeSet<u64>>,
    by_node: HashMap<Arc<str>, BTreeSet<u64>>,
    revisions: HashMap<Occupant, u64>,
    departed: BTreeMap<u64, Instant>,
    watched: HashSet<Channel>,
}

impl Default for Records {
    fn default() -> Self {
        let (changes, reader) = mpsc::channel(CHANGES);
        Self {
            book: Mutex::default(),
            changes,
            reader: Mutex::new(Some(reader)),
            doubts: watch::channel(Doubts::default()).0,
        }
    }
}

impl Records {
    /// Forgets departures that everybody had time to read.
    pub(super) fn expire(&self) {
        let mut book = self.book.lock();
        while let Some((&revision, since)) = book.departed.first_key_value()
            && since.elapsed() > DEPARTED_FOR
        {
            if let Some(record) = book.strike(revision) {
                book.revisions.remove(&record.occupant);
            }
        }
    }
}

impl Book {
    fn write(&mut self, occupant: &Occupant, word: Word) -> Record {
        self.last += 1;
        let (info, departed) = match word {
            Word::Here(info) => (Some(info), None),
            Word::Left(info) => (None, info.map(|info| Departed { info, ago: Duration::ZERO })),
        };
        let record = Record { occupant: occupant.clone(), info, departed, revision: self.last };
        if let Some(before) = self.revisions.insert(occupant.clone(), self.last) {
            self.strike(before);
        }
        self.by_channel.entry(occupant.channel.clone()).or_default().insert(self.last);
        self.by_node.entry(Arc::clone(&occupant.node)).or_default().insert(self.last);
        if record.info.is_none() {
            self.departed.insert(self.last, Instant::now());
        }
        self.by_revision.insert(self.last, record.clone());
        record
    }

    fn strike(&mut self, revision: u64) -> Option<Record> {
        self.departed.remove(&revision);
        let record = self.by_revision.remove(&revision)?;
        strike(&mut self.by_channel, &record.occupant.channel, revision);
        strike(&mut self.by_node, &record.occupant.node, revision);
        Some(record)
    }

    /// A record as it is read now.
    fn read(&self, revision: u64) -> Option<Record> {
        let mut record = self.by_revision.get(&revision)?.clone();
        if let (Some(departed), Some(since)) = (&mut record.departed, self.departed.get(&revision)) {
            departed.ago = since.elapsed();
        }
        Some(record)
    }

    /// The revisions of `whose` records from one on, ascending.
    fn revisions(&self, whose: Whose<'_>, from: u64) -> Box<dyn DoubleEndedIterator<Item = u64> + Send + '_> {
        let index = match whose {
            Whose::Everybody => return Box::new(self.by_revision.range(from..).map(|(revision, _)| *revision)),
            Whose::Channel(channel) => self.by_channel.get(channel),
            Whose::Node(node) => self.by_node.get(node),
        };
        Box::new(index.into_iter().flat_map(move |index| index.range(from..)).copied())
    }
}

fn strike<K: Hash + Eq>(index: &mut HashMap<K, BTreeSet<u64>>, key: &K, revision: u64) {
    if let Some(revisions) = index.get_mut(key) {
        revisions.remove(&revision);
        if revisions.is_empty() {
            index.remove(key);
        }
    }
}

#[async_trait]
impl Presences for Embedded {
    async fn record(&self, occupant: &Occupant, word: Word) -> Result<u64, PresenceError> {
        let mut book = self.records.book.lock();
        let record = book.write(occupant, word);
        let revision = record.revision;
        // Under the lock: changes leave in the order of their revisions.
        if book.watched.contains(&occupant.channel) && self.records.changes.try_send(record).is_err() {
            self.records.doubts.send_modify(|doubts| doubts.changes += 1);
        }
        Ok(revision)
    }

    async fn page(
        &self,
        whose: Whose<'_>,
        from: u64,
        limit: usize,
        _source: Source,
    ) -> Result<RecordPage, PresenceError> {
        let book = self.records.book.lock();
        let mut revisions = book.revisions(whose, from);
        let records: Vec<Record> = revisions.by_ref().take(limit).filter_map(|revision| book.read(revision)).collect();
        let next = records.last().map_or(from, |record| record.revision + 1);
        Ok(RecordPage { records, next, more: revisions.next().is_some() })
    }

    async fn newest(&self, whose: Whose<'_>) -> Result<u64, PresenceError> {
        Ok(self.records.book.lock().revisions(whose, 0).next_back().unwrap_or(0))
    }

    async fn roll(&self) -> Result<Roll, PresenceError> {
        Ok(Roll { identity: "embedded".into(), last: self.records.book.lock().last })
    }

    async fn watch(&self, channel: &Channel) -> Result<(), SubscribeError> {
        self.records.book.lock().watched.insert(channel.clone());
        Ok(())
    }

    fn unwatch(&self, channel: &Channel) {
        self.records.book.lock().watched.remove(channel);
    }

    fn changes(&self) -> Option<mpsc::Receiver<Record>> {
        self.records.reader.lock().take()
    }

    fn doubts(&self) -> watch::Receiver<Doubts> {
        self.records.doubts.subscribe()
    }
}
