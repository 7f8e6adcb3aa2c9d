//! Many channels with presence and a member in each: how soon another node sees them, what it costs to keep them, and how
//! soon all are gone when the members' node dies.

use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use hdrhistogram::Histogram;
use serde_json::{Value, json};

use crate::node::{self, Programs, Server};
use crate::report::{self, Spread};
use crate::swarm::{GroupId, Hello, Swarm};

/// Channels, spread evenly over all, in which somebody at the other node is told of joins and leaves; and as many others
/// that it is asked about.
const SAMPLE: usize = 1_000;
/// Of the former, how many one listener is in.
const EACH_EAR: usize = 100;
/// Clients that connect before it is waited for them.
const STEP: usize = 500;
const PATIENCE: Duration = Duration::from_secs(120);
/// How long nothing more may be told once all is.
const QUIET: Duration = Duration::from_secs(5);

/// What one cluster came to, by what is measured.
type Outcome = Vec<(&'static str, f64)>;

pub fn run(programs: &Programs, clients: usize, channels: usize, rounds: usize) -> anyhow::Result<()> {
    let rooms = Rooms::new(clients, channels)?;
    let mut outcomes: Vec<Outcome> = Vec::new();
    // A death takes a cluster of its own.
    for _ in 0..rounds.clamp(1, 3) {
        outcomes.push(one(programs, &rooms)?);
    }
    let title =
        format!("presence: {channels} channels with a member in each, {clients} clients, seen from another node");
    report::table(&title, &["what", "least / median / greatest"]);
    for (index, (what, _)) in outcomes[0].iter().enumerate() {
        let values: Vec<f64> = outcomes.iter().map(|outcome| outcome[index].1).collect();
        report::row(&[(*what).to_owned(), Spread::of(&values).to_string()]);
    }
    println!();
    Ok(())
}

/// Which client is in which channel: the listeners come first, then the members, each in its share.
#[derive(Clone, Copy)]
struct Rooms {
    channels: usize,
    clients: usize,
    each: usize,
    ears: usize,
}

impl Rooms {
    fn new(clients: usize, channels: usize) -> anyhow::Result<Self> {
        ensure!(
            clients > 0 && channels.is_multiple_of(clients),
            "{channels} channels are not the same for each of {clients} clients"
        );
        ensure!(
            channels.is_multiple_of(SAMPLE) && channels / SAMPLE > 1,
            "channels: not a multiple of {SAMPLE}, and more"
        );
        Ok(Self { channels, clients, each: channels / clients, ears: SAMPLE / EACH_EAR })
    }

    fn name(number: usize) -> String {
        format!("room:h.{number}")
    }

    /// Channels with a listener.
    fn heard(self) -> impl Iterator<Item = usize> {
        (0..self.channels).step_by(self.channels / SAMPLE)
    }

    /// Channels that are asked about.
    fn asked(self) -> impl Iterator<Item = usize> {
        self.heard().map(move |number| number + self.channels / SAMPLE - 1)
    }

    fn member(self, number: usize) -> String {
        format!("user-{}", self.ears + number / self.each)
    }

    /// What each listener subscribes to.
    fn wishes(self) -> Vec<Vec<Value>> {
        let wish = |number: &usize| json!({ "channel": Self::name(*number), "join_leave": true });
        let heard: Vec<usize> = self.heard().collect();
        heard.chunks(EACH_EAR).map(|share| share.iter().map(wish).collect()).collect()
    }
}

fn one(programs: &Programs, rooms: &Rooms) -> anyhow::Result<Outcome> {
    let rooms = *rooms;
    let nats = node::nats_server(programs)?;
    let mut near = node::midplane(programs, "near", node::NO_PINGS, Some(nats.address))?;
    let far = node::midplane(programs, "far", node::NO_PINGS, Some(nats.address))?;
    let mut swarm = Swarm::new(Instant::now())?;
    let wishes = rooms.wishes();
    let ears = swarm.group(far.address, Hello::Own(Box::new(move |index| wishes[index].clone())))?;
    swarm.connect(ears, rooms.ears)?;
    let own = move |index: usize| {
        let first = (index - rooms.ears) * rooms.each;
        (first..first + rooms.each).map(|number| json!({ "channel": Rooms::name(number) })).collect()
    };
    let crowd = swarm.group(near.address, Hello::Own(Box::new(own)))?;

    let mut outcome = Outcome::new();
    come(&mut swarm, crowd, &near, &nats, &rooms, &mut outcome)?;
    outcome.push(("memory of the other node with all of them recorded, MB", megabytes(&far)?));
    hear(&mut swarm, ears, 2 * SAMPLE)?;
    outcome.extend(ask(&far, &rooms)?);

    let killed = Instant::now();
    near.process.child().kill().context("kill")?;
    swarm.forget(crowd);
    leave(&mut swarm, ears, &far, killed, &mut outcome)?;
    swarm.idle(QUIET)?;
    check(&swarm.of(ears).told, &rooms)?;
    for number in rooms.asked() {
        ensure!(members(&far, number)?.is_empty(), "somebody is left in {}", Rooms::name(number));
    }
    outcome.push(("memory of the node that is left, MB", megabytes(&far)?));
    outcome.push(("memory of nats-server, MB", megabytes(&nats)?));
    Ok(outcome)
}

/// All members come, and are recorded.
fn come(
    swarm: &mut Swarm,
    crowd: GroupId,
    near: &Server,
    nats: &Server,
    rooms: &Rooms,
    outcome: &mut Outcome,
) -> anyhow::Result<()> {
    let (cpu, nats_cpu) = (near.process.cpu()?, nats.process.cpu()?);
    let (memory, nats_memory) = (near.process.resident()?, nats.process.resident()?);
    let begun = Instant::now();
    while swarm.of(crowd).ready < rooms.clients {
        swarm.connect(crowd, STEP.min(rooms.clients - swarm.of(crowd).ready))?;
    }
    let subscribed = begun.elapsed();
    while node::metric(near.address, "midplane_presence_unrecorded ")? > 0.0 {
        ensure!(begun.elapsed() < PATIENCE, "not all are recorded after {PATIENCE:?}");
        swarm.idle(Duration::from_millis(5))?;
    }
    let each = |total: u64| total as f64 / rooms.channels as f64;
    let micros = |spent: Duration| spent.as_secs_f64() * 1e6 / rooms.channels as f64;
    outcome.push(("all subscribed after, s", subscribed.as_secs_f64()));
    outcome.push(("all recorded after the last one subscribed, s", (begun.elapsed() - subscribed).as_secs_f64()));
    outcome.push(("CPU of their node for each channel, us", micros(near.process.cpu()? - cpu)));
    outcome.push(("CPU of nats-server for each, us", micros(nats.process.cpu()? - nats_cpu)));
    outcome.push(("memory of their node for each, B", each(near.process.resident()?.saturating_sub(memory))));
    outcome.push(("memory of nats-server for each, B", each(nats.process.resident()?.saturating_sub(nats_memory))));
    Ok(())
}

/// The other node knows who is in each channel of the sample.
fn ask(far: &Server, rooms: &Rooms) -> anyhow::Result<Outcome> {
    let mut times: Histogram<u64> = Histogram::new(3)?;
    for number in rooms.asked() {
        let begun = Instant::now();
        let users = members(far, number)?;
        times.record(begun.elapsed().as_micros() as u64)?;
        ensure!(users == [rooms.member(number)], "{users:?} are in {}", Rooms::name(number));
    }
    let at = |quantile| times.value_at_quantile(quantile) as f64 / 1e3;
    Ok(vec![("`presence` from the records, p50, ms", at(0.5)), ("the same, p99, ms", at(0.99))])
}

fn members(node: &Server, number: usize) -> anyhow::Result<Vec<String>> {
    let answer = node::api(node.address, "presence", &json!({ "channel": Rooms::name(number) }))?;
    let members = answer["result"]["presence"].as_object().context("who is there")?;
    Ok(members.values().filter_map(|info| info["user"].as_str()).map(str::to_owned).collect())
}

/// The listeners hear of each leave, and the other node has cleaned up.
fn leave(swarm: &mut Swarm, ears: GroupId, far: &Server, killed: Instant, outcome: &mut Outcome) -> anyhow::Result<()> {
    hear(swarm, ears, 2 * SAMPLE + 1)?;
    outcome.push(("first leave told after the kill, s", killed.elapsed().as_secs_f64()));
    hear(swarm, ears, 3 * SAMPLE)?;
    outcome.push(("last leave told after the kill, s", killed.elapsed().as_secs_f64()));
    while node::metric(far.address, "midplane_cluster_reaps_total")? < 1.0 {
        ensure!(killed.elapsed() < PATIENCE, "not cleaned up after {PATIENCE:?}");
        swarm.idle(Duration::from_millis(5))?;
    }
    outcome.push(("all cleaned up after the kill, s", killed.elapsed().as_secs_f64()));
    Ok(())
}

/// Waits until so much was told.
fn hear(swarm: &mut Swarm, ears: GroupId, count: usize) -> anyhow::Result<()> {
    let begun = Instant::now();
    while swarm.of(ears).told.len() < count {
        let told = swarm.of(ears).told.len();
        ensure!(begun.elapsed() < PATIENCE, "{told} of {count} joins and leaves told after {PATIENCE:?}");
        swarm.idle(Duration::from_millis(5))?;
    }
    Ok(())
}

/// Of each channel with a listener: it came itself, the member came, and went, each once.
fn check(told: &[String], rooms: &Rooms) -> anyhow::Result<()> {
    let mut expected: Vec<String> = Vec::new();
    for (index, number) in rooms.heard().enumerate() {
        let (name, member) = (Rooms::name(number), rooms.member(number));
        expected.push(format!("+{name} user-{}", index / EACH_EAR));
        expected.extend([format!("+{name} {member}"), format!("-{name} {member}")]);
    }
    let mut told = told.to_vec();
    told.sort_unstable();
    expected.sort_unstable();
    let odd = || told.iter().zip(&expected).find(|(told, expected)| told != expected);
    ensure!(told == expected, "{} joins and leaves were told, {} expected; {:?}", told.len(), expected.len(), odd());
    Ok(())
}

fn megabytes(server: &Server) -> anyhow::Result<f64> {
    Ok(server.process.resident()? as f64 / 1e6)
}
