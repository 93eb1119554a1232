//! The provider keeps the consumer's contract, to the letter.
#![cfg(all(feature = "service", any(feature = "mlx", feature = "onnx")))]
#![allow(clippy::unwrap_used)]

mod support;

use std::sync::Arc;
use std::time::Duration;

use qwen3_embedding::provider::*;
use qwen3_embedding::service::*;
use qwen3_embedding::{EmbedOptions, Precision, Prompt};
use serde_json::json;
use support::*;

const TEXTS: [&str; 4] = [
    "Gravity pulls two bodies together.",
    "a",
    "The capital of China is Beijing, and that of France is Paris.",
    "\u{4f60}\u{597d}",
];

fn service(options: ServiceOptions) -> Service {
    let make = || builder(&tiny(), BACKENDS[0], Precision::F32).build();
    Service::load(make, options).unwrap()
}

fn provider() -> Qwen3EmbeddingProvider {
    Qwen3EmbeddingProvider::new(service(ServiceOptions::default().alias("Qwen3 0.6B/alias")))
}

fn ask(inputs: &[&str]) -> BatchEmbeddingRequest {
    BatchEmbeddingRequest {
        model: "tiny".to_owned(),
        inputs: inputs.iter().map(|&text| text.to_owned()).collect(),
        normalize: false,
    }
}

/// The library's own rows, which other tests compare with the reference.
fn expected(options: &EmbedOptions) -> Vec<Vec<f32>> {
    let mut embedder = open(&tiny(), BACKENDS[0], Precision::F32);
    let rows = embedder.embed(&TEXTS, options).unwrap();
    rows.iter().map(<[f32]>::to_vec).collect()
}

/// One forward pass or another: f32 rows agree to DESIGN's bound on elements of length-1 rows.
fn assert_rows(found: &[Vec<f32>], expected: &[Vec<f32>]) {
    assert_eq!(found.len(), expected.len());
    for (found, expected) in found.iter().zip(expected) {
        assert!(cosine(found, expected) >= 0.99999);
        let scale = expected.iter().fold(1.0f32, |most, v| most.max(v.abs()));
        assert!(max_abs_error(found, expected) <= 1e-5 * scale);
    }
}

/// The name under which the consumer holds it.
type Held = Arc<dyn EmbeddingProvider + Send + Sync>;

async fn order_and_normalisation(provider: Held) {
    let raw_rows = provider.embed_batch(ask(&TEXTS)).await.unwrap();
    assert_rows(&raw_rows.embeddings, &expected(&raw()));
    let normalized = BatchEmbeddingRequest {
        normalize: true,
        ..ask(&TEXTS)
    };
    let answer = provider.embed_batch(normalized).await.unwrap();
    assert_rows(&answer.embeddings, &expected(&EmbedOptions::default()));
    assert_eq!(answer.model, "tiny");
    let mut embedder = open(&tiny(), BACKENDS[0], Precision::F32);
    let tokens = embedder.embed(&TEXTS, &raw()).unwrap();
    let total: usize = tokens.tokens().iter().sum();
    assert_eq!(answer.usage.total_tokens, total);
}

#[test]
fn rows_come_in_order_on_every_kind_of_runtime() {
    // Without timers or I/O: a consumer's runtime may lack them.
    let current = tokio::runtime::Builder::new_current_thread().build();
    let multi = tokio::runtime::Builder::new_multi_thread().build();
    for runtime in [current.unwrap(), multi.unwrap()] {
        runtime.block_on(order_and_normalisation(Arc::new(provider())));
    }
}

#[test]
fn a_provider_can_be_held_by_any_thread_for_ever() {
    fn held<T: Send + Sync + 'static>() {}
    held::<Qwen3EmbeddingProvider>();
    held::<Held>();
    held::<Service>();
}

#[tokio::test]
async fn an_empty_batch_a_blank_input_and_too_many_are_invalid() {
    let provider = provider().max_inputs(3);
    for (inputs, reason) in [
        (vec![], "the request is empty: expected at least one input"),
        (vec!["a", ""], "input 1: the text is blank"),
        (vec![" \t\n\u{3000}"], "input 0: the text is blank"),
        (vec!["a"; 4], "inputs: expected 1..=3, found 4"),
    ] {
        assert_eq!(
            provider.embed_batch(ask(&inputs)).await.unwrap_err(),
            EmbeddingError::InvalidInput(reason.to_owned())
        );
    }
    provider.embed_batch(ask(&["a"; 3])).await.unwrap();
}

#[tokio::test]
async fn a_text_that_is_too_long_is_invalid_and_names_the_input() {
    let long = "word ".repeat(40_000);
    let error = provider().embed_batch(ask(&["a", &long])).await;
    let Err(EmbeddingError::InvalidInput(reason)) = error else {
        panic!("expected invalid input, found {error:?}");
    };
    assert!(reason.starts_with("input 1: "), "{reason}");
}

#[tokio::test]
async fn more_than_the_consumers_32_inputs_are_taken_by_default() {
    let answer = provider().embed_batch(ask(&["a"; 100])).await.unwrap();
    assert_eq!(answer.embeddings.len(), 100);
}

#[tokio::test]
async fn another_model_is_not_found_and_the_alias_is_accepted_verbatim() {
    let provider = provider();
    let named = |model: &str| BatchEmbeddingRequest {
        model: model.to_owned(),
        ..ask(&["a"])
    };
    let answer = provider.embed_batch(named("Qwen3 0.6B/alias")).await;
    assert_eq!(answer.unwrap().model, "Qwen3 0.6B/alias");
    for other in ["", "TINY", "qwen3 0.6B/alias", " tiny"] {
        assert_eq!(
            provider.embed_batch(named(other)).await.unwrap_err(),
            EmbeddingError::ModelNotFound(other.to_owned())
        );
    }
}

#[tokio::test]
async fn model_info_names_the_alias_and_what_the_vectors_really_are() {
    let provider = provider();
    let info = provider.model_info().await.unwrap();
    assert_eq!(info.model, "Qwen3 0.6B/alias");
    let config = open(&tiny(), BACKENDS[0], Precision::F32).config().clone();
    assert_eq!(info.dimension as usize, config.hidden_size());
    assert_eq!(info.max_tokens, config.context());
    let cut = provider.options(EmbedOptions::default().dimensions(16));
    assert_eq!(cut.model_info().await.unwrap().dimension, 16);
    let answer = cut.embed_batch(ask(&["a"])).await.unwrap();
    assert_eq!(answer.embeddings[0].len(), 16);
}

#[tokio::test]
async fn a_second_provider_of_the_same_service_embeds_queries() {
    let documents = provider();
    let query = EmbedOptions::default().prompt(Prompt::Query);
    let queries = Qwen3EmbeddingProvider::new(documents.service().clone()).options(query.clone());
    let answer = queries.embed_batch(ask(&TEXTS)).await.unwrap();
    let normalization = qwen3_embedding::Normalization::None;
    assert_rows(
        &answer.embeddings,
        &expected(&query.normalization(normalization)),
    );
}

#[tokio::test]
async fn overload_loading_and_the_end_are_unavailable() {
    let full = Qwen3EmbeddingProvider::new(service(ServiceOptions::default().queue_inputs(8)));
    // More than fit at once: the rest is told so, and nobody gets anything else.
    let asked = (0..64).map(|_| {
        let full = full.clone();
        tokio::spawn(async move { full.embed_batch(ask(&TEXTS)).await })
    });
    let mut refused = 0;
    for answer in asked.collect::<Vec<_>>() {
        match answer.await.unwrap() {
            Ok(answer) => assert_eq!(answer.embeddings.len(), TEXTS.len()),
            Err(EmbeddingError::ServiceUnavailable(_)) => refused += 1,
            Err(other) => panic!("expected an answer or overload, found {other}"),
        }
    }
    assert!(refused > 0);
    full.health_check().await.unwrap();
    full.service().shutdown(Duration::from_secs(60)).await;
    let unavailable = EmbeddingError::ServiceUnavailable("the service is shutting down".to_owned());
    assert_eq!(full.health_check().await.unwrap_err(), unavailable);
    assert_eq!(
        full.embed_batch(ask(&["a"])).await.unwrap_err(),
        unavailable
    );

    let (go, wait) = std::sync::mpsc::channel::<()>();
    let make = move || {
        let _ = wait.recv();
        builder(&tiny(), BACKENDS[0], Precision::F32).build()
    };
    let service = Service::start(make, ServiceOptions::default()).unwrap();
    let early = Qwen3EmbeddingProvider::new(service);
    for error in [
        early.health_check().await.unwrap_err(),
        early.model_info().await.unwrap_err(),
        early.embed_batch(ask(&["a"])).await.unwrap_err(),
    ] {
        let reason = "unavailable: the model is being loaded".to_owned();
        assert_eq!(error, EmbeddingError::ServiceUnavailable(reason));
    }
    go.send(()).unwrap();
    early.service().loaded().await.unwrap();
    early.health_check().await.unwrap();
}

#[test]
fn the_types_have_the_consumers_json() {
    let request: BatchEmbeddingRequest =
        serde_json::from_value(json!({"model": "m", "inputs": ["a"]})).unwrap();
    assert!(!request.normalize, "the consumer's default");
    assert_eq!(
        serde_json::to_value(&request).unwrap(),
        json!({"model": "m", "inputs": ["a"], "normalize": false})
    );
    let response = BatchEmbeddingResponse {
        model: "m".to_owned(),
        embeddings: vec![vec![0.5, 1.0]],
        usage: Usage {
            total_tokens: 2,
            duration_ms: 3,
        },
    };
    assert_eq!(
        serde_json::to_value(&response).unwrap(),
        json!({
            "model": "m",
            "embeddings": [[0.5, 1.0]],
            "usage": {"total_tokens": 2, "duration_ms": 3},
        })
    );
    let info = ModelInfo {
        model: "m".to_owned(),
        dimension: 64,
        max_tokens: 512,
    };
    assert_eq!(
        serde_json::to_value(&info).unwrap(),
        json!({"model": "m", "dimension": 64, "max_tokens": 512})
    );
    for error in [
        EmbeddingError::ModelNotFound("x".to_owned()),
        EmbeddingError::InvalidInput("x".to_owned()),
        EmbeddingError::ServiceUnavailable("x".to_owned()),
        EmbeddingError::Internal("x".to_owned()),
    ] {
        let text = serde_json::to_string(&error).unwrap();
        assert_eq!(
            serde_json::from_str::<EmbeddingError>(&text).unwrap(),
            error
        );
    }
}
