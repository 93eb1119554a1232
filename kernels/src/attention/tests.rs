//! Attention beside its definition.
#![allow(clippy::unwrap_used)]

use super::*;

use definition::expected;

mod definition;

const EPS: f32 = 1e-6;

const BEHIND_A_PAST: Heads = Heads {
    sequences: 2,
    tokens: 2,
    past: 1,
    heads: 2,
    key_value_heads: 1,
    size: 4,
};

fn numbers(count: usize, step: usize) -> Vec<f32> {
    let numbers = (0..count).map(|i| (i * step % 257) as f32 / 64.0 - 2.0);
    numbers.collect()
}

/// Arrays of numbers.
#[derive(Clone)]
struct Owned {
    queries: Vec<f32>,
    keys: Vec<f32>,
    values: Vec<f32>,
    past: [Vec<f32>; 2],
    norms: [Vec<f32>; 2],
    angles: [Vec<f32>; 2],
}

impl Owned {
    fn of(heads: Heads) -> Self {
        let (tokens, of_token) = (heads.sequences * heads.tokens, heads.keys_or_values());
        let places = (0..(heads.past + heads.tokens) * (heads.size / 2)).map(|i| i as f32 / 7.0);
        Self {
            queries: numbers(tokens * heads.queries(), 89),
            keys: numbers(tokens * of_token, 101),
            values: numbers(tokens * of_token, 61),
            past: [71, 31].map(|step| numbers(heads.past * of_token, step)),
            norms: [17, 41].map(|step| numbers(heads.size, step)),
            angles: [
                places.clone().map(f32::cos).collect(),
                places.map(f32::sin).collect(),
            ],
        }
    }

    fn get(&self) -> Arrays<'_> {
        Arrays {
            queries: &self.queries,
            keys: &self.keys,
            values: &self.values,
            past: self.past.each_ref().map(Vec::as_slice),
            norms: self.norms.each_ref().map(Vec::as_slice),
            angles: self.angles.each_ref().map(Vec::as_slice),
        }
    }
}

fn run(
    heads: Heads,
    asking: Asking<'_>,
    arrays: Arrays<'_>,
    threads: usize,
    arch: Arch,
) -> Vec<f32> {
    let mut output = vec![f32::NAN; arrays.queries.len()];
    let attention = Attention::new(heads, asking, arrays, EPS, &mut output, threads);
    let mut attention = attention.unwrap();
    attention.arch = arch;
    // In any order, and a second time, which does nothing; beyond the last there is none.
    let all = (0..=attention.tasks()).rev();
    all.clone().chain(all).for_each(|task| attention.run(task));
    output
}

#[test]
fn each_token_attends_to_itself_and_those_before_whatever_stands_beside_it() {
    for (sequences, tokens, past, heads, key_value_heads, size) in [
        (1, 1, 0, 1, 1, 2),
        (2, 30, 0, 4, 2, 16),
        (1, 210, 0, 2, 1, 64),
        (3, 9, 21, 4, 4, 34),
        (1, 130, 70, 6, 2, 128),
    ] {
        let heads = Heads {
            sequences,
            tokens,
            past,
            heads,
            key_value_heads,
            size,
        };
        let owned = Owned::of(heads);
        let arrays = owned.get();
        let all = expected(heads, arrays);
        for arch in [Arch::new(), Arch::Scalar] {
            let found = run(heads, Asking::All, arrays, 3, arch);
            for (found, expected) in found.iter().zip(&all) {
                let error = (f64::from(*found) - expected).abs();
                assert!(error <= 4e-6, "{heads:?}: {found}, expected {expected}");
            }
            the_last_sequence_alone(heads, arrays, &found, arch);
            its_beginning_as_a_past(heads, arrays, &found, arch);
            one_token_of_each_sequence(heads, arrays, &found, arch);
        }
    }
}

/// The last sequence, and how many elements of outputs come before it.
fn last_sequence(heads: Heads, arrays: Arrays<'_>) -> (Heads, Arrays<'_>, usize) {
    let [own, own_keys] =
        [arrays.queries.len(), arrays.keys.len()].map(|len| len - len / heads.sequences);
    let alone = Heads {
        sequences: 1,
        ..heads
    };
    let arrays = Arrays {
        queries: &arrays.queries[own..],
        keys: &arrays.keys[own_keys..],
        values: &arrays.values[own_keys..],
        ..arrays
    };
    (alone, arrays, own)
}

fn the_last_sequence_alone(heads: Heads, arrays: Arrays<'_>, found: &[f32], arch: Arch) {
    let (alone, arrays, own) = last_sequence(heads, arrays);
    let alone = run(alone, Asking::All, arrays, 1, arch);
    assert!(alone == found[own..], "{heads:?}");
}

/// What the first tokens of a sequence keep is a past to its others.
fn its_beginning_as_a_past(heads: Heads, arrays: Arrays<'_>, found: &[f32], arch: Arch) {
    if heads.past > 0 {
        return;
    }
    let (alone, arrays, own) = last_sequence(heads, arrays);
    let past = heads.tokens / 2;
    let kept = past * heads.keys_or_values();
    let [mut keys, mut values] = [(); 2].map(|()| vec![f32::NAN; kept]);
    let mut output = vec![0.0; arrays.queries.len()];
    let attention = Attention::new(alone, Asking::All, arrays, EPS, &mut output, 1);
    attention.unwrap().keep([&mut keys, &mut values]).unwrap();
    let after = Heads {
        tokens: heads.tokens - past,
        past,
        ..alone
    };
    let skipped = past * heads.queries();
    let arrays = Arrays {
        queries: &arrays.queries[skipped..],
        keys: &arrays.keys[kept..],
        values: &arrays.values[kept..],
        past: [&keys, &values],
        ..arrays
    };
    let last = run(after, Asking::All, arrays, 2, arch);
    assert!(last == found[own + skipped..], "{heads:?}");
}

fn one_token_of_each_sequence(heads: Heads, arrays: Arrays<'_>, found: &[f32], arch: Arch) {
    let places = (0..heads.sequences).map(|sequence| {
        let place = heads.tokens - 1 - sequence.min(heads.tokens - 1);
        (sequence * heads.tokens + place) as i64
    });
    let places: Vec<i64> = places.collect();
    let of_place = |all: &[f32]| -> Vec<f32> {
        let rows = places.iter().map(|place| *place as usize * heads.queries());
        let rows = rows.flat_map(|row| all[row..row + heads.queries()].to_vec());
        rows.collect()
    };
    let queries = of_place(arrays.queries);
    let arrays = Arrays {
        queries: &queries,
        ..arrays
    };
    let alone = run(heads, Asking::One(&places), arrays, 2, arch);
    assert!(alone == of_place(found), "{heads:?}");
}

#[test]
fn what_is_no_number_stays_none_and_reaches_nothing_before_it() {
    let heads = Heads {
        sequences: 1,
        tokens: 3,
        past: 0,
        heads: 1,
        key_value_heads: 1,
        size: 4,
    };
    let mut owned = Owned::of(heads);
    let whole = run(heads, Asking::All, owned.get(), 1, Arch::new());
    owned.keys[5] = f32::NAN;
    let found = run(heads, Asking::All, owned.get(), 1, Arch::new());
    assert_eq!(found[..4], whole[..4]);
    assert!(found[4..].iter().all(|found| found.is_nan()));
}

#[test]
fn what_does_not_fit_together_is_told() {
    let heads = BEHIND_A_PAST;
    let owned = Owned::of(heads);
    let found = |heads, asking, arrays: Arrays<'_>| {
        let mut output = vec![0.0; arrays.queries.len()];
        Attention::new(heads, asking, arrays, EPS, &mut output, 1).err()
    };
    assert_eq!(found(heads, Asking::All, owned.get()), None);
    let mut fewer = owned.clone();
    fewer.past[1].pop();
    let message = found(heads, Asking::All, fewer.get()).unwrap();
    let told = "found [32, 16, 16, 4, 3, 4, 4, 6, 6] elements and 32 of the output";
    assert_eq!(message, format!("expected arrays of {heads:?}, {told}"));
    let odd = Heads { size: 3, ..heads };
    assert!(found(odd, Asking::All, Owned::of(odd).get()).is_some());

    let mut asking = owned.clone();
    asking.queries.truncate(16);
    assert_eq!(found(heads, Asking::One(&[1, 2]), asking.get()), None);
    for places in [&[1, 1][..], &[1, 4], &[-1, 2], &[1]] {
        let message = found(heads, Asking::One(places), asking.get()).unwrap();
        let told = format!("expected a token of each sequence of {heads:?}, found {places:?}");
        assert_eq!(message, told);
    }
}

#[test]
fn more_than_there_is_or_behind_a_past_is_not_kept() {
    let kept = |heads, [keys, values]: [usize; 2]| {
        let (owned, mut output) = (Owned::of(heads), vec![0.0; 32]);
        let attention = Attention::new(heads, Asking::All, owned.get(), EPS, &mut output, 1);
        let [mut keys, mut values] = [keys, values].map(|len| vec![0.0; len]);
        attention.unwrap().keep([&mut keys, &mut values])
    };
    let first = Heads {
        past: 0,
        ..BEHIND_A_PAST
    };
    assert_eq!(kept(first, [4, 4]), Ok(()));
    assert!(kept(BEHIND_A_PAST, [4, 4]).is_err());
    assert!(kept(first, [8, 4]).is_err());
    assert!(kept(first, [32, 32]).is_err());
}
