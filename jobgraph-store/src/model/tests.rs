#![allow(clippy::unwrap_used)]

use std::time::{Duration, UNIX_EPOCH};

use ::record::{ApplicationEnd, MainExit};
use proptest::prelude::*;
use proto::{Digest, Epoch, EpochFence, Generation, Incarnation, jobgraph};

use super::*;

fn draft() -> Draft {
    let application = ApplicationRef { id: "orders".parse().unwrap(), generation: Generation(2) };
    let facts = Facts {
        application,
        head: Head { latest_generation: 2 },
        attempt: AttemptFence::default(),
        cluster: ClusterFence::default(),
        spec: GenerationSpec::default(),
        state: GenerationState::default(),
        desired: api::Desired::default(),
        artifacts: Artifacts::default(),
        jobs: BTreeMap::new(),
        checkpoints: BTreeMap::new(),
    };
    Draft::new(facts, UNIX_EPOCH + Duration::from_secs(1_767_225_600))
}

fn fence(epoch: u64) -> EpochFence {
    EpochFence { application: draft().facts.application, epoch: Epoch(epoch) }
}

fn led(epoch: u64) -> Draft {
    let mut draft = draft();
    attempt::begin(&mut draft, &fence(epoch), "runner-0", 41, "").unwrap();
    draft
}

fn graph(call: &str, name: &str, ordinal: u32) -> jobgraph::PutJobGraphRequest {
    jobgraph::PutJobGraphRequest {
        call_id: call.into(),
        name: name.into(),
        ordinal,
        graph_digest: Digest::of(name.as_bytes()).to_string(),
        ..Default::default()
    }
}

/// The id of the job that was made.
fn made(put: &job::Put) -> JobId {
    put.made.as_ref().unwrap().id
}

/// The phase that people see.
fn phase(draft: &Draft) -> api::Phase {
    draft.facts.state.application().phase()
}

#[test]
fn the_phase_follows_main_through_a_take_over() {
    let mut draft = led(1);
    assert_eq!(phase(&draft), api::Phase::Starting);
    attempt::main_starting(&mut draft, &fence(1), "unix:/1").unwrap();
    attempt::main_running(&mut draft, &fence(1), 7).unwrap();
    assert_eq!(phase(&draft), api::Phase::Running);
    let disposition =
        attempt::begin(&mut draft, &fence(2), "runner-1", 42, "lease expired").unwrap();
    assert_eq!((disposition, phase(&draft)), (jobgraph::Disposition::Resume, api::Phase::Starting));
    attempt::main_starting(&mut draft, &fence(2), "unix:/2").unwrap();
    attempt::main_running(&mut draft, &fence(2), 8).unwrap();
    let main = draft.facts.state.application().main.clone().unwrap();
    assert_eq!((main.executions, main.pid, phase(&draft)), (2, 8, api::Phase::Running));
    attempt::main_ended(
        &mut draft,
        &fence(2),
        &MainExit { code: Some(0), ..MainExit::default() },
        "",
    )
    .unwrap();
    assert_eq!(phase(&draft), api::Phase::Finishing);
    attempt::begin(&mut draft, &fence(3), "runner-0", 43, "").unwrap();
    assert_eq!(phase(&draft), api::Phase::Finishing, "main() that has ended is not executed again");
    let told: Vec<&str> = draft.events.iter().map(|event| event.kind.as_str()).collect();
    assert_eq!(told, ["leader", "main", "leader", "main", "main", "leader"]);
}

#[test]
fn nothing_is_said_to_run_of_what_has_ended() {
    let mut draft = led(1);
    attempt::main_starting(&mut draft, &fence(1), "unix:/1").unwrap();
    attempt::main_running(&mut draft, &fence(1), 7).unwrap();
    // The attempt was cut off and main() was not executed again: no process saw how main() ended.
    attempt::begin(&mut draft, &fence(2), "runner-1", 42, "").unwrap();
    let end = ApplicationEnd {
        outcome: api::Outcome::Failed,
        reason: "R".into(),
        message: String::new(),
    };
    ending::end(&mut draft, &fence(2), end, 0).unwrap();
    let main = draft.facts.state.application().main.clone().unwrap();
    assert_eq!((main.state(), main.exit_code, main.signal), (api::MainState::Ended, None, None));
    assert!(main.ended_at.is_some());
}

#[test]
fn a_publish_may_be_given_up_once_main_and_all_jobs_have_ended() {
    let mut draft = led(1);
    assert!(ending::abandon(&mut draft, "", "me@here").is_err(), "main() is not started");
    attempt::main_starting(&mut draft, &fence(1), "unix:/1").unwrap();
    attempt::main_running(&mut draft, &fence(1), 7).unwrap();
    assert!(ending::abandon(&mut draft, "", "me@here").is_err(), "main() runs");
    attempt::main_ended(
        &mut draft,
        &fence(1),
        &MainExit { code: Some(0), ..MainExit::default() },
        "",
    )
    .unwrap();
    ending::abandon(&mut draft, "", "me@here").unwrap();
}

#[test]
fn the_first_end_of_an_execution_stays() {
    let mut draft = led(1);
    attempt::main_ended(
        &mut draft,
        &fence(1),
        &MainExit { code: Some(0), ..MainExit::default() },
        "",
    )
    .unwrap();
    assert!(
        draft.facts.state.application().main.as_ref().is_none_or(|main| main.exit_code.is_none()),
        "never started"
    );
    attempt::main_starting(&mut draft, &fence(1), "unix:/1").unwrap();
    attempt::main_running(&mut draft, &fence(1), 7).unwrap();
    attempt::main_ended(
        &mut draft,
        &fence(1),
        &MainExit { code: Some(3), ..MainExit::default() },
        "é".repeat(5000).as_str(),
    )
    .unwrap();
    attempt::main_ended(
        &mut draft,
        &fence(1),
        &MainExit { code: Some(0), ..MainExit::default() },
        "",
    )
    .unwrap();
    assert_eq!(draft.facts.state.application().main.as_ref().unwrap().exit_code, Some(3));
    assert!(
        draft.facts.state.stderr_tail.len() <= 4096
            && draft.facts.state.stderr_tail.starts_with('é')
    );
}

#[test]
fn the_end_of_a_failed_main_says_its_last_word_also_when_a_successor_records_it() {
    let mut draft = led(1);
    attempt::main_starting(&mut draft, &fence(1), "unix:/1").unwrap();
    attempt::main_running(&mut draft, &fence(1), 7).unwrap();
    let tail = "compiling\nno column \"dep_dely\"\n\n";
    attempt::main_ended(
        &mut draft,
        &fence(1),
        &MainExit { code: Some(3), ..MainExit::default() },
        tail,
    )
    .unwrap();
    attempt::begin(&mut draft, &fence(2), "runner-1", 42, "").unwrap();
    let end = ApplicationEnd {
        outcome: api::Outcome::Failed,
        reason: "MAIN_EXITED".into(),
        message: "main() exited 3".into(),
    };
    let end = ending::end(&mut draft, &fence(2), end, 0).unwrap();
    assert_eq!(end.message, "main() exited 3: no column \"dep_dely\"");
}

/// What a main() that is executed again asks for after `a` (ordinal 0) and `b` (ordinal 1) were
/// recorded, and what it gets.
#[test]
fn a_re_executed_main_finds_its_jobs_by_name_and_diverges_only_where_nothing_fits() {
    enum Get {
        Found,
        New,
        Diverged,
    }
    let table = [
        ("a", 0, false, Get::Found),
        ("b", 0, false, Get::Found),
        ("a", 7, false, Get::Found),
        ("c", 2, false, Get::New),
        ("c", 1, false, Get::Diverged),
        ("c", 1, true, Get::New),
        ("", 2, false, Get::New),
        ("", 1, false, Get::Diverged),
    ];
    for (name, ordinal, overlapped, get) in table {
        let mut draft = led(1);
        for (n, recorded) in ["a", "b"].into_iter().enumerate() {
            let put = job::put_graph(
                &mut draft,
                &fence(1),
                &graph(recorded, recorded, u32::try_from(n).unwrap()),
            )
            .unwrap();
            assert!(!put.found && put.made.is_some());
        }
        attempt::begin(&mut draft, &fence(2), "runner-1", 42, "").unwrap();
        let request = jobgraph::PutJobGraphRequest { overlapped, ..graph("again", name, ordinal) };
        let put = job::put_graph(&mut draft, &fence(2), &request);
        match get {
            Get::Found => assert!(put.unwrap().found, "{name} at {ordinal}"),
            Get::New => assert!(put.unwrap().made.is_some(), "{name} at {ordinal}"),
            Get::Diverged => {
                assert!(
                    matches!(put, Err(Refusal::MainDiverged { .. })),
                    "{name} at {ordinal}: {put:?}"
                )
            }
        }
    }
}

/// A graph with these operators, one after the other.
fn described(
    call: &str,
    name: &str,
    ordinal: u32,
    operators: &[&str],
) -> jobgraph::PutJobGraphRequest {
    let vertex =
        |(id, name): (u32, &&str)| api::Vertex { id, name: (*name).into(), ..Default::default() };
    let edges = (1..).take(operators.len() - 1).map(|to| api::Edge { from: to - 1, to });
    let description = api::GraphDescription {
        vertices: (0..).zip(operators).map(vertex).collect(),
        edges: edges.collect(),
        ..Default::default()
    };
    jobgraph::PutJobGraphRequest { description: Some(description), ..graph(call, name, ordinal) }
}

/// The job that the call of this request is told before its graph exists.
fn find(draft: &Draft, epoch: u64, request: &jobgraph::PutJobGraphRequest) -> JobId {
    let request = jobgraph::FindJobRequest {
        call_id: request.call_id.clone(),
        name: request.name.clone(),
        ordinal: request.ordinal,
        overlapped: request.overlapped,
        equal_names_allowed: request.equal_names_allowed,
        occurrence: request.occurrence,
        description: request.description.clone(),
        ..Default::default()
    };
    identity::find(&draft.facts, &fence(epoch), request).unwrap()
}

const OPERATORS: [&str; 3] = ["Source: in", "Map", "Sink: out"];

/// Two jobs that are named after the moment at which they are executed, and a leader that came
/// later.
fn taken_over() -> (Draft, [JobId; 2]) {
    let mut draft = led(1);
    let jobs = [("1", "a 2026-11-29T10:02"), ("2", "b 2026-11-29T10:03")];
    let made = [0, 1].map(|n: u32| {
        let (call, name) = jobs[n as usize];
        made(&job::put_graph(&mut draft, &fence(1), &described(call, name, n, &OPERATORS)).unwrap())
    });
    attempt::begin(&mut draft, &fence(2), "runner-1", 42, "").unwrap();
    (draft, made)
}

#[test]
fn a_job_whose_name_holds_a_moment_is_told_at_once_unless_the_name_stands_in_the_program() {
    for (name, name_is_literal, warnings) in
        [("a 2026-11-29T10:02", false, 1), ("a 2026-11-29T10:02", true, 0), ("a", false, 0)]
    {
        let mut draft = led(1);
        let request = jobgraph::PutJobGraphRequest { name_is_literal, ..graph("1", name, 0) };
        job::put_graph(&mut draft, &fence(1), &request).unwrap();
        let told: Vec<_> = draft.events.iter().filter(|event| event.kind == "warning").collect();
        assert_eq!(told.len(), warnings, "{name} {name_is_literal}: {told:?}");
        assert!(
            told.iter().all(|event| event.message.contains("\"2026-11-29T10:02\"")),
            "{told:?}"
        );
    }
}

#[test]
fn a_job_whose_name_varies_is_found_at_its_place_and_that_is_told() {
    let (mut draft, [a, _]) = taken_over();
    let request = described("3", "a 2026-11-30T00:00:07", 0, &OPERATORS);
    assert_eq!(find(&draft, 2, &request), a);
    let put = job::put_graph(&mut draft, &fence(2), &request).unwrap();
    assert!(put.found && put.by_position && put.made.is_none());
    assert_eq!(
        (put.job.job_id.as_str(), put.job.name.as_str()),
        (a.to_string().as_str(), "a 2026-11-29T10:02")
    );
    let told = draft.events.iter().find(|event| event.message.contains("asks for")).unwrap();
    assert!(
        told.message.contains("a 2026-11-30T00:00:07") && told.message.contains("; help: "),
        "{told:?}"
    );
    let again = job::put_graph(&mut draft, &fence(2), &request).unwrap();
    assert!(again.found && again.by_position, "the same call is answered the same");
    assert_eq!(find(&draft, 2, &request), a, "told the same as well");
}

#[test]
fn what_is_not_the_same_job_at_that_place_diverges_as_ever() {
    let varies = "a 2026-11-30T00:00:07";
    for (what, request) in [
        ("other operators", described("3", varies, 0, &["Source: in", "Sink: out"])),
        ("operators that are not known", graph("3", varies, 0)),
        ("a name that people gave", described("3", "customers", 0, &OPERATORS)),
        ("the moment of another job", described("3", "c 2026-11-30T00:00:07", 0, &OPERATORS)),
    ] {
        let (mut draft, jobs) = taken_over();
        assert!(!jobs.contains(&find(&draft, 2, &request)), "{what}");
        let put = job::put_graph(&mut draft, &fence(2), &request);
        assert!(matches!(put, Err(Refusal::MainDiverged { .. })), "{what}: {put:?}");
    }
}

#[test]
fn no_two_calls_of_an_attempt_are_taken_for_one_job() {
    let varies = described("3", "a 2026-11-30T00:00:07", 0, &OPERATORS);
    // The job is called by its recorded name first.
    let (mut draft, [a, _]) = taken_over();
    let told = find(&draft, 2, &varies);
    assert_eq!(told, a);
    let by_name = described("4", "a 2026-11-29T10:02", 7, &OPERATORS);
    assert!(!job::put_graph(&mut draft, &fence(2), &by_name).unwrap().by_position);
    let put = job::put_graph(&mut draft, &fence(2), &varies).unwrap();
    assert!(put.made.is_some(), "no job of an earlier attempt is left there");
    let (mut draft, _) = taken_over();
    job::put_graph(&mut draft, &fence(2), &by_name).unwrap();
    let carries = jobgraph::PutJobGraphRequest { job_id: told.to_string(), ..varies.clone() };
    let put = job::put_graph(&mut draft, &fence(2), &carries);
    assert!(matches!(put, Err(Refusal::MainDiverged { .. })), "its graph carries that id: {put:?}");
    // The call is told that its job is new, because its operators were not known then: its graph
    // carries another id.
    let (mut draft, jobs) = taken_over();
    let told =
        find(&draft, 2, &jobgraph::PutJobGraphRequest { description: None, ..varies.clone() });
    assert!(!jobs.contains(&told));
    let carries = jobgraph::PutJobGraphRequest { job_id: told.to_string(), ..varies.clone() };
    let put = job::put_graph(&mut draft, &fence(2), &carries);
    assert!(matches!(put, Err(Refusal::MainDiverged { .. })), "{put:?}");
    // The job is called by its recorded name after it was found by its position: the first match
    // was wrong, and the program is not the one that is recorded.
    let (mut draft, _) = taken_over();
    job::put_graph(&mut draft, &fence(2), &varies).unwrap();
    let put = job::put_graph(&mut draft, &fence(2), &by_name);
    assert!(matches!(put, Err(Refusal::MainDiverged { .. })), "{put:?}");
}

#[test]
fn a_call_that_is_answered_with_a_recorded_end_says_which() {
    let (mut draft, [a, _]) = taken_over();
    let outcome = proto::job::JobOutcome::Cancelled.into();
    let end = proto::job::JobEnd { outcome, ..Default::default() };
    job::ended_by_leader(&mut draft, &fence(2), a, &end).unwrap();
    for (call, name, ordinal, outcome) in
        [("3", "a 2026-11-29T10:02", 0, Some("CANCELLED")), ("4", "b 2026-11-29T10:03", 1, None)]
    {
        job::put_graph(&mut draft, &fence(2), &described(call, name, ordinal, &OPERATORS)).unwrap();
        let is_told =
            |event: &&api::Event| event.attributes.get("state").is_some_and(|is| is == "attached");
        let told = draft.events.iter().rfind(is_told).unwrap();
        assert_eq!(told.attributes.get("outcome").map(String::as_str), outcome, "{told:?}");
    }
}

#[test]
fn the_event_of_a_pinned_artifact_is_recorded_without_its_secrets() {
    let mut draft = led(1);
    let uri = "https://etl:hunter2@host.example/a.sql?token=hunter2".to_owned();
    let digest = Digest::of(b"SELECT 1").to_string();
    let pin = api::PinnedArtifact { uri: uri.clone(), name: "a.sql".into(), digest, size_bytes: 8 };
    attempt::pin(&mut draft, &fence(1), &[pin]).unwrap();
    let told = draft.events.iter().find(|event| event.kind == "artifact").unwrap();
    assert_eq!(told.attributes["uri"], proto::Uri::new(uri).masked());
}

#[test]
fn bytes_that_vary_are_no_other_graph_and_other_operators_are() {
    let bytes = Digest::of(b"other").to_string();
    for (operators, diverged) in [(&OPERATORS[..], false), (&OPERATORS[..2], true)] {
        let (mut draft, _) = taken_over();
        let request = jobgraph::PutJobGraphRequest {
            graph_digest: bytes.clone(),
            graph_bytes_vary: true,
            ..described("3", "a 2026-11-29T10:02", 0, operators)
        };
        assert_eq!(job::put_graph(&mut draft, &fence(2), &request).unwrap().diverged, diverged);
    }
}

#[test]
fn names_of_several_lines_are_one_line_in_what_is_told() {
    let mut draft = led(1);
    job::put_graph(&mut draft, &fence(1), &graph("1", "count\n  words", 0)).unwrap();
    let told = draft.events.last().unwrap();
    assert_eq!(
        (told.message.as_str(), told.attributes["name"].as_str()),
        ("count words: graph stored", "count\n  words")
    );
}

#[test]
fn once_calls_overlapped_ordinals_tell_nothing_any_more() {
    let mut draft = led(1);
    let overlapped = jobgraph::PutJobGraphRequest { overlapped: true, ..graph("1", "a", 0) };
    job::put_graph(&mut draft, &fence(1), &overlapped).unwrap();
    attempt::begin(&mut draft, &fence(2), "runner-1", 42, "").unwrap();
    assert!(job::put_graph(&mut draft, &fence(2), &graph("2", "c", 0)).unwrap().made.is_some());
}

#[test]
fn another_graph_under_a_known_name_is_shown_and_the_stored_one_runs() {
    let mut draft = led(1);
    let stored = job::put_graph(&mut draft, &fence(1), &graph("1", "a", 0)).unwrap().job;
    attempt::begin(&mut draft, &fence(2), "runner-1", 42, "").unwrap();
    let other = Digest::of(b"other").to_string();
    let request =
        jobgraph::PutJobGraphRequest { graph_digest: other.clone(), ..graph("2", "a", 0) };
    let put = job::put_graph(&mut draft, &fence(2), &request).unwrap();
    assert!(put.found && put.diverged && put.made.is_none());
    assert_eq!((put.job.graph_digest, put.job.diverged_digest), (stored.graph_digest, other));
    assert!(draft.events.iter().any(|event| event.kind == "warning"));
    let again = job::put_graph(&mut draft, &fence(2), &request).unwrap();
    assert!(again.found && again.diverged, "the same call is answered the same");
}

#[test]
fn equal_names_are_taken_or_counted_as_the_engine_wants() {
    let mut draft = led(1);
    job::put_graph(&mut draft, &fence(1), &graph("1", "a", 0)).unwrap();
    let taken = job::put_graph(&mut draft, &fence(1), &graph("2", "a", 1));
    assert!(matches!(taken, Err(Refusal::JobNameTaken { .. })), "{taken:?}");
    let allowed = |call: &str, ordinal| jobgraph::PutJobGraphRequest {
        equal_names_allowed: true,
        ..graph(call, "a", ordinal)
    };
    let second = job::put_graph(&mut draft, &fence(1), &allowed("2", 1)).unwrap();
    assert_eq!(second.job.occurrence, 1);
    // The next attempt counts the occurrences anew, and finds the jobs.
    attempt::begin(&mut draft, &fence(2), "runner-1", 42, "").unwrap();
    for (call, occurrence) in [("3", 0), ("4", 1)] {
        let found = job::put_graph(&mut draft, &fence(2), &allowed(call, occurrence)).unwrap();
        assert!(found.found && found.job.occurrence == occurrence);
    }
}

#[test]
fn three_clusters_in_a_row_that_come_to_nothing_are_the_last_ones() {
    let mut draft = led(1);
    let begin = |draft: &mut Draft, request_id: &str| {
        let request =
            jobgraph::BeginClusterRequest { request_id: request_id.into(), ..Default::default() };
        cluster::begin(draft, &fence(1), &request)
    };
    for n in 1..=3 {
        let begun = begin(&mut draft, &format!("c{n}")).unwrap();
        assert_eq!((begun.incarnation, begun.barren_incarnations), (u64::from(n), n));
    }
    let mut fourth = draft.clone();
    assert!(matches!(begin(&mut fourth, "c4"), Err(Refusal::ClusterKeepsDying { count: 3, .. })));
    // A job's end in the third incarnation starts the count anew.
    let put = job::put_graph(&mut draft, &fence(1), &graph("1", "a", 0)).unwrap();
    let cluster = proto::IncarnationFence {
        application: draft.facts.application.clone(),
        incarnation: Incarnation(3),
    };
    let failed =
        proto::job::JobEnd { outcome: proto::job::JobOutcome::Failed.into(), ..Default::default() };
    assert!(job::ended(&mut draft, &cluster, made(&put), &failed).unwrap().0);
    assert_eq!(begin(&mut draft, "c4").unwrap().barren_incarnations, 1);
}

#[test]
fn what_died_in_one_cluster_says_nothing_of_the_next() {
    let mut draft = led(1);
    let begin = |draft: &mut Draft, request_id: &str| {
        let request =
            jobgraph::BeginClusterRequest { request_id: request_id.into(), ..Default::default() };
        cluster::begin(draft, &fence(1), &request).unwrap();
    };
    let live = |draft: &Draft| {
        let conditions = &draft.facts.state.application().conditions;
        conditions.iter().find(|known| known.r#type == "ProcessesLive").map(api::Condition::status)
    };
    begin(&mut draft, "c1");
    assert_eq!(live(&draft), None);
    draft.condition("ProcessesLive", api::ConditionStatus::False, "", "taskmanager-0: restart 1");
    begin(&mut draft, "c2");
    assert_eq!(live(&draft), Some(api::ConditionStatus::True));
}

#[test]
fn the_cluster_that_is_known_to_be_gone_does_not_come_back() {
    let mut draft = led(1);
    let begin = jobgraph::BeginClusterRequest { request_id: "c".into(), ..Default::default() };
    cluster::begin(&mut draft, &fence(1), &begin).unwrap();
    let say = |draft: &mut Draft, incarnation, state: api::ClusterState| {
        let jobs_endpoint = "unix:/jobs".into();
        let request = jobgraph::RecordClusterRequest {
            incarnation,
            state: state.into(),
            jobs_endpoint,
            ..Default::default()
        };
        cluster::record(draft, &fence(1), &request)
    };
    say(&mut draft, 1, api::ClusterState::Ready).unwrap();
    assert_eq!(draft.facts.state.record.as_ref().unwrap().jobs_endpoint, "unix:/jobs");
    say(&mut draft, 1, api::ClusterState::Gone).unwrap();
    say(&mut draft, 1, api::ClusterState::Ready).unwrap();
    assert_eq!(
        draft.facts.state.application().cluster.as_ref().unwrap().state(),
        api::ClusterState::Gone
    );
    assert_eq!(draft.facts.state.record.as_ref().unwrap().jobs_endpoint, "");
    assert!(matches!(
        say(&mut draft, 2, api::ClusterState::Ready),
        Err(Refusal::IncarnationSuperseded { current: 1, .. })
    ));
    assert!(matches!(
        say(&mut draft, 1, api::ClusterState::Unspecified),
        Err(Refusal::RequestInvalid(_))
    ));
}

#[test]
fn a_deadline_is_an_instant_from_the_submission_on() {
    let spec = api::ApplicationSpec {
        deadline: Some(prost_types::Duration { seconds: 90, nanos: 0 }),
        ..Default::default()
    };
    let request =
        api::SubmitRequest { request_id: "r".into(), spec: Some(spec), ..Default::default() };
    let known = submit::Known {
        accepted: None,
        head: Head::default(),
        latest_clean: true,
        latest_forgotten: false,
    };
    let now = UNIX_EPOCH + Duration::from_secs(1000);
    let decided = submit::decide(&known, &request, &"orders".parse().unwrap(), now).unwrap();
    let submit::Submission::New(new) = decided else { panic!("{decided:?}") };
    assert_eq!(new.spec.deadline_at.unwrap().seconds, 1090);
}

#[test]
fn whatever_an_engine_says_fits_into_the_record() {
    let mut draft = led(1);
    let put = job::put_graph(&mut draft, &fence(1), &graph("1", "a", 0)).unwrap();
    let said = "é".repeat(100_000);
    let end = proto::job::JobEnd {
        outcome: proto::job::JobOutcome::Failed.into(),
        message: said.clone(),
        ..Default::default()
    };
    let first = job::ended_by_leader(&mut draft, &fence(1), made(&put), &end).unwrap();
    let again = job::ended_by_leader(&mut draft, &fence(1), made(&put), &end).unwrap();
    assert_eq!(first, again, "a repeat of what was cut is a repeat");
    let end = ApplicationEnd {
        outcome: api::Outcome::Failed,
        reason: "JOB_FAILED".into(),
        message: said.clone(),
    };
    ending::end(&mut draft, &fence(1), end, 0).unwrap();
    ending::mark_clean(&mut draft, &fence(1), &vec![said; 1000]).unwrap();
    let largest = prost::Message::encoded_len(&draft.facts.state)
        .max(prost::Message::encoded_len(&draft.facts.jobs[&made(&put)]));
    assert!(largest < crate::store::MAX_VALUE_BYTES, "{largest} bytes");
    assert!(
        draft.events.len() < 90
            && draft.events.iter().all(|event| prost::Message::encoded_len(event) < 20_000)
    );
}

#[test]
fn an_id_begins_with_the_programs_name() {
    for (uri, stem) in [
        ("/a/carriers.sql", "carriers"),
        ("https://host/x/Top%20Speed.jar?sig=1#frag", "top-speed"),
        ("local:///opt/my_app", "my-app"),
        ("file:///x/%C3%A4%20b.sql", "b"),
        ("/a/...", "app"),
        ("/a/-_-.py", "app"),
        ("", "app"),
    ] {
        assert_eq!(spec::id_stem(uri), stem, "{uri}");
    }
}

proptest! {
    #[test]
    fn every_stem_makes_an_id(uri in ".*") {
        let id = format!("{}-7k2m", spec::id_stem(&uri));
        prop_assert!(id.parse::<proto::ApplicationId>().is_ok(), "{}", id);
    }

    #[test]
    fn equal_requests_have_equal_digests_whatever_the_order_of_their_maps(
        labels in proptest::collection::btree_map("[a-z]{1,3}", "[a-z]{0,3}", 0..6), who in "[a-z]{0,4}",
    ) {
        let request = |labels: Vec<(String, String)>, who: &str| api::SubmitRequest {
            labels: labels.into_iter().collect(),
            requested_by: who.into(),
            ..Default::default()
        };
        let forth: Vec<(String, String)> = labels.clone().into_iter().collect();
        let back = forth.iter().rev().cloned().collect();
        let digest = submit::content_digest(&request(forth.clone(), ""));
        prop_assert_eq!(digest, submit::content_digest(&request(back, &who)));
        let mut other = forth;
        other.push(("other".into(), String::new()));
        prop_assert_ne!(digest, submit::content_digest(&request(other, "")));
    }
}

fn killed() -> MainExit {
    MainExit {
        signal: Some(9),
        signal_sender: "the kernel's OOM killer".into(),
        ..MainExit::default()
    }
}

#[test]
fn a_main_that_was_killed_has_not_ended_and_is_counted_through_take_overs() {
    let mut draft = led(1);
    attempt::main_starting(&mut draft, &fence(1), "unix:/1").unwrap();
    attempt::main_running(&mut draft, &fence(1), 7).unwrap();
    attempt::main_killed(&mut draft, &fence(1), &killed(), "", 1).unwrap();
    attempt::main_killed(&mut draft, &fence(1), &killed(), "", 1).unwrap();
    let main = |draft: &Draft| draft.facts.state.application().main.clone().unwrap();
    assert_eq!((main(&draft).kills, phase(&draft)), (1, api::Phase::Starting));
    assert_eq!((main(&draft).state(), main(&draft).signal), (api::MainState::Starting, None));
    let killed_events = draft
        .events
        .iter()
        .filter(|event| event.attributes.get("state").is_some_and(|s| s == "killed"));
    let told: Vec<_> = killed_events.map(|event| event.message.as_str()).collect();
    let expected = "main() was ended by signal 9, sent by the kernel's OOM killer; it is executed again (kill 1)";
    assert_eq!(told, [expected], "a repeat is told once");

    let disposition = attempt::begin(&mut draft, &fence(2), "runner-1", 42, "").unwrap();
    assert_eq!((disposition, phase(&draft)), (jobgraph::Disposition::Resume, api::Phase::Starting));
    attempt::main_starting(&mut draft, &fence(2), "unix:/2").unwrap();
    attempt::main_running(&mut draft, &fence(2), 8).unwrap();
    assert_eq!((main(&draft).kills, main(&draft).executions), (1, 2));
    let late = attempt::main_killed(&mut draft, &fence(1), &killed(), "", 2);
    assert!(matches!(late, Err(Refusal::EpochSuperseded { .. })), "{late:?}");
    attempt::main_ended(&mut draft, &fence(2), &killed(), "").unwrap();
    attempt::main_killed(&mut draft, &fence(2), &killed(), "", 2).unwrap();
    let ended = main(&draft);
    assert_eq!(
        (ended.state(), ended.kills),
        (api::MainState::Ended, 1),
        "an end that is recorded stays"
    );
    assert_eq!(ended.signal_sender, "the kernel's OOM killer");
}

#[test]
fn a_contender_that_gave_up_is_seen_until_it_is_started_again() {
    let trouble = |draft: &Draft| {
        let conditions = &draft.facts.state.application().conditions;
        let is_false = |c: &&api::Condition| c.status() == api::ConditionStatus::False;
        conditions.iter().find(is_false).map(|c| (c.reason.clone(), c.message.clone()))
    };
    let mut draft = draft();
    contender::tell(&mut draft, 0, None);
    assert_eq!((trouble(&draft), draft.events.len()), (None, 0), "one that is started is no news");
    let why =
        format!("error[CREDENTIAL_INVALID]: no key of this deployment{}", " at all".repeat(200));
    contender::tell(&mut draft, 1, Some(&why));
    contender::tell(&mut draft, 1, Some(&why));
    let (reason, message) = trouble(&draft).unwrap();
    assert_eq!((reason.as_str(), draft.events.len()), ("CONTENDER_GAVE_UP", 1));
    for text in
        ["runner-1 gave up", "CREDENTIAL_INVALID", "; help: correct that", "mainspring cancel "]
    {
        assert!(message.contains(text), "{text}: {message}");
    }
    contender::tell(&mut draft, 0, None);
    assert!(trouble(&draft).is_some(), "that is another one");
    contender::tell(&mut draft, 1, None);
    assert_eq!(trouble(&draft), None);
}
