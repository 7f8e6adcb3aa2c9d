//! The command line: what the binary does besides serving.

mod announce;
mod check;
mod doctor;
mod health;
mod token;

use std::io::{self, Write as _};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{Parser, Subcommand};
use midplane::app;
use midplane::causes::causes;
use midplane::settings::{self, LogFormat, Refusals, Settings};

/// Settings that are refused (EX_CONFIG of sysexits.h).
const EX_CONFIG: u8 = 78;
/// Another process has joined under this node's name. Just behind what sysexits.h defines.
const FENCED: u8 = 79;
/// Nothing has moved in the process for too long.
pub const STALLED: u8 = 80;

/// A realtime gateway on NATS: any client, any node, nothing lost.
#[derive(Debug, Parser)]
#[command(version, about)]
pub struct Args {
    /// Options in TOML, also named by MIDPLANE_CONFIG; the environment goes over them
    #[arg(long, value_name = "FILE", global = true)]
    config: Option<PathBuf>,

    #[command(subcommand)]
    command: Option<Command>,
}

impl Args {
    /// The file of options that the command line or the environment names.
    pub fn config(&self) -> Option<PathBuf> {
        self.config.clone().or_else(settings::config_file)
    }
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run a node (the default)
    Serve,
    /// Say everything that is wrong with the settings, or what they come to
    Check,
    /// Print the settings with where they come from, without secrets
    Settings {
        /// Print the defaults, as a file to start from
        #[arg(long, conflicts_with = "reference")]
        defaults: bool,
        /// Print the configuration reference
        #[arg(long)]
        reference: bool,
    },
    /// Make a token for trying things out, signed with the configured HMAC secret
    Token(token::Token),
    /// Ask a node on this machine whether it serves: exit code 0, or 1
    #[command(alias = "healthcheck")]
    Health {
        /// Where to ask, if not at the address of the settings (http.bind); without a path /ready
        #[arg(long, value_name = "URL")]
        url: Option<String>,
    },
    /// Look at machine, NATS, secrets and proxy: what is wrong with them, and what to do; exit code 0, or 1
    Doctor(doctor::Doctor),
}

/// Does what `args` ask for, unless that is to serve.
pub async fn run(args: &Args) -> Option<ExitCode> {
    let file = args.config();
    let file = file.as_deref();
    let code = match &args.command {
        None | Some(Command::Serve) => return None,
        Some(Command::Check) => with_settings(file, |settings| print(&check::summary(settings))),
        Some(Command::Settings { defaults: true, .. }) => print(&settings::template()),
        Some(Command::Settings { reference: true, .. }) => print(&settings::reference()),
        Some(Command::Settings { .. }) => match settings::explain(file, settings::environment()) {
            Ok(text) => print(&text),
            Err(refusals) => refuse(&refusals),
        },
        Some(Command::Token(token)) => with_settings(file, |settings| match token.make(settings) {
            Ok(token) => print(&format!("{token}\n")),
            Err(error) => fail(&error),
        }),
        Some(Command::Health { url: Some(url) }) => health::ask(url),
        Some(Command::Health { url: None }) => {
            with_settings(file, |settings| health::ask(&health::url_of(settings.http.bind)))
        }
        Some(Command::Doctor(doctor)) => Box::pin(doctor.run(file)).await,
    };
    Some(code)
}

/// The settings that a node would serve with.
///
/// # Errors
/// Everything that is wrong with them, at once.
pub fn load(file: Option<&Path>) -> Result<Settings, Refusals> {
    let settings = Settings::load(file, settings::environment())?;
    app::check(&settings).map(|()| settings)
}

fn with_settings(file: Option<&Path>, work: impl FnOnce(&Settings) -> ExitCode) -> ExitCode {
    match load(file) {
        Ok(settings) => work(&settings),
        Err(refusals) => refuse(&refusals),
    }
}

/// Says that a node with `settings` (of `file`) has started: to people in so many words, to machines in a line of the log.
pub fn announce(settings: &Settings, file: Option<&Path>, address: SocketAddr, internal: Option<SocketAddr>) {
    match settings.log.format {
        LogFormat::Text => {
            print(&announce::text(settings, file, address, internal));
        }
        LogFormat::Json => announce::log(settings, address, internal),
    }
}

/// Says why the settings are refused.
pub fn refuse(refusals: &Refusals) -> ExitCode {
    let _ = writeln!(io::stderr(), "{refusals}");
    ExitCode::from(EX_CONFIG)
}

/// Another process has this node's name: whoever starts this one again would have the two take turns for ever.
pub fn fenced() -> ExitCode {
    ExitCode::from(FENCED)
}

/// Says why something failed.
pub fn fail(error: &anyhow::Error) -> ExitCode {
    let _ = writeln!(io::stderr(), "midplane: {}", causes(&**error));
    ExitCode::FAILURE
}

/// Writes to standard output; a reader that has gone away is no failure of ours.
pub fn print(text: &str) -> ExitCode {
    match io::stdout().write_all(text.as_bytes()) {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => ExitCode::FAILURE,
        _ => ExitCode::SUCCESS,
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_arguments_fit_together() {
        Args::command().debug_assert();
    }

    #[tokio::test]
    async fn to_serve_is_what_happens_without_a_command() {
        for line in [&["midplane"][..], &["midplane", "serve"], &["midplane", "--config", "x.toml"]] {
            assert!(run(&Args::parse_from(line)).await.is_none(), "{line:?}");
        }
        let args = Args::parse_from(["midplane", "healthcheck", "--config", "x.toml"]);
        assert!(matches!(args.command, Some(Command::Health { url: None })) && args.config.is_some());
    }
}
