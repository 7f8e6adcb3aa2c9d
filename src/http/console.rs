//! The operator console: a page of static files, which show nothing by themselves. What it shows and does it asks of the
//! server API and of `/cluster`, with the key that whoever sits before it has typed in.

use std::sync::Arc;

use axum::response::Redirect;
use axum::routing::get;
use axum::{Extension, Json, Router};
use serde::Serialize;

use super::files::{CSS, File, HTML, JAVASCRIPT, serve};
use super::keeper::{Admitted, Keeper};
use super::watch;
use crate::auth::Access;
use crate::settings::{HttpApi, Settings};
use crate::watch::Lookout;

/// Everything comes from this node, and no text ever becomes markup.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src data:; connect-src 'self'; \
     base-uri 'none'; form-action 'none'; frame-ancestors 'none'; require-trusted-types-for 'script'; trusted-types 'none'";

macro_rules! files {
    ($($name:literal: $kind:expr),* $(,)?) => {
        [$(File { path: concat!("/console/", $name), kind: $kind, text: include_str!(concat!("console/", $name)) }),*]
    };
}

const PAGE: [File; 1] = [File { path: "/console", kind: HTML, text: include_str!("console/index.html") }];
const LOADED: [File; 15] = files! {
    "console.css": CSS,
    "main.js": JAVASCRIPT,
    "ask.js": JAVASCRIPT,
    "dialogs.js": JAVASCRIPT,
    "dom.js": JAVASCRIPT,
    "keys.js": JAVASCRIPT,
    "live.js": JAVASCRIPT,
    "table.js": JAVASCRIPT,
    "words.js": JAVASCRIPT,
    "views/channel.js": JAVASCRIPT,
    "views/channels.js": JAVASCRIPT,
    "views/namespaces.js": JAVASCRIPT,
    "views/nodes.js": JAVASCRIPT,
    "views/publish.js": JAVASCRIPT,
    "views/user.js": JAVASCRIPT,
};

/// Whom the page talks to.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Greeting {
    server_id: String,
    version: &'static str,
    /// No key is asked for.
    open: bool,
    /// How far the key or token goes, and whose it is.
    access: Access,
    operator: Option<String>,
}

/// `GET /console`, what the page loads, whether a key is good, and what is watched.
pub fn routes(settings: &Settings, keeper: &Keeper, watch: &Arc<Lookout>) -> Router {
    if !settings.console.enabled {
        return Router::new();
    }
    page(settings, keeper).merge(keeper.guard(watch::routes(watch)))
}

fn page(settings: &Settings, keeper: &Keeper) -> Router {
    serve(&PAGE, POLICY)
        .merge(serve(&LOADED, POLICY))
        .route("/console/", get(|| async { Redirect::permanent("/console") }))
        .merge(keeper.guard(session(&settings.node.name, &settings.http_api)))
}

fn session(node: &str, api: &HttpApi) -> Router {
    let (node, open) = (node.to_owned(), api.insecure);
    let greet = async move |Extension(Admitted { access, operator }): Extension<Admitted>| {
        let operator = operator.map(|operator| operator.name);
        Json(Greeting { server_id: node, version: env!("CARGO_PKG_VERSION"), open, access, operator })
    };
    Router::new().route("/console/session", get(greet))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use axum::body::{Body, to_bytes};
    use axum::http::{Request, StatusCode};
    use tower::ServiceExt as _;

    use super::*;

    const SETTINGS: &str =
        "client.token.hmac_secret_key = \"a secret of the tests, 32 bytes long\"\nhttp_api.key = \"sesame\"";

    async fn fetch(settings: &str, path: &str, key: &str) -> (StatusCode, String, String) {
        let settings = Settings::from_toml(settings).unwrap();
        let router = match settings.console.enabled {
            true => page(&settings, &Keeper::new(&settings.http_api)),
            false => Router::new(),
        };
        let request = Request::get(path).header("x-api-key", key).body(Body::empty()).unwrap();
        let response = router.oneshot(request).await.unwrap();
        let (status, policy) = (response.status(), response.headers().get("content-security-policy").cloned());
        let body = to_bytes(response.into_body(), usize::MAX).await.unwrap();
        let policy = policy.map(|policy| policy.to_str().unwrap().to_owned()).unwrap_or_default();
        (status, policy, String::from_utf8(body.to_vec()).unwrap())
    }

    /// What a file loads: `"/console/…"` in the page, `from './…'` in a module.
    fn loads(file: &File) -> BTreeSet<String> {
        let folder = file.path.rsplit_once('/').map_or("", |(folder, _)| folder);
        let ends = [".js\"", ".js'", ".css\""].iter().flat_map(|end| file.text.match_indices(end));
        let paths = ends.map(|(index, end)| {
            let quote = &end[end.len() - 1..];
            &file.text[file.text[..index].rfind(quote).unwrap() + 1..index + end.len() - 1]
        });
        let whole = |path: &str| match (path.strip_prefix("./"), path.strip_prefix("../")) {
            (Some(beside), _) => format!("{folder}/{beside}"),
            (_, Some(above)) => format!("{}/{above}", folder.rsplit_once('/').unwrap().0),
            _ => path.to_owned(),
        };
        paths.map(whole).collect()
    }

    #[tokio::test]
    async fn everything_that_the_page_loads_is_served_and_nothing_else() {
        let served: BTreeSet<_> = LOADED.iter().map(|file| file.path.to_owned()).collect();
        let loaded: BTreeSet<_> = PAGE.iter().chain(&LOADED).flat_map(loads).collect();
        assert_eq!(loaded, served);
        for path in loaded.iter().map(String::as_str).chain(["/console"]) {
            let (status, policy, _) = fetch(SETTINGS, path, "").await;
            assert_eq!((status, &*policy), (StatusCode::OK, POLICY), "{path}");
        }
        assert!(!POLICY.contains("unsafe") && !POLICY.contains('*'));
    }

    #[test]
    fn nothing_in_the_page_needs_inline_script_or_style_or_makes_markup_of_text() {
        for File { path, text, .. } in PAGE.iter().chain(&LOADED) {
            for word in
                ["<script>", "<style", "style=\"", " onclick=", "innerHTML", "insertAdjacentHTML", "document.write"]
            {
                assert!(!text.contains(word), "{path}: {word}");
            }
        }
    }

    #[tokio::test]
    async fn the_page_is_for_everybody_and_what_it_shows_for_who_has_the_key() {
        for (key, expected) in
            [("sesame", StatusCode::OK), ("wrong", StatusCode::UNAUTHORIZED), ("", StatusCode::UNAUTHORIZED)]
        {
            assert_eq!(fetch(SETTINGS, "/console/session", key).await.0, expected, "{key}");
        }
        let (status, _, body) = fetch("", "/console/session", "").await;
        assert!(status == StatusCode::OK && body.contains("\"open\":true"), "development mode asks for no key: {body}");
    }

    #[tokio::test]
    async fn it_is_there_only_beside_the_server_api_and_unless_switched_off() {
        for off in ["console.enabled = false", "http_api.enabled = false"] {
            for path in ["/console", "/console/main.js", "/console/session"] {
                assert_eq!(fetch(off, path, "").await.0, StatusCode::NOT_FOUND, "{off} {path}");
            }
        }
    }
}
