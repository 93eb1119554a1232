//! fastembed on candle as a peer: `peer-fastembed DIR f32` or `peer-fastembed FILE.gguf DIR`, then the
//! protocol of `benches/peers/protocol.py` on stdin and stdout.

use std::error::Error;
use std::io::BufRead;
use std::path::Path;
use std::time::Instant;

use candle_core::{DType, Device};
use candle_nn::VarBuilder;
use fastembed::{Qwen3Config, Qwen3Model, Qwen3TextEmbedding};
use serde_json::{Value, json};
use tokenizers::{PaddingDirection, PaddingParams, PaddingStrategy, Tokenizer};

const MAX_TOKENS: usize = 8192;
const PAD: &str = "<|endoftext|>";

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let begun = Instant::now();
    let model = match arguments.as_slice() {
        [dir, precision] if precision == "f32" => of_checkpoint(Path::new(dir))?,
        [gguf, dir] => Qwen3TextEmbedding::from_gguf(
            Path::new(gguf),
            &Path::new(dir).join("tokenizer.json"),
            &Device::Cpu,
            MAX_TOKENS,
        )?,
        _ => return Err("expected a checkpoint and f32, or a GGUF file and a checkpoint".into()),
    };
    println!(
        "{}",
        json!({"load_ms": begun.elapsed().as_secs_f64() * 1e3, "version": "fastembed 7.5.0"})
    );
    for line in std::io::stdin().lock().lines() {
        let request: Value = serde_json::from_str(&line?)?;
        let prompt = request["prompt"].as_str().unwrap_or_default();
        let texts = request["texts"].as_array().ok_or("expected texts")?;
        let texts: Vec<String> = texts
            .iter()
            .map(|text| format!("{prompt}{}", text.as_str().unwrap_or_default()))
            .collect();
        let begun = Instant::now();
        let vectors = model.embed(&texts)?;
        let ms = begun.elapsed().as_secs_f64() * 1e3;
        let vectors = request["vectors"]
            .as_bool()
            .unwrap_or(false)
            .then_some(vectors);
        println!(
            "{}",
            json!({"ms": ms, "vectors": vectors, "resident": resident()})
        );
    }
    Ok(())
}

/// As fastembed's own loader from a hub does it, of local files.
fn of_checkpoint(dir: &Path) -> Result<Qwen3TextEmbedding, Box<dyn Error>> {
    let config: Qwen3Config = serde_json::from_slice(&std::fs::read(dir.join("config.json"))?)?;
    let weights = std::fs::read(dir.join("model.safetensors"))?;
    let weights = VarBuilder::from_buffered_safetensors(weights, DType::F32, &Device::Cpu)?;
    // The released files name their tensors with or without `model.`.
    let weights = match weights.contains_tensor("model.embed_tokens.weight") {
        true => weights.pp("model"),
        false => weights,
    };
    let model = Qwen3Model::new(config, weights)?;
    let mut tokenizer =
        Tokenizer::from_file(dir.join("tokenizer.json")).map_err(|e| e.to_string())?;
    let pad_id = tokenizer.token_to_id(PAD).unwrap_or_default();
    tokenizer.with_padding(Some(PaddingParams {
        strategy: PaddingStrategy::BatchLongest,
        direction: PaddingDirection::Left,
        pad_id,
        pad_token: PAD.to_owned(),
        ..PaddingParams::default()
    }));
    Ok(Qwen3TextEmbedding::new(model, tokenizer))
}

/// Resident bytes of this process; 0 where the system does not say.
fn resident() -> usize {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let kilobytes = line.and_then(|line| line.split_whitespace().next()?.parse::<usize>().ok());
    kilobytes.unwrap_or(0) * 1024
}
