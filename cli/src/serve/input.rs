//! The field that holds what is to be embedded: one text, texts, token ids, or lists of them.

use std::fmt;

use qwen3_embedding::service::Input;
use serde::Deserialize;
use serde::de::{Deserializer, Error, SeqAccess, Visitor};

/// At least one input, all of one kind.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Inputs(pub(super) Input);

const EXPECTED: &str = "a string, a list of strings, a list of token ids or a list of such lists";

impl<'de> Deserialize<'de> for Inputs {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(InputsVisitor).map(Inputs)
    }
}

struct InputsVisitor;

impl<'de> Visitor<'de> for InputsVisitor {
    type Value = Input;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(EXPECTED)
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<Input, E> {
        Ok(Input::Texts(vec![text.to_owned()]))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Input, A::Error> {
        match list.next_element()? {
            None => Err(A::Error::custom("expected at least one input, found none")),
            Some(Item::Text(first)) => rest(list, first, Item::text).map(Input::Texts),
            Some(Item::Ids(first)) => rest(list, first, Item::ids).map(Input::TokenIds),
            Some(Item::Id(first)) => {
                rest(list, first, Item::id).map(|ids| Input::TokenIds(vec![ids]))
            }
        }
    }
}

/// The elements of a list whose first decided the kind.
fn rest<'de, A: SeqAccess<'de>, T>(
    mut list: A,
    first: T,
    of_kind: fn(Item) -> Option<T>,
) -> Result<Vec<T>, A::Error> {
    let mut items = vec![first];
    while let Some(item) = list.next_element()? {
        let Some(item) = of_kind(item) else {
            let index = items.len();
            return Err(A::Error::custom(format!(
                "element {index} is of another kind than the first: expected {EXPECTED}"
            )));
        };
        items.push(item);
    }
    Ok(items)
}

enum Item {
    Text(String),
    Id(u32),
    Ids(Vec<u32>),
}

impl Item {
    fn text(self) -> Option<String> {
        match self {
            Self::Text(text) => Some(text),
            _ => None,
        }
    }

    fn id(self) -> Option<u32> {
        match self {
            Self::Id(id) => Some(id),
            _ => None,
        }
    }

    fn ids(self) -> Option<Vec<u32>> {
        match self {
            Self::Ids(ids) => Some(ids),
            _ => None,
        }
    }
}

impl<'de> Deserialize<'de> for Item {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(ItemVisitor)
    }
}

struct ItemVisitor;

impl<'de> Visitor<'de> for ItemVisitor {
    type Value = Item;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a string, a token id or a list of token ids")
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<Item, E> {
        Ok(Item::Text(text.to_owned()))
    }

    fn visit_string<E: Error>(self, text: String) -> Result<Item, E> {
        Ok(Item::Text(text))
    }

    fn visit_u64<E: Error>(self, id: u64) -> Result<Item, E> {
        u32::try_from(id)
            .map(Item::Id)
            .map_err(|_| E::custom(format!("{id} is not a token id")))
    }

    fn visit_i64<E: Error>(self, id: i64) -> Result<Item, E> {
        Err(E::custom(format!("{id} is not a token id")))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Item, A::Error> {
        let mut ids = Vec::new();
        while let Some(id) = list.next_element()? {
            ids.push(id);
        }
        Ok(Item::Ids(ids))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(json: &str) -> Result<Input, String> {
        let read = serde_json::from_str(json).map(|Inputs(input)| input);
        read.map_err(|error| error.to_string())
    }

    #[test]
    fn the_four_forms_of_openai() {
        assert_eq!(read(r#""a""#), Ok(Input::Texts(vec!["a".into()])));
        assert_eq!(
            read(r#"["a", "b\n"]"#),
            Ok(Input::Texts(vec!["a".into(), "b\n".into()]))
        );
        assert_eq!(read("[1, 2]"), Ok(Input::TokenIds(vec![vec![1, 2]])));
        assert_eq!(
            read("[[1], [2, 3], []]"),
            Ok(Input::TokenIds(vec![vec![1], vec![2, 3], vec![]]))
        );
    }

    #[track_caller]
    fn refused(json: &str, reason: &str) {
        let found = read(json).unwrap_err();
        assert!(found.starts_with(reason), "{json}: {found}");
    }

    #[test]
    fn everything_else_is_refused_with_the_reason() {
        refused("[]", "expected at least one input, found none");
        refused("7", "invalid type: integer `7`, expected a string, a list");
        refused("null", "invalid type: null, expected a string, a list");
        refused("{}", "invalid type: map, expected a string, a list");
        refused(r#"["a", 1]"#, "element 1 is of another kind than the first");
        refused("[1, [2]]", "element 1 is of another kind than the first");
        refused(r#"[[1], "a"]"#, "element 1 is of another kind");
        refused("[1.5]", "invalid type: floating point `1.5`, expected a");
        refused("[-1]", "-1 is not a token id");
        refused("[4294967296]", "4294967296 is not a token id");
        refused("[[-1]]", "invalid value: integer `-1`, expected u32");
        refused("[null]", "invalid type: null, expected a string, a token");
    }
}
