//! The routes, and what happens around every request.

use std::sync::Arc;
use std::time::Instant;

use axum::Router;
use axum::extract::{MatchedPath, Request, State};
use axum::http::Method;
use axum::middleware::{self, Next};
use axum::response::Response;
use axum::routing::{get, post};
use tower_http::CompressionLevel;
use tower_http::compression::CompressionLayer;
use tower_http::compression::predicate::SizeAbove;

use super::problem::{Api, Kind, Problem, wrong_method};
use super::server::Server;
use super::{akidb, models, openai, status, tei};

/// Smaller answers take longer to compress than to send.
const COMPRESSED: u64 = 32 << 10;
/// Asked by what watches processes, which holds no key.
const OPEN: [&str; 2] = ["/health", "/ready"];

pub(super) fn router(server: Arc<Server>) -> Router {
    let compression = CompressionLayer::new()
        .quality(CompressionLevel::Fastest)
        .compress_when(SizeAbove::new(COMPRESSED));
    Router::new()
        .route("/v1/embeddings", post(openai::embeddings))
        .route("/v1/models", get(models::list))
        .route("/v1/models/{*name}", get(models::one))
        .route("/embed", post(tei::embed))
        .route("/api/v1/embed", post(akidb::embed))
        .route("/health", get(status::health))
        .route("/ready", get(status::ready))
        .route("/info", get(status::info))
        .route("/metrics", get(status::metrics))
        .route("/openapi.json", get(status::openapi))
        .fallback(unknown)
        .method_not_allowed_fallback(other_method)
        .layer(compression)
        .layer(middleware::from_fn_with_state(Arc::clone(&server), around))
        .with_state(server)
}

/// Asks for a key, counts and logs. Nothing of a body, a query or an address is logged.
async fn around(State(server): State<Arc<Server>>, request: Request, next: Next) -> Response {
    let began = Instant::now();
    let route = match request.extensions().get::<MatchedPath>() {
        Some(path) => path.as_str().to_owned(),
        None => "unmatched".to_owned(),
    };
    let response = match admit(&server, &request, &route) {
        Ok(()) => next.run(request).await,
        Err(problem) => problem.answer(Api::of(request.uri().path())),
    };
    let (status, time) = (response.status(), began.elapsed());
    server.metrics.answered(&route, status, time);
    let milliseconds = time.as_secs_f64() * 1e3;
    tracing::debug!(route, status = status.as_u16(), milliseconds, "answered");
    response
}

fn admit(server: &Server, request: &Request, route: &str) -> Result<(), Problem> {
    match &server.keys {
        Some(keys) if !OPEN.contains(&route) => keys.check(request.headers()),
        _ => Ok(()),
    }
}

async fn unknown(request: Request) -> Response {
    let problem = Problem::new(Kind::UnknownPath, "there is nothing at this path");
    problem.answer(Api::of(request.uri().path()))
}

async fn other_method(method: Method, request: Request) -> Response {
    let path = request.uri().path();
    let allowed = match path {
        "/v1/embeddings" | "/embed" | "/api/v1/embed" => "POST",
        _ => "GET, HEAD",
    };
    let mut response = wrong_method(Api::of(path), allowed);
    // An answer to HEAD has no body.
    if method == Method::HEAD {
        *response.body_mut() = axum::body::Body::empty();
    }
    response
}
