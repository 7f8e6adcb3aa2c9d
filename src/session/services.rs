//! What all sessions of a node share.

use std::sync::Arc;

use super::rate::UserRates;
use super::strangers::Strangers;
use crate::auth::Verifier;
use crate::census::Census;
use crate::hooks::Hooks;
use crate::hub::{Connections, Pulse, Turnstile};
use crate::presence::Presence;
use crate::relay::Relay;
use crate::revocation::Revocations;
use crate::settings::{Channels, Client};
use crate::telemetry::Telemetry;
use crate::watch::Lookout;

/// The rooms that sessions call, and the settings that they obey.
pub struct Services {
    pub node: NodeInfo,
    pub client: Client,
    pub channel: Channels,
    /// Verifies connection tokens; `None` where no key is configured.
    pub connection_tokens: Option<Verifier>,
    /// Verifies subscription tokens, where they have keys of their own.
    pub subscription_tokens: Option<Verifier>,
    pub hooks: Arc<Hooks>,
    pub relay: Arc<Relay>,
    pub presence: Arc<Presence>,
    pub connections: Arc<Connections>,
    pub limits: Limits,
    pub revocations: Arc<Revocations>,
    pub pulse: Arc<Pulse>,
    pub watch: Arc<Lookout>,
    pub telemetry: Arc<Telemetry>,
    pub strangers: Strangers,
}

/// What bounds how clients connect, and what users do.
pub struct Limits {
    /// Clients that connect now.
    pub connects: Arc<Turnstile>,
    /// How often users may do what.
    pub users: Arc<UserRates>,
    /// How many connections a user may have; `None` without limit.
    pub census: Option<Arc<Census>>,
}

/// What clients are told about the node.
#[derive(Debug, Clone)]
pub struct NodeInfo {
    pub name: String,
    /// Name and version of the software.
    pub version: String,
}

impl Services {
    /// Who verifies subscription tokens.
    pub(super) fn subscription_verifier(&self) -> Option<&Verifier> {
        self.subscription_tokens.as_ref().or(self.connection_tokens.as_ref())
    }
}
