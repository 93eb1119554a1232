//! What all requests share, and the way from a checked request to its vectors.

use std::sync::Arc;
use std::time::{Instant, SystemTime};

use qwen3_embedding::service::{
    Input, Lane, Request, Response, Service, ServiceError, ServiceInfo, Unavailable,
};
use qwen3_embedding::{EmbedOptions, Error};
use tokio::sync::{Semaphore, watch};

use super::auth::Keys;
use super::metrics::Metrics;
use super::problem::{Kind, Problem};
use crate::args::Limits;

/// One running server.
pub(super) struct Server {
    pub(super) service: Service,
    /// The names that requests may give the model. The first is the one that is answered.
    pub(super) names: Vec<String>,
    pub(super) limits: Limits,
    pub(super) keys: Option<Keys>,
    pub(super) metrics: Metrics,
    /// Room for the bodies that are being read or served, in bytes.
    pub(super) body_bytes: Arc<Semaphore>,
    /// Room for connections.
    pub(super) connections: Arc<Semaphore>,
    pub(super) orders: watch::Sender<Orders>,
    pub(super) started: SystemTime,
}

/// What connections are told.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Orders {
    pub(super) draining: bool,
    /// Grows whenever idle connections are to make room.
    pub(super) make_room: u64,
}

/// A request that was understood, whichever API it came from.
pub(super) struct Work {
    pub(super) input: Input,
    pub(super) options: EmbedOptions,
}

impl Server {
    /// The name that answers give the model.
    pub(super) fn name(&self) -> &str {
        self.names.first().map_or("", String::as_str)
    }

    /// Whether a request for `model` is for this one; none at all is.
    pub(super) fn check_model(&self, model: Option<&str>) -> Result<(), Problem> {
        match model {
            Some(wanted) if !self.names.iter().any(|name| name == wanted) => {
                let message = format!("model {wanted:?} is not served here");
                Err(Problem {
                    param: Some("model"),
                    ..Problem::new(Kind::UnknownModel, message)
                })
            }
            _ => Ok(()),
        }
    }

    /// The loaded model.
    pub(super) fn info(&self) -> Result<Arc<ServiceInfo>, Problem> {
        let loading = || self.explain(&ServiceError::Unavailable(Unavailable::Loading));
        self.service.info().ok_or_else(loading)
    }

    /// Whether a request would be served now.
    pub(super) fn ready(&self) -> Result<(), Problem> {
        if self.orders.borrow().draining {
            return Err(self.explain(&ServiceError::ShuttingDown));
        }
        self.service.ready().map_err(|error| self.explain(&error))
    }

    /// The vectors of `work`, whose request came in at `began`.
    pub(super) async fn embed(&self, work: Work, began: Instant) -> Result<Response, Problem> {
        self.check_inputs(&work.input)?;
        let lane = match work.input.len() {
            1 => Lane::Query,
            _ => Lane::Bulk,
        };
        let deadline = began + self.limits.request_timeout;
        let request = Request::new(work.input)
            .options(work.options)
            .lane(lane)
            .deadline(deadline);
        // The service drops what still waits by then; this also leaves what the device has begun.
        let answer = tokio::time::timeout_at(deadline.into(), self.service.embed(request)).await;
        let answer = answer.unwrap_or(Err(ServiceError::DeadlineExceeded));
        answer.map_err(|error| self.explain(&error))
    }

    fn check_inputs(&self, input: &Input) -> Result<(), Problem> {
        let limits = &self.limits;
        let max = limits.max_inputs.min(limits.max_queued_inputs).get();
        let found = input.len();
        if found > max {
            let message = format!("expected at most {max} inputs, found {found}");
            return Err(Problem::new(Kind::TooLarge, message));
        }
        let empty = match input {
            Input::Texts(texts) => texts.iter().position(String::is_empty),
            Input::TokenIds(sequences) => sequences.iter().position(Vec::is_empty),
        };
        if let Some(index) = empty {
            return Err(Problem::invalid("input", format!("input {index} is empty")));
        }
        match input {
            Input::Texts(_) => Ok(()),
            Input::TokenIds(sequences) => check_eos(sequences, self.info()?.eos_token_id),
        }
    }

    /// What the client is told.
    fn explain(&self, error: &ServiceError) -> Problem {
        let problem = |kind| Problem::new(kind, error.to_string());
        match error {
            ServiceError::InvalidInput(fault) => blame(fault),
            ServiceError::Overloaded { retry_after } => {
                Problem::new(Kind::Overloaded, "too many requests are waiting")
                    .retry_after(*retry_after)
            }
            ServiceError::Unavailable(Unavailable::BreakerOpen { retry_after }) => {
                Problem::new(Kind::Unavailable, "the model failed repeatedly")
                    .retry_after(*retry_after)
            }
            ServiceError::DeadlineExceeded => {
                let limit = self.limits.request_timeout;
                let message = format!("the request took longer than {limit:?}");
                Problem::new(Kind::Unavailable, message)
            }
            ServiceError::ShuttingDown | ServiceError::Unavailable(_) => problem(Kind::Unavailable),
            _ => problem(Kind::Internal),
        }
    }
}

/// Finds ids of another tokenizer, which clients of OpenAI send unasked, and an EOS that was
/// forgotten or doubled: each would give a wrong vector.
fn check_eos(sequences: &[Vec<u32>], eos: u32) -> Result<(), Problem> {
    let ends_right = |ids: &Vec<u32>| match ids.as_slice() {
        [.., before, last] => *last == eos && *before != eos,
        ids => ids == [eos],
    };
    match sequences.iter().position(|ids| !ends_right(ids)) {
        None => Ok(()),
        Some(index) => Err(Problem::invalid(
            "input",
            format!(
                "input {index}: expected the model's own token ids, which end with one EOS, \
                 {eos}; send text where there is another tokenizer"
            ),
        )),
    }
}

/// Whose fault an error of the library is, without what it tells of the machine.
fn blame(error: &Error) -> Problem {
    let told = |kind, param| Problem {
        param,
        ..Problem::new(kind, error.to_string())
    };
    match error {
        Error::TooManyTokens { .. } => told(Kind::TooManyTokens, Some("input")),
        Error::EmptyRequest | Error::EmptyTokens { .. } | Error::TokenId { .. } => {
            told(Kind::Invalid, Some("input"))
        }
        Error::Tokenise { index, .. } => {
            Problem::invalid("input", format!("input {index} cannot be tokenised"))
        }
        Error::UnknownPrompt { .. } => told(Kind::Invalid, Some("prompt_name")),
        Error::Option {
            option: "inputs" | "tokens of all inputs" | "bytes of all inputs",
            ..
        }
        | Error::TextTooLong { .. } => told(Kind::TooLarge, Some("input")),
        Error::Option { option, .. } => told(Kind::Invalid, Some(option)),
        Error::InputTooLarge { index, tokens, .. } => Problem::new(
            Kind::TooLarge,
            format!("input {index}: its {tokens} tokens are too many for the device"),
        ),
        Error::NotFinite { .. } => told(Kind::Internal, None),
        _ => Problem::new(Kind::Internal, "the model failed"),
    }
}
