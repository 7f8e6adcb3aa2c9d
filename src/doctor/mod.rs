//! Looks whether a node of these settings would do well here: what the machine allows, what NATS has and permits, whether
//! secrets are kept, what a proxy in front does to connections. It tries things and leaves nothing behind, also beside a
//! cluster that serves.
//!
//! Each part looks at one thing and says what it found in [`Finding`]s, with what to do about it. Nothing secret stands in
//! them.

mod finding;
mod machine;
mod nats;
mod proxy;
mod secrets;
#[cfg(test)]
mod tests;

use std::path::PathBuf;

use url::Url;

pub use self::finding::{Finding, Report, Verdict};

use crate::settings::Settings;

/// What is known beside the settings.
#[derive(Debug, Default)]
pub struct Circumstances {
    /// The files that secrets were read from, each with what is in it.
    pub secret_files: Vec<(String, PathBuf)>,
    /// The address of a proxy in front of nodes that run, as clients know it.
    pub proxy: Option<Url>,
    /// A file with certificates of who signed the proxy's, beside those whom this machine trusts.
    pub authority: Option<PathBuf>,
    /// With what to connect through it.
    pub token: Option<String>,
}

/// Looks at everything.
pub async fn examine(settings: &Settings, circumstances: &Circumstances) -> Report {
    let mut report = Report::default();
    report.extend(settings.notes.iter().map(|note| Finding::warning("settings", note, "see docs/configuration.md")));
    if settings.notes.is_empty() {
        report.push(Finding::ok("settings", "in order"));
    }
    report.push(machine::files(settings));
    report.push(machine::port(settings.http.bind).await);
    if let Some(internal) = settings.http.internal_bind {
        report.push(machine::port(internal).await);
    }
    report.extend(machine::running(settings).await);
    report.extend(secrets::kept(settings, &circumstances.secret_files));
    report.extend(nats::examined(settings).await);
    if let Some(proxy) = &circumstances.proxy {
        report.extend(proxy::examined(proxy, circumstances, settings).await);
    }
    report
}
