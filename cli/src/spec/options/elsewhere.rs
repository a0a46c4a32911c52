//! Paths of this machine among the options, which other hosts do not have.

use std::path::Path;

use super::SpecOptions;
use crate::failure::OrFailure;
use crate::spec::{of_this_directory, pointer};

impl SpecOptions {
    /// Refuses paths that begin at the current directory where the hosts of a context would have to
    /// find them. An absolute path is taken as a path of those hosts. The program and its files are
    /// looked at once the spec is whole.
    pub(crate) fn refuse_paths_of_here(&self, context: &str) -> OrFailure<()> {
        let output = self.output.as_deref().filter(|path| path.is_relative()).map(Path::display);
        let savepoint =
            self.from_savepoint.as_deref().filter(|text| pointer::is_relative_place(text));
        let relative = [
            ("--output", output.map(|path| path.to_string())),
            ("--from-savepoint", savepoint.map(str::to_owned)),
        ];
        for (option, path) in relative {
            if let Some(path) = path {
                return Err(of_this_directory(option, &path, context));
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use clap::Parser as _;

    use super::*;

    #[derive(clap::Parser)]
    struct Only {
        #[command(flatten)]
        options: SpecOptions,
    }

    #[test]
    fn what_begins_at_the_current_directory_is_refused_by_its_option() {
        for (line, refused) in [
            ("--output out", Some("--output: out")),
            ("--output ./out", Some("--output: ./out")),
            ("--output /data/out", None),
            ("-s savepoints/1", Some("--from-savepoint: savepoints/1")),
            ("-s /savepoints/1", None),
            ("-s s3://bucket/1", None),
            ("-s file:/savepoints/1", None),
            ("", None),
        ] {
            let words = std::iter::once("run").chain(line.split_whitespace());
            let options = Only::try_parse_from(words).unwrap().options;
            let said =
                options.refuse_paths_of_here("prod").err().map(|failure| failure.message.clone());
            match (&said, refused) {
                (Some(said), Some(begins)) => assert!(said.starts_with(begins), "{line}: {said}"),
                _ => assert_eq!(said.as_deref(), refused, "{line}"),
            }
        }
    }
}
