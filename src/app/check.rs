//! What only those can judge of the settings who will use it: keys, certificates, credentials.

use super::bridge;
use crate::auth;
use crate::backplane::nats::live;
use crate::causes::causes;
use crate::settings::{Refusal, Refusals, Settings};

/// Whether a node can be made of `settings`, as far as that can be said without connecting to anything.
///
/// # Errors
/// Everything that cannot be used, by its option.
pub fn check(settings: &Settings) -> Result<(), Refusals> {
    let keys = [
        ("client.token", settings.client.token.as_ref()),
        ("client.subscription_token", settings.client.subscription_token.as_ref()),
        ("console.token", settings.console.token.as_deref()),
    ];
    let mut refusals = Vec::new();
    for (section, keys) in keys.into_iter().filter_map(|(section, keys)| Some((section, keys?))) {
        let unusable = auth::unusable(keys);
        refusals.extend(unusable.iter().map(|(key, error)| Refusal::new(format!("{section}.{key}"), causes(error))));
    }
    if let Some(nats) = &settings.nats {
        let auth = live::check_auth(&nats.auth).err().map(|error| Refusal::new("nats", causes(&error)));
        let tls = live::check_tls(&nats.tls).err().map(|error| Refusal::new("nats.tls", causes(&error)));
        refusals.extend(auth.into_iter().chain(tls));
    }
    if let Some(redis) = &settings.redis {
        refusals.extend(bridge::check(redis).err().map(|why| Refusal::new("redis", why)));
    }
    if refusals.is_empty() { Ok(()) } else { Err(Refusals(refusals)) }
}
