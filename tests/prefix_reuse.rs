//! A query behind a prompt whose keys and values are kept has the vector of the whole sequence.
#![cfg(any(feature = "mlx", feature = "onnx"))]
#![allow(clippy::unwrap_used)]

mod support;

use std::fs;

use qwen3_embedding::{BackendChoice, EmbedOptions, Embedder, Precision, Prompt, Truncation};
use serde_json::{Value, json};
use support::*;
use tempfile::TempDir;

const QUERIES: usize = 500;

/// Numbers without a pattern, the same in each run.
struct Random(u64);

impl Random {
    fn below(&mut self, limit: usize) -> usize {
        self.0 = self
            .0
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1);
        (self.0 >> 33) as usize % limit
    }

    fn of<'a>(&mut self, all: &[&'a str]) -> &'a str {
        all[self.below(all.len())]
    }

    /// Up to 30 words behind one of the beginnings that a tokenizer may join to the colon which
    /// ends a prompt; every tenth is empty.
    fn query(&mut self) -> String {
        const FIRST: [&str; 10] = ["", "", " ", ":", "::", ":)", "\n", "\n\n", "//", "\u{4f60}"];
        const WORDS: [&str; 10] = [
            "gravity",
            "pulls",
            "two",
            "bodies",
            ":",
            "\n",
            "the capital",
            "of",
            "China",
            "7.5",
        ];
        if self.below(10) == 0 {
            return String::new();
        }
        let mut text = self.of(&FIRST).to_owned();
        for _ in 0..self.below(30) {
            text += self.of(&WORDS);
            text += self.of(&["", " ", " "]);
        }
        text
    }
}

/// The invariance bound: cosine >= 0.9999 at every precision; in f32 also 1e-5 on normalised
/// elements.
fn assert_same(kept: &[f32], whole: &[f32], precision: Precision, query: &str) {
    let similarity = cosine(kept, whole);
    let error = max_abs_error(&normalized(kept), &normalized(whole));
    let most = match precision {
        Precision::F32 => 1e-5,
        _ => f32::INFINITY,
    };
    assert!(
        similarity >= 0.9999 && error <= most,
        "{query:?} {precision:?}: cosine {similarity}, error {error}"
    );
}

/// Vectors of texts that are run one by one, whole.
fn whole(embedder: &mut Embedder, queries: &[String], options: &EmbedOptions) -> Vec<Vec<f32>> {
    let alone = |query: &String| {
        let vectors = embedder.embed(&[query.as_str()], options).unwrap();
        vectors.row(0).unwrap().to_vec()
    };
    queries.iter().map(alone).collect()
}

fn for_each(body: impl Fn(BackendChoice, Precision)) {
    for &backend in BACKENDS {
        for precision in [Precision::F32, Precision::Int8, Precision::Bf16] {
            if supports(backend, precision) {
                body(backend, precision);
            }
        }
    }
}

/// Compares queries in requests of one to eight with the same ones alone and whole.
fn check(dir: &std::path::Path, backend: BackendChoice, precision: Precision) {
    let mut random = Random(7);
    let queries: Vec<String> = (0..QUERIES).map(|_| random.query()).collect();
    let options = raw().prompt(Prompt::Query);
    let mut alone = builder(dir, backend, precision).prefix_cache_bytes(0);
    let expected = whole(&mut alone.build().unwrap(), &queries, &options);
    alone = builder(dir, backend, precision);
    let mut embedder = alone.build().unwrap();
    let mut begin = 0;
    while begin < queries.len() {
        let end = (begin + 1 + random.below(8)).min(queries.len());
        let texts: Vec<&str> = queries[begin..end].iter().map(String::as_str).collect();
        let vectors = embedder.embed(&texts, &options).unwrap();
        for (place, row) in (begin..end).zip(vectors.iter()) {
            assert_same(row, &expected[place], precision, &queries[place]);
        }
        begin = end;
    }
    let work = embedder.work();
    assert!(work.prefix_bytes > 0, "{work:?}");
    assert!(work.prefix_hits > 20 * work.prefix_misses, "{work:?}");
    assert!(work.saved_tokens > work.computed_tokens / 2, "{work:?}");
}

#[test]
fn queries_behind_a_kept_prompt_equal_whole_sequences() {
    for_each(|backend, precision| check(&tiny(), backend, precision));
}

/// A tokenizer of bytes that joins a colon to what follows it and to a space before it.
fn joining_tokenizer() -> Value {
    // As byte-level BPE writes them: printable bytes as themselves, the others from 256 on.
    let printable = |byte: u32| matches!(byte, 33..=126 | 161..=172 | 174..=255);
    let mut next = 256;
    let mut tokens = Vec::new();
    for byte in 0..256 {
        let code = match printable(byte) {
            true => byte,
            false => {
                next += 1;
                next - 1
            }
        };
        tokens.push(char::from_u32(code).unwrap().to_string());
    }
    let merges = [
        [":", "g"],
        [":", ":"],
        [":", "\u{10a}"],
        ["\u{10a}", "\u{10a}"],
    ];
    let ids = tokens.iter().cloned().zip(0..);
    let joined = merges.iter().map(|pair| pair.concat()).zip(256..);
    let vocab: serde_json::Map<String, Value> = ids
        .chain(joined)
        .map(|(token, id)| (token, json!(id)))
        .collect();
    let mut tokenizer = minimal_tokenizer();
    tokenizer["added_tokens"][0]["id"] = json!(vocab.len());
    tokenizer["model"]["vocab"] = Value::Object(vocab);
    tokenizer["model"]["merges"] = json!(merges);
    tokenizer
}

#[test]
fn a_tokenizer_that_joins_the_prompts_last_character_to_the_text_changes_no_vector() {
    let dir: TempDir = copy_dir(&root().join("tests/fixtures/parity/wide-hidden"));
    let tokenizer = joining_tokenizer().to_string();
    fs::write(dir.path().join("tokenizer.json"), tokenizer).unwrap();
    // A token is about a character.
    let config = dir.path().join("config.json");
    let mut values: Value = serde_json::from_slice(&fs::read(&config).unwrap()).unwrap();
    values["max_position_embeddings"] = json!(1024);
    fs::write(config, values.to_string()).unwrap();
    for_each(|backend, precision| check(dir.path(), backend, precision));
}

#[test]
fn instructions_in_turn_evict_each_other_and_change_no_vector() {
    for_each(|backend, precision| {
        let tasks = [
            "find it",
            "find what contradicts the claim",
            "tell apart",
            "sort",
        ];
        let prompts = tasks.map(|task| raw().prompt(Prompt::Task(task.to_owned())));
        let mut random = Random(3);
        let queries: Vec<String> = (0..6).map(|_| random.query()).collect();
        let mut alone = builder(&tiny(), backend, precision)
            .prefix_cache_bytes(0)
            .build()
            .unwrap();
        // Room for about two of the four.
        let mut probe = builder(&tiny(), backend, precision).build().unwrap();
        for options in &prompts {
            probe.embed(&["a"], options).unwrap();
        }
        let limit = probe.work().prefix_bytes / 2;
        let mut embedder = builder(&tiny(), backend, precision)
            .prefix_cache_bytes(limit)
            .build()
            .unwrap();
        for round in 0..20 {
            let options = &prompts[random.below(4)];
            let expected = whole(&mut alone, &queries, options);
            let texts: Vec<&str> = queries.iter().map(String::as_str).collect();
            let vectors = embedder.embed(&texts, options).unwrap();
            for ((row, expected), query) in vectors.iter().zip(&expected).zip(&queries) {
                assert_same(row, expected, precision, query);
            }
            assert!(embedder.work().prefix_bytes <= limit, "round {round}");
        }
        assert!(embedder.work().prefix_misses > 4);
    });
}

#[test]
fn token_ids_that_begin_with_the_query_prompt_reuse_it() {
    for &backend in BACKENDS {
        let mut random = Random(13);
        let queries: Vec<String> = (0..20).map(|_| random.query()).collect();
        let options = raw().prompt(Prompt::Query);
        let mut alone = builder(&tiny(), backend, Precision::F32)
            .prefix_cache_bytes(0)
            .build()
            .unwrap();
        let expected = whole(&mut alone, &queries, &options);
        let texts: Vec<&str> = queries.iter().map(String::as_str).collect();
        let sequences = alone.token_ids(&texts, &options).unwrap();

        let mut embedder = open(&tiny(), backend, Precision::F32);
        let vectors = embed_ids(&mut embedder, &sequences);
        for ((row, expected), query) in vectors.iter().zip(&expected).zip(&queries) {
            assert_same(row, expected, Precision::F32, query);
        }
        let work = embedder.work();
        assert!(work.saved_tokens > work.computed_tokens / 2, "{work:?}");

        // A few tokens of it are not the prompt.
        let mut embedder = open(&tiny(), backend, Precision::F32);
        embed_ids(&mut embedder, &[sequences[0][..4].to_vec()]);
        assert_eq!(embedder.work().prefix_misses, 0);
    }
}

#[test]
fn a_text_cut_within_its_prompt_runs() {
    for &backend in BACKENDS {
        let options = raw()
            .prompt(Prompt::Query)
            .truncation(Truncation::End)
            .max_tokens(7);
        let texts = ["gravity".to_owned(), "pulls".to_owned()];
        let mut alone = builder(&tiny(), backend, Precision::F32)
            .prefix_cache_bytes(0)
            .build()
            .unwrap();
        let expected = whole(&mut alone, &texts, &options);
        let vectors = whole(
            &mut open(&tiny(), backend, Precision::F32),
            &texts,
            &options,
        );
        for ((row, expected), text) in vectors.iter().zip(&expected).zip(&texts) {
            assert_same(row, expected, Precision::F32, text);
        }
    }
}

#[test]
fn equal_texts_in_one_request_are_computed_once() {
    for &backend in BACKENDS {
        let mut embedder = open(&tiny(), backend, Precision::F32);
        let one = embedder.embed(&["gravity"], &raw()).unwrap();
        let once = embedder.work().computed_tokens;
        let many = embedder.embed(&["gravity"; 40], &raw()).unwrap();
        assert_eq!(embedder.work().computed_tokens, 2 * once);
        assert!(many.iter().all(|row| row == one.row(0).unwrap()));
    }
}

#[cfg(feature = "service")]
#[test]
fn token_ids_in_a_service_reuse_the_query_prompt_too() {
    use qwen3_embedding::service::{Request, Service, ServiceOptions};
    for &backend in BACKENDS {
        let alone = open(&tiny(), backend, Precision::F32);
        let options = raw().prompt(Prompt::Query);
        let sequences = alone.token_ids(&["gravity"], &options).unwrap();
        let make = move || builder(&tiny(), backend, Precision::F32).build();
        let service = Service::load(make, ServiceOptions::default()).unwrap();
        let runtime = tokio::runtime::Runtime::new().unwrap();
        for _ in 0..2 {
            let request = Request::token_ids(sequences.clone());
            runtime.block_on(service.embed(request)).unwrap();
        }
        assert!(service.stats().saved_tokens > 0);
    }
}

/// Requests with different instructions share the device's batches.
#[cfg(feature = "service")]
#[test]
fn mixed_instructions_in_a_services_batches_change_no_vector() {
    use qwen3_embedding::service::{Request, Service, ServiceOptions};
    for &backend in BACKENDS {
        let mut random = Random(11);
        let tasks = ["find it", "sort", "tell apart"];
        let requests: Vec<(String, EmbedOptions)> = (0..60)
            .map(|_| {
                let options = match random.below(4) {
                    3 => raw(),
                    task => raw().prompt(Prompt::Task(tasks[task].to_owned())),
                };
                (random.query(), options)
            })
            .collect();
        let mut alone = builder(&tiny(), backend, Precision::F32)
            .prefix_cache_bytes(0)
            .build()
            .unwrap();
        let make = move || builder(&tiny(), backend, Precision::F32).build();
        let service = Service::load(make, ServiceOptions::default()).unwrap();
        let runtime = tokio::runtime::Runtime::new().unwrap();
        let answers = runtime.block_on(async {
            let asked = requests.iter().map(|(query, options)| {
                let request = Request::texts([query.clone()]).options(options.clone());
                let service = service.clone();
                tokio::spawn(async move { service.embed(request).await.unwrap() })
            });
            let mut answers = Vec::new();
            for asked in asked.collect::<Vec<_>>() {
                answers.push(asked.await.unwrap());
            }
            answers
        });
        for (answer, (query, options)) in answers.iter().zip(&requests) {
            let expected = whole(&mut alone, std::slice::from_ref(query), options);
            let row = answer.embeddings.row(0).unwrap();
            assert_same(row, &expected[0], Precision::F32, query);
        }
        assert!(service.stats().saved_tokens > 0);
    }
}
