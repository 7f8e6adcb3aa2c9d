//! Whether a user may come in: what is asked of every client, whatever its protocol.

use std::sync::Arc;

use tracing::debug;
use uuid::Uuid;

use super::services::Services;
use super::strangers::Stranger;
use crate::auth::{ConnectionGrant, TokenError, Verifier};
use crate::census::{NoPlace, Place};
use crate::hub::Outbox;
use crate::revocation::Token;
use crate::telemetry::{LimitScope, Rejection};

/// Why a user may not come in.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NotAdmitted {
    #[error("the user connects too often (client.user_connect_rate)")]
    TooOften,
    #[error("the user has as many connections as allowed (client.user_connection_limit)")]
    Full,
    /// Nobody can tell at the moment.
    #[error("{0} (client.user_connection_limit)")]
    Unknown(String),
}

impl Services {
    /// What a connection token grants, unless it is revoked. Counted.
    ///
    /// # Errors
    /// When it is not to be believed.
    pub async fn believe(&self, verifier: &Verifier, token: &str) -> Result<ConnectionGrant, TokenError> {
        let grant = verifier.connection(token).await.and_then(|grant| self.unless_revoked(grant));
        self.counted_token(grant.as_ref().err());
        // Tokens that are over come every day, and clients are told of them in words.
        grant.inspect_err(|error| {
            if !error.is_expired() && !error.is_temporary() {
                self.strangers.tell(&Stranger::Token(error));
            }
        })
    }

    /// A believed connection token, unless it is revoked.
    fn unless_revoked(&self, grant: ConnectionGrant) -> Result<ConnectionGrant, TokenError> {
        let token = Token::new(grant.token_id.as_deref(), grant.issued_at);
        if self.revocations.refuses(&token, &grant.user, "") { Err(TokenError::Revoked) } else { Ok(grant) }
    }

    /// Counts one more connect of a user, who may be anonymous.
    ///
    /// # Errors
    /// [`NotAdmitted::TooOften`].
    pub fn spend_connect(&self, user: &str, client: Uuid) -> Result<(), NotAdmitted> {
        let Some(rate) = self.limits.users.connect.as_ref().filter(|_| !user.is_empty()) else { return Ok(()) };
        if rate.admits(user) {
            return Ok(());
        }
        let refused = NotAdmitted::TooOften;
        debug!(%client, "refused: {refused}");
        self.telemetry.http.rate_limited.of(LimitScope::UserConnect).increment(1);
        self.telemetry.http.handshakes_rejected.of(Rejection::RateLimit).increment(1);
        Err(refused)
    }

    /// Counts a client among those of its user, on all nodes, until the place is dropped.
    ///
    /// # Errors
    /// [`NotAdmitted::Full`] and [`NotAdmitted::Unknown`].
    pub async fn take_place(
        &self,
        user: &str,
        client: Uuid,
        outbox: &Arc<Outbox>,
    ) -> Result<Option<Place>, NotAdmitted> {
        let Some(census) = self.limits.census.as_ref().filter(|_| !user.is_empty()) else { return Ok(None) };
        census.enter(user, client, outbox).await.map(Some).map_err(|error| {
            let refused = match error {
                NoPlace::Full => {
                    self.telemetry.http.handshakes_rejected.of(Rejection::UserLimit).increment(1);
                    NotAdmitted::Full
                }
                NoPlace::Unknown(why) => NotAdmitted::Unknown(why),
            };
            debug!(%client, "refused: {refused}");
            refused
        })
    }
}
