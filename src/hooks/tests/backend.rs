//! Backends to ask: one that speaks HTTP, one that serves NATS requests.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::State;
use axum::http::{HeaderMap, Response, StatusCode};
use parking_lot::Mutex;
use serde_json::Value;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;
use url::Url;

use super::fixtures::lonely;
use crate::backplane::{
    Answer, Backplane, Broadcast, Bucket, Health, History, Outgoing, PublishError, Published, Registry, Request,
    RequestError, Requests, SubscribeError,
};
use crate::protocol::Channel;
use crate::settings::HookEndpoint;

/// How the HTTP backend answers.
#[derive(Clone)]
pub enum Reply {
    Json(Value),
    Status(StatusCode),
    Text(String),
    MovedTo(String),
    Never,
}

/// What it was asked.
pub struct Asked {
    pub headers: HeaderMap,
    pub body: Value,
}

pub struct HttpBackend {
    address: std::net::SocketAddr,
    shared: Arc<Shared>,
    task: JoinHandle<()>,
}

struct Shared {
    reply: Reply,
    asked: Mutex<Vec<Asked>>,
}

impl HttpBackend {
    pub async fn start(reply: Reply) -> Self {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let shared = Arc::new(Shared { reply, asked: Mutex::default() });
        let router = Router::new().route("/hook", axum::routing::post(serve)).with_state(Arc::clone(&shared));
        let task = tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
        Self { address, shared, task }
    }

    pub fn endpoint(&self) -> HookEndpoint {
        HookEndpoint::Http(Url::parse(&format!("http://{}/hook", self.address)).unwrap())
    }

    /// The latest question.
    pub fn asked(&self) -> Asked {
        self.shared.asked.lock().pop().expect("it was asked")
    }
}

impl Drop for HttpBackend {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn serve(State(shared): State<Arc<Shared>>, headers: HeaderMap, body: Bytes) -> Response<Body> {
    shared.asked.lock().push(Asked { headers, body: serde_json::from_slice(&body).unwrap() });
    match shared.reply.clone() {
        Reply::Json(value) => Response::new(Body::from(value.to_string())),
        Reply::Text(text) => Response::new(Body::from(text)),
        Reply::Status(status) => Response::builder().status(status).body(Body::from("{\"result\":{}}")).unwrap(),
        Reply::MovedTo(place) => Response::builder().status(307).header("location", place).body(Body::empty()).unwrap(),
        Reply::Never => std::future::pending().await,
    }
}

type Serve = dyn Fn(&Question) -> Result<Answer, RequestError> + Send + Sync;

/// A request as it reached the service.
#[derive(Debug, Clone)]
pub struct Question {
    pub subject: String,
    pub headers: Vec<(String, String)>,
    pub body: Bytes,
    pub timeout: Duration,
}

/// A backplane that is good for requests only.
pub struct NatsBackend {
    serve: Box<Serve>,
    pub asked: Mutex<Vec<Question>>,
    rest: Arc<dyn Backplane>,
}

impl NatsBackend {
    pub fn new(serve: impl Fn(&Question) -> Result<Answer, RequestError> + Send + Sync + 'static) -> Arc<Self> {
        Arc::new(Self { serve: Box::new(serve), asked: Mutex::default(), rest: lonely() })
    }

    /// One that always answers this.
    pub fn answering(headers: &[(&str, &str)], body: &str) -> Arc<Self> {
        let headers = headers.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        let answer = Answer { headers, body: Bytes::copy_from_slice(body.as_bytes()) };
        Self::new(move |_| Ok(answer.clone()))
    }
}

#[async_trait]
impl Requests for NatsBackend {
    async fn request(
        &self,
        subject: &str,
        headers: &[(&str, &str)],
        body: Bytes,
        timeout: Duration,
    ) -> Result<Answer, RequestError> {
        let headers = headers.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        let question = Question { subject: subject.to_owned(), headers, body, timeout };
        self.asked.lock().push(question.clone());
        (self.serve)(&question)
    }

    async fn tell(&self, subject: &str, headers: &[(&str, &str)], body: Bytes) -> Result<(), RequestError> {
        self.request(subject, headers, body, Duration::ZERO).await.map(drop)
    }

    async fn serve(&self, pattern: &str, _: usize) -> Result<mpsc::Receiver<Request>, SubscribeError> {
        Err(SubscribeError::Unavailable(pattern.to_owned()))
    }
}

#[async_trait]
impl Backplane for NatsBackend {
    async fn publish(&self, channel: &Channel, message: Outgoing) -> Result<Published, PublishError> {
        self.rest.publish(channel, message).await
    }

    async fn subscribe(&self, channel: &Channel) -> Result<(), SubscribeError> {
        self.rest.subscribe(channel).await
    }

    fn unsubscribe(&self, channel: &Channel) {
        self.rest.unsubscribe(channel);
    }

    async fn overhear(&self, namespace: &str) -> Result<mpsc::Receiver<crate::backplane::Delivery>, SubscribeError> {
        self.rest.overhear(namespace).await
    }

    fn history(&self) -> Option<&dyn History> {
        self.rest.history()
    }

    fn requests(&self) -> Option<&dyn Requests> {
        Some(self)
    }

    fn broadcast(&self) -> &dyn Broadcast {
        self.rest.broadcast()
    }

    fn registry(&self, bucket: Bucket) -> &dyn Registry {
        self.rest.registry(bucket)
    }

    fn presences(&self) -> Option<&dyn crate::backplane::Presences> {
        None
    }

    fn health(&self) -> watch::Receiver<Health> {
        self.rest.health()
    }

    async fn close(&self) {
        self.rest.close().await;
    }
}
