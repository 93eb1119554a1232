//! Prompts, EOS, truncation, special tokens and MRL, on the built-in model.
#![cfg(any(feature = "mlx", feature = "onnx"))]
#![allow(clippy::unwrap_used, clippy::panic)]

mod support;

use std::fs;
use std::path::Path;

use qwen3_embedding::{
    EmbedOptions, Embedder, Error, Normalization, Precision, Prompt, SpecialTokens, Truncation,
};
use safetensors::tensor::TensorView;
use serde_json::{Value, json};
use support::*;
use tempfile::TempDir;

fn tiny_embedder() -> Embedder {
    open(&tiny(), BACKENDS[0], Precision::F32)
}

fn prompt(case: &Value) -> Prompt {
    match &case["prompt"] {
        Value::Null => Prompt::Document,
        Value::String(name) if name == "query" => Prompt::Query,
        Value::String(name) => Prompt::Named(name.clone()),
        task => Prompt::Task(task["task"].as_str().unwrap().to_owned()),
    }
}

fn special_tokens(case: &Value) -> SpecialTokens {
    match case["special_tokens"].as_str().unwrap() {
        "plain" => SpecialTokens::PlainText,
        "parse" => SpecialTokens::Parse,
        other => panic!("{other}"),
    }
}

#[test]
fn every_golden_text_has_the_references_vector_and_token_count() {
    for &backend in BACKENDS {
        let mut embedder = open(&tiny(), backend, Precision::F32);
        let goldens = goldens(&tiny());
        assert!(goldens.len() >= 20);
        for golden in goldens {
            let text = golden.case["text"].as_str().unwrap();
            let options = raw()
                .prompt(prompt(&golden.case))
                .special_tokens(special_tokens(&golden.case));
            let found = embedder.embed(&[text], &options).unwrap();
            assert_eq!(found.tokens(), [golden.ids.len()], "{text:?}");
            let similarity = cosine(found.data(), &golden.hidden);
            assert!(similarity >= 0.99999, "{text:?}: {similarity}");
        }
    }
}

#[test]
fn a_text_equals_its_ids_with_one_eos_at_the_end() {
    let mut embedder = tiny_embedder();
    assert_eq!(embedder.eos_token_id(), 12281);
    let ids = &goldens(&tiny())[5];
    assert_eq!(ids.case["text"], "Hello, world!");
    assert_eq!(ids.ids.iter().filter(|&&id| id == 12281).count(), 1);
    let text = embedder.embed(&["Hello, world!"], &raw()).unwrap();
    let same = embed_ids(&mut embedder, std::slice::from_ref(&ids.ids));
    assert_eq!(text.data(), same.data());
}

/// The vector of "Hello, world!" by a copy of the model whose tokenizer files `edit` changed.
fn hello_with(edit: impl FnOnce(&Path)) -> Result<Vec<f32>, Error> {
    let model = copy_dir(&tiny());
    edit(model.path());
    let mut embedder = builder(model.path(), BACKENDS[0], Precision::F32).build()?;
    Ok(embedder.embed(&["Hello, world!"], &raw())?.into_data())
}

fn edit_json(path: &Path, edit: impl FnOnce(&mut Value)) {
    let mut value: Value = serde_json::from_str(&fs::read_to_string(path).unwrap()).unwrap();
    edit(&mut value);
    fs::write(path, value.to_string()).unwrap();
}

#[test]
fn eos_is_added_once_whatever_the_post_processor_does() {
    let expected = hello_with(|_| {}).unwrap();
    let without = hello_with(|dir| {
        edit_json(&dir.join("tokenizer.json"), |t| {
            t["post_processor"] = Value::Null
        });
    });
    assert_eq!(without.unwrap(), expected);
    let chat = hello_with(|dir| {
        edit_json(&dir.join("tokenizer.json"), |t| {
            let text = t["post_processor"].to_string();
            let text = text
                .replace("<|endoftext|>", "<|im_end|>")
                .replace("12281", "12283");
            t["post_processor"] = serde_json::from_str(&text).unwrap();
        });
    });
    assert_eq!(chat.unwrap(), expected);
}

#[test]
fn padding_and_truncation_in_the_tokenizer_file_have_no_effect() {
    let expected = hello_with(|_| {}).unwrap();
    let padded = hello_with(|dir| {
        edit_json(&dir.join("tokenizer.json"), |t| {
            t["padding"] = json!({
                "strategy": {"Fixed": 64}, "direction": "Right", "pad_to_multiple_of": null,
                "pad_id": 12281, "pad_type_id": 0, "pad_token": "<|endoftext|>",
            });
            t["truncation"] = json!({
                "direction": "Right", "max_length": 3, "strategy": "LongestFirst", "stride": 0,
            });
        });
    });
    assert_eq!(padded.unwrap(), expected);
}

#[test]
fn a_tokenizer_with_dropout_is_refused() {
    let error = hello_with(|dir| {
        edit_json(&dir.join("tokenizer.json"), |t| {
            t["model"]["dropout"] = json!(0.1)
        });
    })
    .unwrap_err();
    assert!(
        error
            .to_string()
            .ends_with("not a usable tokenizer: BPE dropout is set; the same text would give different tokens each time"),
        "{error}"
    );
}

/// The built-in model with `rows` rows of its embedding table left.
fn tiny_with_rows(rows: usize) -> TempDir {
    let model = copy_dir(&tiny());
    edit_json(&model.path().join("config.json"), |config| {
        config["vocab_size"] = json!(rows);
        config["eos_token_id"] = Value::Null;
    });
    let path = model.path().join("model.safetensors");
    let file = fs::read(&path).unwrap();
    let tensors = safetensors::SafeTensors::deserialize(&file).unwrap();
    let cut: Vec<_> = tensors
        .iter()
        .map(|(name, view)| {
            let (mut shape, mut data) = (view.shape().to_vec(), view.data());
            if name == "embed_tokens.weight" {
                data = &data[..data.len() / shape[0] * rows];
                shape[0] = rows;
            }
            (name, TensorView::new(view.dtype(), shape, data).unwrap())
        })
        .collect();
    fs::write(&path, safetensors::serialize(cut, None).unwrap()).unwrap();
    model
}

#[test]
fn a_vocabulary_larger_than_the_embedding_table_is_refused() {
    let model = tiny_with_rows(12_000);
    let built = builder(model.path(), BACKENDS[0], Precision::F32).build();
    let error = built.err().unwrap().to_string();
    assert!(
        error.ends_with("has id 12280, but the embedding table has 12000 rows"),
        "{error}"
    );
}

#[test]
fn an_added_token_without_a_row_is_plain_text_never_another_token() {
    // As in the released 4B and 8B: `<think>` is id 12286 and the table ends before it.
    let model = tiny_with_rows(12_286);
    let mut cut = open(model.path(), BACKENDS[0], Precision::F32);
    let mut whole = tiny_embedder();
    let same = |texts: &[&str], a: &mut Embedder, b: &mut Embedder| {
        a.embed(texts, &raw()).unwrap().data() == b.embed(texts, &raw()).unwrap().data()
    };
    assert!(same(&["Hello, world!"], &mut cut, &mut whole));

    let plain = cut.embed(&["<think>"], &raw()).unwrap();
    assert!(plain.tokens()[0] > 2, "{:?}", plain.tokens());
    assert_eq!(whole.embed(&["<think>"], &raw()).unwrap().tokens(), [2]);

    // There is nothing else that it could be parsed as.
    let parse = raw().special_tokens(SpecialTokens::Parse);
    assert_eq!(cut.embed(&["<think>"], &parse).unwrap(), plain);
}

#[test]
fn added_tokens_whose_order_belies_their_ids_are_refused() {
    let error = hello_with(|dir| {
        edit_json(&dir.join("tokenizer.json"), |t| {
            t["added_tokens"].as_array_mut().unwrap().reverse();
        });
    })
    .unwrap_err()
    .to_string();
    assert!(
        error.ends_with(
            "added token \"</think>\" is declared with id 12287, which its place in the file does not give it"
        ),
        "{error}"
    );
}

#[test]
fn a_tokenizer_that_panics_is_an_error_for_the_text() {
    let model = copy_dir(&tiny());
    edit_json(&model.path().join("tokenizer.json"), |t| {
        t["pre_tokenizer"] = json!({
            "type": "Split", "pattern": {"Regex": "(a+)+$"}, "behavior": "Isolated", "invert": false,
        });
    });
    let mut embedder = open(model.path(), BACKENDS[0], Precision::F32);
    let hard = format!("{}b", "a".repeat(40));
    let error = embedder
        .embed(&["b", &hard], &raw())
        .unwrap_err()
        .to_string();
    assert!(
        error.starts_with(
            "input 1: could not be tokenised: the tokenizer gave up: Onig: Regex search error"
        ),
        "{error}"
    );
    // The embedder is not harmed.
    embedder.embed(&["b"], &raw()).unwrap();
}

#[test]
fn pooling_other_than_the_last_token_is_refused() {
    let error = hello_with(|dir| {
        edit_json(&dir.join("1_Pooling/config.json"), |pooling| {
            pooling["pooling_mode_lasttoken"] = json!(false);
            pooling["pooling_mode_mean_tokens"] = json!(true);
        });
    })
    .unwrap_err();
    assert!(
        error.to_string().ends_with(
            "pooling_mode_*: this model is not supported: expected pooling_mode_lasttoken alone, found [\"pooling_mode_mean_tokens\"]"
        ),
        "{error}"
    );
}

#[test]
fn a_model_without_pooling_or_with_lower_casing_is_refused() {
    let error = hello_with(|dir| {
        edit_json(&dir.join("modules.json"), |modules| {
            modules.as_array_mut().unwrap().remove(1);
        });
    });
    let error = error.unwrap_err().to_string();
    assert!(
        error.ends_with("expected a Pooling module, found none"),
        "{error}"
    );
    let error = hello_with(|dir| {
        let path = dir.join("sentence_bert_config.json");
        fs::write(path, r#"{"do_lower_case": true}"#).unwrap();
    });
    let error = error.unwrap_err().to_string();
    assert!(
        error.ends_with("do_lower_case: this model is not supported: expected false, found true"),
        "{error}"
    );
}

#[test]
fn a_declared_sequence_length_below_the_context_is_the_limit() {
    let error = hello_with(|dir| {
        let path = dir.join("sentence_bert_config.json");
        fs::write(path, r#"{"max_seq_length": 4}"#).unwrap();
    });
    assert_eq!(
        error.unwrap_err().to_string(),
        "input 0: 7 tokens, more than the limit of 4; shorten it or, if it is a text, allow truncation"
    );
}

#[test]
fn a_module_after_the_pooling_is_refused() {
    let error = hello_with(|dir| {
        edit_json(&dir.join("modules.json"), |modules| {
            modules[2]["type"] = json!("sentence_transformers.models.Dense");
        });
    })
    .unwrap_err();
    assert!(
        error.to_string().ends_with(
            "type: this model is not supported: expected Transformer, Pooling or Normalize, found sentence_transformers.models.Dense"
        ),
        "{error}"
    );
}

#[test]
fn too_long_a_text_is_an_error_and_is_cut_before_eos_when_asked() {
    let mut embedder = tiny_embedder();
    let error = embedder
        .embed(&["a", "Hello, world!"], &raw().max_tokens(4))
        .unwrap_err();
    assert_eq!(
        error.to_string(),
        "input 1: 7 tokens, more than the limit of 4; shorten it or, if it is a text, allow truncation"
    );
    let cut = raw().max_tokens(4).truncation(Truncation::End);
    let found = embedder.embed(&["a", "Hello, world!"], &cut).unwrap();
    assert_eq!(found.truncated(), [false, true]);
    assert_eq!(found.tokens(), [2, 4]);
    let expected = embed_ids(&mut embedder, &[vec![64, 12281], vec![39, 404, 78, 12281]]);
    for (a, b) in found.iter().zip(expected.iter()) {
        assert!(max_abs_error(a, b) < 1e-5);
    }
}

#[test]
fn the_models_context_is_the_limit() {
    let mut embedder = tiny_embedder();
    let long = "a ".repeat(1000);
    let error = embedder.embed(&[&long], &raw()).unwrap_err();
    assert!(
        matches!(
            error,
            Error::TooManyTokens {
                index: 0,
                limit: 512,
                ..
            }
        ),
        "{error}"
    );
    let end = raw().truncation(Truncation::End);
    assert_eq!(embedder.embed(&[&long], &end).unwrap().tokens(), [512]);
    let error = embedder.embed(&["a"], &raw().max_tokens(513)).unwrap_err();
    assert_eq!(error.to_string(), "max_tokens: expected 1..=512, found 513");
}

#[test]
fn token_ids_are_taken_as_they_are_or_refused() {
    let mut embedder = tiny_embedder();
    let mut error = |sequences: &[&[u32]]| {
        let options = raw()
            .max_tokens(3)
            .truncation(Truncation::End)
            .prompt(Prompt::Query);
        embedder
            .embed_token_ids(sequences, &options)
            .unwrap_err()
            .to_string()
    };
    assert_eq!(
        error(&[]),
        "the request is empty: expected at least one input"
    );
    assert_eq!(
        error(&[&[1], &[]]),
        "input 1: expected at least one token id, found none"
    );
    assert_eq!(
        error(&[&[1], &[2, 12_288]]),
        "input 1: token id 12288 at position 1: expected an id below 12288"
    );
    assert_eq!(
        error(&[&[1, 2, 3, 4]]),
        "input 0: 4 tokens, more than the limit of 3; shorten it or, if it is a text, allow truncation"
    );
    let found = embed_ids(&mut embedder, &[vec![1, 2, 3]]);
    assert_eq!(found.tokens(), [3]);
}

#[test]
fn mrl_cuts_and_normalises_again() {
    let mut embedder = tiny_embedder();
    let whole = embedder.embed(&["Hello, world!"], &raw()).unwrap();
    for dimensions in [1, 24, 192] {
        let options = EmbedOptions::default().dimensions(dimensions);
        let cut = embedder.embed(&["Hello, world!"], &options).unwrap();
        assert_eq!(cut.dimensions(), dimensions);
        let expected = normalized(&whole.data()[..dimensions]);
        assert!(max_abs_error(cut.data(), &expected) < 1e-6);
    }
    for dimensions in [0, 193] {
        let options = EmbedOptions::default().dimensions(dimensions);
        assert_eq!(
            embedder.embed(&["a"], &options).unwrap_err().to_string(),
            format!("dimensions: expected 1..=192, found {dimensions}")
        );
    }
}

#[test]
fn vectors_have_length_1_unless_asked_otherwise() {
    let mut embedder = tiny_embedder();
    let unit = embedder
        .embed(&["Hello, world!"], &EmbedOptions::default())
        .unwrap();
    let length: f32 = unit.data().iter().map(|v| v * v).sum::<f32>().sqrt();
    assert!((length - 1.0).abs() < 1e-6);
    assert_eq!(unit.normalization(), Normalization::L2);
}

#[test]
fn an_unknown_prompt_names_those_declared() {
    let options = EmbedOptions::default().prompt(Prompt::Named("sts".into()));
    assert_eq!(
        tiny_embedder()
            .embed(&["a"], &options)
            .unwrap_err()
            .to_string(),
        "prompt \"sts\" is not declared by the model; declared: document, query"
    );
}
