//! The artifacts and the engine's description.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use ::record::PinRefused;
use client::artifacts::Wanted;
use client::describe::Subject;
use futures::future::{join, try_join_all};
use proto::{Digest, Reason, Uri, api, engine, jobgraph};

use super::{Complaint, PAUSE, Performed, complain};
use crate::error::{PortError, PortErrorKind};
use crate::model::{Fact, Failure};
use crate::ports::PortResult;
use crate::service::leading::or_refused;
use crate::service::shared::Shared;
use chassis::clock::Clock as _;
use chassis::failpoint;

/// One file of the application, as its spec names it.
struct NamedFile {
    uri: Uri,
    name: String,
    digest: Option<Digest>,
    pinned: bool,
    executable: bool,
}

pub(super) async fn fetch(shared: &Arc<Shared>) -> Performed {
    let files = match named(&shared.spec, &shared.record.borrow()) {
        Ok(files) => files,
        Err(why) => return Ok(vec![Fact::Refused(why)]),
    };
    let directory = shared.directory.get().cloned().unwrap_or_default();
    let kept = shared
        .patiently("make the artifacts' directory", || {
            shared.ports.workspace.artifacts(shared.application())
        })
        .await?;
    let fetches = files.iter().map(|file| fetch_one(shared, file, &kept, &directory));
    match try_join_all(fetches).await {
        Ok(artifacts) => {
            shared.activity.send_replace(String::new());
            let _ = shared.artifacts.set(artifacts);
            Ok(vec![Fact::Fetched])
        }
        Err(error) if error.kind == PortErrorKind::Refused => {
            Ok(vec![Fact::Refused(error.failure(Reason::ArtifactNotReachable))])
        }
        Err(error) => Err(error),
    }
}

/// The files of the application, the program first. main() finds the files under their names, so no
/// two may be equal.
fn named(
    spec: &api::ApplicationSpec,
    record: &jobgraph::Record,
) -> Result<Vec<NamedFile>, Failure> {
    let none = Vec::new();
    let pinned = record.application.as_ref().map_or(&none, |application| &application.artifacts);
    let program = spec.program.clone().unwrap_or_default();
    let program =
        api::ArtifactReference { uri: program.uri, digest: program.digest, name: String::new() };
    let mut names = BTreeSet::new();
    let mut files = Vec::new();
    for (index, reference) in std::iter::once(&program).chain(&spec.artifacts).enumerate() {
        let name = if reference.name.is_empty() {
            last_part(&reference.uri)
        } else {
            reference.name.clone()
        };
        if name.is_empty() || name == "." || name == ".." || name.contains('/') {
            let text = format!(
                "artifact {}: {name:?} is no file name; give it one (artifacts[].name)",
                Uri::new(&reference.uri)
            );
            return Err(Failure::new(Reason::SpecInvalid, text));
        }
        if !names.insert(name.clone()) {
            let text = format!(
                "two files of the application are called {name:?}; name one differently (artifacts[].name)"
            );
            return Err(Failure::new(Reason::SpecInvalid, text));
        }
        let known = pinned.iter().find(|pinned| pinned.uri == reference.uri && pinned.name == name);
        let digest = known.map_or(&reference.digest, |pinned| &pinned.digest);
        files.push(NamedFile {
            uri: reference.uri.clone().into(),
            digest: digest.parse().ok(),
            pinned: known.is_some(),
            executable: index == 0,
            name,
        });
    }
    Ok(files)
}

/// What follows the last slash of a URI's path, as people write it.
fn last_part(uri: &str) -> String {
    let path = uri.split(['?', '#']).next().unwrap_or_default();
    proto::uri::file_name(path.rsplit('/').next().unwrap_or_default())
}

/// Fetches a file into the directory that all attempts share, because paths get into job graphs,
/// and links the file into this attempt's directory.
async fn fetch_one(
    shared: &Shared,
    file: &NamedFile,
    kept: &Path,
    directory: &Path,
) -> PortResult<engine::LocalArtifact> {
    let link_to = kept.join(&file.name);
    let wanted = Wanted {
        application: Some(shared.application().clone()),
        uri: file.uri.clone(),
        expected: file.digest,
        link_to: Some(link_to.clone()),
        executable: file.executable,
    };
    let fetched = shared
        .patiently("fetch an artifact", || shared.ports.artifacts.fetch(&wanted, &shared.activity))
        .await;
    let (digest, size_bytes, path) = match (fetched, file.digest) {
        (Ok(fetched), _) => (fetched.digest, fetched.size_bytes, fetched.path),
        (Err(error), Some(digest)) if file.pinned => {
            tracing::warn!("{}: {error}; taking the pinned bytes from the record", file.uri);
            let size = from_record(shared, digest, &link_to, file.executable).await?;
            (digest, size, link_to)
        }
        (Err(error), _) => return Err(error),
    };
    shared
        .patiently("link an artifact", || {
            shared.ports.workspace.link(&path, directory.join(&file.name))
        })
        .await?;
    Ok(engine::LocalArtifact {
        name: file.name.clone(),
        path: path.to_string_lossy().into_owned(),
        digest: digest.to_string(),
        size_bytes,
        uri: file.uri.expose().to_owned(),
    })
}

/// Takes a pinned artifact from the record, so that the artifact stays what it was when its source
/// has changed or gone.
async fn from_record(
    shared: &Shared,
    digest: Digest,
    path: &Path,
    executable: bool,
) -> PortResult<u64> {
    shared
        .patiently("read a pinned artifact from the record", || async {
            let chunks = shared.ports.payloads.get(digest).await?;
            shared.ports.workspace.write(path, digest, executable, chunks).await
        })
        .await
}

pub(super) async fn pin(shared: &Arc<Shared>) -> Performed {
    let artifacts = shared.artifacts.get().cloned().unwrap_or_default();
    let parsed = |artifact: &engine::LocalArtifact| artifact.digest.parse::<Digest>().ok();
    let files: BTreeMap<Digest, PathBuf> =
        artifacts.iter().filter_map(|a| Some((parsed(a)?, PathBuf::from(&a.path)))).collect();
    let pins: Vec<api::PinnedArtifact> = artifacts
        .iter()
        .map(|artifact| api::PinnedArtifact {
            uri: artifact.uri.clone(),
            name: artifact.name.clone(),
            digest: artifact.digest.clone(),
            size_bytes: artifact.size_bytes,
        })
        .collect();
    let swept = AtomicBool::new(false);
    let pinned = shared
        .patiently("pin the artifacts", || async {
            put(shared, &files, swept.load(Ordering::Relaxed)).await?;
            // What follows is not passed for sure: the watch of the record overtakes the answer.
            failpoint::hit("runner.before-pin").await;
            let pin = shared.ports.record.pin_artifacts(&shared.fence, pins.clone());
            let pinned = or_refused(pin.await)?;
            pinned.map_err(|(PinRefused::PayloadMissing, error)| {
                // A sweep is taking the payloads, or has taken them: present or not, they have to
                // be put again.
                swept.store(true, Ordering::Relaxed);
                PortError { kind: PortErrorKind::Away, ..error }
            })
        })
        .await;
    match pinned {
        Ok(_) => Ok(vec![Fact::Pinned]),
        Err(error) if error.kind == PortErrorKind::Refused => {
            Ok(vec![Fact::Refused(error.failure(Reason::Internal))])
        }
        Err(error) => Err(error),
    }
}

/// Puts the bytes that are not there, or all of them when what is there cannot be relied on.
async fn put(shared: &Shared, files: &BTreeMap<Digest, PathBuf>, all: bool) -> PortResult<()> {
    let digests: Vec<Digest> = files.keys().copied().collect();
    let present =
        if all { BTreeSet::new() } else { shared.ports.payloads.present(&digests).await? };
    let missing = files.iter().filter(|(digest, _)| !present.contains(digest));
    let puts = missing.map(|(digest, path)| shared.ports.payloads.put_file(*digest, path));
    // A full disk may take a small record later, but not the artifacts: the application is told and
    // ends.
    try_join_all(puts).await.map_err(|error| match error.reason {
        Some(Reason::StoreFull) => PortError { kind: PortErrorKind::Refused, ..error },
        _ => error,
    })?;
    Ok(())
}

pub(super) async fn start_describe(shared: &Arc<Shared>) -> Performed {
    let attempt = shared.attempt_id();
    let started =
        shared.patiently("start the engine's describe", || shared.ports.engine.start(&attempt));
    match started.await {
        Ok(Some(info)) => {
            let _ = shared.engine.set(info);
            Ok(vec![Fact::Describing])
        }
        Ok(None) => {
            // The end of `describe` calls its start off, so the start should not be wanted any
            // more. When the driver still wants it, the next try comes after this pause, so that
            // the driver waits for the record and keeps no core busy.
            shared.ports.clock.sleep(PAUSE).await;
            Ok(Vec::new())
        }
        Err(error) if error.kind == PortErrorKind::Refused => {
            let record = shared.record.borrow().clone();
            let known = record.application.as_ref();
            if known.is_some_and(|application| application.terminal) {
                // The staging cannot be swept without the engine, but the application's end must
                // not be held up for it.
                let left = format!("staging of uncommitted jobs is not swept: {error}");
                return Ok(vec![Fact::Swept { leftovers: vec![left] }]);
            }
            let unpublished =
                known.is_some_and(|a| a.jobs.iter().any(|job| job.end.is_some() && !job.published));
            if unpublished {
                let text = format!("committed output waits for its engine: {}", error.message);
                let (kind, reason) = ("warning", Reason::OutputNotPublished);
                complain(
                    shared,
                    Complaint { condition: "Published", kind, reason, text, job: None },
                )
                .await;
                shared.ports.clock.sleep(PAUSE).await;
            }
            Ok(vec![Fact::Refused(error.failure(Reason::EngineNotFound))])
        }
        Err(error) => Err(error),
    }
}

/// A file as the engine is told of it. Where the file came from matters to the engine only for
/// files of this machine, whose URIs hold no secret, so the URI is given masked.
fn described(file: &engine::LocalArtifact) -> engine::LocalArtifact {
    engine::LocalArtifact { uri: Uri::new(&file.uri).masked(), ..file.clone() }
}

pub(super) async fn describe(shared: &Arc<Shared>) -> Performed {
    let mut spec = shared.spec.clone();
    proto::uri::mask_artifacts(&mut spec);
    let subject = Subject {
        application: shared.application().clone(),
        spec,
        artifacts: shared.artifacts.get().into_iter().flatten().map(described).collect(),
        state_directory: shared.checkpoints_directory(),
        output_directory: shared.output_directory().to_string_lossy().into_owned(),
        incarnation: shared.latest_incarnation(),
    };
    let engine = &shared.ports.engine;
    let plan = shared.patiently("describe the cluster", || engine.plan(&subject));
    let launch = shared.patiently("describe main()", || engine.launch(&subject));
    // The refusal of the program itself says more than a refusal of the cluster's settings.
    match join(launch, plan).await {
        (Ok(launch), Ok(plan)) => {
            warn(shared, &launch.warnings).await;
            let _ = shared.described.set((plan, launch));
            Ok(vec![Fact::Described])
        }
        (Err(error), _) | (_, Err(error)) if error.kind == PortErrorKind::Refused => {
            Ok(vec![Fact::Refused(error.failure(Reason::ProgramUnsupported))])
        }
        (Err(error), _) | (_, Err(error)) => Err(error),
    }
}

/// Tells what an engine says of the application's options, before main() is executed for the first
/// time, and not again.
async fn warn(shared: &Arc<Shared>, warnings: &[String]) {
    let record = shared.record.borrow().clone();
    let main = record.application.as_ref().and_then(|application| application.main.as_ref());
    if warnings.is_empty() || main.is_some_and(|main| main.executions > 0) {
        return;
    }
    let event = |warning: &String| api::Event {
        kind: "warning".to_owned(),
        message: warning.clone(),
        source: shared.holder.clone(),
        ..api::Event::default()
    };
    let events: Vec<_> = warnings.iter().map(event).collect();
    let tell = || shared.ports.record.append_events(&shared.fence, events.clone(), Vec::new());
    if let Err(error) = shared.patiently("tell what the engine warns of", tell).await {
        tracing::debug!("not recorded: {error}");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spec(artifacts: &[(&str, &str)]) -> api::ApplicationSpec {
        let reference = |(uri, name): &(&str, &str)| api::ArtifactReference {
            uri: (*uri).to_owned(),
            name: (*name).to_owned(),
            digest: String::new(),
        };
        api::ApplicationSpec {
            program: Some(api::Program {
                uri: "https://host/dir/daily.sql?token=1#top".into(),
                ..Default::default()
            }),
            artifacts: artifacts.iter().map(reference).collect(),
            ..Default::default()
        }
    }

    #[test]
    fn files_are_named_by_the_spec_or_the_last_part_of_their_uri() {
        let artifacts = [
            ("/data/zones.csv", ""),
            ("http://host/blob/7", "rates.csv"),
            ("file:///x/%C3%A4%20b.csv", ""),
        ];
        let spec = spec(&artifacts);
        let files = named(&spec, &jobgraph::Record::default()).unwrap_or_default();
        let names: Vec<&str> = files.iter().map(|file| file.name.as_str()).collect();
        assert_eq!(names, ["daily.sql", "zones.csv", "rates.csv", "ä b.csv"]);
        assert_eq!(
            files.iter().map(|file| file.executable).collect::<Vec<_>>(),
            [true, false, false, false]
        );
    }

    #[test]
    fn a_name_that_is_none_or_is_taken_is_refused_by_name() {
        for (artifacts, word) in [
            (&[("/data/a.csv", "../a.csv")][..], "../a.csv"),
            (&[("http://host/", "")][..], "http://host/"),
            (&[("/other/daily.sql", "")][..], "daily.sql"),
        ] {
            let refused = named(&spec(artifacts), &jobgraph::Record::default());
            let why = refused.err().map(|why| (why.reason, why.message));
            let Some((Some(Reason::SpecInvalid), message)) = why else {
                panic!("{artifacts:?} was taken")
            };
            assert!(message.contains(word), "{message}");
        }
    }

    #[test]
    fn a_pinned_digest_stands_above_the_specs() {
        let (asked, pinned) = (Digest::of(b"asked"), Digest::of(b"pinned"));
        let mut spec = spec(&[]);
        if let Some(program) = &mut spec.program {
            program.digest = asked.to_string();
        }
        let mut record = jobgraph::Record::default();
        let first = named(&spec, &record).unwrap_or_default();
        assert_eq!(first[0].digest, Some(asked));
        let pin = api::PinnedArtifact {
            uri: "https://host/dir/daily.sql?token=1#top".into(),
            name: "daily.sql".into(),
            digest: pinned.to_string(),
            size_bytes: 1,
        };
        record.application = Some(api::Application { artifacts: vec![pin], ..Default::default() });
        let later = named(&spec, &record).unwrap_or_default();
        assert_eq!((later[0].digest, later[0].pinned), (Some(pinned), true));
    }
}
