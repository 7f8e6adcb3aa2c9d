//! A server that gives out keys: rotated, broken and hung at will, counting what it is asked.

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::State;
use axum::http::{Response, StatusCode, Uri};
use parking_lot::Mutex;
use serde_json::Value;
use tokio::sync::{Notify, watch};
use tokio::task::JoinHandle;
use tokio::time::timeout;
use url::Url;

/// How it answers.
#[derive(Clone)]
pub enum Answer {
    Keys(Value),
    Status(StatusCode),
    Text(String),
    /// Not at all, until the answer is changed.
    Hang,
}

pub struct KeyServer {
    address: std::net::SocketAddr,
    shared: Arc<Shared>,
    task: JoinHandle<()>,
}

struct Shared {
    answer: watch::Sender<Answer>,
    paths: Mutex<Vec<String>>,
    asked: Notify,
}

impl KeyServer {
    pub async fn start(keys: Value) -> Self {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let shared = Arc::new(Shared {
            answer: watch::Sender::new(Answer::Keys(keys)),
            paths: Mutex::default(),
            asked: Notify::new(),
        });
        let router = Router::new().fallback(answer).with_state(Arc::clone(&shared));
        let task = tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
        Self { address, shared, task }
    }

    pub fn url(&self) -> Url {
        Url::parse(&format!("http://{}/jwks.json", self.address)).unwrap()
    }

    pub fn set(&self, answer: Answer) {
        self.shared.answer.send_replace(answer);
    }

    /// What was asked for so far.
    pub fn paths(&self) -> Vec<String> {
        self.shared.paths.lock().clone()
    }

    pub fn requests(&self) -> usize {
        self.shared.paths.lock().len()
    }

    /// Waits until it was asked `count` times in all.
    pub async fn asked(&self, count: usize) {
        timeout(Duration::from_secs(30), async {
            while self.requests() < count {
                let asked = self.shared.asked.notified();
                if self.requests() < count {
                    asked.await;
                }
            }
        })
        .await
        .unwrap_or_else(|_| panic!("asked {} times, {count} expected", self.requests()));
    }
}

impl Drop for KeyServer {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn answer(State(shared): State<Arc<Shared>>, uri: Uri) -> Response<Body> {
    shared.paths.lock().push(uri.path().to_owned());
    shared.asked.notify_waiters();
    let mut answers = shared.answer.subscribe();
    let answer = answers.wait_for(|answer| !matches!(answer, Answer::Hang)).await.unwrap().clone();
    match answer {
        Answer::Keys(keys) => Response::new(Body::from(keys.to_string())),
        Answer::Text(text) => Response::new(Body::from(text)),
        Answer::Status(status) => Response::builder().status(status).body(Body::empty()).unwrap(),
        Answer::Hang => unreachable!("waited until it is something else"),
    }
}
