//! CPU of the server per message handed to one subscriber, against a loop that writes the same bytes.

use std::time::Instant;

use crate::node::{self, Programs, Server};
use crate::publisher::Publisher;
use crate::report::{self, Spread};
use crate::swarm::{GroupId, Hello, Swarm};

/// What is published at once, how large, and how much dearer than the floor it may be.
struct Cell {
    burst: u64,
    size: usize,
    budget: f64,
}

const CELLS: [Cell; 5] = [
    Cell { burst: 1, size: 128, budget: 1.10 },
    Cell { burst: 1, size: 1024, budget: 1.10 },
    Cell { burst: 16, size: 128, budget: 0.15 },
    Cell { burst: 64, size: 128, budget: 0.07 },
    Cell { burst: 16, size: 1024, budget: 0.15 },
];

/// Deliveries of one cell in one round, about.
const DELIVERIES: u64 = 60_000;

struct Sides {
    swarm: Swarm,
    floor: Server,
    floor_group: GroupId,
    midplane: Server,
    midplane_group: GroupId,
    publisher: Publisher,
}

pub fn run(programs: &Programs, subscribers: usize, rounds: usize) -> anyhow::Result<()> {
    let floor = node::floor()?;
    let midplane = node::midplane(programs, "fanout", node::NO_PINGS, None)?;
    let mut swarm = Swarm::new(Instant::now())?;
    let subscribe = || Hello::to("bench");
    let floor_group = swarm.group(floor.address, subscribe())?;
    let midplane_group = swarm.group(midplane.address, subscribe())?;
    swarm.connect(floor_group, subscribers)?;
    swarm.connect(midplane_group, subscribers)?;
    let publisher = Publisher::connect(midplane.address, "bench")?;
    let mut sides = Sides { swarm, floor, floor_group, midplane, midplane_group, publisher };

    let title = format!("fan-out: CPU seconds per million deliveries, {subscribers} subscribers");
    let columns = ["published", "bare write", "midplane", "ratio (of each round)", "budget", ""];
    report::table(&title, &columns);
    for cell in CELLS {
        measure(&mut sides, &cell, subscribers as u64, rounds)?;
    }
    println!("\nleast / median / greatest of {rounds} rounds\n");
    Ok(())
}

fn measure(sides: &mut Sides, cell: &Cell, subscribers: u64, rounds: usize) -> anyhow::Result<()> {
    // What comes out of midplane decides what the floor writes.
    sides.burst_through_midplane(cell, subscribers)?;
    let frame_size = sides.swarm.of(sides.midplane_group).frame_size;
    sides.burst_through_floor(cell, subscribers, frame_size)?;
    let times = (DELIVERIES / (subscribers * cell.burst)).max(3);
    let deliveries = (times * subscribers * cell.burst) as f64;
    let (mut floors, mut ours, mut ratios) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..rounds {
        let before = sides.floor.process.cpu()?;
        for _ in 0..times {
            sides.burst_through_floor(cell, subscribers, frame_size)?;
        }
        let floor = (sides.floor.process.cpu()? - before).as_secs_f64() * 1e6 / deliveries;
        let before = sides.midplane.process.cpu()?;
        for _ in 0..times {
            sides.burst_through_midplane(cell, subscribers)?;
        }
        let midplane = (sides.midplane.process.cpu()? - before).as_secs_f64() * 1e6 / deliveries;
        floors.push(floor);
        ours.push(midplane);
        ratios.push(midplane / floor);
    }
    let ratios = Spread::of(&ratios);
    report::row(&[
        format!("{} x {} B", cell.burst, cell.size),
        Spread::of(&floors).to_string(),
        Spread::of(&ours).to_string(),
        ratios.to_string(),
        format!("{:.2}", cell.budget),
        report::verdict(ratios.median, cell.budget),
    ]);
    Ok(())
}

impl Sides {
    fn burst_through_midplane(&mut self, cell: &Cell, subscribers: u64) -> anyhow::Result<()> {
        let total = self.swarm.of(self.midplane_group).deliveries + cell.burst * subscribers;
        self.publisher.publish(cell.burst, cell.size, 0)?;
        self.swarm.await_deliveries(self.midplane_group, total)
    }

    fn burst_through_floor(&mut self, cell: &Cell, subscribers: u64, frame_size: usize) -> anyhow::Result<()> {
        let total = self.swarm.of(self.floor_group).deliveries + cell.burst * subscribers;
        node::write_through(&mut self.floor.process, cell.burst, frame_size, 0)?;
        self.swarm.await_deliveries(self.floor_group, total)
    }
}
