//! A live connection with its events, and somebody who publishes to it.

use std::time::Duration;

use midplane::backplane::nats::live::{ConnectError, Live, LiveEvent, LiveOptions};
use midplane::settings::nats::{NatsAuth, NatsTls};
use tokio::sync::mpsc;
use tokio::time::timeout;
use url::Url;

use super::PATIENCE;

pub struct Ear {
    pub live: Live,
    pub events: mpsc::Receiver<LiveEvent>,
}

pub fn options(servers: &[Url]) -> LiveOptions {
    LiveOptions {
        servers: servers.to_vec(),
        auth: NatsAuth::None,
        tls: NatsTls::default(),
        ping_interval: Duration::from_secs(5),
        connect_timeout: Duration::from_secs(10),
        name: "ear".to_owned(),
    }
}

impl Ear {
    pub async fn on(server: &Url) -> Self {
        Self::with(options(std::slice::from_ref(server)), 1024).await.unwrap()
    }

    /// `room` is how many events may wait.
    pub async fn with(options: LiveOptions, room: usize) -> Result<Self, ConnectError> {
        let (sender, events) = mpsc::channel(room);
        Ok(Self { live: Live::start(options, sender).await?, events })
    }

    pub async fn next(&mut self) -> LiveEvent {
        timeout(PATIENCE, self.events.recv())
            .await
            .unwrap_or_else(|_| panic!("no event in time; {:?}", *self.live.state().borrow()))
            .expect("the connection lives")
    }

    /// The next event, which must be a message: its subject and payload.
    pub async fn heard(&mut self) -> (String, String) {
        match self.next().await {
            LiveEvent::Message { subject, payload, .. } => (text(&subject), text(&payload)),
            other => panic!("not a message: {other:?}"),
        }
    }

    /// The next two events, which must be the loss and the return of the connection: why it was lost, where it is now.
    pub async fn lost_and_back(&mut self) -> (String, String) {
        let why = match self.next().await {
            LiveEvent::Disconnected { why } => why,
            other => panic!("not lost: {other:?}"),
        };
        match self.next().await {
            LiveEvent::Connected { server } => (why, server),
            other => panic!("not back: {other:?}"),
        }
    }
}

pub async fn publisher(server: &Url) -> async_nats::Client {
    async_nats::ConnectOptions::new().connect(async_nats::ServerAddr::from_url(server.clone()).unwrap()).await.unwrap()
}

/// Publishes one message and waits until the server has it.
pub async fn say(server: &Url, subject: &'static str, payload: &'static str) {
    let publisher = publisher(server).await;
    publisher.publish(subject, payload.into()).await.unwrap();
    publisher.flush().await.unwrap();
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}
