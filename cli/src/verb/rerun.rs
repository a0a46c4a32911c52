//! `rerun` submits the recorded spec of an application anew, with the very files that it had.

use chassis::telemetry::trace;
use proto::api::{Application, ApplicationSpec, IfExists, SubmitRequest};
use proto::{Generation, Reason, Uri};

use crate::api::requester;
use crate::application::Named;
use crate::exit::Exit;
use crate::failure::{Failure, OrFailure};
use crate::live::OnInterrupt;
use crate::session::Session;
use crate::spec::{Secrets, secrets};
use crate::verb::run::{Manner, submitted};

/// Submit a recorded application anew
///
/// As a new generation of its id, with its spec, its labels, and the digests that its files had: a
/// program that has changed since is refused. Values of secrets are not recorded for this, so they
/// are given again.
#[derive(Debug, clap::Args)]
#[command(before_help = "  mainspring rerun orders\n  mainspring rerun orders --generation 3 -d")]
pub(crate) struct RerunArgs {
    /// ID or ID@GENERATION
    #[arg(value_name = "ID")]
    application: Named,

    /// Which generation's spec; the latest one's if left out
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    generation: Option<u64>,

    /// Submit it and return
    #[arg(short, long)]
    detached: bool,

    /// A masked variable for main(); may be repeated
    #[arg(long = "secret", value_name = "K=@FILE")]
    secrets: Vec<String>,

    /// Makes a repeat of this command harmless: one id, one application
    #[arg(long, value_name = "ID")]
    request_id: Option<String>,

    /// Ctrl-C: cancel, or detach
    #[arg(long, value_name = "WHAT", default_value = "cancel", hide_possible_values = true)]
    on_interrupt: OnInterrupt,
}

pub(crate) async fn run(args: RerunArgs, session: &Session) -> OrFailure<Exit> {
    let values = secrets(&args.secrets).map_err(Failure::usage)?;
    let mut named = args.application;
    if let Some(generation) = args.generation {
        if named.generation.is_some_and(|given| given.get() != generation) {
            return Err(Failure::usage(format!(
                "{named} and --generation {generation} are two generations"
            )));
        }
        named.generation = Some(Generation(generation));
    }
    let (api, started) = session.started_api().await?;
    let recorded = api.get(&named).await?;
    let of = format!("{}@{}", recorded.application_id, recorded.generation);
    let spec = anew(&recorded)?;
    check_uris(&spec, &of)?;
    check_secrets(&spec, &values, &of)?;
    let request = SubmitRequest {
        request_id: args.request_id.unwrap_or_else(|| hex::encode(rand::random::<[u8; 16]>())),
        spec: Some(spec),
        labels: recorded.labels,
        annotations: recorded.annotations,
        if_exists: IfExists::Fail.into(),
        validate_only: false,
        secret_values: values,
        requested_by: requester(),
        traceparent: trace::current_traceparent().unwrap_or_default(),
    };
    session.out.talk(format!("as {of} was submitted, with the files that it had"));
    let manner =
        Manner { detached: args.detached, on_interrupt: args.on_interrupt, ..Manner::default() };
    submitted(request, "", manner, (api, started), session).await
}

/// The spec with the digests that were pinned.
fn anew(recorded: &Application) -> OrFailure<ApplicationSpec> {
    let none = || Failure::internal("an application without a spec");
    let mut spec = recorded.spec.clone().ok_or_else(none)?;
    // A URI has one digest, the first that was recorded for it; the program's is recorded first.
    let pinned = |uri: &str| recorded.artifacts.iter().find(|pinned| pinned.uri == uri);
    if let Some(program) = &mut spec.program
        && let Some(pinned) = pinned(&program.uri)
    {
        program.digest.clone_from(&pinned.digest);
    }
    for artifact in &mut spec.artifacts {
        if let Some(pinned) = pinned(&artifact.uri) {
            artifact.digest.clone_from(&pinned.digest);
        }
    }
    Ok(spec)
}

/// Refuses a spec with a secret in a URI, because the record masks such URIs and nothing can be
/// fetched from a masked one.
fn check_uris(spec: &ApplicationSpec, of: &str) -> OrFailure<()> {
    let program = spec.program.iter().map(|program| &program.uri);
    let all = program.chain(spec.artifacts.iter().map(|artifact| &artifact.uri));
    match all.map(|uri| Uri::from(uri.clone())).find(Uri::is_masked) {
        None => Ok(()),
        Some(uri) => {
            let text = format!("{of} was submitted with secrets in {uri}, which are not shown");
            Err(Failure::new(Exit::USAGE, Reason::RequestInvalid, text)
                .help("submit it with mainspring run and the whole URI"))
        }
    }
}

fn check_secrets(spec: &ApplicationSpec, values: &Secrets, of: &str) -> OrFailure<()> {
    let missing: Vec<_> = spec.secrets.iter().filter(|name| !values.contains_key(*name)).collect();
    if missing.is_empty() {
        return Ok(());
    }
    let names: Vec<_> = missing.iter().map(|name| name.as_str()).collect();
    let text = format!("{of} had secrets whose values are not recorded: {}", names.join(", "));
    let again: Vec<_> = names.iter().map(|name| format!("--secret {name}=@FILE")).collect();
    Err(Failure::new(Exit::USAGE, Reason::RequestInvalid, text)
        .help(format!("give them again: {}", again.join(" "))))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use proto::api::{ArtifactReference, PinnedArtifact, Program};

    use super::*;

    fn recorded() -> Application {
        let pinned = |uri: &str, digest: &str| PinnedArtifact {
            uri: uri.into(),
            digest: digest.into(),
            ..PinnedArtifact::default()
        };
        Application {
            application_id: "orders".into(),
            generation: 3,
            spec: Some(ApplicationSpec {
                application_id: "orders".into(),
                program: Some(Program { uri: "file:///latest.sql".into(), ..Program::default() }),
                artifacts: vec![ArtifactReference {
                    uri: "file:///x.csv".into(),
                    ..ArtifactReference::default()
                }],
                secrets: vec!["PASSWORD".into()],
                ..ApplicationSpec::default()
            }),
            artifacts: vec![
                pinned("file:///latest.sql", "sha256:01"),
                pinned("file:///x.csv", "sha256:02"),
            ],
            ..Application::default()
        }
    }

    #[test]
    fn a_uri_whose_secrets_are_not_shown_is_not_submitted() {
        let mut spec = recorded().spec.unwrap();
        assert!(check_uris(&spec, "orders@3").is_ok());
        spec.artifacts[0].uri = Uri::new("https://me:geheim@example.org/x.csv").masked();
        let refused = check_uris(&spec, "orders@3").unwrap_err();
        assert!(refused.message.contains("https://***@example.org/x.csv"), "{}", refused.message);
    }

    #[test]
    fn what_is_submitted_anew_is_bound_to_the_bytes_that_ran() {
        let spec = anew(&recorded()).unwrap();
        assert_eq!(spec.program.unwrap().digest, "sha256:01");
        assert_eq!(spec.artifacts[0].digest, "sha256:02");
        // The application ended before anything was fetched, so that the spec keeps what the user
        // asked for.
        let spec = anew(&Application { artifacts: Vec::new(), ..recorded() }).unwrap();
        assert_eq!(spec.program.unwrap().digest, "");
    }

    #[test]
    fn secrets_are_asked_for_again_by_name() {
        let spec = recorded().spec.unwrap();
        let failure = check_secrets(&spec, &Secrets::new(), "orders@3").unwrap_err();
        assert!(failure.message.contains("PASSWORD"), "{}", failure.message);
        assert_eq!(failure.help, ["give them again: --secret PASSWORD=@FILE"]);
        let given = Secrets::from([("PASSWORD".to_owned(), "x".to_owned())]);
        assert_eq!(check_secrets(&spec, &given, "orders@3"), Ok(()));
    }
}
