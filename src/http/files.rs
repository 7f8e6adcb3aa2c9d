//! Pages: static files compiled in, served under a content security policy.

use axum::Router;
use axum::http::header::{
    CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, HeaderName, REFERRER_POLICY, X_CONTENT_TYPE_OPTIONS,
};
use axum::response::{IntoResponse, Response};
use axum::routing::get;

pub(super) const HTML: &str = "text/html; charset=utf-8";
pub(super) const CSS: &str = "text/css; charset=utf-8";
pub(super) const JAVASCRIPT: &str = "text/javascript; charset=utf-8";

/// A file, and where it is served.
#[derive(Debug, Clone, Copy)]
pub(super) struct File {
    pub(super) path: &'static str,
    /// Its content type.
    pub(super) kind: &'static str,
    pub(super) text: &'static str,
}

/// A route for each of `files`.
pub(super) fn serve<S>(files: &'static [File], policy: &'static str) -> Router<S>
where
    S: Clone + Send + Sync + 'static,
{
    files.iter().fold(Router::new(), |routes, file| routes.route(file.path, get(async move || answer(file, policy))))
}

fn answer(file: &File, policy: &'static str) -> Response {
    const HEADERS: [(HeaderName, &str); 3] =
        [(X_CONTENT_TYPE_OPTIONS, "nosniff"), (REFERRER_POLICY, "no-referrer"), (CACHE_CONTROL, "no-cache")];
    let kind = [(CONTENT_TYPE, file.kind), (CONTENT_SECURITY_POLICY, policy)];
    (HEADERS, kind, file.text).into_response()
}
