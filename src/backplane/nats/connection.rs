//! The connection for everything but deliveries: publishing, reading history, requests, the JetStream API.

mod error;

use std::collections::HashSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use async_nats::{Client, ConnectOptions, Event, HeaderMap, Message, RequestErrorKind, ServerAddr};
use bytes::Bytes;
use secrecy::ExposeSecret;
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::sync::{broadcast, watch};
use tokio::time::{Instant, sleep_until};
use tracing::{debug, info, warn};

pub use self::error::{ApiError, LinkError, Refusal, Unanswered, parse_answer};

use super::refusals::{self, Refusals};
use crate::settings::{self, NatsAuth};
use crate::telemetry::Pace;

/// The longest pause between two attempts to reconnect.
const RECONNECT_CAP: Duration = Duration::from_millis(400);
/// Commands that wait in the client; beyond it publishers wait.
const COMMANDS: usize = 2048;
/// Refusals by the server that are remembered for whoever waits for an answer that will not come.
const DENIALS: usize = 64;
/// How long a question to JetStream's API may take.
pub const API_TIMEOUT: Duration = Duration::from_secs(2);

/// How the connection stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LinkState {
    pub up: bool,
    /// How often it was lost: who looks now and then would miss a loss that is over.
    pub losses: u64,
    /// How many messages at least were thrown away since whoever subscribed to them was too slow.
    pub dropped: u64,
}

/// An established connection that comes back by itself.
#[derive(Clone)]
pub struct Link {
    pub client: Client,
    state: watch::Receiver<LinkState>,
    denials: broadcast::Sender<Arc<str>>,
    pub refusals: Arc<Refusals>,
    complaints: Arc<AtomicU64>,
}

/// Takes in what the client reports.
struct Ear {
    state: watch::Sender<LinkState>,
    denials: broadcast::Sender<Arc<str>>,
    refusals: Arc<Refusals>,
    complaints: Arc<AtomicU64>,
    /// Of lines about subscriptions taken back, and about everything else.
    taken_back: Pace,
    complained: Pace,
}

impl Link {
    /// Connects once. `purpose` is part of what the server's monitoring calls the connection.
    pub async fn establish(options: &settings::Nats, purpose: &str) -> Result<Self, LinkError> {
        let addresses: Vec<ServerAddr> = options
            .servers
            .iter()
            .map(|url| ServerAddr::from_url(url.clone()))
            .collect::<Result<_, _>>()
            .map_err(LinkError::Address)?;
        let (told_state, state) = watch::channel(LinkState { up: true, losses: 0, dropped: 0 });
        let (denials, _) = broadcast::channel(DENIALS);
        let (refusals, complaints) = (Arc::<Refusals>::default(), Arc::<AtomicU64>::default());
        let ear = Ear {
            state: told_state,
            denials: denials.clone(),
            refusals: Arc::clone(&refusals),
            complaints: Arc::clone(&complaints),
            taken_back: Pace::default(),
            complained: Pace::default(),
        };
        let client = authenticated(options)
            .await?
            .name(options.connection_name(purpose))
            .ping_interval(options.ping_interval)
            .connection_timeout(options.connect_timeout)
            .request_timeout(Some(API_TIMEOUT))
            .client_capacity(COMMANDS)
            .reconnect_delay_callback(reconnect_delay)
            .event_callback(move |event| {
                ear.note(&event);
                std::future::ready(())
            })
            .connect(addresses)
            .await?;
        Ok(Self { client, state, denials, refusals, complaints })
    }

    /// Whether it is up, and every change of that.
    pub fn watch(&self) -> watch::Receiver<LinkState> {
        self.state.clone()
    }

    /// How often it was lost.
    pub fn losses(&self) -> u64 {
        self.state.borrow().losses
    }

    pub fn is_up(&self) -> bool {
        self.state.borrow().up
    }

    /// Returns once it is up; false if it is not by `deadline`.
    pub async fn up(&self, deadline: Instant) -> bool {
        let mut state = self.state.clone();
        tokio::time::timeout_at(deadline, state.wait_for(|state| state.up)).await.is_ok_and(|state| state.is_ok())
    }

    /// Errors that the server reported so far.
    pub fn complaints(&self) -> u64 {
        self.complaints.load(Ordering::Relaxed)
    }

    /// Returns once it is up again after it was lost more than `losses` times; false if it is not by `deadline`.
    pub async fn back_after(&self, losses: u64, deadline: Instant) -> bool {
        let mut state = self.state.clone();
        let back = state.wait_for(|state| state.up && state.losses > losses);
        tokio::time::timeout_at(deadline, back).await.is_ok_and(|state| state.is_ok())
    }

    /// Returns once it was lost, also if it is back already.
    async fn down(&self) {
        let mut state = self.state.clone();
        let losses = state.borrow().losses;
        // An error means that the client is gone, which is as down as can be.
        let _ = state.wait_for(|state| !state.up || state.losses != losses).await;
    }

    /// Sends a request and waits for its answer, no longer than the connection lasts.
    pub async fn request(
        &self,
        subject: &str,
        headers: Option<HeaderMap>,
        body: Bytes,
        within: Duration,
    ) -> Result<Message, Unanswered> {
        let mut denials = self.denials.subscribe();
        let mut request = async_nats::Request::new().payload(body).timeout(None);
        if let Some(headers) = headers {
            request = request.headers(headers);
        }
        tokio::select! {
            biased;
            answer = self.client.send_request(subject.to_owned(), request) => answer.map_err(|error| match error.kind() {
                RequestErrorKind::NoResponders => Unanswered::NoResponders,
                RequestErrorKind::TimedOut => Unanswered::Timeout(within),
                RequestErrorKind::MaxPayloadExceeded => Unanswered::TooLarge { size: 0, limit: self.client.max_payload() },
                RequestErrorKind::InvalidSubject | RequestErrorKind::Other => Unanswered::Broken(error.to_string()),
            }),
            () = denied(&mut denials, subject) => Err(Unanswered::Denied(subject.to_owned())),
            () = self.down() => Err(Unanswered::Disconnected),
            () = sleep_until(Instant::now() + within) => Err(Unanswered::Timeout(within)),
        }
    }

    /// Asks JetStream's API: `verb` is what stands behind `$JS.API.`.
    pub async fn ask<T: DeserializeOwned>(&self, verb: &str, question: &impl Serialize) -> Result<T, ApiError> {
        let body = serde_json::to_vec(question)?;
        let answer = self.request(&format!("$JS.API.{verb}"), None, body.into(), API_TIMEOUT).await?;
        parse_answer(&answer.payload)
    }

    /// Publishes each, without wanting an answer, and returns the subjects that the server did not permit.
    pub async fn denied_of(
        &self,
        publications: impl IntoIterator<Item = (String, HeaderMap, Bytes)>,
        nobodys_subject: &str,
    ) -> HashSet<String> {
        let mut told = self.denials.subscribe();
        let mut denied = HashSet::new();
        let publications: Vec<_> = publications.into_iter().collect();
        // No more at a time than are remembered.
        for some in publications.chunks(DENIALS / 2) {
            for (subject, headers, body) in some.iter().cloned() {
                let sent = if headers.is_empty() {
                    self.client.publish(subject.clone(), body).await
                } else {
                    self.client.publish_with_headers(subject.clone(), headers, body).await
                };
                if sent.is_err() {
                    denied.insert(subject);
                }
            }
            // Denials come in order, before the answer to what was sent last.
            let _ = self.barrier(nobodys_subject).await;
            while let Ok(subject) = told.try_recv() {
                denied.insert(subject.to_string());
            }
        }
        denied
    }

    /// Returns once the server has dealt with everything that was sent before; `flush` would not prove that.
    pub async fn barrier(&self, nobodys_subject: &str) -> Result<(), Unanswered> {
        match self.request(nobodys_subject, None, Bytes::new(), API_TIMEOUT).await {
            Ok(_) | Err(Unanswered::NoResponders | Unanswered::Denied(_)) => Ok(()),
            Err(error) => Err(error),
        }
    }
}

async fn denied(denials: &mut broadcast::Receiver<Arc<str>>, subject: &str) {
    loop {
        match denials.recv().await {
            Ok(denial) if *denial == *subject => return,
            Ok(_) | Err(broadcast::error::RecvError::Lagged(_)) => {}
            Err(broadcast::error::RecvError::Closed) => std::future::pending().await,
        }
    }
}

impl Ear {
    /// Called by the client between two messages: must not wait. That the connection is lost, and back, the vigil says.
    fn note(&self, event: &Event) {
        match event {
            Event::Connected => {
                debug!("connected to NATS");
                self.state.send_modify(|state| state.up = true);
            }
            Event::Disconnected | Event::Closed => {
                debug!("disconnected from NATS");
                self.state.send_modify(|state| {
                    state.up = false;
                    state.losses += 1;
                });
            }
            Event::ServerError(error) => self.complaint(&error.to_string()),
            Event::SlowConsumer(_) => self.state.send_modify(|state| state.dropped += 1),
            Event::LameDuckMode | Event::Draining => info!(%event, "NATS connection"),
            // One for every attempt that fails.
            Event::ClientError(error) => debug!(%error, "NATS connection"),
        }
    }

    fn complaint(&self, error: &str) {
        self.complaints.fetch_add(1, Ordering::Relaxed);
        if self.refusals.note(error) {
            self.taken_back.due().into_iter().for_each(|left_out| refusals::tell_of(error, left_out));
            return;
        }
        if let Some(subject) = denied_subject(error) {
            // Nobody may be waiting for it.
            let _ = self.denials.send(subject.into());
        }
        if let Some(left_out) = self.complained.due() {
            warn!(error, left_out, "NATS reports an error");
        }
    }
}

/// The subject in `Permissions Violation for Publish to "a.b"`.
fn denied_subject(text: &str) -> Option<&str> {
    let (_, subject) = text.split_once("ermissions Violation for Publish to \"")?;
    subject.split_once('"').map(|(subject, _)| subject)
}

/// Doubles from 2 ms up to the cap, less a random part so that nodes do not come back together.
fn reconnect_delay(attempts: usize) -> Duration {
    let full = Duration::from_millis(1 << attempts.min(10)).min(RECONNECT_CAP);
    full.mul_f64(rand::random_range(0.5..=1.0))
}

async fn authenticated(options: &settings::Nats) -> Result<ConnectOptions, LinkError> {
    let mut connect = match &options.auth {
        NatsAuth::None => ConnectOptions::new(),
        NatsAuth::UserPassword { user, password } => {
            ConnectOptions::with_user_and_password(user.clone(), password.expose_secret().to_owned())
        }
        NatsAuth::Token(token) => ConnectOptions::with_token(token.expose_secret().to_owned()),
        NatsAuth::NKey(seed) => ConnectOptions::with_nkey(seed.expose_secret().to_owned()),
        NatsAuth::Credentials(file) => {
            ConnectOptions::with_credentials_file(file).await.map_err(LinkError::Credentials)?
        }
    };
    let tls = &options.tls;
    connect = connect.require_tls(tls.required);
    if tls.first {
        connect = connect.tls_first();
    }
    if let Some(file) = &tls.ca_file {
        connect = connect.add_root_certificates(file.clone());
    }
    if let (Some(certificate), Some(key)) = (&tls.cert_file, &tls.key_file) {
        connect = connect.add_client_certificate(certificate.clone(), key.clone());
    }
    Ok(connect)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refused_subject_is_found_in_the_servers_words() {
        let text = "nats: Permissions Violation for Publish to \"$JS.API.STREAM.CREATE.MP_midplane_chat\"";
        assert_eq!(denied_subject(text), Some("$JS.API.STREAM.CREATE.MP_midplane_chat"));
        assert_eq!(denied_subject("Permissions Violation for Subscription to \"a\""), None);
    }

    #[test]
    fn what_was_thrown_away_is_noted_each_time() {
        let ear = Ear {
            state: watch::channel(LinkState { up: true, losses: 0, dropped: 0 }).0,
            denials: broadcast::channel(1).0,
            refusals: Arc::default(),
            complaints: Arc::default(),
            taken_back: Pace::default(),
            complained: Pace::default(),
        };
        (0..3).for_each(|subscription| ear.note(&Event::SlowConsumer(subscription)));
        assert_eq!(*ear.state.borrow(), LinkState { up: true, losses: 0, dropped: 3 });
    }

    #[test]
    fn reconnects_are_never_far_apart() {
        for attempts in 0..2_000 {
            assert!(reconnect_delay(attempts) <= RECONNECT_CAP);
        }
    }

    #[test]
    fn an_error_in_an_answer_is_an_error() {
        let answer = br#"{"type":"x","error":{"code":404,"err_code":10059,"description":"stream not found"}}"#;
        let error = parse_answer::<serde_json::Value>(answer).expect_err("an error");
        assert_eq!(error.code(), Refusal::STREAM_NOT_FOUND);
    }
}
