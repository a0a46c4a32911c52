//! The end of an application that did not succeed, told as an error: what failed, the last lines of
//! main(), its jobs, what is left over.

use proto::Reason;
use proto::api::{Application, Job, Outcome};
use proto::job::JobOutcome;

use crate::exit::Exit;
use crate::failure::{Failure, Particulars};
use crate::main_output::MainOutput;
use crate::words;

/// How many of main()'s last lines the error repeats, even though they stand above it already.
const QUOTED: usize = 3;

/// The error that an application ended with; `None` if it succeeded or was cancelled on request.
pub(crate) fn failure(application: &Application, output: &MainOutput) -> Option<Failure> {
    if matches!(application.outcome(), Outcome::Succeeded | Outcome::Cancelled) {
        return None;
    }
    let id = &application.application_id;
    let reason: Option<Reason> = application.reason.parse().ok();
    let (message, way_out) = words::way_out(&application.message);
    let message = if message.is_empty() {
        format!(
            "{id}@{} ended as {}",
            application.generation,
            words::outcome(application.outcome())
        )
    } else if output.was_read() {
        gist(message)
    } else {
        message.to_owned()
    };
    let mut failure = Failure::from(Particulars {
        exit: Exit::of(application.outcome()),
        reason: application.reason.clone(),
        message,
        details: Vec::new(),
        help: way_out
            .map(str::to_owned)
            .or_else(|| reason.map(|reason| help(reason, id)))
            .into_iter()
            .chain(application.jobs.iter().filter_map(way_out_of))
            .collect(),
        fields: Vec::new(),
        metadata: vec![
            ("applicationId".to_owned(), id.clone()),
            ("generation".to_owned(), application.generation.to_string()),
        ],
    });
    let (lines, count) = output.last_words();
    // The last lines of main() matter only if main() is what failed, and only if the record's
    // message does not quote them already.
    let quoted = lines.last().is_some_and(|last| application.message.contains(last.trim()));
    if matches!(reason, Some(Reason::MainExited | Reason::MainKilled)) && !quoted {
        let shown = lines.len();
        for (at, line) in lines.into_iter().enumerate() {
            let which = if at + 1 == shown {
                format!("   (last {shown} of {count} lines)")
            } else {
                String::new()
            };
            failure = failure.detail(format!("| {line}{which}"));
        }
    }
    if !application.jobs.is_empty() {
        let jobs: Vec<_> = application.jobs.iter().map(job).collect();
        failure = failure.detail(format!("jobs   {}", jobs.join(" · ")));
    }
    let left = if application.leftovers.is_empty() {
        "nothing".to_owned()
    } else {
        application.leftovers.join(", ")
    };
    Some(failure.detail(format!("left over: {left}")))
}

/// A message whose further lines quote the end of main()'s output. The terminal shows a trace just
/// above, so that only the lines which say what the trace is about are kept.
fn gist(message: &str) -> String {
    let (first, quoted) = message.split_once('\n').unwrap_or((message, ""));
    if quoted.lines().count() <= QUOTED {
        return message.to_owned();
    }
    let is_frame = |line: &&str| line.trim().is_empty() || line.starts_with(char::is_whitespace);
    let mut lines = quoted.lines().filter(|line| !is_frame(line));
    let about = lines.next().into_iter();
    let kept: Vec<&str> =
        about.chain(lines.filter(|line| line.starts_with("help: "))).take(QUOTED).collect();
    std::iter::once(first).chain(kept).collect::<Vec<_>>().join("\n")
}

/// Where to read what jobs printed. The output of main() lacks it, because jobs run in other
/// processes than main().
pub(crate) fn printed(application: &Application) -> Option<String> {
    let role =
        application.jobs.iter().map(|job| job.prints_in.as_str()).find(|role| !role.is_empty())?;
    Some(format!("what its jobs printed: {} --role {role}", logs(application)?))
}

/// The command that reads the output of the application's cluster, without the role. There is none
/// for a static cluster, because its output is not kept by this deployment.
pub(crate) fn logs(application: &Application) -> Option<String> {
    let is_kept = application.spec.as_ref().is_none_or(|spec| spec.target != proto::target::STATIC);
    is_kept.then(|| format!("mainspring logs {}", application.application_id))
}

/// The remedy with the application's own name in the commands.
fn help(reason: Reason, id: &str) -> String {
    reason.remedy().replace(" ID", &format!(" {id}"))
}

/// The remedy that the engine adds to the message of a job that failed.
fn way_out_of(job: &Job) -> Option<String> {
    words::way_out(&job.end.as_ref()?.message).1.map(str::to_owned)
}

/// One job with how it ended, such as `clean SUCCEEDED (output published, kept)`.
fn job(job: &Job) -> String {
    let (name, state) = (words::one_line(&job.name), words::job_state(job));
    let Some(end) = &job.end else { return format!("{name} {state}") };
    let has_output = end.manifest.as_ref().is_some_and(|manifest| !manifest.outputs.is_empty());
    let note = match end.outcome() {
        JobOutcome::Succeeded if has_output && job.published => {
            " (output published, kept)".to_owned()
        }
        JobOutcome::Succeeded if has_output => " (output not published)".to_owned(),
        JobOutcome::Succeeded => String::new(),
        _ if !end.message.is_empty() => {
            let (message, _) = words::way_out(&end.message);
            format!(" ({})", words::cut(message.lines().next().unwrap_or_default(), 80))
        }
        _ => String::new(),
    };
    format!("{name} {state}{note}")
}

#[cfg(test)]
mod tests {
    use proto::api::LogLine;
    use proto::job::{JobEnd, Manifest, Output as JobOutput};

    use super::*;
    use crate::output::{Color, Format, Output, Verbosity};

    #[test]
    fn what_is_to_be_done_about_a_job_is_said_too() {
        let message = "cannot map state; help: leave it out with -n";
        let end = JobEnd {
            outcome: JobOutcome::Failed.into(),
            message: message.into(),
            ..JobEnd::default()
        };
        let application = Application {
            application_id: "orders".into(),
            outcome: Outcome::Failed.into(),
            reason: "MAIN_EXITED".into(),
            jobs: vec![Job { name: "count".into(), end: Some(end), ..Job::default() }],
            ..Application::default()
        };
        let failure = failure(&application, &MainOutput::new(true))
            .expect("a failed application is an error");
        assert_eq!(failure.help.last().map(String::as_str), Some("leave it out with -n"));
        assert!(
            failure.details[0].ends_with("count FAILED (cannot map state)"),
            "{:?}",
            failure.details
        );
    }

    #[test]
    fn a_trace_that_was_just_read_is_not_shown_again() {
        let trace = "error: a job of Orders failed: / by zero\njava.lang.Wrapper: / by zero\n    at Orders.main(Orders.java:7)\n    \
                     ... 20 frames of Flink and the JDK\ncaused by: / by zero\nhelp: divide by something else";
        let application = Application {
            outcome: Outcome::Failed.into(),
            reason: "MAIN_EXITED".into(),
            message: format!("main() exited 1\n{trace}"),
            ..Application::default()
        };
        let line = LogLine {
            number: 1,
            stream: "stderr".into(),
            text: trace.as_bytes().to_vec().into(),
            ..LogLine::default()
        };
        let out = Output::new(Format::Table, Color::Never, Verbosity::None, true);
        let message = |shown: &[LogLine], for_people| {
            let mut output = MainOutput::new(for_people);
            output.show(shown, &out);
            failure(&application, &output).map(|failure| failure.message.clone())
        };
        let gist = "main() exited 1\nerror: a job of Orders failed: / by zero\nhelp: divide by something else";
        assert_eq!(message(std::slice::from_ref(&line), true).as_deref(), Some(gist));
        let whole = Some(application.message.as_str());
        assert_eq!(message(&[], true).as_deref(), whole, "the output was not shown");
        assert_eq!(message(&[line], false).as_deref(), whole, "programs read the document alone");
    }

    #[test]
    fn where_jobs_print_is_said_if_they_do_and_it_is_kept() {
        let application = |prints_in: &str, target: &str| Application {
            application_id: "orders".into(),
            spec: Some(proto::api::ApplicationSpec { target: target.into(), ..Default::default() }),
            jobs: vec![Job { prints_in: prints_in.into(), ..Job::default() }],
            ..Application::default()
        };
        let said = "what its jobs printed: mainspring logs orders --role taskmanager";
        assert_eq!(printed(&application("taskmanager", "local")).as_deref(), Some(said));
        assert_eq!(printed(&application("", "local")), None);
        assert_eq!(printed(&application("taskmanager", proto::target::STATIC)), None);
    }

    #[test]
    fn a_failing_program_is_told_with_its_last_words_and_its_jobs() {
        let mut output = MainOutput::new(true);
        let line = |text: &'static str| LogLine {
            number: 1,
            stream: "stderr".into(),
            text: text.as_bytes().to_vec().into(),
            ..LogLine::default()
        };
        let out = Output::new(Format::Table, Color::Never, Verbosity::None, true);
        output.show(&[line("thread 'main' panicked: no column \"dep_dely\"")], &out);
        let manifest = Manifest { outputs: vec![JobOutput::default()], ..Manifest::default() };
        let end = |outcome: JobOutcome, message: &str, manifest| JobEnd {
            outcome: outcome.into(),
            message: message.into(),
            manifest,
            ..JobEnd::default()
        };
        let job = |name: &str, end| Job {
            name: name.into(),
            end: Some(end),
            published: true,
            ..Job::default()
        };
        let application = Application {
            application_id: "delays-p3xq".into(),
            generation: 1,
            outcome: Outcome::Failed.into(),
            reason: "MAIN_EXITED".into(),
            message: "main() of delays-p3xq@1 exited 3".into(),
            jobs: vec![
                job("clean", end(JobOutcome::Succeeded, "", Some(manifest))),
                job("report", end(JobOutcome::Cancelled, "main() left", None)),
            ],
            ..Application::default()
        };
        let failure = failure(&application, &output).expect("a failed application is an error");
        assert_eq!(
            failure.render(str::to_owned),
            "error[MAIN_EXITED]: main() of delays-p3xq@1 exited 3\n  \
             | thread 'main' panicked: no column \"dep_dely\"   (last 1 of 1 lines)\n  \
             jobs   clean SUCCEEDED (output published, kept) · report CANCELLED (main() left)\n  \
             left over: nothing\n  \
             help: mainspring logs delays-p3xq --role main\n"
        );
    }
}
