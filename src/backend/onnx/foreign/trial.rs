//! A first run of a foreign graph: does it answer, does the answer depend on the text, and does a
//! batch leave its members alone?

use super::Batching;
use super::run::Graph;
use crate::backend::HiddenRows;
use crate::batch::TokenBatch;
use crate::error::{Error, Result};
use crate::onnx_file::OnnxModel;

/// The least cosine at which two ways to run a text give the same vector.
const SAME: f64 = 0.9999;

/// Runs a sequence alone, another one, and the first beside a longer one, which pads it.
///
/// # Errors
/// The library's where the graph does not run at all; [`Error::OnnxFile`] where two texts get the
/// very same row, as from an export that lost its ids.
pub(super) fn batching(graph: &mut Graph, model: &OnnxModel) -> Result<Batching> {
    let (vocabulary, pad) = (model.config().vocab_size(), model.other().pad_token_id);
    // Two tokens beside thirty of padding: what leaks at all, leaks most there.
    let short = ids(2.min(model.config().context()), 3, vocabulary, pad);
    let long = ids(32.min(model.config().context()), 5, vocabulary, pad);
    let alone = graph.run(&TokenBatch::new(&[&short], vocabulary)?)?;
    let other = ids(short.len(), 7, vocabulary, pad);
    if other != short && graph.run(&TokenBatch::new(&[&other], vocabulary)?)? == alone {
        return Err(Error::OnnxFile {
            path: model.file().to_owned(),
            reason: "texts of different tokens get the same vector".to_owned(),
        });
    }
    let batch = TokenBatch::new(&[&short, &long], vocabulary)?;
    let agree = graph.run(&batch).is_ok_and(|rows| same(&alone, &rows));
    if agree {
        return Ok(Batching::Together);
    }
    tracing::warn!(
        file = %model.file().display(),
        "a text's vector depends on the others of its batch; texts run one at a time"
    );
    Ok(Batching::Alone)
}

/// Different ids, none of them the pad id, which some graphs look for.
fn ids(count: usize, step: usize, vocabulary: usize, pad: u32) -> Vec<u32> {
    let spread = (1..=count).map(|n| (n * step * 7919) % vocabulary);
    // Ids are below 2^31, as the vocabulary is.
    spread
        .map(|id| if id == pad as usize { (id + 1) % vocabulary } else { id } as u32)
        .collect()
}

/// Whether the first rows point the same way. A row that is not finite agrees with nothing.
fn same(a: &HiddenRows, b: &HiddenRows) -> bool {
    let (Some(a), Some(b)) = (a.rows().next(), b.rows().next()) else {
        return false;
    };
    let dot = |x: &[f32], y: &[f32]| -> f64 {
        x.iter()
            .zip(y)
            .map(|(&x, &y)| f64::from(x) * f64::from(y))
            .sum()
    };
    dot(a, b) >= SAME * (dot(a, a) * dot(b, b)).sqrt()
}
