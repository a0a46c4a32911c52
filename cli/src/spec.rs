//! The spec of an application, from the options of `run` and from a file: what is submitted, and
//! what `--dry-run` prints.

mod additions;
mod file;
mod local;
mod options;
pub(crate) mod pointer;
mod variables;

pub(crate) use file::read;
pub(crate) use local::{check, of_this_directory};
pub(crate) use options::SpecOptions;
pub(crate) use variables::secrets;

/// The values of the secrets, which travel beside the spec.
pub(crate) type Secrets = std::collections::HashMap<String, String>;

/// Reads `key=value`.
pub(crate) fn pair(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((key, value)) if !key.is_empty() => Ok((key.to_owned(), value.to_owned())),
        _ => Err(format!("{text:?}: expected KEY=VALUE")),
    }
}
