//! Somebody whose tokens are taken back, one after another: who then still comes in with one of them, or stays, is found.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use futures_util::{SinkExt, StreamExt};
use rand::seq::SliceRandom;
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use serde_json::{Value, json};
use tokio::net::TcpStream;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::{WebSocketStream, client_async};

use super::Backend;
use crate::journal::{Entry, Journal};

/// How long handshake and connect reply may take together.
const OPEN: Duration = Duration::from_secs(5);
/// Without a word from the node for so long a connection is over: pings come every four seconds.
const SILENCE: Duration = Duration::from_secs(12);
/// Once a token was taken back, how often it is tried at every node, and how long after the time before.
const TRIES: usize = 3;
const PAUSE: Duration = Duration::from_millis(700);
/// How long its connections may take to end with everything healed.
const LAST: Duration = Duration::from_secs(30);

type Socket = WebSocketStream<TcpStream>;

/// A user and a token of it.
#[derive(Clone)]
pub struct Pass {
    pub user: String,
    pub token: String,
}

pub struct Guest {
    /// Tokens that were not taken back yet, and those that were.
    pub fresh: Vec<Pass>,
    pub revoked: Vec<Pass>,
    pub nodes: Vec<SocketAddr>,
    pub backend: Backend,
    pub journal: Arc<Journal>,
    pub rng: ChaCha8Rng,
    /// Its connections, until each is over.
    pub held: JoinSet<()>,
    pub came: u64,
}

impl Guest {
    pub fn new(fresh: Vec<Pass>, nodes: Vec<SocketAddr>, backend: Backend, journal: Arc<Journal>, seed: u64) -> Self {
        let (rng, held) = (ChaCha8Rng::seed_from_u64(seed), JoinSet::new());
        Self { fresh, revoked: Vec::new(), nodes, backend, journal, rng, held, came: 0 }
    }

    /// Until it is told to stop, or has no token left but those for the end.
    pub async fn run(mut self, mut working: watch::Receiver<bool>) -> Self {
        while *working.borrow_and_update() && self.fresh.len() > self.nodes.len() {
            let node = self.rng.random_range(0..self.nodes.len());
            self.come_and_go(node).await;
            let pause = Duration::from_millis(self.rng.random_range(200..2_000));
            let _ = timeout(pause, working.changed()).await;
        }
        self
    }

    /// With everything healed: once at each node, then with every token that was ever taken back at every node; and waits
    /// until nobody is left.
    pub async fn come_a_last_time(mut self) {
        self.journal.write(Entry::LastVisits);
        for node in 0..self.nodes.len() {
            self.come_and_go(node).await;
        }
        self.revoked.shuffle(&mut self.rng);
        for pass in self.revoked.clone() {
            self.try_everywhere(&pass).await;
        }
        let _ = timeout(LAST, async { while self.held.join_next().await.is_some() {} }).await;
    }

    /// Comes with a fresh token, has it taken back, and tries it again.
    async fn come_and_go(&mut self, node: usize) {
        let Some(pass) = self.fresh.pop() else { return };
        self.come(&pass, node).await;
        sleep(Duration::from_millis(self.rng.random_range(100..1_500))).await;
        if !self.backend.invalidate(&mut self.rng, &pass.user).await {
            return;
        }
        self.journal.write(Entry::Revoked { user: pass.user.clone() });
        for _ in 0..TRIES {
            sleep(PAUSE).await;
            self.try_everywhere(&pass).await;
        }
        self.revoked.push(pass);
    }

    async fn try_everywhere(&mut self, pass: &Pass) {
        for node in 0..self.nodes.len() {
            self.come(pass, node).await;
        }
    }

    /// Tries to come in; whoever is let in stays until the node ends it.
    async fn come(&mut self, pass: &Pass, node: usize) {
        let Ok(Some(socket)) = timeout(OPEN, open(self.nodes[node], &pass.token)).await else { return };
        let connection = self.came;
        self.came += 1;
        let (user, node) = (pass.user.clone(), format!("node-{node}"));
        self.journal.write(Entry::LetIn { user, node, connection });
        let journal = Arc::clone(&self.journal);
        self.held.spawn(async move {
            let code = stay(socket).await;
            journal.write(Entry::SentAway { connection, code });
        });
    }
}

/// A connection on which connect was accepted.
async fn open(address: SocketAddr, token: &str) -> Option<Socket> {
    let stream = TcpStream::connect(address).await.ok()?;
    let (mut socket, _) = client_async(format!("ws://{address}/connection/websocket"), stream).await.ok()?;
    let hello = json!({"id": 1, "connect": {"name": "guest", "token": token}});
    socket.send(Message::text(hello.to_string())).await.ok()?;
    loop {
        match socket.next().await?.ok()? {
            Message::Text(text) => {
                let reply: Value = serde_json::from_str(text.lines().next()?).ok()?;
                return reply["connect"].is_object().then_some(socket);
            }
            Message::Close(_) => return None,
            _ => {}
        }
    }
}

/// Answers pings until the connection is over, and says with which code.
async fn stay(mut socket: Socket) -> u32 {
    loop {
        match timeout(SILENCE, socket.next()).await {
            Ok(Some(Ok(Message::Close(frame)))) => return frame.map_or(0, |frame| u16::from(frame.code).into()),
            Ok(Some(Ok(Message::Text(text)))) if text.lines().any(|line| line == "{}") => {
                if socket.send(Message::text("{}")).await.is_err() {
                    return 0;
                }
            }
            Ok(Some(Ok(_))) => {}
            Ok(Some(Err(_)) | None) | Err(_) => return 0,
        }
    }
}
