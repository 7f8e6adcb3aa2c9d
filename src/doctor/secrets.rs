//! Whether secrets are long, are no examples out of a manual, differ from each other, and lie where nobody else reads them.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use secrecy::{ExposeSecret, SecretString};

use super::Finding;
use crate::settings::{NatsAuth, Settings, TokenKeys};

/// Bytes of a key that is made as it should be (`openssl rand -hex 32` makes 64).
const SHORTEST: usize = 32;
/// Passwords of NATS are asked for over a network that is ours.
const SHORTEST_PASSWORD: usize = 12;
/// A random key has more different characters.
const FEWEST_CHARACTERS: usize = 8;
/// What stands in examples.
const EXAMPLES: [&str; 6] = ["your_", "your-", "changeme", "change_me", "example", "secret_here"];

/// Where container engines put secrets.
#[cfg(unix)]
const LAID_INTO_CONTAINERS: &str = "/run/secrets";

const MAKE_ONE: &str = "make one: openssl rand -hex 32";

/// What to say of all secrets that are set.
pub(super) fn kept(settings: &Settings, files: &[(String, PathBuf)]) -> Vec<Finding> {
    const ABOUT: &str = "secrets";
    let secrets = all(settings);
    let mut findings: Vec<_> =
        secrets.iter().filter_map(|(key, secret, least)| weakness(key, secret, *least)).collect();
    findings.extend(shared(&secrets));
    findings.extend(files.iter().filter_map(|(what, file)| readable(what, file)));
    if findings.is_empty() {
        let found = match (secrets.len(), files.len()) {
            (0, 0) => "none are set".to_owned(),
            (secrets, files) => format!("set, long and different: {secrets}; files closed to others: {files}"),
        };
        findings.push(Finding::ok(ABOUT, found));
    }
    findings
}

/// Every secret with its key, and how long it should be at least.
fn all(settings: &Settings) -> Vec<(&'static str, &SecretString, usize)> {
    fn of<'a>(
        keys: Option<&'a TokenKeys>,
        names: [&'static str; 2],
    ) -> impl Iterator<Item = (&'static str, &'a SecretString)> {
        let secrets = keys.map(|keys| [keys.hmac_secret.as_ref(), keys.hmac_previous_secret.as_ref()]);
        names.into_iter().zip(secrets.unwrap_or_default()).filter_map(|(name, secret)| Some((name, secret?)))
    }
    let client = ["client.token.hmac_secret_key", "client.token.hmac_previous_secret_key"];
    let subscription =
        ["client.subscription_token.hmac_secret_key", "client.subscription_token.hmac_previous_secret_key"];
    let keys = of(settings.client.token.as_ref(), client);
    let keys = keys.chain(of(settings.client.subscription_token.as_ref(), subscription));
    let operators = ["console.token.hmac_secret_key", "console.token.hmac_previous_secret_key"];
    let keys = keys.chain(of(settings.console.token.as_deref(), operators));
    let keys = keys.chain(settings.http_api.key.iter().map(|key| ("http_api.key", key)));
    let keys = keys.chain(settings.http.metrics_token.iter().map(|token| ("http.metrics_token", token)));
    let mut all: Vec<_> = keys.map(|(name, secret)| (name, secret, SHORTEST)).collect();
    match settings.nats.as_ref().map(|nats| &nats.auth) {
        Some(NatsAuth::UserPassword { password, .. }) => all.push(("nats.password", password, SHORTEST_PASSWORD)),
        Some(NatsAuth::Token(token)) => all.push(("nats.token", token, SHORTEST_PASSWORD)),
        Some(NatsAuth::None | NatsAuth::NKey(_) | NatsAuth::Credentials(_)) | None => {}
    }
    all
}

fn weakness(key: &str, secret: &SecretString, least: usize) -> Option<Finding> {
    let secret = secret.expose_secret();
    let characters: BTreeSet<_> = secret.bytes().collect();
    let lower = secret.to_lowercase();
    let why = if let Some(example) = EXAMPLES.iter().find(|example| lower.contains(*example)) {
        format!("looks like an example ({example:?} is in it)")
    } else if secret.len() < least {
        format!("has {} bytes, fewer than {least}", secret.len())
    } else if characters.len() < FEWEST_CHARACTERS {
        format!("is made of {} different characters", characters.len())
    } else {
        return None;
    };
    Some(Finding::warning("secrets", format!("{key} {why}"), MAKE_ONE))
}

/// Who knows one of them should not know another.
fn shared(secrets: &[(&'static str, &SecretString, usize)]) -> Vec<Finding> {
    let mut by_value: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for (key, secret, _) in secrets {
        by_value.entry(secret.expose_secret()).or_default().push(key);
    }
    let shared = by_value.into_values().filter(|keys| keys.len() > 1);
    shared.map(|keys| Finding::warning("secrets", format!("one secret is {}", keys.join(" and ")), MAKE_ONE)).collect()
}

#[cfg(unix)]
fn readable(what: &str, file: &Path) -> Option<Finding> {
    let mode = mode(file)?;
    (mode & 0o007 != 0 && is_reached_by_others(file)).then(|| {
        let found = format!("{} ({what}) has mode {mode:o}: everybody on this machine can read it", file.display());
        Finding::warning("secrets", found, format!("chmod o-rwx {}", file.display()))
    })
}

/// Whether every folder on the way lets others through. What a container engine lays into a container is there for whoever
/// runs in it, with the mode that it has outside; there its folder keeps others away.
#[cfg(unix)]
fn is_reached_by_others(file: &Path) -> bool {
    if file.starts_with(LAID_INTO_CONTAINERS) {
        return false;
    }
    let Ok(file) = file.canonicalize() else { return true };
    file.ancestors().skip(1).all(|folder| mode(folder).is_none_or(|mode| mode & 0o001 != 0))
}

#[cfg(unix)]
fn mode(path: &Path) -> Option<u32> {
    use std::os::unix::fs::PermissionsExt as _;
    Some(std::fs::metadata(path).ok()?.permissions().mode() & 0o777)
}

#[cfg(not(unix))]
fn readable(_: &str, _: &Path) -> Option<Finding> {
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(settings: &str) -> Vec<String> {
        let settings = Settings::from_toml(settings).unwrap();
        kept(&settings, &[]).into_iter().map(|finding| finding.found).collect()
    }

    #[test]
    fn examples_repetitions_and_short_keys_are_told_without_showing_them() {
        let said = said(
            r#"
            client.token.hmac_secret_key = "my-changeme-secret-of-more-than-32-bytes"
            client.token.hmac_previous_secret_key = "abababababababababababababababababab"
            http_api.key = "4f8a1c"
            "#,
        );
        assert_eq!(
            said,
            [
                r#"client.token.hmac_secret_key looks like an example ("changeme" is in it)"#,
                "client.token.hmac_previous_secret_key is made of 2 different characters",
                "http_api.key has 6 bytes, fewer than 32",
            ]
        );
    }

    #[test]
    #[cfg(unix)]
    fn what_a_container_engine_laid_there_is_not_for_others() {
        assert!(!is_reached_by_others(Path::new("/run/secrets/jwt_secret")));
    }

    #[test]
    #[cfg(unix)]
    fn a_folder_on_the_way_keeps_others_away_or_lets_them_through() {
        use std::fs::{Permissions, set_permissions, write};
        use std::os::unix::fs::PermissionsExt as _;
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("key");
        write(&file, "a secret").unwrap();
        let way_there = is_reached_by_others(folder.path());
        let with_mode = |mode| {
            set_permissions(folder.path(), Permissions::from_mode(mode)).unwrap();
            is_reached_by_others(&file)
        };
        assert_eq!([0o700, 0o750, 0o711, 0o755].map(with_mode), [false, false, way_there, way_there]);
    }

    #[test]
    fn one_secret_for_two_purposes_is_told() {
        let secret = "3b1fd2a04e59cc7710a8f36e2d945b8c";
        let said = said(&format!("client.token.hmac_secret_key = \"{secret}\"\nhttp_api.key = \"{secret}\""));
        assert_eq!(said, ["one secret is client.token.hmac_secret_key and http_api.key"]);
    }
}
