//! Pooled rows to vectors: MRL cut, finite check, L2 normalisation; and the output type.

use crate::error::{Error, Result};

/// Whether vectors are scaled to length 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum Normalization {
    /// L2 length 1, so that the dot product is the cosine.
    #[default]
    L2,
    /// The pooled row as the model gives it.
    None,
}

/// Vectors of one request, in the order of its inputs.
#[derive(Debug, Clone, PartialEq)]
pub struct Embeddings {
    pub(crate) data: Vec<f32>,
    pub(crate) dimensions: usize,
    pub(crate) normalization: Normalization,
    pub(crate) tokens: Vec<usize>,
    pub(crate) truncated: Vec<bool>,
}

impl Embeddings {
    /// All vectors, row-major `[rows, dimensions]`.
    #[must_use]
    pub fn data(&self) -> &[f32] {
        &self.data
    }

    /// The matrix without a copy.
    #[must_use]
    pub fn into_data(self) -> Vec<f32> {
        self.data
    }

    /// Vectors, one for each input.
    #[must_use]
    pub fn rows(&self) -> usize {
        self.tokens.len()
    }

    /// Elements of each vector.
    #[must_use]
    pub fn dimensions(&self) -> usize {
        self.dimensions
    }

    /// The vector of input `index`, if there is such an input.
    #[must_use]
    pub fn row(&self, index: usize) -> Option<&[f32]> {
        self.data.chunks_exact(self.dimensions).nth(index)
    }

    /// The vectors in order.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = &[f32]> {
        self.data.chunks_exact(self.dimensions)
    }

    /// Whether the vectors have length 1.
    #[must_use]
    pub fn normalization(&self) -> Normalization {
        self.normalization
    }

    /// Tokens that were run for each input: prompt and EOS included, cut ones not.
    #[must_use]
    pub fn tokens(&self) -> &[usize] {
        &self.tokens
    }

    /// Whether each input was cut to the token limit.
    #[must_use]
    pub fn truncated(&self) -> &[bool] {
        &self.truncated
    }
}

/// What is wrong with the first `dimensions` elements of a pooled row, if anything.
pub(crate) fn defect(row: &[f32], dimensions: usize) -> Option<&'static str> {
    if row.iter().any(|value| value.is_nan()) {
        Some("NaN")
    } else if row.iter().any(|value| value.is_infinite()) {
        Some("an infinity")
    } else if row.iter().take(dimensions).all(|&value| value == 0.0) {
        Some("a zero vector")
    } else {
        None
    }
}

/// Writes a row without defect, cut and normalised, to `out`, whose length is the cut.
pub(crate) fn finish(row: &[f32], normalization: Normalization, out: &mut [f32]) {
    let scale = match normalization {
        Normalization::None => 1.0,
        // In f64: the squares of finite f32 values neither overflow nor vanish there.
        Normalization::L2 => {
            let squares = row.iter().take(out.len()).map(|&v| f64::from(v).powi(2));
            squares.sum::<f64>().sqrt().recip()
        }
    };
    for (target, &value) in out.iter_mut().zip(row) {
        *target = (f64::from(value) * scale) as f32;
    }
}

/// Checks a requested number of dimensions against the model's.
pub(crate) fn dimensions(requested: Option<usize>, hidden: usize) -> Result<usize> {
    match requested {
        None => Ok(hidden),
        Some(n) if (1..=hidden).contains(&n) => Ok(n),
        Some(n) => Err(Error::Option {
            option: "dimensions",
            expected: format!("1..={hidden}"),
            found: n.to_string(),
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cuts_before_it_normalises() {
        let mut out = [0.0; 2];
        finish(&[3.0, 4.0, 12.0], Normalization::L2, &mut out);
        assert_eq!(out, [0.6, 0.8]);
    }

    #[test]
    fn raw_vectors_are_cut_and_otherwise_untouched() {
        let mut out = [0.0; 2];
        finish(&[3.0, 4.0, 12.0], Normalization::None, &mut out);
        assert_eq!(out, [3.0, 4.0]);
    }

    #[test]
    fn extreme_but_finite_values_normalise() {
        let mut out = [0.0; 2];
        finish(&[f32::MAX, f32::MAX], Normalization::L2, &mut out);
        assert_eq!(out, [std::f32::consts::FRAC_1_SQRT_2; 2]);
        finish(&[1e-45, 0.0], Normalization::L2, &mut out);
        assert_eq!(out, [1.0, 0.0]);
    }

    #[test]
    fn finds_what_must_not_be_served() {
        assert_eq!(defect(&[1.0, f32::NAN], 1), Some("NaN"));
        assert_eq!(defect(&[1.0, f32::NEG_INFINITY], 2), Some("an infinity"));
        assert_eq!(defect(&[0.0, -0.0, 1.0], 2), Some("a zero vector"));
        assert_eq!(defect(&[0.0, -0.0, 1.0], 3), None);
    }

    #[test]
    fn dimensions_run_from_1_to_hidden() {
        assert_eq!(dimensions(None, 64).unwrap(), 64);
        assert_eq!(dimensions(Some(64), 64).unwrap(), 64);
        assert_eq!(
            dimensions(Some(0), 64).unwrap_err().to_string(),
            "dimensions: expected 1..=64, found 0"
        );
        assert!(dimensions(Some(65), 64).is_err());
    }
}
