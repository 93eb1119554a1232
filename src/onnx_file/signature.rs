//! What a graph is fed and what is taken from it, bound by names, types and ranks.

use super::declared::{Declared, Dimension};
use super::graph::Contents;
use super::mismatch::{FLOAT, FLOAT16, INT32, INT64, Mismatch, mismatch, names, shown, wrong_type};

const POOLED: &str = "sentence_embedding";
const TOKENS: [&str; 2] = ["last_hidden_state", "token_embeddings"];

/// The graph's inputs and the output that is read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Signature {
    pub(crate) inputs: Vec<Input>,
    pub(crate) output: Output,
    /// How many sequences the graph takes at a time.
    pub(crate) rows: Rows,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Input {
    pub(crate) name: String,
    pub(crate) content: Content,
}

/// What an input is fed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Content {
    /// Token ids `(B, L)`, padded with the model's own pad id.
    Ids(Integer),
    /// 1 for tokens, 0 for padding `(B, L)`.
    Mask(Integer),
    /// All 0: a text is the first of a pair `(B, L)`.
    TypeIds(Integer),
    /// Counted from 0 `(B, L)`.
    Positions(Integer),
    /// Keys or values of an empty past `(B, heads, 0, head_dim)`.
    Past {
        element: Float,
        heads: usize,
        head_dim: usize,
    },
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Integer {
    I32,
    I64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Float {
    F16,
    F32,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Output {
    pub(crate) name: String,
    pub(crate) element: Float,
    pub(crate) kind: OutputKind,
    /// Elements of a row, where the file says.
    pub(crate) width: Option<usize>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum OutputKind {
    /// A row for each text `(B, hidden)`.
    Pooled,
    /// A row for each token `(B, L, hidden)`.
    Tokens,
}

/// How many sequences of one batch a graph takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Rows {
    Any,
    One,
}

pub(super) fn bind(contents: &Contents) -> Result<Signature, Mismatch> {
    let mut rows = Rows::Any;
    let mut inputs = Vec::with_capacity(contents.inputs.len());
    for declared in &contents.inputs {
        let content = content(declared)?;
        if first_is_one(declared)? {
            rows = Rows::One;
        }
        inputs.push(Input {
            name: declared.name.clone(),
            content,
        });
    }
    for needed in ["input_ids", "attention_mask"] {
        let count = inputs.iter().filter(|input| input.name == needed).count();
        if count != 1 {
            let found = format!("{count} among {}", names(&contents.inputs));
            return Err(mismatch(needed, "one input of this name", found));
        }
    }
    Ok(Signature {
        inputs,
        output: output(contents)?,
        rows,
    })
}

fn content(declared: &Declared) -> Result<Content, Mismatch> {
    let integer = || match declared.data_type {
        INT32 => Ok(Integer::I32),
        INT64 => Ok(Integer::I64),
        other => Err(wrong_type(declared, "int64 or int32", other)),
    };
    let name = declared.name.as_str();
    let content = match name {
        "input_ids" => Content::Ids(integer()?),
        "attention_mask" => Content::Mask(integer()?),
        "token_type_ids" => Content::TypeIds(integer()?),
        "position_ids" => Content::Positions(integer()?),
        _ if is_past(name) => return past(declared),
        _ => {
            let expected = "input_ids, attention_mask, token_type_ids, position_ids or \
                            past_key_values.N.key and .value";
            return Err(mismatch("inputs", expected, name));
        }
    };
    let shape = declared.shape.as_deref();
    match shape {
        Some([_, Dimension::Free]) => Ok(content),
        _ => {
            let expected = "shape (sequences, tokens) with any number of tokens";
            Err(mismatch(name, expected, shown(shape)))
        }
    }
}

/// `past_key_values.{layer}.key` or `.value`.
fn is_past(name: &str) -> bool {
    let rest = name.strip_prefix("past_key_values.");
    rest.and_then(|rest| rest.split_once('.'))
        .is_some_and(|(layer, kind)| {
            layer.parse::<u16>().is_ok() && ["key", "value"].contains(&kind)
        })
}

fn past(declared: &Declared) -> Result<Content, Mismatch> {
    let element = float(declared)?;
    let shape = declared.shape.as_deref();
    let size = |n: u64| {
        usize::try_from(n)
            .ok()
            .filter(|n| (1..=1 << 16).contains(n))
    };
    if let Some(
        [
            _,
            Dimension::Fixed(heads),
            Dimension::Free,
            Dimension::Fixed(head_dim),
        ],
    ) = shape
        && let (Some(heads), Some(head_dim)) = (size(*heads), size(*head_dim))
    {
        return Ok(Content::Past {
            element,
            heads,
            head_dim,
        });
    }
    let expected =
        "shape (sequences, heads, tokens of the past, head size), the second and last given";
    Err(mismatch(&declared.name, expected, shown(shape)))
}

/// Whether the graph takes one sequence at a time; another fixed number fits no request.
fn first_is_one(declared: &Declared) -> Result<bool, Mismatch> {
    match declared.shape.as_deref().and_then(<[_]>::first) {
        Some(Dimension::Fixed(1)) => Ok(true),
        Some(Dimension::Fixed(_)) => {
            let expected = "any number of sequences, or one";
            Err(mismatch(
                &declared.name,
                expected,
                shown(declared.shape.as_deref()),
            ))
        }
        _ => Ok(false),
    }
}

/// The pooled output where there is one: it holds whatever the model computes after pooling.
fn output(contents: &Contents) -> Result<Output, Mismatch> {
    let find = |name: &str| contents.outputs.iter().find(|output| output.name == name);
    let pooled = find(POOLED).map(|output| (output, OutputKind::Pooled));
    let tokens = || TOKENS.iter().find_map(|name| find(name));
    let found = pooled.or_else(|| Some((tokens()?, OutputKind::Tokens)));
    let Some((declared, kind)) = found else {
        let expected = format!("{POOLED}, {} or {}", TOKENS[0], TOKENS[1]);
        return Err(mismatch("outputs", &expected, names(&contents.outputs)));
    };
    let rank = match kind {
        OutputKind::Pooled => 2,
        OutputKind::Tokens => 3,
    };
    let shape = declared.shape.as_deref();
    if shape.is_some_and(|shape| shape.len() != rank) {
        return Err(mismatch(
            &declared.name,
            &format!("{rank} dimensions"),
            shown(shape),
        ));
    }
    let width = match shape.and_then(<[_]>::last) {
        Some(Dimension::Fixed(width)) => usize::try_from(*width).ok(),
        _ => None,
    };
    Ok(Output {
        name: declared.name.clone(),
        element: float(declared)?,
        kind,
        width,
    })
}

fn float(declared: &Declared) -> Result<Float, Mismatch> {
    match declared.data_type {
        FLOAT => Ok(Float::F32),
        FLOAT16 => Ok(Float::F16),
        other => Err(wrong_type(declared, "float or float16", other)),
    }
}
