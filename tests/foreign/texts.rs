//! Prompts, special tokens and truncation by the model's own files.

use std::fs;

use qwen3_embedding::{EmbedOptions, Embedder, Prompt, SpecialTokens, Truncation};
use serde_json::{Value, json};

use crate::parity::{layout, open_layout};
use crate::support::*;

fn embed(embedder: &mut Embedder, text: &str, prompt: Prompt) -> Vec<f32> {
    embedder
        .embed(&[text], &raw().prompt(prompt))
        .unwrap()
        .into_data()
}

fn error(embedder: &mut Embedder, text: &str, options: &EmbedOptions) -> String {
    embedder.embed(&[text], options).unwrap_err().to_string()
}

#[test]
fn prompts_are_those_that_the_model_declares() {
    let mut gemma = open_layout("gemma");
    let query = embed(&mut gemma, "gravity", Prompt::Query);
    let named = embed(
        &mut gemma,
        "task: find | query: gravity",
        Prompt::Named("document".into()),
    );
    assert!(
        cosine(&query, &named) < 0.9999,
        "the document prompt was not put before"
    );
    let mut mean = open_layout("bert-mean");
    // It declares none: a query is the bare text and gets no instruction of Qwen3's.
    let (query, document) = (
        embed(&mut mean, "gravity", Prompt::Query),
        embed(&mut mean, "gravity", Prompt::Document),
    );
    assert_eq!(query, document);
    assert_eq!(
        error(
            &mut mean,
            "x",
            &raw().prompt(Prompt::Task("Find it".into()))
        ),
        "prompt: expected one that the model declares, since it was not trained on instructions, found a task"
    );
    let mut qwen3 = open_layout("qwen3-f32");
    let task = Prompt::Task(qwen3_embedding::DEFAULT_TASK.into());
    let options = raw().prompt(task).truncation(Truncation::End);
    let task = qwen3.embed(&["x"], &options).unwrap();
    let query = qwen3.embed(
        &["x"],
        &raw().prompt(Prompt::Query).truncation(Truncation::End),
    );
    assert_eq!(task, query.unwrap());
}

#[test]
fn a_passage_prompt_stands_before_documents() {
    let copy = copy_dir(&layout("bert-mean"));
    let prompts = json!({"prompts": {"query": "query: ", "passage": "passage: "}});
    let path = copy.path().join("config_sentence_transformers.json");
    fs::write(path, prompts.to_string()).unwrap();
    let mut declared = Embedder::from_dir(copy.path()).build().unwrap();
    let mut bare = open_layout("bert-mean");
    assert_eq!(
        embed(&mut declared, "gravity", Prompt::Document),
        embed(&mut bare, "passage: gravity", Prompt::Document)
    );
}

#[test]
fn truncation_keeps_the_special_tokens_on_both_sides() {
    for (name, before, after) in [
        ("bert-mean", Some(2), 3),
        ("xlm-roberta-mean", Some(0), 2),
        ("gemma", Some(2), 1),
        ("qwen3-f32", None, 300),
    ] {
        let mut embedder = open_layout(name);
        assert_eq!(embedder.eos_token_id(), after, "{name}");
        let text = "one two three ".repeat(40);
        let refused = error(&mut embedder, &text, &raw());
        assert!(
            refused.contains("more than the limit of 48"),
            "{name}: {refused}"
        );
        let options = raw().truncation(Truncation::End).max_tokens(24);
        let cut = embedder.embed(&[&text, "a"], &options).unwrap();
        assert_eq!(cut.tokens()[0], 24, "{name}");
        assert_eq!(cut.truncated(), [true, false], "{name}");
        // The same ids by hand: the whole text's first ones between the special tokens.
        let mut ids = tokens_of(name, &text);
        ids.truncate(24 - 1 - before.iter().len());
        ids.splice(0..0, before);
        ids.push(after);
        let by_hand = embed_ids(&mut embedder, &[ids]);
        assert!(
            cosine(cut.row(0).unwrap(), by_hand.data()) >= 0.99999,
            "{name}"
        );
    }
}

/// The tokens of a text alone, by the tokenizers library itself, with the prompt of documents.
fn tokens_of(name: &str, text: &str) -> Vec<u32> {
    let path = layout(name).join("tokenizer.json");
    let mut tokenizer = tokenizers::Tokenizer::from_file(path).unwrap();
    tokenizer.with_truncation(None).unwrap().with_padding(None);
    let declared = fs::read_to_string(layout(name).join("config_sentence_transformers.json"));
    let declared: Value = serde_json::from_str(&declared.unwrap_or("{}".into())).unwrap();
    let prompt = declared["prompts"]["document"].as_str().unwrap_or_default();
    let encoding = tokenizer.encode(format!("{prompt}{text}"), false).unwrap();
    encoding.get_ids().to_vec()
}

#[test]
fn fewer_tokens_than_the_special_ones_are_refused() {
    let mut embedder = open_layout("bert-mean");
    assert_eq!(
        error(
            &mut embedder,
            "x",
            &raw().max_tokens(1).truncation(Truncation::End)
        ),
        "max_tokens: expected at least 2, the special tokens, found 1"
    );
}

#[test]
fn special_tokens_typed_by_a_user_are_plain_text_or_an_error() {
    for (name, special) in [
        ("bert-mean", "[SEP]"),
        ("gemma", "<eos>"),
        ("qwen3-f32", "<|endoftext|>"),
    ] {
        let mut embedder = open_layout(name);
        let plain = embedder.embed(&[special], &raw()).unwrap();
        let parsed = embedder.embed(&[special], &raw().special_tokens(SpecialTokens::Parse));
        assert!(plain.tokens()[0] > parsed.unwrap().tokens()[0], "{name}");
    }
    // Unigram has the name among its pieces and cannot be told otherwise.
    let mut embedder = open_layout("xlm-roberta-mean");
    assert_eq!(
        error(&mut embedder, "a </s> b", &raw()),
        "input 0: could not be tokenised: this model's tokenizer reads \"</s>\" in it as a special \
         token, also where that is plain text"
    );
    assert!(
        embedder
            .embed(&["a </s> b"], &raw().special_tokens(SpecialTokens::Parse))
            .is_ok()
    );
}

#[test]
fn tokens_that_only_tokenizer_config_asks_for_are_added() {
    let copy = copy_dir(&layout("gemma"));
    let path = copy.path().join("tokenizer.json");
    let mut tokenizer: Value = serde_json::from_str(&fs::read_to_string(&path).unwrap()).unwrap();
    tokenizer["post_processor"] = json!(null);
    fs::write(&path, tokenizer.to_string()).unwrap();
    let refused = Embedder::from_dir(copy.path()).build().err().unwrap();
    assert!(
        refused
            .to_string()
            .ends_with("it puts no token after a text"),
        "{refused}"
    );
    let config = json!({
        "add_bos_token": true, "add_eos_token": true, "bos_token": "<bos>", "eos_token": {"content": "<eos>"},
    });
    fs::write(
        copy.path().join("tokenizer_config.json"),
        config.to_string(),
    )
    .unwrap();
    let mut completed = Embedder::from_dir(copy.path()).build().unwrap();
    let mut whole = open_layout("gemma");
    assert_eq!(
        embed(&mut completed, "gravity", Prompt::Query),
        embed(&mut whole, "gravity", Prompt::Query)
    );
}
