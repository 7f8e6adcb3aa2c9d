//! CPU of the server per connection that comes, connects with a token, and goes by a reset.

use std::time::Instant;

use crate::node::{self, Programs, Server};
use crate::report::{self, Spread};
use crate::swarm::{GroupId, Hello, Swarm};

pub fn run(programs: &Programs, connections: usize, rounds: usize) -> anyhow::Result<()> {
    let floor = node::floor()?;
    let midplane = node::midplane(programs, "storm", node::NO_PINGS, None)?;
    let mut swarm = Swarm::new(Instant::now())?;
    let floor_group = swarm.group(floor.address, Hello::Connect)?;
    let midplane_group = swarm.group(midplane.address, Hello::Connect)?;
    // Once without counting: buffers grow, code is touched.
    one(&mut swarm, floor_group, &floor, connections / 4)?;
    one(&mut swarm, midplane_group, &midplane, connections / 4)?;
    let (mut floors, mut ours, mut ratios) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..rounds {
        let floor = one(&mut swarm, floor_group, &floor, connections)?;
        let midplane = one(&mut swarm, midplane_group, &midplane, connections)?;
        floors.push(floor);
        ours.push(midplane);
        ratios.push(midplane / floor);
    }
    let (ours, ratios) = (Spread::of(&ours), Spread::of(&ratios));
    let title = format!("storm: CPU microseconds per connection, {connections} connections a round, 64 at a time");
    report::table(&title, &["what", "least / median / greatest", "budget", ""]);
    report::row(&["floor (fixed answers)".to_owned(), Spread::of(&floors).to_string(), "-".to_owned(), String::new()]);
    let per_second = 1e6 / ours.median;
    report::row(&[
        "midplane".to_owned(),
        ours.to_string(),
        "50 (20,000/s)".to_owned(),
        report::verdict(ours.median, 50.0),
    ]);
    report::row(&[
        "ratio (of each round)".to_owned(),
        ratios.to_string(),
        "1.45".to_owned(),
        report::verdict(ratios.median, 1.45),
    ]);
    println!("\n{per_second:.0} connections per CPU second; {rounds} rounds\n");
    Ok(())
}

fn one(swarm: &mut Swarm, group: GroupId, server: &Server, connections: usize) -> anyhow::Result<f64> {
    let before = server.process.cpu()?;
    swarm.storm(group, connections)?;
    Ok((server.process.cpu()? - before).as_secs_f64() * 1e6 / connections as f64)
}
