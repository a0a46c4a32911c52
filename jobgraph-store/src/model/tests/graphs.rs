//! Which job a graph is: found by its name or its place, new, or of another program.

use ::record::Holder;
use proto::{Digest, JobId, api, jobgraph};

use super::{fence, graph, led, made};
use crate::model::{Draft, Refusal, attempt, identity, job};

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
        attempt::begin(&mut draft, &fence(2), &Holder::new("runner-1", 42), "").unwrap();
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
    identity::find(&draft.dossier, &fence(epoch), request).unwrap()
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
    attempt::begin(&mut draft, &fence(2), &Holder::new("runner-1", 42), "").unwrap();
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
    attempt::begin(&mut draft, &fence(2), &Holder::new("runner-1", 42), "").unwrap();
    assert!(job::put_graph(&mut draft, &fence(2), &graph("2", "c", 0)).unwrap().made.is_some());
}

#[test]
fn another_graph_under_a_known_name_is_shown_and_the_stored_one_runs() {
    let mut draft = led(1);
    let stored = job::put_graph(&mut draft, &fence(1), &graph("1", "a", 0)).unwrap().job;
    attempt::begin(&mut draft, &fence(2), &Holder::new("runner-1", 42), "").unwrap();
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
    attempt::begin(&mut draft, &fence(2), &Holder::new("runner-1", 42), "").unwrap();
    for (call, occurrence) in [("3", 0), ("4", 1)] {
        let found = job::put_graph(&mut draft, &fence(2), &allowed(call, occurrence)).unwrap();
        assert!(found.found && found.job.occurrence == occurrence);
    }
}
