//! `embed`: the vectors are the library's, in every format, from every source.
#![cfg(feature = "mlx")]

mod support;

use std::fs;

use serde_json::{Value, json};
use support::{NOTE, finish, npy, numbers, on_tiny, program, run, run_on, tiny};

const TEXTS: [&str; 3] = ["one", "two longer words", "三"];

#[test]
fn the_built_in_model_embeds_and_says_what_it_is() {
    let outcome = run(&["embed", "--device", "cpu", "one", "two"]);
    let result = outcome.json();
    assert_eq!(outcome.stderr, NOTE);
    assert_eq!(result["model"], "built-in/tiny");
    assert_eq!(result["dimensions"], 192);
    assert_eq!(result["normalized"], true);
    assert_eq!(result["truncated"], json!([false, false]));
    let best_on_a_cpu = if cfg!(feature = "onnx") {
        "onnx"
    } else {
        "mlx"
    };
    assert_eq!(result["backend"]["name"], best_on_a_cpu);
    assert_eq!(result["backend"]["device"], "cpu");
    assert_eq!(result["backend"]["precision"], "f32");
    assert_eq!(result["backend"]["fallback"], Value::Null);
    let embeddings = result["embeddings"].as_array().unwrap();
    assert_eq!(embeddings.len(), 2);
    for embedding in embeddings {
        let squares: f32 = numbers(embedding).iter().map(|value| value * value).sum();
        // f32 rounding of 192 elements.
        assert!((squares - 1.0).abs() < 1e-5);
    }
}

#[test]
fn the_built_in_model_leaves_nothing_behind_also_after_an_error() {
    let folder = tempfile::tempdir().unwrap();
    for (arguments, code) in [(["embed", "a"], 0), (["embed", "--dimensions=0"], 1)] {
        let mut program = program();
        program
            .env("TMPDIR", folder.path())
            .args(arguments)
            .arg("b");
        assert_eq!(finish(&mut program).code, code);
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0);
    }
}

#[test]
fn the_built_in_model_is_models_tiny() {
    let built_in = run(&["embed", "--device", "cpu", "one"]).json();
    let from_directory = on_tiny(&["embed", "one"]);
    assert_eq!(from_directory.stderr, "");
    assert_eq!(from_directory.json()["model"], "tiny");
    assert_eq!(built_in["embeddings"], from_directory.json()["embeddings"]);
}

#[test]
fn golden_token_ids_give_the_reference_s_vectors() {
    let golden = fs::read_to_string(tiny().join("golden.json")).unwrap();
    let golden: Value = serde_json::from_str(&golden).unwrap();
    let cases = golden["cases"].as_array().unwrap();
    let ids = |case: &Value| case["ids"].to_string().replace(['[', ']'], "");
    let ids: Vec<_> = cases
        .iter()
        .map(|case| format!("--token-ids={}", ids(case)))
        .collect();
    let args: Vec<_> = ["embed"]
        .into_iter()
        .chain(ids.iter().map(String::as_str))
        .collect();
    let result = on_tiny(&args).json();
    for (index, case) in cases.iter().enumerate() {
        assert_eq!(
            result["tokens"][index],
            case["ids"].as_array().unwrap().len()
        );
        let found = numbers(&result["embeddings"][index]);
        let hidden = numbers(&case["hidden"]);
        let length = hidden.iter().map(|value| value * value).sum::<f32>().sqrt();
        let expected: Vec<_> = hidden.iter().map(|value| value / length).collect();
        let cosine: f32 = expected.iter().zip(&found).map(|(a, b)| a * b).sum();
        // The order of f32 sums differs between the libraries.
        assert!(cosine > 0.99999, "case {index}: cosine {cosine}");
        for (expected, found) in expected.iter().zip(&found) {
            assert!((expected - found).abs() < 1e-4, "case {index}");
        }
    }
}

#[test]
fn all_formats_hold_the_same_bits() {
    let in_format = |format| on_tiny(&[&["embed", "--format", format], &TEXTS[..]].concat());
    let object = in_format("json").json();
    let rows = object["embeddings"].as_array().unwrap();
    let expected: Vec<u32> = rows.iter().flat_map(numbers).map(f32::to_bits).collect();

    let lines = in_format("jsonl");
    let lines: Vec<Value> = lines
        .stdout()
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    let found = lines
        .iter()
        .flat_map(|line| numbers(&line["embedding"]))
        .map(f32::to_bits);
    assert_eq!(found.collect::<Vec<_>>(), expected);
    for (index, line) in lines.iter().enumerate() {
        assert_eq!(line["index"], index);
        assert_eq!(line["tokens"], object["tokens"][index]);
        assert_eq!(line["truncated"], object["truncated"][index]);
    }

    let (shape, found) = npy(&in_format("npy").stdout);
    assert_eq!(shape, [TEXTS.len(), 192]);
    assert_eq!(
        found.into_iter().map(f32::to_bits).collect::<Vec<_>>(),
        expected
    );
}

#[test]
fn every_source_of_the_same_texts_gives_the_same_output() {
    let folder = tempfile::tempdir().unwrap();
    let plain = format!("{}\n", TEXTS.join("\n"));
    let windows = TEXTS.join("\r\n");
    let objects: String = TEXTS
        .iter()
        .map(|text| format!("{}\n", json!({"id": 1, "text": text})))
        .collect();
    let expected = on_tiny(&[&["embed"], &TEXTS[..]].concat()).json();
    let tiny = tiny();
    for content in [plain, windows, objects] {
        let file = folder.path().join("texts");
        fs::write(&file, &content).unwrap();
        assert_eq!(
            on_tiny(&["embed", "--input", file.to_str().unwrap()]).json(),
            expected
        );
        let model = ["--model", tiny.to_str().unwrap(), "--device", "cpu"];
        let args = [&["embed", "--input", "-"], &model[..]].concat();
        assert_eq!(run_on(content.as_bytes(), &args).json(), expected);
    }
}

#[test]
fn prompts_are_put_before_texts() {
    let tokens = |args: &[&str]| {
        let result = on_tiny(&[&["embed", "--no-normalize"], args].concat()).json();
        (
            result["tokens"][0].as_u64().unwrap(),
            result["embeddings"].clone(),
        )
    };
    let task = "Given a web search query, retrieve relevant passages that answer the query";
    let bare = tokens(&["x"]);
    let query = tokens(&["--query", "x"]);
    assert!(query.0 > bare.0);
    assert_eq!(query, tokens(&["--prompt", "query", "x"]));
    assert_eq!(query, tokens(&["--instruct", task, "x"]));
    assert_eq!(query, tokens(&[&format!("Instruct: {task}\nQuery:x")]));
    assert_eq!(bare, tokens(&["--prompt", "document", "x"]));
}

#[test]
fn options_reach_the_library() {
    let result = on_tiny(&["embed", "--dimensions", "8", "x"]).json();
    assert_eq!(numbers(&result["embeddings"][0]).len(), 8);

    let result = on_tiny(&["embed", "--no-normalize", "x"]).json();
    assert_eq!(result["normalized"], false);

    let cut = [
        "embed",
        "--truncate",
        "end",
        "--max-tokens",
        "3",
        "a b c d e f",
        "a",
    ];
    let result = on_tiny(&cut).json();
    assert_eq!(result["truncated"], json!([true, false]));
    assert_eq!(result["tokens"][0], 3);

    let special = "<|endoftext|>";
    let plain = on_tiny(&["embed", special]).json();
    let parsed = on_tiny(&["embed", "--parse-special-tokens", special]).json();
    assert_eq!(parsed["tokens"], json!([2]));
    assert!(plain["tokens"][0].as_u64() > Some(2));

    let result = on_tiny(&["embed", "--backend", "mlx", "--precision", "bf16", "x"]).json();
    assert_eq!(result["backend"]["precision"], "bf16");
}

#[test]
fn the_model_comes_from_the_option_then_the_environment_then_the_program() {
    let tiny = tiny();
    let name = |variable: &str, args: &[&str]| {
        let mut program = program();
        program
            .env("QWEN3_EMBED_MODEL", variable)
            .args(["embed", "x"])
            .args(args);
        finish(&mut program).json()["model"].clone()
    };
    assert_eq!(name(tiny.to_str().unwrap(), &[]), "tiny");
    assert_eq!(
        name("no such model", &["--model", tiny.to_str().unwrap()]),
        "tiny"
    );
    assert_eq!(name("", &[]), "built-in/tiny");
}
