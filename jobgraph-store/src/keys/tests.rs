#![allow(clippy::unwrap_used)]

use std::time::{Duration, UNIX_EPOCH};

use bytes::Bytes;
use proptest::prelude::*;
use proto::job as ends;
use proto::{Digest, JobId, api, fences, jobgraph};

use super::*;

pub(crate) fn app() -> ApplicationRef {
    ApplicationRef { id: "orders-7k2m".parse().unwrap(), generation: Generation(0x1f) }
}

/// One checkpoint with every field set.
fn checkpoints(id: u64, pointer: &str) -> checkpoint::Checkpoints {
    let at = |seconds| Some(prost_types::Timestamp { seconds, nanos: 5 });
    let kept = ends::Checkpoint {
        id,
        pointer: pointer.into(),
        created_at: at(1_767_225_600),
        completed_at: at(1_767_225_601),
        savepoint: true,
        discarded_after: vec![
            proto::job::JobOutcome::Failed.into(),
            proto::job::JobOutcome::Cancelled.into(),
        ],
    };
    checkpoint::Checkpoints { kept: vec![kept], next_id: id.wrapping_add(1) }
}

/// Every kind of record: its key, and a value with every field set, as it is stored. (Maps have one
/// entry, because their order is not fixed where the contract says `map`.)
pub(crate) fn samples() -> Vec<(&'static str, Key, Bytes)> {
    let app = app();
    let id = &app.id;
    let digest = Digest::of(b"bytes");
    let job_id = JobId::derive(&app, "", "enrich", 0);
    let time = Some(prost_types::Timestamp { seconds: 1_767_225_600, nanos: 5 });
    let text = |text: &str| text.to_owned();
    let end =
        ends::JobEnd { outcome: 1, reason: text("R"), message: text("m"), ..Default::default() };
    let shown = api::Job {
        job_id: job_id.to_string(),
        name: text("enrich"),
        ordinal: 3,
        end: Some(end),
        created_at: time,
        ..Default::default()
    };
    let mut state = generation::GenerationState {
        stderr_tail: text("oh"),
        overlapped: true,
        jobs: 2,
        moves: 0,
        record: None,
    };
    state.application_mut().reason = text("R");
    state.record_mut().jobs_endpoint = text("unix:/jobs");
    let source = jobgraph::LogSource {
        role: text("main"),
        number: 7,
        replica: 1,
        start: 2,
        ..Default::default()
    };
    let line = log::StoredLine {
        number: 9,
        unix_nanos: -1,
        role: text("main"),
        source_number: 7,
        stderr: true,
        text: Bytes::from_static(b"line"),
        partial: true,
        lost_before: 3,
        position: 44,
        replica: 1,
        start: 2,
        host: String::new(),
    };
    vec![
        ("head", head::key(id), head::Head { latest_generation: 31 }.to_stored()),
        ("events", head::sequence_key(id), head::EventSequence { last: 12 }.to_stored()),
        (
            "attempt",
            fence::attempt_key(id),
            fence::AttemptFence {
                epoch: 7,
                generation: 31,
                holder: text("runner-0"),
                holder_pid: 41,
                place: None,
            }
            .to_stored(),
        ),
        (
            "cluster",
            fence::cluster_key(id),
            fence::ClusterFence {
                incarnation: 2,
                generation: 31,
                request_id: text("c1"),
                place: None,
            }
            .to_stored(),
        ),
        (
            "spec",
            generation::spec_key(&app),
            generation::GenerationSpec {
                spec: Some(api::ApplicationSpec {
                    engine: text("datafusion"),
                    ..Default::default()
                }),
                labels: [(text("team"), text("blue"))].into(),
                annotations: [(text("why"), text("so"))].into(),
                submitted_at: time,
                deadline_at: time,
                traceparent: text("00-1-2-01"),
                requested_by: text("me@here"),
                uid: text("00112233445566778899aabbccddeeff"),
            }
            .to_stored(),
        ),
        ("state", generation::state_key(&app), state.to_stored()),
        (
            "desired",
            desired::key(&app),
            api::Desired {
                cancel: true,
                reason: text("why"),
                revision: 1,
                requested_at: time,
                ..Default::default()
            }
            .to_stored(),
        ),
        (
            "artifacts",
            artifacts::key(&app),
            artifacts::Artifacts {
                pinned: vec![api::PinnedArtifact {
                    name: text("a.sql"),
                    size_bytes: 4,
                    ..Default::default()
                }],
            }
            .to_stored(),
        ),
        (
            "job",
            job::key(&app, job_id),
            job::StoredJob {
                job: Some(shown),
                call: Some(job::Call {
                    id: text("call"),
                    epoch: 7,
                    found: true,
                    diverged: true,
                    ..Default::default()
                }),
                staging_locations: vec![text("/out")],
                ..Default::default()
            }
            .to_stored(),
        ),
        (
            "job with files",
            job::key(&app, JobId::derive(&app, "", "enrich", 1)),
            job::StoredJob { payload_digests: vec![digest.to_string()], ..Default::default() }
                .to_stored(),
        ),
        ("checkpoints", checkpoint::key(&app, job_id), checkpoints(8, "file:/c/chk-8").to_stored()),
        (
            "graph",
            job::graph_key(&app, job_id),
            api::GraphDescription { statement: text("select 1"), ..Default::default() }.to_stored(),
        ),
        (
            "journal",
            journal::key(&app, "a/b c"),
            journal::JournalEntry { value: Bytes::from_static(b"v"), epoch: 7 }.to_stored(),
        ),
        (
            "event",
            event::key(id, 12),
            api::Event {
                event_id: 12,
                kind: text("leader"),
                attributes: [(text("pid"), text("41"))].into(),
                at: time,
                ..Default::default()
            }
            .to_stored(),
        ),
        (
            "listed",
            listing::key(&app, UNIX_EPOCH + Duration::from_nanos(1_767_225_600_000_000_005)),
            listing::Listed { indexed: false }.to_stored(),
        ),
        (
            "listed and indexed",
            listing::key(&app, UNIX_EPOCH + Duration::from_nanos(1_767_225_600_000_000_006)),
            listing::Listed { indexed: true }.to_stored(),
        ),
        (
            "unclean",
            unclean::key(&app),
            unclean::Unclean::of(
                &app,
                UNIX_EPOCH + Duration::from_nanos(1_767_225_600_000_000_006),
            )
            .to_stored(),
        ),
        ("forgetting", forgetting::key(&app), forgetting::Forgetting { since: time }.to_stored()),
        (
            "request of a generation",
            request::of_generation_key(&app, &request::key("my request")),
            request::AnsweredWith {}.to_stored(),
        ),
        (
            "log head",
            log::head_key(&app),
            log::LogHead { kept_bytes: 5, lost_bytes: 6, last_line: 9 }.to_stored(),
        ),
        (
            "log chunk",
            log::chunk_key(&app, 3),
            log::LogChunk {
                digest: digest.to_string(),
                first_line: 3,
                last_line: 9,
                bytes: 5,
                lost_bytes: 2,
                stored_bytes: 7,
                body: Bytes::from_static(b"lines"),
            }
            .to_stored(),
        ),
        (
            "log source",
            log::source_key(&app, &source),
            log::SourceState {
                acknowledged_offset: 44,
                complete: true,
                lines_after: 2,
                last_position: 50,
            }
            .to_stored(),
        ),
        (
            "log lines",
            Key::from(text("-")),
            log::ChunkBody { application: app.to_string(), lines: vec![line] }.to_stored(),
        ),
        (
            "reference",
            payload::reference_key(digest, &app, payload::Use::Artifact),
            payload::reference(&app, payload::Use::Artifact).to_stored(),
        ),
        (
            "sweep",
            payload::sweep_key(digest),
            payload::SweepMark { kept: 4, sweeping: true, number: 0 }.to_stored(),
        ),
        (
            "sweep of a numbered payload",
            payload::sweep_key(Digest::of(b"other bytes")),
            payload::SweepMark { kept: 4, sweeping: true, number: 9 }.to_stored(),
        ),
        ("sweeps", payload::sweeps_key(), payload::Sweeps { number: 9 }.to_stored()),
        ("caretaker", caretaker::key(), caretaker::Caretaker { host: text("here") }.to_stored()),
        (
            "store of a host",
            peer::key(proto::PlaceUid::from_bytes([7; 8])),
            peer::Peer {
                place: Some(fences::Place {
                    kind: text("host"),
                    name: text("node-7"),
                    uid: text("0707070707070707"),
                }),
                endpoint: text("tcp://node-7:7070"),
            }
            .to_stored(),
        ),
        (
            "process",
            process::key("orders/1/cluster/1/worker/0"),
            process::StoredProcess {
                process: Some(jobgraph::Process {
                    starts: 2,
                    role: text("worker"),
                    ..Default::default()
                }),
                first_put: 8,
            }
            .to_stored(),
        ),
        (
            "request",
            request::key("my request"),
            request::AcceptedRequest {
                content: vec![1, 2],
                application_id: id.to_string(),
                generation: 31,
                existing: true,
            }
            .to_stored(),
        ),
        (
            "secrets",
            secrets::key(&app),
            secrets::Secrets { values: [(text("TOKEN"), text("x"))].into() }.to_stored(),
        ),
    ]
}

/// What version 1 looks like on disk. A difference means that this build reads the records of
/// earlier builds wrongly: add a version.
#[test]
fn version_1_is_what_it_was() {
    let golden = include_str!("tests/version-1.txt");
    let now: String = samples()
        .into_iter()
        .map(|(name, key, value)| format!("{name}\t{key}\t{}\n", hex::encode(value)))
        .collect();
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        std::fs::write(concat!(env!("CARGO_MANIFEST_DIR"), "/src/keys/tests/version-1.txt"), &now)
            .unwrap();
    }
    assert_eq!(now, golden);
}

/// The place came later than the rest of version 1, and what has none is stored as before.
#[test]
fn a_place_is_stored_as_it_was() {
    let place = Some(fences::Place {
        kind: "host".into(),
        name: "a-1".into(),
        uid: "0123456789abcdef".into(),
    });
    let stored = "0a04686f73741203612d311a1030313233343536373839616263646566";
    let attempt =
        fence::AttemptFence { epoch: 7, place: place.clone(), ..Default::default() }.to_stored();
    assert_eq!(hex::encode(attempt), format!("0108072a1d{stored}"));
    let cluster =
        fence::ClusterFence { incarnation: 2, place: place.clone(), ..Default::default() }
            .to_stored();
    assert_eq!(hex::encode(cluster), format!("010802221d{stored}"));
    let process = Some(jobgraph::Process { place, ..Default::default() });
    let process = process::StoredProcess { process, first_put: 8 }.to_stored();
    assert_eq!(hex::encode(process), format!("010a1f6a1d{stored}1008"));
}

/// The host came later than the rest of version 1, and what names none is stored as before.
#[test]
fn a_source_that_names_its_host_has_a_key_of_its_own() {
    let source = jobgraph::LogSource {
        role: "contender".into(),
        number: 1,
        replica: 2,
        start: 3,
        ..Default::default()
    };
    let on = |host: &str| jobgraph::LogSource { host: host.into(), ..source.clone() };
    let begin = "a/orders-7k2m/g/000000000000001f/log/source/contender/0000000000000001/2/3";
    assert_eq!(log::source_key(&app(), &source).to_string(), begin);
    assert_eq!(log::source_key(&app(), &on("a-1")).to_string(), format!("{begin}/a-1"));
    assert_ne!(log::source_key(&app(), &on("a-1")), log::source_key(&app(), &on("b")));
    let line = log::StoredLine { number: 9, host: "a-1".into(), ..Default::default() };
    assert_eq!(hex::encode(line.encode_to_vec()), "08096203612d31");
}

#[test]
fn what_another_version_wrote_is_refused() {
    let stored = head::Head { latest_generation: 3 }.to_stored();
    assert_eq!(head::Head::from_stored(&stored).unwrap().latest_generation, 3);
    let refused = head::Head::from_stored(&[2, 8, 3]).unwrap_err();
    assert!(
        matches!(&refused, StoreError::Newer(why) if why.contains("run that build")),
        "{refused}"
    );
    assert!(from_newer_build(&[2, 8, 3]).is_some() && from_newer_build(&stored).is_none());
    for unreadable in [&[0, 8, 3][..], &[], &[1, 255]] {
        let refused = head::Head::from_stored(unreadable).unwrap_err();
        assert!(
            matches!(&refused, StoreError::Unreadable(why) if why.contains("head of an application")),
            "{refused}"
        );
    }
}

#[test]
fn no_two_kinds_share_a_key_and_only_what_is_shown_belongs_to_a_generation() {
    let mut keys: Vec<Key> = samples().into_iter().map(|(_, key, _)| key).collect();
    let shown: Vec<String> =
        keys.iter().filter(|key| generation_of(key).is_some()).map(Key::to_string).collect();
    assert_eq!(shown.len(), 6, "{shown:?}");
    assert!(keys.iter().filter_map(generation_of).all(|of| of == app()));
    let all = keys.len();
    keys.sort();
    keys.dedup();
    assert_eq!(keys.len(), all);
    for odd in
        ["state", "a/b/state", "a/UPPER/g/01/state", "a/b/g/zz/state", "a/b/g/01/journal/state"]
    {
        assert_eq!(generation_of(&Key::from(odd.to_owned())), None, "{odd}");
    }
}

proptest! {
    #[test]
    fn numbers_and_texts_read_back(number in any::<u64>(), text in ".*", bytes in any::<Vec<u8>>(), flag in any::<bool>()) {
        let attempt = fence::AttemptFence { epoch: number, generation: !number, holder: text.clone(), holder_pid: 3, place: None };
        prop_assert_eq!(fence::AttemptFence::from_stored(&attempt.to_stored()).unwrap(), attempt);
        let checkpoints = checkpoints(number, &text);
        prop_assert_eq!(checkpoint::Checkpoints::from_stored(&checkpoints.to_stored()).unwrap(), checkpoints);
        let entry = journal::JournalEntry { value: bytes.clone().into(), epoch: number };
        prop_assert_eq!(journal::JournalEntry::from_stored(&entry.to_stored()).unwrap(), entry);
        let accepted = request::AcceptedRequest { content: bytes.clone(), application_id: text.clone(), generation: number, existing: flag };
        prop_assert_eq!(request::AcceptedRequest::from_stored(&accepted.to_stored()).unwrap(), accepted);
        let line = log::StoredLine { number, unix_nanos: number as i64, text: bytes.into(), stderr: flag, role: text, ..Default::default() };
        let body = log::ChunkBody { application: String::new(), lines: vec![line] };
        prop_assert_eq!(log::ChunkBody::from_stored(&body.to_stored()).unwrap(), body);
    }

    #[test]
    fn a_list_is_ordered_newest_first_and_names_its_generations(
        first in 0..u64::MAX / 2, later in 1..u64::MAX / 4, one in 1..u64::MAX, other in 1..u64::MAX,
    ) {
        let (mut old, mut new) = (app(), app());
        (old.generation, new.generation) = (Generation(one), Generation(other));
        let at = UNIX_EPOCH + Duration::from_nanos(first);
        let (before, after) = (listing::key(&old, at), listing::key(&new, at + Duration::from_nanos(later)));
        prop_assert!(after < before);
        prop_assert_eq!(listing::generation(&before), Some(old));
        prop_assert_eq!(listing::generation(&after), Some(new));
    }

    #[test]
    fn events_and_chunks_are_ordered_by_their_numbers(one in any::<u64>(), other in any::<u64>()) {
        let app = app();
        prop_assert_eq!(event::key(&app.id, one).cmp(&event::key(&app.id, other)), one.cmp(&other));
        prop_assert_eq!(log::chunk_key(&app, one).cmp(&log::chunk_key(&app, other)), one.cmp(&other));
    }

    #[test]
    fn what_is_stored_with_damage_is_read_as_something_or_refused(bytes in any::<Vec<u8>>()) {
        let _ = generation::GenerationState::from_stored(&bytes);
        let _ = job::StoredJob::from_stored(&bytes);
    }
}
