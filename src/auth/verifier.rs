//! From a token to what it grants.

use tracing::warn;

use super::compact::Compact;
use super::keys::{self, Key};
use super::registered::{Demands, Registered};
use super::remote::{Patience, RemoteKeys};
use super::{ConnectionGrant, KeyError, OperatorGrant, SubscriptionGrant, TokenError, claims, operator};
use crate::causes::causes;
use crate::settings::TokenKeys;
use crate::telemetry::Pace;

/// Verifies tokens of one kind. Built once.
pub struct Verifier {
    configured: Vec<Key>,
    remote: Option<RemoteKeys>,
    demands: Demands,
    /// Of lines about tokens that only their issuer can have got wrong.
    unusable: Pace,
}

impl Verifier {
    /// A verifier with the keys that `settings` name. Keys behind a URL are fetched when the first token needs them.
    ///
    /// # Errors
    /// When there is no key, or one is not what it should be.
    pub fn new(settings: &TokenKeys) -> Result<Self, KeyError> {
        Self::with_patience(settings, Patience::default())
    }

    pub(super) fn with_patience(settings: &TokenKeys, patience: Patience) -> Result<Self, KeyError> {
        let configured = keys::configured(settings).into_iter().map(|(_, key)| key).collect::<Result<Vec<_>, _>>()?;
        let remote = settings.jwks.as_ref().map(|jwks| RemoteKeys::new(jwks, patience)).transpose()?;
        if configured.is_empty() && remote.is_none() {
            return Err(KeyError::None);
        }
        Ok(Self { configured, remote, demands: Demands::new(settings), unusable: Pace::default() })
    }

    /// Who connects with `token`, and what comes with it.
    ///
    /// # Errors
    /// When the token is not to be believed, is over, or is a subscription token; or for the time being, when the key
    /// it names cannot be fetched ([`TokenError::is_temporary`]).
    pub async fn connection(&self, token: &str) -> Result<ConnectionGrant, TokenError> {
        let (payload, registered) = self.believe(token).await?;
        claims::connection(&payload, registered).inspect_err(|error| self.tell(error))
    }

    /// Which channel `token` opens, and for whom. Whether that is the channel, user and client at hand is for the
    /// caller to check.
    ///
    /// # Errors
    /// As for [`connection`](Self::connection); a connection token is refused.
    pub async fn subscription(&self, token: &str) -> Result<SubscriptionGrant, TokenError> {
        let (payload, registered) = self.believe(token).await?;
        claims::subscription(&payload, registered).inspect_err(|error| self.tell(error))
    }

    /// What an operator may who shows `token`.
    ///
    /// # Errors
    /// When the token is not to be believed, is over, does not say what its bearer may, or never expires.
    pub async fn operator(&self, token: &str) -> Result<OperatorGrant, TokenError> {
        let (payload, registered) = self.believe(token).await?;
        operator::grant(&payload, registered)
    }

    /// Its signature is good, so it is not a stranger's rubbish: an application makes tokens that nobody can use.
    fn tell(&self, error: &TokenError) {
        if let TokenError::Claim(..) | TokenError::Claims(_) = error
            && let Some(left_out) = self.unusable.due()
        {
            warn!(left_out, "a token with a good signature is refused: {}", causes(error));
        }
    }

    async fn believe(&self, token: &str) -> Result<(Vec<u8>, Registered), TokenError> {
        let token = Compact::parse(token)?;
        self.check_signature(&token).await?;
        let payload = token.payload()?;
        let registered = self.demands.check(&payload)?;
        Ok((payload, registered))
    }

    /// Configured keys first, since they cost no wait. A token with a shared secret never leads to a fetch: keys that
    /// are given out to everybody cannot have signed it.
    async fn check_signature(&self, token: &Compact<'_>) -> Result<(), TokenError> {
        if self.configured.iter().any(|key| key.signed(token)) {
            return Ok(());
        }
        match &self.remote {
            Some(remote) if !keys::HMAC.contains(&token.algorithm) => remote.check(token).await,
            _ if self.configured.iter().any(|key| key.allows(token.algorithm)) => Err(TokenError::Signature),
            _ => Err(TokenError::Algorithm(format!("{:?}", token.algorithm))),
        }
    }
}
