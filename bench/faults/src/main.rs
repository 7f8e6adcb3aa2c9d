//! Breaks a cluster on purpose, writes down what everybody did and saw, and judges it afterwards.
//!
//! `midplane-faults run SEED...` starts three nodes and three NATS servers with proxies between all of them, drives
//! publishers and clients, and injects the faults that the seed draws. `midplane-faults check DIRECTORY` reads what a run
//! left behind, and nothing else. README.md of the benches says more.

mod actors;
mod checker;
mod journal;
mod plan;
mod run;
mod wire;
mod world;

use std::ops::Range;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use anyhow::Context;
use clap::{Args, Parser, Subcommand};
use tokio::task::JoinSet;

use run::Options;
use world::Programs;

/// Breaks a cluster on purpose, and judges what came of it.
#[derive(Parser)]
struct Cli {
    #[command(subcommand)]
    what: What,
}

#[derive(Subcommand)]
enum What {
    /// Run seeds, and check each run.
    Run(RunArgs),
    /// Check a run once more, by what it left behind.
    Check { directory: PathBuf },
    /// Show what a seed breaks, and when.
    Plan {
        seed: u64,
        #[command(flatten)]
        size: Size,
    },
}

#[derive(Args, Clone, Copy)]
struct Size {
    /// How long things break, in each run.
    #[arg(long, default_value_t = 60)]
    seconds: u64,
    #[arg(long, default_value_t = 24)]
    clients: usize,
    /// Milliseconds between two publications of one publisher; there are some twenty.
    #[arg(long, default_value_t = 60)]
    pace: u64,
}

#[derive(Args)]
struct RunArgs {
    /// The seeds. Up to 1000 much is broken at a time; from 1001 on each fault comes by itself.
    seeds: Vec<u64>,
    /// A range of seeds besides: `1..201`, its end not included.
    #[arg(long = "seeds", value_parser = range)]
    range: Option<Range<u64>>,
    #[command(flatten)]
    size: Size,
    /// Runs at one time, each with a cluster of its own.
    #[arg(long, default_value_t = 1)]
    jobs: usize,
    /// How long everything may take to be well again, in seconds. Slow is not stuck: be generous on a busy machine.
    #[arg(long, default_value_t = 90)]
    patience: u64,
    /// Clients of the official JavaScript SDK besides; wants Node.js, and what scripts/test.sh installs for its suite.
    #[arg(long, default_value_t = 0)]
    sdk: usize,
    /// Clients of Socket.IO besides, of the official library; they want the same.
    #[arg(long, default_value_t = 0)]
    sockets: usize,
    /// How long clients stay once all are back, in seconds. With 27 they go on in calm for a while, and what is promised
    /// while all is well is judged there. With 80 a leave that nobody was told of is found as well: views and records are
    /// compared every minute.
    #[arg(long, default_value_t = 0)]
    settle: u64,
    /// The server's binary; target/release/midplane, else target/debug/midplane, when not given.
    #[arg(long)]
    server: Option<PathBuf>,
    /// A nats-server; the one of .tools, else of the path, when not given.
    #[arg(long)]
    nats_server: Option<PathBuf>,
    /// Where runs leave what they wrote down.
    #[arg(long, default_value = "target/faults")]
    out: PathBuf,
    /// Keep what runs left behind that found nothing.
    #[arg(long)]
    keep: bool,
}

fn range(text: &str) -> Result<Range<u64>, String> {
    let numbers = text.split_once("..").and_then(|(from, to)| Some(from.parse().ok()?..to.parse().ok()?));
    numbers.ok_or_else(|| format!("{text:?} is no range (try 1..201)"))
}

fn main() -> anyhow::Result<ExitCode> {
    match Cli::parse().what {
        What::Plan { seed, size } => {
            let scene = plan::Scene::new(size.seconds, size.clients, size.pace);
            for step in plan::steps(seed, &scene).into_iter().chain(plan::in_calm(seed, &scene)) {
                println!("{:>6} ms, for {:>5} ms: {}", step.at_ms, step.for_ms, step.fault);
            }
            Ok(ExitCode::SUCCESS)
        }
        What::Check { directory } => {
            let report = checker::check(&directory)?;
            println!("{report}");
            Ok(if report.is_good() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
        }
        What::Run(args) => {
            let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
            tokio::task::LocalSet::new().block_on(&runtime, async {
                tokio::select! {
                    bad = run_all(args) => Ok(if bad? == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }),
                    _ = tokio::signal::ctrl_c() => Ok(ExitCode::FAILURE),
                }
            })
        }
    }
}

/// Runs every seed; how many of them found something.
async fn run_all(args: RunArgs) -> anyhow::Result<usize> {
    let programs = programs(args.server, args.nats_server)?;
    if programs.faketime.is_none() {
        println!("no clock is set: libfaketime is not installed (scripts/install-tools.sh clock)");
    }
    let size = args.size;
    let options = move |seed| Options {
        seed,
        seconds: size.seconds,
        clients: size.clients,
        sdk: args.sdk,
        sockets: args.sockets,
        pace_ms: size.pace,
        patience: Duration::from_secs(args.patience),
        settle: Duration::from_secs(args.settle),
    };
    let mut seeds = args.seeds.into_iter().chain(args.range.into_iter().flatten());
    let (mut good, mut bad) = (0, 0);
    let mut running = JoinSet::new();
    loop {
        while running.len() < args.jobs.max(1)
            && let Some(seed) = seeds.next()
        {
            let directory = place(&args.out, seed);
            let programs = programs.clone();
            running
                .spawn_local(async move { (seed, directory.clone(), one(programs, options(seed), &directory).await) });
        }
        let Some(ended) = running.join_next().await else { break };
        let (seed, directory, outcome) = ended.context("a run panicked")?;
        let replay = || {
            let Size { seconds, clients, pace } = size;
            let (sdk, sockets, settle, patience) = (args.sdk, args.sockets, args.settle, args.patience);
            format!(
                "  left in {}; again: just faults-replay {seed} --seconds {seconds} --clients {clients} --pace {pace} \
                 --sdk {sdk} --sockets {sockets} --settle {settle} --patience {patience}",
                directory.display()
            )
        };
        match outcome {
            Ok(report) if report.is_good() => {
                good += 1;
                println!("seed {seed}: ok: {}", report.summary());
                if !args.keep {
                    let _ = std::fs::remove_dir_all(&directory);
                }
            }
            Ok(report) => {
                bad += 1;
                println!("seed {seed}: FAILED\n{report}\n{}", replay());
            }
            Err(error) => {
                bad += 1;
                println!("seed {seed}: FAILED to run: {error:#}\n{}", replay());
            }
        }
    }
    println!("{good} passed, {bad} failed");
    Ok(bad)
}

/// Where a run leaves what it writes down. What an earlier one of this seed has found is all that there may ever be of it:
/// it stays.
fn place(out: &Path, seed: u64) -> PathBuf {
    let names = std::iter::once(format!("seed-{seed}")).chain((2..).map(|time| format!("seed-{seed}.{time}")));
    names.map(|name| out.join(name)).find(|directory| !directory.exists()).expect("there is always another number")
}

async fn one(programs: Programs, options: Options, directory: &Path) -> anyhow::Result<checker::Report> {
    run::run(&programs, options, directory).await?;
    // Other runs go on meanwhile, and keep to their schedules.
    let directory = directory.to_owned();
    tokio::task::spawn_blocking(move || checker::check(&directory)).await.context("the checker panicked")?
}

fn programs(midplane: Option<PathBuf>, nats_server: Option<PathBuf>) -> anyhow::Result<Programs> {
    let workspace = Path::new(env!("CARGO_MANIFEST_DIR")).ancestors().nth(2).context("the workspace")?;
    let first = |paths: [&str; 2]| paths.map(|path| workspace.join(path)).into_iter().find(|path| path.exists());
    let midplane = midplane
        .or_else(|| first(["target/release/midplane", "target/debug/midplane"]))
        .context("no midplane built: cargo build --release, or --server PATH")?;
    let nats_server = nats_server
        .or_else(|| Some(workspace.join(".tools/bin/nats-server")).filter(|path| path.exists()))
        .unwrap_or_else(|| "nats-server".into());
    let faketime = world::library(workspace);
    Ok(Programs { midplane: std::path::absolute(midplane)?, nats_server, faketime })
}
