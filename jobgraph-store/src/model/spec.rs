//! What a spec has to look like, and what is filled in where the spec says nothing.

use std::collections::BTreeSet;
use std::path::{Component, Path};

use proto::uri::Scheme;
use proto::{ApplicationId, Digest, api, target};

use super::refusal::{Refusal, Violation};

/// The most contenders of one application.
pub const MAX_CONTENDERS: u32 = 16;

/// The largest spec, encoded, in bytes: with labels and annotations it is one value of the record.
pub const MAX_SPEC_BYTES: usize = 32 * 1024;

/// How many bytes all secret values may hold together, names included.
const MAX_SECRETS_BYTES: usize = 60 * 1024;

/// How many bytes all labels may hold together, and all annotations as well.
const MAX_LABELS_BYTES: usize = 12 * 1024;

/// The most artifacts of one application beside its program.
const MAX_ARTIFACTS: usize = 128;

/// Fills in what the spec leaves out. An application id that is empty stays empty.
pub fn with_defaults(mut spec: api::ApplicationSpec) -> api::ApplicationSpec {
    spec.contenders = spec.contenders.max(1);
    if spec.target.is_empty() {
        spec.target = target::LOCAL.into();
    }
    if spec.on_failover == i32::from(api::OnFailover::Unspecified) {
        spec.set_on_failover(api::OnFailover::ReExecute);
    }
    for artifact in &mut spec.artifacts {
        if artifact.name.is_empty() {
            artifact.name = last_part(&artifact.uri);
        }
    }
    spec
}

/// The beginning of a generated id: the program's file name without its extension, as an id may be
/// written.
pub fn id_stem(program_uri: &str) -> String {
    let name = last_part(program_uri);
    let stem = name.split_once('.').map_or(name.as_str(), |(stem, _)| stem);
    let mut id = String::new();
    for c in stem.chars().map(|c| c.to_ascii_lowercase()) {
        match c {
            'a'..='z' | '0'..='9' => id.push(c),
            _ if id.is_empty() || id.ends_with('-') => {}
            _ => id.push('-'),
        }
    }
    // The stem leaves room for `-` and the letters that make the id unique.
    id.truncate(ApplicationId::MAX_BYTES - 8);
    let id = id.trim_end_matches('-');
    if id.is_empty() { "app".into() } else { id.into() }
}

/// The name of the file that a URI ends in, as people write it.
fn last_part(uri: &str) -> String {
    let path = uri.split(['?', '#']).next().unwrap_or(uri);
    proto::uri::file_name(path.rsplit('/').find(|part| !part.is_empty()).unwrap_or(""))
}

/// Refuses a target that this build does not have. The target is checked first, because what else
/// is right depends on it.
pub fn check_target(request: &api::SubmitRequest) -> Result<(), Refusal> {
    let asked = request.spec.as_ref().map_or("", |spec| spec.target.as_str());
    if asked.is_empty() || target::ALL.contains(&asked) {
        return Ok(());
    }
    Err(Refusal::TargetUnknown { target: asked.into(), known: target::ALL.join(", ") })
}

/// Everything else that is wrong with a submission; empty if the submission can be accepted.
pub fn violations(request: &api::SubmitRequest) -> Vec<Violation> {
    let mut found = Found::default();
    if request.request_id.is_empty() || request.request_id.chars().count() > 128 {
        found.at("request_id", "has to have 1 to 128 characters: choose one per wish");
    }
    if api::IfExists::try_from(request.if_exists).is_err() {
        found.at("if_exists", &format!("{} is not one of this build's values", request.if_exists));
    }
    for (path, map) in [("labels", &request.labels), ("annotations", &request.annotations)] {
        let bytes: usize = map.iter().map(|(key, value)| key.len() + value.len()).sum();
        if bytes > MAX_LABELS_BYTES {
            found.at(path, &format!("{bytes} bytes together; at most {MAX_LABELS_BYTES}"));
        }
        for key in map.keys().filter(|key| !plain(key, "-_./")) {
            found
                .at(path, &format!("key {key:?} has to be letters, digits, '-', '_', '.' and '/'"));
        }
    }
    match &request.spec {
        Some(spec) => of_spec(&mut found, spec, request),
        None => found.at("spec", "is not set"),
    }
    found.0
}

/// What a submission names that is on one host alone, where all hosts see the directory `shared`. A
/// leader on any of them needs what the submission names, under the same path.
pub fn of_one_host(request: &api::SubmitRequest, shared: &Path) -> Vec<Violation> {
    let mut found = Found::default();
    let Some(spec) = &request.spec else { return found.0 };
    let mut look_at = |field: &str, named: &str, or_else: &str| {
        if let Some(path) = path_of(named)
            && !lies_below(&path, shared)
        {
            let (named, shared) = (proto::Uri::new(named), shared.display());
            let way_out = format!("name one below {shared}, which all hosts see{or_else}");
            found.at(field, &format!("{named:?} is a path of one host: {way_out}"));
        }
    };
    if let Some(program) = &spec.program {
        look_at("spec.program.uri", &program.uri, ", or an address");
        look_at("spec.program.savepoint", &program.savepoint, ", or an address");
    }
    for (index, artifact) in spec.artifacts.iter().enumerate() {
        look_at(&format!("spec.artifacts[{index}].uri"), &artifact.uri, ", or an address");
    }
    look_at("spec.output", &spec.output, "");
    found.0
}

/// The path that a URI means on the host that reads it; `None` of an address, which all hosts read
/// alike.
fn path_of(uri: &str) -> Option<String> {
    if uri.starts_with('/') {
        return Some(uri.to_owned());
    }
    let (scheme, rest) = uri.split_once(':')?;
    // Flink writes the URI of a path with one slash, too.
    let path = rest.strip_prefix("//").unwrap_or(rest);
    if !path.starts_with('/') {
        return None;
    }
    match scheme.parse::<Scheme>().ok()? {
        Scheme::File => {
            Some(path.split('/').map(proto::uri::file_name).collect::<Vec<_>>().join("/"))
        }
        // Nothing in such a path is decoded.
        Scheme::Local => Some(path.to_owned()),
        Scheme::Http | Scheme::Https => None,
    }
}

/// Whether a path lies below a directory, as the two are written. A part that a reader may take for
/// `..` leads out of every directory.
fn lies_below(path: &str, directory: &Path) -> bool {
    let climbs = |part: &str| part.to_ascii_lowercase().replace("%2e", ".") == "..";
    Path::new(path).starts_with(directory) && !path.split('/').any(climbs)
}

#[derive(Default)]
struct Found(Vec<Violation>);

impl Found {
    fn at(&mut self, path: &str, message: &str) {
        self.0.push(Violation { path: path.into(), message: message.into() });
    }
}

fn of_spec(found: &mut Found, spec: &api::ApplicationSpec, request: &api::SubmitRequest) {
    if !spec.application_id.is_empty()
        && let Err(invalid) = spec.application_id.parse::<ApplicationId>()
    {
        found.at(
            "spec.application_id",
            &format!("{:?} is malformed: {}", invalid.value, invalid.rule),
        );
    }
    match &spec.program {
        None => found.at("spec.program", "is not set: which program is to run?"),
        Some(program) => {
            uri(found, "spec.program.uri", &program.uri);
            digest(found, "spec.program.digest", &program.digest);
            if !["", "CLAIM", "NO_CLAIM"].contains(&program.claim_mode.as_str()) {
                found.at(
                    "spec.program.claim_mode",
                    &format!("{:?} is neither CLAIM nor NO_CLAIM", program.claim_mode),
                );
            }
        }
    }
    artifacts(found, spec);
    if spec.engine.is_empty()
        || !spec.engine.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-')
    {
        found.at(
            "spec.engine",
            &format!(
                "{:?} names no engine: letters a-z, digits and '-', such as datafusion",
                spec.engine
            ),
        );
    }
    if spec.contenders > MAX_CONTENDERS {
        found.at("spec.contenders", &format!("{} is more than {MAX_CONTENDERS}", spec.contenders));
    }
    for key in spec.settings.keys().filter(|key| !plain(key, "-_.")) {
        found.at(
            "spec.settings",
            &format!("key {key:?} has to be letters, digits, '-', '_' and '.'"),
        );
    }
    for key in spec.environment.keys() {
        if key.is_empty() || key.contains(['=', '\0']) {
            found.at("spec.environment", &format!("{key:?} is no name of an environment variable"));
        } else if key.starts_with("MAINSPRING_") {
            found.at(
                "spec.environment",
                &format!("{key} is set by mainspring itself: choose another name"),
            );
        }
    }
    if let Some(deadline) = &spec.deadline
        && (deadline.seconds < 0
            || deadline.nanos < 0
            || (deadline.seconds == 0 && deadline.nanos == 0))
    {
        found.at("spec.deadline", "has to be longer than 0");
    }
    if spec.resubmit_lost && spec.target != target::STATIC {
        found.at(
            "spec.resubmit_lost",
            "is for jobs in a cluster that is not the application's own (target static): others are always run again",
        );
    }
    if !spec.output.is_empty() && !spec.output.starts_with('/') {
        let why = match spec.output.split_once("://") {
            Some((scheme, _)) => {
                format!("outputs cannot go to {scheme}:// yet: give an absolute path")
            }
            None => "is not an absolute path".to_owned(),
        };
        found.at("spec.output", &format!("{:?} {why}", spec.output));
    }
    if api::OnFailover::try_from(spec.on_failover).is_err() {
        found.at(
            "spec.on_failover",
            &format!("{} is not one of this build's values", spec.on_failover),
        );
    }
    secrets(found, spec, request);
    let bytes = prost::Message::encoded_len(spec);
    if bytes > MAX_SPEC_BYTES {
        found.at("spec", &format!("{bytes} bytes; at most {MAX_SPEC_BYTES}: put long values into a file and name it as an artifact"));
    }
}

fn artifacts(found: &mut Found, spec: &api::ApplicationSpec) {
    let program = spec.program.as_ref().map(|program| last_part(&program.uri)).unwrap_or_default();
    let mut names = BTreeSet::from([program]);
    if spec.artifacts.len() > MAX_ARTIFACTS {
        found.at(
            "spec.artifacts",
            &format!("{} are more than {MAX_ARTIFACTS}", spec.artifacts.len()),
        );
    }
    for (index, artifact) in spec.artifacts.iter().enumerate() {
        let path = |field: &str| format!("spec.artifacts[{index}].{field}");
        uri(found, &path("uri"), &artifact.uri);
        digest(found, &path("digest"), &artifact.digest);
        let given = !artifact.name.is_empty();
        let name = if given { artifact.name.clone() } else { last_part(&artifact.uri) };
        let mut components = Path::new(&name).components();
        if !matches!((components.next(), components.next()), (Some(Component::Normal(_)), None))
            || name.contains(['/', '\0'])
        {
            found.at(&path("name"), &format!("{name:?} is no plain file name"));
        } else if !names.insert(name.clone()) {
            found.at(
                &path("name"),
                &format!("{name:?} is the name of another file of this application"),
            );
        }
    }
}

fn secrets(found: &mut Found, spec: &api::ApplicationSpec, request: &api::SubmitRequest) {
    let named: BTreeSet<&String> = spec.secrets.iter().collect();
    for name in &named {
        if name.is_empty() || name.contains(['=', '\0']) {
            found.at("spec.secrets", &format!("{name:?} is no name of an environment variable"));
        } else if !request.secret_values.contains_key(*name) {
            found.at("secret_values", &format!("{name} has no value"));
        }
    }
    for name in request.secret_values.keys().filter(|name| !named.contains(name)) {
        found.at("secret_values", &format!("{name} is not named in spec.secrets"));
    }
    let bytes: usize =
        request.secret_values.iter().map(|(name, value)| name.len() + value.len()).sum();
    if bytes > MAX_SECRETS_BYTES {
        found.at("secret_values", &format!("{bytes} bytes together; at most {MAX_SECRETS_BYTES}"));
    }
}

/// Checks a URI. A path will do, because every target of this build runs main() on the caller's
/// machine.
fn uri(found: &mut Found, path: &str, uri: &str) {
    let shown = proto::Uri::new(uri);
    if let Some((scheme, rest)) = uri.split_once("://") {
        let Ok(scheme) = scheme.parse::<Scheme>() else {
            let fetched = Scheme::list();
            return found
                .at(path, &format!("{shown:?}: this build fetches {fetched} and absolute paths"));
        };
        if rest.is_empty() || rest == "/" {
            return found.at(path, &format!("{shown:?} names no file"));
        }
        if scheme.is_of_paths() && !rest.starts_with('/') {
            found.at(path, &format!("{shown:?}: the path after {scheme}:// has to be absolute"));
        }
    } else if !uri.starts_with('/') {
        found.at(path, &format!("{shown:?} is neither a URI nor an absolute path"));
    }
}

fn digest(found: &mut Found, path: &str, digest: &str) {
    if !digest.is_empty()
        && let Err(invalid) = digest.parse::<Digest>()
    {
        found.at(path, &format!("{:?} is malformed: {}", invalid.value, invalid.rule));
    }
}

fn plain(key: &str, also: &str) -> bool {
    !key.is_empty()
        && key.len() <= 256
        && key.chars().all(|c| c.is_ascii_alphanumeric() || also.contains(c))
}
