//! A `.sql` application as a list of statements: which of them set the session up, which are jobs,
//! which are refused.
//!
//! The whole script is read before anything runs, so that a mistake in the last line costs nothing.
//! `docs/sql.md` is the reference for people; this module is what that page describes.

mod classify;
mod diagnostic;
mod paths;
#[cfg(test)]
mod tests;

use std::collections::HashMap;
use std::path::Path;

use datafusion::sql::parser::{DFParserBuilder, Statement};
use datafusion::sql::sqlparser::dialect::GenericDialect;
use datafusion::sql::sqlparser::tokenizer::{Token, TokenWithSpan, Tokenizer, Whitespace};

pub(crate) use diagnostic::nearest;
pub use diagnostic::{KnownNames, SqlError};
pub use paths::Paths;

/// The depth to which expressions may nest; the stacks of [`crate::execute::runtime`] are large
/// enough for it.
const RECURSION_LIMIT: usize = 256;

/// A parsed script.
#[derive(Debug)]
pub struct Script {
    /// The file's name, for messages.
    pub file: String,
    /// The whole text.
    pub text: String,
    /// The statements, in the order of the text.
    pub statements: Vec<ScriptStatement>,
}

/// One statement with its place in the script.
#[derive(Clone, Debug)]
pub struct ScriptStatement {
    /// 1 for the first statement of the script.
    pub ordinal: usize,
    /// The text from its first token to its last, with the comments in between.
    pub text: String,
    /// The line of its first token, from 1.
    pub line: u64,
    /// The column of its first token in characters, from 1.
    pub column: u64,
    /// What it does.
    pub kind: StatementKind,
    pub(crate) ast: Statement,
}

/// What a statement does.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum StatementKind {
    /// The statement changes the session: `CREATE EXTERNAL TABLE`, `CREATE VIEW`, `SET`, … main()
    /// runs it by itself, each time that main() is executed.
    Setup,
    /// The statement is one `execute()`.
    Job {
        /// The name from a `-- job: NAME` line above the statement.
        name: Option<String>,
        /// Whether rows come back, as those of a SELECT do; COPY and INSERT write files.
        returns_rows: bool,
    },
}

impl ScriptStatement {
    /// The target of a COPY as it is written.
    pub fn copy_target(&self) -> Option<&str> {
        match &self.ast {
            Statement::CopyTo(copy) => Some(&copy.target),
            _ => None,
        }
    }
}

impl Script {
    /// Splits and classifies `text`; `file` is only used in messages.
    pub fn parse(file: &str, text: &str) -> Result<Self, SqlError> {
        let dialect = GenericDialect {};
        let tokens = Tokenizer::new(&dialect, text).tokenize_with_location().map_err(|e| {
            SqlError::at(file, text, e.location.line, e.location.column, 1, e.message)
        })?;
        let mut statements = Vec::new();
        for slice in split(tokens) {
            let Some(piece) = Piece::new(slice) else { continue };
            let ordinal = statements.len() + 1;
            statements.push(piece.parse(file, text, ordinal)?);
        }
        let script = Self { file: file.to_owned(), text: text.to_owned(), statements };
        script.names_are_unique()?;
        script.targets_are_distinct(Path::new(""))?;
        Ok(script)
    }

    /// How many statements are jobs.
    pub fn jobs(&self) -> usize {
        self.statements.iter().filter(|s| matches!(s.kind, StatementKind::Job { .. })).count()
    }

    /// Refuses two jobs that would have one name in the record. A job without a name of its own is
    /// called `job-N` there, by its place among the jobs.
    fn names_are_unique(&self) -> Result<(), SqlError> {
        let mut seen: HashMap<String, (u64, bool)> = HashMap::new();
        let jobs = self.statements.iter().filter_map(|statement| match &statement.kind {
            StatementKind::Job { name, .. } => Some((statement, name)),
            StatementKind::Setup => None,
        });
        for (ordinal, (statement, given)) in jobs.enumerate() {
            let name = given.clone().unwrap_or_else(|| format!("job-{ordinal}"));
            let Some((first, first_given)) =
                seen.insert(name.clone(), (statement.line, given.is_some()))
            else {
                continue;
            };
            let error = match (first_given, given.is_some()) {
                (true, true) => format!("the job name '{name}' is already used by line {first}"),
                (false, _) => format!(
                    "the job name '{name}' is that of the job in line {first}, which has none of its own"
                ),
                (true, false) => format!(
                    "without a name of its own this job is called '{name}', which is the name of line {first}"
                ),
            };
            return Err(self
                .error_at(statement, error)
                .with_help("a job is identified by its name: give each its own `-- job: NAME`"));
        }
        Ok(())
    }

    /// Refuses two COPY statements to one place, which would mix their files. Relative targets lie
    /// below `outputs`; a call before `outputs` is known passes an empty one and finds the targets
    /// that are equal already.
    pub(crate) fn targets_are_distinct(&self, outputs: &Path) -> Result<(), SqlError> {
        let mut seen = HashMap::new();
        for statement in &self.statements {
            let Some(target) = statement.copy_target() else { continue };
            if let Some((first, other)) =
                seen.insert(paths::place(outputs, target), (statement.line, target))
            {
                let same = if other == target { String::new() } else { format!(" as '{other}'") };
                return Err(self
                    .error_at(statement, format!("'{target}' is already written by line {first}{same}"))
                    .with_help("a COPY owns its target: use another one, or INSERT INTO one external table from both"));
            }
        }
        Ok(())
    }

    /// An error that points at a statement's first word.
    pub(crate) fn error_at(
        &self,
        statement: &ScriptStatement,
        message: impl Into<String>,
    ) -> SqlError {
        let width = statement.text.split_whitespace().next().map_or(1, |w| w.chars().count());
        SqlError::at(&self.file, &self.text, statement.line, statement.column, width, message)
    }
}

/// Cuts the tokens at semicolons. Each piece keeps its leading white space, in which job names
/// stand.
fn split(tokens: Vec<TokenWithSpan>) -> Vec<Vec<TokenWithSpan>> {
    let mut pieces = vec![Vec::new()];
    for token in tokens {
        match token.token {
            Token::EOF => {}
            Token::SemiColon => pieces.push(Vec::new()),
            _ => pieces.last_mut().expect("there is always one piece").push(token),
        }
    }
    pieces
}

/// The tokens of one statement, and the job name above it.
struct Piece {
    tokens: Vec<TokenWithSpan>,
    name: Option<(String, u64, u64)>,
}

impl Piece {
    /// The piece without white space around it; `None` if nothing else but comments is left.
    fn new(tokens: Vec<TokenWithSpan>) -> Option<Self> {
        let start = tokens.iter().position(|t| !matches!(t.token, Token::Whitespace(_)))?;
        let end = tokens.iter().rposition(|t| !matches!(t.token, Token::Whitespace(_)))?;
        let mut name = None;
        let mut on_own_line = tokens.first().is_some_and(|t| t.span.start.column == 1);
        for token in &tokens[..start] {
            match &token.token {
                Token::Whitespace(Whitespace::Newline) => on_own_line = true,
                Token::Whitespace(Whitespace::SingleLineComment { comment, prefix }) => {
                    if on_own_line
                        && prefix == "--"
                        && let Some(given) = comment.trim().strip_prefix("job:")
                    {
                        let at = token.span.start;
                        name = Some((given.trim().to_owned(), at.line, at.column));
                    }
                    // The comment's token includes the end of its line.
                    on_own_line = true;
                }
                _ => {}
            }
        }
        Some(Self { tokens: tokens[start..=end].to_vec(), name })
    }

    fn parse(self, file: &str, text: &str, ordinal: usize) -> Result<ScriptStatement, SqlError> {
        let start = self.tokens[0].span.start;
        let last = &self.tokens[self.tokens.len() - 1];
        let slice = diagnostic::slice(text, start, last.span.end).to_owned();
        let at_start =
            |message: String| SqlError::at(file, text, start.line, start.column, 1, message);
        let mut parser = DFParserBuilder::new(self.tokens)
            .with_recursion_limit(RECURSION_LIMIT)
            .build()
            .map_err(|e| SqlError::from_parser(file, text, (start.line, start.column), &e))?;
        let mut parsed = parser
            .parse_statements()
            .map_err(|e| SqlError::from_parser(file, text, (start.line, start.column), &e))?;
        let ast = parsed.pop_front().ok_or_else(|| at_start("no statement here".to_owned()))?;

        let width = slice.split_whitespace().next().map_or(1, |word| word.chars().count());
        let kind = classify::classify(&ast).map_err(|unfit| {
            SqlError::at(file, text, start.line, start.column, width, unfit.message)
                .with_help(unfit.help)
        })?;
        let kind = match (kind, self.name) {
            (StatementKind::Job { returns_rows, .. }, Some((name, line, column))) => {
                if !is_job_name(&name) {
                    let message = format!("'{name}' is not a job name");
                    return Err(SqlError::at(file, text, line, column, 2, message).with_help(
                        "1 to 128 letters, digits, '.', '_' and '-', such as `-- job: by_carrier`",
                    ));
                }
                StatementKind::Job { name: Some(name), returns_rows }
            }
            (StatementKind::Setup, Some((name, line, column))) => {
                let message =
                    format!("the job name '{name}' stands above a statement that is no job");
                return Err(SqlError::at(file, text, line, column, 2, message)
                    .with_help("name SELECT, COPY and INSERT statements; move the comment down"));
            }
            (kind, None) => kind,
        };
        Ok(ScriptStatement {
            ordinal,
            text: slice,
            line: start.line,
            column: start.column,
            kind,
            ast,
        })
    }
}

fn is_job_name(name: &str) -> bool {
    (1..=128).contains(&name.len())
        && name.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'-'))
}
