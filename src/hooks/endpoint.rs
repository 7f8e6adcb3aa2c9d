//! How a hook is reached: by HTTP POST or by NATS request.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use bytes::Bytes;
use reqwest::header::{CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue};
use tracing::{debug, info, warn};
use url::Url;

use super::rpc::SERVICE_ERROR;
use super::{Caller, HookError, SetupError};
use crate::backplane::Backplane;
use crate::causes::causes;
use crate::settings::{Hook, HookEndpoint};
use crate::telemetry::{HookEvent, Label, Pace};

/// Bytes of one answer; a client could not be sent more anyway.
const ANSWER_LIMIT: usize = 1024 * 1024;
/// What belongs to the client's own connection, or to the body that we write.
const NEVER_FORWARDED: [&str; 6] =
    ["connection", "content-length", "content-type", "host", "transfer-encoding", "upgrade"];

/// The HTTP client of all hooks: made for the first that wants one, since it reads the host's certificates.
#[derive(Default)]
pub struct HttpClient(Option<reqwest::Client>);

/// Where a question goes.
enum Target {
    Http { url: Url, client: reqwest::Client },
    Nats { subject: String, backplane: Arc<dyn Backplane> },
}

/// One configured hook.
pub struct Endpoint {
    event: HookEvent,
    target: Target,
    timeout: Duration,
    wanted: Vec<HeaderName>,
    fixed: HeaderMap,
    /// Of lines about calls that fail.
    failing: Pace,
    /// One of them was written since a call did not.
    told: AtomicBool,
}

impl HttpClient {
    fn get(&mut self) -> Result<reqwest::Client, SetupError> {
        if let Some(client) = &self.0 {
            return Ok(client.clone());
        }
        let client = reqwest::Client::builder()
            .redirect(reqwest::redirect::Policy::none())
            .user_agent(concat!("midplane/", env!("CARGO_PKG_VERSION")))
            .build()
            .map_err(SetupError::Client)?;
        Ok(self.0.insert(client).clone())
    }
}

impl Endpoint {
    pub fn new(
        event: HookEvent,
        hook: &Hook,
        http: &mut HttpClient,
        backplane: &Arc<dyn Backplane>,
    ) -> Result<Self, SetupError> {
        let target = match &hook.endpoint {
            HookEndpoint::Http(url) => Target::Http { url: url.clone(), client: http.get()? },
            HookEndpoint::Nats(subject) => Target::Nats { subject: subject.clone(), backplane: Arc::clone(backplane) },
        };
        Ok(Self {
            event,
            target,
            timeout: hook.timeout,
            wanted: hook
                .http_headers
                .iter()
                .filter(|name| !NEVER_FORWARDED.contains(&name.as_str()))
                .cloned()
                .collect(),
            fixed: hook.static_headers.clone(),
            failing: Pace::default(),
            told: AtomicBool::new(false),
        })
    }

    /// Brings the question there and the answer back.
    pub async fn ask(&self, caller: &Caller<'_>, question: Bytes) -> Result<Bytes, HookError> {
        let headers = self.headers(caller);
        match &self.target {
            Target::Http { url, client } => {
                self.post(client.post(url.clone()).timeout(self.timeout).headers(headers).body(question)).await
            }
            Target::Nats { subject, backplane } => {
                let requests = backplane.requests();
                let requests = requests.ok_or_else(|| HookError::Unreachable("this node has no NATS".to_owned()))?;
                let headers: Vec<(&str, &str)> =
                    headers.iter().filter_map(|(name, value)| Some((name.as_str(), value.to_str().ok()?))).collect();
                let answer = requests.request(subject, &headers, question, self.timeout).await?;
                match answer.headers.iter().find(|(name, _)| name.eq_ignore_ascii_case(SERVICE_ERROR)) {
                    Some((_, error)) => Err(HookError::Service(error.clone())),
                    None => Ok(answer.body),
                }
            }
        }
    }

    /// The configured ones, then what the client's handshake said, in their place where both are there.
    fn headers(&self, caller: &Caller<'_>) -> HeaderMap {
        let mut headers = self.fixed.clone();
        for wanted in &self.wanted {
            let said = caller.headers.iter().filter(|(name, _)| name.eq_ignore_ascii_case(wanted.as_str()));
            for value in said.filter_map(|(_, value)| value.parse::<HeaderValue>().ok()) {
                headers.insert(wanted.clone(), value);
            }
        }
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        headers
    }

    async fn post(&self, call: reqwest::RequestBuilder) -> Result<Bytes, HookError> {
        let failed = |error: reqwest::Error| {
            if error.is_timeout() {
                HookError::Timeout(self.timeout)
            } else {
                HookError::Unreachable(causes(&error.without_url()))
            }
        };
        let mut response = call.send().await.map_err(failed)?;
        if response.status() != reqwest::StatusCode::OK {
            return Err(HookError::Status(response.status().as_u16()));
        }
        let mut body = Vec::new();
        while let Some(chunk) = response.chunk().await.map_err(failed)? {
            if body.len() + chunk.len() > ANSWER_LIMIT {
                return Err(HookError::TooLarge(ANSWER_LIMIT));
            }
            body.extend_from_slice(&chunk);
        }
        Ok(body.into())
    }

    /// Takes note of how a call went.
    pub fn note(&self, failure: Option<&HookError>) {
        let hook = self.event.value();
        let Some(error) = failure else {
            if self.told.swap(false, Ordering::Relaxed) {
                info!(hook, "hook answers again");
            }
            return;
        };
        match self.failing.due() {
            Some(left_out) => {
                warn!(hook, cause = cause(error), left_out, "hook failed: {error}; nothing is allowed");
                self.told.store(true, Ordering::Relaxed);
            }
            None => debug!(hook, cause = cause(error), "hook failed: {error}"),
        }
    }
}

fn cause(error: &HookError) -> Option<String> {
    std::error::Error::source(error).map(ToString::to_string)
}
