//! The half of an embedder that belongs to one thread: token ids to finished vectors.

use std::collections::HashMap;

use crate::backend::{Backend, HiddenRows};
use crate::batch::{Row, TokenBatch};
use crate::error::{Error, Result};
use crate::vector::{self, Normalization};

/// A model on its device.
pub(crate) struct Runner {
    pub(super) backend: Box<dyn Backend>,
    pub(crate) vocab_size: usize,
    pub(super) max_batch_tokens: usize,
}

/// A checked sequence and where its vector goes.
pub(crate) struct Item<'a> {
    pub(crate) row: Row<'a>,
    pub(crate) normalization: Normalization,
    /// As long as the dimensions asked for.
    pub(crate) out: &'a mut [f32],
}

/// Items that run as one batch, in which equal ones are one row.
pub(crate) struct Group<'a> {
    items: Vec<Item<'a>>,
    /// The row of each.
    places: Vec<usize>,
    batch: TokenBatch,
}

impl<'a> Group<'a> {
    pub(crate) fn new(items: Vec<Item<'a>>, vocab_size: usize) -> Result<Self> {
        let mut sequences: Vec<&[u32]> = Vec::new();
        let mut places = HashMap::new();
        let places = items.iter().map(|item| {
            *places.entry(item.row.ids).or_insert_with(|| {
                sequences.push(item.row.ids);
                sequences.len() - 1
            })
        });
        let places: Vec<usize> = places.collect();
        let prefix = items.iter().map(|item| item.row.prefix).min();
        let batch = TokenBatch::new(&sequences, vocab_size)?;
        Ok(Self {
            batch: batch.with_prefix(prefix.unwrap_or_default()),
            places,
            items,
        })
    }
}

impl Runner {
    /// The most tokens of one batch, padding included, unless one sequence is longer.
    pub(crate) fn max_batch_tokens(&self) -> usize {
        self.max_batch_tokens
    }

    /// The native library underneath.
    pub(crate) fn backend(&self) -> &dyn Backend {
        &*self.backend
    }

    /// Runs a group as one batch, `next` being the group that comes after it. Each result is about
    /// its own item and names it by its position in the group.
    ///
    /// # Errors
    /// The backend's, after which this must be dropped.
    pub(crate) fn run(
        &mut self,
        group: Group<'_>,
        next: Option<&Group<'_>>,
    ) -> Result<Vec<Result<()>>> {
        let (rows, width) = (group.batch.rows(), group.batch.width());
        let tokens: usize = group.batch.lengths().iter().sum();
        let span = tracing::debug_span!("forward", rows, width, tokens);
        let next = next.map(|next| &next.batch);
        match span.in_scope(|| self.backend.forward_with_next(&group.batch, next)) {
            Ok(rows) => self.finish(group, &rows),
            Err(Error::BatchTooLarge { .. }) if group.items.len() > 1 => self.run_alone(group),
            Err(error) => Ok(vec![Err(own(error)?)]),
        }
    }

    /// A backend splits a batch until one sequence is left and refuses that one: the others are
    /// not at fault.
    fn run_alone(&mut self, group: Group<'_>) -> Result<Vec<Result<()>>> {
        let mut results = Vec::with_capacity(group.items.len());
        for (index, item) in group.items.into_iter().enumerate() {
            let result = self.run(Group::new(vec![item], self.vocab_size)?, None)?;
            results.extend(result.into_iter().map(|r| r.map_err(|e| e.at_input(index))));
        }
        Ok(results)
    }

    /// Makes vectors of the rows.
    fn finish(&mut self, group: Group<'_>, rows: &HiddenRows) -> Result<Vec<Result<()>>> {
        let _span = tracing::debug_span!("finish").entered();
        let rows: Vec<&[f32]> = rows.rows().collect();
        let items = group.items.into_iter().zip(group.places).enumerate();
        items
            .map(|(index, (item, place))| {
                let row = rows[place];
                if vector::defect(row, item.out.len()).is_none() {
                    vector::finish(row, item.normalization, item.out);
                    return Ok(Ok(()));
                }
                let result = self.retry(item)?;
                Ok(result.map_err(|e| e.at_input(index)))
            })
            .collect()
    }

    /// Runs one item alone in f32, after its row came out unusable.
    fn retry(&mut self, item: Item<'_>) -> Result<Result<()>> {
        let tokens = item.row.ids.len();
        tracing::warn!(
            tokens,
            "not a finite vector; running the input alone in f32"
        );
        let batch = TokenBatch::new(&[item.row.ids], self.vocab_size)?;
        let span = tracing::debug_span!("forward", rows = 1, width = tokens, tokens);
        let rows = match span.in_scope(|| self.backend.forward_f32(&batch)) {
            Ok(rows) => rows,
            Err(error) => return Ok(Err(own(error)?)),
        };
        Ok(match vector::defect(&rows.data, item.out.len()) {
            None => {
                vector::finish(&rows.data, item.normalization, item.out);
                Ok(())
            }
            Some(found) => Err(Error::NotFinite { index: 0, found }),
        })
    }
}

/// What a single sequence is to blame for, or the error as it was if it is the backend's.
fn own(error: Error) -> Result<Error> {
    match error {
        Error::BatchTooLarge {
            backend,
            tokens,
            reason,
            ..
        } => Ok(Error::InputTooLarge {
            index: 0,
            backend,
            tokens,
            reason,
        }),
        other => Err(other),
    }
}
