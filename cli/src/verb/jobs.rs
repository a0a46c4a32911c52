//! `jobs`: the jobs of an application.

use std::time::SystemTime;

use chassis::clock::Clock as _;
use proto::api::{Application, Job};

use crate::application::Named;
use crate::duration;
use crate::exit::Exit;
use crate::failure::Outcome;
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

pub(crate) async fn run(args: JobsArgs, session: &Session) -> Outcome<Exit> {
    let application = session.api().await?.get(&args.application).await?;
    print(&application, &session.out, session.clock.wall());
    Ok(Exit::SUCCEEDED)
}

fn print(application: &Application, out: &Output, now: SystemTime) {
    let jobs = &application.jobs;
    match out.format {
        Format::Json => {
            let all: Vec<String> = jobs.iter().map(|job| json::line(job).trim_end().to_owned()).collect();
            out.answer(format!("[{}]\n", all.join(",")));
        }
        Format::Jsonl => jobs.iter().for_each(|job| out.answer(json::line(job))),
        Format::Yaml => {
            for job in jobs {
                out.answer(format!("---\n{}", json::yaml(job, true)));
            }
        }
        Format::Name => jobs.iter().for_each(|job| out.answer(format!("{}\n", job.name))),
        Format::Table | Format::Wide => {
            let paint = |word: &str| out.paint_answer(words::style(word), word);
            out.answer(render(jobs, now, out.format == Format::Wide, paint));
        }
    }
}

/// The table; also part of `status`.
pub(crate) fn render(jobs: &[Job], now: SystemTime, wide: bool, paint: impl Fn(&str) -> String) -> String {
    let mut header = vec!["JOB", "STATE", "TIME", "SUBMITTED", "IN", "OUT", "WROTE"];
    header.push(if wide { "WHERE" } else { "TO" });
    if wide {
        header.push("ID");
    }
    let mut table = Table::new(&header);
    for job in jobs {
        let progress = job.end.as_ref().and_then(|end| end.progress).or(job.progress).unwrap_or_default();
        let time = words::between(job.created_at.as_ref(), job.ended_at.as_ref())
            .or_else(|| words::age(job.created_at.as_ref(), now));
        let outputs = job.end.iter().flat_map(|end| &end.manifest).flat_map(|manifest| &manifest.outputs);
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
            Some(end) if !end.result_digest.is_empty() => "rows (mainspring result)".to_owned(),
            _ => targets.join(" "),
        };
        let mut row = vec![
            job.name.clone(),
            paint(words::job_state(job)),
            time.map_or_else(|| "-".to_owned(), duration::show),
            format!("{}x", job.submissions),
            count(progress.rows_in),
            count(progress.rows_out),
            if progress.bytes_out == 0 { "-".to_owned() } else { size(progress.bytes_out) },
            to,
        ];
        if wide {
            row.push(job.job_id.clone());
        }
        table.row(row);
    }
    table.render()
}
