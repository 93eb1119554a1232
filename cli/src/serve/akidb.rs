//! AkiDB's API: `/api/v1/embed`.

use std::sync::Arc;
use std::time::Instant;

use axum::extract::{Request, State};
use axum::response::Response;
use qwen3_embedding::EmbedOptions;
use qwen3_embedding::service::{Input, Response as Embedded};
use serde::{Deserialize, Serialize};

use super::problem::{Api, Problem};
use super::server::{Server, Work};
use super::{answer, body, field};

/// What is posted.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Ask {
    /// Its documents have both names.
    #[serde(alias = "inputs")]
    texts: Vec<String>,
    model: Option<String>,
    #[serde(rename = "pooling")]
    _pooling: Option<Pooling>,
    normalize: Option<bool>,
}

/// The one pooling of the model: another is refused, since it would give other vectors.
#[derive(Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Pooling {
    #[serde(alias = "last_token", alias = "lasttoken")]
    Last,
}

impl Ask {
    fn work(self) -> Result<Work, Problem> {
        if self.texts.is_empty() {
            let message = "expected at least one text, found none";
            return Err(Problem::invalid("texts", message));
        }
        let blank = |text: &String| text.trim().is_empty();
        if let Some(index) = self.texts.iter().position(blank) {
            return Err(Problem::invalid("texts", format!("text {index} is blank")));
        }
        Ok(Work {
            input: Input::Texts(self.texts),
            options: field::normalization(EmbedOptions::default(), self.normalize),
        })
    }
}

#[derive(Serialize)]
struct Answer<'a> {
    embeddings: Vec<&'a [f32]>,
    model: &'a str,
    dimension: usize,
    usage: Usage,
}

#[derive(Serialize)]
struct Usage {
    total_tokens: usize,
    duration_ms: u64,
}

/// `POST /api/v1/embed`
pub(super) async fn embed(State(server): State<Arc<Server>>, request: Request) -> Response {
    let answer = answer(&server, request).await;
    answer.unwrap_or_else(|problem| problem.answer(Api::AkiDb))
}

async fn answer(server: &Server, request: Request) -> Result<Response, Problem> {
    let began = Instant::now();
    let body::Parsed { value: ask, room } = body::read::<Ask>(server, request).await?;
    server.check_model(ask.model.as_deref())?;
    // The name that was asked by is answered, as the contract wants.
    let model = ask
        .model
        .clone()
        .unwrap_or_else(|| server.name().to_owned());
    let embedded = server.embed(ask.work()?, began).await?;
    drop(room);
    let duration_ms = began.elapsed().as_millis().try_into().unwrap_or(u64::MAX);
    answer::vectors(embedded, move |embedded| {
        write(embedded, &model, duration_ms)
    })
    .await
}

fn write(embedded: &Embedded, model: &str, duration_ms: u64) -> serde_json::Result<Vec<u8>> {
    serde_json::to_vec(&Answer {
        embeddings: embedded.embeddings.iter().collect(),
        model,
        dimension: embedded.embeddings.dimensions(),
        usage: Usage {
            total_tokens: embedded.total_tokens(),
            duration_ms,
        },
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn work(json: &str) -> Result<Work, String> {
        let ask: Ask = serde_json::from_str(json).map_err(|error| error.to_string())?;
        ask.work().map_err(|problem| problem.message)
    }

    #[test]
    fn both_names_of_the_texts_and_every_spelling_of_the_pooling() {
        for json in [
            r#"{"texts": ["a"]}"#,
            r#"{"inputs": ["a"], "pooling": "last"}"#,
            r#"{"inputs": ["a"], "pooling": "last_token", "normalize": true, "model": "m"}"#,
        ] {
            let work = work(json).unwrap();
            assert_eq!(work.input, Input::Texts(vec!["a".to_owned()]));
            assert_eq!(work.options, EmbedOptions::default());
        }
    }

    #[test]
    fn invalid_inputs() {
        for (json, reason) in [
            (r#"{"texts": []}"#, "expected at least one text, found none"),
            (r#"{"texts": ["a", " \t"]}"#, "text 1 is blank"),
            (
                r#"{"texts": ["a"], "inputs": ["b"]}"#,
                "duplicate field `texts` at line 1 column 25",
            ),
            (
                r#"{"texts": ["a"], "pooling": "mean"}"#,
                "unknown variant `mean`, expected one of `last`, `last_token`, `lasttoken` \
                 at line 1 column 34",
            ),
        ] {
            assert_eq!(work(json).err().as_deref(), Some(reason), "{json}");
        }
    }
}
