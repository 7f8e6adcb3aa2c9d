//! The subscriptions of one connection, which outlive it.

use std::collections::HashMap;
use std::fmt::Write as _;

use bytes::BytesMut;
use foldhash::fast::RandomState;
use tokio::sync::oneshot;

use super::Sid;
use super::commands::Answer;

#[derive(Default)]
pub(super) struct Interest(HashMap<Sid, Entry, RandomState>);

struct Entry {
    subject: Box<str>,
    /// Who waits for the server's answer; nobody once it is there.
    waiting: Option<oneshot::Sender<Answer>>,
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
        self.0.insert(sid, Entry { subject, waiting: Some(waiting) });
    }

    /// Forgets a subscription; whether there was one.
    pub(super) fn remove(&mut self, sid: Sid) -> bool {
        self.0.remove(&sid).is_some()
    }

    /// Writes every subscription; those that somebody waits for.
    pub(super) fn write_all(&self, output: &mut BytesMut) -> Vec<Sid> {
        output.reserve(self.0.values().map(|entry| entry.subject.len() + 18).sum());
        let mut waiting = Vec::new();
        for (&sid, entry) in &self.0 {
            write_sub(output, sid, &entry.subject);
            if entry.waiting.is_some() {
                waiting.push(sid);
            }
        }
        waiting
    }

    pub(super) fn subject(&self, sid: Sid) -> Option<&str> {
        self.0.get(&sid).map(|entry| &*entry.subject)
    }

    /// The server took it.
    pub(super) fn accepted(&mut self, sid: Sid) {
        if let Some(waiting) = self.0.get_mut(&sid).and_then(|entry| entry.waiting.take()) {
            let _ = waiting.send(Ok(()));
        }
    }

    /// The server did not take it: it is forgotten, and whoever waits is told.
    pub(super) fn refused(&mut self, sid: Sid, why: &str) {
        if let Some(waiting) = self.0.remove(&sid).and_then(|entry| entry.waiting) {
            let _ = waiting.send(Err(why.to_owned()));
        }
    }

    /// Subscriptions that the server had taken, to one of the subjects that `is_meant` picks.
    pub(super) fn established(&self, is_meant: impl Fn(&str) -> bool) -> Vec<Sid> {
        self.0
            .iter()
            .filter(|(_, entry)| entry.waiting.is_none() && is_meant(&entry.subject))
            .map(|(&sid, _)| sid)
            .collect()
    }
}

fn write_sub(output: &mut BytesMut, sid: Sid, subject: &str) {
    write!(output, "SUB {subject} {sid}\r\n").expect("memory takes every byte");
}
