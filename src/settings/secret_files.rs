//! Which files hold secrets.

use std::path::{Path, PathBuf};

use config::ValueKind;

use super::model::Settings;
use super::nats::NatsAuth;
use super::resolve::at;
use super::section::Findings;
use super::shown::SECRETS;
use super::sources::Sources;

/// The files that `settings`, which came of `file` and `environment`, have secrets from, each with what is in it.
#[must_use]
pub fn secret_files(
    settings: &Settings,
    file: Option<&Path>,
    environment: impl IntoIterator<Item = (String, String)>,
) -> Vec<(String, PathBuf)> {
    let sources = Sources::read(file, environment.into_iter(), &Findings::default());
    let mut files = sources.environment.files.clone();
    if let Some(file) = file {
        let values = sources.of_file();
        let is_set = |key: &&str| at(&values, &key.split('.').collect::<Vec<_>>()).is_some();
        let in_file: Vec<_> = SECRETS.into_iter().filter(is_set).collect();
        // A password may stand in an address.
        let in_addresses = |key: &&str| {
            at(&values, &key.split('.').collect::<Vec<_>>()).is_some_and(|servers| match &servers.kind {
                ValueKind::Array(servers) => servers.iter().any(|server| server.to_string().contains('@')),
                _ => servers.to_string().contains('@'),
            })
        };
        let in_addresses = ["nats.servers", "redis.servers"].into_iter().filter(in_addresses);
        let secrets: Vec<_> = in_file.into_iter().chain(in_addresses).collect();
        if !secrets.is_empty() {
            files.push((secrets.join(", "), file.to_owned()));
        }
    }
    if let Some(nats) = &settings.nats {
        if let NatsAuth::Credentials(file) = &nats.auth {
            files.push(("nats.credentials".to_owned(), file.clone()));
        }
        files.extend(nats.tls.key_file.iter().map(|file| ("nats.tls.key_file".to_owned(), file.clone())));
    }
    let key = settings.redis.as_ref().and_then(|redis| redis.tls.key_file.clone());
    files.extend(key.map(|file| ("redis.tls.key_file".to_owned(), file)));
    files
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn files_with_secrets_are_known_and_others_are_not() {
        let directory = tempfile::tempdir().unwrap();
        let path = |name: &str| directory.path().join(name);
        fs::write(path("plain.toml"), "http.bind = \"127.0.0.1:8000\"").unwrap();
        fs::write(path("keys.toml"), "http_api.key = \"0123456789abcdef0123456789abcdef\"").unwrap();
        fs::write(path("jwt"), "0123456789abcdef0123456789abcdef").unwrap();
        let environment = || [("JWT_SECRET_FILE".to_owned(), path("jwt").display().to_string())];
        let files = |file: &str| {
            let file = path(file);
            let settings = Settings::load(Some(&file), environment()).unwrap();
            secret_files(&settings, Some(&file), environment())
        };
        let jwt = ("client.token.hmac_secret_key".to_owned(), path("jwt"));
        assert_eq!(files("plain.toml"), std::slice::from_ref(&jwt));
        assert_eq!(files("keys.toml"), [jwt, ("http_api.key".to_owned(), path("keys.toml"))]);
    }
}
