//! What a subcommand says: lines and tables for people, one JSON object for scripts.
//!
//! With `--json` standard output carries exactly one line, the object; whatever is meant for people goes to standard
//! error. Without it people's words go to standard output and no JSON is printed. Progress bars are drawn on a
//! terminal's standard error and nowhere else.

use std::io::{self, IsTerminal as _, Write};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use serde_json::Value;

/// Who reads what the program says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reader {
    /// A person: lines and tables on standard output.
    Person,
    /// A script: one JSON object on standard output, the rest on standard error.
    Script,
}

/// The voice of one run.
#[derive(Clone, Copy, Debug)]
pub struct Output {
    reader: Reader,
}

impl Output {
    /// Speaks to the given reader.
    pub fn new(reader: Reader) -> Self {
        Self { reader }
    }

    /// Who reads.
    pub fn reader(&self) -> Reader {
        self.reader
    }

    /// Says a line, or several, to a person. A reader that has hung up (a closed pipe) is no error.
    pub fn say(&self, text: impl AsRef<str>) {
        let text = text.as_ref();
        match self.reader {
            Reader::Person => answer_line(text),
            Reader::Script => write_line(io::stderr().lock(), text),
        }
    }

    /// Says something beside the result, such as a warning: always on standard error.
    pub fn note(&self, text: impl AsRef<str>) {
        write_line(io::stderr().lock(), text.as_ref());
    }

    /// Prints the result for a script; a person gets nothing here. Call it once, last.
    pub fn result(&self, object: &Value) {
        assert!(object.is_object(), "a result is one JSON object");
        if self.reader == Reader::Script {
            answer_line(&object.to_string());
        }
    }

    /// Says why a run ended without a result: the chain of causes for a person, the same as `error` in one JSON
    /// object for a script.
    pub fn error(&self, error: &anyhow::Error) {
        let text = causes(error);
        self.note(format!("error: {text}"));
        self.result(&serde_json::json!({ "error": text }));
    }

    /// Shows a bar for work of `length` steps on a terminal, and nothing elsewhere.
    pub fn progress(&self, what: &'static str, length: u64) -> ProgressBar {
        if !io::stderr().is_terminal() {
            return ProgressBar::hidden();
        }
        let bar = ProgressBar::with_draw_target(Some(length), ProgressDrawTarget::stderr_with_hz(10));
        let style = ProgressStyle::with_template("{msg} {wide_bar} {pos}/{len} {elapsed}")
            .expect("the template names known keys only");
        bar.set_style(style);
        bar.set_message(what);
        bar.enable_steady_tick(Duration::from_millis(200));
        bar
    }
}

/// An error with its causes; a cause that the sentence before it ends with is not said twice.
pub(crate) fn causes(error: &anyhow::Error) -> String {
    let mut text = error.to_string();
    let mut last = text.clone();
    for cause in error.chain().skip(1).map(ToString::to_string) {
        if !last.ends_with(&cause) {
            text.push_str(&format!(": {cause}"));
        }
        last = cause;
    }
    text
}

/// Whether an answer was lost: standard output could not be written, and not because its reader has hung up.
static LOST: AtomicBool = AtomicBool::new(false);

/// Whether something of what this process answered was lost.
pub(crate) fn is_lost() -> bool {
    LOST.load(Ordering::Relaxed)
}

fn answer_line(text: &str) {
    let mut out = io::stdout().lock();
    if let Err(error) = writeln!(out, "{text}").and_then(|()| out.flush())
        // A closed pipe (`tiltyard … | head`) must neither panic nor turn a fine run into a failed one.
        && error.kind() != io::ErrorKind::BrokenPipe
        && !LOST.swap(true, Ordering::Relaxed)
    {
        write_line(io::stderr().lock(), &format!("error: writing to standard output: {error}"));
    }
}

fn write_line(mut to: impl Write, text: &str) {
    // Where even this cannot be said, nothing is left to do.
    let _ = writeln!(to, "{text}").and_then(|()| to.flush());
}

/// Rows under headings, padded to the widest cell: the first column to the left, the rest to the right.
#[derive(Clone, Debug, Default)]
pub struct Table {
    rows: Vec<Vec<String>>,
}

impl Table {
    /// A table with these headings.
    pub fn new<const N: usize>(headings: [&str; N]) -> Self {
        Self { rows: vec![headings.map(str::to_owned).to_vec()] }
    }

    /// Adds a row; it has as many cells as there are headings.
    ///
    /// # Panics
    /// Panics when the number of cells differs.
    pub fn row<const N: usize>(&mut self, cells: [String; N]) {
        assert_eq!(cells.len(), self.rows[0].len(), "a row has a cell under each heading");
        self.rows.push(cells.into());
    }
}

impl std::fmt::Display for Table {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let columns = self.rows.first().map_or(0, Vec::len);
        let width =
            |column: usize| self.rows.iter().map(|row| row[column].chars().count()).max().unwrap_or(0);
        let widths: Vec<usize> = (0..columns).map(width).collect();
        for (index, row) in self.rows.iter().enumerate() {
            let mut line = String::new();
            for (column, (cell, width)) in row.iter().zip(&widths).enumerate() {
                match column {
                    0 => line.push_str(&format!("{cell:<width$}")),
                    _ => line.push_str(&format!("  {cell:>width$}")),
                }
            }
            let end = if index + 1 == self.rows.len() { "" } else { "\n" };
            write!(f, "{}{end}", line.trim_end())?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_table_lines_up_by_characters_not_bytes() {
        let mut table = Table::new(["node", "load"]);
        table.row(["a".into(), "100".into()]);
        table.row(["löwe".into(), "7".into()]);
        assert_eq!(table.to_string(), "node  load\na      100\nlöwe     7");
    }

    #[test]
    fn a_cause_that_was_told_is_not_told_again() {
        let path = std::path::PathBuf::from("k.toml");
        let source = || io::Error::other("no room");
        let told = crate::keys::KeysError::Io { path, source: source() };
        assert_eq!(causes(&anyhow::Error::new(told).context("making keys")), "making keys: k.toml: no room");
        assert_eq!(causes(&anyhow::Error::new(source()).context("k.toml")), "k.toml: no room");
    }

    #[test]
    #[should_panic(expected = "a result is one JSON object")]
    fn a_result_that_is_no_object_is_our_mistake() {
        Output::new(Reader::Person).result(&serde_json::json!([1]));
    }
}
