//! Errors that show the line, a caret under the fault, and what to do.

use std::fmt;

use datafusion::common::SchemaError;
use datafusion::error::DataFusionError;
use datafusion::sql::sqlparser::parser::ParserError;
use datafusion::sql::sqlparser::tokenizer::Location;

use proto::Reason;

use super::RECURSION_LIMIT;
use crate::error::plain;

/// A mistake in a script, with its place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SqlError {
    /// The script's file name.
    pub file: String,
    /// The line, from 1.
    pub line: u64,
    /// The column in characters, from 1.
    pub column: u64,
    /// How many characters are underlined, at least 1.
    pub width: usize,
    /// The line as the script has it.
    pub source_line: String,
    /// What is wrong.
    pub message: String,
    /// What to do about it.
    pub help: Option<String>,
}

impl std::error::Error for SqlError {}

impl fmt::Display for SqlError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let number = self.line.to_string();
        let gutter = " ".repeat(number.len());
        // A tab stays a tab, so that the caret stands under its character at any tab width.
        let indent: String = self
            .source_line
            .chars()
            .take(self.column.saturating_sub(1) as usize)
            .map(|c| if c == '\t' { '\t' } else { ' ' })
            .collect();
        writeln!(f, "{}", self.message)?;
        writeln!(f, "{gutter}--> {}:{}:{}", self.file, self.line, self.column)?;
        writeln!(f, "{gutter} |")?;
        writeln!(f, "{number} | {}", self.source_line)?;
        write!(f, "{gutter} | {indent}{}", "^".repeat(self.width.max(1)))?;
        if let Some(help) = &self.help {
            write!(f, "\n{gutter} = help: {help}")?;
        }
        Ok(())
    }
}

/// The names that exist, for messages about one that does not.
#[derive(Debug, Default)]
pub struct KnownNames {
    /// The tables and views of the session.
    pub tables: Vec<String>,
    /// The functions of the engine.
    pub functions: Vec<String>,
}

impl SqlError {
    /// The stable reason code.
    pub const REASON: Reason = Reason::ProgramInvalid;

    pub(crate) fn at(
        file: &str,
        text: &str,
        line: u64,
        column: u64,
        width: usize,
        message: impl Into<String>,
    ) -> Self {
        let lines = text.lines().count().max(1) as u64;
        let line = line.clamp(1, lines);
        let source_line = text.lines().nth(line as usize - 1).unwrap_or("").to_owned();
        let chars = source_line.chars().count();
        let column = column.clamp(1, chars as u64 + 1);
        let width = width.clamp(1, (chars + 1).saturating_sub(column as usize - 1).max(1));
        Self {
            file: file.to_owned(),
            line,
            column,
            width,
            source_line,
            message: message.into(),
            help: None,
        }
    }

    pub(crate) fn with_help(mut self, help: impl Into<String>) -> Self {
        self.help = Some(help.into());
        self
    }

    /// The error for wrong syntax; sqlparser writes the place at the end of its text.
    pub(crate) fn from_parser(
        file: &str,
        text: &str,
        start: (u64, u64),
        error: &DataFusionError,
    ) -> Self {
        if matches!(error.find_root(), DataFusionError::SQL(e, _) if matches!(**e, ParserError::RecursionLimitExceeded))
        {
            let message = format!("this statement is nested deeper than {RECURSION_LIMIT} levels");
            return Self::at(file, text, start.0, start.1, 1, message)
                .with_help("split it with CREATE VIEW");
        }
        let full = plain(error);
        let full = full.strip_prefix("sql parser error: ").unwrap_or(&full);
        let full = full.strip_prefix("ParserError(\"").map_or(full, |t| t.trim_end_matches("\")"));
        let (message, place) = match full.split_once(" at Line: ") {
            Some((message, place)) => (message, parse_place(place)),
            None => (full, None),
        };
        let (line, column) = place.unwrap_or_else(|| {
            // "found: EOF" comes without a place, because the fault is where the statement stops.
            if message.ends_with("found: EOF") { end_of(text) } else { start }
        });
        Self::at(file, text, line, column, word_width(text, line, column), message)
    }

    /// The error for a wrong name or type, which is found while planning.
    pub(crate) fn from_planner(
        file: &str,
        text: &str,
        start: (u64, u64),
        error: &DataFusionError,
        known: &KnownNames,
    ) -> Self {
        let diagnostic = error.diagnostic();
        let span = diagnostic.and_then(|d| d.span);
        let root = plain(error);
        let message = diagnostic.map_or_else(|| root.clone(), |d| d.message.clone());
        let (line, column) = span.map_or(start, |s| (s.start.line, s.start.column));
        let width = match span {
            Some(s) if s.end.line == s.start.line && s.end.column > s.start.column => {
                (s.end.column - s.start.column) as usize
            }
            _ => word_width(text, line, column),
        };
        let mut ours = Self::at(file, text, line, column, width, message);
        ours.help = diagnostic
            .and_then(|d| d.helps.first().or(None).map(|h| h.message.clone()))
            .or_else(|| help_for(&ours.message, error, known));
        if ours.help.is_none() && ours.message != root {
            ours.help = Some(root);
        }
        ours
    }
}

fn help_for(message: &str, error: &DataFusionError, known: &KnownNames) -> Option<String> {
    if let DataFusionError::SchemaError(inner, _) = error.find_root()
        && let SchemaError::FieldNotFound { field, valid_fields } = inner.as_ref()
    {
        let names: Vec<String> = valid_fields.iter().map(|c| c.name.clone()).collect();
        return Some(suggest("columns here", &field.name, &names));
    }
    let lower = message.to_ascii_lowercase();
    let quoted = message.split('\'').nth(1).unwrap_or("");
    if lower.starts_with("table ") && lower.contains("not found") {
        let bare = quoted.rsplit('.').next().unwrap_or(quoted);
        if known.tables.is_empty() {
            return Some("no table is known here: CREATE EXTERNAL TABLE first".to_owned());
        }
        return Some(suggest("known tables", bare, &known.tables));
    }
    if lower.contains("invalid function")
        || lower.contains("function") && lower.contains("not found")
    {
        let near = nearest(quoted, &known.functions)?;
        return Some(format!("did you mean '{near}'?"));
    }
    None
}

fn suggest(what: &str, wrong: &str, names: &[String]) -> String {
    const SHOWN: usize = 12;
    let mut text = match nearest(wrong, names) {
        Some(near) => format!("did you mean '{near}'? {what}: "),
        None => format!("{what}: "),
    };
    text.push_str(&names.iter().take(SHOWN).map(String::as_str).collect::<Vec<_>>().join(", "));
    if names.len() > SHOWN {
        text.push_str(&format!(", … ({} in all)", names.len()));
    }
    text
}

/// The closest name, if it differs in a third of its length at most.
pub(crate) fn nearest<'a>(wrong: &str, names: &'a [String]) -> Option<&'a str> {
    let wrong = wrong.to_ascii_lowercase();
    names
        .iter()
        .map(|name| (distance(&wrong, &name.to_ascii_lowercase()), name))
        .filter(|(d, name)| *d <= name.chars().count().max(3) / 3)
        .min_by_key(|(d, _)| *d)
        .map(|(_, name)| name.as_str())
}

/// The number of edits between two words; a swap of neighbours counts as one.
fn distance(a: &str, b: &str) -> usize {
    let (a, b): (Vec<char>, Vec<char>) = (a.chars().collect(), b.chars().collect());
    let mut rows = vec![vec![0usize; b.len() + 1]; a.len() + 1];
    for (i, row) in rows.iter_mut().enumerate() {
        row[0] = i;
    }
    for (j, cell) in rows[0].iter_mut().enumerate() {
        *cell = j;
    }
    for i in 1..=a.len() {
        for j in 1..=b.len() {
            let change = usize::from(a[i - 1] != b[j - 1]);
            let mut best =
                (rows[i - 1][j] + 1).min(rows[i][j - 1] + 1).min(rows[i - 1][j - 1] + change);
            if i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1] {
                best = best.min(rows[i - 2][j - 2] + 1);
            }
            rows[i][j] = best;
        }
    }
    rows[a.len()][b.len()]
}

/// Reads `3, Column: 15` as (3, 15).
fn parse_place(place: &str) -> Option<(u64, u64)> {
    let (line, column) = place.split_once(", Column: ")?;
    let digits: String = column.chars().take_while(char::is_ascii_digit).collect();
    Some((line.trim().parse().ok()?, digits.parse().ok()?))
}

fn end_of(text: &str) -> (u64, u64) {
    let trimmed = text.trim_end();
    let line = trimmed.lines().count().max(1) as u64;
    let column = trimmed.lines().last().map_or(0, |l| l.chars().count()) as u64;
    (line, column.max(1))
}

fn word_width(text: &str, line: u64, column: u64) -> usize {
    let rest = text.lines().nth(line.saturating_sub(1) as usize).unwrap_or("");
    let word = rest.chars().skip(column.saturating_sub(1) as usize);
    word.take_while(|c| c.is_alphanumeric() || *c == '_').count().max(1)
}

/// The part of `text` between two places; `end` is exclusive, and columns count characters.
pub(super) fn slice(text: &str, start: Location, end: Location) -> &str {
    let offset = |at: Location| {
        let mut begin = 0;
        for _ in 1..at.line {
            begin += text[begin..].find('\n').map_or(text.len() - begin, |n| n + 1);
        }
        text[begin..]
            .char_indices()
            .nth(at.column.saturating_sub(1) as usize)
            .map_or(text.len(), |(n, _)| begin + n)
    };
    text.get(offset(start)..offset(end)).unwrap_or("")
}
