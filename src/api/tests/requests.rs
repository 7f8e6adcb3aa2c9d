//! Calls by request, with a backplane that somebody outside can ask.

use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use parking_lot::Mutex;
use tokio::sync::{mpsc, oneshot, watch};

use super::{Stage, without_epochs};
use crate::api::requests::serve;
use crate::backplane::{
    Answer, Backplane, Broadcast, Bucket, Health, History, Outgoing, PublishError, Published, Registry, Request,
    RequestError, Requests, SubscribeError,
};
use crate::protocol::Channel;

/// Answers `rpc.echo` with what it was asked, and takes requests from the test.
struct Outside {
    inner: Arc<dyn Backplane>,
    incoming: Mutex<Option<mpsc::Receiver<Request>>>,
}

#[async_trait]
impl Requests for Outside {
    async fn request(
        &self,
        subject: &str,
        headers: &[(&str, &str)],
        body: Bytes,
        timeout: std::time::Duration,
    ) -> Result<Answer, RequestError> {
        assert!(headers.contains(&("Midplane-Transport", "api")));
        match subject {
            "rpc.echo" => Ok(Answer { headers: Vec::new(), body }),
            "rpc.words" => Ok(Answer { headers: Vec::new(), body: Bytes::from_static(b"no JSON") }),
            "rpc.full" => {
                let header = |name: &str, value: &str| (name.to_owned(), value.to_owned());
                let headers = vec![header("Midplane-Error-Code", "1001"), header("Midplane-Error-Message", "full")];
                Ok(Answer { headers, body })
            }
            "rpc.slow" => Err(RequestError::Timeout(timeout)),
            _ => Err(RequestError::NoResponder(subject.to_owned())),
        }
    }

    async fn tell(&self, subject: &str, _: &[(&str, &str)], _: Bytes) -> Result<(), RequestError> {
        Err(RequestError::NoResponder(subject.to_owned()))
    }

    async fn serve(&self, pattern: &str, _: usize) -> Result<mpsc::Receiver<Request>, SubscribeError> {
        assert_eq!(pattern, "api.*");
        Ok(self.incoming.lock().take().unwrap())
    }
}

#[async_trait]
impl Backplane for Outside {
    async fn publish(&self, channel: &Channel, message: Outgoing) -> Result<Published, PublishError> {
        self.inner.publish(channel, message).await
    }

    async fn subscribe(&self, channel: &Channel) -> Result<(), SubscribeError> {
        self.inner.subscribe(channel).await
    }

    fn unsubscribe(&self, channel: &Channel) {
        self.inner.unsubscribe(channel);
    }

    async fn overhear(&self, namespace: &str) -> Result<mpsc::Receiver<crate::backplane::Delivery>, SubscribeError> {
        self.inner.overhear(namespace).await
    }

    fn history(&self) -> Option<&dyn History> {
        self.inner.history()
    }

    fn requests(&self) -> Option<&dyn Requests> {
        Some(self)
    }

    fn broadcast(&self) -> &dyn Broadcast {
        self.inner.broadcast()
    }

    fn registry(&self, bucket: Bucket) -> &dyn Registry {
        self.inner.registry(bucket)
    }

    fn presences(&self) -> Option<&dyn crate::backplane::Presences> {
        None
    }

    fn health(&self) -> watch::Receiver<Health> {
        self.inner.health()
    }

    async fn close(&self) {
        self.inner.close().await;
    }
}

fn stage() -> (Stage, mpsc::Sender<Request>) {
    let (ask, incoming) = mpsc::channel(256);
    let around = |inner| Arc::new(Outside { inner, incoming: Mutex::new(Some(incoming)) }) as Arc<dyn Backplane>;
    (Stage::set_on(around), ask)
}

fn request(subject: &str, body: &'static str) -> (Request, oneshot::Receiver<Bytes>) {
    let (reply, answer) = oneshot::channel();
    (Request { subject: subject.to_owned(), headers: Vec::new(), body: body.into(), room: 1 << 20, reply }, answer)
}

#[tokio::test]
async fn requests_are_answered_as_over_http_and_an_empty_body_is_an_empty_object() {
    let (stage, ask) = stage();
    let _serving = serve(&stage.api, &stage.tasks).await.unwrap();
    for (subject, body, expected) in [
        ("api.publish", r#"{"channel":"chat:a","data":1}"#, r#"{"result":{"offset":2,"epoch":"EPOCH"}}"#),
        ("api.channels", "", r#"{"result":{"channels":{}}}"#),
        ("api.publish", "rubbish", r#"{"error":{"code":107,"message":"bad request: no JSON object"}}"#),
        ("api.nonsense", "", r#"{"error":{"code":104,"message":"not found"}}"#),
        ("api.batch", r#"{"commands":[]}"#, r#"{"replies":[]}"#),
    ] {
        let (request, answer) = request(subject, body);
        ask.send(request).await.unwrap();
        assert_eq!(without_epochs(std::str::from_utf8(&answer.await.unwrap()).unwrap()), expected);
    }
}

#[tokio::test]
async fn an_answer_that_cannot_be_carried_says_so() {
    let (stage, ask) = stage();
    let _serving = serve(&stage.api, &stage.tasks).await.unwrap();
    stage.call("publish", &format!(r#"{{"channel":"chat:a","data":"{}"}}"#, "x".repeat(2_000))).await;
    let (request, answer) = request("api.history", r#"{"channel":"chat:a","limit":-1}"#);
    ask.send(Request { room: 1_000, ..request }).await.unwrap();
    let answer = String::from_utf8(answer.await.unwrap().to_vec()).unwrap();
    assert!(answer.starts_with(r#"{"error":{"code":106,"message":"the answer of 2"#), "{answer}");
}

#[tokio::test]
async fn what_was_taken_before_the_stop_is_still_answered() {
    let (stage, ask) = stage();
    let mut answers = Vec::new();
    for _ in 0..200 {
        let (request, answer) = request("api.publish", r#"{"channel":"live:a","data":1}"#);
        ask.send(request).await.unwrap();
        answers.push(answer);
    }
    serve(&stage.api, &stage.tasks).await.unwrap().unwrap().finish().await;
    for answer in answers {
        assert_eq!(answer.await.unwrap(), r#"{"result":{}}"#);
    }
    assert!(ask.is_closed());
}

#[tokio::test]
async fn rpc_asks_the_service_of_that_name() {
    let (stage, _ask) = stage();
    for (body, expected) in [
        (r#"{"method":"echo","params":{"a":1}}"#, r#"{"result":{"data":{"a":1}}}"#),
        (r#"{"method":"echo"}"#, r#"{"result":{}}"#),
        (r#"{"method":"full"}"#, r#"{"error":{"code":1001,"message":"full"}}"#),
        (r#"{"method":"words"}"#, r#"{"error":{"code":100,"message":"internal server error"}}"#),
        (r#"{"method":"slow"}"#, r#"{"error":{"code":100,"message":"internal server error"}}"#),
        (r#"{"method":"nobody"}"#, r#"{"error":{"code":104,"message":"not found"}}"#),
        (r#"{"method":"a.*"}"#, r#"{"error":{"code":104,"message":"not found"}}"#),
        ("{}", r#"{"error":{"code":107,"message":"bad request: method is not set"}}"#),
    ] {
        assert_eq!(stage.call("rpc", body).await, expected, "{body}");
    }
}

#[tokio::test]
async fn a_node_that_reaches_no_services_says_so() {
    let rpc = Stage::set().call("rpc", r#"{"method":"echo"}"#).await;
    assert_eq!(rpc, r#"{"error":{"code":108,"message":"not available: nats.servers is not set"}}"#);
}
