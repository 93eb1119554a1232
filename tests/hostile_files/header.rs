//! The header of a safetensors file.

use crate::support::{DATA, edit, file, header, header_refusal, refusal};

/// What a file is refused with whose `norm.weight` has this entry.
fn entry(entry: &str) -> String {
    let valid = r#"{"dtype":"BF16","shape":[8],"data_offsets":[0,16]}"#;
    header_refusal(&edit(&header(), valid, entry))
}

/// What a file with these bytes is refused with.
fn bytes(bytes: &[u8]) -> String {
    refusal(&[("model.safetensors", bytes)])
}

const NOT: &str = "DIR/model.safetensors: not a safetensors file:";

#[test]
fn too_short_for_a_length() {
    assert_eq!(
        bytes(b""),
        format!("{NOT} expected at least 8 bytes, found 0")
    );
    assert_eq!(
        bytes(&[0; 7]),
        format!("{NOT} expected at least 8 bytes, found 7")
    );
    assert_eq!(
        bytes(&[0; 8]),
        format!("{NOT} expected a header that begins with {{")
    );
}

#[test]
fn header_too_large() {
    let mut huge = file(&header(), DATA);
    huge[..8].copy_from_slice(&u64::MAX.to_le_bytes());
    assert_eq!(
        bytes(&huge),
        format!("{NOT} expected a header of at most 100000000 bytes, found 18446744073709551615")
    );
    huge[..8].copy_from_slice(&100_000_000u64.to_le_bytes());
    let rest = huge.len() - 8;
    assert_eq!(
        bytes(&huge),
        format!("{NOT} expected a header of 100000000 bytes, found {rest}")
    );
}

#[test]
fn header_is_not_json() {
    assert_eq!(
        bytes(&file("[]", 0)),
        format!("{NOT} expected a header that begins with {{")
    );
    assert_eq!(
        bytes(&file(" {}", 0)),
        format!("{NOT} expected a header that begins with {{")
    );
    assert_eq!(
        bytes(&file("{", 0)),
        format!("{NOT} EOF while parsing an object at line 1 column 1")
    );
    assert_eq!(
        bytes(&file("{}x", 0)),
        format!("{NOT} trailing characters at line 1 column 3")
    );
}

#[test]
fn duplicate_key() {
    let twice =
        r#""norm.weight":{"dtype":"BF16","shape":[8],"data_offsets":[0,16]},"norm.weight":"#;
    assert_eq!(
        header_refusal(&edit(&header(), r#""norm.weight":"#, twice)),
        "DIR/model.safetensors: tensor norm.weight occurs twice (also in DIR/model.safetensors)"
    );
}

#[test]
fn duplicate_field() {
    assert_eq!(
        entry(r#"{"dtype":"BF16","dtype":"F32","shape":[8],"data_offsets":[0,16]}"#),
        format!("{NOT} tensor norm.weight: duplicate field `dtype` at line 1 column 38")
    );
}

#[test]
fn duplicate_metadata() {
    assert_eq!(
        header_refusal(&edit(
            &header(),
            r#"{"norm"#,
            r#"{"__metadata__":{"a":"","a":""},"norm"#
        )),
        format!(r#"{NOT} duplicate key "a" at line 1 column 31"#)
    );
    let twice = r#"{"__metadata__":{},"__metadata__":{},"norm"#;
    let found = header_refusal(&edit(&header(), r#"{"norm"#, twice));
    assert!(
        found.starts_with(&format!(r#"{NOT} duplicate key "__metadata__" at line 1"#)),
        "{found}"
    );
}

#[test]
fn metadata_is_not_text() {
    assert_eq!(
        header_refusal(&edit(
            &header(),
            r#"{"norm"#,
            r#"{"__metadata__":{"a":1},"norm"#
        )),
        format!(
            "{NOT} __metadata__: invalid type: integer `1`, expected a string at line 1 column 22"
        )
    );
}

#[test]
fn fields_missing_or_unknown() {
    assert_eq!(
        entry(r#"{"shape":[8],"data_offsets":[0,16]}"#),
        format!("{NOT} tensor norm.weight: missing field `dtype` at line 1 column 50")
    );
    assert_eq!(
        entry(r#"{"dtype":"BF16","shape":[8],"strides":[1],"data_offsets":[0,16]}"#),
        format!(
            "{NOT} tensor norm.weight: unknown field `strides`, expected one of `dtype`, `shape`, `data_offsets` at line 1 column 52"
        )
    );
}

#[test]
fn unknown_dtype() {
    for dtype in ["I8", "F64", "F8_E4M3", "bf16", ""] {
        assert_eq!(
            entry(&format!(
                r#"{{"dtype":"{dtype}","shape":[8],"data_offsets":[0,16]}}"#
            )),
            format!(
                "DIR/model.safetensors: tensor norm.weight: expected dtype F32, F16 or BF16, found {dtype}"
            )
        );
    }
}

#[test]
fn numbers_that_are_no_sizes() {
    for (number, complaint) in [
        ("-8", "invalid value: integer `-8`, expected u64"),
        ("-0", "invalid type: floating point `-0.0`, expected u64"),
        ("8.5", "invalid type: floating point `8.5`, expected u64"),
        (
            "18446744073709551616",
            "invalid type: floating point `1.8446744073709552e+19`, expected u64",
        ),
        ("1e999", "number out of range"),
        (r#""8""#, r#"invalid type: string "8", expected u64"#),
    ] {
        for entry_text in [
            format!(r#"{{"dtype":"BF16","shape":[{number}],"data_offsets":[0,16]}}"#),
            format!(r#"{{"dtype":"BF16","shape":[8],"data_offsets":[0,{number}]}}"#),
        ] {
            let found = entry(&entry_text);
            let (found, _) = found.split_once(" at line 1 column ").unwrap();
            assert_eq!(found, format!("{NOT} tensor norm.weight: {complaint}"));
        }
    }
}

#[test]
fn rank_too_large() {
    assert_eq!(
        entry(r#"{"dtype":"BF16","shape":[8,1,1,1,1,1,1,1,1],"data_offsets":[0,16]}"#),
        format!("{NOT} tensor norm.weight: expected at most 8 dimensions, found 9")
    );
}

#[test]
fn shape_wraps() {
    // 2^62 * 4 * 2 bytes is 0 in 64 bits, 2^63 + 8 elements of 2 bytes are 16.
    for shape in [
        "[4611686018427387904,4]",
        "[9223372036854775816]",
        "[18446744073709551615,18446744073709551615]",
    ] {
        assert_eq!(
            entry(&format!(
                r#"{{"dtype":"BF16","shape":{shape},"data_offsets":[0,16]}}"#
            )),
            "DIR/model.safetensors: tensor norm.weight: expected more than 18446744073709551615 bytes, found 16"
        );
    }
}

#[test]
fn size_is_not_shape_times_dtype() {
    assert_eq!(
        entry(r#"{"dtype":"F32","shape":[8],"data_offsets":[0,16]}"#),
        "DIR/model.safetensors: tensor norm.weight: expected 32 bytes, found 16"
    );
}

#[test]
fn names_that_would_garble_a_log() {
    let complaint = "expected a printable tensor name of at most 255 bytes, found";
    assert_eq!(
        header_refusal(r#"{"a\nb":1}"#),
        format!(r"{NOT} {complaint} a\nb at line 1 column 7")
    );
    let long = "x".repeat(1000);
    assert_eq!(
        header_refusal(&format!(r#"{{"{long}":1}}"#)),
        format!(
            "{NOT} {complaint} {}... at line 1 column 1003",
            &long[..400 - complaint.len() - 1]
        )
    );
}
