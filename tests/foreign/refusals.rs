//! Graphs that cannot be served, each refused by its own reason before ONNX Runtime sees it.

use std::fs;
use std::path::Path;

use qwen3_embedding::{BackendChoice, Embedder, Error, OnnxModel, Pooling, Precision};
use serde_json::json;

use crate::onnx::*;
use crate::parity::layout;
use crate::support::*;

const MASK: &str = "attention_mask";

/// What is wrong with the file, without its path.
fn refused(file: &[u8]) -> String {
    let copy = model(&layout("bert-mean"), file);
    let error = OnnxModel::find(copy.path(), None, None).unwrap_err();
    assert!(
        matches!(error, Error::OnnxFile { .. } | Error::OnnxInterface { .. }),
        "{error:?}"
    );
    let path = copy.path().join("model.onnx").display().to_string();
    error.to_string().replace(&format!("{path}: "), "")
}

fn interface(inputs: &[Vec<u8>], outputs: &[Vec<u8>]) -> String {
    refused(&file(&graph(inputs, outputs, &[])))
}

fn with_input(input: Vec<u8>) -> String {
    let inputs = [usual_inputs(), vec![input]].concat();
    interface(&inputs, &[usual_output()])
}

fn with_output(output: Vec<u8>) -> String {
    interface(&usual_inputs(), &[output])
}

#[test]
fn the_usual_graph_is_bound() {
    let copy = model(&layout("bert-mean"), &usual(&[]));
    let found = OnnxModel::find(copy.path(), None, None).unwrap().unwrap();
    assert_eq!(found.config().hidden_size(), 16);
    assert_eq!(found.config().pooling(), Pooling::Mean);
    assert_eq!(found.weight_type(), "none");
}

#[test]
fn inputs_of_other_names_ranks_and_types() {
    assert_eq!(
        interface(&usual_inputs()[..1], &[usual_output()]),
        "attention_mask: expected one input of this name, found 0 among input_ids"
    );
    assert_eq!(
        with_input(value("pixel_values", FLOAT, &[0, 3, 224, 224])),
        "inputs: expected input_ids, attention_mask, token_type_ids, position_ids or \
         past_key_values.N.key and .value, found pixel_values"
    );
    assert_eq!(
        with_input(value("token_type_ids", FLOAT, &[0, 0])),
        "token_type_ids: expected elements of type int64 or int32, found float32 (type 1)"
    );
    for (shape, found) in [
        (&[0][..], "shape (any)"),
        (&[0, 0, 0], "shape (any, any, any)"),
        (&[0, 128], "shape (any, 128)"),
    ] {
        assert_eq!(
            with_input(value("position_ids", INT64, shape)),
            format!(
                "position_ids: expected shape (sequences, tokens) with any number of tokens, found {found}"
            )
        );
    }
    assert_eq!(
        with_input(value("token_type_ids", INT64, &[4, 0])),
        "token_type_ids: expected any number of sequences, or one, found shape (4, any)"
    );
    let past = "shape (sequences, heads, tokens of the past, head size), the second and last given";
    for (shape, found) in [
        (&[0, 0, 0, 8][..], "shape (any, any, any, 8)"),
        (&[0, 2, 0], "shape (any, 2, any)"),
        (&[0, 2, 5, 8], "shape (any, 2, 5, 8)"),
        (&[0, 1 << 40, 0, 8], "shape (any, 1099511627776, any, 8)"),
    ] {
        assert_eq!(
            with_input(value("past_key_values.0.key", FLOAT, shape)),
            format!("past_key_values.0.key: expected {past}, found {found}")
        );
    }
    assert_eq!(
        with_input(value("past_key_values.0.key", 11, &[0, 2, 0, 8])),
        "past_key_values.0.key: expected elements of type float or float16, found double (type 11)"
    );
    assert_eq!(
        with_input(value(MASK, INT64, &[0, 0])),
        "attention_mask: expected one input of this name, found 2 among input_ids, \
         attention_mask, attention_mask"
    );
}

#[test]
fn outputs_that_hold_no_embedding() {
    assert_eq!(
        with_output(value("logits", FLOAT, &[0, 0, 100])),
        "outputs: expected sentence_embedding, last_hidden_state or token_embeddings, found logits"
    );
    assert_eq!(
        with_output(value("last_hidden_state", FLOAT, &[0, 16])),
        "last_hidden_state: expected 3 dimensions, found shape (any, 16)"
    );
    assert_eq!(
        with_output(value("sentence_embedding", 3, &[0, 16])),
        "sentence_embedding: expected elements of type float or float16, found int8 (type 3)"
    );
    assert_eq!(
        with_output(value("last_hidden_state", FLOAT, &[0, 0, 24])),
        "last_hidden_state: expected rows of 16 elements, as config.json says, found 24"
    );
}

#[test]
fn operators_from_elsewhere_and_loops() {
    let node =
        |operator: &str, domain: &str| field(1, [field(4, operator), field(7, domain)].concat());
    assert_eq!(
        refused(&usual(&node("Tokenize", "ai.onnx.contrib"))),
        "not a usable ONNX file: operator \"Tokenize\" is of the domain \"ai.onnx.contrib\", which \
         would need a library of its own"
    );
    assert_eq!(
        refused(&usual(&node("Loop", ""))),
        "not a usable ONNX file: operator Loop may never end"
    );
    // Within the branch of an operator, too.
    let branch = field(5, field(6, node("Scan", "")));
    assert_eq!(
        refused(&usual(&field(1, [field(4, "If"), branch].concat()))),
        "not a usable ONNX file: operator Scan may never end"
    );
    // And in a function; its own domain is no library.
    let call = node("Mine", "mine");
    let function = |body: Vec<u8>| field(25, [field(1, "Mine"), body, field(10, "mine")].concat());
    let body = |operator| field(7, field(4, operator));
    let hostile = [usual(&call), function(body("Loop"))].concat();
    assert_eq!(
        refused(&hostile),
        "not a usable ONNX file: operator Loop may never end"
    );
    let copy = model(
        &layout("bert-mean"),
        &[usual(&call), function(body("Abs"))].concat(),
    );
    assert!(OnnxModel::find(copy.path(), None, None).is_ok());
}

#[test]
fn functions_that_write_out_to_millions_of_operators() {
    // Each calls the one before ten times; ONNX Runtime would write all of that out.
    let function = |name: &str, calls: &str| {
        let call = field(7, [field(4, calls), field(7, "mine")].concat());
        field(
            25,
            [field(1, name), call.repeat(10), field(10, "mine")].concat(),
        )
    };
    let names: Vec<String> = (0..10).map(|level| format!("F{level}")).collect();
    let call = |name: &str| field(1, [field(4, name), field(7, "mine")].concat());
    let tower: Vec<u8> = names
        .windows(2)
        .flat_map(|pair| function(&pair[1], &pair[0]))
        .collect();
    let base = field(
        25,
        [field(1, "F0"), field(7, field(4, "Neg")), field(10, "mine")].concat(),
    );
    assert_eq!(
        refused(&[usual(&call("F9")), base.clone(), tower.clone()].concat()),
        "not a usable ONNX file: it has more than 1000000 operators"
    );
    assert_eq!(
        refused(&[usual(&call("F")), function("F", "F")].concat()),
        "not a usable ONNX file: functions call functions more than 16 deep"
    );
    let copy = model(
        &layout("bert-mean"),
        &[usual(&call("F4")), base, tower].concat(),
    );
    assert!(OnnxModel::find(copy.path(), None, None).is_ok());
}

#[test]
fn graphs_nested_without_end() {
    let mut graph = Vec::new();
    for _ in 0..1000 {
        graph = field(1, [field(4, "If"), field(5, field(6, graph))].concat());
    }
    assert_eq!(
        refused(&usual(&graph)),
        "not a usable ONNX file: graphs are nested more than 8 deep"
    );
}

#[test]
fn files_that_are_no_graph() {
    for (file, reason) in [
        (&b""[..], "it has no graph"),
        (
            b"version https://git-lfs.github.com/spec/v1\n",
            "field 14 has the wire type 6",
        ),
        (&[0xff; 64], "a number has more than ten bytes"),
    ] {
        assert_eq!(refused(file), format!("not a usable ONNX file: {reason}"));
    }
    let two = [usual(&[]), field(7, graph(&[], &[], &[]))].concat();
    assert_eq!(
        refused(&two),
        "not a usable ONNX file: the graph occurs twice"
    );
}

#[test]
fn tensors_whose_bytes_are_not_what_their_shape_takes() {
    let tensor = |parts: &[Vec<u8>]| {
        let tensor = [&[field(8, "w")], parts].concat().concat();
        refused(&usual(&field(5, tensor)))
    };
    let float = || number(2, FLOAT);
    for (parts, reason) in [
        (
            vec![number(1, 4), float(), field(9, [0; 12])],
            "expected 16 bytes, found 12",
        ),
        (vec![number(1, 4), float()], "expected 4 elements, found 0"),
        (
            vec![number(1, 4), number(2, 99), field(9, [0; 16])],
            "its type 99 is not one of ONNX",
        ),
        (
            vec![
                number(1, 1 << 40),
                number(1, 1 << 40),
                float(),
                field(9, [0; 16]),
            ],
            "its shape [1099511627776, 1099511627776] is negative or too large",
        ),
        (
            vec![number(1, u64::MAX), float(), field(9, [0; 16])],
            "its shape [18446744073709551615] is negative or too large",
        ),
        (
            vec![number(1, 1), float(), field(9, [0; 4]), field(4, [0; 4])],
            "its data is there twice",
        ),
        (
            vec![number(1, 1), float(), number(14, 1)],
            "it is half in this file and half in another",
        ),
    ] {
        assert_eq!(
            tensor(&parts),
            format!("not a usable ONNX file: tensor \"w\": {reason}")
        );
    }
}

#[test]
fn models_that_declare_another_computation() {
    let refused = |name: &str, edit: &dyn Fn(&Path)| {
        let copy = copy_dir(&layout(name));
        edit(copy.path());
        Embedder::from_dir(copy.path())
            .build()
            .err()
            .unwrap()
            .to_string()
    };
    let rewrite = |dir: &Path, file: &str, from: &str, to: &str| {
        let text = fs::read_to_string(dir.join(file)).unwrap();
        assert!(text.contains(from));
        fs::write(dir.join(file), text.replace(from, to)).unwrap();
    };
    let max = refused("bert-mean", &|dir| {
        rewrite(
            dir,
            "1_Pooling/config.json",
            "\"pooling_mode_max_tokens\": false",
            "\"pooling_mode_max_tokens\": true",
        );
    });
    assert!(max.contains("expected pooling_mode_lasttoken or pooling_mode_cls_token or pooling_mode_mean_tokens alone"), "{max}");
    let prompt = refused("bert-mean", &|dir| {
        rewrite(
            dir,
            "1_Pooling/config.json",
            "\"include_prompt\": true",
            "\"include_prompt\": false",
        );
    });
    assert!(
        prompt.ends_with("include_prompt: this model is not supported: expected true, found false"),
        "{prompt}"
    );
    let dense = refused("bert-mean", &|dir| {
        rewrite(dir, "modules.json", "models.Normalize", "models.Dense")
    });
    assert!(
        dense.ends_with(
            "expected Transformer, Pooling or Normalize, found sentence_transformers.models.Dense"
        ),
        "{dense}"
    );
    let tokenizer = refused("bert-mean", &|dir| {
        fs::remove_file(dir.join("tokenizer.json")).unwrap()
    });
    assert!(
        tokenizer.ends_with("tokenizer.json: not found; expected the model's tokenizer"),
        "{tokenizer}"
    );
    let hidden = refused("bert-mean", &|dir| {
        rewrite(
            dir,
            "config.json",
            "\"hidden_size\": 16",
            "\"hidden_size\": 32",
        )
    });
    assert!(
        hidden.ends_with(
            "last_hidden_state: expected rows of 32 elements, as config.json says, found 16"
        ),
        "{hidden}"
    );
    let silent = refused("bert-mean", &|dir| {
        fs::remove_file(dir.join("modules.json")).unwrap()
    });
    assert!(silent.ends_with("modules.json: not found; expected the model's pooling, which has to be given as an option without it"), "{silent}");
}

#[test]
fn options_that_contradict_the_model() {
    let error =
        |builder: qwen3_embedding::EmbedderBuilder| builder.build().err().unwrap().to_string();
    let dir = layout("bert-mean");
    assert_eq!(
        error(Embedder::from_dir(&dir).pooling(Pooling::Cls)),
        "pooling: expected mean, which is the model's own, found cls"
    );
    assert_eq!(
        error(Embedder::from_dir(tiny()).pooling(Pooling::Mean)),
        "pooling: expected last-token, which is the model's own, found mean"
    );
    assert_eq!(
        error(Embedder::from_dir(&dir).backend(BackendChoice::Mlx)),
        "MLX: not available: an ONNX file runs on ONNX Runtime only"
    );
    assert_eq!(
        error(Embedder::from_dir(&dir).precision(Precision::F16)),
        "ONNX Runtime: not available: the ONNX file computes in F32, not in F16"
    );
    for outside in ["../model.onnx", "/model.onnx"] {
        assert_eq!(
            error(Embedder::from_dir(&dir).onnx_file(outside)),
            format!(
                "onnx_file: expected a file in the model's directory, named without '..', found {outside}"
            )
        );
    }
}

#[test]
fn a_given_pooling_counts_where_the_directory_is_silent() {
    let copy = copy_dir(&layout("bert-mean"));
    fs::remove_file(copy.path().join("modules.json")).unwrap();
    let golden = &goldens(&layout("bert-mean"))[3];
    for (pooling, is_golden) in [(Pooling::Mean, true), (Pooling::Cls, false)] {
        let mut embedder = Embedder::from_dir(copy.path())
            .pooling(pooling)
            .build()
            .unwrap();
        let row = embed_ids(&mut embedder, std::slice::from_ref(&golden.ids));
        assert_eq!(
            cosine(row.data(), &golden.hidden) >= 0.99999,
            is_golden,
            "{pooling}"
        );
    }
    let error = Embedder::from_dir(copy.path())
        .pooling(Pooling::Graph)
        .build()
        .err()
        .unwrap();
    assert!(
        error
            .to_string()
            .starts_with("pooling: expected last-token, cls or mean"),
        "{error}"
    );
}

#[test]
fn a_graph_that_lost_its_ids() {
    // Exporters make such a graph where one tensor was given as two inputs: rows of the mask.
    let node = |operator: &str, inputs: &[&str], output: &str, attribute: &[u8]| {
        let inputs: Vec<u8> = inputs.iter().flat_map(|input| field(1, input)).collect();
        field(
            1,
            [
                &inputs,
                &field(2, output)[..],
                &field(4, operator),
                attribute,
            ]
            .concat(),
        )
    };
    let tensor = |name: &str, kind: u64, size: u64, data: &[u8]| {
        let tensor = [
            number(1, size),
            number(2, kind),
            field(8, name),
            field(9, data),
        ];
        field(5, tensor.concat())
    };
    let to_float = field(
        5,
        [field(1, "to"), number(3, FLOAT), number(20, 2)].concat(),
    );
    let graph = [
        node("Cast", &["attention_mask"], "mask", &to_float),
        node("Unsqueeze", &["mask", "axis"], "rows", &[]),
        node("Mul", &["rows", "ones"], "last_hidden_state", &[]),
        tensor("axis", INT64, 1, &2u64.to_le_bytes()),
        tensor("ones", FLOAT, 16, &1f32.to_le_bytes().repeat(16)),
        field(2, "graph"),
    ];
    let copy = model(&layout("bert-mean"), &usual(&graph.concat()));
    let error = Embedder::from_dir(copy.path())
        .build()
        .err()
        .unwrap()
        .to_string();
    assert!(
        error.ends_with("texts of different tokens get the same vector"),
        "{error}"
    );
}

#[test]
fn a_graph_that_gives_other_rows_than_it_declares() {
    // The declared width is only a claim; the graph gives 16 elements all the same.
    let copy = copy_dir(&layout("bert-mean"));
    let config = fs::read_to_string(copy.path().join("config.json")).unwrap();
    let mut config: serde_json::Value = serde_json::from_str(&config).unwrap();
    config["hidden_size"] = json!(17);
    fs::write(copy.path().join("config.json"), config.to_string()).unwrap();
    let path = copy.path().join("model.onnx");
    let bytes = fs::read(&path).unwrap();
    let name = b"last_hidden_state\x12";
    // The last one is the declaration; its last byte is the width.
    let at = bytes
        .windows(name.len())
        .rposition(|window| window == name)
        .unwrap();
    let width = bytes[at..].iter().position(|&byte| byte == 16).unwrap();
    overwrite(&path, at + width, &[17]);
    let error = Embedder::from_dir(copy.path()).build().err().unwrap();
    assert!(matches!(error, Error::Backend { .. }), "{error:?}");
}
