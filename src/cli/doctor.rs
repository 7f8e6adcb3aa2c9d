//! Looks whether a node of these settings would do well here.

use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use clap::Args;
use midplane::doctor::{self, Circumstances};
use midplane::settings;
use url::Url;

use super::token::Token;

/// How long the token is valid that is made for trying a proxy.
const TOKEN_FOR: Duration = Duration::from_secs(600);

/// What to look at.
#[derive(Debug, Args)]
pub(super) struct Doctor {
    /// The address of a proxy in front of nodes that run, as clients know it: tried for two pings, up to a minute
    #[arg(long, value_name = "URL")]
    proxy: Option<Url>,

    /// Certificates of the authority that signed the proxy's, in PEM, where this machine does not trust it
    #[arg(long, value_name = "FILE", requires = "proxy")]
    ca: Option<PathBuf>,

    /// A connection token to connect through the proxy with; made where an HMAC secret is configured
    #[arg(long, value_name = "TOKEN", requires = "proxy")]
    token: Option<String>,

    /// Answer in JSON
    #[arg(long)]
    json: bool,
}

impl Doctor {
    /// Looks, says what it found, and returns 0 when nothing failed, else 1.
    pub(super) async fn run(&self, file: Option<&Path>) -> ExitCode {
        let settings = match super::load(file) {
            Ok(settings) => settings,
            Err(refusals) => return super::refuse(&refusals),
        };
        let circumstances = Circumstances {
            secret_files: settings::secret_files(&settings, file, settings::environment()),
            proxy: self.proxy.clone(),
            authority: self.ca.clone(),
            token: self.token.clone().or_else(|| Token::of("midplane-doctor", TOKEN_FOR).make(&settings).ok()),
        };
        if self.proxy.is_some() && !self.json {
            let _ = writeln!(
                io::stderr(),
                "midplane: trying the proxy; a socket that it lets through is held for two pings, up to a minute"
            );
        }
        let report = doctor::examine(&settings, &circumstances).await;
        let printed = super::print(&if self.json { report.to_json() } else { report.to_text() });
        if report.is_well() { printed } else { ExitCode::FAILURE }
    }
}
