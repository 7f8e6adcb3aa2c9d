//! Calls that come in over the backplane: a request to `api.<method>` below the prefix, with the body of the HTTP API.
//!
//! All nodes serve them together, each request reaches one. No key is asked for: who may publish to these subjects is
//! for the permissions of the backplane's users to say.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;

use futures_util::stream::BoxStream;
use futures_util::{FutureExt, StreamExt, stream};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio_util::sync::{CancellationToken, DropGuard};

use super::{Api, ApiError, Reply};
use crate::backplane::{Request, SubscribeError};
use crate::tasks::Tasks;
use crate::telemetry::Source;

/// Where calls come in.
const PATTERN: &str = "api.*";
/// Calls that are on their way at one time; the others wait in the backplane's queue.
const CONCURRENCY: usize = 64;
/// Calls that wait for their answers at one time.
const WAITING: usize = 256;

/// Calls are being served; they no longer are once this is finished or dropped.
pub struct Serving {
    stop: DropGuard,
    task: JoinHandle<()>,
}

/// Begins to serve calls; `None` where nobody outside can ask.
///
/// # Errors
/// When the backplane does not accept the subscription.
pub async fn serve(api: &Arc<Api>, tasks: &Tasks) -> Result<Option<Serving>, SubscribeError> {
    let Some(requests) = api.backplane.requests() else { return Ok(None) };
    let incoming = requests.serve(PATTERN, WAITING).await?;
    let stop = CancellationToken::new();
    let answering = answer_all(Arc::clone(api), incoming, stop.clone());
    let task = tasks.until(&stop).run_to_end("calls over NATS", answering);
    Ok(Some(Serving { stop: stop.drop_guard(), task }))
}

impl Serving {
    /// Takes no more calls and answers those already taken.
    pub async fn finish(self) {
        drop(self.stop);
        // A panic was reported; there is nothing left to wait for.
        let _ = self.task.await;
    }
}

async fn answer_all(api: Arc<Api>, incoming: mpsc::Receiver<Request>, stop: CancellationToken) {
    taken(incoming, stop).for_each_concurrent(CONCURRENCY, |request| answer(Arc::clone(&api), request)).await;
}

/// What comes in until `stop`, and then what is already there.
fn taken(incoming: mpsc::Receiver<Request>, stop: CancellationToken) -> BoxStream<'static, Request> {
    stream::unfold((incoming, stop), |(mut incoming, stop)| async move {
        let request = tokio::select! {
            request = incoming.recv() => request,
            () = stop.cancelled() => {
                incoming.close();
                incoming.recv().await
            }
        };
        Some((request?, (incoming, stop)))
    })
    .boxed()
}

async fn answer(api: Arc<Api>, request: Request) {
    let method = request.subject.strip_prefix("api.").unwrap_or_default();
    // Tools send nothing where a method needs nothing.
    let body = if request.body.is_empty() { b"{}" } else { &*request.body };
    // All calls share a task: one that panics must not end the others. The panic itself is reported by its hook.
    let call = AssertUnwindSafe(api.call(method, body, Source::Nats)).catch_unwind();
    let reply = call.await.unwrap_or(Reply::Error(ApiError::Internal));
    let mut answer = reply.into_json();
    if answer.len() > request.room {
        answer = Reply::Error(ApiError::AnswerTooLarge { size: answer.len(), limit: request.room }).into_json();
    }
    // Whoever asked may be gone.
    let _ = request.reply.send(answer);
}
