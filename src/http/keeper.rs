//! Who may call the server API and what belongs to it: whoever has the API key, or an operator token that goes as far.

use std::net::SocketAddr;
use std::sync::Arc;

use axum::Router;
use axum::extract::{ConnectInfo, Request, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::middleware::{Next, from_fn_with_state};
use axum::response::Response;
use secrecy::ExposeSecret;
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;
use tracing::{debug, info, warn};

use super::json::refused;
use crate::api::Method;
use crate::auth::{Access, OperatorGrant, Verifier};
use crate::clock::unix_seconds;
use crate::revocation::{Revocations, Token};
use crate::settings::HttpApi;
use crate::telemetry::{Paces, Shown};

/// Lets in who may come in.
#[derive(Clone)]
pub struct Keeper {
    key: Key,
    operators: Option<Arc<Operators>>,
    /// Of lines about who is not let in.
    told: Arc<Paces<Shown>>,
}

/// Whose tokens are taken in place of the key, as long as they are not revoked.
struct Operators {
    tokens: Verifier,
    revocations: Arc<Revocations>,
}

#[derive(Clone)]
enum Key {
    Everybody,
    Nobody,
    /// Whoever knows the key with this digest. Digests are of one length, so comparing them tells nothing.
    Known([u8; 32]),
}

/// How far somebody may go, and who it is where a token says so.
#[derive(Clone)]
pub(super) struct Admitted {
    pub(super) access: Access,
    pub(super) operator: Option<Operator>,
}

/// An operator who came with a token.
#[derive(Clone)]
pub(super) struct Operator {
    pub(super) name: String,
    expires_at: u64,
    token: Token,
    revocations: Arc<Revocations>,
}

impl Operator {
    fn new(grant: OperatorGrant, revocations: &Arc<Revocations>) -> Self {
        let token = Token::new(grant.token_id.as_deref(), grant.issued_at);
        let (name, expires_at) = (grant.operator, grant.expires_at);
        Self { name, expires_at, token, revocations: Arc::clone(revocations) }
    }

    fn is_revoked(&self) -> bool {
        self.revocations.refuses(&self.token, &self.name, "")
    }

    /// Whether the token has expired since, or was revoked.
    pub(super) fn is_over(&self) -> bool {
        self.expires_at <= unix_seconds() || self.is_revoked()
    }
}

impl Keeper {
    /// One that takes the API key alone.
    #[must_use]
    pub fn new(settings: &HttpApi) -> Self {
        let key = match &settings.key {
            _ if settings.insecure => Key::Everybody,
            Some(key) if !key.expose_secret().is_empty() => Key::Known(digest(key.expose_secret())),
            _ => Key::Nobody,
        };
        Self { key, operators: None, told: Arc::default() }
    }

    /// The same, for whom operator tokens are good too.
    #[must_use]
    pub fn with_operators(self, tokens: Verifier, revocations: Arc<Revocations>) -> Self {
        Self { operators: Some(Arc::new(Operators { tokens, revocations })), ..self }
    }

    /// Stands in front of `routes`.
    pub fn guard(&self, routes: Router) -> Router {
        routes.layer(from_fn_with_state(self.clone(), let_in))
    }

    /// The header `X-API-Key` counts before `Authorization`, and the query before neither.
    fn has_key(&self, request: &Request) -> bool {
        let Key::Known(key) = &self.key else { return matches!(self.key, Key::Everybody) };
        let in_query = || in_query(request.uri().query()).is_some_and(|given| is_key(key, &given));
        self.is_shown_by(request.headers()) || in_query()
    }

    /// Whether there is a key, and these headers have it.
    pub(super) fn is_shown_by(&self, headers: &HeaderMap) -> bool {
        let Key::Known(key) = &self.key else { return false };
        in_headers(headers).is_some_and(|given| is_key(key, given))
    }

    /// Turns somebody away. The log tells it, and never what was shown: that may be the key of yesterday, or of another
    /// cluster.
    fn turn_away(&self, request: &Request) -> Response {
        let shown = if in_headers(request.headers()).is_some() || in_query(request.uri().query()).is_some() {
            Shown::Key
        } else if authorization(request.headers(), "bearer").is_some() {
            Shown::Token
        } else {
            Shown::Nothing
        };
        if let Some(left_out) = self.told.of(shown).due() {
            let peer = request.extensions().get().map(|ConnectInfo::<SocketAddr>(peer)| peer.ip());
            let path = request.uri().path();
            let why = match shown {
                Shown::Nothing => "it shows no API key",
                Shown::Key => "its API key is not http_api.key",
                Shown::Token => "its operator token is not accepted",
            };
            warn!(path, ?peer, left_out, "a call is answered 401: {why}");
        }
        refused(StatusCode::UNAUTHORIZED, self.why_not().to_owned())
    }

    /// Why somebody is not let in, whatever was shown.
    const fn why_not(&self) -> &'static str {
        match (&self.key, &self.operators) {
            (Key::Nobody, None) => "closed until http_api.key is set",
            (_, None) => "no valid API key (X-API-Key)",
            (_, Some(_)) => "no valid API key (X-API-Key) or operator token",
        }
    }

    /// Who shows an operator token in a request, if there is one and it is good.
    async fn operator(&self, headers: &HeaderMap) -> Option<Admitted> {
        let Operators { tokens, revocations } = &**self.operators.as_ref()?;
        let token = authorization(headers, "bearer")?;
        let grant = tokens.operator(token).await.inspect_err(|error| debug!("operator token refused: {error}")).ok()?;
        let access = grant.access;
        let operator = Operator::new(grant, revocations);
        if operator.is_revoked() {
            debug!(operator = operator.name, "operator token refused: it is revoked");
            return None;
        }
        Some(Admitted { access, operator: Some(operator) })
    }
}

async fn let_in(State(keeper): State<Keeper>, mut request: Request, next: Next) -> Response {
    let admitted = if keeper.has_key(&request) {
        Admitted { access: Access::Full, operator: None }
    } else {
        let headers = request.headers().clone();
        match keeper.operator(&headers).await {
            Some(admitted) => admitted,
            None => return keeper.turn_away(&request),
        }
    };
    let needed = needed(request.uri().path());
    if needed > admitted.access {
        return refused(StatusCode::FORBIDDEN, "this operator token is good for looking only".to_owned());
    }
    if let (Access::Full, Some(operator)) = (needed, &admitted.operator) {
        info!(operator = operator.name, path = request.uri().path(), "an operator changes something");
    }
    request.extensions_mut().insert(admitted);
    next.run(request).await
}

/// What it takes to ask for a path: what is not known to change nothing wants everything.
fn needed(path: &str) -> Access {
    let looks = match path.strip_prefix("/api/") {
        Some("stats") => true,
        Some(method) => Method::parse(method).is_some_and(Method::only_looks),
        None => matches!(
            path,
            "/console/session" | "/console/watch" | "/cluster/status" | "/cluster/metrics" | "/cluster/nodes"
        ),
    };
    if looks { Access::Read } else { Access::Full }
}

pub(super) fn is_key(key: &[u8; 32], given: &str) -> bool {
    key.ct_eq(&digest(given)).into()
}

pub(super) fn digest(key: &str) -> [u8; 32] {
    Sha256::digest(key).into()
}

fn in_headers(headers: &HeaderMap) -> Option<&str> {
    if let Some(key) = headers.get("x-api-key").filter(|key| !key.is_empty()) {
        return key.to_str().ok();
    }
    authorization(headers, "apikey")
}

/// What `Authorization` holds, where it is of this scheme.
pub(super) fn authorization<'a>(headers: &'a HeaderMap, wanted: &str) -> Option<&'a str> {
    let (scheme, shown) = headers.get(header::AUTHORIZATION)?.to_str().ok()?.trim().split_once(' ')?;
    scheme.eq_ignore_ascii_case(wanted).then(|| shown.trim())
}

fn in_query(query: Option<&str>) -> Option<String> {
    let mut pairs = url::form_urlencoded::parse(query?.as_bytes());
    pairs.find(|(name, _)| name == "api_key").map(|(_, key)| key.into_owned())
}
