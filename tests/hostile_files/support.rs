//! A tiny valid model, written by hand so that a test can spoil any byte of it.

use std::fs;
use std::path::Path;

use qwen3_embedding::{Checkpoint, ModelConfig};
use tempfile::TempDir;

/// One layer; 4 heads of 4 are not the hidden size of 8.
pub(crate) const CONFIG: &str = r#"{
  "model_type": "qwen3", "hidden_act": "silu", "hidden_size": 8, "intermediate_size": 12,
  "num_hidden_layers": 1, "num_attention_heads": 4, "num_key_value_heads": 2, "head_dim": 4,
  "vocab_size": 16, "max_position_embeddings": 64, "rms_norm_eps": 1e-06, "rope_theta": 1000000,
  "attention_bias": false, "use_sliding_window": false, "sliding_window": null,
  "rope_scaling": null, "tie_word_embeddings": true, "torch_dtype": "bfloat16",
  "eos_token_id": 15
}"#;

/// What [`CONFIG`] calls for.
pub(crate) const TENSORS: [(&str, &[usize]); 13] = [
    ("norm.weight", &[8]),
    ("embed_tokens.weight", &[16, 8]),
    ("layers.0.input_layernorm.weight", &[8]),
    ("layers.0.post_attention_layernorm.weight", &[8]),
    ("layers.0.self_attn.q_proj.weight", &[16, 8]),
    ("layers.0.self_attn.k_proj.weight", &[8, 8]),
    ("layers.0.self_attn.v_proj.weight", &[8, 8]),
    ("layers.0.self_attn.o_proj.weight", &[8, 16]),
    ("layers.0.self_attn.q_norm.weight", &[4]),
    ("layers.0.self_attn.k_norm.weight", &[4]),
    ("layers.0.mlp.gate_proj.weight", &[12, 8]),
    ("layers.0.mlp.up_proj.weight", &[12, 8]),
    ("layers.0.mlp.down_proj.weight", &[8, 12]),
];

/// Bytes of [`TENSORS`] in BF16.
pub(crate) const DATA: usize = 1664;

pub(crate) fn config() -> ModelConfig {
    ModelConfig::parse(Path::new("config.json"), CONFIG).unwrap()
}

/// `text` with its one `from` replaced.
pub(crate) fn edit(text: &str, from: &str, to: &str) -> String {
    assert_eq!(text.matches(from).count(), 1, "{from} in {text}");
    text.replace(from, to)
}

/// The header of all [`TENSORS`] in BF16, one after the other: `norm.weight` is at 0..16,
/// `embed_tokens.weight` at 16..272 and `layers.0.mlp.down_proj.weight` at 1472..1664.
pub(crate) fn header() -> String {
    header_of(&TENSORS)
}

pub(crate) fn header_of(tensors: &[(&str, &[usize])]) -> String {
    let mut end = 0;
    let entries = tensors.iter().map(|(name, shape)| {
        let begin = end;
        end += shape.iter().product::<usize>() * 2;
        format!(r#""{name}":{{"dtype":"BF16","shape":{shape:?},"data_offsets":[{begin},{end}]}}"#)
    });
    format!("{{{}}}", entries.collect::<Vec<_>>().join(","))
}

/// A safetensors file with that header and `data` bytes, each 0, 1, 2, ... modulo 128 (no NaN).
pub(crate) fn file(header: &str, data: usize) -> Vec<u8> {
    let mut file = (header.len() as u64).to_le_bytes().to_vec();
    file.extend_from_slice(header.as_bytes());
    file.extend((0..data).map(|n| n as u8 % 128));
    file
}

/// A directory with these files.
pub(crate) fn dir(files: &[(&str, &[u8])]) -> TempDir {
    let dir = TempDir::new().unwrap();
    for (name, content) in files {
        fs::write(dir.path().join(name), content).unwrap();
    }
    dir
}

/// What a directory with these files is refused with; its path becomes `DIR`.
pub(crate) fn refusal(files: &[(&str, &[u8])]) -> String {
    refusal_of(&dir(files))
}

pub(crate) fn refusal_of(dir: &TempDir) -> String {
    let error = Checkpoint::open(dir.path(), &config())
        .map(drop)
        .unwrap_err();
    error
        .to_string()
        .replace(dir.path().to_str().unwrap(), "DIR")
}

/// What a single file with this header and [`DATA`] bytes is refused with.
pub(crate) fn header_refusal(header: &str) -> String {
    refusal(&[("model.safetensors", &file(header, DATA))])
}
