//! One form of the graph, with the session that runs it.

use ort::value::{DynValue, ValueRef};

use super::super::failed;
use super::super::graph::{Form, Span};
use super::super::inputs::{Pass, inputs};
use super::super::maker::Maker;
use super::super::past::Past;
use super::super::rope::Rope;
use super::super::session::Session;
use super::super::weights::Weights;
use crate::backend::HiddenRows;
use crate::batch::TokenBatch;
use crate::error::Result;

pub(super) struct Runner {
    form: Form,
    hidden: usize,
    session: Session,
}

impl Runner {
    /// Of the whole model.
    pub(super) fn new(maker: Maker<'_>, weights: &mut dyn Weights, form: Form) -> Result<Self> {
        let _span = tracing::debug_span!("build").entered();
        Ok(Self {
            form,
            hidden: maker.config.hidden_size(),
            session: maker.session(weights, form, &Span::whole(maker.config))?,
        })
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
        let inputs = inputs(self.form, pass, nothing, rope);
        let inputs = inputs.map_err(|error| failed("run", error))?;
        let outputs = self.session.run(inputs, tokens)?;
        let mut outputs = outputs.values();
        let rows = rows(pass.batch, self.hidden, outputs.next())?;
        Ok((rows, Past::of(pass.kept, outputs)?))
    }
}

/// The output, checked to be `[rows, hidden]`.
fn rows(batch: &TokenBatch, hidden: usize, output: Option<ValueRef<'_>>) -> Result<HiddenRows> {
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
