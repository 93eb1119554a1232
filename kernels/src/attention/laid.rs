//! Keys and values as the weights of products.

use std::array;

use super::block::Block;

/// Keys whose elements change places at a time.
const GROUP: usize = 8;

impl Block<'_> {
    /// Keys as the weights of a product, in panels of so many: of each element those of all.
    #[inline(always)]
    pub(super) fn keys(&self, seen: usize, [width, padded]: [usize; 2]) -> Vec<f32> {
        let size = self.attention.heads.size;
        let mut panels = vec![0.0; padded * size];
        let mut rows = vec![0.0; GROUP * size];
        for (panel, to) in panels.chunks_exact_mut(width * size).enumerate() {
            let end = seen.min((panel + 1) * width);
            for first in (panel * width..end).step_by(GROUP) {
                let keys = first..end.min(first + GROUP);
                for (key, row) in keys.clone().zip(rows.chunks_exact_mut(size)) {
                    self.attention.key(self.sequence, self.key_head, key, row);
                }
                match keys.len() {
                    GROUP => lay::<GROUP>(&rows, to, [first % width, width]),
                    _ => {
                        for (key, row) in keys.zip(rows.chunks_exact(size)) {
                            lay::<1>(row, to, [key % width, width]);
                        }
                    }
                }
            }
        }
        panels
    }

    /// Values as the weights of a product, in panels of so many elements: of each token those.
    #[inline(always)]
    pub(super) fn values(&self, seen: usize, [width, padded]: [usize; 2]) -> Vec<f32> {
        let size = self.attention.heads.size;
        let mut panels = vec![0.0; padded * size.next_multiple_of(width)];
        for (panel, to) in panels.chunks_exact_mut(padded * width).enumerate() {
            let elements = panel * width..size.min((panel + 1) * width);
            for (token, to) in to.chunks_exact_mut(width).take(seen).enumerate() {
                let value = self.attention.value(self.sequence, self.key_head, token);
                let from = &value[elements.clone()];
                to[..from.len()].copy_from_slice(from);
            }
        }
        panels
    }
}

/// Puts so many keys side by side into a panel of keys, from one of its places on.
#[inline(always)]
fn lay<const KEYS: usize>(keys: &[f32], panel: &mut [f32], [place, width]: [usize; 2]) {
    let size = keys.len() / KEYS;
    let keys: [&[f32]; KEYS] = array::from_fn(|key| &keys[key * size..][..size]);
    for (element, to) in panel.chunks_exact_mut(width).enumerate() {
        for (to, key) in to[place..].iter_mut().zip(keys) {
            *to = key[element];
        }
    }
}
