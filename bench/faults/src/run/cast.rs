//! Everybody who takes part in a run, and what is asked of all of them.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;
use serde_json::json;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep};

use crate::actors::{Backend, Client, Control, Guest, Operator, Pass, Publisher, Sdk, Status};
use crate::journal::{Journal, Order, Via};
use crate::plan::{CALM_SECONDS, EMITTED, Listener, NODES, Party, Promise, SERVERS, Scene};
use crate::world::World;

struct Actor {
    control: watch::Sender<Control>,
    sees: Sees,
    running: JoinHandle<()>,
}

/// What a client is in, and how it is.
#[derive(Clone)]
struct Sees {
    status: Arc<Mutex<Status>>,
    channels: Vec<String>,
}

/// Clients and publishers.
pub struct Cast {
    clients: Vec<Actor>,
    /// Processes of clients of official libraries.
    others: Vec<Sdk>,
    /// Of clients of all kinds.
    all: Vec<Sees>,
    publishing: watch::Sender<bool>,
    publishers: Vec<JoinHandle<()>>,
    guest: Option<Guest>,
    visiting: Option<JoinHandle<Guest>>,
    backend: Backend,
    scene: Scene,
    journal: Arc<Journal>,
    seed: u64,
}

impl Cast {
    /// Lays the links of everybody, and lets the clients in.
    pub async fn enter(world: &mut World, scene: &Scene, journal: &Arc<Journal>, seed: u64) -> anyhow::Result<Self> {
        let pace = Duration::from_millis(scene.pace_ms * 2);
        let mut clients = Vec::new();
        for (index, listener) in scene.clients.iter().enumerate() {
            let mut nodes = Vec::new();
            for node in 0..NODES {
                let to = world.node_addresses[node];
                let at = world.links.lay(Party::Client(index), Party::Node(node), to).await?;
                nodes.push((format!("node-{node}"), at));
            }
            let (control, controlled) = watch::channel(Control::default());
            let own_seed = seed.wrapping_mul(1_000_003).wrapping_add(index as u64);
            let client = Client::new(
                listener,
                token_of(world, listener).await?,
                nodes,
                pace,
                controlled,
                Arc::clone(journal),
                own_seed,
            );
            let status = client.status();
            let running = tokio::spawn(client.run());
            let sees = Sees { status, channels: listener.channels.clone() };
            clients.push(Actor { control, sees, running });
        }
        let (mut nodes, mut servers) = (Vec::new(), Vec::new());
        for node in 0..NODES {
            nodes.push(world.links.lay(Party::Backend, Party::Node(node), world.node_addresses[node]).await?);
        }
        for server in 0..SERVERS {
            servers.push(world.links.lay(Party::Backend, Party::Server(server), world.server_addresses[server]).await?);
        }
        let backend = Backend::new(nodes.clone(), &servers).await?;
        let passes = passes(world, scene).await?;
        let guest = Guest::new(passes, nodes, backend.clone(), Arc::clone(journal), seed);
        let mut all: Vec<Sees> = clients.iter().map(|actor| actor.sees.clone()).collect();
        let mut others = Vec::new();
        for (script, of_it) in [("clients.mjs", &scene.sdk), ("sockets.mjs", &scene.sockets)] {
            if of_it.is_empty() {
                continue;
            }
            let mut listeners = Vec::new();
            for listener in of_it {
                listeners.push((listener.clone(), token_of(world, listener).await?));
            }
            let started = Sdk::start(script, &listeners, &world.node_addresses, journal)?;
            all.extend(of_it.iter().map(|listener| Sees {
                status: Arc::clone(&started.statuses[&listener.name]),
                channels: listener.channels.clone(),
            }));
            others.push(started);
        }
        Ok(Self {
            clients,
            others,
            all,
            publishing: watch::channel(false).0,
            publishers: Vec::new(),
            guest: Some(guest),
            visiting: None,
            backend,
            scene: scene.clone(),
            journal: Arc::clone(journal),
            seed,
        })
    }

    /// Lets everybody publish who does.
    pub fn publish(&mut self) {
        self.publishing.send_replace(true);
        for channel in &self.scene.channels {
            let ways: &[Via] = match Promise::of(channel) {
                _ if channel == EMITTED => &[Via::Emit],
                Some(promise) if promise.recovers() => &[Via::Http, Via::NatsApi, Via::JetStream],
                Some(promise) if promise.is_at_most_once() => &[Via::Http, Via::NatsApi],
                _ => &[],
            };
            for via in ways {
                let publisher = Publisher {
                    name: format!("{channel}-{via:?}"),
                    channel: channel.clone(),
                    via: *via,
                    pace: Duration::from_millis(self.scene.pace_ms),
                    backend: self.backend.clone(),
                    journal: Arc::clone(&self.journal),
                    seed: self.seed.wrapping_add(self.publishers.len() as u64),
                };
                self.publishers.push(tokio::spawn(publisher.run(self.publishing.subscribe())));
            }
        }
        self.publishers.push(tokio::spawn(self.operator().run(self.publishing.subscribe())));
        self.visiting = self.guest.take().map(|guest| tokio::spawn(guest.run(self.publishing.subscribe())));
        self.control_all(|control| control.publishing = true);
    }

    /// Returns once every publication has an outcome.
    pub async fn stop_publishing(&mut self) {
        self.publishing.send_replace(false);
        self.control_all(|control| control.publishing = false);
        for publisher in self.publishers.drain(..) {
            let _ = publisher.await;
        }
        if let Some(visiting) = self.visiting.take() {
            self.guest = visiting.await.ok();
        }
    }

    /// Has tokens taken back with everything healed, and tries all that ever were.
    pub async fn revoke(&mut self) {
        if let Some(guest) = self.guest.take() {
            guest.come_a_last_time().await;
        }
    }

    /// Publishes a last one in every channel, and waits until everybody has it.
    pub async fn barriers(&self, patience: Duration) {
        let mut rng = ChaCha8Rng::seed_from_u64(self.seed);
        let begun = Instant::now();
        let mut round = 0;
        while begun.elapsed() < patience {
            for channel in &self.scene.channels {
                let promise = Promise::of(channel).expect("channels of a scene promise something");
                // Where history is that holds it, and an id to repeat it by, one must do.
                let misses = !promise.holds_all() || channel == EMITTED;
                let again = misses && !self.all_have_barrier(channel);
                if promise.has_presence() || !(round == 0 || again) {
                    continue;
                }
                let id = format!("{channel}-barrier-{round}");
                let data = json!({"id": id, "barrier": true});
                self.backend.publish(&mut rng, &self.journal, Via::Barrier, channel, &id, data).await;
            }
            round += 1;
            let round_ends = Instant::now() + Duration::from_secs(2);
            while Instant::now() < round_ends {
                if self.scene.channels.iter().all(|channel| self.all_have_barrier(channel)) {
                    return;
                }
                sleep(Duration::from_millis(50)).await;
            }
        }
    }

    fn operator(&self) -> Operator {
        let users = self.scene.everybody().filter(|listener| listener.takes_orders());
        Operator {
            users: users.map(|listener| listener.name.clone()).collect(),
            backend: self.backend.clone(),
            journal: Arc::clone(&self.journal),
            seed: self.seed,
        }
    }

    /// Orders it of every user, and waits until all have obeyed and are back.
    pub async fn order_users(&self, order: Order, patience: Duration) {
        let ordered = || -> Vec<u64> {
            let obeyed = |actor: &Sees| {
                let status = actor.status.lock().expect("no panic");
                match order {
                    Order::Disconnect => status.ordered,
                    Order::Unsubscribe => status.put_out,
                }
            };
            self.all.iter().map(obeyed).collect()
        };
        let before = ordered();
        self.operator().order_all(order).await;
        let takes_it: Vec<bool> = self.scene.everybody().map(Listener::takes_orders).collect();
        let all_went = async || {
            let mut counted = before.iter().zip(ordered()).zip(&takes_it);
            counted.all(|((before, now), takes_it)| !takes_it || now > *before)
        };
        super::wait(patience, all_went).await;
        super::wait(patience, async || self.all_subscribed()).await;
    }

    fn all_have_barrier(&self, channel: &String) -> bool {
        Promise::of(channel).is_some_and(Promise::has_presence)
            || self
                .all
                .iter()
                .filter(|actor| actor.channels.contains(channel))
                .all(|actor| actor.status.lock().expect("no panic").barriers.contains(channel))
    }

    /// Whether every client is connected and in all of its channels.
    pub fn all_subscribed(&self) -> bool {
        self.all.iter().all(|actor| {
            let status = actor.status.lock().expect("no panic");
            status.uuid.is_some() && actor.channels.iter().all(|channel| status.subscribed.contains(channel))
        })
    }

    /// Who is in each channel with presence.
    pub fn present(&self) -> BTreeMap<String, BTreeSet<String>> {
        let rooms =
            self.scene.channels.iter().filter(|channel| Promise::of(channel).is_some_and(Promise::has_presence));
        rooms
            .map(|room| {
                let there = self.all.iter().filter_map(|actor| {
                    let status = actor.status.lock().expect("no panic");
                    status.uuid.clone().filter(|_| status.subscribed.contains(room))
                });
                (room.clone(), there.collect())
            })
            .collect()
    }

    pub fn slow(&self, client: usize, slow: bool) {
        self.clients[client].control.send_modify(|control| control.slow = slow);
    }

    pub fn control_all(&self, change: impl Fn(&mut Control)) {
        for actor in &self.clients {
            actor.control.send_modify(&change);
        }
    }

    /// Every client goes away.
    pub async fn leave(&mut self) {
        self.control_all(|control| control.gone = true);
        for actor in &mut self.clients {
            let _ = (&mut actor.running).await;
        }
        for clients in &mut self.others {
            clients.leave().await;
        }
    }
}

async fn token_of(world: &World, listener: &Listener) -> anyhow::Result<Option<String>> {
    let wants = listener.is_user.then_some(&listener.name);
    let Some(user) = wants else { return Ok(None) };
    Ok(Some(world.nodes[0].lock().await.token(user)?))
}

/// Tokens of users who are nobody else: one for every five seconds, and for each node at the end.
async fn passes(world: &World, scene: &Scene) -> anyhow::Result<Vec<Pass>> {
    let node = world.nodes[0].lock().await;
    let users =
        (0..(scene.seconds + CALM_SECONDS).div_ceil(5) as usize + NODES).map(|number| format!("guest-{number}"));
    users.map(|user| Ok(Pass { token: node.token(&user)?, user })).collect()
}

impl Drop for Cast {
    fn drop(&mut self) {
        self.publishers.iter().for_each(JoinHandle::abort);
        self.visiting.iter().for_each(JoinHandle::abort);
        self.clients.iter().for_each(|actor| actor.running.abort());
    }
}
