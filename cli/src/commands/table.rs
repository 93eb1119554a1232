//! Results laid out for reading.

use std::io::{self, Write};

use console::Term;

use super::similarity::Scored;

/// Rank, score and text, one line each.
pub(super) fn ranking(out: &mut dyn Write, results: &[Scored<'_>]) -> io::Result<()> {
    let head = "rank    score  ";
    writeln!(out, "{head}text")?;
    for (result, rank) in results.iter().zip(1..) {
        let text = one_line(result.text, head.len());
        writeln!(out, "{rank:>4}  {:>7.4}  {text}", result.score)?;
    }
    Ok(())
}

/// Names and values in two columns.
pub(crate) fn pairs(out: &mut dyn Write, pairs: &[(&str, String)]) -> io::Result<()> {
    let width = pairs.iter().map(|(name, _)| name.len()).max().unwrap_or(0);
    for (name, value) in pairs {
        writeln!(out, "{name:<width$}  {value}")?;
    }
    Ok(())
}

/// Cells under their names, the first column on the left and the others on the right.
#[cfg(feature = "bench")]
pub(crate) fn columns(out: &mut dyn Write, names: &[&str], rows: &[Vec<String>]) -> io::Result<()> {
    let width = |place: usize| {
        let cells = rows.iter().filter_map(|row| row.get(place));
        let cells = cells.map(String::as_str).chain([names[place]]);
        cells.map(console::measure_text_width).max().unwrap_or(0)
    };
    let widths: Vec<usize> = (0..names.len()).map(width).collect();
    let names = names.iter().map(|&name| name.to_owned()).collect();
    for row in [&names].into_iter().chain(rows) {
        for (place, (cell, &width)) in row.iter().zip(&widths).enumerate() {
            match place {
                0 => write!(out, "{cell:<width$}")?,
                _ => write!(out, "  {cell:>width$}")?,
            }
        }
        writeln!(out)?;
    }
    Ok(())
}

/// `text` without control characters; on a terminal, cut to what is left after `indent` columns.
fn one_line(text: &str, indent: usize) -> String {
    let line = text.replace(char::is_control, " ");
    let terminal = Term::stdout();
    match terminal.size_checked() {
        Some((_, columns)) if terminal.is_term() => {
            let left = usize::from(columns).saturating_sub(indent);
            console::truncate_str(&line, left, "…").into_owned()
        }
        _ => line,
    }
}
