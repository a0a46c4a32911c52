//! The file of contexts, `config.yaml`: where it is, what it may hold, and how it is read.

use std::io::{self, ErrorKind};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use chassis::transport::Endpoint;
use serde::{Deserialize, Serialize};

use super::LOCAL;
use crate::failure::{Failure, OrFailure};

/// The variable that names the file instead of its usual place.
pub(crate) const VARIABLE: &str = "MAINSPRING_CONFIG";

/// How many endpoints a context may have: all of them can be asked within the time that connecting
/// may take.
pub(crate) const MAX_ENDPOINTS: usize = 8;

/// The longest name of a context, in bytes.
const MAX_NAME_BYTES: usize = 63;

/// What the file holds.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Contexts {
    /// The context of commands that name none; the host of this machine if it is left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) current: Option<String>,
    #[serde(default)]
    pub(crate) contexts: Vec<Context>,
}

/// A named way to the hosts of one deployment. Relative paths begin at the file's directory.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Context {
    pub(crate) name: String,
    /// Where stores of the deployment serve, in the order in which they are asked.
    pub(crate) endpoints: Vec<Endpoint>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) tls: Option<TlsFiles>,
    /// Plain text is meant, which can be read and changed on the way.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub(crate) insecure: bool,
    pub(crate) credential: CredentialSource,
}

/// The files of TLS, in PEM.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct TlsFiles {
    /// The certificates that the hosts' own ones are made by.
    pub(crate) ca: PathBuf,
    /// The certificate of this client, and its key.
    pub(crate) cert: PathBuf,
    pub(crate) key: PathBuf,
}

/// Where the credential of a context comes from: exactly one of the two is there.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct CredentialSource {
    /// A file that holds the deployment's key, or a token made from it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) file: Option<PathBuf>,
    /// A program and its arguments, which prints a token.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) command: Option<Vec<String>>,
}

impl Contexts {
    /// The context of this name.
    pub(crate) fn find(&self, name: &str) -> Option<&Context> {
        self.contexts.iter().find(|context| context.name == name)
    }

    /// What is wrong with the content, if anything is.
    pub(crate) fn check(&self) -> Result<(), String> {
        for (at, context) in self.contexts.iter().enumerate() {
            context.check()?;
            if self.contexts[..at].iter().any(|earlier| earlier.name == context.name) {
                return Err(format!("two contexts are called {}", context.name));
            }
        }
        match self.current.as_deref() {
            None | Some(LOCAL) => Ok(()),
            Some(name) if self.find(name).is_some() => Ok(()),
            Some(name) => Err(format!("current: there is no context {name:?}")),
        }
    }
}

impl Context {
    /// What is wrong with the context, if anything is.
    pub(crate) fn check(&self) -> Result<(), String> {
        let name = self.name.as_str();
        let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
        let begins = name.starts_with(|first: char| first.is_ascii_alphanumeric());
        if !begins || name.len() > MAX_NAME_BYTES || !name.bytes().all(plain) {
            return Err(format!(
                "{name:?} is no name of a context: 1 to {MAX_NAME_BYTES} letters, digits, -, _ and ., a letter or \
                 digit first"
            ));
        }
        if name == LOCAL {
            return Err(format!("{LOCAL} is the name of this machine's host, and no context's"));
        }
        let about = |what: &str| Err(format!("context {name}: {what}"));
        match self.endpoints.len() {
            0 => return about("it names no endpoint"),
            1..=MAX_ENDPOINTS => {}
            many => return about(&format!("{many} endpoints; at most {MAX_ENDPOINTS} are asked")),
        }
        if self.insecure && self.tls.is_some() {
            return about("insecure means plain text, and tls does not: one of the two goes");
        }
        match (&self.credential.file, &self.credential.command) {
            (Some(file), None) if !file.as_os_str().is_empty() => Ok(()),
            (None, Some(argv)) if argv.first().is_some_and(|program| !program.is_empty()) => Ok(()),
            _ => about("credential has either a file, or a command with its arguments"),
        }
    }

    /// The same context with paths that begin at the root. A program without a slash is looked for
    /// on `PATH`, as in a shell.
    pub(crate) fn resolved(&self, directory: &Path) -> Self {
        let mut context = self.clone();
        let absolute = |path: &mut PathBuf| *path = directory.join(&path);
        if let Some(tls) = &mut context.tls {
            [&mut tls.ca, &mut tls.cert, &mut tls.key].into_iter().for_each(absolute);
        }
        context.credential.file.iter_mut().for_each(absolute);
        let program = context.credential.command.iter_mut().flat_map(|argv| argv.first_mut());
        for program in program.filter(|program| program.contains('/')) {
            *program = directory.join(&program).to_string_lossy().into_owned();
        }
        context
    }
}

/// Where the file is: where the variable says, or where the XDG rules put configuration; `None`
/// where the environment names no such place.
pub(crate) fn path() -> OrFailure<Option<PathBuf>> {
    let non_empty =
        |name: &str| std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    let below = |base: PathBuf| base.join("mainspring").join("config.yaml");
    let path = non_empty(VARIABLE)
        .or_else(|| non_empty("XDG_CONFIG_HOME").map(below))
        .or_else(|| non_empty("HOME").map(|home| below(home.join(".config"))));
    let absolute = |path: PathBuf| {
        std::path::absolute(&path)
            .map_err(|error| Failure::usage(format!("{}: {error}", path.display())))
    };
    path.map(absolute).transpose()
}

/// Reads the file. No file, and an empty one, hold no context.
pub(crate) fn read(path: &Path) -> OrFailure<Contexts> {
    let unusable = |error: io::Error| {
        Failure::usage(format!("the file of contexts {}: {error}", path.display())).help(format!(
            "make it readable, name another one in {VARIABLE}, or say --context {LOCAL}"
        ))
    };
    let metadata = match std::fs::metadata(path) {
        Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => {
            return Ok(Contexts::default());
        }
        metadata => metadata.map_err(unusable)?,
    };
    // The file says which programs run and where credentials go.
    let me = rustix::process::getuid().as_raw();
    if metadata.mode() & 0o022 != 0 || ![0, me].contains(&metadata.uid()) {
        let text = format!(
            "the file of contexts {} can be written by others (mode {:04o}, uid {})",
            path.display(),
            metadata.mode() & 0o777,
            metadata.uid()
        );
        return Err(Failure::usage(text).help(format!(
            "chmod 600 it as its owner, name another one in {VARIABLE}, or say --context {LOCAL}"
        )));
    }
    let text = std::fs::read_to_string(path).map_err(unusable)?;
    parse(&text, &path.display().to_string())
}

/// Reads the text of a file of this name.
fn parse(text: &str, name: &str) -> OrFailure<Contexts> {
    let is_comment = |line: &str| line.trim().is_empty() || line.trim_start().starts_with('#');
    if text.lines().all(is_comment) {
        return Ok(Contexts::default());
    }
    let contexts: Contexts =
        serde_saphyr::from_str(text).map_err(|error| malformed(text, name, &error))?;
    let wrong = |what: String| Failure::usage(format!("{name}: {what}")).help(correct());
    contexts.check().map_err(wrong)?;
    Ok(contexts)
}

fn correct() -> String {
    format!("correct the file (docs/guides/contexts.md has an example), or say --context {LOCAL}")
}

/// The failure of a text that is no file of contexts, with its line.
fn malformed(text: &str, name: &str, error: &serde_saphyr::Error) -> Failure {
    let begin = error.location().and_then(|at| usize::try_from(at.line()).ok());
    let plain = error.without_snippet();
    let (what, line, help) = match plain {
        serde_saphyr::Error::SerdeUnknownField { field, expected, .. } => (
            format!("{field} is no key here"),
            // The error may point at the mapping, and the key itself is on one of its lines.
            line_of(text, field, begin.unwrap_or(1)).or_else(|| line_of(text, field, 1)).or(begin),
            format!("the keys are {}", expected.join(", ")),
        ),
        other => {
            let said = other.to_string();
            let first = said.lines().find(|line| !line.trim().is_empty()).unwrap_or(&said).trim();
            (first.strip_prefix("error: ").unwrap_or(first).to_owned(), begin, correct())
        }
    };
    let at = line.map_or_else(|| name.to_owned(), |line| format!("{name}:{line}"));
    let failure = Failure::usage(format!("{at}: {what}")).help(help);
    match line.and_then(|line| text.lines().nth(line.saturating_sub(1))) {
        Some(quoted) => failure.detail(format!("| {}", quoted.trim_end())),
        None => failure,
    }
}

/// The line, from `begin` on, that holds a key.
fn line_of(text: &str, key: &str, begin: usize) -> Option<usize> {
    let has_key = |line: &str| {
        line.match_indices(key).any(|(at, _)| {
            let before = line[..at].trim_end_matches(['"', '\'']);
            let after = line[at + key.len()..].trim_start_matches(['"', '\'', ' ']);
            let begins = before.is_empty() || before.ends_with([' ', '{', ',']);
            begins && after.starts_with(':')
        })
    };
    let lines = text.lines().enumerate().skip(begin.saturating_sub(1));
    lines.filter(|(_, line)| has_key(line)).map(|(at, _)| at + 1).next()
}

#[cfg(test)]
mod tests;
