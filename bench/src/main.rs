//! Measures midplane against floors that run beside it: a bare write loop, core NATS, fixed answers.
//!
//! `cargo run --release -p midplane-bench -- idle|fanout|latency|storm|presence|members|survivors|socketio|all`. README.md says what the numbers mean.

mod channels;
mod dial;
mod fanout;
mod floor;
mod hello;
mod idle;
mod latency;
mod machine;
mod members;
mod nats;
mod node;
mod presence;
mod process;
mod publisher;
mod report;
mod socketio;
mod storm;
mod survivors;
mod swarm;
mod wire;

use std::path::PathBuf;

use clap::{Parser, Subcommand};

/// Measures midplane against floors that run beside it.
#[derive(Parser)]
struct Args {
    #[command(subcommand)]
    what: What,
    /// The server's binary; built from this workspace when not given.
    #[arg(long, global = true)]
    server: Option<PathBuf>,
    /// A nats-server with JetStream.
    #[arg(long, global = true)]
    nats_server: Option<PathBuf>,
    /// Rounds of each cell; they interleave with the floor's.
    #[arg(long, global = true, default_value_t = 7)]
    rounds: usize,
}

#[derive(Subcommand)]
enum What {
    /// Memory and CPU of connections that do nothing.
    Idle {
        #[arg(long, default_value_t = 10_000)]
        clients: usize,
    },
    /// CPU of the server per message handed to one subscriber.
    Fanout {
        #[arg(long, default_value_t = 1_000)]
        subscribers: usize,
    },
    /// From the scheduled time of a publication to its arrival, across two nodes.
    Latency {
        /// How long each round publishes.
        #[arg(long, default_value_t = 5)]
        seconds: u64,
    },
    /// CPU of the server per connection that comes, connects with a token and goes.
    Storm {
        #[arg(long, default_value_t = 4_000)]
        connections: usize,
    },
    /// Many clients in one channel with presence, seen from another node; or many channels with a client in each.
    Presence {
        #[arg(long, default_value_t = 10_000)]
        clients: usize,
        /// Each client is in its share of so many channels, alone.
        #[arg(long, default_value_t = 1)]
        channels: usize,
    },
    /// How soon nodes agree on one that comes, leaves or is killed.
    Members,
    /// A node dies, and its clients recover at the two that are left.
    Survivors {
        #[arg(long, default_value_t = 10_000)]
        clients: usize,
    },
    /// Memory of idle clients and CPU of broadcasts, beside a Socket.IO server on Node.js.
    Socketio {
        #[arg(long, default_value_t = 5_000)]
        clients: usize,
    },
    /// Everything.
    All,
    /// The floor itself; started by the others.
    #[command(hide = true)]
    Floor,
}

fn main() -> anyhow::Result<()> {
    let args = Args::parse();
    if matches!(args.what, What::Floor) {
        return floor::run();
    }
    machine::raise_descriptor_limit()?;
    let programs = node::Programs::find(args.server, args.nats_server)?;
    machine::describe();
    let rounds = args.rounds;
    match args.what {
        What::Idle { clients } => idle::run(&programs, clients),
        What::Fanout { subscribers } => fanout::run(&programs, subscribers, rounds),
        What::Latency { seconds } => latency::run(&programs, seconds, rounds),
        What::Storm { connections } => storm::run(&programs, connections, rounds),
        What::Presence { clients, channels: 0 | 1 } => presence::run(&programs, clients),
        What::Presence { clients, channels } => channels::run(&programs, clients, channels, rounds),
        What::Members => members::run(&programs, rounds),
        What::Survivors { clients } => survivors::run(&programs, clients, rounds),
        What::Socketio { clients } => socketio::run(&programs, clients, rounds),
        What::All => {
            idle::run(&programs, 10_000)?;
            fanout::run(&programs, 1_000, rounds)?;
            latency::run(&programs, 5, rounds)?;
            storm::run(&programs, 4_000, rounds)?;
            presence::run(&programs, 10_000)?;
            channels::run(&programs, 10_000, 100_000, rounds)?;
            members::run(&programs, rounds)?;
            survivors::run(&programs, 10_000, rounds)?;
            socketio::run(&programs, 5_000, rounds)
        }
        What::Floor => unreachable!("answered above"),
    }
}
