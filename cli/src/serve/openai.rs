//! OpenAI's API: `/v1/embeddings`; its list of models has a file of its own.

use std::sync::Arc;
use std::time::Instant;

use axum::extract::{Request, State};
use axum::response::Response;
use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use qwen3_embedding::service::{Input, Response as Embedded};
use qwen3_embedding::{EmbedOptions, Prompt};
use serde::{Deserialize, Serialize};

use super::input::Inputs;
use super::problem::{Api, Problem};
use super::server::{Server, Work};
use super::{answer, body, field};

/// What is posted to `/v1/embeddings`. The last three fields are ours.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Ask {
    input: Inputs,
    model: Option<String>,
    dimensions: Option<i64>,
    encoding_format: Option<Encoding>,
    /// OpenAI's name of an end user; nothing is done with it.
    #[serde(rename = "user")]
    _user: Option<String>,
    input_type: Option<InputType>,
    instruction: Option<String>,
    truncate: Option<bool>,
}

#[derive(Clone, Copy, Default, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Encoding {
    #[default]
    Float,
    Base64,
}

#[derive(Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
enum InputType {
    Query,
    Document,
}

impl Ask {
    fn work(self, hidden: usize) -> Result<Work, Problem> {
        let prompt = prompt(self.input_type, self.instruction)?;
        let Inputs(input) = self.input;
        if matches!(input, Input::TokenIds(_)) && prompt != Prompt::Document {
            let message = "a prompt cannot be put before token ids: send texts";
            return Err(Problem::invalid("input", message));
        }
        let options = field::dimensions(EmbedOptions::default(), self.dimensions, hidden)?;
        let options = options.prompt(prompt);
        Ok(Work {
            input,
            options: field::truncation(options, self.truncate),
        })
    }
}

fn prompt(kind: Option<InputType>, instruction: Option<String>) -> Result<Prompt, Problem> {
    match (kind, instruction) {
        (Some(InputType::Document), Some(_)) => Err(Problem::invalid(
            "instruction",
            "an instruction is for queries: expected input_type \"query\"",
        )),
        (_, Some(task)) => Ok(Prompt::Task(task)),
        (Some(InputType::Query), None) => Ok(Prompt::Query),
        (Some(InputType::Document) | None, None) => Ok(Prompt::Document),
    }
}

#[derive(Serialize)]
struct Answer<'a> {
    object: &'static str,
    data: Vec<Row<'a>>,
    model: &'a str,
    usage: Usage,
}

#[derive(Serialize)]
struct Row<'a> {
    object: &'static str,
    index: usize,
    embedding: Vector<'a>,
}

#[derive(Serialize)]
#[serde(untagged)]
enum Vector<'a> {
    Float(&'a [f32]),
    Base64(String),
}

#[derive(Serialize)]
struct Usage {
    prompt_tokens: usize,
    total_tokens: usize,
}

impl<'a> Answer<'a> {
    fn new(embedded: &'a Embedded, model: &'a str, encoding: Encoding) -> Self {
        let rows = embedded.embeddings.iter().enumerate();
        let tokens = embedded.total_tokens();
        Self {
            object: "list",
            data: rows
                .map(|(index, vector)| Row {
                    object: "embedding",
                    index,
                    embedding: encoded(vector, encoding),
                })
                .collect(),
            model,
            usage: Usage {
                prompt_tokens: tokens,
                total_tokens: tokens,
            },
        }
    }
}

/// Numbers, or the bytes of little-endian f32 in base64.
fn encoded(vector: &[f32], encoding: Encoding) -> Vector<'_> {
    match encoding {
        Encoding::Float => Vector::Float(vector),
        Encoding::Base64 => {
            let bytes: Vec<u8> = vector
                .iter()
                .flat_map(|value| value.to_le_bytes())
                .collect();
            Vector::Base64(BASE64_STANDARD.encode(bytes))
        }
    }
}

/// `POST /v1/embeddings`
pub(super) async fn embeddings(State(server): State<Arc<Server>>, request: Request) -> Response {
    let answer = embed(&server, request).await;
    answer.unwrap_or_else(|problem| problem.answer(Api::OpenAi))
}

async fn embed(server: &Server, request: Request) -> Result<Response, Problem> {
    let began = Instant::now();
    let body::Parsed { value: ask, room } = body::read::<Ask>(server, request).await?;
    server.check_model(ask.model.as_deref())?;
    let encoding = ask.encoding_format.unwrap_or_default();
    let work = ask.work(server.info()?.dimensions)?;
    let embedded = server.embed(work, began).await?;
    drop(room);
    let model = server.name().to_owned();
    answer::vectors(embedded, move |embedded| {
        serde_json::to_vec(&Answer::new(embedded, &model, encoding))
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

    fn options(json: &str) -> EmbedOptions {
        work(json).map(|work| work.options).unwrap()
    }

    #[test]
    fn a_request_is_for_documents_unless_it_says_query() {
        let of = |prompt| EmbedOptions::default().prompt(prompt);
        for json in [
            r#"{"input": "a"}"#,
            r#"{"input": "a", "input_type": "document", "user": "u", "model": null}"#,
        ] {
            assert_eq!(options(json), of(Prompt::Document));
        }
        let query = r#"{"input": "a", "input_type": "query"}"#;
        assert_eq!(options(query), of(Prompt::Query));
        for json in [
            r#"{"input": "a", "instruction": "t"}"#,
            r#"{"input": "a", "instruction": "t", "input_type": "query"}"#,
        ] {
            assert_eq!(options(json), of(Prompt::Task("t".into())));
        }
    }

    #[test]
    fn what_cannot_be_meant_is_refused() {
        for (json, reason) in [
            (
                r#"{"input": "a", "instruction": "t", "input_type": "document"}"#,
                "an instruction is for queries: expected input_type \"query\"",
            ),
            (
                r#"{"input": [1], "input_type": "query"}"#,
                "a prompt cannot be put before token ids: send texts",
            ),
            (
                r#"{"input": "a", "dimension": 8}"#,
                "unknown field `dimension`, expected one of `input`, `model`, `dimensions`, \
                 `encoding_format`, `user`, `input_type`, `instruction`, `truncate` \
                 at line 1 column 26",
            ),
            (
                r#"{"model": "m"}"#,
                "missing field `input` at line 1 column 14",
            ),
            (
                r#"{"input": "a", "encoding_format": "int8"}"#,
                "unknown variant `int8`, expected `float` or `base64` at line 1 column 40",
            ),
            (
                r#"{"input": "a", "input": "b"}"#,
                "duplicate field `input` at line 1 column 22",
            ),
        ] {
            assert_eq!(work(json).err().as_deref(), Some(reason), "{json}");
        }
    }

    #[test]
    fn base64_holds_little_endian_f32() {
        let Vector::Base64(text) = encoded(&[1.0, -2.5], Encoding::Base64) else {
            panic!("not base64");
        };
        assert_eq!(text, "AACAPwAAIMA=");
    }
}
