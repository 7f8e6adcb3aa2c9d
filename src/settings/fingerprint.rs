//! Tells settings from other ones, without telling what they are.

use sha2::{Digest, Sha256};

use super::section::Table;
use super::shown::shown;

/// Bytes of the digest that are kept: enough to see that something was changed.
const KEPT: usize = 8;

/// A digest of `values` as [`shown`] writes them, in hexadecimal. Of a secret nothing is in it but whether it is set.
pub(super) fn fingerprint(values: &Table) -> String {
    let mut lines: Vec<_> = values.iter().map(|(name, value)| format!("{name} = {}\n", shown(name, value))).collect();
    lines.sort();
    Sha256::digest(lines.concat())[..KEPT].iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use crate::settings::Settings;

    fn of(toml: &str) -> String {
        Settings::from_toml(toml).unwrap().fingerprint
    }

    #[test]
    fn settings_are_told_apart_and_secrets_are_not() {
        let secret = |secret: char| format!("client.token.hmac_secret_key = \"{}\"", secret.to_string().repeat(32));
        assert_eq!(of(&secret('a')), of(&secret('b')));
        assert_ne!(of(&secret('a')), of(""), "whether there is one is told");
        assert_ne!(of("http.port = 8001"), of(""));
        let namespace = |name: &str| format!("[[channel.namespaces]]\nname = \"{name}\"\n");
        assert_ne!(of(&namespace("chat")), of(&namespace("news")));
        assert_eq!(of("nats.prefix = \"midplane\""), of(""), "what is set to its default is not set to anything else");
    }
}
