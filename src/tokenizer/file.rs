//! `tokenizer.json` to a tokenizer whose ids are those that the file declares.

use std::any::Any;
use std::collections::HashSet;
use std::io::{self, Read};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;

use serde::Deserialize;
use serde_json::Value;
use tokenizers::models::ModelWrapper;
use tokenizers::models::bpe::BPE;
use tokenizers::{
    DecoderWrapper, Model, NormalizerWrapper, PostProcessorWrapper, PreTokenizerWrapper,
    Tokenizer as HfTokenizer, TokenizerImpl,
};

use super::unusable;
use crate::error::{Error, Result};
use crate::file;

/// The library's tokenizer for any model reads the model as two trees of values, one after the other,
/// before it knows which it is. Nearly all are this one, which is read as it stands: a vocabulary of
/// 150,000 tokens in two thirds of the time.
type BpeTokenizer = TokenizerImpl<
    BPE,
    NormalizerWrapper,
    PreTokenizerWrapper,
    PostProcessorWrapper,
    DecoderWrapper,
>;

/// The part of the file that the library does not take at its word.
#[derive(Deserialize)]
struct Declared {
    #[serde(default)]
    added_tokens: Vec<AddedToken>,
}

#[derive(Deserialize)]
struct AddedToken {
    id: u32,
    content: String,
}

/// Loads the file for an embedding table of `rows` rows, without what would change ids behind the
/// caller's back and without added tokens that have no row.
pub(super) fn load(path: &Path, rows: usize) -> Result<HfTokenizer> {
    let text = read(path)?;
    let declared: Declared = serde_json::from_str(&text).map_err(|e| unusable(path, e))?;
    let fits = |token: &AddedToken| (token.id as usize) < rows;
    let tokenizer = match declared.added_tokens.iter().all(fits) {
        true => parse(path, &text)?,
        false => parse(path, &without_added_beyond(path, &text, rows)?)?,
    };
    check_added(
        path,
        &tokenizer,
        declared.added_tokens.iter().filter(|t| fits(t)),
    )?;
    check_vocabulary(path, &tokenizer, rows)?;
    prepare(path, tokenizer)
}

/// Added tokens that are special, without the one that stands for unknown text.
pub(super) fn special_tokens(tokenizer: &HfTokenizer) -> HashSet<u32> {
    let unknown = |content: &str| matches!(content, "[UNK]" | "<unk>" | "<UNK>");
    let added = tokenizer.get_added_tokens_decoder();
    let special = added
        .iter()
        .filter(|(_, token)| token.special && !unknown(&token.content));
    special.map(|(&id, _)| id).collect()
}

/// What a panic said.
pub(super) fn panic_text(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<String>().map(String::as_str);
    let text = text.or_else(|| panic.downcast_ref::<&str>().copied());
    format!(
        "the tokenizer gave up: {}",
        text.unwrap_or("no reason given")
    )
}

fn read(path: &Path) -> Result<String> {
    let failed = |source: io::Error| match source.kind() {
        io::ErrorKind::NotFound => Error::MissingFile {
            path: path.to_owned(),
            expected: "the model's tokenizer",
        },
        _ => Error::Io {
            path: path.to_owned(),
            source,
        },
    };
    let mut text = String::new();
    let (mut file, _) = file::open(path).map_err(failed)?;
    file.read_to_string(&mut text).map_err(failed)?;
    Ok(text)
}

/// The library panics on some files.
fn parse(path: &Path, text: &str) -> Result<HfTokenizer> {
    let parsed = || match serde_json::from_str::<BpeTokenizer>(text) {
        Ok(tokenizer) => Ok(tokenizer.into()),
        // Another model, or an error, which is told by the library's way for all.
        Err(_) => text.parse::<HfTokenizer>(),
    };
    match catch_unwind(AssertUnwindSafe(parsed)) {
        Ok(parsed) => parsed.map_err(|e| unusable(path, e)),
        Err(panic) => Err(unusable(path, panic_text(&*panic))),
    }
}

/// The library cannot take an added token back, so the file is read without them.
fn without_added_beyond(path: &Path, text: &str, rows: usize) -> Result<String> {
    let mut file: Value = serde_json::from_str(text).map_err(|e| unusable(path, e))?;
    if let Some(added) = file.get_mut("added_tokens").and_then(Value::as_array_mut) {
        added.retain(|token| {
            let id = token.get("id").and_then(Value::as_u64);
            id.is_some_and(|id| usize::try_from(id).is_ok_and(|id| id < rows))
        });
    }
    Ok(file.to_string())
}

/// The library numbers added tokens by their order in the file, whatever ids stand there.
fn check_added<'a>(
    path: &Path,
    tokenizer: &HfTokenizer,
    mut declared: impl Iterator<Item = &'a AddedToken>,
) -> Result<()> {
    let differs = |token: &&AddedToken| tokenizer.token_to_id(&token.content) != Some(token.id);
    match declared.find(differs) {
        None => Ok(()),
        Some(AddedToken { id, content }) => Err(unusable(
            path,
            format!(
                "added token {content:?} is declared with id {id}, which its place in the file does not give it"
            ),
        )),
    }
}

/// Whether every id is that of a row.
fn check_vocabulary(path: &Path, tokenizer: &HfTokenizer, rows: usize) -> Result<()> {
    if has_all_ids_below(tokenizer, rows) {
        return Ok(());
    }
    let vocabulary = tokenizer.get_vocab(true);
    match vocabulary.into_iter().max_by_key(|&(_, id)| id) {
        None => Err(unusable(path, "the vocabulary is empty")),
        Some((_, id)) if (id as usize) < rows => Ok(()),
        Some((token, id)) => Err(Error::TokenizerVocabulary {
            path: path.to_owned(),
            token,
            id,
            rows,
        }),
    }
}

/// Whether the ids are those from 0 on, without a gap, and below `rows`: as many as there are tokens,
/// each of them one's. To see more than that the library must copy its vocabulary, which takes ten
/// times as long.
fn has_all_ids_below(tokenizer: &HfTokenizer, rows: usize) -> bool {
    let model = tokenizer.get_model();
    let size = model.get_vocab_size();
    let added = tokenizer.get_added_tokens_decoder();
    (1..=rows).contains(&size)
        && (0..size as u32).all(|id| model.id_to_token(id).is_some())
        && added.keys().all(|&id| (id as usize) < rows)
}

fn prepare(path: &Path, mut tokenizer: HfTokenizer) -> Result<HfTokenizer> {
    if let ModelWrapper::BPE(bpe) = tokenizer.get_model()
        && bpe.dropout.is_some_and(|dropout| dropout > 0.0)
    {
        let reason = "BPE dropout is set; the same text would give different tokens each time";
        return Err(unusable(path, reason));
    }
    tokenizer
        .with_truncation(None)
        .map_err(|e| unusable(path, e))?;
    tokenizer.with_padding(None);
    Ok(tokenizer)
}
