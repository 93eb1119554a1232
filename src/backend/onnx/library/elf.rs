//! What the system's loader does not say of a shared library: it calls one of another processor
//! missing, and one that was cut off ends the process.

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::path::Path;

/// Processors that the ONNX Runtime libraries are built for, by their number in the header.
const MACHINES: [(u16, &str); 2] = [(62, "x86_64"), (183, "aarch64")];

/// Bytes of the header and of one entry of the table of segments, in 64-bit files.
const HEADER: usize = 64;
const SEGMENT: usize = 56;

/// A segment that is mapped into memory.
const LOAD: u32 = 1;

/// Whether the loader may be given the file. What is no ELF file it refuses well enough itself.
///
/// # Errors
/// What is wrong with the file.
pub(super) fn check(path: &Path) -> Result<(), String> {
    match check_file(path) {
        Ok(found) => found,
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => {
            Err("it was cut off within its tables".to_owned())
        }
        Err(error) => Err(error.to_string()),
    }
}

fn check_file(path: &Path) -> io::Result<Result<(), String>> {
    let mut file = File::open(path)?;
    let len = file.metadata()?.len();
    let mut header = [0; HEADER];
    if len < HEADER as u64 {
        return Ok(Err(format!("it has {len} bytes, too few for a library")));
    }
    file.read_exact(&mut header)?;
    // 64 bits, little-endian: the only files this crate's own targets load.
    if !header.starts_with(b"\x7fELF\x02\x01") {
        return Ok(Ok(()));
    }
    let machine = u16::from_le_bytes(at(&header, 18));
    if let Err(reason) = check_machine(machine) {
        return Ok(Err(reason));
    }
    file.seek(SeekFrom::Start(u64::from_le_bytes(at(&header, 32))))?;
    let mut needed = 0;
    for _ in 0..u16::from_le_bytes(at(&header, 56)) {
        let mut segment = [0; SEGMENT];
        file.read_exact(&mut segment)?;
        if u32::from_le_bytes(at(&segment, 0)) == LOAD {
            let offset = u64::from_le_bytes(at(&segment, 8));
            let size = u64::from_le_bytes(at(&segment, 32));
            needed = needed.max(offset.saturating_add(size));
        }
    }
    Ok(match needed <= len {
        true => Ok(()),
        false => Err(format!(
            "it was cut off: expected {needed} bytes, found {len}"
        )),
    })
}

fn check_machine(found: u16) -> Result<(), String> {
    let expected = std::env::consts::ARCH;
    let name = |(_, name): &(u16, &'static str)| *name;
    let known = MACHINES.iter().find(|(number, _)| *number == found);
    match known.map(name) {
        Some(name) if name == expected => Ok(()),
        _ if !MACHINES.iter().map(name).any(|name| name == expected) => Ok(()),
        Some(name) => Err(format!("it is for {name}, expected {expected}")),
        None => Err(format!("it is for processor {found}, expected {expected}")),
    }
}

/// The bytes of a number at a fixed place, inside of `N` bytes.
fn at<const N: usize, const BYTES: usize>(record: &[u8; N], place: usize) -> [u8; BYTES] {
    std::array::from_fn(|i| record[place + i])
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    /// This program's own file, changed by `edit`.
    fn checked(edit: impl FnOnce(&mut Vec<u8>)) -> Result<(), String> {
        let mut bytes = fs::read(std::env::current_exe().unwrap()).unwrap();
        edit(&mut bytes);
        let file = tempfile::NamedTempFile::new().unwrap();
        fs::write(file.path(), bytes).unwrap();
        check(file.path())
    }

    #[test]
    fn a_whole_file_of_this_processor_may_be_loaded() {
        assert_eq!(checked(|_| ()), Ok(()));
    }

    #[test]
    fn another_processor_s_file_is_refused_by_name() {
        let (number, other) = match std::env::consts::ARCH {
            "aarch64" => MACHINES[0],
            _ => MACHINES[1],
        };
        let refusal = checked(|bytes| bytes[18..20].copy_from_slice(&number.to_le_bytes()));
        let expected = format!("it is for {other}, expected {}", std::env::consts::ARCH);
        assert_eq!(refusal, Err(expected));
    }

    #[test]
    fn a_file_that_was_cut_off_anywhere_is_refused() {
        let whole = fs::metadata(std::env::current_exe().unwrap())
            .unwrap()
            .len();
        for len in [0, 63, 64, 100, 4096, whole / 10] {
            let refusal = checked(|bytes| bytes.truncate(usize::try_from(len).unwrap()));
            assert!(refusal.is_err(), "{len} of {whole} bytes");
        }
    }

    #[test]
    fn what_is_no_elf_file_is_left_to_the_loader() {
        assert_eq!(checked(|bytes| bytes.fill(b'x')), Ok(()));
    }
}
