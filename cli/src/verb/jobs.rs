//! `jobs` prints the jobs of an application.

use std::time::SystemTime;

use chassis::clock::Clock as _;
use proto::api::{Application, Job};
use proto::job::{JobEnd, ResultKind};

use crate::application::Named;
use crate::duration;
use crate::exit::Exit;
use crate::failure::OrFailure;
use crate::output::{Format, Output};
use crate::session::Session;
use crate::table::{Table, count, size};
use crate::{json, words};

/// The jobs of an application.
#[derive(Debug, clap::Args)]
#[command(before_help = "  mainspring jobs orders -o wide")]
pub(crate) struct JobsArgs {
    /// ID or ID@GENERATION
    #[arg(value_name = "ID")]
    application: Named,
}

pub(crate) async fn run(args: JobsArgs, session: &Session) -> OrFailure<Exit> {
    let application = session.api().await?.get(&args.application).await?;
    print(&application, &session.out, session.clock.wall());
    Ok(Exit::SUCCEEDED)
}

fn print(application: &Application, out: &Output, now: SystemTime) {
    let jobs = &application.jobs;
    match out.format {
        Format::Json => {
            let all: Vec<String> =
                jobs.iter().map(|job| json::line(job).trim_end().to_owned()).collect();
            out.answer(format!("[{}]\n", all.join(",")));
        }
        Format::Jsonl => jobs.iter().for_each(|job| out.answer(json::line(job))),
        Format::Yaml => {
            for job in jobs {
                out.answer(format!("---\n{}", json::yaml(job, true)));
            }
        }
        Format::Name => {
            jobs.iter().for_each(|job| out.answer(format!("{}\n", words::one_line(&job.name))))
        }
        Format::Table | Format::Wide => {
            let paint = |word: &str| out.paint_answer(words::style(word), word);
            out.answer(render(jobs, now, out.format == Format::Wide, paint));
        }
    }
}

/// The table of jobs, which `status` shows too.
pub(crate) fn render(
    jobs: &[Job],
    now: SystemTime,
    wide: bool,
    paint: impl Fn(&str) -> String,
) -> String {
    let mut header = vec!["JOB", "STATE", "TIME", "SUBMITTED"];
    // These columns are left out when they would be empty, because most jobs end by themselves
    // before their first checkpoint.
    let resumes = jobs.iter().any(|job| job.checkpoint.is_some() || restarts(job) > 0);
    if resumes {
        header.extend(["RESTARTS", "CHECKPOINT"]);
    }
    header.extend(["IN", "OUT", "WROTE"]);
    header.push(if wide { "WHERE" } else { "TO" });
    if wide {
        header.push("ID");
    }
    let mut table = Table::new(&header);
    for job in jobs {
        let progress =
            job.end.as_ref().and_then(|end| end.progress).or(job.progress).unwrap_or_default();
        let time = words::between(job.created_at.as_ref(), job.ended_at.as_ref())
            .or_else(|| words::age(job.created_at.as_ref(), now));
        let outputs =
            job.end.iter().flat_map(|end| &end.manifest).flat_map(|manifest| &manifest.outputs);
        let targets: Vec<&str> = outputs
            .map(|output| {
                if wide || output.target.is_empty() {
                    output.location.as_str()
                } else {
                    output.target.as_str()
                }
            })
            .collect();
        let to = match job.end.as_ref() {
            Some(end) if !end.message.is_empty() => {
                words::cut(end.message.lines().next().unwrap_or_default(), 80)
            }
            Some(end) if !end.savepoint.is_empty() => end.savepoint.clone(),
            Some(end) => result(end).map_or_else(|| targets.join(" "), str::to_owned),
            None => targets.join(" "),
        };
        let mut row = vec![
            words::one_line(&job.name),
            paint(words::job_state(job)),
            time.map_or_else(|| "-".to_owned(), duration::show),
            format!("{}x", job.submissions),
        ];
        if resumes {
            row.extend([restarts(job).to_string(), checkpoint(job, now)]);
        }
        row.extend([
            count(progress.rows_in),
            count(progress.rows_out),
            if progress.bytes_out == 0 { "-".to_owned() } else { size(progress.bytes_out) },
            to,
        ]);
        if wide {
            row.push(job.job_id.clone());
        }
        table.row(row);
    }
    table.render()
}

/// What came back to main() and can be asked for.
fn result(end: &JobEnd) -> Option<&'static str> {
    match end.result_kind() {
        _ if end.result_digest.is_empty() => None,
        ResultKind::Unspecified => Some("rows (mainspring result)"),
        ResultKind::Values => Some("accumulators (mainspring result)"),
        ResultKind::Answer => None,
    }
}

fn restarts(job: &Job) -> u32 {
    job.end
        .as_ref()
        .and_then(|end| end.progress)
        .or(job.progress)
        .map_or(0, |progress| progress.restarts)
}

/// The last checkpoint and its age, such as `#8812, 2 s`.
fn checkpoint(job: &Job, now: SystemTime) -> String {
    let Some(last) = &job.checkpoint else { return "-".to_owned() };
    let age =
        words::age(last.completed_at.as_ref(), now).map(|age| format!(", {}", duration::show(age)));
    format!("#{}{}", last.id, age.filter(|_| job.end.is_none()).unwrap_or_default())
}

/// One line for each running job that the engine has restarted: why it did.
pub(crate) fn failures(jobs: &[Job]) -> impl Iterator<Item = String> {
    let told = jobs.iter().filter(|job| job.end.is_none() && !job.last_failure.is_empty());
    told.map(|job| {
        format!(
            "{} was restarted: {}",
            words::one_line(&job.name),
            words::cut(&job.last_failure, 160)
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_can_be_asked_for_is_said_to_be_there() {
        let to = |kind: ResultKind| {
            let mut end = JobEnd { result_digest: "sha256:0".into(), ..JobEnd::default() };
            end.set_result_kind(kind);
            let job = Job { name: "once".into(), end: Some(end), ..Job::default() };
            let text = render(&[job], SystemTime::UNIX_EPOCH, false, str::to_owned);
            text.lines()
                .nth(1)
                .and_then(|row| row.split("  ").last())
                .unwrap_or_default()
                .to_owned()
        };
        assert_eq!(to(ResultKind::Unspecified), "rows (mainspring result)");
        assert_eq!(to(ResultKind::Values), "accumulators (mainspring result)");
        assert!(
            !to(ResultKind::Answer).contains("result"),
            "it wrote files, and nothing came back"
        );
    }

    #[test]
    fn checkpoints_and_restarts_are_shown_where_there_are_some() {
        let at = |seconds| Some(prost_types::Timestamp { seconds, nanos: 0 });
        let now = SystemTime::UNIX_EPOCH + std::time::Duration::from_secs(1_002);
        let plain =
            Job { name: "once".into(), created_at: at(1_000), submissions: 1, ..Job::default() };
        assert!(
            !render(std::slice::from_ref(&plain), now, false, str::to_owned).contains("CHECKPOINT")
        );
        let last =
            proto::job::Checkpoint { id: 8812, completed_at: at(1_000), ..Default::default() };
        let progress = proto::job::Progress { restarts: 3, ..Default::default() };
        let long = Job {
            checkpoint: Some(last),
            progress: Some(progress),
            last_failure: "no room".into(),
            ..plain
        };
        let text = render(std::slice::from_ref(&long), now, false, str::to_owned);
        let rows: Vec<Vec<&str>> = text
            .lines()
            .map(|line| line.split("  ").map(str::trim).filter(|cell| !cell.is_empty()).collect())
            .collect();
        assert_eq!(rows[0][4..6], ["RESTARTS", "CHECKPOINT"], "{text}");
        assert_eq!(rows[1][4..6], ["3", "#8812, 2.00 s"], "{text}");
        assert_eq!(failures(&[long]).collect::<Vec<_>>(), ["once was restarted: no room"]);
    }
}
