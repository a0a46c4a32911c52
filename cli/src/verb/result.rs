//! `result` prints what came back to main(): the rows of a SELECT, or the values that `execute()`
//! returned. The record keeps both as the engine made them, and the engine's own executable reads
//! them.

use futures::StreamExt as _;
use proto::api::Job;
use proto::job::ResultKind;

use crate::application::Named;
use crate::engine::{self, Rows};
use crate::exit::Exit;
use crate::failure::{Failure, OrFailure};
use crate::output::Format;
use crate::session::Session;
use crate::words;

/// What a job brought back to main(): the rows of a SELECT, or what Flink's execute() returned
/// (accumulators).
#[derive(Debug, clap::Args)]
#[command(before_help = "  mainspring result carriers-7k2m report --as csv > report.csv")]
pub(crate) struct ResultArgs {
    /// ID or ID@GENERATION
    #[arg(value_name = "ID")]
    application: Named,

    /// Name or id of the job; may be left out if only one job brought something back
    #[arg(value_name = "JOB")]
    job: Option<String>,

    /// The rows' shape: table, csv, json (one object a line), or arrow (the stream as it is)
    #[arg(long = "as", value_name = "SHAPE")]
    shape: Option<Rows>,
}

pub(crate) async fn run(args: ResultArgs, session: &Session) -> OrFailure<Exit> {
    let api = session.api().await?;
    let application = api.get(&args.application).await?;
    let named = Named::exactly(args.application.id, application.generation);
    let shape =
        args.shape.unwrap_or(if session.out.format.is_table() { Rows::Table } else { Rows::Json });
    let job = match &args.job {
        // A job that the application does not have is left to the record to refuse.
        Some(wanted) => {
            application.jobs.iter().rfind(|job| job.name == *wanted || job.job_id == *wanted)
        }
        None => Some(the_one(&application.jobs, &named)?),
    };
    let brought = job.map_or(Brought::Nothing, brought);
    match (brought, shape) {
        (Brought::Answer, Rows::Table | Rows::Csv) => {
            session.out.talk(nothing_came_back(job.map_or("", |job| &job.name), &named));
            return Ok(Exit::SUCCEEDED);
        }
        (Brought::Answer | Brought::Values, Rows::Arrow) => {
            let text = "what this job brought back are no rows; --as json shows it";
            return Err(Failure::usage(text));
        }
        _ => {}
    }
    let job = job.map_or_else(|| args.job.clone().unwrap_or_default(), |job| job.job_id.clone());
    let mut stream = api.result(&named, &job).await?;
    if shape == Rows::Arrow {
        while let Some(chunk) = stream.next().await.transpose()? {
            session.out.answer(chunk);
        }
        return Ok(Exit::SUCCEEDED);
    }
    let engine = application.spec.as_ref().map_or("datafusion", |spec| spec.engine.as_str());
    let mut reader = engine::RowReader::start(engine, shape, session.out.format == Format::Wide)?;
    while let Some(chunk) = stream.next().await.transpose()? {
        if !reader.write(chunk.as_ref()).await? {
            break;
        }
    }
    if let Err(unreadable) = reader.finish(&session.clock).await {
        // The engine stumbles over damaged rows before the record has sent the last of them. The
        // record's error says what is wrong, and comes at the end of the stream.
        while stream.next().await.transpose()?.is_some() {}
        return Err(unreadable);
    }
    Ok(Exit::SUCCEEDED)
}

/// What came back to main() with a job's end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Brought {
    Rows,
    Values,
    /// Only how the job ended, and nothing that a person would ask for.
    Answer,
    Nothing,
}

fn brought(job: &Job) -> Brought {
    match &job.end {
        Some(end) if !end.result_digest.is_empty() => match end.result_kind() {
            ResultKind::Unspecified => Brought::Rows,
            ResultKind::Values => Brought::Values,
            ResultKind::Answer => Brought::Answer,
        },
        _ => Brought::Nothing,
    }
}

/// The job that is meant when none is named: the only one with something to show, or else the only
/// one that was answered at all.
fn the_one<'a>(jobs: &'a [Job], application: &Named) -> OrFailure<&'a Job> {
    let with = |wanted: &[Brought]| -> Vec<&'a Job> {
        jobs.iter().filter(|job| wanted.contains(&brought(job))).collect()
    };
    let shown = with(&[Brought::Rows, Brought::Values]);
    let candidates = if shown.is_empty() { with(&[Brought::Answer]) } else { shown };
    match candidates.as_slice() {
        [one] => Ok(one),
        [] => Err(Failure::usage(format!("{application} has no job that brought something back"))
            .help(format!("mainspring jobs {application}"))),
        several => {
            let names: Vec<_> = several.iter().map(|job| words::one_line(&job.name)).collect();
            Err(Failure::usage(format!("name one of {application}'s jobs: {}", names.join(", "))))
        }
    }
}

fn nothing_came_back(job: &str, application: &Named) -> String {
    let job = words::one_line(job);
    format!(
        "job {job} brought back no rows and no accumulators: what it wrote is where its program put it, and what main() printed says \
         `mainspring logs {application} --role main`"
    )
}

#[cfg(test)]
mod tests {
    use proto::job::JobEnd;

    use super::*;

    fn job(name: &str, digest: &str, kind: ResultKind) -> Job {
        let mut end = JobEnd { result_digest: digest.into(), ..JobEnd::default() };
        end.set_result_kind(kind);
        Job { name: name.into(), end: Some(end), ..Job::default() }
    }

    #[test]
    fn the_job_with_something_to_show_need_not_be_named() {
        let named: Named = "orders@1".parse().expect("an application");
        let writes = || job("writes", "sha256:0", ResultKind::Answer);
        let counts = || job("counts", "sha256:1", ResultKind::Values);
        let chosen = |jobs: &[Job]| the_one(jobs, &named).map(|job| job.name.clone()).ok();
        assert_eq!(chosen(&[writes(), counts(), writes()]), Some("counts".to_owned()));
        assert_eq!(
            chosen(&[writes(), job("runs", "", ResultKind::Unspecified)]),
            Some("writes".to_owned())
        );
        assert_eq!(chosen(&[counts(), job("rows", "sha256:2", ResultKind::Unspecified)]), None);
        assert_eq!(chosen(&[]), None);
        let several = [job("one\nof two", "sha256:1", ResultKind::Values), counts()];
        let refused = the_one(&several, &named).expect_err("which one?");
        assert_eq!(refused.message, "name one of orders@1's jobs: one of two, counts");
    }
}
