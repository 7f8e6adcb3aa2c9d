//! An application's backend that hooks ask over HTTP.

use std::sync::Arc;

use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::{StatusCode, Uri};
use parking_lot::Mutex;
use serde_json::Value;
use tokio::task::JoinHandle;

type Decide = dyn Fn(&str, &Value) -> Option<Value> + Send + Sync;

/// Answers at `<url>/<event>`; stops on drop.
pub struct Backend {
    pub url: String,
    asked: Arc<Mutex<Vec<(String, Value)>>>,
    task: JoinHandle<()>,
}

struct Shared {
    decide: Box<Decide>,
    asked: Arc<Mutex<Vec<(String, Value)>>>,
}

impl Backend {
    /// A backend that decides by event and question; without a decision it answers 500.
    pub async fn start(decide: impl Fn(&str, &Value) -> Option<Value> + Send + Sync + 'static) -> Self {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let asked = Arc::default();
        let shared = Arc::new(Shared { decide: Box::new(decide), asked: Arc::clone(&asked) });
        let router = Router::new().fallback(answer).with_state(shared);
        let task = tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
        Self { url, asked, task }
    }

    /// The questions about `event` so far.
    pub fn asked(&self, event: &str) -> Vec<Value> {
        self.asked.lock().iter().filter(|(about, _)| about == event).map(|(_, question)| question.clone()).collect()
    }
}

impl Drop for Backend {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn answer(State(shared): State<Arc<Shared>>, uri: Uri, body: Bytes) -> (StatusCode, String) {
    let event = uri.path().trim_start_matches('/').to_owned();
    let question: Value = serde_json::from_slice(&body).unwrap_or_default();
    let decision = (shared.decide)(&event, &question);
    shared.asked.lock().push((event, question));
    match decision {
        Some(decision) => (StatusCode::OK, decision.to_string()),
        None => (StatusCode::INTERNAL_SERVER_ERROR, String::new()),
    }
}
