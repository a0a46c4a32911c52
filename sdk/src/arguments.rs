//! The arguments that stand after the program on the command line.

use std::ffi::OsString;

use crate::error::Error;

/// The arguments without the program's own name.
pub(crate) fn parse(arguments: impl IntoIterator<Item = OsString>) -> Result<Vec<String>, Error> {
    let text = |(n, argument): (usize, OsString)| {
        argument.into_string().map_err(|raw| {
            Error::Environment(format!(
                "argument {} is not UTF-8: {:?}",
                n + 1,
                raw.to_string_lossy()
            ))
        })
    };
    arguments.into_iter().enumerate().map(text).collect()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::os::unix::ffi::OsStringExt as _;

    use super::*;

    #[test]
    fn an_argument_that_is_not_text_is_named_by_its_place() {
        assert_eq!(parse(["--year".into(), "2013".into()]).unwrap(), ["--year", "2013"]);
        let bad = OsString::from_vec(vec![b'a', 0xff]);
        assert!(
            parse(["x".into(), bad])
                .unwrap_err()
                .to_string()
                .starts_with("argument 2 is not UTF-8")
        );
    }
}
