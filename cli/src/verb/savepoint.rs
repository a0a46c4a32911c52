//! `savepoint` has a savepoint taken of the jobs that run, and says where it is. The wish is
//! durable before the command waits for anything.

use std::time::Duration;

use chassis::backoff::Backoff;
use chassis::clock::Clock as _;
use proto::Reason;
use proto::api::{Application, RequestSavepointRequest, SavepointWish};
use proto::job::Savepoint;

use crate::api::requester;
use crate::application::Named;
use crate::exit::Exit;
use crate::failure::{Failure, OrFailure};
use crate::output::Format;
use crate::session::Session;
use crate::spec::{self, pointer};
use crate::{duration, interrupt, json, words};

/// Have a savepoint taken of the jobs that run.
#[derive(Debug, clap::Args)]
#[command(before_help = "  mainspring savepoint orders --dir s3://bucket/savepoints")]
pub(crate) struct SavepointArgs {
    /// ID or ID@GENERATION
    #[arg(value_name = "ID")]
    application: Named,

    /// Only of this job, by name or id
    #[arg(long, value_name = "NAME")]
    job: Option<String>,

    #[command(flatten)]
    wish: WishArgs,
}

/// The arguments of all verbs that ask for savepoints.
#[derive(Debug, clap::Args)]
pub(crate) struct WishArgs {
    /// Where to: a path on this machine, or a URI that the engine knows
    #[arg(long = "dir", value_name = "URI")]
    directory: Option<String>,

    /// The engine's word for its format; Flink: canonical (which other state backends read, too) or
    /// native (faster)
    #[arg(long = "type", value_name = "FORMAT", default_value = "", hide_default_value = true)]
    pub(crate) savepoint_type: String,

    /// Why, for the record
    #[arg(long, value_name = "TEXT", default_value = "", hide_default_value = true)]
    pub(crate) reason: String,

    /// Same id, same wish: a repeat is harmless
    #[arg(long, value_name = "ID", hide_short_help = true)]
    request_id: Option<String>,

    /// Wait at most so long (90s, 5m, 2h); then the exit code is 124, and the wish stands
    #[arg(long, value_name = "DURATION", value_parser = duration::parse, default_value = "10m")]
    timeout: Duration,
}

impl WishArgs {
    /// The directory as the engine's processes understand it, whose current directory is another
    /// one, and which are perhaps on other hosts.
    pub(crate) fn directory(&self, session: &Session) -> OrFailure<String> {
        if let (Some(text), Some(context)) = (&self.directory, session.context())
            && pointer::is_relative_place(text)
        {
            return Err(spec::of_this_directory("--dir", text, context));
        }
        let here = std::env::current_dir()?;
        Ok(self.directory.as_deref().map(|text| pointer::place(text, &here)).unwrap_or_default())
    }

    pub(crate) fn request_id(&self) -> String {
        self.request_id.clone().unwrap_or_else(|| hex::encode(rand::random::<[u8; 16]>()))
    }
}

pub(crate) async fn run(args: SavepointArgs, session: &Session) -> OrFailure<Exit> {
    let request = RequestSavepointRequest {
        application_id: args.application.id.to_string(),
        generation: args.application.generation_or_latest(),
        request_id: args.wish.request_id(),
        job: args.job.unwrap_or_default(),
        directory: args.wish.directory(session)?,
        reason: args.wish.reason.clone(),
        requested_by: requester(),
        format: args.wish.savepoint_type.clone(),
    };
    let (request_id, directory) = (request.request_id.clone(), request.directory.clone());
    let api = session.api().await?;
    let (application, _) = api.request_savepoint(request).await.map_err(|error| {
        Failure::from(error.clone())
            .unknown_unless_refused(&error, &repeat(&args.application, &request_id))
    })?;
    let wish = Wish::of(&application, &request_id, &args.wish);
    session.out.talk(format!("{} savepoint requested{}", wish.named, to(&directory)));
    match wish.settled(session).await? {
        Some(application) => wish.tell(&application, session),
        None => Ok(Exit::DETACHED),
    }
}

fn to(directory: &str) -> String {
    if directory.is_empty() { String::new() } else { format!(" -> {directory}") }
}

/// The command that finds out what became of a wish whose acknowledgement was lost.
pub(crate) fn repeat(named: &Named, request_id: &str) -> String {
    format!(
        "mainspring jobs {named} -o json (savepoints with requestId {request_id}), or repeat it with --request-id {request_id}"
    )
}

/// A wish that was acknowledged.
pub(crate) struct Wish {
    pub(crate) named: Named,
    request_id: String,
    timeout: Duration,
}

impl Wish {
    pub(crate) fn of(application: &Application, request_id: &str, args: &WishArgs) -> Self {
        let id = application.application_id.parse().expect("the record holds no malformed id");
        let named = Named::exactly(id, application.generation);
        Self { named, request_id: request_id.to_owned(), timeout: args.timeout }
    }

    /// Waits until every job that was asked has a result; `None` when a signal ends the wait.
    pub(crate) async fn settled(&self, session: &Session) -> OrFailure<Option<Application>> {
        let leave = interrupt::Interrupts::new()?;
        tokio::select! {
            application = self.look(session) => application.map(Some),
            () = leave.any() => {
                session.out.talk(format!("no longer waiting; the wish stands: {}", repeat(&self.named, &self.request_id)));
                Ok(None)
            }
        }
    }

    async fn look(&self, session: &Session) -> OrFailure<Application> {
        let clock = &session.clock;
        let end = clock.boot() + self.timeout;
        let mut backoff = Backoff::new(Duration::from_millis(50), Duration::from_millis(500));
        let mut told: Vec<String> = Vec::new();
        let mut api = session.api().await?;
        loop {
            match api.get(&self.named).await {
                Ok(application) => {
                    let results = self.results(&application);
                    for (job, name, result) in &results {
                        if !told.iter().any(|known| known == job) {
                            told.push((*job).to_owned());
                            session.out.talk(line(name, result));
                        }
                    }
                    if self.is_settled(&application, results.len()) {
                        return Ok(application);
                    }
                }
                Err(error) if error.is_retryable() => {
                    let left = end.saturating_duration_since(clock.boot());
                    api = session.api_again(left).await?;
                }
                Err(error) => return Err(error.into()),
            }
            if clock.boot() >= end {
                let text =
                    format!("{}: not every savepoint is taken yet; the wish stands", self.named);
                return Err(Failure::new(Exit::WAIT_TIMED_OUT, Reason::WaitTimedOut, text)
                    .help(format!("find out later: {}", repeat(&self.named, &self.request_id))));
            }
            clock.sleep(backoff.next_delay()).await;
        }
    }

    /// The job id, name and result of each job that has a result.
    fn results<'a>(&self, application: &'a Application) -> Vec<(&'a str, &'a str, &'a Savepoint)> {
        let of = |job: &'a proto::api::Job| {
            let result =
                job.savepoints.iter().find(|result| result.request_id == self.request_id)?;
            Some((job.job_id.as_str(), job.name.as_str(), result))
        };
        application.jobs.iter().filter_map(of).collect()
    }

    fn is_settled(&self, application: &Application, results: usize) -> bool {
        application.terminal || self.is_complete(application, results)
    }

    fn is_complete(&self, application: &Application, results: usize) -> bool {
        let wishes = application.desired.iter().flat_map(|desired| &desired.savepoints);
        let mine = |wish: &&SavepointWish| wish.request_id == self.request_id;
        // A wish that the record no longer keeps was settled when it was dropped.
        wishes.into_iter().find(mine).is_none_or(|wish| results >= wish.job_ids.len())
    }

    /// Answers where the savepoints are. A job whose savepoint was not taken is an error.
    pub(crate) fn tell(&self, application: &Application, session: &Session) -> OrFailure<Exit> {
        let results = self.results(application);
        let out = &session.out;
        match out.format {
            Format::Json => {
                let all: Vec<_> =
                    results.iter().map(|(_, name, result)| document(name, result)).collect();
                out.answer(format!("{}\n", serde_json::Value::Array(all)));
            }
            Format::Jsonl => results
                .iter()
                .for_each(|(_, name, result)| out.answer(format!("{}\n", document(name, result)))),
            Format::Yaml => {
                results.iter().for_each(|(_, _, result)| {
                    out.answer(format!("---\n{}", json::yaml(*result, true)))
                });
            }
            Format::Table | Format::Wide | Format::Name => {
                let taken = results.iter().filter(|(_, _, result)| !result.pointer.is_empty());
                taken.for_each(|(_, _, result)| out.answer(format!("{}\n", result.pointer)));
            }
        }
        let not_taken = results.iter().find(|(_, _, result)| result.pointer.is_empty());
        let Some((_, name, result)) = not_taken else {
            return if self.is_complete(application, results.len()) {
                Ok(Exit::SUCCEEDED)
            } else {
                let text = format!(
                    "{} was given up before it was known what became of its savepoints",
                    self.named
                );
                Err(Failure::new(Exit::FAILED, Reason::SavepointFailed, text))
            };
        };
        let reason = result.reason.parse().unwrap_or(Reason::SavepointFailed);
        let exit =
            if reason == Reason::SavepointUnsupported { Exit::REFUSED } else { Exit::FAILED };
        let (message, way_out) = words::way_out(&result.message);
        let failure = Failure::new(
            exit,
            reason,
            format!("job {} of {}: {message}", words::one_line(name), self.named),
        );
        Err(match way_out {
            Some(way_out) => failure.help(way_out),
            None => failure,
        })
    }
}

fn line(name: &str, result: &Savepoint) -> String {
    let name = words::one_line(name);
    if result.pointer.is_empty() {
        return format!("  {name}  not taken: {}", result.message);
    }
    let what = if result.stop { "stopped" } else { "taken" };
    format!("  {name}  {what}  {}", result.pointer)
}

fn document(name: &str, result: &Savepoint) -> serde_json::Value {
    let text = json::line(result);
    let mut document: serde_json::Value = serde_json::from_str(&text).unwrap_or_default();
    if let Some(object) = document.as_object_mut() {
        object.insert("job".to_owned(), name.into());
    }
    document
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_of_several_lines_takes_one() {
        let taken = Savepoint { pointer: "file:/s/1".into(), ..Savepoint::default() };
        assert_eq!(line("count\nwords", &taken), "  count words  taken  file:/s/1");
    }
}
