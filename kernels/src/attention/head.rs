//! One head of one token, as scores are computed of it.

use crate::norm::factor;

/// What a head of queries or of keys becomes before it meets the others.
#[derive(Clone, Copy)]
pub(super) struct Embedding<'a> {
    pub(super) norm: &'a [f32],
    pub(super) eps: f32,
    /// Of the norm's result.
    pub(super) scale: f32,
}

impl Embedding<'_> {
    /// The RMS norm of a head, turned by the angles of its position, of which `cosines` and `sines` are
    /// given: elements of the first half with those of the second.
    #[inline(always)]
    pub(super) fn of(&self, head: &[f32], [cosines, sines]: [&[f32]; 2], to: &mut [f32]) {
        let half = head.len() / 2;
        let by = factor(head, self.eps) * self.scale;
        let (first, second) = head.split_at(half);
        let (first_norm, second_norm) = self.norm.split_at(half);
        let (to_first, to_second) = to.split_at_mut(half);
        let second = &second[..half];
        let norms = [first_norm, second_norm].map(|norm| &norm[..half]);
        let [cosines, sines] = [cosines, sines].map(|angles| &angles[..half]);
        let to = [to_first, to_second].map(|to| &mut to[..half]);
        for i in 0..half {
            let a = first[i] * by * norms[0][i];
            let b = second[i] * by * norms[1][i];
            to[0][i] = a * cosines[i] - b * sines[i];
            to[1][i] = b * cosines[i] + a * sines[i];
        }
    }
}
