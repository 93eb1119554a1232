//! Reads the file of quantised weights, and compares it with what it says of itself.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, BufReader, Read};
use std::mem;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use memmap2::{Mmap, MmapOptions};
use ort::value::TensorElementType;

use super::super::store::QuantizedWeight;
use super::{Element, Entry, Header, MAGIC, PIECE, aligned, end_of_header};
use crate::backend::onnx::array::StoredArray;
use crate::backend::onnx::pages;
use crate::backend::onnx::panels::Panels;
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
    /// All weights, by key, copied into one block.
    pub(super) fn weights(&self) -> io::Result<BTreeMap<String, QuantizedWeight>> {
        let file = map(&self.file)?;
        let first = aligned(self.begin) as usize;
        let file = file.get(first..).unwrap_or_default();
        let mut block = pages::block(file.len().max(1))?;
        copy(self.header.weights.values().flatten(), file, &mut block)?;
        let block = Arc::new(block.make_read_only()?);
        let mut end = 0;
        let weights = self.header.weights.iter().map(|(key, entries)| {
            let places = entries.iter().map(|entry| {
                let begin = aligned(end);
                end = begin + entry.bytes();
                (entry, begin as usize)
            });
            let places: Vec<_> = places.collect();
            Ok((key.clone(), weight(&block, &places)?))
        });
        weights.collect()
    }
}

/// Copies arrays that follow one another, several pieces of them at once, each compared with its
/// checksum.
fn copy<'a>(
    entries: impl Iterator<Item = &'a Entry>,
    mut from: &[u8],
    mut to: &mut [u8],
) -> io::Result<()> {
    let mut pieces = Vec::new();
    for entry in entries {
        let room = aligned(entry.bytes()) as usize;
        let len = entry.bytes() as usize;
        // The last one has no room after it.
        let (array, after) = from.split_at(room.min(from.len()));
        let (place, rest) = mem::take(&mut to).split_at_mut(array.len());
        (from, to) = (after, rest);
        let array = array.get(..len);
        let array = array.ok_or_else(|| damaged("it has become shorter"))?;
        if array.chunks(PIECE).len() != entry.checksums.len() {
            return Err(damaged("an array has more checksums or fewer than pieces"));
        }
        let of_array = place[..len].chunks_mut(PIECE).zip(array.chunks(PIECE));
        pieces.extend(
            of_array
                .zip(&entry.checksums)
                .map(|((to, from), &checksum)| {
                    let piece = Piece { from, checksum };
                    (piece, Mutex::new(to))
                }),
        );
    }
    side_by_side::each(&pieces, |(piece, to)| {
        piece.copy(&mut to.lock().unwrap_or_else(PoisonError::into_inner))
    })?;
    Ok(())
}

/// A part of an array in the file.
struct Piece<'a> {
    from: &'a [u8],
    checksum: u32,
}

impl Piece<'_> {
    /// Copies it, and compares what was copied with its checksum while that is still in a cache.
    fn copy(&self, to: &mut [u8]) -> io::Result<()> {
        /// Bytes at a time.
        const PART: usize = 128 << 10;

        let mut hasher = crc32fast::Hasher::new();
        for (to, from) in to.chunks_mut(PART).zip(self.from.chunks(PART)) {
            to.copy_from_slice(from);
            hasher.update(to);
        }
        match hasher.finalize() == self.checksum {
            true => Ok(()),
            false => Err(damaged("an array has another checksum")),
        }
    }
}

/// A weight of entries that begin there in the block.
fn weight(block: &Arc<Mmap>, places: &[(&Entry, usize)]) -> io::Result<QuantizedWeight> {
    use Element::{F32, F32Panels, Int8Panels, Int16};
    let elements: Vec<Element> = places.iter().map(|(entry, _)| entry.element).collect();
    let array = |index: usize, element: TensorElementType| {
        let (entry, begin) = places[index];
        let array = StoredArray::mapped(block, begin, element, entry.shape.as_slice());
        Ok::<_, io::Error>(Arc::new(array.map_err(io::Error::other)?))
    };
    Ok(match elements[..] {
        [F32] => QuantizedWeight::F32(array(0, TensorElementType::Float32)?),
        [Int16, F32] => QuantizedWeight::Table([
            array(0, TensorElementType::Int16)?,
            array(1, TensorElementType::Float32)?,
        ]),
        [F32Panels | Int8Panels] => {
            let (entry, begin) = places[0];
            let shape = entry.shape.as_slice().try_into().ok();
            let layout = shape.and_then(|shape| entry.element.layout(shape));
            let layout = layout.ok_or_else(|| damaged("a linear layer is no matrix"))?;
            let panels = Panels::new(layout, block, begin).map_err(io::Error::other)?;
            QuantizedWeight::Linear(Arc::new(panels))
        }
        _ => return Err(damaged(&format!("it holds a weight of {elements:?}"))),
    })
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
