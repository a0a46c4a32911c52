//! One run is one trace, over every process that has a part in it; and there is no trace where the
//! user asked for none.

#![allow(clippy::unwrap_used, clippy::disallowed_methods)]

#[path = "traces/collector.rs"]
mod collector;
#[path = "traces/tree.rs"]
mod tree;

use collector::Collector;
use e2e::{Host, example, host};
use tree::Trace;

/// The variable that says where traces go; traces are off without it.
const SWITCH: &str = "OTEL_EXPORTER_OTLP_ENDPOINT";

/// The command, the runner, the four services, the worker and main().
const PROCESSES: [&str; 8] = [
    "mainspring",
    "app-runner",
    "artifact-fetcher",
    "jobgraph-store",
    "leader-elector",
    "lifecycle",
    "main",
    "worker",
];

/// Runs an application on a host that sends traces. The trace is complete, because every process
/// has flushed and ended.
#[track_caller]
fn traced(id: &str, arguments: &[&str], prepare: impl FnOnce(Host) -> Host) -> Trace {
    let collector = Collector::start();
    let host = prepare(Host::new().with(SWITCH, collector.endpoint()));
    host.run(&[&["run", "--application-id", id], arguments].concat()).exits(0);
    host.down();
    Trace::of(id, collector.spans())
}

/// Checks what holds for every kind of main(), with the names of its jobs.
#[track_caller]
fn is_whole(trace: &Trace, id: &str, jobs: &[&str]) {
    let services = trace.services();
    assert!(PROCESSES.iter().all(|process| services.contains(process)), "{services:?}\n{trace}");
    let outside: Vec<_> =
        trace.outside.iter().map(|span| format!("{} ({})", span.name, span.service)).collect();
    // The host's own looks at its record and its processes belong to no run.
    let at_home = ["mainspring", "up", "jobgraph-store", "lifecycle"];
    assert!(
        trace.outside.iter().all(|span| at_home.contains(&span.service.as_str())),
        "{outside:?}\n{trace}"
    );

    let command = trace.only("mainspring", "command");
    assert_eq!(
        trace.roots().iter().map(|root| &root.id).collect::<Vec<_>>(),
        [&command.id],
        "{trace}"
    );
    let submit = trace.below(command, "jobgraph-store", "Submit");
    let attempt = trace.only("app-runner", "attempt");
    let main = trace.only("main", "main");
    trace.descend(&[command, submit, attempt, main]);
    for span in [attempt, main] {
        assert!(span.has("app.id", id) && span.has("epoch", "1"), "{span:?}");
    }

    trace.below(submit, "lifecycle", "ProvisionContenders");
    trace.below(trace.below(submit, "app-runner", "contender"), "leader-elector", "Campaign");
    trace.below(attempt, "artifact-fetcher", "Fetch");
    trace.below(attempt, "worker", "worker");
    trace.below(attempt, "describe", "DescribeMain");
    trace.below(attempt, "jobgraph-store", "BeginAttempt");
    trace.below(attempt, "jobgraph-store", "RecordApplicationEnd");
    let provision = trace.below(attempt, "lifecycle", "Provision");
    trace.below(provision, "jobgraph-store", "PutProcess");
    trace.below(attempt, "lifecycle", "Teardown");

    for name in jobs {
        let ran = trace.all("worker", "job").into_iter().find(|span| span.has("job.name", name));
        let ran = ran.unwrap_or_else(|| panic!("no job {name}\n{trace}"));
        assert!(ran.has("app.id", id) && ran.has("epoch", "1"), "{ran:?}");
        trace.below(ran, "jobgraph-store", "RecordJobEnd");
        let up = |service: &str, name: &str, below: &collector::Span| {
            let found = trace.all(service, name).into_iter().find(|span| span.id == below.parent);
            found.unwrap_or_else(|| panic!("no {name} above {}\n{trace}", below.name)).clone()
        };
        let submitted = up("worker", "Submit", ran);
        let step = up("app-runner", "submit", &submitted);
        let execute = up("app-runner", "Execute", &step);
        trace.descend(&[main, &execute]);
        trace.below(&execute, "jobgraph-store", "PutJobGraph");
    }
    // Only the first job has output.
    let published = trace.only("app-runner", "publish");
    trace.below(published, "describe", "Publish");
    assert!(
        trace.all("app-runner", "Execute").iter().any(|execute| execute.id == published.parent),
        "{trace}"
    );
    assert_eq!(trace.all("app-runner", "Execute").len(), jobs.len(), "{trace}");
}

#[test]
fn a_run_of_a_script_is_one_trace_over_all_its_processes() {
    let trace = traced("carriers", &[&example("flights/carriers.sql")], |host| host);
    is_whole(&trace, "carriers", &["by_carrier", "report"]);
}

#[test]
fn a_run_of_a_program_in_library_mode_is_one_trace_over_all_its_processes() {
    let program = host::binary("delays");
    assert!(
        program.exists(),
        "no {}: cargo build --workspace --bin delays makes it",
        program.display()
    );
    let flights = example("flights/flights-2013-01.csv");
    let arguments = ["--artifact", &flights, program.to_str().unwrap()];
    let trace = traced("delays", &arguments, |host| host);
    is_whole(&trace, "delays", &["clean", "report"]);
    trace.below(trace.only("main", "main"), "app-runner", "Journal");
}

#[test]
fn a_take_over_goes_on_in_the_same_trace() {
    let script = example("flights/carriers.sql");
    let arguments = ["--contenders", "2", script.as_str()];
    let trace = traced("taken", &arguments, |host| host.with_failpoint("runner.in-main", "kill").0);
    let submit = trace.only("jobgraph-store", "Submit");
    // The first attempt died with the spans that it had not sent yet.
    let main = trace.only("main", "main");
    let attempt =
        trace.all("app-runner", "attempt").into_iter().find(|span| span.id == main.parent);
    let attempt = attempt.unwrap_or_else(|| panic!("main() is below no attempt\n{trace}"));
    trace.descend(&[submit, attempt, main]);
    for span in [attempt, main] {
        assert!(span.has("app.id", "taken") && span.has("epoch", "2"), "{span:?}");
    }
}

#[test]
fn without_the_switch_nothing_is_sent_and_nothing_is_passed_on() {
    let collector = Collector::start();
    // An exporter, if there were one, would send its spans there.
    let host = Host::new().with("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", collector.endpoint());
    host.run(&["run", "--application-id", "quiet", &example("flights/carriers.sql")]).exits(0);
    assert_eq!(host.status("quiet")["traceparent"], "");
    host.down();
    assert_eq!(collector.spans().len(), 0);
}

#[test]
fn a_collector_that_is_not_there_changes_nothing_but_the_traces() {
    let refused = {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        format!("http://{}", listener.local_addr().unwrap())
    };
    let host = Host::new().with(SWITCH, refused);
    let script = host.file("one.sql", "SELECT 1 AS one;");
    let run = host.run(&["run", "--application-id", "one", &script]).exits(0);
    assert!(run.stdout.contains("one"), "{}", run.stdout);
    assert!(!run.stderr.contains("error"), "{}", run.stderr);
    assert_ne!(host.status("one")["traceparent"], "");
}

#[test]
fn a_collector_gets_the_numbers_too() {
    let collector = Collector::start();
    let host = Host::new().with(SWITCH, collector.endpoint());
    host.run(&["run", &example("flights/carriers.sql")]).exits(0);
    host.down();
    let numbers = collector.numbers();
    for name in ["mainspring.rpc.duration", "mainspring.elections"] {
        assert!(numbers.contains(name), "{numbers:?}");
    }
}
