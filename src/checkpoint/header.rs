//! The header of a safetensors file -> its tensors, which fill the data exactly.
//!
//! The `safetensors` crate has a parser too, but it takes the last of two equal keys and most of
//! its errors name no tensor.

use std::collections::HashMap;
use std::fmt;
use std::path::Path;

use serde::Deserialize;
use serde::de::{Deserializer, Error as _, MapAccess, Visitor};

use crate::dtype::Dtype;
use crate::error::{Error, Result};
use crate::json;

/// Real tensors have one or two dimensions.
const MAX_RANK: usize = 8;

/// One tensor of a shard. Its bytes lie within the file and are what shape and dtype take.
#[derive(Debug, Clone)]
pub(super) struct Entry {
    /// The key as written.
    pub(super) name: String,
    pub(super) dtype: Dtype,
    pub(super) shape: Vec<usize>,
    /// First byte, counted from the end of the header.
    pub(super) begin: u64,
    /// Bytes.
    pub(super) len: usize,
}

impl Entry {
    /// One past the last byte. Cannot wrap: it was read from the header.
    fn end(&self) -> u64 {
        self.begin + self.len as u64
    }
}

/// Parses the JSON of the header of the shard at `path`, which has `data` bytes behind it.
///
/// The tensors come in the order of their bytes.
pub(super) fn parse(path: &Path, header: &[u8], data: u64) -> Result<Vec<Entry>> {
    let failed = |error| invalid(path, json::reason(&error));
    if header.first() != Some(&b'{') {
        return Err(invalid(path, "expected a header that begins with {"));
    }
    let RawHeader(mut raw) = serde_json::from_slice(header).map_err(failed)?;
    raw.sort_unstable_by(|(a, _), (b, _)| a.cmp(b));
    if let Some(((name, _), _)) = raw
        .iter()
        .zip(raw.iter().skip(1))
        .find(|((a, _), (b, _))| a == b)
    {
        let (path, tensor) = (path.to_owned(), name.clone());
        return Err(Error::TensorDuplicate {
            other: path.clone(),
            path,
            tensor,
        });
    }
    // What is left are duplicates within `__metadata__`.
    json::reject_duplicates(header).map_err(failed)?;
    let mut entries = raw
        .into_iter()
        .map(|(name, raw)| raw.check(path, name, data))
        .collect::<Result<Vec<_>>>()?;
    entries.sort_by_key(|entry| (entry.begin, entry.len));
    check_layout(path, &entries, data)?;
    Ok(entries)
}

pub(super) fn invalid(path: &Path, reason: impl Into<String>) -> Error {
    Error::SafetensorsHeader {
        path: path.to_owned(),
        reason: reason.into(),
    }
}

/// Every byte of the data belongs to exactly one of `entries`, which are in order.
fn check_layout(path: &Path, entries: &[Entry], data: u64) -> Result<()> {
    let hole = |begin, end| Error::TensorHole {
        path: path.to_owned(),
        begin,
        end,
    };
    let mut end = 0;
    let mut other = "";
    for entry in entries {
        if entry.begin < end {
            return Err(Error::TensorOverlap {
                path: path.to_owned(),
                tensor: entry.name.clone(),
                begin: entry.begin,
                other: other.to_owned(),
                end,
            });
        }
        if entry.begin > end {
            return Err(hole(end, entry.begin));
        }
        (end, other) = (entry.end(), &entry.name);
    }
    if end < data {
        return Err(hole(end, data));
    }
    Ok(())
}

/// Names and entries as written, duplicates included.
struct RawHeader(Vec<(String, RawEntry)>);

/// An unknown field is refused: it could change what the bytes mean.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawEntry {
    dtype: String,
    shape: Vec<u64>,
    data_offsets: (u64, u64),
}

impl RawEntry {
    fn check(self, path: &Path, name: String, data: u64) -> Result<Entry> {
        let dtype = self.dtype(path, &name)?;
        self.check_rank(path, &name)?;
        let (begin, found) = self.extent(path, &name, data)?;
        let size = self.size(dtype);
        match size {
            Some((shape, len)) if len as u64 == found => Ok(Entry {
                name,
                dtype,
                shape,
                begin,
                len,
            }),
            _ => Err(Error::TensorSize {
                path: path.to_owned(),
                tensor: name,
                expected: size.map_or(format!("more than {}", usize::MAX), |(_, len)| {
                    len.to_string()
                }),
                found: found.to_string(),
            }),
        }
    }

    /// First byte and length.
    fn extent(&self, path: &Path, name: &str, data: u64) -> Result<(u64, u64)> {
        let (begin, end) = self.data_offsets;
        match end.checked_sub(begin) {
            Some(len) if end <= data => Ok((begin, len)),
            _ => Err(Error::TensorOffsets {
                path: path.to_owned(),
                tensor: name.to_owned(),
                begin,
                end,
                limit: data,
            }),
        }
    }

    fn check_rank(&self, path: &Path, name: &str) -> Result<()> {
        let rank = self.shape.len();
        if rank <= MAX_RANK {
            return Ok(());
        }
        let reason = format!("tensor {name}: expected at most {MAX_RANK} dimensions, found {rank}");
        Err(invalid(path, reason))
    }

    fn dtype(&self, path: &Path, name: &str) -> Result<Dtype> {
        Dtype::from_safetensors(&self.dtype).ok_or_else(|| Error::TensorDtype {
            path: path.to_owned(),
            tensor: name.to_owned(),
            expected: "F32, F16 or BF16",
            found: json::shorten(&self.dtype),
        })
    }

    /// The shape and the bytes it takes, if both can be counted.
    fn size(&self, dtype: Dtype) -> Option<(Vec<usize>, usize)> {
        let shape: Vec<usize> = self
            .shape
            .iter()
            .map(|&n| usize::try_from(n).ok())
            .collect::<Option<_>>()?;
        let bytes = shape
            .iter()
            .try_fold(dtype.size(), |bytes, &n| bytes.checked_mul(n))?;
        Some((shape, bytes))
    }
}

impl<'de> Deserialize<'de> for RawHeader {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(HeaderVisitor)
    }
}

struct HeaderVisitor;

impl<'de> Visitor<'de> for HeaderVisitor {
    type Value = RawHeader;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object of tensors")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<RawHeader, A::Error> {
        let mut entries = Vec::new();
        while let Some(name) = map.next_key::<String>()? {
            if name == "__metadata__" {
                map.next_value::<HashMap<String, String>>()
                    .map_err(|error| A::Error::custom(format_args!("__metadata__: {error}")))?;
                continue;
            }
            json::check_name(&name).map_err(A::Error::custom)?;
            let entry = map
                .next_value()
                .map_err(|error| A::Error::custom(format_args!("tensor {name}: {error}")))?;
            entries.push((name, entry));
        }
        Ok(RawHeader(entries))
    }
}
