//! A registry as a JetStream KV bucket. Writes are compared by the stream's leader, reads end at it, and changes come by
//! the bucket's `republish` over the live connection: a watching consumer would be blind for 10 to 17 seconds when its
//! server dies.

use std::fmt::Write as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use async_nats::{HeaderMap, HeaderValue};
use async_trait::async_trait;
use bytes::Bytes;
use serde_json::json;
use tracing::debug;

use super::connection::{API_TIMEOUT, ApiError, Link, Unanswered};
use super::get::{Found, Reader, leader_get};
use super::headers::Envelope;
use super::shared::{Found as Life, SharedStream};
use super::streams::{Plan, StreamError, bucket_name};
use super::subjects::Subjects;
use crate::backplane::registry::{Watchers, check_key};
use crate::backplane::{Bucket, Change, Entry, Guard, Registry, RegistryError, Revision, SubscribeError, Watch};
use crate::settings;
use crate::telemetry::{SharedState, Telemetry};

/// Entries that one read brings.
const PAGE: usize = 500;
/// How long what tells of a deleted key is kept.
const TOMBSTONE_TTL: Duration = Duration::from_secs(3600);

/// One bucket, as this node knows it.
pub struct Shelf {
    pub bucket: Bucket,
    pub stream: SharedStream,
    /// Where its changes are heard, with a token behind it for the key.
    root: String,
    /// Where its keys are stored.
    stored: String,
    link: Link,
    reader: Arc<Reader>,
    watchers: Watchers,
    told: Told,
}

/// Up to where watchers were told of everything, or told that they may have missed something.
#[derive(Debug, Default)]
struct Told {
    up_to: AtomicU64,
    /// Where the bucket ended when it was looked at last.
    end: AtomicU64,
}

impl Told {
    /// Takes note of what is told now; whether something between was not.
    fn tell(&self, revision: u64) -> bool {
        let before = self.up_to.fetch_max(revision, Ordering::Relaxed);
        revision > before + 1
    }

    /// Takes note that the bucket ends at `end` now; whether something before its last end has not been told since.
    fn look(&self, end: u64) -> bool {
        let before = self.end.swap(end, Ordering::Relaxed);
        self.up_to.fetch_max(before, Ordering::Relaxed) < before
    }

    fn up_to(&self) -> u64 {
        self.up_to.load(Ordering::Relaxed)
    }

    /// Everything before `end` was told, as far as it can be.
    fn begin(&self, end: u64) {
        self.up_to.store(end, Ordering::Relaxed);
        self.end.store(end, Ordering::Relaxed);
    }
}

impl Shelf {
    pub fn new(
        options: &settings::Nats,
        bucket: Bucket,
        link: Link,
        reader: Arc<Reader>,
        telemetry: Arc<Telemetry>,
    ) -> Self {
        let root = Subjects::new(&options.prefix).below(&format!("registry.{}.", bucket.name()));
        let stored = format!("$KV.{}.", bucket_name(&options.prefix, bucket.name()));
        let plan = Plan::of_registry(options, bucket.name(), &format!("{root}>"));
        let holds = match bucket {
            Bucket::Nodes => SharedState::Nodes,
            Bucket::Revocations => SharedState::Revocations,
            Bucket::Scaling => SharedState::Scaling,
            Bucket::Sessions => SharedState::Sessions,
        };
        let stream = SharedStream::new(plan, link.clone(), holds, telemetry);
        Self { bucket, stream, root, stored, link, reader, watchers: Watchers::default(), told: Told::default() }
    }

    /// Where its changes are heard.
    pub fn changes(&self) -> String {
        format!("{}>", self.root)
    }

    /// Passes on what the bucket republished. Only its own messages count: anybody who may publish could write there.
    pub fn heard(&self, subject: &[u8], headers: &Bytes, value: Bytes) {
        let envelope = Envelope::of_block(headers);
        let key = std::str::from_utf8(subject).ok().and_then(|subject| decoded(subject.strip_prefix(&*self.root)?));
        let (Some(key), true) = (key, envelope.stream == Some(&*self.stream.plan.name)) else { return };
        if envelope.is_hollow(&value) {
            return self.missed();
        }
        let value = (!envelope.removed).then_some(value);
        let revision = Revision(envelope.sequence());
        self.watchers.tell(&Change::Entry { key, value, revision });
        if self.told.tell(revision.0) {
            self.missed();
        }
    }

    /// Makes the bucket exist. Whoever watches lists it afterwards.
    pub async fn ensure(&self) -> Result<(), StreamError> {
        let told = self.told.up_to();
        let life = self.stream.ensure().await?;
        let end = self.stream.last();
        self.told.begin(end);
        // A store that was rolled back ends before what it told.
        self.tell_of(if told > end { Life::Anew } else { life });
        Ok(())
    }

    /// Looks whether the bucket is there and the same, and whether everything in it was told.
    pub async fn look(&self) -> Result<(), ApiError> {
        self.tell_of(self.stream.look().await?);
        if self.told.look(self.stream.last()) {
            self.missed();
        }
        Ok(())
    }

    fn tell_of(&self, life: Life) {
        match life {
            Life::Same => {}
            Life::PutRight => self.missed(),
            Life::Anew => {
                self.told.begin(self.stream.last());
                self.watchers.tell(&Change::Lost);
            }
        }
    }

    /// Tells that changes may be missing.
    pub fn missed(&self) {
        self.watchers.tell(&Change::Missed);
    }

    pub fn close(&self) {
        self.watchers.close();
    }

    fn subject(&self, key: &str) -> Result<String, RegistryError> {
        check_key(key)?;
        Ok(format!("{}{}", self.stored, encoded(key)))
    }

    /// The newest message of a key, be it a value or what tells that there is none.
    async fn newest(&self, subject: &str) -> Result<Option<Found>, RegistryError> {
        let question = json!({ "last_by_subj": subject });
        match leader_get(&self.link, &self.stream.plan.name, &question).await {
            Err(error) if self.restore_if_gone(&error).await => Ok(None),
            outcome => outcome.map_err(|error| unread(&error)),
        }
    }

    async fn write(
        &self,
        key: &str,
        value: Bytes,
        guard: Guard,
        headers: HeaderMap,
    ) -> Result<Revision, RegistryError> {
        let subject = self.subject(key)?;
        let expected = match guard {
            Guard::Any => None,
            Guard::Absent => Some(0),
            Guard::Revision(revision) => Some(revision.0),
        };
        match self.store(&subject, value.clone(), expected, headers.clone()).await {
            // What tells that the key has no value is a message as well.
            Err(RegistryError::Conflict(_)) if guard == Guard::Absent => match self.newest(&subject).await? {
                Some(found) if found.removed => self.store(&subject, value, Some(found.stored.offset.0), headers).await,
                Some(_) | None => Err(RegistryError::Conflict(String::new())),
            },
            outcome => outcome,
        }
        .map_err(|error| {
            if let RegistryError::Conflict(_) = error { RegistryError::Conflict(key.to_owned()) } else { error }
        })
    }

    async fn store(
        &self,
        subject: &str,
        value: Bytes,
        expected: Option<u64>,
        headers: HeaderMap,
    ) -> Result<Revision, RegistryError> {
        let (link, stream) = (&self.link, &self.stream.plan.name);
        let stored = match expected {
            Some(over) => link.store_over(stream, subject, over, headers, value, API_TIMEOUT).await,
            None => link.store(stream, subject, Some(headers), value, API_TIMEOUT).await.map(Some),
        };
        match stored {
            Ok(Some(ack)) => Ok(Revision(ack.seq)),
            Ok(None) => Err(RegistryError::Conflict(String::new())),
            Err(error) => {
                self.restore_if_gone(&error).await;
                Err(unwritten(&error))
            }
        }
    }

    /// Makes the bucket again if somebody deleted it; whether it did.
    async fn restore_if_gone(&self, error: &ApiError) -> bool {
        let restored = self.stream.restored_after(error).await;
        restored.into_iter().for_each(|life| self.tell_of(life));
        restored.is_some()
    }

    /// Some of what any replica has from `next` on, and whether that may be all. Nothing where none answers.
    async fn page(&self, next: u64) -> (Vec<Found>, bool) {
        let question = json!({ "seq": next, "batch": PAGE, "next_by_subj": format!("{}>", self.stored) });
        match self.reader.batch(&self.stream.plan.name, &question, PAGE).await {
            Ok(batch) => (batch.found, batch.pending == 0),
            Err(error) => {
                debug!(stream = self.stream.plan.name, %error, "no replica answers");
                (Vec::new(), true)
            }
        }
    }
}

#[async_trait]
impl Registry for Shelf {
    async fn get(&self, key: &str) -> Result<Option<Entry>, RegistryError> {
        let found = self.newest(&self.subject(key)?).await?;
        Ok(found.filter(|found| !found.removed).map(|found| Entry {
            key: key.to_owned(),
            value: found.stored.data,
            revision: Revision(found.stored.offset.0),
        }))
    }

    /// Any replica has applied some prefix of what the leader has: that much is read from one in pages, the rest from the
    /// leader one by one, up to where it stood when it was asked.
    async fn list(&self) -> Result<Vec<Entry>, RegistryError> {
        let below = format!("{}>", self.stored);
        let end = self.newest(&below).await?.map_or(0, |found| found.stored.offset.0);
        let mut newest = std::collections::BTreeMap::new();
        let mut next = 1;
        let mut note = |found: Found, next: &mut u64| {
            *next = (*next).max(found.stored.offset.0 + 1);
            let Some(key) = found.subject.strip_prefix(&*self.stored).and_then(decoded) else { return };
            // What was removed is remembered for long by the stream, and by nobody here.
            let _ = if found.removed { newest.remove(&key) } else { newest.insert(key, found) };
        };
        loop {
            let (found, last) = self.page(next).await;
            found.into_iter().for_each(|found| note(found, &mut next));
            if last {
                break;
            }
        }
        while next <= end {
            let question = json!({ "seq": next, "next_by_subj": below });
            match leader_get(&self.link, &self.stream.plan.name, &question).await {
                Ok(Some(found)) => note(found, &mut next),
                Ok(None) => break,
                Err(error) => {
                    self.restore_if_gone(&error).await;
                    return Err(unread(&error));
                }
            }
        }
        let entry = |(key, found): (_, Found)| Entry {
            key,
            value: found.stored.data,
            revision: Revision(found.stored.offset.0),
        };
        Ok(newest.into_iter().map(entry).collect())
    }

    async fn put(
        &self,
        key: &str,
        value: Bytes,
        guard: Guard,
        ttl: Option<Duration>,
    ) -> Result<Revision, RegistryError> {
        let mut headers = HeaderMap::new();
        if let Some(ttl) = ttl {
            headers.insert("Nats-TTL", HeaderValue::from(ttl.as_secs().max(1)));
        }
        self.write(key, value, guard, headers).await
    }

    async fn delete(&self, key: &str, guard: Guard) -> Result<Revision, RegistryError> {
        let mut headers = HeaderMap::new();
        headers.insert("KV-Operation", "DEL");
        headers.insert("Nats-TTL", HeaderValue::from(TOMBSTONE_TTL.as_secs()));
        self.write(key, Bytes::new(), guard, headers).await
    }

    async fn watch(&self) -> Result<Watch, SubscribeError> {
        Ok(self.watchers.open())
    }
}

fn unread(error: &ApiError) -> RegistryError {
    RegistryError::Unavailable(error.to_string())
}

fn unwritten(error: &ApiError) -> RegistryError {
    match error {
        ApiError::Unanswered(Unanswered::Denied(_) | Unanswered::TooLarge { .. })
        | ApiError::Malformed(_)
        | ApiError::Foreign { .. } => RegistryError::Refused(error.to_string()),
        ApiError::Refused(refusal) if !refusal.is_transient() && refusal.code != 500 => {
            RegistryError::Refused(error.to_string())
        }
        ApiError::Unanswered(_) | ApiError::Refused(_) => RegistryError::Unavailable(error.to_string()),
    }
}

/// A key as one token of a subject, valid as the key of a bucket.
fn encoded(key: &str) -> String {
    let mut token = String::with_capacity(key.len());
    for byte in key.bytes() {
        if byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_') {
            token.push(byte as char);
        } else {
            write!(token, "={byte:02X}").expect("writing to a string succeeds");
        }
    }
    token
}

fn decoded(token: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(token.len());
    let mut rest = token.as_bytes();
    while let Some((&byte, behind)) = rest.split_first() {
        rest = behind;
        if byte == b'=' {
            let digits = std::str::from_utf8(rest.get(..2)?).ok()?;
            bytes.push(u8::from_str_radix(digits, 16).ok()?);
            rest = &rest[2..];
        } else {
            bytes.push(byte);
        }
    }
    String::from_utf8(bytes).ok()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn what_was_not_told_is_noticed_by_what_comes_after_it_or_at_the_second_look() {
        let told = Told::default();
        told.begin(7);
        assert!(!told.tell(8));
        assert!(told.tell(10), "9 is missing");
        assert!(!told.tell(9) && !told.tell(11), "late, and next");
        assert!(!told.look(12), "it may be on its way");
        assert!(told.look(12), "12 had its time");
        assert!(!told.look(13) && !told.tell(13) && !told.look(13));
    }

    #[test]
    fn names_of_nodes_are_their_own_keys() {
        assert_eq!(encoded("node-1_a"), "node-1_a");
        assert_eq!(encoded("a.b=c"), "a=2Eb=3Dc");
        assert_eq!(decoded("a=2"), None);
    }

    proptest! {
        #[test]
        fn every_key_comes_back(key in "\\PC{1,40}") {
            let token = encoded(&key);
            prop_assert!(token.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_=".contains(&byte)));
            prop_assert_eq!(decoded(&token), Some(key));
        }
    }
}
