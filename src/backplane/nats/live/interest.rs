//! The subscriptions of one connection, which outlive it.

use std::collections::{HashMap, VecDeque};
use std::fmt::Write as _;

use bytes::BytesMut;
use foldhash::fast::RandomState;
use tokio::sync::oneshot;

use super::Sid;
use super::commands::Answer;

#[derive(Default)]
pub(super) struct Interest {
    entries: HashMap<Sid, Entry, RandomState>,
    /// Those that were taken back, in the order in which they are asked for again; some may be over.
    taken_back: VecDeque<Sid>,
    /// How many of them are not over.
    lost: usize,
}

struct Entry {
    subject: Box<str>,
    standing: Standing,
}

/// What the server says of a subscription.
enum Standing {
    /// Nothing yet, and somebody waits for it.
    Asked(oneshot::Sender<Answer>),
    Taken,
    /// It had taken it, and does not any more.
    TakenBack,
}

impl Interest {
    /// Remembers a subscription and writes it.
    pub(super) fn add(
        &mut self,
        sid: Sid,
        subject: Box<str>,
        waiting: oneshot::Sender<Answer>,
        output: Option<&mut BytesMut>,
    ) {
        if let Some(output) = output {
            write_sub(output, sid, &subject);
        }
        self.entries.insert(sid, Entry { subject, standing: Standing::Asked(waiting) });
    }

    /// Forgets a subscription; whether there was one.
    pub(super) fn remove(&mut self, sid: Sid) -> bool {
        let removed = self.entries.remove(&sid);
        let was_lost = removed.as_ref().is_some_and(|entry| matches!(entry.standing, Standing::TakenBack));
        self.lost -= usize::from(was_lost);
        removed.is_some()
    }

    /// Writes every subscription; those of which the answer is to be told.
    pub(super) fn write_all(&self, output: &mut BytesMut) -> Vec<Sid> {
        output.reserve(self.entries.values().map(|entry| entry.subject.len() + 18).sum());
        let mut asked = Vec::new();
        for (&sid, entry) in &self.entries {
            write_sub(output, sid, &entry.subject);
            match entry.standing {
                Standing::Asked(_) | Standing::TakenBack => asked.push(sid),
                Standing::Taken => {}
            }
        }
        asked
    }

    /// Writes at most so many of those that were taken back, others each time; which they are.
    pub(super) fn write_taken_back(&mut self, most: usize, output: &mut BytesMut) -> Vec<Sid> {
        let mut asked = Vec::new();
        for _ in 0..self.taken_back.len() {
            if asked.len() == most {
                break;
            }
            let Some(sid) = self.taken_back.pop_front() else { break };
            let entry = self.entries.get(&sid).filter(|entry| matches!(entry.standing, Standing::TakenBack));
            let Some(entry) = entry else { continue };
            write_sub(output, sid, &entry.subject);
            asked.push(sid);
        }
        self.taken_back.extend(&asked);
        asked
    }

    /// How many the server has taken back.
    pub(super) const fn lost(&self) -> usize {
        self.lost
    }

    pub(super) fn subject(&self, sid: Sid) -> Option<&str> {
        self.entries.get(&sid).map(|entry| &*entry.subject)
    }

    /// The server took it; whether it had taken it back before.
    pub(super) fn accepted(&mut self, sid: Sid) -> bool {
        let Some(entry) = self.entries.get_mut(&sid) else { return false };
        match std::mem::replace(&mut entry.standing, Standing::Taken) {
            Standing::Asked(waiting) => {
                let _ = waiting.send(Ok(()));
                false
            }
            Standing::Taken => false,
            Standing::TakenBack => {
                self.lost -= 1;
                true
            }
        }
    }

    /// The server did not take it: it is forgotten, and whoever waits is told; unless it was taken before.
    pub(super) fn refused(&mut self, sid: Sid, why: &str) {
        if !self.entries.get(&sid).is_some_and(|entry| matches!(entry.standing, Standing::Asked(_))) {
            return;
        }
        if let Some(Entry { standing: Standing::Asked(waiting), .. }) = self.entries.remove(&sid) {
            let _ = waiting.send(Err(why.to_owned()));
        }
    }

    /// Notes that the server has taken back those to subjects that `is_meant` picks.
    pub(super) fn take_back(&mut self, is_meant: impl Fn(&str) -> bool) -> Vec<Sid> {
        let meant = |entry: &Entry| matches!(entry.standing, Standing::Taken) && is_meant(&entry.subject);
        let meant = self.entries.iter_mut().filter(|(_, entry)| meant(entry));
        let sids: Vec<Sid> = meant
            .map(|(&sid, entry)| {
                entry.standing = Standing::TakenBack;
                sid
            })
            .collect();
        self.lost += sids.len();
        self.taken_back.extend(&sids);
        sids
    }
}

fn write_sub(output: &mut BytesMut, sid: Sid, subject: &str) {
    write!(output, "SUB {subject} {sid}\r\n").expect("memory takes every byte");
}
