//! What becomes of events: services get them, unless a rule sends them into a room.

use std::pin::pin;
use std::sync::Arc;
use std::task::Poll;

use bytes::Bytes;
use futures_util::future::BoxFuture;
use futures_util::stream::FuturesUnordered;
use futures_util::{FutureExt, StreamExt, poll};
use tokio::time::Instant;
use tracing::{debug, warn};

use super::connection::Socket;
use super::record::Record;
use super::{Connection, SocketIo, subject};
use crate::backplane::RequestError;
use crate::engineio::CloseReason;
use crate::protocol::centrifuge::codes::DisconnectCode;
use crate::protocol::socketio::{Arguments, Body, Packet};
use crate::telemetry::{EventResult, LimitScope};

/// Answers of services that one connection may wait for. Beyond that its next message waits for one of them.
pub(super) const ANSWERS: usize = 32;

/// Who emits, and what. Empty for anonymous users.
const USER: &str = "Midplane-User";
const CLIENT: &str = "Midplane-Client";
const NAMESPACE: &str = "Midplane-Namespace";
const EVENT: &str = "Midplane-Event";
/// JSON that a token gave for services.
const META: &str = "Midplane-Meta";
/// Lengths of the attachments, which stand behind the JSON in a body: `12,3`.
const ATTACHMENTS: &str = "Midplane-Attachments";

/// What services have not answered yet; each becomes an acknowledgement, or nothing where none came.
pub(super) type Answers = FuturesUnordered<BoxFuture<'static, Option<Packet>>>;

impl Connection {
    pub(super) async fn event(
        &mut self,
        socket: usize,
        id: Option<u64>,
        arguments: Arguments,
    ) -> Result<(), CloseReason> {
        let services = &self.shared.services;
        let too_many = if self.event_rate.as_mut().is_some_and(|rate| !rate.take(1, Instant::now())) {
            Some((LimitScope::Connection, "client.publish_rate"))
        } else if !services.limits.users.may_publish(&self.sockets[socket].user) {
            Some((LimitScope::User, "client.user_publish_rate"))
        } else {
            None
        };
        if let Some((scope, option)) = too_many {
            services.telemetry.http.rate_limited.of(scope).increment(1);
            debug!("closing: too many events ({option})");
            return Err(DisconnectCode::TooManyRequests.into());
        }
        let name = arguments.name().into_owned();
        if let Some(wish) = self.wish(socket, &name) {
            return self.choose(socket, wish, id, &arguments).await;
        }
        let namespace = Arc::clone(&self.sockets[socket].namespace);
        match namespace.relay.get(&name).filter(|_| arguments.attachments().is_empty()) {
            Some(room) => self.relayed(socket, room, id, &arguments).await,
            None => self.asked(socket, id, &name, &arguments).await,
        }
        Ok(())
    }

    /// An event for a service.
    async fn asked(&mut self, socket: usize, id: Option<u64>, name: &str, arguments: &Arguments) {
        let of = &self.sockets[socket];
        let Some(subject) = subject::event(&of.namespace.name, name) else {
            self.shared.count(EventResult::NoResponder);
            return;
        };
        let event = Event::of(of, subject, name, arguments);
        let namespace = Arc::clone(&of.namespace);
        let shared = Arc::clone(&self.shared);
        let Some(id) = id else {
            return self.while_others_go_on(event.tell(&shared)).await;
        };
        let mut answer = async move {
            let arguments = event.ask(&shared, namespace.ack_timeout).await?;
            Some(Packet { namespace: namespace.name.to_string().into(), body: Body::Ack { id, arguments } })
        }
        .boxed();
        // What is asked first goes out first.
        self.while_others_go_on(async {}).await;
        if let Poll::Ready(packet) = poll!(&mut answer) {
            packet.iter().for_each(|packet| self.send(packet));
            return;
        }
        self.answers.get_or_insert_default().push(answer);
    }

    /// Does `work`; whatever was asked before goes first, where it still waits for room on its way out.
    async fn while_others_go_on(&mut self, work: impl Future<Output = ()>) {
        let mut work = pin!(work);
        loop {
            let Some(answers) = self.answers.as_mut().filter(|answers| !answers.is_empty()) else { return work.await };
            let packet = tokio::select! {
                biased;
                packet = answers.next() => packet.flatten(),
                () = &mut work => return,
            };
            self.acknowledge(packet);
        }
    }

    /// Sends an acknowledgement, where one came, and its socket has not left meanwhile.
    pub(super) fn acknowledge(&self, packet: Option<Packet>) {
        if let Some(packet) = packet.filter(|packet| self.socket(&packet.namespace).is_some()) {
            self.send(&packet);
        }
    }
}

/// An event on its way to a service.
pub(super) struct Event {
    subject: String,
    headers: Vec<(&'static str, String)>,
    body: Bytes,
}

impl Event {
    /// What a service is told of a socket: `body` is a JSON array that begins with `name`.
    pub(super) fn notice(socket: &Socket, subject: String, name: &str, body: Bytes) -> Self {
        Self { subject, headers: Self::headers_of(socket, name), body }
    }

    /// The same of a socket that no connection has any more.
    pub(super) fn notice_of(record: &Record, subject: String, name: &str, body: Bytes) -> Self {
        let headers = vec![
            (USER, record.user.clone()),
            (CLIENT, record.sid.to_string()),
            (NAMESPACE, record.namespace.clone()),
            (EVENT, name.to_owned()),
        ];
        Self { subject, headers, body }
    }

    fn headers_of(socket: &Socket, name: &str) -> Vec<(&'static str, String)> {
        let mut headers = vec![
            (USER, socket.user.to_string()),
            (CLIENT, socket.id.to_string()),
            (NAMESPACE, socket.namespace.name.to_string()),
        ];
        // It is in the body and in the subject as well.
        if name.trim() == name && !name.contains(char::is_control) {
            headers.push((EVENT, name.to_owned()));
        }
        let meta = socket.meta.as_ref().and_then(|meta| str::from_utf8(meta).ok());
        if let Some(meta) = meta.filter(|meta| !meta.contains(char::is_control)) {
            headers.push((META, meta.to_owned()));
        }
        headers
    }

    fn of(socket: &Socket, subject: String, name: &str, arguments: &Arguments) -> Self {
        let mut headers = Self::headers_of(socket, name);
        let attachments = arguments.attachments();
        if attachments.is_empty() {
            return Self { subject, headers, body: arguments.json().clone() };
        }
        let lengths: Vec<_> = attachments.iter().map(|attachment| attachment.len().to_string()).collect();
        headers.push((ATTACHMENTS, lengths.join(",")));
        let pieces: Vec<_> = std::iter::once(arguments.json()).chain(attachments).map(|piece| &piece[..]).collect();
        Self { subject, headers, body: pieces.concat().into() }
    }

    fn headers(&self) -> Vec<(&str, &str)> {
        self.headers.iter().map(|(name, value)| (*name, value.as_str())).collect()
    }

    async fn tell(self, shared: &SocketIo) {
        let told = self.tell_plainly(shared).await;
        shared.note(&self.subject, told.err());
    }

    /// Tells whoever listens, at most once, and counts nothing.
    pub(super) async fn tell_plainly(&self, shared: &SocketIo) -> Result<(), RequestError> {
        match shared.backplane.requests() {
            Some(requests) => requests.tell(&self.subject, &self.headers(), self.body.clone()).await,
            None => Err(RequestError::NoResponder(self.subject.clone())),
        }
    }

    /// The service's acknowledgement; clients take any for success, so there is none of a failure.
    async fn ask(self, shared: &SocketIo, within: std::time::Duration) -> Option<Arguments> {
        let answer = match shared.backplane.requests() {
            Some(requests) => requests.request(&self.subject, &self.headers(), self.body.clone(), within).await,
            None => Err(RequestError::NoResponder(self.subject.clone())),
        };
        match answer {
            Ok(answer) => match acknowledged(&answer.headers, &answer.body) {
                Some(arguments) => {
                    shared.count(EventResult::Told);
                    Some(arguments)
                }
                None => {
                    shared.count(EventResult::BadAnswer);
                    if let Some(left_out) = shared.misanswered.due() {
                        warn!(subject = self.subject, left_out, "a service's answer is no JSON array of arguments");
                    }
                    None
                }
            },
            Err(error) => {
                // While one is developed this is a misspelt name. Clients hear nothing.
                if let RequestError::NoResponder(subject) = &error
                    && let Some(left_out) = shared.unserved.due()
                {
                    let why =
                        if shared.backplane.requests().is_some() { "" } else { ": this node has no NATS to ask by" };
                    warn!(subject, left_out, "nobody serves an event that a client waits to have acknowledged{why}");
                }
                shared.note(&self.subject, Some(error));
                None
            }
        }
    }
}

/// The arguments in an answer: a JSON array, with attachments behind it where a header gives their lengths.
fn acknowledged(headers: &[(String, String)], body: &Bytes) -> Option<Arguments> {
    let lengths = headers.iter().find(|(name, _)| name.eq_ignore_ascii_case(ATTACHMENTS));
    let Some((_, lengths)) = lengths else { return Arguments::ack(body, Vec::new()).ok() };
    let lengths: Vec<usize> = lengths.split(',').map(|length| length.trim().parse().ok()).collect::<Option<_>>()?;
    let mut at = body.len().checked_sub(lengths.iter().try_fold(0_usize, |sum, length| sum.checked_add(*length))?)?;
    let json = body.slice(..at);
    let mut attachments = Vec::with_capacity(lengths.len());
    for length in lengths {
        attachments.push(body.slice(at..at + length));
        at += length;
    }
    Arguments::ack(&json, attachments).ok()
}

impl SocketIo {
    pub(super) fn count(&self, result: EventResult) {
        self.services.telemetry.clients.events.of(result).increment(1);
    }

    /// Counts an event that was told, or why it was not.
    fn note(&self, subject: &str, error: Option<RequestError>) {
        let result = match &error {
            None => EventResult::Told,
            Some(RequestError::NoResponder(_)) => EventResult::NoResponder,
            Some(RequestError::Timeout(_)) => EventResult::Timeout,
            Some(RequestError::TooLarge { .. } | RequestError::Unavailable(_)) => EventResult::Failed,
        };
        self.count(result);
        if let Some(error) = error {
            debug!(subject, "an event reached no service: {error}");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_is_an_array_with_attachments_behind_it() {
        let ack = |lengths: Option<&str>, body: &'static str| {
            let headers = lengths.map(|lengths| ("midplane-attachments".to_owned(), lengths.to_owned()));
            acknowledged(headers.as_slice(), &Bytes::from_static(body.as_bytes()))
        };
        assert_eq!(ack(None, "[1,\"a\"]").unwrap().json(), "[1,\"a\"]");
        let with = ack(Some("3, 1"), "[{\"_placeholder\":true,\"num\":1}]abcd").unwrap();
        assert_eq!(with.attachments(), ["abc", "d"]);
        assert_eq!(with.json(), "[{\"_placeholder\":true,\"num\":1}]");
        for (lengths, body) in [
            (None, ""),
            (None, "{}"),
            (None, "[1]x"),
            (Some(""), "[1]"),
            (Some("9"), "[1]"),
            (Some("18446744073709551615,2"), "[1]"),
            (Some("1"), "[{\"_placeholder\":true,\"num\":1}]a"),
        ] {
            assert_eq!(ack(lengths, body), None, "{lengths:?} {body}");
        }
    }
}
