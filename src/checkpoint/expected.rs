//! The tensors that a configuration calls for.

use crate::config::ModelConfig;

/// The key of the table of token embeddings.
pub(crate) const TABLE: &str = "embed_tokens.weight";

/// Key without `model.`, and shape, of every weight of a dense Qwen3 without its language head.
///
/// Lazy, because `num_hidden_layers` is whatever the file says: the first missing layer ends a load.
pub(super) fn tensors(config: &ModelConfig) -> impl Iterator<Item = (String, Vec<usize>)> + '_ {
    let hidden = config.hidden_size();
    let outer = [
        (TABLE.to_owned(), vec![config.vocab_size(), hidden]),
        ("norm.weight".to_owned(), vec![hidden]),
    ];
    let layers = (0..config.num_hidden_layers()).flat_map(|n| {
        layer(config)
            .into_iter()
            .map(move |(key, shape)| (format!("layers.{n}.{key}.weight"), shape))
    });
    outer.into_iter().chain(layers)
}

fn layer(config: &ModelConfig) -> [(&'static str, Vec<usize>); 11] {
    let hidden = config.hidden_size();
    let intermediate = config.intermediate_size();
    let (query, key_value) = (config.query_size(), config.key_value_size());
    [
        ("input_layernorm", vec![hidden]),
        ("self_attn.q_proj", vec![query, hidden]),
        ("self_attn.k_proj", vec![key_value, hidden]),
        ("self_attn.v_proj", vec![key_value, hidden]),
        ("self_attn.o_proj", vec![hidden, query]),
        ("self_attn.q_norm", vec![config.head_dim()]),
        ("self_attn.k_norm", vec![config.head_dim()]),
        ("post_attention_layernorm", vec![hidden]),
        ("mlp.gate_proj", vec![intermediate, hidden]),
        ("mlp.up_proj", vec![intermediate, hidden]),
        ("mlp.down_proj", vec![hidden, intermediate]),
    ]
}
