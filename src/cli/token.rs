//! Makes tokens for trying things out.

use std::time::Duration;

use anyhow::{Context as _, bail};
use clap::Args;
use midplane::auth::issue::hmac_connection_token;
use midplane::settings::{Settings, TokenKeys};
use serde_json::{Map, Value};
use uuid::Uuid;

/// A connection token, with a channel a subscription token, or an operator token.
#[derive(Debug, Args)]
pub(super) struct Token {
    /// The user's id
    #[arg(long)]
    user: String,

    /// How long it is valid: "90s", "1h", "30d"; "0s" is for ever
    #[arg(long, default_value = "1h", value_parser = humantime::parse_duration)]
    ttl: Duration,

    /// Make a subscription token for this channel
    #[arg(long, value_name = "CHANNEL")]
    channel: Option<String>,

    /// Make an operator token: "read" is good for looking, "full" for everything
    #[arg(long, value_name = "ACCESS", value_parser = ["read", "full"], conflicts_with_all = ["channel", "subscribe"])]
    operator: Option<String>,

    /// Subscribe the connection to this channel on the server's side; may be repeated
    #[arg(long, value_name = "CHANNEL", conflicts_with = "channel")]
    subscribe: Vec<String>,
}

impl Token {
    /// A connection token for `user`.
    pub(super) fn of(user: &str, ttl: Duration) -> Self {
        Self { user: user.to_owned(), ttl, channel: None, subscribe: Vec::new(), operator: None }
    }

    /// The token, such as a node with `settings` accepts.
    ///
    /// # Errors
    /// When no HMAC secret is configured for such tokens.
    pub(super) fn make(&self, settings: &Settings) -> anyhow::Result<String> {
        if self.operator.is_some() {
            return self.make_operator(settings);
        }
        let client = &settings.client;
        let keys = match &self.channel {
            Some(_) => client.subscription_token.as_ref().or(client.token.as_ref()),
            None => client.token.as_ref(),
        };
        let Some((keys, secret)) = keys.and_then(|keys| keys.hmac_secret.as_ref().map(|secret| (keys, secret))) else {
            bail!(
                "no HMAC secret to sign with: set JWT_SECRET (client.token.hmac_secret_key), or name the node's file by --config"
            );
        };
        let ttl = (!self.ttl.is_zero()).then_some(self.ttl);
        hmac_connection_token(secret, &self.user, ttl, self.claims(keys)).context("make a token")
    }

    fn make_operator(&self, settings: &Settings) -> anyhow::Result<String> {
        let keys = settings.console.token.as_deref();
        let Some((keys, secret)) = keys.and_then(|keys| keys.hmac_secret.as_ref().map(|secret| (keys, secret))) else {
            bail!("no HMAC secret to sign with: set console.token.hmac_secret_key");
        };
        if self.ttl.is_zero() {
            bail!("operator tokens must expire: --ttl is longer than nothing");
        }
        hmac_connection_token(secret, &self.user, Some(self.ttl), self.claims(keys)).context("make a token")
    }

    fn claims(&self, keys: &TokenKeys) -> Map<String, Value> {
        let mut claims = Map::new();
        let mut claim = |name: &str, value: Value| claims.insert(name.to_owned(), value);
        if let Some(audience) = &keys.audience {
            claim("aud", audience.clone().into());
        }
        if let Some(issuer) = &keys.issuer {
            claim("iss", issuer.clone().into());
        }
        if let Some(user) = &keys.user_id_claim {
            claim(user, self.user.clone().into());
        }
        if let Some(channel) = &self.channel {
            claim("channel", channel.clone().into());
        }
        if let Some(access) = &self.operator {
            claim("operator", access.clone().into());
            claim("jti", Uuid::new_v4().to_string().into());
        }
        if !self.subscribe.is_empty() {
            claim("channels", self.subscribe.clone().into());
        }
        claims
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;
    use midplane::auth::{Access, Verifier};

    use super::*;

    #[derive(Debug, Parser)]
    struct Line {
        #[command(flatten)]
        token: Token,
    }

    fn token(line: &[&str]) -> Token {
        Line::parse_from(["token", "--user", "ada"].iter().chain(line)).token
    }

    const SETTINGS: &str = r#"
        [client.token]
        hmac_secret_key = "0123456789abcdef0123456789abcdef"
        audience = "midplane"
        issuer = "https://app.example"
        "#;

    #[tokio::test]
    async fn a_node_with_the_same_settings_accepts_the_token() {
        let settings = Settings::from_toml(SETTINGS).unwrap();
        let verifier = Verifier::new(settings.client.token.as_ref().unwrap()).unwrap();
        let made = token(&["--subscribe", "news"]).make(&settings).unwrap();
        let grant = verifier.connection(&made).await.unwrap();
        assert_eq!(grant.user, "ada");
        let made = token(&["--channel", "chat:lobby", "--ttl", "0s"]).make(&settings).unwrap();
        assert_eq!(verifier.subscription(&made).await.unwrap().channel, "chat:lobby");
    }

    #[tokio::test]
    async fn an_operator_token_is_signed_by_keys_of_its_own_and_expires() {
        const OPERATORS: &str = "[console.token]\nhmac_secret_key = \"fedcba9876543210fedcba9876543210\"";
        let settings = Settings::from_toml(&format!("{SETTINGS}\n{OPERATORS}")).unwrap();
        let verifier = Verifier::new(settings.console.token.as_ref().unwrap()).unwrap();
        let made = token(&["--operator", "read"]).make(&settings).unwrap();
        let grant = verifier.operator(&made).await.unwrap();
        assert_eq!((grant.operator.as_str(), grant.access), ("ada", Access::Read));
        assert!(grant.token_id.is_some(), "one that is lost can be revoked");
        let connection = token(&[]).make(&settings).unwrap();
        assert!(verifier.operator(&connection).await.is_err(), "a client is no operator");
        let clients = Verifier::new(settings.client.token.as_ref().unwrap()).unwrap();
        assert!(clients.operator(&connection).await.is_err(), "without the claim nobody is one");
        let secret = settings.client.token.as_ref().unwrap().hmac_secret.as_ref().unwrap();
        let claims = Map::from_iter([("operator".to_owned(), "full".into())]);
        let forged = hmac_connection_token(secret, "ada", Some(Duration::from_secs(60)), claims).unwrap();
        assert!(verifier.operator(&forged).await.is_err(), "what signs clients' tokens makes no operators");
        assert!(token(&["--operator", "full", "--ttl", "0s"]).make(&settings).is_err());
        assert!(token(&["--operator", "full"]).make(&Settings::from_toml(SETTINGS).unwrap()).is_err());
    }

    #[test]
    fn without_a_secret_there_is_no_token() {
        let error = token(&[]).make(&Settings::from_toml("").unwrap()).unwrap_err();
        assert!(error.to_string().contains("JWT_SECRET"), "{error}");
    }
}
