//! Is it a plain dense Qwen3? Anything that would make the model compute something else is refused.

use serde_json::{Value, json};

use super::fields::Fields;
use crate::error::Result;
use crate::json::shown;

/// Keys that change what the model computes must be absent or say what this crate does.
pub(super) fn check_keys(fields: &Fields<'_>) -> Result<()> {
    fields.required("model_type", "a string", Value::as_str)?;
    for (key, supported) in [
        ("model_type", json!("qwen3")),
        ("hidden_act", json!("silu")),
        ("attention_bias", json!(false)),
        ("use_sliding_window", json!(false)),
        // Bidirectional embedding models made from Qwen3 declare themselves by one of these.
        ("is_causal", json!(true)),
        ("use_bidirectional_attention", json!(false)),
        // `type` is the older name of `rope_type`.
        ("rope_parameters.rope_type", json!("default")),
        ("rope_parameters.type", json!("default")),
        ("rope_scaling", json!(null)),
        ("quantize_activations", json!(false)),
    ] {
        fields.only(key, &supported)?;
    }
    Ok(())
}

/// `layer_types`, if there, lists full attention for each layer.
pub(super) fn check_layer_types(fields: &Fields<'_>, layers: usize) -> Result<()> {
    let Some(types) = fields.optional("layer_types", "a list", Value::as_array)? else {
        return Ok(());
    };
    let full = json!("full_attention");
    if let Some(other) = types.iter().find(|&kind| *kind != full) {
        return Err(fields.unsupported("layer_types", &full, shown(other)));
    }
    if types.len() != layers {
        let expected = format!("num_hidden_layers ({layers}) entries");
        return Err(fields.invalid("layer_types", expected, types.len()));
    }
    Ok(())
}
