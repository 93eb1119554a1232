//! A thread that turns texts into tokens, while the device runs other requests.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::Instant;

use super::admission::invalid;
use super::error::{ServiceError, panicked};
use super::queue::Tokens;
use super::shared::Shared;
use crate::embedder::Sequences;

/// Tokenises until the service ends.
pub(super) fn run(shared: &Shared) {
    while let Some((id, ticket)) = shared.handoff.next_texts() {
        // Requests are accepted only once there is a model, and leave their texts before.
        let (Some(loaded), Some((texts, options))) = (shared.loaded(), ticket.take_texts()) else {
            continue;
        };
        let begun = Instant::now();
        let encode = AssertUnwindSafe(|| {
            let sequences = loaded.encoder.encode(&texts, &options)?;
            shared.check_tokens(&sequences.ids)?;
            Ok(sequences)
        });
        let result = match catch_unwind(encode) {
            Ok(result) => result.map_err(invalid),
            Err(panic) => Err(ServiceError::Internal(Arc::new(panicked(
                "tokenise", &*panic,
            )))),
        };
        match result {
            Ok(Sequences {
                ids,
                truncated,
                prefixes,
            }) => {
                let lengths = ids.iter().map(Vec::len).collect();
                ticket.tokenised(lengths, truncated, begun.elapsed());
                let sequences = ids.into_iter().zip(prefixes);
                let sequences = sequences.map(|(ids, prefix)| Tokens { ids, prefix });
                shared.handoff.tokenised(id, sequences.collect());
            }
            Err(error) => {
                shared.handoff.remove(id);
                ticket.refuse(error);
            }
        }
    }
}
