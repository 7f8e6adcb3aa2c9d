//! The form of older server libraries: commands one after another, each with its method and parameters.
//!
//! Source: `internal/api/handler_legacy.go` of `centrifugal/centrifugo`, which means to remove it in v7.

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use super::command::{Command, or_null};
use super::{Answer, Api, ApiError, Method};
use crate::api::error::ErrorBody;
use crate::telemetry::Source;

#[derive(Deserialize, Default)]
#[serde(default)]
struct LegacyCommand {
    #[serde(deserialize_with = "or_null")]
    id: u32,
    method: Option<LegacyMethod>,
    params: Option<Box<RawValue>>,
}

/// By name in any case, or by number.
#[derive(Deserialize)]
#[serde(untagged)]
enum LegacyMethod {
    Name(String),
    Number(u32),
}

#[derive(Serialize)]
struct LegacyReply {
    #[serde(skip_serializing_if = "Option::is_none")]
    id: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<ErrorBody>,
    #[serde(skip_serializing_if = "Option::is_none")]
    result: Option<Box<RawValue>>,
}

impl LegacyCommand {
    /// `None` for a method that nobody knows.
    fn method(&self) -> Option<Method> {
        match &self.method {
            None => Some(Method::Publish),
            Some(LegacyMethod::Number(number)) => Method::of_number(*number),
            Some(LegacyMethod::Name(name)) => {
                Method::parse(&name.to_lowercase()).filter(|method| *method != Method::Batch)
            }
        }
    }
}

impl Api {
    /// Runs the commands in `body`, one after another; the replies come one a line in the same order.
    ///
    /// # Errors
    /// Where the body holds anything but commands: nothing of it is run then.
    pub async fn call_legacy(&self, body: &[u8], source: Source) -> Result<Bytes, ApiError> {
        let commands = serde_json::Deserializer::from_slice(body).into_iter::<Option<LegacyCommand>>();
        let commands: Vec<_> =
            commands.collect::<Result<_, _>>().map_err(|error| ApiError::Invalid(error.to_string()))?;
        if commands.is_empty() {
            return Err(ApiError::Invalid("no command".to_owned()));
        }
        let mut lines = Vec::new();
        for command in commands {
            if !lines.is_empty() {
                lines.push(b'\n');
            }
            let command = command.unwrap_or_default();
            let id = Some(command.id).filter(|id| *id != 0);
            let (error, result) = match self.run_legacy(&command, source).await {
                Ok(result) => (None, Some(result)),
                Err(error) => (Some(error.body()), None),
            };
            serde_json::to_writer(&mut lines, &LegacyReply { id, error, result }).map_err(|_| ApiError::Internal)?;
        }
        Ok(lines.into())
    }

    async fn run_legacy(&self, command: &LegacyCommand, source: Source) -> Answer {
        let method = command.method().ok_or(ApiError::NotFound)?;
        let params = command.params.as_deref().map_or("", RawValue::get);
        let command = Command::decode(method, params.as_bytes())?;
        self.run(command, source).await
    }
}
