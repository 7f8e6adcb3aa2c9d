//! The records of who is where, in memory.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::time::Instant;

use async_trait::async_trait;
use bytes::Bytes;
use parking_lot::Mutex;
use tokio::sync::{mpsc, watch};

use super::Embedded;
use crate::backplane::presences::DEPARTED_FOR;
use crate::backplane::{Occupant, PresenceError, Presences, Record, RecordPage, Roll, SubscribeError, Whose};
use crate::protocol::Channel;

/// Changes that wait for whoever reads them; beyond it they are in doubt.
const CHANGES: usize = 4096;

/// Everybody's last record.
pub(super) struct Records {
    book: Mutex<Book>,
    changes: mpsc::Sender<Record>,
    reader: Mutex<Option<mpsc::Receiver<Record>>>,
    doubts: watch::Sender<u64>,
}

#[derive(Default)]
struct Book {
    last: u64,
    by_revision: BTreeMap<u64, Record>,
    revisions: HashMap<Occupant, u64>,
    departed: BTreeMap<u64, Instant>,
    watched: HashSet<Channel>,
}

impl Default for Records {
    fn default() -> Self {
        let (changes, reader) = mpsc::channel(CHANGES);
        Self { book: Mutex::default(), changes, reader: Mutex::new(Some(reader)), doubts: watch::channel(0).0 }
    }
}

impl Records {
    /// Forgets departures that everybody had time to read.
    pub(super) fn expire(&self) {
        let mut book = self.book.lock();
        while let Some((&revision, since)) = book.departed.first_key_value()
            && since.elapsed() > DEPARTED_FOR
        {
            book.departed.remove(&revision);
            if let Some(record) = book.by_revision.remove(&revision) {
                book.revisions.remove(&record.occupant);
            }
        }
    }
}

impl Book {
    fn write(&mut self, occupant: &Occupant, info: Option<Bytes>) -> Record {
        self.last += 1;
        let record = Record { occupant: occupant.clone(), info, revision: self.last };
        if let Some(before) = self.revisions.insert(occupant.clone(), self.last) {
            self.by_revision.remove(&before);
            self.departed.remove(&before);
        }
        if record.info.is_none() {
            self.departed.insert(self.last, Instant::now());
        }
        self.by_revision.insert(self.last, record.clone());
        record
    }
}

fn concerns(record: &Record, whose: Whose<'_>) -> bool {
    match whose {
        Whose::Everybody => true,
        Whose::Channel(channel) => record.occupant.channel == *channel,
        Whose::Node(node) => *record.occupant.node == *node,
    }
}

#[async_trait]
impl Presences for Embedded {
    async fn record(&self, occupant: &Occupant, info: Option<Bytes>) -> Result<u64, PresenceError> {
        let mut book = self.records.book.lock();
        let record = book.write(occupant, info);
        let revision = record.revision;
        // Under the lock: changes leave in the order of their revisions.
        if book.watched.contains(&occupant.channel) && self.records.changes.try_send(record).is_err() {
            self.records.doubts.send_modify(|doubts| *doubts += 1);
        }
        Ok(revision)
    }

    async fn page(&self, whose: Whose<'_>, from: u64, limit: usize) -> Result<RecordPage, PresenceError> {
        let book = self.records.book.lock();
        let mut found = book.by_revision.range(from..).map(|(_, record)| record).filter(|it| concerns(it, whose));
        let records = found.by_ref().take(limit).cloned().collect();
        Ok(RecordPage { records, more: found.next().is_some() })
    }

    async fn newest(&self, whose: Whose<'_>) -> Result<u64, PresenceError> {
        let book = self.records.book.lock();
        let newest = book.by_revision.values().rev().find(|record| concerns(record, whose));
        Ok(newest.map_or(0, |record| record.revision))
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

    fn doubts(&self) -> watch::Receiver<u64> {
        self.records.doubts.subscribe()
    }
}
