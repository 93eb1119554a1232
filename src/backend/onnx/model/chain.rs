//! One form of the graph as sessions over successive layers, each of which goes on with the stream
//! that the one before gives.

use std::sync::{Mutex, PoisonError};

use ort::session::SessionOutputs;
use ort::value::DynValue;

use super::super::failed;
use super::super::graph::{Form, Span};
use super::super::inputs::{Pass, inputs};
use super::super::maker::Maker;
use super::super::past::Past;
use super::super::rope::Rope;
use super::super::session::Session;
use super::super::weights::{Weight, Weights};
use crate::backend::HiddenRows;
use crate::backend::side_by_side;
use crate::batch::TokenBatch;
use crate::error::Result;

pub(super) struct Chain {
    form: Form,
    hidden: usize,
    links: Vec<Link>,
}

struct Link {
    span: Span,
    session: Session,
}

impl Link {
    fn new(maker: Maker<'_>, weights: &mut dyn Weights, form: Form, span: Span) -> Result<Self> {
        let session = maker.session(weights, form, &span)?;
        Ok(Self { span, session })
    }
}

/// Weights that several threads take, one at a time.
struct InTurn<'a, W>(&'a Mutex<&'a mut W>);

impl<W: Weights> Weights for InTurn<'_, W> {
    fn take(&mut self, key: &str) -> Result<Weight> {
        let mut weights = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        weights.take(key)
    }
}

impl Chain {
    /// The whole model as one session.
    pub(super) fn new(maker: Maker<'_>, weights: &mut dyn Weights, form: Form) -> Result<Self> {
        let _span = tracing::debug_span!("build").entered();
        let link = Link::new(maker, weights, form, Span::whole(maker.config))?;
        Ok(Self::of(maker, form, vec![link]))
    }

    /// The model in so many sessions, made side by side: each repacks its weights on one thread.
    pub(super) fn in_parts<W: Weights + Send>(
        maker: Maker<'_>,
        weights: &mut W,
        form: Form,
        parts: usize,
    ) -> Result<Self> {
        let _span = tracing::debug_span!("build").entered();
        let weights = Mutex::new(weights);
        let spans = Span::parts(maker.config, parts);
        let links = side_by_side::each(&spans, |span| {
            Link::new(maker, &mut InTurn(&weights), form, span.clone())
        })?;
        Ok(Self::of(maker, form, links))
    }

    fn of(maker: Maker<'_>, form: Form, links: Vec<Link>) -> Self {
        Self {
            form,
            hidden: maker.config.hidden_size(),
            links,
        }
    }

    /// The last tokens' rows, and the past that the first `pass.kept` tokens of the first sequence
    /// are to others, unless the form gives none out.
    pub(super) fn run(
        &mut self,
        pass: Pass<'_>,
        nothing: &DynValue,
        rope: &mut Rope,
    ) -> Result<(HiddenRows, Past)> {
        let tokens = pass.batch.rows() * pass.batch.width();
        let mut stream = None;
        let mut past = Past::none(pass.kept);
        for Link { span, session } in &mut self.links {
            let inputs = inputs((self.form, span), pass, stream.as_ref(), nothing, rope);
            let inputs = inputs.map_err(|error| failed("run", error))?;
            let outputs = session.run(inputs, tokens)?;
            past.stack(&outputs)?;
            stream = first(outputs);
        }
        let rows = rows(pass.batch, self.hidden, stream)?;
        Ok((rows, past))
    }
}

fn first(outputs: SessionOutputs<'_>) -> Option<DynValue> {
    outputs.into_iter().next().map(|(_, output)| output)
}

/// The output, checked to be `[rows, hidden]`.
fn rows(batch: &TokenBatch, hidden: usize, output: Option<DynValue>) -> Result<HiddenRows> {
    let output = output.ok_or_else(|| failed("run", "the graph has no output"))?;
    let array = output.try_extract_tensor::<f32>();
    let (shape, data) = array.map_err(|error| failed("run", error))?;
    let expected = [batch.rows() as i64, hidden as i64];
    if **shape != expected {
        let message = format!("expected an output of shape {expected:?}, found {shape}");
        return Err(failed("run", message));
    }
    Ok(HiddenRows {
        data: data.to_vec(),
        hidden,
    })
}
