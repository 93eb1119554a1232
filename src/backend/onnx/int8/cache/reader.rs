//! Reads the file of quantised weights, and compares it with what it says of itself.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, BufReader, Read};
use std::path::Path;
use std::sync::Arc;

use memmap2::{Mmap, MmapOptions};

use super::super::store::QuantizedWeight;
use super::{Element, Entry, Header, MAGIC, PIECE, aligned, end_of_header};
use crate::backend::onnx::array::StoredArray;
use crate::backend::side_by_side;
use crate::file;

/// A header is a few hundred bytes for each array; one of more than this is damaged.
const MAX_HEADER: u64 = 64 << 20;

/// A file whose header is whole, and which is as long as it says.
pub(super) struct Whole {
    pub(super) header: Header,
    file: File,
    begin: u64,
}

pub(super) fn open(path: &Path) -> io::Result<Whole> {
    let (file, len) = file::open(path)?;
    let mut buffered = BufReader::new(&file);
    let mut magic = [0; MAGIC.len()];
    buffered.read_exact(&mut magic)?;
    let [mut header_len, mut checksum] = [[0; 8]; 2];
    buffered.read_exact(&mut header_len)?;
    buffered.read_exact(&mut checksum)?;
    let header_len = u64::from_le_bytes(header_len);
    if magic != MAGIC || header_len > MAX_HEADER.min(len) {
        return Err(damaged("it does not begin as such a file does"));
    }
    let mut header = vec![0; header_len as usize];
    buffered.read_exact(&mut header)?;
    if u64::from(crc32fast::hash(&header)) != u64::from_le_bytes(checksum) {
        return Err(damaged("its header has another checksum"));
    }
    let header: Header = serde_json::from_slice(&header)?;
    let begin = end_of_header(header_len);
    let arrays = header.weights.values().flatten().map(Entry::bytes);
    match arrays.fold(begin, |end, bytes| aligned(end).saturating_add(bytes)) {
        expected if expected == len => Ok(Whole {
            header,
            file,
            begin,
        }),
        expected => Err(damaged(&format!("expected {expected} bytes, found {len}"))),
    }
}

impl Whole {
    /// All weights, by key, and the mapping that some of them are parts of.
    pub(super) fn weights(&self) -> io::Result<(BTreeMap<String, QuantizedWeight>, Arc<Mmap>)> {
        let file = Arc::new(map(&self.file)?);
        let mut end = self.begin;
        let mut places = Vec::new();
        let mut pieces = Vec::new();
        for (key, entries) in &self.header.weights {
            let mut arrays = Vec::new();
            for entry in entries {
                let begin = aligned(end);
                end = begin + entry.bytes();
                let bytes = file.get(begin as usize..end as usize);
                let bytes = bytes.ok_or_else(|| damaged("it has become shorter"))?;
                if bytes.chunks(PIECE).len() != entry.checksums.len() {
                    return Err(damaged("an array has more checksums or fewer than pieces"));
                }
                pieces.extend(bytes.chunks(PIECE).zip(&entry.checksums));
                arrays.push((entry, begin as usize));
            }
            places.push((key, arrays));
        }
        side_by_side::each(&pieces, |&(bytes, &checksum)| {
            let whole = crc32fast::hash(bytes) == checksum;
            whole
                .then_some(())
                .ok_or_else(|| damaged("an array has another checksum"))
        })?;
        let weights = places.into_iter().map(|(key, arrays)| {
            let weight = weight(&file, &arrays)?;
            Ok((key.clone(), weight))
        });
        let weights = weights.collect::<io::Result<_>>()?;
        Ok((weights, file))
    }
}

fn weight(file: &Arc<Mmap>, arrays: &[(&Entry, usize)]) -> io::Result<QuantizedWeight> {
    use Element::{F32, Int8, Int16, Uint8};
    let elements: Vec<Element> = arrays.iter().map(|(entry, _)| entry.element).collect();
    let of = |index: usize, held: Held| array(file, arrays[index], held);
    Ok(match elements[..] {
        [F32] => QuantizedWeight::F32(of(0, Held::Here)?),
        [Int8 | Uint8, F32] => {
            QuantizedWeight::Quantized([of(0, Held::InFile)?, of(1, Held::Here)?])
        }
        [Int16, F32] => QuantizedWeight::Quantized([of(0, Held::Here)?, of(1, Held::Here)?]),
        _ => return Err(damaged(&format!("it holds a weight of {elements:?}"))),
    })
}

/// Where an array is when it has been read: what sessions repack, which is int8, stays in the file;
/// what they go on reading must not depend on it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Held {
    Here,
    InFile,
}

fn array(file: &Arc<Mmap>, (entry, begin): (&Entry, usize), held: Held) -> io::Result<StoredArray> {
    let (element, shape) = (entry.element.into(), entry.shape.as_slice());
    let array = StoredArray::mapped(file, begin, element, shape).and_then(|array| match held {
        Held::Here => array.try_clone(),
        Held::InFile => Ok(array),
    });
    array.map_err(io::Error::other)
}

#[allow(unsafe_code, reason = "a mapped file")]
fn map(file: &File) -> io::Result<Mmap> {
    // SAFETY: the mapping is read-only and private, and of u8, which has no invalid values. What is
    // left is that nobody writes to or truncates the file while it is mapped: this crate replaces
    // such files and never changes them.
    unsafe { MmapOptions::new().map_copy_read_only(file) }
}

pub(super) fn damaged(how: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, format!("damaged: {how}"))
}
