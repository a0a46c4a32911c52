//! `result`: the rows that a SELECT brought back. They are kept as an Arrow stream, which the engine's own executable reads.

use futures::StreamExt as _;

use crate::application::Named;
use crate::engine::{self, Rows};
use crate::exit::Exit;
use crate::failure::{Failure, Outcome};
use crate::output::Format;
use crate::session::Session;

/// The rows that a SELECT brought back.
#[derive(Debug, clap::Args)]
#[command(before_help = "  mainspring result carriers-7k2m report --as csv > report.csv")]
pub(crate) struct ResultArgs {
    /// ID or ID@GENERATION
    #[arg(value_name = "ID")]
    application: Named,

    /// Name or id of the job; may be left out if only one job brought rows back
    #[arg(value_name = "JOB")]
    job: Option<String>,

    /// The rows' shape: table, csv, json (one object a line), or arrow (the stream as it is)
    #[arg(long = "as", value_name = "SHAPE")]
    shape: Option<Rows>,
}

pub(crate) async fn run(args: ResultArgs, session: &Session) -> Outcome<Exit> {
    let api = session.api().await?;
    let application = api.get(&args.application).await?;
    let named = Named::exactly(args.application.id, application.generation);
    let job = match args.job {
        Some(job) => job,
        None => {
            let with_rows =
                |job: &&proto::api::Job| job.end.as_ref().is_some_and(|end| !end.result_digest.is_empty());
            let jobs: Vec<_> = application.jobs.iter().filter(with_rows).collect();
            match jobs.as_slice() {
                [one] => one.job_id.clone(),
                [] => {
                    return Err(Failure::usage(format!("{named} has no job with rows"))
                        .help(format!("mainspring jobs {named}")));
                }
                several => {
                    let names: Vec<_> = several.iter().map(|job| job.name.as_str()).collect();
                    return Err(Failure::usage(format!("name one of {named}'s jobs: {}", names.join(", "))));
                }
            }
        }
    };
    let shape = args.shape.unwrap_or(if session.out.format.is_table() { Rows::Table } else { Rows::Json });
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
        // The reader stumbles over damaged rows before the record has seen the last of them, which says what is wrong.
        while stream.next().await.transpose()?.is_some() {}
        return Err(unreadable);
    }
    Ok(Exit::SUCCEEDED)
}
