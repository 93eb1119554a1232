//! The API of text-embeddings-inference: `/embed`.

use std::sync::Arc;
use std::time::Instant;

use axum::extract::{Request, State};
use axum::response::Response;
use qwen3_embedding::service::Input;
use qwen3_embedding::{EmbedOptions, Prompt};
use serde::Deserialize;

use super::input::Inputs;
use super::problem::{Api, Problem};
use super::server::{Server, Work};
use super::{answer, body, field};

/// What is posted.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Ask {
    inputs: Inputs,
    normalize: Option<bool>,
    truncate: Option<bool>,
    truncation_direction: Option<Direction>,
    prompt_name: Option<String>,
    dimensions: Option<i64>,
}

#[derive(Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Direction {
    #[serde(alias = "Left")]
    Left,
    #[serde(alias = "Right")]
    Right,
}

impl Ask {
    fn work(self, hidden: usize) -> Result<Work, Problem> {
        if self.truncation_direction == Some(Direction::Left) {
            let message = "only the end of a text can be cut: expected truncation_direction right";
            return Err(Problem::invalid("truncation_direction", message));
        }
        let Inputs(input) = self.inputs;
        if matches!(input, Input::TokenIds(_)) && self.prompt_name.is_some() {
            let message = "a prompt cannot be put before token ids: send texts";
            return Err(Problem::invalid("inputs", message));
        }
        let options = field::dimensions(EmbedOptions::default(), self.dimensions, hidden)?;
        let options = options.prompt(self.prompt_name.map_or(Prompt::Document, Prompt::Named));
        let options = field::normalization(options, self.normalize);
        Ok(Work {
            input,
            options: field::truncation(options, self.truncate),
        })
    }
}

/// `POST /embed`
pub(super) async fn embed(State(server): State<Arc<Server>>, request: Request) -> Response {
    let answer = answer(&server, request).await;
    answer.unwrap_or_else(|problem| problem.answer(Api::Tei))
}

async fn answer(server: &Server, request: Request) -> Result<Response, Problem> {
    let began = Instant::now();
    let body::Parsed { value: ask, room } = body::read::<Ask>(server, request).await?;
    let work = ask.work(server.info()?.dimensions)?;
    let embedded = server.embed(work, began).await?;
    drop(room);
    answer::vectors(embedded, |embedded| {
        let vectors: Vec<&[f32]> = embedded.embeddings.iter().collect();
        serde_json::to_vec(&vectors)
    })
    .await
}

#[cfg(test)]
mod tests {
    use super::*;

    fn work(json: &str) -> Result<Work, String> {
        let ask: Ask = serde_json::from_str(json).map_err(|error| error.to_string())?;
        ask.work(64).map_err(|problem| problem.message)
    }

    #[test]
    fn each_field_has_its_effect() {
        let work = work(
            r#"{"inputs": ["a"], "normalize": false, "truncate": true, "prompt_name": "query",
                "dimensions": 8, "truncation_direction": "Right"}"#,
        )
        .unwrap();
        let expected = field::normalization(EmbedOptions::default(), Some(false));
        let expected = field::truncation(expected, Some(true));
        let expected = expected.prompt(Prompt::Named("query".into())).dimensions(8);
        assert_eq!(work.options, expected);
    }

    #[test]
    fn nothing_but_inputs_is_needed() {
        assert_eq!(
            work(r#"{"inputs": "a"}"#).map(|work| work.options),
            Ok(EmbedOptions::default())
        );
    }

    #[test]
    fn what_cannot_be_done_is_refused() {
        assert_eq!(
            work(r#"{"inputs": "a", "truncation_direction": "left"}"#).err(),
            Some(
                "only the end of a text can be cut: expected truncation_direction right".to_owned()
            )
        );
        assert_eq!(
            work(r#"{"inputs": [1], "prompt_name": "query"}"#).err(),
            Some("a prompt cannot be put before token ids: send texts".to_owned())
        );
    }
}
