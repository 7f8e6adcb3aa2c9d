//! The `midplane` binary.

mod cli;

use std::process::{self, ExitCode};

use clap::Parser;
use midplane::app::{App, Ending};
use midplane::{lifecycle, telemetry, watchdog};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

#[tokio::main]
async fn main() -> ExitCode {
    let args = cli::Args::parse();
    if let Some(code) = cli::run(&args).await {
        return code;
    }
    let settings = match cli::load(args.config().as_deref()) {
        Ok(settings) => settings,
        Err(refusals) => return cli::refuse(&refusals),
    };
    telemetry::logging::install(&settings.log);
    if let Some(patience) = settings.node.stall_timeout {
        watchdog::watch(patience, || process::exit(cli::STALLED.into()));
    }
    tokio::spawn(lifecycle::ignored());
    for note in &settings.notes {
        tracing::warn!("{note}");
    }
    let app = match App::build(settings.clone()).await {
        Ok(app) => app,
        Err(error) => return cli::fail(&error),
    };
    let stop = lifecycle::terminated();
    cli::announce(&settings, args.config().as_deref(), app.address(), app.internal_address());
    match app.run_until(stop).await {
        Ending::Asked => ExitCode::SUCCESS,
        Ending::Fenced => cli::fenced(),
    }
}
