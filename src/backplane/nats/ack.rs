//! Acknowledged writes.
//!
//! A message is sent to a subject, and whichever stream captures that acknowledges it: where ours is gone, one that somebody
//! made with a wider pattern. Nothing that it stores is ever delivered. So an acknowledgement counts only if it names the
//! stream that was meant. (The header `Nats-Expected-Stream` would say the same to the server; but it would be stored, and
//! delivered to every node, with every message.)

use std::time::Duration;

use async_nats::{HeaderMap, HeaderValue};
use bytes::Bytes;
use serde::Deserialize;

use super::connection::{ApiError, Link, Refusal, parse_answer};

/// A stream's acknowledgement.
#[derive(Debug, Deserialize)]
pub struct Ack {
    stream: String,
    pub seq: u64,
    #[serde(default)]
    pub duplicate: bool,
}

impl Link {
    /// Stores a message in `stream`, which captures `subject`, and waits for its acknowledgement.
    pub async fn store(
        &self,
        stream: &str,
        subject: &str,
        headers: Option<HeaderMap>,
        body: Bytes,
        within: Duration,
    ) -> Result<Ack, ApiError> {
        let answer = self.request(subject, headers, body, within).await?;
        let ack: Ack = parse_answer(&answer.payload)?;
        if ack.stream == stream {
            Ok(ack)
        } else {
            Err(ApiError::Foreign { subject: subject.to_owned(), stream: stream.to_owned(), by: ack.stream })
        }
    }

    /// The same, if the last message of `subject` still has the sequence `over`, 0 for none; `None` where somebody was faster.
    pub async fn store_over(
        &self,
        stream: &str,
        subject: &str,
        over: u64,
        mut headers: HeaderMap,
        body: Bytes,
        within: Duration,
    ) -> Result<Option<Ack>, ApiError> {
        headers.insert("Nats-Expected-Last-Subject-Sequence", HeaderValue::from(over));
        match self.store(stream, subject, Some(headers), body, within).await {
            Err(error) if matches!(error.code(), Refusal::WRONG_LAST | Refusal::WRONG_LAST_IN_FLIGHT) => Ok(None),
            outcome => outcome.map(Some),
        }
    }
}
