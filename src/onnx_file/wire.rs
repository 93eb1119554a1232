//! Protocol buffers, as far as an ONNX file needs: the fields of one message, one after the other.

/// A field's content. Groups, which ONNX does not have, are refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Value<'a> {
    Varint(u64),
    /// Four or eight bytes of a number.
    Fixed(&'a [u8]),
    /// A text, a nested message or packed numbers.
    Bytes(&'a [u8]),
}

impl<'a> Value<'a> {
    pub(super) fn bytes(self) -> Result<&'a [u8], String> {
        match self {
            Self::Bytes(bytes) => Ok(bytes),
            other => Err(format!("expected bytes, found {}", other.kind())),
        }
    }

    pub(super) fn text(self) -> Result<&'a str, String> {
        let bytes = self.bytes()?;
        std::str::from_utf8(bytes).map_err(|_| "a text is not UTF-8".to_owned())
    }

    pub(super) fn integer(self) -> Result<u64, String> {
        match self {
            Self::Varint(n) => Ok(n),
            other => Err(format!("expected an integer, found {}", other.kind())),
        }
    }

    fn kind(self) -> &'static str {
        match self {
            Self::Varint(_) => "an integer",
            Self::Fixed(_) => "a number of fixed size",
            Self::Bytes(_) => "bytes",
        }
    }
}

/// The fields of a message in the order of the file: number and content.
pub(super) struct Fields<'a>(&'a [u8]);

impl<'a> Fields<'a> {
    pub(super) fn of(message: &'a [u8]) -> Self {
        Self(message)
    }

    fn next_field(&mut self) -> Result<(u32, Value<'a>), String> {
        let tag = self.varint()?;
        let field = u32::try_from(tag >> 3).map_err(|_| "a field number is out of range")?;
        let value = match tag & 7 {
            0 => Value::Varint(self.varint()?),
            1 => Value::Fixed(self.take(8)?),
            2 => {
                let len = self.varint()?;
                Value::Bytes(self.take(len)?)
            }
            5 => Value::Fixed(self.take(4)?),
            other => return Err(format!("field {field} has the wire type {other}")),
        };
        match field {
            0 => Err("a field has the number 0".to_owned()),
            _ => Ok((field, value)),
        }
    }

    fn varint(&mut self) -> Result<u64, String> {
        let mut value = 0u64;
        for shift in (0..64).step_by(7) {
            let byte = *self.take(1)?.first().ok_or("it ends within a number")?;
            value |= u64::from(byte & 0x7f) << shift;
            if byte < 0x80 {
                return Ok(value);
            }
        }
        Err("a number has more than ten bytes".to_owned())
    }

    fn take(&mut self, len: u64) -> Result<&'a [u8], String> {
        let here = self.0.len();
        let split = usize::try_from(len).ok().filter(|&len| len <= here);
        let Some(split) = split else {
            return Err(format!("expected {len} more bytes, found {here}"));
        };
        let (taken, rest) = self.0.split_at(split);
        self.0 = rest;
        Ok(taken)
    }
}

impl<'a> Iterator for Fields<'a> {
    type Item = Result<(u32, Value<'a>), String>;

    /// Ends after the first error.
    fn next(&mut self) -> Option<Self::Item> {
        if self.0.is_empty() {
            return None;
        }
        let field = self.next_field();
        if field.is_err() {
            self.0 = &[];
        }
        Some(field)
    }
}

/// The numbers of a repeated integer field, which may be packed.
pub(super) fn integers(value: Value<'_>, into: &mut Vec<u64>) -> Result<(), String> {
    let mut packed = match value {
        Value::Varint(n) => {
            into.push(n);
            return Ok(());
        }
        other => Fields::of(other.bytes()?),
    };
    while !packed.0.is_empty() {
        into.push(packed.varint()?);
    }
    Ok(())
}

/// The text in the field `number` of a message; empty where there is none.
pub(super) fn text_of(message: &[u8], number: u32) -> Result<&str, String> {
    let mut text = None;
    for field in Fields::of(message) {
        match field? {
            (found, value) if found == number => once(&mut text, value.text()?, "a name")?,
            _ => {}
        }
    }
    Ok(text.unwrap_or_default())
}

/// Fills a field that a message has once. Readers merge or overwrite a second one, each its own way.
pub(super) fn once<T>(slot: &mut Option<T>, value: T, name: &str) -> Result<(), String> {
    match slot.replace(value) {
        None => Ok(()),
        Some(_) => Err(format!("{name} occurs twice")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fields(bytes: &[u8]) -> Result<Vec<(u32, Value<'_>)>, String> {
        Fields::of(bytes).collect()
    }

    #[test]
    fn fields_of_every_kind_are_read() {
        let message = [0x08, 0x96, 0x01, 0x12, 2, b'o', b'k', 0x1d, 1, 2, 3, 4];
        assert_eq!(
            fields(&message).unwrap(),
            [
                (1, Value::Varint(150)),
                (2, Value::Bytes(b"ok")),
                (3, Value::Fixed(&[1, 2, 3, 4])),
            ]
        );
    }

    #[test]
    fn what_is_no_message_is_refused() {
        for (message, reason) in [
            (&[0x12, 3, b'o'][..], "expected 3 more bytes, found 1"),
            (&[0x08], "expected 1 more bytes, found 0"),
            (&[0x0b], "field 1 has the wire type 3"),
            (&[0x00, 0x00], "a field has the number 0"),
            (&[0xff; 11], "a number has more than ten bytes"),
            (
                &[
                    0x12, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x01,
                ],
                "expected 18446744073709551615 more bytes, found 0",
            ),
        ] {
            assert_eq!(fields(message).unwrap_err(), reason);
        }
    }

    #[test]
    fn repeated_integers_are_read_packed_and_one_by_one() {
        let mut found = Vec::new();
        integers(Value::Bytes(&[1, 0x96, 0x01]), &mut found).unwrap();
        integers(Value::Varint(7), &mut found).unwrap();
        assert_eq!(found, [1, 150, 7]);
    }
}
