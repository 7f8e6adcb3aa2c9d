//! Settings: one commented file of defaults compiled in, then a file, then the environment; validated once, typed for
//! everybody behind. The only room that reads the environment.
//!
//! The structs in [`model`] are what the other rooms see. They hold no strings that still want parsing. Data comes in
//! as layers (`sources`, `environment`), is read option by option (`section`, `value`) and cross-checked (`resolve`).
//! Whatever is wrong is gathered and refused at once ([`Refusals`]).

pub mod channels;
mod environment;
mod explain;
mod files;
mod fingerprint;
pub mod model;
pub mod nats;
pub mod redis;
mod reference;
mod refusal;
mod resolve;
mod secret_files;
mod section;
mod shown;
pub mod socketio;
mod sources;
#[cfg(test)]
mod tests;
mod unknown;
mod value;

use std::path::Path;

pub use channels::*;
pub use environment::config_file;
pub use explain::explain;
pub use model::*;
pub use nats::*;
pub use redis::*;
pub use reference::{reference, template};
pub use refusal::{Refusal, Refusals};
pub use secret_files::secret_files;
pub use socketio::*;

use section::Findings;
use sources::Sources;

/// Every option with its meaning and its default: the manual.
pub const DEFAULTS: &str = include_str!("defaults.toml");

/// What development mode puts over the defaults.
pub const DEVELOPMENT: &str = include_str!("development.toml");

impl Settings {
    /// Settings from the file at `file`, if one is named, and the variables of an environment, over the defaults.
    ///
    /// # Errors
    /// Everything that is wrong with them, at once.
    pub fn load(
        file: Option<&Path>,
        environment: impl IntoIterator<Item = (String, String)>,
    ) -> Result<Self, Refusals> {
        let findings = Findings::default();
        let sources = Sources::read(file, environment.into_iter(), &findings);
        resolve::resolve(&sources, findings).map(|(settings, _)| settings)
    }

    /// Settings from a text in place of a file, and no environment.
    ///
    /// # Errors
    /// Everything that is wrong with them, at once.
    pub fn from_toml(text: &str) -> Result<Self, Refusals> {
        let findings = Findings::default();
        let sources = Sources::of_text(text, &findings);
        resolve::resolve(&sources, findings).map(|(settings, _)| settings)
    }
}

/// The environment of this process, for [`Settings::load`].
///
/// Names and values that are not UTF-8 have the offending bytes replaced, and are then refused if they set an option.
pub fn environment() -> impl Iterator<Item = (String, String)> {
    let lossy = |text: std::ffi::OsString| text.to_string_lossy().into_owned();
    std::env::vars_os().map(move |(name, value)| (lossy(name), lossy(value)))
}
