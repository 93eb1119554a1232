//! How the server is: `/health`, `/ready`, `/info`, `/metrics`, `/openapi.json`.

use std::sync::Arc;

use axum::extract::State;
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse, Response};
use qwen3_embedding::service::Health;
use serde::Serialize;
use tokio::sync::Semaphore;

use super::answer;
use super::metrics::Held;
use super::problem::{Api, Kind, Problem};
use super::server::Server;

const OPENAPI: &str = include_str!("openapi.json");

#[derive(Serialize)]
struct Status {
    status: &'static str,
}

/// `GET /health`: there is no need to start anew.
pub(super) async fn health(State(server): State<Arc<Server>>) -> Response {
    told(match server.service.health() {
        // It will not come back by itself.
        Health::Failed(_) => {
            let message = "the model is lost and the server must be started anew";
            Err(Problem::new(Kind::Unavailable, message))
        }
        _ => answer::value(&Status { status: "alive" }),
    })
}

/// `GET /ready`: a request would be served now.
pub(super) async fn ready(State(server): State<Arc<Server>>) -> Response {
    let ready = server.ready();
    told(ready.and_then(|()| answer::value(&Status { status: "ready" })))
}

#[derive(Serialize)]
struct Info<'a> {
    version: &'static str,
    model: &'a str,
    names: &'a [String],
    dimensions: usize,
    max_tokens: usize,
    eos_token_id: u32,
    fingerprint: String,
    backend: Backend<'a>,
    limits: Limits,
}

#[derive(Serialize)]
struct Backend<'a> {
    name: &'a str,
    device: String,
    device_name: &'a str,
    /// Spelled as `--precision` takes it.
    precision: String,
    library_version: &'a str,
}

#[derive(Serialize)]
struct Limits {
    max_body_bytes: u32,
    max_inputs: usize,
    max_request_tokens: usize,
    request_timeout_seconds: f64,
}

/// `GET /info`: the model, its space and what runs it.
pub(super) async fn info(State(server): State<Arc<Server>>) -> Response {
    told(described(&server))
}

fn described(server: &Server) -> Result<Response, Problem> {
    let info = server.info()?;
    let fingerprint = info.space.fingerprint();
    let mut response = answer::value(&Info {
        version: env!("CARGO_PKG_VERSION"),
        model: server.name(),
        names: &server.names,
        dimensions: info.dimensions,
        max_tokens: info.max_tokens,
        eos_token_id: info.eos_token_id,
        fingerprint: fingerprint.to_string(),
        backend: Backend {
            name: info.backend.backend,
            device: info.backend.device.to_string(),
            device_name: &info.backend.device_name,
            precision: info.backend.precision.to_string().to_lowercase(),
            library_version: &info.backend.library_version,
        },
        limits: Limits {
            max_body_bytes: server.limits.max_body_bytes.get(),
            max_inputs: server.limits.max_inputs.get(),
            max_request_tokens: server.limits.max_request_tokens.get(),
            request_timeout_seconds: server.limits.request_timeout.as_secs_f64(),
        },
    })?;
    answer::mark(&mut response, &fingerprint);
    Ok(response)
}

/// `GET /metrics`
pub(super) async fn metrics(State(server): State<Arc<Server>>) -> Response {
    let taken = |all: usize, room: &Semaphore| all.saturating_sub(room.available_permits());
    let held = Held {
        connections: taken(server.limits.max_connections.get(), &server.connections),
        body_bytes: taken(server.limits.max_buffered_bytes.get(), &server.body_bytes),
    };
    let text = server.metrics.render(&server.service.stats(), held);
    ([(CONTENT_TYPE, "text/plain; version=0.0.4")], text).into_response()
}

/// `GET /openapi.json`
pub(super) async fn openapi() -> Response {
    ([(CONTENT_TYPE, "application/json")], OPENAPI).into_response()
}

fn told(answer: Result<Response, Problem>) -> Response {
    answer.unwrap_or_else(|problem| problem.answer(Api::OpenAi))
}
