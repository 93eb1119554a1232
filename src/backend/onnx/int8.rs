//! The checkpoint in int8: folded, rotated, quantised where measurement allows, cached on disk.

mod cache;
mod fold;
mod key;
mod matrix;
mod measure;
mod plan;
mod rotation;
mod store;

use std::path::PathBuf;

use super::maker::Maker;
use crate::checkpoint::{Checkpoint, TABLE};
use crate::error::{Error, Result};
use cache::Cache;
use fold::Folding;
use measure::Measure;
use plan::Plan;

pub(super) use fold::Finish;
pub(super) use store::Store;

/// The least cosine to f32 that a quantised model must reach on the batch it is measured with.
/// Vectors are held to 0.99; what lies between is for texts that are harder than the batch.
const LEAST_COSINE: f64 = 0.995;

/// After these, the bound on what is lost is a thousandth of the first.
const ROUNDS: usize = 10;

/// A quantised model and what was measured.
pub(super) struct Int8 {
    pub(super) store: Store,
    pub(super) finish: Finish,
    pub(super) summary: String,
}

impl Int8 {
    /// From the cache, or quantised now.
    pub(super) fn load(
        checkpoint: &Checkpoint,
        maker: Maker<'_>,
        dir: Option<PathBuf>,
    ) -> Result<Self> {
        let _span = tracing::debug_span!("convert").entered();
        let folding = Folding::of(checkpoint, maker.config);
        let finish = folding.finish()?;
        let cache = Cache::new(dir, checkpoint, maker.config)?;
        let found = cache.as_ref().and_then(Cache::read);
        let (summary, store) = match found {
            Some(found) => found,
            None => {
                let made = quantize(&folding, maker)?;
                if let Some(cache) = cache {
                    cache.write(&made.0, &made.1);
                }
                made
            }
        };
        Ok(Self {
            store,
            finish,
            summary,
        })
    }
}

fn quantize(folding: &Folding<'_>, maker: Maker<'_>) -> Result<(String, Store)> {
    tracing::info!("quantising the weights to int8");
    let (measure, table) = Measure::start(folding, maker)?;
    let mut plan = Plan::all_int8();
    let (mut store, mut cosine) = measure.quantized(&plan)?;
    if cosine < LEAST_COSINE {
        tracing::info!(cosine, "measuring which layers must stay in f32");
        let damages = measure.damages()?;
        // What adds up over the layers is more or less than the sum; each round asks for half.
        let mut most = 1.0 - LEAST_COSINE;
        for _ in 0..ROUNDS {
            most /= 2.0;
            let next = Plan::within(damages.clone(), most);
            if next == plan {
                continue;
            }
            plan = next;
            (store, cosine) = measure.quantized(&plan)?;
            if cosine >= LEAST_COSINE {
                break;
            }
        }
    }
    if cosine < LEAST_COSINE {
        return Err(Error::NotQuantizable {
            tensor: TABLE.to_owned(),
            reason: format!(
                "expected vectors with a cosine of at least {LEAST_COSINE} to those in f32, found \
                 {cosine:.4} with {} groups of linear layers in f32",
                plan.len()
            ),
        });
    }
    store.insert(TABLE, table.into());
    let summary = format!(
        "int8 weights and activations, {} of {} groups of linear layers in f32, cosine to f32 of at \
         least {cosine:.4} when quantised",
        plan.len(),
        4 * folding.config.num_hidden_layers(),
    );
    Ok((summary, store))
}
