//! Backends that have a say: hooks are asked before something is allowed, `rpc` carries clients' calls to services.
//!
//! A hook is a question in JSON (that of Centrifugo's proxies) by HTTP POST or NATS request, and a [`Verdict`]; a
//! failure to ask is an error of its own, never a verdict. What follows from either is for `session` to decide: this
//! room knows no session, no channel's options and nothing of what is already allowed.
//!
//! Source: `internal/proxyproto/proxy.proto` and `internal/proxy` of Centrifugo, `server/proxy.md` of its documentation.

mod answer;
mod caller;
mod endpoint;
mod error;
mod question;
mod rpc;
#[cfg(test)]
pub(crate) mod tests;

use std::sync::Arc;

use crate::backplane::Backplane;
use crate::settings::Hooks as Settings;
use crate::telemetry::{HookEvent, Pace, Telemetry};

pub use answer::{Connected, Publishable, Refreshed, SubRefreshed, Subscribed, Verdict};
pub use caller::Caller;
pub use error::{HookError, SetupError};
pub use rpc::RpcError;

use answer::{ConnectWire, PublishWire, RefreshWire, SubRefreshWire, SubscribeWire};
use endpoint::{Endpoint, HttpClient};
use question::Question;

/// The hooks that are configured, and where `rpc` goes. Built once.
pub struct Hooks {
    backplane: Arc<dyn Backplane>,
    telemetry: Arc<Telemetry>,
    connect: Option<Endpoint>,
    refresh: Option<Endpoint>,
    subscribe: Option<Endpoint>,
    publish: Option<Endpoint>,
    sub_refresh: Option<Endpoint>,
    rpc: crate::settings::Rpc,
    /// Of lines about services that fail, and about methods that nobody serves: clients make those up as well.
    failing: Pace,
    unserved: Pace,
}

impl Hooks {
    /// # Errors
    /// When no HTTP client can be built.
    pub fn new(
        settings: &Settings,
        backplane: Arc<dyn Backplane>,
        telemetry: Arc<Telemetry>,
    ) -> Result<Self, SetupError> {
        let mut http = HttpClient::default();
        let mut endpoint = |event, hook: &Option<_>| {
            hook.as_ref().map(|hook| Endpoint::new(event, hook, &mut http, &backplane)).transpose()
        };
        Ok(Self {
            telemetry,
            connect: endpoint(HookEvent::Connect, &settings.connect)?,
            refresh: endpoint(HookEvent::Refresh, &settings.refresh)?,
            subscribe: endpoint(HookEvent::Subscribe, &settings.subscribe)?,
            publish: endpoint(HookEvent::Publish, &settings.publish)?,
            sub_refresh: endpoint(HookEvent::SubRefresh, &settings.sub_refresh)?,
            rpc: settings.rpc.clone(),
            failing: Pace::default(),
            unserved: Pace::default(),
            backplane,
        })
    }

    /// Whether anybody is asked on `event`.
    #[must_use]
    pub fn asks(&self, event: HookEvent) -> bool {
        self.endpoint(event).is_some()
    }

    /// Who connects without a token. An empty result is an anonymous client.
    ///
    /// `channels` are the server-side subscriptions that the client remembers; `data` may be empty.
    ///
    /// # Errors
    /// When nobody could be asked, or what they answered means nothing.
    pub async fn connect(
        &self,
        caller: &Caller<'_>,
        name: &str,
        version: &str,
        channels: &[&str],
        data: &[u8],
    ) -> Result<Verdict<Connected>, HookError> {
        let question = Question { name, version, channels, ..caller.stranger() }.with_data(data);
        self.ask::<ConnectWire>(HookEvent::Connect, caller, &question).await
    }

    /// Whether, and for how long, an expired connection goes on. An error, or an answer that says nothing, is the end of it.
    ///
    /// # Errors
    /// As for [`connect`](Self::connect). Centrifugo grants another minute then.
    pub async fn refresh(&self, caller: &Caller<'_>) -> Result<Verdict<Refreshed>, HookError> {
        let expired = Refreshed { expired: true, ..Refreshed::default() };
        renewed_or(self.ask::<RefreshWire>(HookEvent::Refresh, caller, &caller.question()).await, expired)
    }

    /// Whether the client may subscribe to `channel`.
    ///
    /// # Errors
    /// As for [`connect`](Self::connect).
    pub async fn subscribe(
        &self,
        caller: &Caller<'_>,
        channel: &str,
        token: &str,
        data: &[u8],
    ) -> Result<Verdict<Subscribed>, HookError> {
        let question = Question { channel: Some(channel), token, ..caller.question() }.with_data(data);
        self.ask::<SubscribeWire>(HookEvent::Subscribe, caller, &question).await
    }

    /// Whether the client may publish `data`, and what is published in its place.
    ///
    /// # Errors
    /// As for [`connect`](Self::connect).
    pub async fn publish(
        &self,
        caller: &Caller<'_>,
        channel: &str,
        data: &[u8],
    ) -> Result<Verdict<Publishable>, HookError> {
        let question = Question { channel: Some(channel), ..caller.question() }.with_data(data);
        self.ask::<PublishWire>(HookEvent::Publish, caller, &question).await
    }

    /// Whether, and for how long, an expired subscription goes on. An error, or an answer that says nothing, is the end of it.
    ///
    /// # Errors
    /// As for [`connect`](Self::connect). Centrifugo grants another minute then.
    pub async fn sub_refresh(&self, caller: &Caller<'_>, channel: &str) -> Result<Verdict<SubRefreshed>, HookError> {
        let question = Question { channel: Some(channel), ..caller.question() };
        let expired = SubRefreshed { expired: true, ..SubRefreshed::default() };
        renewed_or(self.ask::<SubRefreshWire>(HookEvent::SubRefresh, caller, &question).await, expired)
    }

    async fn ask<W: answer::Wire>(
        &self,
        event: HookEvent,
        caller: &Caller<'_>,
        question: &Question<'_>,
    ) -> Result<Verdict<W::Result>, HookError> {
        let endpoint = self.endpoint(event).ok_or(HookError::NotConfigured)?;
        let started = tokio::time::Instant::now();
        let verdict = match endpoint.ask(caller, question.to_json()).await {
            Ok(answer) => answer::read::<W>(&answer),
            Err(error) => Err(error),
        };
        let clients = &self.telemetry.clients;
        clients.hook_duration.of(event).record(started.elapsed());
        clients.hooks.of((event, verdict.as_ref().map_or_else(HookError::label, Verdict::label))).increment(1);
        endpoint.note(verdict.as_ref().err());
        verdict
    }

    fn endpoint(&self, event: HookEvent) -> Option<&Endpoint> {
        match event {
            HookEvent::Connect => self.connect.as_ref(),
            HookEvent::Refresh => self.refresh.as_ref(),
            HookEvent::Subscribe => self.subscribe.as_ref(),
            HookEvent::Publish => self.publish.as_ref(),
            HookEvent::SubRefresh => self.sub_refresh.as_ref(),
        }
    }
}

/// What a question about renewal comes to: only a result renews. Whoever could not be asked may be back soon; whoever answers
/// what means nothing might do so for ever.
fn renewed_or<R>(verdict: Result<Verdict<R>, HookError>, expired: R) -> Result<Verdict<R>, HookError> {
    match verdict {
        Ok(Verdict::Error(_)) | Err(HookError::NoObject(_) | HookError::Undecided) => Ok(Verdict::Result(expired)),
        Ok(Verdict::Result(_) | Verdict::Disconnect(_)) | Err(_) => verdict,
    }
}
