//! What runs, as results report it.

use qwen3_embedding::{BackendInfo, Choice, Choices};
use serde::Serialize;

/// The object `backend` of JSON output.
#[derive(Serialize)]
pub(crate) struct Running<'a> {
    pub(crate) name: &'a str,
    pub(crate) device: String,
    pub(crate) device_name: &'a str,
    /// Null where the library has no such parts.
    pub(crate) execution_provider: Option<&'static str>,
    /// Spelled as `--precision` takes it.
    pub(crate) precision: String,
    pub(crate) library_version: &'a str,
    pub(crate) library_path: &'a str,
    pub(crate) choices: Chosen,
    pub(crate) reason: &'a str,
    pub(crate) fallback: Option<&'a str>,
}

/// What can be left open, and how it was decided: `asked`, `measured` at this start, `kept` from an
/// earlier one, or `default`.
#[derive(Serialize)]
pub(crate) struct Chosen {
    /// Null where the library has its own.
    pub(crate) threads: Option<Number>,
    pub(crate) batch_tokens: Number,
    pub(crate) precision: String,
}

#[derive(Serialize)]
pub(crate) struct Number {
    pub(crate) value: usize,
    pub(crate) origin: String,
}

impl From<Choices> for Chosen {
    fn from(choices: Choices) -> Self {
        Self {
            threads: choices.threads.map(Number::from),
            batch_tokens: choices.batch_tokens.into(),
            precision: choices.precision.to_string(),
        }
    }
}

impl From<Choice> for Number {
    fn from(choice: Choice) -> Self {
        Self {
            value: choice.value,
            origin: choice.origin.to_string(),
        }
    }
}

/// The library, its version, the device and what of the library computes, for a table.
#[cfg(feature = "bench")]
impl std::fmt::Display for Running<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self {
            name,
            library_version,
            device,
            execution_provider,
            ..
        } = self;
        write!(f, "{name} {library_version} on {device}")?;
        match execution_provider {
            Some(provider) => write!(f, ", {provider}"),
            None => Ok(()),
        }
    }
}

impl<'a> From<&'a BackendInfo> for Running<'a> {
    fn from(info: &'a BackendInfo) -> Self {
        Self {
            name: info.backend,
            device: info.device.to_string(),
            device_name: &info.device_name,
            execution_provider: info.execution_provider.map(|provider| provider.name()),
            precision: info.precision.to_string().to_lowercase(),
            library_version: &info.library_version,
            library_path: &info.library_path,
            choices: info.choices.into(),
            reason: &info.reason,
            fallback: info.fallback.as_deref(),
        }
    }
}
