//! Bodies in JSON, and errors with words of their own.

use axum::Json;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use serde::de::DeserializeOwned;
use serde_json::json;

/// What a body says, or the answer to one that says nothing of the kind.
pub(super) fn read<T: DeserializeOwned>(body: &[u8]) -> Result<T, Box<Response>> {
    serde_json::from_slice(body).map_err(|error| Box::new(refused(StatusCode::BAD_REQUEST, error.to_string())))
}

/// `{"error":{"code":…,"message":…}}`, as of a [`Refusal`](super::Refusal), with the status for its code.
pub(super) fn refused(status: StatusCode, message: String) -> Response {
    (status, Json(json!({ "error": { "code": status.as_u16(), "message": message } }))).into_response()
}
