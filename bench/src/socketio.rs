//! Socket.IO clients at midplane and at a Socket.IO server on Node.js, in one run and in turns.

use std::time::{Duration, Instant};

use crate::node::{self, Programs, Server};
use crate::publisher::Publisher;
use crate::report::{self, Spread};
use crate::swarm::{GroupId, Hello, Swarm};

/// Both processes have grown what they grow at start by then.
const FIRST: usize = 1_000;

/// Longer than a garbage collection of young objects, and than what a handshake leaves behind.
const SETTLE: Duration = Duration::from_secs(3);

/// Longer than the ping interval, so that every connection was pinged.
const WATCH: Duration = Duration::from_secs(50);

/// What is emitted at once, and the bytes of each event's argument.
const CELLS: [(u64, usize); 4] = [(1, 128), (1, 1024), (16, 128), (16, 1024)];

/// Deliveries of one cell in one round, about.
const DELIVERIES: u64 = 60_000;

/// One of the two, with its clients.
struct Side {
    server: Server,
    group: GroupId,
    /// Publishes into midplane; the other writes by itself.
    publisher: Option<Publisher>,
}

pub fn run(programs: &Programs, clients: usize, rounds: usize) -> anyhow::Result<()> {
    anyhow::ensure!(clients > FIRST, "more than {FIRST} clients, please");
    let mut swarm = Swarm::new(Instant::now())?;
    let node = node::socketio_on_node(25_000)?;
    let midplane = node::midplane(programs, "socketio", "25s", None)?;
    let mut node = Side { group: swarm.group(node.address, Hello::SocketIo)?, server: node, publisher: None };
    let group = swarm.group(midplane.address, Hello::SocketIo)?;
    let mut midplane = Side { group, server: midplane, publisher: None };

    let (node_memory, midplane_memory) = (node.fill(&mut swarm, clients)?, midplane.fill(&mut swarm, clients)?);
    let (node_before, midplane_before) = (node.server.process.cpu()?, midplane.server.process.cpu()?);
    swarm.idle(WATCH)?;
    let each = |used: Duration| used.as_secs_f64() * 1e6 / WATCH.as_secs_f64() / clients as f64;
    let node_cpu = each(node.server.process.cpu()? - node_before);
    let midplane_cpu = each(midplane.server.process.cpu()? - midplane_before);

    let title = format!("Socket.IO: {clients} idle clients on WebSockets, all in one room");
    report::table(&title, &["what", "socket.io on Node.js", "midplane", "ratio"]);
    let row = |what: &str, node: f64, midplane: f64, unit: &str| {
        let cell = |value: f64| format!("{value:.2} {unit}");
        report::row(&[what.to_owned(), cell(node), cell(midplane), format!("{:.2}", midplane / node)]);
    };
    row(&format!("RSS per connection (slope {FIRST} to {clients})"), node_memory, midplane_memory, "KB");
    row("CPU per connection, pinged every 25 s", node_cpu, midplane_cpu, "us/s");
    println!();

    midplane.publisher = Some(Publisher::connect(midplane.server.address, "sio:bench")?);
    let title = format!("Socket.IO: CPU seconds per million deliveries, {clients} clients in the room");
    report::table(&title, &["emitted", "socket.io on Node.js", "midplane", "ratio (of each round)"]);
    for cell in CELLS {
        compare(&mut swarm, [&mut node, &mut midplane], cell, clients as u64, rounds)?;
    }
    println!("\nleast / median / greatest of {rounds} rounds\n");
    Ok(())
}

fn compare(
    swarm: &mut Swarm,
    [node, midplane]: [&mut Side; 2],
    cell: (u64, usize),
    clients: u64,
    rounds: usize,
) -> anyhow::Result<()> {
    // Once without counting: buffers grow, code is compiled.
    node.emit(swarm, cell, clients)?;
    midplane.emit(swarm, cell, clients)?;
    let (mut theirs, mut ours, mut ratios) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..rounds {
        let node = node.cost(swarm, cell, clients)?;
        let midplane = midplane.cost(swarm, cell, clients)?;
        theirs.push(node);
        ours.push(midplane);
        ratios.push(midplane / node);
    }
    report::row(&[
        format!("{} x {} B", cell.0, cell.1),
        Spread::of(&theirs).to_string(),
        Spread::of(&ours).to_string(),
        Spread::of(&ratios).to_string(),
    ]);
    Ok(())
}

impl Side {
    /// Connects everybody; kilobytes of memory for each but the first.
    fn fill(&self, swarm: &mut Swarm, clients: usize) -> anyhow::Result<f64> {
        swarm.connect(self.group, FIRST)?;
        swarm.idle(SETTLE)?;
        let first = self.server.process.resident()?;
        swarm.connect(self.group, clients - FIRST)?;
        swarm.idle(SETTLE)?;
        let all = self.server.process.resident()?;
        Ok((all as f64 - first as f64) / (clients - FIRST) as f64 / 1000.0)
    }

    fn emit(&mut self, swarm: &mut Swarm, (burst, size): (u64, usize), clients: u64) -> anyhow::Result<()> {
        let total = swarm.of(self.group).deliveries + burst * clients;
        match &mut self.publisher {
            Some(publisher) => publisher.publish(burst, size, 0)?,
            None => node::write_through(&mut self.server.process, burst, size, 0)?,
        }
        swarm.await_deliveries(self.group, total)
    }

    /// CPU microseconds of the server for each delivery.
    fn cost(&mut self, swarm: &mut Swarm, cell: (u64, usize), clients: u64) -> anyhow::Result<f64> {
        let times = (DELIVERIES / (clients * cell.0)).max(3);
        let before = self.server.process.cpu()?;
        for _ in 0..times {
            self.emit(swarm, cell, clients)?;
        }
        let used = (self.server.process.cpu()? - before).as_secs_f64();
        Ok(used * 1e6 / (times * clients * cell.0) as f64)
    }
}
