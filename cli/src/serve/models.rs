//! OpenAI's list of models: the names of the one that is served.

use std::sync::Arc;
use std::time::UNIX_EPOCH;

use axum::extract::{Path, State};
use axum::response::Response;
use serde::Serialize;

use super::answer;
use super::problem::Api;
use super::server::Server;

#[derive(Serialize)]
struct Model<'a> {
    id: &'a str,
    object: &'static str,
    created: u64,
    owned_by: &'static str,
}

#[derive(Serialize)]
struct Models<'a> {
    object: &'static str,
    data: Vec<Model<'a>>,
}

fn model<'a>(server: &Server, id: &'a str) -> Model<'a> {
    let created = server.started.duration_since(UNIX_EPOCH);
    Model {
        id,
        object: "model",
        created: created.map_or(0, |time| time.as_secs()),
        owned_by: "qwen3-embed",
    }
}

/// `GET /v1/models`
pub(super) async fn list(State(server): State<Arc<Server>>) -> Response {
    let data = server.names.iter().map(|name| model(&server, name));
    let models = Models {
        object: "list",
        data: data.collect(),
    };
    answer::value(&models).unwrap_or_else(|problem| problem.answer(Api::OpenAi))
}

/// `GET /v1/models/{name}`; a name may hold slashes.
pub(super) async fn one(State(server): State<Arc<Server>>, Path(name): Path<String>) -> Response {
    let found = server.check_model(Some(&name));
    let answer = found.and_then(|()| answer::value(&model(&server, &name)));
    answer.unwrap_or_else(|problem| problem.answer(Api::OpenAi))
}
