//! Damaged files: an error that says what it is, or an answer; never a crash, never a vector that
//! is not finite.
//!
//! What a right answer is depends on where the damage is. A file that is cut off says nothing or
//! what the whole one says. A flipped bit in a node's name changes nothing. Any other flipped bit
//! that leaves a valid file has made another model of it, as the format has no checksum; of that
//! one's vectors there is no reference, but they must be finite, and a text's must not depend on
//! what else is in its batch.

use std::fs;
use std::num::NonZeroUsize;
use std::path::Path;

use qwen3_embedding::{Embedder, Embeddings, Error};

use crate::parity::layout;
use crate::support::*;

/// Cut and flipped files of each layout.
const CUT: usize = 90;
const FLIPPED: usize = 270;

/// A fixture, and what its graph answers undamaged.
struct Sample {
    name: &'static str,
    file: &'static str,
    least: f64,
}

#[derive(Debug, PartialEq, Eq, Clone, Copy)]
enum Expected {
    /// The golden vectors.
    Golden,
    /// Finite vectors that do not depend on their batch.
    Sound,
}

#[derive(Debug, Default)]
struct Outcomes {
    refused: usize,
    answered: usize,
}

fn check(name: &'static str, file: &'static str, least: f64) {
    let sample = Sample { name, file, least };
    let copy = copy_dir(&layout(name));
    let path = copy.path().join(file);
    let whole = fs::read(&path).unwrap();
    let mut random = Random(name.bytes().map(u64::from).sum());
    let mut outcomes = Outcomes::default();
    for _ in 0..CUT {
        let length = random.below(whole.len());
        fs::write(&path, &whole[..length]).unwrap();
        sample.run(
            copy.path(),
            Expected::Golden,
            &format!("cut to {length}"),
            &mut outcomes,
        );
    }
    // Weights take most bytes of a file and nodes are where most can go wrong: half of each.
    let nodes = find(&whole, b"main_graph").unwrap_or(whole.len());
    for number in 0..FLIPPED {
        let at = random.below(if number % 2 == 0 { whole.len() } else { nodes });
        let bit = 1 << random.below(8);
        let mut flipped = whole.clone();
        flipped[at] ^= bit;
        fs::write(&path, &flipped).unwrap();
        let expected = match is_in_a_nodes_name(&whole, at) {
            true => Expected::Golden,
            false => Expected::Sound,
        };
        sample.run(
            copy.path(),
            expected,
            &format!("byte {at} ^ {bit}"),
            &mut outcomes,
        );
    }
    assert_eq!(outcomes.refused + outcomes.answered, CUT + FLIPPED);
    // Damage of both kinds was made: a test that refuses or answers all has tested nothing.
    assert!(
        outcomes.refused > 50 && outcomes.answered > 5,
        "{name}: {outcomes:?}"
    );
}

/// Vectors of some golden sequences in one batch, and of each by itself.
struct Answer {
    goldens: Vec<Golden>,
    together: Embeddings,
    alone: Vec<Vec<f32>>,
}

impl Sample {
    fn run(&self, dir: &Path, expected: Expected, what: &str, outcomes: &mut Outcomes) {
        let what = format!("{}, {what}", self.name);
        match self.embed(dir) {
            Ok(Answer {
                goldens,
                together,
                alone,
            }) => {
                outcomes.answered += 1;
                let rows = together.iter().zip(alone.iter());
                for ((together, alone), golden) in rows.zip(&goldens) {
                    assert!(together.iter().all(|value| value.is_finite()), "{what}");
                    let similarity = cosine(together, alone);
                    assert!(
                        similarity >= 0.9999,
                        "{what}: alone and together: {similarity}"
                    );
                    let similarity = cosine(together, &golden.hidden);
                    let right = expected == Expected::Sound || similarity >= self.least;
                    assert!(right, "{what}: {similarity}");
                }
            }
            Err(
                Error::OnnxFile { .. }
                | Error::OnnxInterface { .. }
                | Error::OnnxExternalData { .. }
                | Error::Backend { .. }
                | Error::NotFinite { .. }
                | Error::MissingFile { .. },
            ) => outcomes.refused += 1,
            Err(other) => panic!("{what}: {other:?}"),
        }
    }

    fn embed(&self, dir: &Path) -> Result<Answer, Error> {
        let goldens: Vec<_> = goldens(&layout(self.name))
            .into_iter()
            .skip(1)
            .step_by(3)
            .collect();
        let threads = NonZeroUsize::new(1).unwrap();
        let mut embedder = Embedder::from_dir(dir)
            .onnx_file(self.file)
            .threads(threads)
            .build()?;
        let sequences: Vec<&[u32]> = goldens.iter().map(|golden| golden.ids.as_slice()).collect();
        let together = embedder.embed_token_ids(&sequences, &raw())?;
        let mut alone = Vec::new();
        for sequence in sequences {
            alone.push(embedder.embed_token_ids(&[sequence], &raw())?.into_data());
        }
        Ok(Answer {
            goldens,
            together,
            alone,
        })
    }
}

/// Names of nodes are the only texts that begin with a slash.
fn is_in_a_nodes_name(file: &[u8], at: usize) -> bool {
    let is_name = |byte: &u8| byte.is_ascii_alphanumeric() || *byte == b'_';
    let before = file[..at].iter().rposition(|byte| !is_name(byte));
    let in_name = is_name(&file[at]) && before.is_some_and(|before| file[before] == b'/');
    (in_name || file[at] == b'/') && find(file, b"main_graph").is_some_and(|nodes| at < nodes)
}

fn find(file: &[u8], text: &[u8]) -> Option<usize> {
    file.windows(text.len()).position(|window| window == text)
}

/// xorshift: the same damage on every run.
struct Random(u64);

impl Random {
    fn below(&mut self, limit: usize) -> usize {
        for shift in [13, -7, 17i32] {
            let shifted = match shift {
                0.. => self.0 << shift,
                _ => self.0 >> -shift,
            };
            self.0 ^= shifted;
        }
        (self.0 % limit as u64) as usize
    }
}

#[test]
fn bert() {
    check("bert-mean", "model.onnx", 0.99999);
}

#[test]
fn bert_without_token_types() {
    check("bert-cls", "onnx/model.onnx", 0.99999);
}

#[test]
fn xlm_roberta() {
    check("xlm-roberta-mean", "onnx/model.onnx", 0.99999);
}

#[test]
fn gemma_with_external_data() {
    check("gemma", "onnx/model.onnx", 0.99999);
}

#[test]
fn qwen3() {
    check("qwen3-f32", "onnx/model.onnx", 0.99999);
}

#[test]
fn qwen3_in_f16() {
    check("qwen3-f16", "onnx/model_fp16.onnx", 0.999);
}

#[test]
fn cut_external_data_is_refused() {
    let copy = copy_dir(&layout("gemma"));
    let path = copy.path().join("onnx/model.onnx_data");
    let whole = fs::read(&path).unwrap();
    for length in (0..whole.len()).step_by(997) {
        fs::write(&path, &whole[..length]).unwrap();
        let error = Embedder::from_dir(copy.path()).build().err().unwrap();
        assert!(
            matches!(error, Error::OnnxExternalData { .. }),
            "{length}: {error:?}"
        );
    }
}
