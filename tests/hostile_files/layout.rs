//! Where the tensors of one file lie, and which they are.

use std::fs;

use qwen3_embedding::{Checkpoint, Error};

use crate::support::{
    DATA, TENSORS, config, dir, edit, file, header, header_of, header_refusal, refusal,
};

fn open(header: &str, data: usize) -> Result<Checkpoint, Error> {
    Checkpoint::open(
        dir(&[("model.safetensors", &file(header, data))]).path(),
        &config(),
    )
}

#[test]
fn padding_and_metadata_are_legal() {
    assert!(open(&header(), DATA).is_ok());
    assert!(open(&(header() + "     "), DATA).is_ok());
    let metadata = edit(
        &header(),
        r#"{"norm"#,
        r#"{"__metadata__":{"format":"pt"},"norm"#,
    );
    assert!(open(&metadata, DATA).is_ok());
}

#[test]
fn offset_wraps() {
    assert_eq!(
        header_refusal(&edit(
            &header(),
            "[0,16]",
            "[18446744073709551600,18446744073709551615]"
        )),
        "DIR/model.safetensors: tensor norm.weight: expected offsets within 0..1664, found 18446744073709551600..18446744073709551615"
    );
}

#[test]
fn offsets_reversed() {
    assert_eq!(
        header_refusal(&edit(&header(), "[0,16]", "[16,0]")),
        "DIR/model.safetensors: tensor norm.weight: expected offsets within 0..1664, found 16..0"
    );
}

#[test]
fn offsets_out_of_file() {
    assert_eq!(
        refusal(&[("model.safetensors", &file(&header(), DATA - 1))]),
        "DIR/model.safetensors: tensor layers.0.mlp.down_proj.weight: expected offsets within 0..1663, found 1472..1664"
    );
}

#[test]
fn overlap() {
    assert_eq!(
        header_refusal(&edit(&header(), "[16,272]", "[15,271]")),
        "DIR/model.safetensors: tensor embed_tokens.weight begins at byte 15, inside norm.weight, which ends at 16"
    );
    assert_eq!(
        header_refusal(&edit(&header(), "[272,288]", "[0,16]")),
        "DIR/model.safetensors: tensor norm.weight begins at byte 0, inside layers.0.input_layernorm.weight, which ends at 16"
    );
}

#[test]
fn hole() {
    let between = edit(
        &header(),
        r#""shape":[16, 8],"data_offsets":[16,272]"#,
        r#""shape":[15, 8],"data_offsets":[32,272]"#,
    );
    assert_eq!(
        header_refusal(&between),
        "DIR/model.safetensors: bytes 16..32 belong to no tensor"
    );
    let before = edit(
        &header(),
        r#""shape":[8],"data_offsets":[0,16]"#,
        r#""shape":[7],"data_offsets":[2,16]"#,
    );
    assert_eq!(
        header_refusal(&before),
        "DIR/model.safetensors: bytes 0..2 belong to no tensor"
    );
}

#[test]
fn file_longer_than_the_header_says() {
    assert_eq!(
        refusal(&[("model.safetensors", &file(&header(), DATA + 1))]),
        "DIR/model.safetensors: bytes 1664..1665 belong to no tensor"
    );
    assert_eq!(
        refusal(&[("model.safetensors", &file("{}", 1))]),
        "DIR/model.safetensors: bytes 0..1 belong to no tensor"
    );
}

#[test]
fn tensor_missing() {
    for n in 0..TENSORS.len() {
        let mut tensors = TENSORS.to_vec();
        let (missing, shape) = tensors.remove(n);
        let data = DATA - 2 * shape.iter().product::<usize>();
        assert_eq!(
            refusal(&[("model.safetensors", &file(&header_of(&tensors), data))]),
            format!("DIR: tensor {missing} is missing")
        );
    }
}

#[test]
fn tensor_unexpected() {
    let mut tensors = TENSORS.to_vec();
    tensors.push(("model.layers.1.input_layernorm.weight", &[8]));
    assert_eq!(
        refusal(&[("model.safetensors", &file(&header_of(&tensors), DATA + 16))]),
        "DIR/model.safetensors: tensor model.layers.1.input_layernorm.weight does not belong to a Qwen3 embedding model of this configuration"
    );
}

#[test]
fn shape_transposed() {
    for (n, (name, shape)) in TENSORS.into_iter().enumerate() {
        let mut transposed = shape.to_vec();
        transposed.reverse();
        // A square or a vector cannot be told from its transpose: give it another rank.
        if transposed == shape {
            transposed.push(1);
        }
        let mut tensors = TENSORS.to_vec();
        if let Some(tensor) = tensors.get_mut(n) {
            tensor.1 = &transposed;
        }
        assert_eq!(
            refusal(&[("model.safetensors", &file(&header_of(&tensors), DATA))]),
            format!(
                "DIR/model.safetensors: tensor {name}: expected shape {shape:?}, found {transposed:?}"
            )
        );
    }
}

#[test]
fn empty_tensor_in_the_place_of_a_weight() {
    let tensors =
        TENSORS.map(|(name, shape)| (name, if shape == [16, 8] { &[0, 8] } else { shape }));
    assert_eq!(
        refusal(&[("model.safetensors", &file(&header_of(&tensors), DATA - 512))]),
        "DIR/model.safetensors: tensor embed_tokens.weight: expected shape [16, 8], found [0, 8]"
    );
}

#[test]
fn with_and_without_prefix() {
    let both = edit(
        &header(),
        r#""layers.0.input_layernorm.weight""#,
        r#""model.norm.weight""#,
    );
    assert_eq!(
        header_refusal(&both),
        "DIR/model.safetensors: tensor model.norm.weight occurs twice (also in DIR/model.safetensors)"
    );
}

#[test]
fn language_head_is_left_out_but_checked() {
    let mut tensors = TENSORS.to_vec();
    tensors.push(("lm_head.weight", &[16, 8]));
    let header = header_of(&tensors);
    let checkpoint = open(&header, DATA + 256).unwrap();
    assert_eq!(checkpoint.weight_bytes(), DATA as u64);
    let error = checkpoint.tensor("lm_head.weight").map(drop).unwrap_err();
    assert!(
        error
            .to_string()
            .ends_with("tensor lm_head.weight is missing"),
        "{error}"
    );
    assert_eq!(
        refusal(&[(
            "model.safetensors",
            &file(&edit(&header, "[1664,1920]", "[1663,1919]"), DATA + 255)
        )]),
        "DIR/model.safetensors: tensor lm_head.weight begins at byte 1663, inside layers.0.mlp.down_proj.weight, which ends at 1664"
    );
}

#[test]
fn more_layers_than_memory() {
    let text = edit(
        crate::support::CONFIG,
        r#""num_hidden_layers": 1"#,
        r#""num_hidden_layers": 2147483647"#,
    );
    let config = qwen3_embedding::ModelConfig::parse("config.json".as_ref(), &text).unwrap();
    let dir = dir(&[("model.safetensors", &file(&header(), DATA))]);
    let error = Checkpoint::open(dir.path(), &config).map(drop).unwrap_err();
    assert!(
        error
            .to_string()
            .ends_with("tensor layers.1.input_layernorm.weight is missing"),
        "{error}"
    );
}

#[test]
fn truncated_after_open() {
    let dir = dir(&[("model.safetensors", &file(&header(), DATA))]);
    let path = dir.path().join("model.safetensors");
    let checkpoint = Checkpoint::open(dir.path(), &config()).unwrap();
    let len = fs::metadata(&path).unwrap().len();
    fs::File::options()
        .write(true)
        .open(&path)
        .unwrap()
        .set_len(len - 8)
        .unwrap();
    let error = checkpoint
        .tensor("norm.weight")
        .unwrap()
        .to_f32()
        .unwrap_err();
    assert_eq!(
        error.to_string(),
        format!(
            "{}: the file was changed during the load: expected {len} bytes, found {}",
            path.display(),
            len - 8
        )
    );
}
