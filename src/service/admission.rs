//! The door: a request is checked as a whole, then lined up or refused at once.

use std::sync::Arc;
use std::time::Instant;

use tokio::sync::oneshot;

use super::error::ServiceError;
use super::options::default_text_bytes;
use super::queue::{Arrival, Id, Refused, Tokens, Work};
use super::request::{Input, Lane, Request};
use super::shared::{Loaded, Shared};
use super::ticket::{Answer, Shape, Ticket};
use crate::embedder::Encoder;
use crate::error::Error;

impl Shared {
    /// Checks a request and lines it up. The way to its answer and its name in the queue.
    pub(super) fn submit(
        &self,
        request: Request,
    ) -> Result<(Id, oneshot::Receiver<Answer>), ServiceError> {
        let accepted = Instant::now();
        let loaded = self.admitting()?;
        if request
            .deadline
            .is_some_and(|deadline| deadline <= accepted)
        {
            return Err(ServiceError::DeadlineExceeded);
        }
        let (arrival, answer) = self.arrival(request, loaded, accepted).map_err(invalid)?;
        match self.handoff.accept(arrival) {
            Ok(id) => Ok((id, answer)),
            Err(Refused::Closed) => Err(ServiceError::ShuttingDown),
            Err(Refused::Full) => {
                let waiting = self.waiting_tokens();
                let retry_after = self.stats().retry_after(waiting);
                Err(ServiceError::Overloaded { retry_after })
            }
        }
    }

    /// The request as the queue takes it, and the way to its answer.
    fn arrival(
        &self,
        request: Request,
        loaded: &Loaded,
        accepted: Instant,
    ) -> Result<(Arrival<Arc<Ticket>>, oneshot::Receiver<Answer>), Error> {
        let bytes = self.check(&request, &loaded.encoder)?;
        let dimensions = loaded.encoder.dimensions(&request.options)?;
        let (ticket, answer) = Ticket::new(Shape {
            accepted,
            dimensions,
            normalization: request.options.normalization,
            fingerprint: loaded.info.space.clone().cut(dimensions).fingerprint(),
        });
        let inputs = request.input.len();
        let work = match request.input {
            Input::Texts(texts) => {
                ticket.put_texts(texts, request.options);
                Work::Tokenise
            }
            Input::TokenIds(ids) => {
                let tokens: Vec<usize> = ids.iter().map(Vec::len).collect();
                ticket.tokenised(tokens, vec![false; inputs], accepted.elapsed());
                let sequences = ids.into_iter().map(|ids| Tokens {
                    prefix: loaded.encoder.query_prefix(&ids),
                    ids,
                });
                Work::Run(sequences.collect())
            }
        };
        let arrival = Arrival {
            lane: request.lane,
            deadline: request.deadline,
            inputs,
            bytes,
            work,
            ticket: Arc::new(ticket),
        };
        Ok((arrival, answer))
    }

    fn waiting_tokens(&self) -> usize {
        let tokens = |lane| self.handoff.waiting(lane).2;
        tokens(Lane::Query) + tokens(Lane::Bulk)
    }

    /// Finds a request that has too many tokens in all.
    pub(super) fn check_tokens(&self, sequences: &[Vec<u32>]) -> Result<(), Error> {
        let tokens: usize = sequences.iter().map(Vec::len).sum();
        match self.options.max_request_tokens {
            limit if tokens > limit => Err(out_of_range("tokens of all inputs", limit, tokens)),
            _ => Ok(()),
        }
    }

    /// Bytes of the inputs, if a request of this shape can ever be run.
    fn check(&self, request: &Request, encoder: &Encoder) -> Result<usize, Error> {
        let (inputs, limit) = (request.input.len(), self.options.input_limit());
        if inputs == 0 {
            return Err(Error::EmptyRequest);
        }
        if inputs > limit {
            return Err(out_of_range("inputs", limit, inputs));
        }
        let bytes = match &request.input {
            Input::Texts(texts) => {
                let limit = self.options.max_text_bytes;
                let limit = limit.unwrap_or_else(|| default_text_bytes(encoder.max_tokens()));
                if let Some(index) = texts.iter().position(|text| text.len() > limit) {
                    let bytes = texts[index].len();
                    return Err(Error::TextTooLong {
                        index,
                        bytes,
                        limit,
                    });
                }
                texts.iter().map(String::len).sum()
            }
            Input::TokenIds(sequences) => {
                encoder.check(sequences, &request.options)?;
                self.check_tokens(sequences)?;
                sequences
                    .iter()
                    .map(|ids| size_of_val(ids.as_slice()))
                    .sum()
            }
        };
        match self.options.queue_bytes {
            limit if bytes > limit => Err(out_of_range("bytes of all inputs", limit, bytes)),
            _ => Ok(bytes),
        }
    }
}

pub(super) fn invalid(error: Error) -> ServiceError {
    ServiceError::InvalidInput(Arc::new(error))
}

fn out_of_range(option: &'static str, limit: usize, found: usize) -> Error {
    Error::Option {
        option,
        expected: format!("1..={limit}"),
        found: found.to_string(),
    }
}
