//! Keys and values of the prefixes that sequences begin with again and again, in bounded memory.

use std::collections::VecDeque;
use std::rc::Rc;

/// The prefixes of one model, least recently used first. `P` holds a prefix's keys and values.
///
/// A prefix is shared with those who use it: it outlives its place here.
pub(super) struct PrefixCache<P> {
    limit: usize,
    token_bytes: usize,
    kept: VecDeque<Kept<P>>,
}

struct Kept<P> {
    ids: Vec<u32>,
    prefix: Rc<P>,
}

impl<P> PrefixCache<P> {
    /// Keeps at most `limit` bytes, of which each token takes `token_bytes`.
    pub(super) fn new(limit: usize, token_bytes: usize) -> Self {
        Self {
            limit,
            token_bytes,
            kept: VecDeque::new(),
        }
    }

    /// Bytes of what is kept.
    pub(super) fn bytes(&self) -> usize {
        let tokens: usize = self.kept.iter().map(|kept| kept.ids.len()).sum();
        tokens * self.token_bytes
    }

    /// Whether a prefix of so many tokens can be kept, in place of all others if need be.
    pub(super) fn takes(&self, tokens: usize) -> bool {
        tokens > 0 && tokens.saturating_mul(self.token_bytes) <= self.limit
    }

    /// The prefix of these tokens.
    pub(super) fn find(&mut self, ids: &[u32]) -> Option<Rc<P>> {
        let found = self.kept.iter().position(|kept| kept.ids == ids)?;
        let kept = self.kept.remove(found)?;
        let prefix = Rc::clone(&kept.prefix);
        self.kept.push_back(kept);
        Some(prefix)
    }

    /// Keeps the prefix of these tokens in place of the least recently used ones, if it
    /// [can](Self::takes).
    pub(super) fn keep(&mut self, ids: &[u32], prefix: P) -> Rc<P> {
        let prefix = Rc::new(prefix);
        if self.takes(ids.len()) {
            self.kept.retain(|kept| kept.ids != ids);
            while self.bytes() + ids.len() * self.token_bytes > self.limit {
                self.kept.pop_front();
            }
            self.kept.push_back(Kept {
                ids: ids.to_vec(),
                prefix: Rc::clone(&prefix),
            });
        }
        prefix
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_least_recently_used_prefix_goes_first() {
        let mut cache = PrefixCache::new(80, 10);
        cache.keep(&[1, 2, 3], "a");
        cache.keep(&[1, 2, 4], "b");
        assert_eq!(cache.find(&[1, 2, 3]).as_deref(), Some(&"a"));
        cache.keep(&[5, 6, 7], "c");
        assert_eq!(cache.find(&[1, 2, 4]), None);
        assert_eq!(cache.find(&[1, 2, 3]).as_deref(), Some(&"a"));
        assert_eq!(cache.bytes(), 60);
    }

    #[test]
    fn a_prefix_in_use_outlives_its_place() {
        let mut cache = PrefixCache::new(20, 10);
        let used = cache.keep(&[1, 2], "a");
        cache.keep(&[3, 4], "b");
        assert_eq!(cache.find(&[1, 2]), None);
        assert_eq!(*used, "a");
    }

    #[test]
    fn what_is_larger_than_the_limit_is_used_but_not_kept() {
        let mut cache = PrefixCache::new(20, 10);
        cache.keep(&[1], "a");
        assert!(!cache.takes(3));
        assert_eq!(*cache.keep(&[1, 2, 3], "b"), "b");
        assert_eq!(cache.find(&[1, 2, 3]), None);
        assert_eq!(cache.find(&[1]).as_deref(), Some(&"a"));
    }

    #[test]
    fn a_limit_of_none_keeps_nothing() {
        let mut cache = PrefixCache::new(0, 0);
        assert!(!cache.takes(0));
        let mut none = PrefixCache::new(0, 10);
        assert_eq!(*none.keep(&[1], "a"), "a");
        assert_eq!(none.find(&[1]), None);
        assert_eq!(*cache.keep(&[], "a"), "a");
        assert_eq!(cache.find(&[]), None);
    }

    proptest! {
        #[test]
        fn it_holds_the_latest_that_fit_each_under_its_own_tokens(
            uses in prop::collection::vec(prop::collection::vec(0u32..3, 1..6), 1..60),
            limit in 0usize..20,
        ) {
            let mut cache = PrefixCache::new(limit, 1);
            let mut latest: Vec<Vec<u32>> = Vec::new();
            for ids in uses {
                let found = cache.find(&ids);
                prop_assert_eq!(found.is_some(), latest.contains(&ids));
                match found {
                    Some(prefix) => prop_assert_eq!(&*prefix, &ids),
                    None => drop(cache.keep(&ids, ids.clone())),
                }
                if ids.len() <= limit {
                    latest.retain(|other| *other != ids);
                    latest.push(ids);
                    while latest.iter().map(Vec::len).sum::<usize>() > limit {
                        latest.remove(0);
                    }
                }
                prop_assert!(cache.bytes() <= limit);
            }
        }
    }
}
