//! Which sequences run together: those behind one prefix, sorted by length, cut where padding
//! costs more than one more forward pass.

use std::cmp::Reverse;
use std::collections::BTreeMap;

/// What one more forward pass costs, in tokens computed: measured on two processor threads, 10 and 11
/// for the 0.6B's shape in int8 and f32, 20 for the built-in model.
const PASS_TOKENS: usize = 16;

/// No group of the cheapest plan has more padding: wherever it is cut in two, that saves at most
/// the cost of a pass, so `n` sequences have at most `1 + 1/2 + ... + 1/n` times as much; below 10
/// times for thousands.
const MOST_PADDING: usize = 10 * PASS_TOKENS;

/// A sequence to be run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Row<'a> {
    /// Its token ids.
    pub ids: &'a [u32],
    /// How many of its first tokens others are likely to begin with, so that their keys and values
    /// are worth keeping; fewer than there are ids.
    pub prefix: usize,
}

/// Groups sequences into micro-batches: of one prefix, of similar length, equal ones together.
///
/// Each group holds positions in `rows`; its different sequences, padded to the longest, have at
/// most `max_tokens` tokens, unless there is but one. Every position occurs once. A plan costs the
/// tokens after the prefix, padding included, and 16 for each group; where `max_tokens` leaves room,
/// none costs less.
#[must_use]
pub fn plan(rows: &[Row<'_>], max_tokens: usize) -> Vec<Vec<usize>> {
    let mut prefixes: BTreeMap<&[u32], Vec<usize>> = BTreeMap::new();
    for (position, row) in rows.iter().enumerate() {
        let prefix = &row.ids[..row.prefix];
        prefixes.entry(prefix).or_default().push(position);
    }
    let mut groups = Vec::new();
    for (prefix, mut order) in prefixes {
        let rest = |position: usize| &rows[position].ids[prefix.len()..];
        // Longest first: the first batch is the largest, so memory peaks early and then stays.
        order.sort_by_key(|&position| (Reverse(rest(position).len()), rest(position)));
        let equal = order.chunk_by(|&a, &b| rest(a) == rest(b));
        let equal: Vec<&[usize]> = equal.collect();
        let lengths: Vec<usize> = equal.iter().map(|same| rest(same[0]).len()).collect();
        let mut end = lengths.len();
        let begins = begins(&lengths, prefix.len(), max_tokens);
        while end > 0 {
            let begin = begins[end];
            groups.push(equal[begin..end].concat());
            end = begin;
        }
    }
    groups
}

/// For each number of first `lengths`, which do not grow, where the last group of the cheapest plan
/// for them begins. Groups end where lengths change, or full: elsewhere, the last sequence would not
/// cost more in the next group.
fn begins(lengths: &[usize], prefix: usize, max_tokens: usize) -> Vec<usize> {
    let mut cheapest = vec![usize::MAX; lengths.len() + 1];
    let mut begins = vec![0; lengths.len() + 1];
    cheapest[0] = 0;
    for begin in 0..lengths.len() {
        if cheapest[begin] == usize::MAX {
            continue;
        }
        let width = lengths[begin];
        let full = begin + (max_tokens / (prefix + width)).max(1);
        let mut padding = 0;
        for end in begin + 1..=full.min(lengths.len()) {
            padding += width - lengths[end - 1];
            if padding > MOST_PADDING {
                break;
            }
            if end < full && lengths.get(end) == Some(&lengths[end - 1]) {
                continue;
            }
            let cost = cheapest[begin] + PASS_TOKENS + (end - begin) * width;
            if cost < cheapest[end] {
                cheapest[end] = cost;
                begins[end] = begin;
            }
        }
    }
    begins
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Sequences of these lengths, each of other tokens.
    fn sequences(lengths: &[usize]) -> Vec<Vec<u32>> {
        let sequences = lengths.iter().zip(0..);
        sequences
            .map(|(&length, first)| (first..).take(length).collect())
            .collect()
    }

    fn rows(sequences: &[Vec<u32>]) -> Vec<Row<'_>> {
        let rows = sequences.iter();
        rows.map(|ids| Row { ids, prefix: 0 }).collect()
    }

    /// From 5 to 2,000 tokens, most of them short: half have less than 23, one in ten more than 640.
    fn long_tailed(count: usize) -> Vec<usize> {
        let mut state = 5u64;
        let mut uniform = || {
            state = state
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1);
            (state >> 33) as f64 / (1u64 << 31) as f64
        };
        (0..count)
            .map(|_| (5.0 * 400f64.powf(uniform().powi(2))) as usize)
            .collect()
    }

    /// Tokens of the groups, padding included.
    fn computed(lengths: &[usize], groups: &[Vec<usize>]) -> usize {
        let width = |group: &[usize]| group.iter().map(|&i| lengths[i]).max().unwrap();
        groups.iter().map(|group| group.len() * width(group)).sum()
    }

    #[test]
    fn a_long_tailed_mix_is_padded_by_less_than_a_tenth() {
        for count in [32, 1000] {
            let lengths = long_tailed(count);
            let useful: usize = lengths.iter().sum();
            let sequences = sequences(&lengths);
            let groups = plan(&rows(&sequences), 4096);
            let padded = computed(&lengths, &groups) - useful;
            assert!(10 * padded <= useful + padded, "{padded} of {useful}");
            // What the plan is there for.
            let positions: Vec<usize> = (0..count).collect();
            let arrival: Vec<Vec<usize>> = positions.chunks(32).map(<[_]>::to_vec).collect();
            assert!(computed(&lengths, &arrival) > 2 * useful);
        }
    }

    #[test]
    fn padding_is_weighed_against_one_more_pass() {
        let groups = |lengths: &[usize]| {
            let sequences = sequences(lengths);
            let groups = plan(&rows(&sequences), 4096);
            let mut sizes: Vec<usize> = groups.iter().map(Vec::len).collect();
            sizes.sort_unstable();
            sizes
        };
        assert_eq!(groups(&[20, 20 - PASS_TOKENS]), [2]);
        assert_eq!(groups(&[20, 20 - PASS_TOKENS - 1]), [1, 1]);
        assert_eq!(groups(&[100, 99, 99, 20, 19, 2000]), [1, 2, 3]);
    }

    #[test]
    fn equal_sequences_take_the_room_of_one() {
        let ids: Vec<u32> = (0..50).collect();
        let groups = plan(
            &vec![
                Row {
                    ids: &ids,
                    prefix: 0
                };
                100
            ],
            64,
        );
        assert_eq!(groups, [(0..100).collect::<Vec<_>>()]);
    }

    #[test]
    fn each_prefix_has_groups_of_its_own() {
        let [a, b, c] = [[1, 2, 3, 4], [1, 2, 3, 5], [1, 7, 3, 4]];
        let row = |ids, prefix| Row { ids, prefix };
        let rows = [row(&a, 2), row(&b, 2), row(&c, 2), row(&a, 0)];
        assert_eq!(plan(&rows, 100), [vec![3], vec![0, 1], vec![2]]);
    }

    /// The least cost of all ways to cut `lengths`, which do not grow.
    fn cheapest(lengths: &[usize]) -> usize {
        let costs = (1..=lengths.len())
            .map(|end| PASS_TOKENS + end * lengths[0] + cheapest(&lengths[end..]));
        costs.min().unwrap_or(0)
    }

    proptest! {
        #[test]
        fn every_sequence_is_planned_once_and_within_the_budget(
            lengths in prop::collection::vec(1usize..300, 0..80),
            prefix in 0usize..5,
            budget in 1usize..2000,
        ) {
            let sequences = sequences(&lengths);
            let mut rows = rows(&sequences);
            for row in &mut rows {
                row.prefix = prefix.min(row.ids.len() - 1);
            }
            let groups = plan(&rows, budget);
            let mut seen: Vec<usize> = groups.concat();
            seen.sort_unstable();
            prop_assert_eq!(seen, (0..lengths.len()).collect::<Vec<_>>());
            for group in &groups {
                let width = group.iter().map(|&i| lengths[i]).max().unwrap();
                prop_assert!(group.len() == 1 || group.len() * width <= budget);
            }
        }

        #[test]
        fn no_plan_costs_less(
            mut lengths in prop::collection::vec(1usize..60, 1..12),
        ) {
            let sequences = sequences(&lengths);
            let groups = plan(&rows(&sequences), 12 * 60);
            let cost = computed(&lengths, &groups) + PASS_TOKENS * groups.len();
            lengths.sort_unstable_by_key(|&length| Reverse(length));
            prop_assert_eq!(cost, cheapest(&lengths));
        }
    }
}
