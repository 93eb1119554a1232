//! How much memory MLX may use and keep on a GPU: of the whole process, whatever the model.

use super::array::failed;
use super::ffi::bridge::{self, DeviceKind};
use crate::error::{Error, Result};

/// What was asked for; the rest follows from the device.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Limits {
    /// Freed buffers that are kept for reuse.
    pub(crate) cache: Option<usize>,
    /// Memory that the system may not swap.
    pub(crate) wired: Option<usize>,
}

/// What a device without a figure of its own may keep.
const CACHE: usize = 512 << 20;

/// The part of the device's working set that may be kept: variable lengths leave many buffers of
/// which no two are alike, and MLX's own default is to keep all of them.
const CACHE_PART: usize = 32;

/// Bytes, as MLX takes them. None stays as MLX has it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Resolved {
    cache: usize,
    memory: Option<usize>,
    wired: Option<usize>,
}

impl Limits {
    /// `working_set` is what the device recommends as the most to use; 0 if it says nothing.
    fn resolve(self, working_set: usize) -> Result<Resolved> {
        let working_set = Some(working_set).filter(|&bytes| bytes > 0);
        if let (Some(wired), Some(most)) = (self.wired, working_set)
            && wired > most
        {
            return Err(Error::Option {
                option: "mlx_wired_bytes",
                expected: format!("at most {most}, which the device recommends"),
                found: wired.to_string(),
            });
        }
        let part = working_set.map_or(CACHE, |bytes| bytes / CACHE_PART);
        Ok(Resolved {
            cache: self.cache.unwrap_or(part),
            memory: working_set,
            wired: self.wired.or(working_set),
        })
    }

    /// Sets them.
    pub(super) fn apply(self) -> Result<()> {
        let info = bridge::device_info(DeviceKind::Gpu).map_err(|e| failed("device_info", e))?;
        let resolved = self.resolve(info.recommended_working_set_size)?;
        bridge::set_cache_limit(resolved.cache).map_err(|e| failed("set_cache_limit", e))?;
        if let Some(memory) = resolved.memory {
            bridge::set_memory_limit(memory).map_err(|e| failed("set_memory_limit", e))?;
        }
        if let Some(wired) = resolved.wired
            && let Err(e) = bridge::set_wired_limit(wired)
        {
            // Below macOS 15 there is no wired limit; the model runs without it.
            tracing::debug!("wired limit not set: {e}");
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn limits_follow_from_the_device_unless_they_are_given() {
        let gib = 1 << 30;
        let resolved = |cache, memory, wired| Resolved {
            cache,
            memory,
            wired,
        };
        let none = Limits::default();
        let device = none.resolve(96 * gib).unwrap();
        assert_eq!(device, resolved(3 * gib, Some(96 * gib), Some(96 * gib)));
        assert_eq!(none.resolve(0).unwrap(), resolved(512 << 20, None, None));
        let given = Limits {
            cache: Some(0),
            wired: Some(gib),
        };
        let device = given.resolve(96 * gib).unwrap();
        assert_eq!(device, resolved(0, Some(96 * gib), Some(gib)));
        assert_eq!(
            given.resolve(1000).unwrap_err().to_string(),
            "mlx_wired_bytes: expected at most 1000, which the device recommends, found 1073741824"
        );
    }
}
