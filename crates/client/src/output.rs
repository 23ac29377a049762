//! What was found, written as a table, JSON, YAML or bare names.
//!
//! A list is written as its pages come. Its JSON is one array with a row on each line, so that it can be read by a
//! parser as a whole and by a program that reads lines.

use std::io::{self, Write};

use serde_json::Value;

use crate::table::{Column, Layout};

/// How results are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// For people.
    Table,
    /// What the server sent.
    Json,
    /// The same.
    Yaml,
    /// One name a line, for a shell.
    Name,
}

/// Writes a list page by page.
pub struct Lister<'a, W> {
    output: W,
    form: Form,
    columns: &'a [Column],
    name: fn(&Value) -> String,
    /// Of the terminal, when there is one.
    width: Option<usize>,
    has_header: bool,
    layout: Option<Layout>,
    rows: u64,
}

impl<'a, W: Write> Lister<'a, W> {
    /// `name` is what identifies a row, such as `project/repository`.
    pub fn new(
        output: W,
        form: Form,
        columns: &'a [Column],
        name: fn(&Value) -> String,
        width: Option<usize>,
        has_header: bool,
    ) -> Self {
        Self { output, form, columns, name, width, has_header, layout: None, rows: 0 }
    }

    /// # Errors
    /// Of the writer.
    pub fn write(&mut self, rows: &[Value]) -> io::Result<()> {
        if self.form == Form::Table && self.layout.is_none() {
            let layout = Layout::new(self.columns, rows, self.width);
            if self.has_header {
                writeln!(self.output, "{}", layout.header())?;
            }
            self.layout = Some(layout);
        }
        for row in rows {
            match self.form {
                Form::Table => {
                    let line = self.layout.as_ref().map(|layout| layout.row(row)).unwrap_or_default();
                    writeln!(self.output, "{line}")?;
                }
                Form::Json => {
                    let before = if self.rows == 0 { "[\n" } else { ",\n" };
                    write!(self.output, "{before}{row}")?;
                }
                Form::Yaml => self.output.write_all(yaml(&[row])?.as_bytes())?,
                Form::Name => writeln!(self.output, "{}", (self.name)(row))?,
            }
            self.rows += 1;
        }
        Ok(())
    }

    /// Closes what has to be closed, and flushes.
    ///
    /// # Errors
    /// Of the writer.
    pub fn end(mut self) -> io::Result<()> {
        match (self.form, self.rows) {
            (Form::Json | Form::Yaml, 0) => self.output.write_all(b"[]\n")?,
            (Form::Json, _) => self.output.write_all(b"\n]\n")?,
            _ => {}
        }
        self.output.flush()
    }
}

/// Writes one thing: a line for each of `fields`, or what the server sent.
///
/// # Errors
/// Of the writer.
pub fn show(
    mut output: impl Write,
    form: Form,
    fields: &[Column],
    name: fn(&Value) -> String,
    value: &Value,
) -> io::Result<()> {
    match form {
        Form::Table => {
            let width = fields.iter().map(|field| field.title.len()).max().unwrap_or_default() + 2;
            for field in fields {
                writeln!(output, "{:<width$}{}", field.title, (field.value)(value))?;
            }
        }
        Form::Json => writeln!(output, "{value:#}")?,
        Form::Yaml => output.write_all(yaml(value)?.as_bytes())?,
        Form::Name => writeln!(output, "{}", name(value))?,
    }
    output.flush()
}

fn yaml(value: &impl serde::Serialize) -> io::Result<String> {
    let mut text = serde_saphyr::to_string(value).map_err(io::Error::other)?;
    if !text.ends_with('\n') {
        text.push('\n');
    }
    Ok(text)
}

/// A text with everything spelt out that a terminal would obey instead of showing, and that turns the direction of
/// writing.
pub fn printable(text: &str) -> String {
    let obeyed = |character: char| {
        character.is_control()
            || matches!(character, '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
    };
    let mut shown = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '\n' => shown.push_str("\\n"),
            '\t' => shown.push_str("\\t"),
            other if obeyed(other) => shown.extend(other.escape_unicode()),
            other => shown.push(other),
        }
    }
    shown
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::table::text;

    const COLUMNS: &[Column] =
        &[Column::new("NAME", 0, |row| text(&row["name"])), Column::new("N", 1, |row| text(&row["n"]))];

    fn listed(form: Form, pages: &[Vec<Value>]) -> String {
        let mut written = Vec::new();
        let mut lister = Lister::new(&mut written, form, COLUMNS, |row| text(&row["name"]), None, true);
        for page in pages {
            lister.write(page).unwrap();
        }
        lister.end().unwrap();
        String::from_utf8(written).unwrap()
    }

    #[test]
    fn lists_in_all_forms() {
        let row = |name: &str, n: i64| json!({"name": name, "n": n});
        let pages = [vec![row("a", 1), row("bb", 2)], vec![row("c", 3)]];
        assert_eq!(listed(Form::Table, &pages), "NAME  N\na     1\nbb    2\nc     3\n");
        assert_eq!(listed(Form::Name, &pages), "a\nbb\nc\n");
        let json = listed(Form::Json, &pages);
        let read: Vec<Value> = serde_json::from_str(&json).unwrap();
        assert_eq!(read, [row("a", 1), row("bb", 2), row("c", 3)]);
        assert_eq!(json.lines().count(), 5, "{json}");
        let yaml = listed(Form::Yaml, &pages);
        assert_eq!(serde_saphyr::from_str::<Vec<Value>>(&yaml).unwrap(), read, "{yaml}");
    }

    #[test]
    fn empty_lists_can_be_parsed_too() {
        assert_eq!(listed(Form::Json, &[vec![]]), "[]\n");
        assert_eq!(listed(Form::Yaml, &[vec![]]), "[]\n");
        assert_eq!(listed(Form::Table, &[vec![]]), "NAME  N\n");
        assert_eq!(listed(Form::Name, &[vec![]]), "");
    }

    #[test]
    fn one_thing_in_all_forms() {
        let value = json!({"name": "a", "n": 1, "more": [true]});
        let shown = |form: Form| {
            let mut written = Vec::new();
            show(&mut written, form, COLUMNS, |row| text(&row["name"]), &value).unwrap();
            String::from_utf8(written).unwrap()
        };
        assert_eq!(shown(Form::Table), "NAME  a\nN     1\n");
        assert_eq!(shown(Form::Name), "a\n");
        assert_eq!(serde_json::from_str::<Value>(&shown(Form::Json)).unwrap(), value);
        assert_eq!(serde_saphyr::from_str::<Value>(&shown(Form::Yaml)).unwrap(), value);
    }
}
