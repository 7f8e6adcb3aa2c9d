#![no_main]

use libfuzzer_sys::fuzz_target;
use midplane::protocol::Channel;

const LIMIT: usize = 255;

fuzz_target!(|name: &str| {
    let Ok(channel) = Channel::parse(name, LIMIT) else { return };
    assert!(channel.as_str() == name && name.len() <= LIMIT);
    assert!(!channel.rest().is_empty() && name.ends_with(channel.rest()));
    assert!(name.strip_prefix('$').unwrap_or(name).starts_with(channel.namespace()));
    if let Some(users) = channel.limited_to() {
        assert!(users.count() >= 1);
    }
});
