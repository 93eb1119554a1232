//! JSON from files that nobody vouches for: bounded, without duplicate keys, with short complaints.

use std::collections::HashSet;
use std::fmt;
use std::io::{self, Read};
use std::path::Path;

use serde::de::{Deserialize, Deserializer, Error as _, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Value};

use crate::error::{Error, Result};
use crate::file;

/// Real files stay below a megabyte.
const FILE_LIMIT: u64 = 16 << 20;

/// Longest piece of a file that an error repeats, in characters.
const SHOWN: usize = 400;

/// The text of the file at `path`, which would hold `expected`.
pub(crate) fn read(path: &Path, expected: &'static str) -> Result<String> {
    let failed = |source: io::Error| match source.kind() {
        io::ErrorKind::NotFound => Error::MissingFile {
            path: path.to_owned(),
            expected,
        },
        _ => Error::Io {
            path: path.to_owned(),
            source,
        },
    };
    let (file, _) = file::open(path).map_err(failed)?;
    let mut bytes = Vec::new();
    // One byte more than allowed tells a file at the limit from one above it.
    let len = file
        .take(FILE_LIMIT + 1)
        .read_to_end(&mut bytes)
        .map_err(failed)?;
    if len as u64 > FILE_LIMIT {
        return Err(invalid(
            path,
            format!("expected at most {FILE_LIMIT} bytes, found more"),
        ));
    }
    String::from_utf8(bytes).map_err(|error| invalid(path, error.utf8_error().to_string()))
}

/// As [`read`], and none where there is nothing of that name. A link that leads nowhere is an error:
/// what it stands for is declared and cannot be known.
pub(crate) fn read_optional(path: &Path, expected: &'static str) -> Result<Option<String>> {
    match path.symlink_metadata() {
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(None),
        _ => read(path, expected).map(Some),
    }
}

/// The object that `text` is, with no key twice at any depth.
pub(crate) fn parse_object(path: &Path, text: &str) -> Result<Map<String, Value>> {
    let failed = |error| invalid(path, reason(&error));
    reject_duplicates(text.as_bytes()).map_err(failed)?;
    match serde_json::from_str(text).map_err(failed)? {
        Value::Object(map) => Ok(map),
        other => Err(invalid(
            path,
            format!("expected an object, found {}", shown(&other)),
        )),
    }
}

pub(crate) fn invalid(path: &Path, reason: String) -> Error {
    Error::Json {
        path: path.to_owned(),
        reason,
    }
}

/// Fails if some object in `text` has a key twice; `serde_json` alone would take the last.
pub(crate) fn reject_duplicates(text: &[u8]) -> serde_json::Result<()> {
    serde_json::from_slice::<UniqueKeys>(text).map(|_| ())
}

/// The parser's complaint. It may quote the file, so it is cut and control characters are escaped.
pub(crate) fn reason(error: &serde_json::Error) -> String {
    let text = error.to_string();
    let place = format!(" at line {} column {}", error.line(), error.column());
    match text.strip_suffix(&place) {
        Some(complaint) => shorten(complaint) + &place,
        None => shorten(&text),
    }
}

/// Longest name of a tensor or shard, in bytes: also the limit of common file systems.
pub(crate) const MAX_NAME: usize = 255;

/// A tensor's name appears in errors, so it must be short and printable.
pub(crate) fn check_name(name: &str) -> Result<(), String> {
    if name.len() <= MAX_NAME && !name.contains(char::is_control) {
        return Ok(());
    }
    Err(format!(
        "expected a printable tensor name of at most {MAX_NAME} bytes, found {}",
        shorten(name)
    ))
}

/// A value as an error shows it.
pub(crate) fn shown(value: &Value) -> String {
    shorten(&value.to_string())
}

/// `text` on one line of bounded length.
pub(crate) fn shorten(text: &str) -> String {
    let mut short = String::new();
    for (n, c) in text.chars().enumerate() {
        match c {
            _ if n == SHOWN => return short + "...",
            c if c.is_control() => short.extend(c.escape_default()),
            c => short.push(c),
        }
    }
    short
}

/// Any JSON value in which no object has a key twice.
///
/// Holds nothing: with `serde_json`'s feature `arbitrary_precision`, which any crate of the final
/// program may switch on, a visitor sees numbers as maps, so it could not rebuild the value.
struct UniqueKeys;

impl<'de> Deserialize<'de> for UniqueKeys {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(UniqueKeys)
    }
}

impl<'de> Visitor<'de> for UniqueKeys {
    type Value = Self;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON value")
    }

    fn visit_bool<E>(self, _: bool) -> Result<Self, E> {
        Ok(self)
    }

    fn visit_i64<E>(self, _: i64) -> Result<Self, E> {
        Ok(self)
    }

    fn visit_u64<E>(self, _: u64) -> Result<Self, E> {
        Ok(self)
    }

    fn visit_f64<E>(self, _: f64) -> Result<Self, E> {
        Ok(self)
    }

    fn visit_str<E>(self, _: &str) -> Result<Self, E> {
        Ok(self)
    }

    fn visit_unit<E>(self) -> Result<Self, E> {
        Ok(self)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Self, A::Error> {
        while seq.next_element::<Self>()?.is_some() {}
        Ok(self)
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self, A::Error> {
        let mut keys = HashSet::new();
        while let Some((key, Self)) = map.next_entry::<String, Self>()? {
            if let Some(key) = keys.replace(key) {
                return Err(A::Error::custom(format_args!("duplicate key {key:?}")));
            }
        }
        Ok(self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn duplicate_keys_are_found_at_any_depth() {
        assert!(
            reject_duplicates(br#"{"a": [{"b": 1.5, "c": null}], "b": -1, "d": true}"#).is_ok()
        );
        let error = reject_duplicates(br#"{"a": [{"b": 1, "b": 1}]}"#).map_err(|e| reason(&e));
        assert_eq!(
            error,
            Err(r#"duplicate key "b" at line 1 column 23"#.to_owned())
        );
    }

    #[test]
    fn errors_do_not_repeat_a_whole_file() {
        assert_eq!(shorten(&"x".repeat(1 << 20)).len(), SHOWN + 3);
        assert_eq!(shorten("a\n\u{1b}[2J"), r"a\n\u{1b}[2J");
    }
}
