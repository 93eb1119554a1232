//! `bench`: real runs of a few rounds on the built-in model, their output and what they refuse.
#![cfg(all(feature = "bench", feature = "onnx"))]
#![allow(clippy::unwrap_used, reason = "helpers of tests")]

mod support;

use std::fs;

use serde_json::Value;
use support::{Outcome, on_tiny, run};
use tempfile::tempdir;

const FEW: [&str; 7] = [
    "bench",
    "--lengths",
    "8,16",
    "--batch",
    "1,2",
    "--rounds",
    "2",
];

fn bench(more: &[&str]) -> Outcome {
    on_tiny(&[FEW.as_slice(), &["--mixed", "3"], more].concat())
}

fn numbers(value: &Value) -> Vec<f64> {
    value
        .as_array()
        .unwrap()
        .iter()
        .map(|n| n.as_f64().unwrap())
        .collect()
}

#[test]
fn each_case_is_timed_and_its_tokens_are_counted() {
    let report = bench(&["--json"]).json();
    assert_eq!(report["backend"]["name"], "onnx");
    assert!(report["machine"]["processors"].as_u64().unwrap() >= 1);
    let cases = report["cases"].as_array().unwrap();
    let names: Vec<_> = cases
        .iter()
        .map(|case| case["case"].as_str().unwrap())
        .collect();
    assert_eq!(names, ["1x8", "2x8", "1x16", "2x16", "mixed", "queries"]);
    for (case, tokens) in cases.iter().zip([8.0, 16.0, 16.0, 32.0]) {
        assert_eq!(case["tokens"]["useful"], tokens, "{case}");
        assert_eq!(case["tokens"]["computed"], tokens, "{case}");
        assert_eq!(case["padding_ratio"], 1.0);
    }
    for case in cases {
        let times = numbers(&case["ms"]["all"]);
        // Two rounds; the queries are eight, one at a time.
        let requests = if case["case"] == "queries" { 16 } else { 2 };
        assert_eq!(times.len(), requests);
        assert!(times.is_sorted());
        assert_eq!(case["ms"]["p95"], *times.last().unwrap());
        let (host, median) = (&case["host_ms"], case["ms"]["median"].as_f64().unwrap());
        let part = |name: &str| host[name].as_f64().unwrap();
        assert!(
            part("total") > 0.0 && part("total") < times[times.len() - 1],
            "{case}"
        );
        assert!(part("tokenise") > 0.0 && part("finish") > 0.0 && part("plan") > 0.0);
        let per_second = case["tokens_per_second"]["useful"].as_f64().unwrap();
        let expected = case["tokens"]["useful"].as_f64().unwrap() / median * 1e3;
        assert!((per_second - expected).abs() < 1e-6 * expected);
        if cfg!(target_os = "linux") {
            // The weights alone are more.
            assert!(case["peak_bytes"].as_u64().unwrap() > 10 << 20);
        }
    }
}

#[test]
fn a_table_and_charts_are_for_reading() {
    let dir = tempdir().unwrap();
    for name in ["chart.svg", "chart.html"] {
        let path = dir.path().join(name);
        let outcome = bench(&["--chart", path.to_str().unwrap()]);
        let table = outcome.stdout();
        for head in ["median ms", "p95 ms", "host ms", "\n2x16 ", "\nqueries "] {
            assert!(table.contains(head), "{head:?} is not in {table}");
        }
        let chart = fs::read_to_string(&path).unwrap();
        assert!(
            chart.contains("<svg") && chart.contains("16 tokens"),
            "{chart}"
        );
        assert_eq!(chart.contains("<!doctype html>"), name.ends_with("html"));
        assert!(chart.contains("ms of a request by percentile"));
    }
    let refused = bench(&["--chart", "chart.png"]);
    assert_eq!(refused.code, 2);
    assert!(
        refused
            .stderr
            .contains("ends in .svg or .html, found chart.png")
    );
}

#[test]
fn queries_behind_a_kept_prompt_compute_less_of_it() {
    let queries = |more: &[&str]| {
        let report = bench(&[&["--json"], more].concat()).json();
        let queries = report["cases"].as_array().unwrap().last().unwrap().clone();
        assert_eq!(queries["case"], "queries");
        let tokens = |which: &str| queries["tokens"][which].as_f64().unwrap();
        (tokens("useful"), tokens("computed"))
    };
    let (useful, computed) = queries(&[]);
    assert!(computed < useful / 2.0, "{computed} of {useful}");
    let (useful, computed) = queries(&["--prefix-cache-bytes", "0"]);
    assert!(computed >= useful, "{computed} of {useful}");
}

#[test]
fn queries_of_a_file_take_the_place_of_ours() {
    let dir = tempdir().unwrap();
    let path = dir.path().join("queries.txt");
    fs::write(&path, "capital of China\ngravity\nwhat is water\n").unwrap();
    let report = bench(&["--json", "--queries", path.to_str().unwrap()]).json();
    let queries = report["cases"].as_array().unwrap().last().unwrap().clone();
    assert_eq!(queries["case"], "queries");
    assert_eq!(numbers(&queries["ms"]["all"]).len(), 6);
}

#[test]
fn a_baseline_of_the_same_machine_and_model_gives_ratios_and_no_other_does() {
    let dir = tempdir().unwrap();
    let path = dir.path().join("before.json");
    let file = path.to_str().unwrap();
    let before = bench(&["--json"]).json();
    let against = |report: &Value, more: &[&str]| {
        fs::write(&path, report.to_string()).unwrap();
        bench(&[&["--baseline", file], more].concat())
    };
    let table = against(&before, &["--precision", "f32"]);
    assert!(
        table.stdout().contains("times faster\n"),
        "{}",
        table.stdout()
    );
    assert!(table.stdout().contains("\ntimes faster than onnx 1."));

    let refused = |change: &dyn Fn(&mut Value)| {
        let mut changed = before.clone();
        change(&mut changed);
        let outcome = against(&changed, &[]);
        assert_eq!(outcome.code, 1);
        assert!(outcome.stdout.is_empty());
        outcome.stderr
    };
    for (error, part) in [
        (
            refused(&|report| report["machine"]["processor"] = "another".into()),
            "cannot be compared: its machine is another, ",
        ),
        (
            refused(&|report| report["model"]["revision"] = "content:0".into()),
            "cannot be compared: its model is content:0, this one's content:",
        ),
        (
            refused(&|report| report["cases"][0]["tokens"]["useful"] = 7.0.into()),
            "its case 1x8 is 7 tokens, this one's 8 tokens",
        ),
        (
            refused(&|report| {
                report["cases"].as_array_mut().unwrap().truncate(1);
                report["cases"][0]["case"] = "4x4".into();
            }),
            "the baseline has none of these cases, but 4x4",
        ),
        (
            refused(&|report| *report = Value::Null),
            "before.json: expected the output of `qwen3-embed bench --json`: ",
        ),
    ] {
        assert!(error.contains(part), "{part:?} is not in {error}");
    }
}

#[test]
fn queries_that_arrive_at_a_rate_are_all_answered() {
    let args = ["bench", "qps", "--rate", "20", "--seconds", "2"];
    let report = on_tiny(&[args.as_slice(), &["--json", "--target", "60000"]].concat()).json();
    // A Poisson process of the same seed is the same each time.
    let sent = report["sent"].as_u64().unwrap();
    assert!((20..=60).contains(&sent), "{sent}");
    assert_eq!(report["answered"], sent);
    assert_eq!(report["refusal"], Value::Null);
    let [p50, p95, p99, max] =
        ["p50", "p95", "p99", "max"].map(|p| report["ms"][p].as_f64().unwrap());
    assert!(0.0 < p50 && p50 <= p95 && p95 <= p99 && p99 <= max);
    assert_eq!(report["within_target"], true);
    let missed = on_tiny(&[args.as_slice(), &["--target", "0.0001"]].concat());
    assert!(
        missed
            .stdout()
            .contains("p95 within 0.0001 ms at 20 queries/s: missed")
    );
    for rate in ["0", "-1", "nan", "x"] {
        let refused = run(&["bench", "qps", &format!("--rate={rate}")]);
        assert_eq!(refused.code, 2);
        let expected = format!("expected 0.01 to 100000, found \"{rate}\"");
        assert!(refused.stderr.contains(&expected), "{}", refused.stderr);
    }
}

#[test]
fn a_start_is_told_by_its_parts() {
    let args = ["bench", "start", "--rounds", "1", "--json"];
    let report = on_tiny(&args).json();
    let warm = &report["warm"];
    assert_eq!(warm["starts"], 1);
    let parts = warm["parts_ms"].as_array().unwrap();
    let names: Vec<_> = parts.iter().map(|part| part[0].as_str().unwrap()).collect();
    let expected = [
        "process",
        "map",
        "tokenizer",
        "library",
        "convert",
        "build",
        "tune",
        "identify",
        "other",
        "first vector",
    ];
    assert_eq!(names, expected);
    let times: Vec<f64> = parts.iter().map(|part| part[1].as_f64().unwrap()).collect();
    // So small a model is not measured.
    let none = |part: usize| expected[part] == "tune";
    let mut times_of = times.iter().enumerate();
    assert!(
        times_of.all(|(part, &time)| (time == 0.0) == none(part)),
        "{parts:?}"
    );
    // Of one start, the parts are the whole.
    let total = warm["total_ms"].as_f64().unwrap();
    assert!((times.iter().sum::<f64>() - total).abs() < 1e-6 * total);
    match report["cold"] {
        Value::Null => assert!(report["cold_doubt"].is_string()),
        _ => assert_eq!(report["cold"]["starts"], 1),
    }
}

#[test]
fn a_start_that_fails_says_why() {
    let outcome = run(&["bench", "start", "--model", "/nowhere/at/all"]);
    assert_eq!(outcome.code, 1);
    assert!(
        outcome.stderr.contains("was not found"),
        "{}",
        outcome.stderr
    );
    let dir = tempdir().unwrap();
    let outcome = run(&["bench", "start", "--model", dir.path().to_str().unwrap()]);
    assert_eq!(outcome.code, 1);
    let [first, second] = ["config.json", "a start failed: exit status: 1"];
    assert!(
        outcome.stderr.contains(first) && outcome.stderr.contains(second),
        "{}",
        outcome.stderr
    );
}
