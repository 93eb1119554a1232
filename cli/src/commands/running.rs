//! What runs, as results report it.

use qwen3_embedding::BackendInfo;
use serde::Serialize;

/// The object `backend` of JSON output.
#[derive(Serialize)]
pub(super) struct Running<'a> {
    pub(super) name: &'a str,
    pub(super) device: String,
    pub(super) device_name: &'a str,
    /// Null where the library has no such parts.
    pub(super) execution_provider: Option<&'static str>,
    /// Spelled as `--precision` takes it.
    pub(super) precision: String,
    pub(super) library_version: &'a str,
    pub(super) library_path: &'a str,
    pub(super) reason: &'a str,
    pub(super) fallback: Option<&'a str>,
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
            reason: &info.reason,
            fallback: info.fallback.as_deref(),
        }
    }
}
