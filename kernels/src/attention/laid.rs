//! Keys and values as the weights of products.

use std::array;

use super::block::Block;

impl Block<'_> {
    /// A token's part of the block's head of keys or values.
    #[inline(always)]
    fn of_head<'a>(&self, all: &'a [f32], token: usize) -> &'a [f32] {
        let heads = &self.attention.heads;
        let row = self.sequence * heads.keys + token;
        &all[row * heads.keys_or_values() + self.key_head * heads.size..][..heads.size]
    }

    /// Keys as the weights of a product, in panels of so many: of each element those of all.
    #[inline(always)]
    pub(super) fn keys(&self, all: &[f32], seen: usize, [width, padded]: [usize; 2]) -> Vec<f32> {
        /// Keys whose elements change places at a time.
        const GROUP: usize = 8;

        let size = self.attention.heads.size;
        let mut panels = vec![0.0; padded * size];
        for (panel, to) in panels.chunks_exact_mut(width * size).enumerate() {
            let keys = seen.min(panel * width)..seen.min((panel + 1) * width);
            let mut whole = keys.clone();
            while whole.len() >= GROUP {
                let keys: [&[f32]; GROUP] = array::from_fn(|i| self.of_head(all, whole.start + i));
                let lane = whole.start % width;
                for (element, to) in to.chunks_exact_mut(width).enumerate() {
                    for (to, key) in to[lane..].iter_mut().zip(keys) {
                        *to = key[element];
                    }
                }
                whole.start += GROUP;
            }
            for key in whole {
                let places = to[key % width..].iter_mut().step_by(width);
                for (to, element) in places.zip(self.of_head(all, key)) {
                    *to = *element;
                }
            }
        }
        panels
    }

    /// Values as the weights of a product, in panels of so many elements: of each token those.
    #[inline(always)]
    pub(super) fn values(&self, all: &[f32], seen: usize, [width, padded]: [usize; 2]) -> Vec<f32> {
        let size = self.attention.heads.size;
        let mut panels = vec![0.0; padded * size.next_multiple_of(width)];
        for (panel, to) in panels.chunks_exact_mut(padded * width).enumerate() {
            let elements = panel * width..size.min((panel + 1) * width);
            for (token, to) in to.chunks_exact_mut(width).take(seen).enumerate() {
                let from = &self.of_head(all, token)[elements.clone()];
                to[..from.len()].copy_from_slice(from);
            }
        }
        panels
    }
}
