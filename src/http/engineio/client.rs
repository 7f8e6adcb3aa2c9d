//! The client that pages load from their server (`/socket.io/socket.io.js`), vendored from npm as it is, with its licence
//! before it.

use axum::Router;
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use bytes::Bytes;

use crate::http::files::JAVASCRIPT;
use crate::http::gzip;

/// Of `socket.io-client`; as servers of this protocol do it, the version is the tag.
const VERSION: &str = "\"4.8.4\"";
/// Weak, since it stands for the compressed file as well (RFC 9110, 8.8.1).
const TAG: HeaderValue = HeaderValue::from_static("W/\"4.8.4\"");
const SCRIPT: &str = concat!("/*!\n", include_str!("client/LICENSE"), "*/\n", include_str!("client/socket.io.min.js"));
const MODULE: &str =
    concat!("/*!\n", include_str!("client/LICENSE"), "*/\n", include_str!("client/socket.io.esm.min.js"));
const FILES: [(&str, &str); 3] =
    [("socket.io.js", SCRIPT), ("socket.io.min.js", SCRIPT), ("socket.io.esm.min.js", MODULE)];
/// Bytes that are worth compressing.
const COMPRESS_FROM: usize = 1024;

/// The client's files below `path`, which ends with a slash.
pub fn routes(path: &str) -> Router {
    FILES.into_iter().fold(Router::new(), |routes, (name, text)| {
        routes.route(&format!("{path}{name}"), get(async move |headers: HeaderMap| answer(&headers, text)))
    })
}

fn answer(asked: &HeaderMap, text: &'static str) -> Response {
    let mut response = match is_known(asked) {
        true => StatusCode::NOT_MODIFIED.into_response(),
        false => {
            let mut response = gzip::answer(asked, Bytes::from_static(text.as_bytes()), Some(COMPRESS_FROM));
            response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(JAVASCRIPT));
            response
        }
    };
    response.headers_mut().insert(header::ETAG, TAG);
    response.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static("public, max-age=0"));
    response
}

/// Whether whoever asks has this version: tags are a list, and compared without regard to weakness (RFC 9110, 13.1.2).
fn is_known(asked: &HeaderMap) -> bool {
    let lists = asked.get_all(header::IF_NONE_MATCH).into_iter().filter_map(|tags| tags.to_str().ok());
    lists.flat_map(|tags| tags.split(',')).map(str::trim).any(|tag| {
        let opaque = tag.strip_prefix("W/").unwrap_or(tag);
        opaque == VERSION || tag == "*"
    })
}

#[cfg(test)]
mod tests {
    use axum::body::{Body, to_bytes};
    use axum::http::Request;
    use tower::ServiceExt as _;

    use super::*;

    #[tokio::test]
    async fn the_client_is_served_with_its_licence_and_once() {
        for (name, _) in FILES {
            let ask = |tag: &'static str| {
                let request = Request::get(format!("/io/{name}")).header(header::IF_NONE_MATCH, tag);
                routes("/io/").oneshot(request.body(Body::empty()).unwrap())
            };
            let response = ask("\"4.0.0\"").await.unwrap();
            assert_eq!(response.headers()[header::CONTENT_TYPE], JAVASCRIPT);
            assert_eq!(response.headers()[header::ETAG], TAG);
            let text = to_bytes(response.into_body(), usize::MAX).await.unwrap();
            let head = String::from_utf8_lossy(&text[..2000]).into_owned();
            let version = VERSION.trim_matches('"');
            assert!(
                head.contains(&format!("Socket.IO v{version}")) && head.contains("Permission is hereby granted"),
                "{head}"
            );
            for tags in ["W/\"4.8.4\"", "\"4.8.4\"", "\"4.0.0\", W/\"4.8.4\" , \"5.0.0\"", "*"] {
                assert_eq!(ask(tags).await.unwrap().status(), StatusCode::NOT_MODIFIED, "{tags}");
            }
            for tags in ["x\"4.8.4\"", "\"4.0.0\", \"5.0.0\"", ""] {
                assert_eq!(ask(tags).await.unwrap().status(), StatusCode::OK, "{tags}");
            }
        }
    }
}
