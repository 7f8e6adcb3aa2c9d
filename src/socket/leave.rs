//! How a response becomes a stream: its connection leaves HTTP behind the response's head.
//!
//! The response goes its way through whatever is around every answer; the server finds a [`Leave`] in it, writes the
//! head, and hands over the socket. As with WebSockets nothing of what HTTP held for the connection stays.

use std::io;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use axum::body::Body;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::Response;
use parking_lot::Mutex;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use tracing::debug;

/// How long the head may take to go out. It is the first that is written to an idle connection.
const HEAD_TIMEOUT: Duration = Duration::from_secs(1);

type Begin = Box<dyn FnOnce(TcpStream) + Send>;

/// In a response's extensions: the connection leaves HTTP with it.
#[derive(Clone)]
pub struct Leave(Arc<Mutex<Option<Begin>>>);

impl Leave {
    /// A response of status 200 and `content_type`, after whose head `begin` is called with the connection. Where the
    /// client does not stay for it, `begin` is dropped.
    pub fn response(content_type: &'static str, begin: impl FnOnce(TcpStream) + Send + 'static) -> Response {
        let mut response = Response::new(Body::empty());
        *response.status_mut() = StatusCode::OK;
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(content_type));
        const NEVER_STORED: &str = "private, no-cache, no-store, must-revalidate, max-age=0";
        headers.insert(header::CACHE_CONTROL, HeaderValue::from_static(NEVER_STORED));
        headers.insert("x-accel-buffering", HeaderValue::from_static("no"));
        // The end of the connection is the end of the body: no chunks, whose lengths each delivery would have to carry.
        headers.insert(header::CONNECTION, HeaderValue::from_static("close"));
        response.extensions_mut().insert(Self(Arc::new(Mutex::new(Some(Box::new(begin))))));
        response
    }

    /// Takes the word out of a response that leaves.
    pub fn of(response: &mut Response) -> Option<Self> {
        response.extensions_mut().remove()
    }

    /// Writes the response's head and begins what comes behind it.
    pub async fn go(self, head: Response, mut stream: TcpStream) {
        let Some(begin) = self.0.lock().take() else { return };
        match tokio::time::timeout(HEAD_TIMEOUT, stream.write_all(&written(&head))).await {
            Ok(Ok(())) => begin(stream),
            Ok(Err(error)) => debug!(%error, "client left before its stream was open"),
            Err(_) => debug!(error = %io::Error::from(io::ErrorKind::TimedOut), "no room for the head of a stream"),
        }
    }
}

/// The head as HTTP/1.1 has it.
fn written(head: &Response) -> Vec<u8> {
    let date = httpdate::fmt_http_date(SystemTime::now());
    let mut bytes = format!("HTTP/1.1 {}\r\ndate: {date}\r\n", head.status()).into_bytes();
    // Whoever passed the response on may have taken its body for an empty one.
    for (name, value) in head.headers().iter().filter(|(name, _)| *name != header::CONTENT_LENGTH) {
        bytes.extend_from_slice(name.as_str().as_bytes());
        bytes.extend_from_slice(b": ");
        bytes.extend_from_slice(value.as_bytes());
        bytes.extend_from_slice(b"\r\n");
    }
    bytes.extend_from_slice(b"\r\n");
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_head_is_whole_and_promises_no_length() {
        let mut response = Leave::response("text/event-stream", |_| {});
        response.headers_mut().insert(header::CONTENT_LENGTH, 0.into());
        let head = String::from_utf8(written(&response)).unwrap();
        assert!(head.starts_with("HTTP/1.1 200 OK\r\ndate: "), "{head}");
        assert!(head.ends_with("\r\n\r\n"));
        assert!(head.contains("\r\nconnection: close\r\n"));
        assert!(!head.contains("content-length") && !head.contains("transfer-encoding"));
    }
}
