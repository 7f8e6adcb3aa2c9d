//! `rpc`: a backend's call to a service, on the subject of clients' calls.

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use tracing::debug;

use super::command::{or_null, payload};
use super::{Api, ApiError};
use crate::hooks::{Caller, RpcError};
use crate::protocol::centrifuge::Encoding;

/// Services tell a backend's call from a client's by the transport: a client's names its socket.
const CALLER: Caller<'static> = Caller {
    client: "",
    user: "",
    transport: "api",
    encoding: Encoding::Json,
    namespace: "",
    headers: &[],
    meta: None,
};

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
            return Err(ApiError::Invalid("method is not set".to_owned()));
        }
        let params = request.params.as_deref().map_or("", RawValue::get);
        let params = Bytes::copy_from_slice(params.as_bytes());
        let data = self.hooks.rpc(&CALLER, &request.method, params).await.map_err(refusal)?;
        if data.is_empty() {
            return Ok(RpcResult { data: None });
        }
        // The answer to a JSON caller is JSON, or an error already.
        serde_json::from_slice(&data).map(|data| RpcResult { data: Some(data) }).map_err(|_| ApiError::Internal)
    }
}

fn refusal(error: RpcError) -> ApiError {
    match error {
        RpcError::Off | RpcError::Alone => ApiError::NotAvailable(error.to_string()),
        RpcError::Method(_) | RpcError::NoResponder(_) => ApiError::NotFound,
        RpcError::User => ApiError::Invalid(error.to_string()),
        RpcError::Service(error) => ApiError::Service(error),
        RpcError::Timeout(_) | RpcError::Unavailable(_) | RpcError::NotJson | RpcError::Failed(_) => {
            debug!(%error, "a backend's call to a service failed");
            ApiError::Internal
        }
    }
}
