//! Where commands write: data to standard output, all else to standard error (style 16).
//!
//! A reader that went away (`muster status | head`) is no error.

use std::io::{self, Write};

use serde::Serialize;

/// Writes what a command has to say.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Printer;

impl Printer {
    /// A line, or several, of the answer.
    pub(crate) fn line(self, text: impl AsRef<str>) {
        let mut out = io::stdout().lock();
        // Nobody reads any more: nothing is lost by not writing.
        let _ = writeln!(out, "{}", text.as_ref()).and_then(|()| out.flush());
    }

    /// The answer as one line of JSON.
    pub(crate) fn json(self, value: &impl Serialize) {
        self.line(
            serde_json::to_string(value).expect("our answers are plain data, which JSON can always hold"),
        );
    }

    /// The answer as JSON for people.
    pub(crate) fn pretty_json(self, value: &impl Serialize) {
        self.line(
            serde_json::to_string_pretty(value)
                .expect("our answers are plain data, which JSON can always hold"),
        );
    }

    /// A remark that is not part of the answer.
    pub(crate) fn note(self, text: impl AsRef<str>) {
        let _ = writeln!(io::stderr().lock(), "{}", text.as_ref());
    }
}

/// Lays out rows in columns, two blanks between them, without blanks at the ends of lines.
pub(crate) fn table(rows: &[Vec<String>], indent: usize) -> String {
    let columns = rows.iter().map(Vec::len).max().unwrap_or(0);
    let widths: Vec<usize> = (0..columns)
        .map(|column| {
            rows.iter().filter_map(|row| row.get(column)).map(|cell| cell.chars().count()).max().unwrap_or(0)
        })
        .collect();
    let lines: Vec<String> = rows
        .iter()
        .map(|row| {
            let cells: Vec<String> =
                row.iter().zip(&widths).map(|(cell, width)| format!("{cell:<width$}")).collect();
            format!("{:indent$}{}", "", cells.join("  ")).trim_end().to_owned()
        })
        .collect();
    lines.join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_line_up_and_lines_end_with_their_last_word() {
        let rows = [
            vec!["a".to_owned(), "b".to_owned(), String::new()],
            vec!["long".to_owned(), "c".to_owned(), "d".to_owned()],
        ];
        assert_eq!(table(&rows, 2), "  a     b\n  long  c  d");
    }
}
