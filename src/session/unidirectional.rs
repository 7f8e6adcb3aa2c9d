//! Clients that only listen: they say who they are, and nothing more.

use bytes::Bytes;
use tracing::debug;

use super::Failure;
use super::connect::Identity;
use super::permissions::{Asker, belongs_to, fits};
use super::state::{Phase, Session};
use crate::auth::{Overrides, ServerSub};
use crate::protocol::centrifuge::codes::{ClientError, Disconnect, DisconnectCode, ErrorCode};
use crate::protocol::centrifuge::{
    Command, ConnectRequest, ConnectResult, Method, Push, ReplyResult, decode_introduction,
};

impl Session {
    pub(super) fn is_unidirectional(&self) -> bool {
        self.outbox.format().is_unidirectional()
    }

    /// Takes the client's first message for a connect command; what follows on a WebSocket is not listened to.
    pub(super) fn introduction(&self, message: &Bytes) -> Result<Vec<Command>, Disconnect> {
        if !matches!(self.phase, Phase::Opening(_)) {
            return Ok(Vec::new());
        }
        let request = decode_introduction(message).map_err(|error| {
            debug!(client = %self.id, "closing: {error}");
            Disconnect::from(DisconnectCode::BadRequest)
        })?;
        Ok(vec![Command { id: 1, method: Method::Connect(Box::new(request)) }])
    }

    /// Tells the client that it is connected.
    pub(super) fn greet(&self, id: u32, result: ConnectResult) {
        if self.is_unidirectional() {
            self.push(Push::Connect(Box::new(result.into())));
        } else {
            self.reply(id, ReplyResult::Connect(result));
        }
    }

    /// The channels that the client names and may subscribe to without anybody being asked, the others left out: there
    /// is no way to say no to one of them.
    pub(super) fn wanted_subs(&self, identity: &Identity, request: &ConnectRequest) -> Result<Vec<ServerSub>, Failure> {
        let mut subs = Vec::new();
        for name in request.subs.keys().filter(|_| self.is_unidirectional()) {
            let (channel, namespace) = self.channel(name).map_err(|_| Failure::from(DisconnectCode::BadRequest))?;
            if channel.is_private() || namespace.subscribe_hook || !fits(&channel, &namespace) {
                continue;
            }
            let user = identity.user.as_str();
            let may = belongs_to(&channel, &namespace, user)
                .unwrap_or_else(|| Asker { user, subscribed: false }.may_subscribe(&namespace));
            if may {
                subs.push(ServerSub { channel: name.clone(), info: None, data: None, overrides: Overrides::default() });
            }
        }
        Ok(subs)
    }
}

/// A refused connect as these clients hear it: there is no reply that could carry the error.
pub(super) fn as_disconnect(error: &ClientError) -> Disconnect {
    let is = |code: ErrorCode| error.code() == code.code();
    let code = if is(ErrorCode::TokenExpired) || is(ErrorCode::Expired) {
        DisconnectCode::Expired
    } else if is(ErrorCode::TooManyRequests) {
        DisconnectCode::TooManyRequests
    } else if is(ErrorCode::PermissionDenied) {
        DisconnectCode::PermissionDenied
    } else {
        DisconnectCode::ServerError
    };
    code.into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refused_connect_ends_as_in_the_reference() {
        for (error, code) in [
            (ErrorCode::TokenExpired, 3005),
            (ErrorCode::Expired, 3005),
            (ErrorCode::TooManyRequests, 3013),
            (ErrorCode::PermissionDenied, 3507),
            (ErrorCode::UnknownChannel, 3004),
            (ErrorCode::Internal, 3004),
        ] {
            assert_eq!(as_disconnect(&error.into()).code(), code, "{error:?}");
        }
    }
}
