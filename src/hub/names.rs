//! Names that end up in local paths and URLs, checked before they do.

use crate::error::{Error, Result};

const MAX_PART: usize = 96;
const MAX_REVISION: usize = 200;

/// `org/name` by the hub's own rules. `--` is refused because the cache writes `/` as `--`.
pub(super) fn check_model(model: &str) -> Result<()> {
    let valid = model
        .split_once('/')
        .is_some_and(|(org, name)| is_model_part(org) && is_model_part(name));
    let expected = "an id of the form org/name, in letters, digits and single '-', '.' or '_'";
    if valid {
        Ok(())
    } else {
        Err(option_error("model", expected, model))
    }
}

/// A branch, tag or commit. Each piece between slashes becomes a directory below `refs`.
pub(super) fn check_revision(revision: &str) -> Result<()> {
    let piece = |piece: &str| is_word(piece) && !piece.starts_with('.') && !piece.contains("..");
    let valid = revision.len() <= MAX_REVISION && revision.split('/').all(piece);
    let expected = "a branch, tag or commit, in letters, digits, '-', '.', '_' and '/'";
    if valid {
        Ok(())
    } else {
        Err(option_error("revision", expected, revision))
    }
}

/// 40 lower-case hexadecimal digits: the full name of a git commit.
pub(super) fn is_commit(text: &str) -> bool {
    is_hex(text, 40)
}

/// Exactly `digits` lower-case hexadecimal digits.
pub(super) fn is_hex(text: &str, digits: usize) -> bool {
    text.len() == digits
        && text
            .bytes()
            .all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
}

fn is_model_part(part: &str) -> bool {
    let ends = |letter: char| letter.is_ascii_alphanumeric() || letter == '_';
    part.len() <= MAX_PART
        && is_word(part)
        && part.starts_with(ends)
        && part.ends_with(ends)
        && !part.contains("..")
        && !part.contains("--")
}

fn is_word(text: &str) -> bool {
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-');
    !text.is_empty() && text.bytes().all(allowed)
}

fn option_error(option: &'static str, expected: &str, found: &str) -> Error {
    Error::Option {
        option,
        expected: expected.to_owned(),
        found: format!("{found:?}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn model_ids_are_org_and_name() {
        for model in ["Qwen/Qwen3-Embedding-0.6B", "a/b", "_a/b_", "0x/1.2-3_4"] {
            assert!(check_model(model).is_ok(), "{model}");
        }
        let bad = [
            "", "gpt2", "a/", "/b", "a/b/c", "../b", "a/..", "a/b..c", "a/-b", "a/b.", "a--b/c",
        ];
        for model in bad
            .into_iter()
            .chain(["a/b c", "a/b?c", "a/b%2e", "a\\b/c", "a/é"])
        {
            assert!(check_model(model).is_err(), "{model}");
        }
        assert!(check_model(&format!("a/{}", "b".repeat(97))).is_err());
    }

    #[test]
    fn revisions_stay_below_refs() {
        for revision in ["main", "v1.0", "refs/pr/5", "feature/x_y-z", "-x"] {
            assert!(check_revision(revision).is_ok(), "{revision}");
        }
        for revision in [
            "", "/", "/main", "main/", "a//b", "..", "a/../b", "a..b", ".git", "a b", "a\\b",
            "a?b", "C:x",
        ] {
            assert!(check_revision(revision).is_err(), "{revision}");
        }
    }
}
