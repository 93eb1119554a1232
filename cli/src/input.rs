//! Texts from a file or stdin: one a line, or JSON lines objects with `text`.

use std::fs;
use std::io::{self, Read};
use std::path::Path;

use serde::Deserialize;

use crate::failure::Failure;

const BYTE_ORDER_MARK: &[u8] = b"\xEF\xBB\xBF";

#[derive(Deserialize)]
struct Object {
    text: String,
}

/// The texts of the file at `path`, or of stdin for `-`. There is at least one.
///
/// The first line decides: if it is a JSON object with a string `text`, every line must be one.
/// An empty line is an error, since leaving it out would shift the rows after it.
pub(crate) fn read(path: &Path) -> Result<Vec<String>, Failure> {
    let (name, bytes) = if path.as_os_str() == "-" {
        let mut bytes = Vec::new();
        let read = io::stdin().lock().read_to_end(&mut bytes);
        ("stdin".to_owned(), read.map(|_| bytes))
    } else {
        (path.display().to_string(), fs::read(path))
    };
    let bytes = bytes.map_err(|error| Failure::io(&name, &error))?;
    texts(&bytes).map_err(|reason| Failure::Runtime(format!("{name}: {reason}")))
}

fn texts(bytes: &[u8]) -> Result<Vec<String>, String> {
    let bytes = bytes.strip_prefix(BYTE_ORDER_MARK).unwrap_or(bytes);
    if bytes.is_empty() {
        return Err("expected at least one line, found none".to_owned());
    }
    let bytes = bytes.strip_suffix(b"\n").unwrap_or(bytes);
    let numbered = bytes.split(|&byte| byte == b'\n').zip(1..);
    let lines = numbered
        .map(|(bytes, number)| line(bytes).map_err(|reason| format!("line {number}: {reason}")))
        .collect::<Result<Vec<_>, _>>()?;
    if object(lines[0]).is_err() {
        return Ok(lines.into_iter().map(str::to_owned).collect());
    }
    let objects = lines.into_iter().zip(1..).map(|(line, number)| {
        object(line).map_err(|error| {
            let wanted = "expected a JSON object with a string \"text\", as on line 1";
            format!("line {number}: {wanted}: {error}")
        })
    });
    objects.collect()
}

fn line(bytes: &[u8]) -> Result<&str, String> {
    let bytes = bytes.strip_suffix(b"\r").unwrap_or(bytes);
    match std::str::from_utf8(bytes) {
        Ok("") => Err("empty; every line must hold a text".to_owned()),
        Ok(line) => Ok(line),
        Err(error) => Err(format!("not UTF-8 after byte {}", error.valid_up_to())),
    }
}

fn object(line: &str) -> Result<String, String> {
    // Derived structs also read from arrays.
    if !line.trim_start().starts_with('{') {
        return Err("not an object".to_owned());
    }
    match serde_json::from_str::<Object>(line) {
        Ok(object) => Ok(object.text),
        // The parser counts lines in this line alone; the column is what helps.
        Err(error) => Err(error.to_string().replace(" at line 1 column", " at column")),
    }
}

#[cfg(test)]
mod tests {
    use super::texts;

    #[test]
    fn a_final_newline_makes_no_text_and_other_characters_stay() {
        assert_eq!(texts(b"a\n b \n").unwrap(), ["a", " b "]);
        assert_eq!(texts(b"a\r\nb\rc\r\n").unwrap(), ["a", "b\rc"]);
        assert_eq!(texts(b"\xEF\xBB\xBFa").unwrap(), ["a"]);
    }

    #[test]
    fn the_first_line_decides_for_json() {
        let json = "{\"text\": \"a\\nb\", \"id\": 7}\r\n{\"text\": \"\"}\n";
        assert_eq!(texts(json.as_bytes()).unwrap(), ["a\nb", ""]);
        for plain in ["{\"id\": 7}", "[\"a\"]", "{\"text\": 7}", "{"] {
            assert_eq!(texts(plain.as_bytes()).unwrap(), [plain]);
        }
    }

    #[test]
    fn errors_name_the_line() {
        let cases: [(&[u8], &str); 6] = [
            (b"", "expected at least one line, found none"),
            (b"\n", "line 1: empty; every line must hold a text"),
            (b"a\n\r\nb", "line 2: empty; every line must hold a text"),
            (b"a\nok\xFF\n", "line 2: not UTF-8 after byte 2"),
            (
                b"{\"text\": \"a\"}\nb",
                "line 2: expected a JSON object with a string \"text\", as on line 1: not an object",
            ),
            (
                b"{\"text\": \"a\"}\n{\"id\": 7}",
                "line 2: expected a JSON object with a string \"text\", as on line 1: \
                 missing field `text` at column 9",
            ),
        ];
        for (bytes, message) in cases {
            assert_eq!(texts(bytes).unwrap_err(), message);
        }
    }
}
