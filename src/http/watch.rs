//! `POST /console/watch`: a channel or a user, live, as lines of JSON for as long as somebody reads them.

use std::convert::Infallible;
use std::sync::Arc;

use axum::body::Body;
use axum::extract::State;
use axum::http::{HeaderName, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::post;
use axum::{Extension, Router};
use bytes::Bytes;
use futures_util::stream;

use super::json::{read, refused};
use super::keeper::{Admitted, Operator};
use super::limits::body;
use crate::watch::{Live, Lookout, Refused, Subject};

/// How large a request's body may be.
const BODY_LIMIT: usize = 8 << 10;

/// The route, for whoever has a key; a name in its body stands in no log of a proxy.
pub(super) fn routes(watch: &Arc<Lookout>) -> Router {
    let routes = Router::new().route("/console/watch", post(begin)).with_state(Arc::clone(watch));
    body::whole(routes, BODY_LIMIT, body::TIMEOUT)
}

async fn begin(
    State(watch): State<Arc<Lookout>>,
    Extension(Admitted { operator, .. }): Extension<Admitted>,
    body: Bytes,
) -> Response {
    let subject: Subject = match read(&body) {
        Ok(subject) => subject,
        Err(refused) => return *refused,
    };
    match watch.begin(subject).await {
        Ok(live) => lines(live, operator),
        Err(error) => {
            let status = match error {
                Refused::Name => StatusCode::BAD_REQUEST,
                Refused::Namespace(_) => StatusCode::NOT_FOUND,
                Refused::Full | Refused::Join(_) => StatusCode::SERVICE_UNAVAILABLE,
            };
            refused(status, error.to_string())
        }
    }
}

/// Lines for as long as they are read, and an operator's token is good.
fn lines(live: Live, operator: Option<Operator>) -> Response {
    const HEADERS: [(HeaderName, HeaderValue); 2] = [
        (header::CONTENT_TYPE, HeaderValue::from_static("application/x-ndjson")),
        (HeaderName::from_static("x-accel-buffering"), HeaderValue::from_static("no")),
    ];
    // Driven by the connection: who does not read any more ends it.
    let lines = stream::unfold((live, operator), |(mut live, operator)| async {
        let mut line = live.next().await?;
        if operator.as_ref().is_some_and(Operator::is_over) {
            line = live.end("the operator token is over");
        }
        Some((Ok::<_, Infallible>(line), (live, operator)))
    });
    (HEADERS, Body::from_stream(lines)).into_response()
}
