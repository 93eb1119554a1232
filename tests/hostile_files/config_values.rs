//! Values in `config.json` that are out of range or describe another model.

use serde_json::Value;

use crate::config::{refusal, spoiled};
use crate::support::{CONFIG, edit};

#[test]
fn sizes_of_the_wrong_type_or_out_of_range() {
    for bad in [
        "0",
        "-8",
        "8.0",
        "8.5",
        r#""8""#,
        "[8]",
        "true",
        "2147483648",
        "18446744073709551615",
    ] {
        assert_eq!(
            spoiled(r#""hidden_size": 8"#, &format!(r#""hidden_size": {bad}"#)),
            format!(
                "config.json: hidden_size: expected an integer from 1 to 2147483647, found {bad}"
            )
        );
    }
}

#[test]
fn eps_and_theta_that_are_not_positive_in_f32() {
    for (bad, shown) in [
        ("0", "0"),
        ("-1e-06", "-1e-6"),
        ("1e-46", "1e-46"),
        ("1e39", "1e+39"),
        (r#""1e-6""#, r#""1e-6""#),
    ] {
        assert_eq!(
            spoiled("1e-06", bad),
            format!("config.json: rms_norm_eps: expected a finite number above 0, found {shown}")
        );
    }
    assert_eq!(
        spoiled(r#""rope_theta": 1000000"#, r#""rope_theta": -1"#),
        "config.json: rope_theta: expected a finite number above 0, found -1"
    );
    assert_eq!(
        spoiled(
            r#""rope_theta": 1000000"#,
            r#""rope_parameters": "default""#
        ),
        r#"config.json: rope_parameters: expected an object, found "default""#
    );
}

#[test]
fn heads_that_do_not_divide() {
    assert_eq!(
        spoiled(r#""num_key_value_heads": 2"#, r#""num_key_value_heads": 3"#),
        "config.json: num_attention_heads: expected a multiple of num_key_value_heads (3), found 4"
    );
    assert_eq!(
        spoiled(r#""head_dim": 4"#, r#""head_dim": 5"#),
        "config.json: head_dim: expected an even number, found 5"
    );
}

#[test]
fn products_that_wrap() {
    let bound = "expected a weight of at most 2147483647 rows and 9223372036854775807 bytes in f32";
    assert_eq!(
        spoiled(r#""head_dim": 4"#, r#""head_dim": 2147483646"#),
        format!("config.json: num_attention_heads: {bound}, found 17179869168 rows of 8 elements")
    );
    assert_eq!(
        spoiled(
            r#""intermediate_size": 12"#,
            r#""intermediate_size": 2147483647"#
        ),
        format!("config.json: intermediate_size: {bound}, found 4294967294 rows of 8 elements")
    );
    let wide = edit(
        CONFIG,
        r#""hidden_size": 8"#,
        r#""hidden_size": 2147483647"#,
    );
    assert_eq!(
        refusal(&edit(
            &wide,
            r#""vocab_size": 16"#,
            r#""vocab_size": 2147483647"#
        )),
        format!("config.json: vocab_size: {bound}, found 2147483647 rows of 2147483647 elements")
    );
}

#[test]
fn keys_of_the_wrong_type() {
    assert_eq!(
        spoiled(r#""attention_bias": false"#, r#""attention_bias": "false""#),
        r#"config.json: attention_bias: expected false, found "false""#
    );
    assert_eq!(
        spoiled(
            "{\n",
            r#"{"layer_types": ["full_attention", "full_attention"],"#
        ),
        "config.json: layer_types: expected num_hidden_layers (1) entries, found 2"
    );
    assert_eq!(
        spoiled(r#""bfloat16""#, r#""int8""#),
        r#"config.json: torch_dtype: expected float32, float16 or bfloat16, found "int8""#
    );
}

#[test]
fn other_models() {
    for (key, expected, found) in [
        ("model_type", r#""qwen3""#, r#""qwen3_moe""#),
        ("hidden_act", r#""silu""#, r#""gelu""#),
        ("attention_bias", "false", "true"),
        ("use_sliding_window", "false", "true"),
        ("is_causal", "true", "false"),
        ("use_bidirectional_attention", "false", "true"),
        ("rope_scaling", "null", r#"{"type":"yarn"}"#),
        ("quantize_activations", "false", "true"),
    ] {
        assert_eq!(with(key, found), unsupported(key, expected, found));
    }
    assert_eq!(
        with("rope_parameters", r#"{"rope_type":"yarn"}"#),
        unsupported("rope_parameters.rope_type", r#""default""#, r#""yarn""#)
    );
    assert_eq!(
        with("layer_types", r#"["sliding_attention"]"#),
        unsupported(
            "layer_types",
            r#""full_attention""#,
            r#""sliding_attention""#
        )
    );
}

/// What [`CONFIG`] with `key` set to `value` is refused with.
fn with(key: &str, value: &str) -> String {
    let mut config: Value = serde_json::from_str(CONFIG).unwrap();
    config[key] = serde_json::from_str(value).unwrap();
    refusal(&config.to_string())
}

fn unsupported(key: &str, expected: &str, found: &str) -> String {
    format!("config.json: {key}: this model is not supported: expected {expected}, found {found}")
}
