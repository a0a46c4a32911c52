//! The command line: `delays [--year YEAR] [--column COLUMN] [FILE]`.

/// What a run is about.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Arguments {
    /// Only flights of this year count.
    pub(crate) year: i64,
    /// The column of delays, in minutes.
    pub(crate) column: String,
    /// The CSV file: a path, or the name of an artifact.
    pub(crate) file: String,
}

const USAGE: &str = "usage: delays [--year YEAR] [--column dep_delay|arr_delay] [FILE]";

impl Arguments {
    /// Reads the arguments, or says which one is wrong.
    pub(crate) fn parse(given: &[String]) -> Result<Self, String> {
        let mut arguments = Self {
            year: 2013,
            column: "dep_delay".to_owned(),
            file: "flights-2013-01.csv".to_owned(),
        };
        let mut file = None;
        let mut given = given.iter();
        while let Some(argument) = given.next() {
            let mut value =
                || given.next().ok_or_else(|| format!("{argument} needs a value\n{USAGE}"));
            match argument.as_str() {
                "--year" => {
                    let year = value()?;
                    arguments.year = year
                        .parse()
                        .map_err(|_| format!("--year {year:?} is not a year\n{USAGE}"))?;
                }
                "--column" => arguments.column = value()?.clone(),
                option if option.starts_with('-') => {
                    return Err(format!("unknown option {option:?}\n{USAGE}"));
                }
                path if file.is_none() => file = Some(path.to_owned()),
                more => return Err(format!("one FILE only, {more:?} is one too many\n{USAGE}")),
            }
        }
        arguments.file = file.unwrap_or(arguments.file);
        Ok(arguments)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn parse(given: &[&str]) -> Result<Arguments, String> {
        Arguments::parse(&given.iter().map(|&argument| argument.to_owned()).collect::<Vec<_>>())
    }

    #[test]
    fn everything_has_a_default() {
        let arguments = parse(&[]).unwrap();
        assert_eq!((arguments.year, arguments.file.as_str()), (2013, "flights-2013-01.csv"));
        let chosen = parse(&["a.csv", "--column", "arr_delay", "--year", "2012"]).unwrap();
        assert_eq!(
            chosen,
            Arguments { year: 2012, column: "arr_delay".to_owned(), file: "a.csv".to_owned() }
        );
    }

    #[test]
    fn what_is_wrong_is_named() {
        for (given, named) in [
            (vec!["--year", "next"], "\"next\" is not a year"),
            (vec!["--year"], "--year needs a value"),
            (vec!["--yeer", "2013"], "unknown option \"--yeer\""),
            (vec!["a.csv", "b.csv"], "\"b.csv\" is one too many"),
        ] {
            let error = parse(&given).unwrap_err();
            assert!(error.contains(named) && error.contains(USAGE), "{error}");
        }
    }
}
