//! Reads the file of quantised weights, and compares it with what it says of itself.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, BufReader, Read, Seek, SeekFrom};
use std::path::Path;

use ort::value::Tensor as Array;

use super::super::array_file::{self, Element};
use super::super::matrix::Quantized;
use super::super::store::QuantizedWeight;
use super::{Entry, Header, MAGIC};
use crate::backend::onnx::side_by_side;
use crate::file;

/// A header is a few hundred bytes for each array; one of more than this is damaged.
const MAX_HEADER: u64 = 64 << 20;

/// A weight and where it begins in the file.
struct Place<'a> {
    key: &'a str,
    entries: &'a [Entry],
    begin: u64,
}

impl Place<'_> {
    fn bytes(&self) -> u64 {
        self.entries.iter().map(Entry::bytes).sum()
    }
}

/// The header, and where the arrays begin that it tells of.
pub(super) fn header(path: &Path) -> io::Result<(Header, u64)> {
    let (file, len) = file::open(path)?;
    let mut file = BufReader::new(file);
    let mut magic = [0; MAGIC.len()];
    file.read_exact(&mut magic)?;
    let [mut header_len, mut checksum] = [[0; 8]; 2];
    file.read_exact(&mut header_len)?;
    file.read_exact(&mut checksum)?;
    let header_len = u64::from_le_bytes(header_len);
    if magic != MAGIC || header_len > MAX_HEADER.min(len) {
        return Err(damaged("it does not begin as such a file does"));
    }
    let mut header = vec![0; header_len as usize];
    file.read_exact(&mut header)?;
    if array_file::checksum(&header) != u64::from_le_bytes(checksum) {
        return Err(damaged("its header has another checksum"));
    }
    let header: Header = serde_json::from_slice(&header)?;
    let begin = MAGIC.len() as u64 + 16 + header_len;
    let arrays = header.weights.values().flatten().map(Entry::bytes);
    match arrays.fold(begin, u64::saturating_add) {
        expected if expected == len => Ok((header, begin)),
        expected => Err(damaged(&format!("expected {expected} bytes, found {len}"))),
    }
}

/// All weights, by key; `begin` is where the first one's arrays begin.
pub(super) fn weights(
    path: &Path,
    header: &Header,
    mut begin: u64,
) -> io::Result<BTreeMap<String, QuantizedWeight>> {
    let mut places = Vec::new();
    for (key, entries) in &header.weights {
        let place = Place {
            key,
            entries,
            begin,
        };
        begin += place.bytes();
        places.push(place);
    }
    places.sort_by_key(|place| std::cmp::Reverse(place.bytes()));
    let read = side_by_side::each(&places, |place| {
        let (mut file, _) = file::open(path)?;
        file.seek(SeekFrom::Start(place.begin))?;
        Ok::<_, io::Error>((place.key.to_owned(), weight(&mut file, place.entries)?))
    })?;
    Ok(read.into_iter().collect())
}

fn weight(file: &mut File, entries: &[Entry]) -> io::Result<QuantizedWeight> {
    use Element::{F32, Int8, Int16};
    let elements: Vec<Element> = entries.iter().map(|entry| entry.element).collect();
    Ok(match elements[..] {
        [F32] => QuantizedWeight::F32(array(file, &entries[0])?),
        [Int8, F32] => QuantizedWeight::Int8(Quantized {
            values: array(file, &entries[0])?,
            scales: array(file, &entries[1])?,
        }),
        [Int16, F32] => QuantizedWeight::Int16(Quantized {
            values: array(file, &entries[0])?,
            scales: array(file, &entries[1])?,
        }),
        _ => return Err(damaged(&format!("it holds a weight of {elements:?}"))),
    })
}

fn array<T: array_file::Stored>(file: &mut File, entry: &Entry) -> io::Result<Array<T>> {
    let (array, checksum) = array_file::read(file, &entry.shape)?;
    if checksum != entry.checksum {
        return Err(damaged("an array has another checksum"));
    }
    Ok(array)
}

pub(super) fn damaged(how: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, format!("damaged: {how}"))
}
