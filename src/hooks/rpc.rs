//! Clients' calls to services: a request to `rpc.<method>` below the prefix, with the caller in its headers.
//!
//! The bodies are the data alone, both ways. A service that fails says so in headers: in ours, or in those of the NATS
//! service framework.

use std::time::Duration;

use bytes::Bytes;
use tracing::warn;

use super::answer::client_error;
use super::{Caller, Hooks};
use crate::backplane::{Answer, RequestError};
use crate::protocol::centrifuge::codes::{ClientError, ErrorCode};
use crate::protocol::centrifuge::{Encoding, raw};
use crate::telemetry::RpcResult;

/// Who calls. Always there, and empty for anonymous users.
const USER: &str = "Midplane-User";
const CLIENT: &str = "Midplane-Client";
const TRANSPORT: &str = "Midplane-Transport";
const PROTOCOL: &str = "Midplane-Protocol";
/// JSON that a token or the connect hook gave for backends.
const META: &str = "Midplane-Meta";

/// How a service fails: a number of 400 to 1999, words, and `true` where the client may try again.
const ERROR_CODE: &str = "Midplane-Error-Code";
const ERROR_MESSAGE: &str = "Midplane-Error-Message";
const ERROR_TEMPORARY: &str = "Midplane-Error-Temporary";
/// The same in the service framework: words, and a text that usually is a number like an HTTP status.
pub const SERVICE_ERROR: &str = "Nats-Service-Error";
const SERVICE_ERROR_CODE: &str = "Nats-Service-Error-Code";

/// Bytes of a method's name: a subject has room for no more.
const METHOD_LIMIT: usize = 200;

/// Why a call brought no data.
#[derive(Debug, thiserror::Error)]
pub enum RpcError {
    /// Calls are switched off.
    #[error("hooks.rpc.enabled is false")]
    Off,
    /// This node reaches no services.
    #[error("nats.servers is not set")]
    Alone,
    /// No service can have such a name.
    #[error("{0:?} cannot be a method's name")]
    Method(String),
    #[error("nobody serves the method {0:?}")]
    NoResponder(String),
    /// The user's id would not arrive as it is. Without it, or with another, the call must not arrive at all.
    #[error("a header cannot carry the user's id")]
    User,
    #[error("no answer within {0:?}")]
    Timeout(Duration),
    #[error("services cannot be reached: {0}")]
    Unavailable(String),
    /// A JSON client can be told nothing else.
    #[error("the answer is not JSON")]
    NotJson,
    /// The service says so.
    #[error("the service answered {0}")]
    Service(ClientError),
    /// The service failed without saying what the client may know.
    #[error("the service failed: {0}")]
    Failed(String),
}

impl RpcError {
    /// What the client is told.
    #[must_use]
    pub fn client_error(&self) -> ClientError {
        match self {
            Self::Off | Self::Alone => ErrorCode::NotAvailable.into(),
            Self::Method(_) | Self::NoResponder(_) => ErrorCode::MethodNotFound.into(),
            Self::User => ErrorCode::BadRequest.into(),
            Self::Timeout(_) | Self::Unavailable(_) | Self::NotJson | Self::Failed(_) => ErrorCode::Internal.into(),
            Self::Service(error) => error.clone(),
        }
    }
}

impl Hooks {
    /// Calls `method` for a client and brings its answer's data.
    ///
    /// # Errors
    /// When no service can be or is there, it takes too long, or says that it failed.
    pub async fn rpc(&self, caller: &Caller<'_>, method: &str, data: Bytes) -> Result<Bytes, RpcError> {
        if !self.rpc.enabled {
            return Err(RpcError::Off);
        }
        if !is_method(method) {
            return Err(RpcError::Method(method.to_owned()));
        }
        let headers = headers(caller)?;
        let requests = self.backplane.requests().ok_or(RpcError::Alone)?;
        let started = tokio::time::Instant::now();
        let outcome = match requests.request(&format!("rpc.{method}"), &headers, data, self.rpc.timeout).await {
            Ok(answer) => read(answer, caller.encoding),
            Err(RequestError::NoResponder(_)) => Err(RpcError::NoResponder(method.to_owned())),
            Err(RequestError::Timeout(within)) => Err(RpcError::Timeout(within)),
            Err(error @ RequestError::TooLarge { .. }) => Err(RpcError::Unavailable(error.to_string())),
            Err(RequestError::Unavailable(why)) => Err(RpcError::Unavailable(why)),
        };
        let result = label(&outcome);
        self.telemetry.clients.rpc.of(result).increment(1);
        self.telemetry.clients.rpc_duration.of(result).record(started.elapsed());
        if let Err(error) = &outcome {
            self.note_rpc(method, error);
        }
        outcome
    }

    /// Takes note of a call that failed: one line now and then for all methods, since there are as many as clients like.
    fn note_rpc(&self, method: &str, error: &RpcError) {
        let pace = match error {
            RpcError::Timeout(_) | RpcError::Unavailable(_) | RpcError::NotJson | RpcError::Failed(_) => &self.failing,
            RpcError::NoResponder(_) => &self.unserved,
            RpcError::Off | RpcError::Alone | RpcError::Method(_) | RpcError::User | RpcError::Service(_) => return,
        };
        if let Some(left_out) = pace.due() {
            warn!(method, left_out, "a call to a service failed: {error}");
        }
    }
}

fn label(outcome: &Result<Bytes, RpcError>) -> RpcResult {
    match outcome {
        Ok(_) => RpcResult::Ok,
        Err(RpcError::NoResponder(_)) => RpcResult::NoResponder,
        Err(RpcError::Timeout(_)) => RpcResult::Timeout,
        Err(_) => RpcResult::Error,
    }
}

/// Whether `method` names one subject and nothing else: tokens of letters, digits, `_` and `-`, joined by dots.
fn is_method(method: &str) -> bool {
    let token = |token: &str| {
        !token.is_empty() && token.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-'))
    };
    method.len() <= METHOD_LIMIT && method.split('.').all(token)
}

fn headers<'a>(caller: &Caller<'a>) -> Result<Vec<(&'static str, &'a str)>, RpcError> {
    // Readers of headers trim what they find: " admin" must not become "admin" on the way.
    if caller.user.trim() != caller.user || caller.user.contains(char::is_control) {
        return Err(RpcError::User);
    }
    let protocol = match caller.encoding {
        Encoding::Json => "json",
        Encoding::Protobuf => "protobuf",
    };
    let mut headers =
        vec![(USER, caller.user), (CLIENT, caller.client), (TRANSPORT, caller.transport), (PROTOCOL, protocol)];
    let meta = caller.meta.and_then(|meta| std::str::from_utf8(meta).ok());
    if let Some(meta) = meta.filter(|meta| !meta.contains(char::is_control)) {
        headers.push((META, meta));
    }
    Ok(headers)
}

fn read(answer: Answer, encoding: Encoding) -> Result<Bytes, RpcError> {
    if let Some(error) = failure(&answer.headers) {
        return Err(error);
    }
    match encoding {
        Encoding::Protobuf => Ok(answer.body),
        Encoding::Json if answer.body.is_empty() => Ok(answer.body),
        Encoding::Json => raw::one_line(&answer.body).ok_or(RpcError::NotJson),
    }
}

/// What the headers say of a failure: a code that clients may be told, or else what only the log may know.
fn failure(headers: &[(String, String)]) -> Option<RpcError> {
    let header = |wanted: &str| {
        headers.iter().find(|(name, _)| name.eq_ignore_ascii_case(wanted)).map(|(_, value)| value.trim())
    };
    let (code, message) = match (header(ERROR_CODE), header(SERVICE_ERROR_CODE), header(SERVICE_ERROR)) {
        (Some(code), _, _) => (code, header(ERROR_MESSAGE)),
        (None, None, None) => return None,
        (None, code, message) => (code.unwrap_or_default(), message),
    };
    let message = message.unwrap_or_default();
    let temporary = header(ERROR_TEMPORARY).is_some_and(|value| value.eq_ignore_ascii_case("true"));
    let known = code.parse().ok().and_then(|code| client_error(code, message.to_owned(), temporary).ok());
    Some(known.map_or_else(|| RpcError::Failed(format!("{code} {message}")), RpcError::Service))
}
