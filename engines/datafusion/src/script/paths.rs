//! Where the relative paths of a script lead: inputs beside the script, outputs below the output
//! directory.

use std::collections::HashSet;
use std::path::{Component, Path, PathBuf};

use datafusion::sql::parser::Statement;
use datafusion::sql::sqlparser::ast::{ObjectName, Statement as Sql, TableObject};

use super::{Script, ScriptStatement, SqlError};

/// The two roots of relative paths.
#[derive(Clone, Debug)]
pub struct Paths {
    /// The script's own directory, absolute.
    pub inputs: PathBuf,
    /// The absolute directory that relative targets begin at.
    pub outputs: PathBuf,
}

impl Paths {
    /// The absolute path behind `location` for reading.
    pub fn input(&self, location: &str) -> Result<String, String> {
        resolve(&self.inputs, location)
    }

    /// The absolute path behind `location` for writing.
    pub fn output(&self, location: &str) -> Result<String, String> {
        resolve(&self.outputs, location)
    }
}

/// The absolute path. A trailing `/`, which tells a directory from a file, is kept, and so are
/// globs.
fn resolve(root: &Path, location: &str) -> Result<String, String> {
    let path = match location.split_once("://") {
        Some(("file", path)) => path,
        Some((scheme, _)) => {
            return Err(format!("'{scheme}://' is not supported yet: use a path or file://"));
        }
        None => location,
    };
    if path.is_empty() {
        return Err("an empty path".to_owned());
    }
    let absolute = without_dots(&root.join(path));
    let mut text = absolute.to_str().ok_or_else(|| format!("'{path}' is not UTF-8"))?.to_owned();
    if path.ends_with('/') && !text.ends_with('/') {
        text.push('/');
    }
    Ok(text)
}

/// The path without dots: `y/../x/` is `x`. Dots that lead above the beginning of a relative path
/// stay.
fn without_dots(path: &Path) -> PathBuf {
    let mut plain = PathBuf::new();
    for component in path.components() {
        match (component, plain.components().next_back()) {
            (Component::CurDir, _) | (Component::ParentDir, Some(Component::RootDir)) => {}
            (Component::ParentDir, Some(Component::Normal(_))) => {
                plain.pop();
            }
            (other, _) => plain.push(other),
        }
    }
    plain
}

/// One path for all spellings of a place, also for those that lead there through a link, as far as
/// the place exists.
pub(super) fn place(root: &Path, location: &str) -> PathBuf {
    let path = without_dots(&root.join(location.strip_prefix("file://").unwrap_or(location)));
    let known = path.ancestors().filter(|there| there.is_absolute()).find_map(|there| {
        let rest = path.strip_prefix(there).ok()?;
        Some(there.canonicalize().ok()?.join(rest))
    });
    // Collecting the components drops a separator at the end.
    known.unwrap_or(path).components().collect()
}

impl Script {
    /// The statement with every location made absolute.
    ///
    /// A relative location is an *output* if a COPY writes it or an INSERT of this script goes into
    /// its table, and otherwise an input. Hence a script reads back what an earlier statement wrote
    /// without saying where that is.
    pub(crate) fn resolved(
        &self,
        statement: &ScriptStatement,
        paths: &Paths,
    ) -> Result<Statement, SqlError> {
        let mut ast = statement.ast.clone();
        let fail = |message: String| self.error_at(statement, message);
        match &mut ast {
            Statement::CopyTo(copy) => copy.target = paths.output(&copy.target).map_err(fail)?,
            Statement::CreateExternalTable(table) => {
                let inserted = self.insert_targets().contains(&key(&table.name));
                for location in &mut table.locations {
                    let written = inserted || self.is_copied_to(location);
                    let absolute =
                        if written { paths.output(location) } else { paths.input(location) };
                    *location = absolute.map_err(fail)?;
                    if (inserted || written) && !location.ends_with('/') && !location.contains('*')
                    {
                        // What a job writes is a directory of parts, even if it is called
                        // `x.parquet`.
                        location.push('/');
                    }
                }
            }
            _ => {}
        }
        Ok(ast)
    }

    /// The locations of a CREATE EXTERNAL TABLE that have to exist already, as they are written and
    /// as absolute paths: those that this script does not write, and that are no pattern.
    pub(crate) fn inputs(
        &self,
        statement: &ScriptStatement,
        paths: &Paths,
    ) -> Result<Vec<(String, String)>, SqlError> {
        let Statement::CreateExternalTable(table) = &statement.ast else { return Ok(Vec::new()) };
        if self.insert_targets().contains(&key(&table.name)) {
            return Ok(Vec::new());
        }
        let read = |location: &&String| {
            !self.is_copied_to(location) && !location.contains(['*', '?', '['])
        };
        let absolute = |location: &String| {
            let absolute =
                paths.input(location).map_err(|message| self.error_at(statement, message))?;
            Ok((location.clone(), absolute))
        };
        table.locations.iter().filter(read).map(absolute).collect()
    }

    fn insert_targets(&self) -> HashSet<String> {
        let insert = |s: &ScriptStatement| match &s.ast {
            Statement::Statement(sql) => match sql.as_ref() {
                Sql::Insert(insert) => match &insert.table {
                    TableObject::TableName(name) => Some(key(name)),
                    _ => None,
                },
                _ => None,
            },
            _ => None,
        };
        self.statements.iter().filter_map(insert).collect()
    }

    fn is_copied_to(&self, location: &str) -> bool {
        let location = Path::new(location);
        self.statements.iter().any(|s| match &s.ast {
            Statement::CopyTo(copy) => {
                location.is_relative() && location.starts_with(Path::new(&copy.target))
            }
            _ => false,
        })
    }
}

/// The key by which two table names are the same, because unquoted names are case-insensitive.
fn key(name: &ObjectName) -> String {
    name.to_string().to_ascii_lowercase()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn paths() -> Paths {
        Paths { inputs: "/app/src".into(), outputs: "/out".into() }
    }

    #[test]
    fn relative_paths_go_below_their_root_and_absolute_ones_stay() {
        assert_eq!(paths().input("data/x.csv").unwrap(), "/app/src/data/x.csv");
        assert_eq!(paths().output("./carriers/").unwrap(), "/out/carriers/");
        assert_eq!(paths().input("../x/*.csv").unwrap(), "/app/x/*.csv");
        assert_eq!(paths().output("/abs/x.parquet").unwrap(), "/abs/x.parquet");
        assert_eq!(paths().input("file:///abs/x.parquet").unwrap(), "/abs/x.parquet");
    }

    #[test]
    fn other_schemes_are_refused_by_name() {
        assert!(paths().input("s3://bucket/x").unwrap_err().contains("s3://"));
    }

    #[test]
    fn a_location_that_the_script_writes_is_an_output() {
        let script = Script::parse(
            "t.sql",
            "CREATE EXTERNAL TABLE a STORED AS CSV LOCATION 'a.csv';
             COPY (SELECT 1) TO 'x.parquet';
             CREATE EXTERNAL TABLE b STORED AS PARQUET LOCATION 'x.parquet';
             CREATE EXTERNAL TABLE c (n INT) STORED AS CSV LOCATION 'c/';
             INSERT INTO C SELECT 1;",
        )
        .unwrap();
        let location = |n: usize| match script.resolved(&script.statements[n], &paths()).unwrap() {
            Statement::CreateExternalTable(t) => t.locations[0].clone(),
            other => panic!("{other}"),
        };
        assert_eq!(location(0), "/app/src/a.csv");
        assert_eq!(location(2), "/out/x.parquet/");
        assert_eq!(location(3), "/out/c/");
    }
}
