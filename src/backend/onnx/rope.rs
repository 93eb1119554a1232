//! The angles of the rotary embedding, computed as far as sequences reach.

use crate::config::ModelConfig;

/// Cosines and sines `(positions, head_dim / 2)`, row by row; grows with the longest sequence.
pub(super) struct Rope {
    frequencies: Vec<f32>,
    cosines: Vec<f32>,
    sines: Vec<f32>,
}

impl Rope {
    /// Frequencies in f32, as the reference rounds them.
    pub(super) fn new(config: &ModelConfig) -> Self {
        let frequency = |i: usize| {
            let exponent = (2 * i) as f32 / config.head_dim() as f32;
            1.0 / f64::from(config.rope_theta()).powf(f64::from(exponent)) as f32
        };
        Self {
            frequencies: (0..config.head_dim() / 2).map(frequency).collect(),
            cosines: Vec::new(),
            sines: Vec::new(),
        }
    }

    /// Angles of a position.
    pub(super) fn width(&self) -> usize {
        self.frequencies.len()
    }

    /// Cosines and sines of positions `0..positions`.
    pub(super) fn tables(&mut self, positions: usize) -> [&[f32]; 2] {
        for position in self.cosines.len() / self.width()..positions {
            for frequency in &self.frequencies {
                // The angle is rounded to f32 before its cosine is taken, as in the reference.
                let angle = f64::from(position as f32 * frequency);
                self.cosines.push(angle.cos() as f32);
                self.sines.push(angle.sin() as f32);
            }
        }
        let len = positions * self.width();
        [&self.cosines[..len], &self.sines[..len]]
    }
}
