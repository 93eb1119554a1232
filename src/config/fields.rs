//! Typed access to the keys of `config.json`, with the errors they deserve.

use std::fmt::Display;
use std::path::Path;

use serde_json::Value;

use crate::error::{Error, Result};
use crate::json;

/// MLX keeps a dimension in an i32. The conversion widens.
pub(super) const MAX_DIMENSION: usize = i32::MAX as usize;

/// What [`positive`] accepts.
pub(super) const POSITIVE: &str = "a finite number above 0";

/// The object in `config.json`. A key `a.b` is the key `b` of the object at `a`.
pub(super) struct Fields<'a> {
    path: &'a Path,
    root: Value,
}

impl<'a> Fields<'a> {
    pub(super) fn parse(path: &'a Path, text: &str) -> Result<Self> {
        let root = Value::Object(json::parse_object(path, text)?);
        Ok(Self { path, root })
    }

    /// A key that may be absent or null.
    pub(super) fn optional<'s, T>(
        &'s self,
        key: &'static str,
        expected: &str,
        parse: impl FnOnce(&'s Value) -> Option<T>,
    ) -> Result<Option<T>> {
        let Some(value) = self.find(key).filter(|value| !value.is_null()) else {
            return Ok(None);
        };
        parse(value)
            .map(Some)
            .ok_or_else(|| self.invalid(key, expected, json::shown(value)))
    }

    pub(super) fn required<'s, T>(
        &'s self,
        key: &'static str,
        expected: &str,
        parse: impl FnOnce(&'s Value) -> Option<T>,
    ) -> Result<T> {
        self.optional(key, expected, parse)?
            .ok_or_else(|| self.invalid(key, expected, "nothing"))
    }

    /// A key that was renamed. Files may have either, or both if they agree.
    pub(super) fn renamed<'s, T: PartialEq>(
        &'s self,
        [old, new]: [&'static str; 2],
        expected: &str,
        parse: impl Fn(&'s Value) -> Option<T>,
    ) -> Result<Option<T>> {
        let old_value = self.optional(old, expected, &parse)?;
        let new_value = self.optional(new, expected, &parse)?;
        if old_value.is_some() && new_value.is_some() && old_value != new_value {
            let expected = format!("the same as {new} ({})", self.shown(new));
            return Err(self.invalid(old, expected, self.shown(old)));
        }
        Ok(new_value.or(old_value))
    }

    pub(super) fn dimension(&self, key: &'static str) -> Result<usize> {
        self.required(key, "an integer from 1 to 2147483647", |value| {
            let n = usize::try_from(value.as_u64()?).ok()?;
            (1..=MAX_DIMENSION).contains(&n).then_some(n)
        })
    }

    /// A key that would change the model if it had another value than `supported`,
    /// which is also what its absence means.
    pub(super) fn only(&self, key: &'static str, supported: &Value) -> Result<()> {
        let found = match self.find(key) {
            None | Some(Value::Null) => return Ok(()),
            Some(found) if found == supported => return Ok(()),
            Some(found) => found,
        };
        let same_type = std::mem::discriminant(found) == std::mem::discriminant(supported);
        if same_type || supported.is_null() {
            return Err(self.unsupported(key, supported, json::shown(found)));
        }
        Err(self.invalid(key, supported, json::shown(found)))
    }

    pub(super) fn invalid(
        &self,
        key: &'static str,
        expected: impl Display,
        found: impl Display,
    ) -> Error {
        Error::Config {
            path: self.path.to_owned(),
            key,
            expected: expected.to_string(),
            found: found.to_string(),
        }
    }

    pub(super) fn unsupported(
        &self,
        key: &'static str,
        expected: impl Display,
        found: impl Display,
    ) -> Error {
        Error::UnsupportedModel {
            path: self.path.to_owned(),
            key,
            expected: expected.to_string(),
            found: found.to_string(),
        }
    }

    fn find(&self, key: &str) -> Option<&Value> {
        key.split('.')
            .try_fold(&self.root, |object, part| object.get(part))
    }

    fn shown(&self, key: &str) -> String {
        self.find(key).map_or("nothing".to_owned(), json::shown)
    }
}

/// A number that is positive and finite also as an f32, the type that backends take.
pub(super) fn positive(value: &Value) -> Option<f32> {
    let number = value.as_f64()? as f32;
    (number.is_finite() && number > 0.0).then_some(number)
}
