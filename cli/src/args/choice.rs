//! Options whose values are the library's enums.

use clap::builder::{PossibleValuesParser, TypedValueParser};

/// Accepts the names of `table` and gives the value beside the name.
pub(super) fn one_of<T: Copy + Send + Sync + 'static>(
    table: &'static [(&'static str, T)],
) -> impl TypedValueParser<Value = T> {
    let names = table.iter().map(|&(name, _)| name);
    PossibleValuesParser::new(names).try_map(move |wanted| {
        let found = table.iter().find(|&&(name, _)| name == wanted);
        found.map(|&(_, value)| value).ok_or("not in the table")
    })
}
