//! `similarity`: cosines of a query with documents, best first.
#![cfg(feature = "mlx")]
#![allow(clippy::unwrap_used, reason = "helpers of tests")]

mod support;

use serde_json::Value;
use support::{NOTE, numbers, on_tiny, run};

const DOCUMENTS: [&str; 4] = ["red", "green\nand blue", "red", "a house by the sea"];

fn ranked(args: &[&str]) -> Vec<Value> {
    let fixed = ["similarity", "--query", "colour", "--format", "json"];
    let result = on_tiny(&[&fixed, args, &DOCUMENTS[..]].concat()).json();
    assert_eq!(result["query"], "colour");
    result["results"].as_array().unwrap().clone()
}

/// The cosine as `embed` gives it, from vectors made in runs of their own.
fn cosine(role: &[&str], document: &str, dimensions: &str) -> f64 {
    let embed = |args: &[&str]| {
        let args = [&["embed", "--dimensions", dimensions], args].concat();
        numbers(&on_tiny(&args).json()["embeddings"][0])
    };
    let (query, document) = (embed(&[role, &["colour"]].concat()), embed(&[document]));
    query
        .iter()
        .zip(&document)
        .map(|(&a, &b)| f64::from(a) * f64::from(b))
        .sum()
}

fn check(results: &[Value], role: &[&str], dimensions: &str) {
    assert_eq!(results.len(), DOCUMENTS.len());
    let scores: Vec<_> = results
        .iter()
        .map(|result| result["score"].as_f64().unwrap())
        .collect();
    assert!(scores.is_sorted_by(|a, b| a >= b), "{scores:?}");
    for (result, score) in results.iter().zip(scores) {
        let document = DOCUMENTS[usize::try_from(result["index"].as_u64().unwrap()).unwrap()];
        assert_eq!(result["text"], document);
        // f32 rounding, and sums in another order in a batch.
        assert!((score - cosine(role, document, dimensions)).abs() < 1e-5);
    }
}

#[test]
fn scores_are_cosines_of_the_prompted_query_with_bare_documents() {
    check(&ranked(&[]), &["--query"], "192");
}

#[test]
fn task_and_dimensions_change_the_vectors_that_are_compared() {
    let options = ["--instruct", "Name a colour", "--dimensions", "16"];
    check(&ranked(&options), &["--instruct", "Name a colour"], "16");
}

#[test]
fn equal_scores_stay_in_the_order_of_the_command_line() {
    let results = ranked(&[]);
    let twins: Vec<_> = results
        .iter()
        .filter(|result| result["text"] == "red")
        .collect();
    assert_eq!(twins[0]["score"], twins[1]["score"]);
    assert_eq!(
        (&twins[0]["index"], &twins[1]["index"]),
        (&0.into(), &2.into())
    );
}

#[test]
fn the_table_has_the_same_order_and_one_line_a_document() {
    let outcome = on_tiny(&[&["similarity", "--query", "colour"], &DOCUMENTS[..]].concat());
    let mut expected = "rank    score  text\n".to_owned();
    for (result, rank) in ranked(&[]).iter().zip(1..) {
        let score = result["score"].as_f64().unwrap();
        let text = result["text"].as_str().unwrap().replace('\n', " ");
        expected += &format!("{rank:>4}  {score:>7.4}  {text}\n");
    }
    assert_eq!(outcome.stdout(), expected);
    assert_eq!(outcome.stderr, "");
}

#[test]
fn out_of_the_box_the_model_cards_queries_rank_their_documents_first() {
    let gravity = "Gravity is a force that attracts two bodies towards each other. It gives weight \
         to physical objects and is responsible for the movement of planets around the sun.";
    let beijing = "The capital of China is Beijing.";
    for (query, first) in [
        ("What is the capital of China?", beijing),
        ("Explain gravity", gravity),
    ] {
        for documents in [[beijing, gravity], [gravity, beijing]] {
            let args = ["similarity", "--device", "cpu", "--format", "json"];
            let outcome = run(&[&args[..], &["--query", query], &documents].concat());
            assert_eq!(outcome.stderr, NOTE);
            assert_eq!(outcome.json()["results"][0]["text"], first, "{query}");
        }
    }
}
