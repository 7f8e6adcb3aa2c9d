//! The demo page: static files compiled in, no build step, nothing from elsewhere.
//!
//! They work under a strict content security policy. The SDK is vendored from npm with its licence in its head.

use axum::Router;

use super::files::{CSS, File, HTML, JAVASCRIPT, serve};

/// Sockets may go to other nodes (`?nodes=`), so any WebSocket may be opened; everything else comes from this node.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src data:; \
     connect-src 'self' ws: wss:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

const FILES: [File; 4] = [
    File { path: "/", kind: HTML, text: include_str!("demo/index.html") },
    File { path: "/demo/demo.css", kind: CSS, text: include_str!("demo/demo.css") },
    File { path: "/demo/demo.js", kind: JAVASCRIPT, text: include_str!("demo/demo.js") },
    File { path: "/demo/centrifuge.min.js", kind: JAVASCRIPT, text: include_str!("demo/centrifuge.min.js") },
];

/// `GET /` and what the page loads from `/demo/`.
pub fn routes<S>() -> Router<S>
where
    S: Clone + Send + Sync + 'static,
{
    serve(&FILES, POLICY)
}

#[cfg(test)]
mod tests {
    use axum::body::{Body, to_bytes};
    use axum::http::{Request, StatusCode};
    use tower::ServiceExt as _;

    use super::routes;

    async fn fetch(path: &str) -> (StatusCode, String, String) {
        let request = Request::get(path).body(Body::empty()).unwrap();
        let response = routes::<()>().oneshot(request).await.unwrap();
        let header = |name: &str| response.headers()[name].to_str().unwrap().to_owned();
        let (content_type, policy) = (header("content-type"), header("content-security-policy"));
        assert!(policy.contains("script-src 'self'"));
        assert_eq!(header("x-content-type-options"), "nosniff");
        let status = response.status();
        let body = to_bytes(response.into_body(), usize::MAX).await.unwrap();
        (status, content_type, String::from_utf8(body.to_vec()).unwrap())
    }

    #[tokio::test]
    async fn the_page_and_everything_it_loads_are_served() {
        let (status, content_type, page) = fetch("/").await;
        assert_eq!((status, content_type.as_str()), (StatusCode::OK, "text/html; charset=utf-8"));

        let mut loaded = 0;
        for attribute in ["src=\"", "href=\"demo/"] {
            for rest in page.split(attribute).skip(1) {
                let path = rest.split('"').next().unwrap();
                let path = if path.starts_with("demo/") { format!("/{path}") } else { format!("/demo/{path}") };
                assert_eq!(fetch(&path).await.0, StatusCode::OK, "{path}");
                loaded += 1;
            }
        }
        assert_eq!(loaded, 3);
    }

    #[tokio::test]
    async fn the_page_needs_no_inline_script_or_style() {
        let (_, _, page) = fetch("/").await;
        assert!(!page.contains("<script>") && !page.contains("<style") && !page.contains("style=\""));
        assert!(!page.contains(" onclick="));
    }

    #[tokio::test]
    async fn the_sdk_keeps_its_licence() {
        let (_, _, sdk) = fetch("/demo/centrifuge.min.js").await;
        assert!(sdk.starts_with("/*!") && sdk.contains("The MIT License (MIT)") && sdk.contains("Centrifugal Labs"));
    }
}
