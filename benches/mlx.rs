//! MLX without its device: what it takes to build the graph of a forward pass, what of that is
//! hidden where several follow one another, and how memory grows with length. Models are small and
//! random, made here; arguments choose among `host`, `overlap` and `memory`.
//!
//! On a processor MLX takes its fused operations apart, so a layer is several times the nodes that
//! it is on Metal: `host` is an upper bound. What encoding them for a GPU takes is not in it.
#![allow(missing_docs, reason = "a program")]
#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "a program")]

use std::fs;
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use qwen3_embedding::{BackendChoice, Device, EmbedOptions, Embedder};
use safetensors::Dtype;
use safetensors::tensor::TensorView;
use serde_json::json;
use tracing::span::{Attributes, Id, Record};
use tracing::{Event, Metadata, Subscriber};

const ROUNDS: usize = 201;

fn main() {
    let chosen: Vec<String> = std::env::args().skip(1).collect();
    let named = ["host", "overlap", "memory"].map(|name| chosen.iter().any(|other| other == name));
    let all = named == [false; 3];
    if named[0] || all {
        host();
    }
    if named[1] || all {
        overlap();
    }
    if named[2] || all {
        memory();
    }
}

/// One token through as many layers as the 0.6B has: between the beginning of a forward pass and the
/// moment at which MLX is asked to run it.
fn host() {
    let layers = 28;
    let mut model = model(layers, 32, 64);
    let spans = Spans::default();
    let _guard = tracing::subscriber::set_default(spans.clone());
    let times = (0..ROUNDS).map(|_| {
        model
            .embed_token_ids(&[&[3]], &EmbedOptions::default())
            .unwrap();
        spans.0.lock().unwrap().graph.take().unwrap().as_secs_f64() * 1e6
    });
    let median = median(times.collect());
    println!(
        "one token, {layers} layers: the graph is built in {median:.0} us, {:.1} us a layer",
        median / layers as f64
    );
}

/// Sequences that are each a batch of its own: in one call, where each is begun before the one before
/// is read, and each in a call of its own, in turn.
fn overlap() {
    let (layers, batches) = (28, 8);
    for (width, longest) in [(32, 1), (64, 8)] {
        let mut model = model_of(layers, width, 256, 1);
        let sequences: Vec<Vec<u32>> = (0..batches)
            .map(|batch| (0..longest).map(|token| (token * 7 + batch) % 60).collect())
            .collect();
        let sequences: Vec<&[u32]> = sequences.iter().map(Vec::as_slice).collect();
        let options = EmbedOptions::default();
        let mut timed = |part: usize| {
            let started = Instant::now();
            for sequences in sequences.chunks(part) {
                model.embed_token_ids(sequences, &options).unwrap();
            }
            started.elapsed().as_secs_f64() * 1e3
        };
        let times = (0..ROUNDS / 4).map(|_| (timed(batches as usize), timed(1)));
        let (one, several): (Vec<f64>, Vec<f64>) = times.unzip();
        let ratios = several.iter().zip(&one).map(|(several, one)| several / one);
        println!(
            "{batches} batches of {longest} tokens, {layers} layers of width {width}: {:.1} ms in one \
             call, {:.1} ms in {batches}, ratio {:.3} (medians of {})",
            median(one.clone()),
            median(several.clone()),
            median(ratios.collect()),
            ROUNDS / 4
        );
    }
}

/// Times the span `graph`.
#[derive(Clone, Default)]
struct Spans(Arc<Mutex<Times>>);

#[derive(Default)]
struct Times {
    names: Vec<&'static str>,
    entered: Option<Instant>,
    graph: Option<Duration>,
}

impl Subscriber for Spans {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        metadata.is_span()
    }

    fn new_span(&self, span: &Attributes<'_>) -> Id {
        let names = &mut self.0.lock().unwrap().names;
        names.push(span.metadata().name());
        Id::from_u64(names.len() as u64)
    }

    fn enter(&self, span: &Id) {
        let times = &mut self.0.lock().unwrap();
        if times.names[span.into_u64() as usize - 1] == "graph" {
            times.entered = Some(Instant::now());
        }
    }

    fn exit(&self, span: &Id) {
        let times = &mut self.0.lock().unwrap();
        if times.names[span.into_u64() as usize - 1] == "graph" {
            times.graph = times.entered.map(|entered| entered.elapsed());
        }
    }

    fn record(&self, _: &Id, _: &Record<'_>) {}

    fn record_follows_from(&self, _: &Id, _: &Id) {}

    fn event(&self, _: &Event<'_>) {}
}

/// The most that was allocated beside the weights.
fn memory() {
    let mut model = model(2, 16, 1 << 15);
    let weights = model.memory().unwrap().active;
    for tokens in [512, 1024, 4096, 8192, 32768] {
        let ids: Vec<u32> = (0..tokens).map(|token| (token * 17 + 3) % 60).collect();
        let started = Instant::now();
        model
            .embed_token_ids(&[&ids], &EmbedOptions::default())
            .unwrap();
        let bytes = model.memory().unwrap().peak.unwrap() - weights;
        println!(
            "{tokens:>6} tokens: {:>7.1} MiB at most, {:>6} bytes a token, {:.1} s",
            bytes as f64 / f64::from(1 << 20),
            bytes / tokens as usize,
            started.elapsed().as_secs_f64()
        );
    }
}

/// A random model with one head.
fn model(layers: usize, width: usize, context: usize) -> Embedder {
    model_of(layers, width, context, context)
}

/// The same with batches of so many tokens.
fn model_of(layers: usize, width: usize, context: usize, batch_tokens: usize) -> Embedder {
    let dir = tempfile::tempdir().unwrap();
    write(dir.path(), layers, width, context);
    Embedder::from_dir(dir.path())
        .backend(BackendChoice::Mlx)
        .device(Device::Cpu)
        .max_batch_tokens(batch_tokens)
        .build()
        .unwrap()
}

fn write(dir: &Path, layers: usize, width: usize, context: usize) {
    let vocab = 64;
    let config = json!({
        "model_type": "qwen3", "hidden_size": width, "intermediate_size": 2 * width,
        "num_hidden_layers": layers, "num_attention_heads": 1, "num_key_value_heads": 1,
        "head_dim": width, "vocab_size": vocab, "max_position_embeddings": context,
        "rms_norm_eps": 1e-6, "rope_theta": 1e6,
    });
    fs::write(dir.join("config.json"), config.to_string()).unwrap();
    let tokenizer = json!({
        "version": "1.0",
        "added_tokens": [{
            "id": 2, "content": "<|endoftext|>", "single_word": false, "lstrip": false,
            "rstrip": false, "normalized": false, "special": true,
        }],
        "model": {"type": "BPE", "vocab": {"a": 0, "b": 1}, "merges": []},
    });
    fs::write(dir.join("tokenizer.json"), tokenizer.to_string()).unwrap();

    let mut tensors = vec![
        ("embed_tokens".to_owned(), vec![vocab, width]),
        ("norm".to_owned(), vec![width]),
    ];
    for layer in 0..layers {
        let square = vec![width, width];
        for (name, shape) in [
            ("input_layernorm", vec![width]),
            ("self_attn.q_proj", square.clone()),
            ("self_attn.k_proj", square.clone()),
            ("self_attn.v_proj", square.clone()),
            ("self_attn.o_proj", square),
            ("self_attn.q_norm", vec![width]),
            ("self_attn.k_norm", vec![width]),
            ("post_attention_layernorm", vec![width]),
            ("mlp.gate_proj", vec![2 * width, width]),
            ("mlp.up_proj", vec![2 * width, width]),
            ("mlp.down_proj", vec![width, 2 * width]),
        ] {
            tensors.push((format!("layers.{layer}.{name}"), shape));
        }
    }
    let mut random = 1_u32;
    let tensors: Vec<_> = tensors
        .into_iter()
        .map(|(name, shape)| {
            let elements = shape.iter().product::<usize>();
            let bytes: Vec<u8> = (0..elements)
                .flat_map(|_| {
                    random = random.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                    let value = (random >> 8) as f32 / (1 << 24) as f32 - 0.5;
                    value.to_le_bytes()
                })
                .collect();
            (format!("{name}.weight"), shape, bytes)
        })
        .collect();
    let views = tensors.iter().map(|(name, shape, bytes)| {
        let view = TensorView::new(Dtype::F32, shape.clone(), bytes).unwrap();
        (name, view)
    });
    let bytes = safetensors::serialize(views, None).unwrap();
    fs::write(dir.join("model.safetensors"), bytes).unwrap();
}

fn median(mut times: Vec<f64>) -> f64 {
    times.sort_by(f64::total_cmp);
    times[times.len() / 2]
}
