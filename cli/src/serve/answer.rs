//! Vectors to an answer.

use axum::http::HeaderValue;
use axum::http::header::{CONTENT_TYPE, HeaderName};
use axum::response::{IntoResponse, Response};
use qwen3_embedding::Fingerprint;
use qwen3_embedding::service::Response as Embedded;
use serde::Serialize;

use super::problem::{Kind, Problem};

/// The space of the answer's vectors: two that differ must not share an index.
const FINGERPRINT: HeaderName = HeaderName::from_static("x-embedding-fingerprint");
/// How many inputs were cut; absent where none was.
const TRUNCATED: HeaderName = HeaderName::from_static("x-embedding-truncated");

/// More numbers than these are written away from the threads that serve connections.
const INLINE: usize = 16 << 10;

/// The answer whose body `write` makes from the vectors.
pub(super) async fn vectors(
    embedded: Embedded,
    write: impl FnOnce(&Embedded) -> serde_json::Result<Vec<u8>> + Send + 'static,
) -> Result<Response, Problem> {
    let fingerprint = embedded.fingerprint;
    let cut = embedded.embeddings.truncated().iter().filter(|&&cut| cut);
    let cut = cut.count();
    let body = match embedded.embeddings.data().len() {
        ..=INLINE => write(&embedded),
        _ => super::offload(move || write(&embedded)).await?,
    };
    let failed = |_| Problem::new(Kind::Internal, "the answer could not be written");
    let mut response = json(body.map_err(failed)?);
    mark(&mut response, &fingerprint);
    if cut > 0 {
        response.headers_mut().insert(TRUNCATED, cut.into());
    }
    Ok(response)
}

/// Says which space the answer is about.
pub(super) fn mark(response: &mut Response, fingerprint: &Fingerprint) {
    // Hexadecimal digits are a header value.
    if let Ok(value) = HeaderValue::from_str(&fingerprint.to_string()) {
        response.headers_mut().insert(FINGERPRINT, value);
    }
}

/// A small value as an answer.
pub(super) fn value(value: &impl Serialize) -> Result<Response, Problem> {
    let failed = |_| Problem::new(Kind::Internal, "the answer could not be written");
    serde_json::to_vec(value).map(json).map_err(failed)
}

fn json(body: Vec<u8>) -> Response {
    let kind = HeaderValue::from_static("application/json");
    ([(CONTENT_TYPE, kind)], body).into_response()
}
