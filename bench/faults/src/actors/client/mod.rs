//! A client as an official SDK is one: it reconnects with backoff, to any node, says where it stood, subscribes again
//! when it is told to, gives up only on codes that are final, and calls a server that has not pinged for too long dead.

mod session;
mod subscription;

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use tokio::sync::watch;
use tokio::time::sleep;

use crate::journal::{Entry, Journal, ORDERED};
use crate::plan::Listener;

use session::{End, Session};
use subscription::Subscription;

/// What a client is told from outside.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Control {
    /// It does not read.
    pub slow: bool,
    pub publishing: bool,
    /// It goes away.
    pub gone: bool,
}

/// How a client is, for whoever waits for it.
#[derive(Debug, Clone, Default)]
pub struct Status {
    pub uuid: Option<String>,
    pub subscribed: BTreeSet<String>,
    /// Channels whose barrier has come.
    pub barriers: BTreeSet<String>,
    pub gave_up: bool,
    /// How often it was ordered away.
    pub ordered: u64,
    /// How often it was put out of the lounge.
    pub put_out: u64,
}

/// One client, over all of its connections.
pub struct Client {
    name: String,
    /// Each node by its name, at the end of the link that leads there.
    nodes: Vec<(String, SocketAddr)>,
    /// Without one it is anonymous.
    token: Option<String>,
    /// The tag of the publications that it asks for, where it may.
    half: Option<String>,
    subscriptions: Vec<Subscription>,
    publishes: Option<String>,
    published: u64,
    pace: Duration,
    control: watch::Receiver<Control>,
    status: Arc<Mutex<Status>>,
    journal: Arc<Journal>,
    rng: ChaCha8Rng,
}

impl Client {
    pub fn new(
        listener: &Listener,
        token: Option<String>,
        nodes: Vec<(String, SocketAddr)>,
        pace: Duration,
        control: watch::Receiver<Control>,
        journal: Arc<Journal>,
        seed: u64,
    ) -> Self {
        Self {
            name: listener.name.clone(),
            nodes,
            token,
            half: listener.half.clone(),
            subscriptions: listener.channels.iter().map(|channel| Subscription::new(channel)).collect(),
            publishes: listener.publishes.clone(),
            published: 0,
            pace,
            control,
            status: Arc::default(),
            journal,
            rng: ChaCha8Rng::seed_from_u64(seed),
        }
    }

    pub fn status(&self) -> Arc<Mutex<Status>> {
        Arc::clone(&self.status)
    }

    /// Lives until it is told to go, or gives up.
    pub async fn run(mut self) {
        let mut attempt = 0;
        let mut node = self.rng.random_range(0..self.nodes.len());
        loop {
            let end = match Session::open(&mut self, node).await {
                Ok(session) => {
                    attempt = 0;
                    session.run().await
                }
                Err(end) => end,
            };
            self.note(&end);
            match end {
                End::Gone => return,
                End::Final { code, reason } => {
                    let reason = format!("{code} {reason}");
                    self.journal.write(Entry::GaveUp { client: self.name.clone(), reason });
                    self.change(|status| status.gave_up = true);
                    return;
                }
                End::Lost { .. } => {}
            }
            // As behind a load balancer: any node, not the one before.
            node = (node + self.rng.random_range(1..self.nodes.len())) % self.nodes.len();
            let pause = backoff(&mut self.rng, attempt);
            attempt += 1;
            let gone = self.control.wait_for(|control| control.gone);
            tokio::select! {
                () = sleep(pause) => {}
                _ = gone => return,
            }
        }
    }

    fn note(&mut self, end: &End) {
        let was_connected = self.status.lock().expect("no panic").uuid.is_some();
        self.change(|status| {
            status.uuid = None;
            status.subscribed.clear();
        });
        for subscription in &mut self.subscriptions {
            subscription.connection_lost();
        }
        let (code, reason) = match end {
            End::Gone => (0, "goes away".to_owned()),
            End::Lost { code, reason } | End::Final { code, reason } => (*code, reason.clone()),
        };
        if was_connected {
            self.change(|status| status.ordered += u64::from(code == ORDERED));
            self.journal.write(Entry::Disconnected { client: self.name.clone(), code, reason });
        }
    }

    fn change(&self, change: impl FnOnce(&mut Status)) {
        change(&mut self.status.lock().expect("nobody panics while changing a status"));
    }
}

/// Full jitter, as the SDKs have it; theirs goes up to 20 s, which would only make runs longer.
pub(super) fn backoff(rng: &mut ChaCha8Rng, attempt: u32) -> Duration {
    const LEAST: u64 = 100;
    const MOST: u64 = 3_000;
    let longest = (LEAST << attempt.min(10)).min(MOST);
    Duration::from_millis((LEAST + rng.random_range(0..=longest)).min(MOST))
}
