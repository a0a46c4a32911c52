//! Reads a spec from a file: the JSON mapping of `ApplicationSpec`, in YAML or JSON. Unknown keys
//! are refused with line and path.

use std::path::Path;

use prost::Message as _;
use prost_reflect::{DynamicMessage, Kind, MessageDescriptor};
use proto::Reason;
use proto::api::ApplicationSpec;
use serde_json::Value;

use crate::exit::Exit;
use crate::failure::{Failure, OrFailure};
use crate::json;

/// Reads the file.
pub(crate) fn read(path: &Path) -> OrFailure<ApplicationSpec> {
    let text = std::fs::read_to_string(path).map_err(|error| {
        Failure::new(Exit::USAGE, Reason::SpecInvalid, format!("{}: {error}", path.display()))
            .help("check the name after -f")
    })?;
    parse(&text, &path.display().to_string())
}

fn parse(text: &str, name: &str) -> OrFailure<ApplicationSpec> {
    let invalid = |message: String| Failure::new(Exit::USAGE, Reason::SpecInvalid, message);
    let descriptor = json::descriptor::<ApplicationSpec>();
    let read = serde_saphyr::with_deserializer_from_str(text, |de| {
        DynamicMessage::deserialize(descriptor.clone(), de)
    });
    let error = match read {
        Ok(dynamic) => {
            let spec = ApplicationSpec::decode(dynamic.encode_to_vec().as_slice());
            return spec.map_err(|error| invalid(format!("{name}: {error}")));
        }
        Err(error) => error,
    };
    // A YAML error does not tell the path of the key, so that the path is looked up in the document
    // as a tree.
    let stranger =
        serde_saphyr::from_str::<Value>(text).ok().and_then(|tree| unknown(&descriptor, &tree, ""));
    let begin = error.location().map(|at| usize::try_from(at.line()).unwrap_or(1));
    // The error points at the mapping, and the key itself is on one of its lines.
    let line =
        stranger.as_ref().and_then(|(path, _)| line_of(text, path, begin.unwrap_or(1))).or(begin);
    let at = line.map_or_else(|| name.to_owned(), |line| format!("{name}:{line}"));
    Err(match stranger {
        Some((path, nearest)) => {
            let failure = invalid(format!("{at}: {path} is no key of a spec"));
            match nearest {
                Some(nearest) => failure.help(format!("did you mean {nearest}?")),
                None => failure,
            }
        }
        None => {
            let failure = invalid(format!("{at}: {}", first_line(&error.to_string())));
            match line.and_then(|line| text.lines().nth(line - 1)) {
                Some(quoted) => failure.detail(format!("| {}", quoted.trim_end())),
                None => failure,
            }
        }
    })
}

/// The line, from `begin` on, that holds the last key of a path.
fn line_of(text: &str, path: &str, begin: usize) -> Option<usize> {
    let key = path.rsplit('.').next()?;
    let has_key = |line: &str| {
        let rest =
            line.trim_start().trim_start_matches("- ").trim_start_matches(['{', '"', '\'', ' ']);
        rest.strip_prefix(key)
            .is_some_and(|rest| rest.trim_start_matches(['"', '\'', ' ']).starts_with(':'))
    };
    let lines = text.lines().enumerate().skip(begin.saturating_sub(1));
    lines.filter(|(_, line)| has_key(line)).map(|(at, _)| at + 1).next()
}

fn first_line(text: &str) -> &str {
    let line = text.lines().find(|line| !line.trim().is_empty()).unwrap_or(text).trim();
    line.strip_prefix("error: ").unwrap_or(line)
}

/// The path of the first key that a message does not have, and the nearest key that the message
/// has.
fn unknown(
    descriptor: &MessageDescriptor,
    value: &Value,
    path: &str,
) -> Option<(String, Option<String>)> {
    for (key, inner) in value.as_object()? {
        let path = if path.is_empty() { key.clone() } else { format!("{path}.{key}") };
        let Some(field) =
            descriptor.get_field_by_json_name(key).or_else(|| descriptor.get_field_by_name(key))
        else {
            let names = descriptor.fields().map(|field| field.json_name().to_owned());
            return Some((path, nearest(key, names)));
        };
        let Kind::Message(message) = field.kind() else { continue };
        if field.is_map() || message.full_name().starts_with("google.protobuf.") {
            continue;
        }
        let found = match inner {
            Value::Array(items) => items
                .iter()
                .enumerate()
                .find_map(|(at, item)| unknown(&message, item, &format!("{path}[{at}]"))),
            other => unknown(&message, other, &path),
        };
        if found.is_some() {
            return found;
        }
    }
    None
}

/// The name that differs from the word in the fewest letters, if that is a third of them at most.
fn nearest(word: &str, names: impl Iterator<Item = String>) -> Option<String> {
    let distances = names.map(|name| (distance(&word.to_lowercase(), &name.to_lowercase()), name));
    distances
        .min()
        .filter(|(distance, name)| *distance * 3 <= name.len().max(word.len()))
        .map(|(_, name)| name)
}

/// How many letters have to be inserted, deleted or replaced to make one word of the other.
fn distance(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.chars().enumerate() {
        let mut diagonal = std::mem::replace(&mut row[0], i + 1);
        for (j, y) in b.iter().enumerate() {
            let replaced = diagonal + usize::from(x != *y);
            diagonal = row[j + 1];
            row[j + 1] = replaced.min(diagonal + 1).min(row[j] + 1);
        }
    }
    row[b.len()]
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    const SPEC: &str = "\
applicationId: load
program:
  uri: https://host/load.sql
  arguments: [a, b]
artifacts:
  - uri: file:///x.csv
contenders: 2
settings:
  any.key: works
deadline: 300s
onFailover: ON_FAILOVER_FAIL
";

    #[test]
    fn a_spec_is_read_and_prints_back() {
        let spec = parse(SPEC, "app.yaml").unwrap();
        assert_eq!((spec.application_id.as_str(), spec.contenders), ("load", 2));
        assert_eq!(spec.deadline.unwrap().seconds, 300);
        assert_eq!(parse(&json::yaml(&spec, false), "again").unwrap(), spec);
        assert_eq!(parse(&json::document(&spec), "json").unwrap(), spec);
    }

    #[test]
    fn an_unknown_key_is_refused_with_line_path_and_the_one_that_was_meant() {
        let failure =
            parse("engine: flink\nprogram:\n  uri: x\n  argumants: [a]\n", "app.yaml").unwrap_err();
        assert_eq!((failure.exit, failure.reason.as_str()), (Exit::USAGE, "SPEC_INVALID"));
        assert!(failure.message.starts_with("app.yaml:4: "), "{}", failure.message);
        assert!(
            failure.message.ends_with("program.argumants is no key of a spec"),
            "{}",
            failure.message
        );
        assert_eq!(failure.help, ["did you mean arguments?"]);
        let failure = parse("artifacts:\n  - uri: x\n    size: 3\n", "a").unwrap_err();
        assert!(failure.message.contains("artifacts[0].size is no key"), "{}", failure.message);
    }

    #[test]
    fn a_value_of_the_wrong_kind_is_refused_with_its_line() {
        let failure = parse("engine: flink\ncontenders: many\n", "app.yaml").unwrap_err();
        assert!(failure.message.starts_with("app.yaml:2: "), "{}", failure.message);
        assert!(parse("a: [", "app.yaml").is_err());
    }
}
