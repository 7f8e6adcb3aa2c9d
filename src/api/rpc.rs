//! `rpc`: a backend's call to a service, on the subject of clients' calls.

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use tracing::warn;

use super::command::{or_null, payload};
use super::{Api, ApiError};
use crate::backplane::{Answer, RequestError};

/// Services tell a backend's call from a client's by it: a client's names its socket.
const HEADERS: [(&str, &str); 1] = [("Midplane-Transport", "api")];
/// With it a service says that it failed.
const FAILED: &str = "Nats-Service-Error-Code";
/// Bytes of a method's name: a subject has room for no more.
const METHOD_LIMIT: usize = 200;

#[derive(Debug, Deserialize, Default)]
#[serde(default)]
pub(super) struct RpcRequest {
    #[serde(deserialize_with = "or_null")]
    method: String,
    #[serde(deserialize_with = "payload")]
    params: Option<Box<RawValue>>,
}

#[derive(Serialize)]
pub(super) struct RpcResult {
    #[serde(skip_serializing_if = "Option::is_none")]
    data: Option<Box<RawValue>>,
}

impl Api {
    pub(super) async fn rpc(&self, request: RpcRequest) -> Result<RpcResult, ApiError> {
        if request.method.is_empty() {
            return Err(ApiError::BadRequest);
        }
        if !self.rpc.enabled {
            return Err(ApiError::NotAvailable);
        }
        // Without anybody outside, nobody serves any method.
        let requests = self.backplane.requests().filter(|_| is_method(&request.method)).ok_or(ApiError::NotFound)?;
        let params =
            request.params.map_or_else(Bytes::new, |params| Box::<str>::from(params).into_boxed_bytes().into());
        let subject = format!("rpc.{}", request.method);
        match requests.request(&subject, &HEADERS, params, self.rpc.timeout).await {
            Ok(answer) => read(&answer),
            Err(RequestError::NoResponder(_)) => Err(ApiError::NotFound),
            Err(error @ (RequestError::Timeout(_) | RequestError::Unavailable(_))) => {
                warn!(%error, "a service did not answer a backend's call");
                Err(ApiError::Internal)
            }
        }
    }
}

fn read(answer: &Answer) -> Result<RpcResult, ApiError> {
    if answer.headers.iter().any(|(name, _)| name.eq_ignore_ascii_case(FAILED)) {
        return Err(ApiError::Internal);
    }
    if answer.body.is_empty() {
        return Ok(RpcResult { data: None });
    }
    serde_json::from_slice(&answer.body).map(|data| RpcResult { data: Some(data) }).map_err(|_| ApiError::Internal)
}

/// Whether `method` names one subject and nothing else: tokens of letters, digits, `_` and `-`, joined by dots.
fn is_method(method: &str) -> bool {
    let token = |token: &str| {
        !token.is_empty() && token.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-'))
    };
    method.len() <= METHOD_LIMIT && method.split('.').all(token)
}
