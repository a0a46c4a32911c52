//! Which applications a verb is about: one by its name, or all that have some labels.

use proto::Reason;
use proto::api::{Application, ListRequest, ListResponse};

use crate::api::Api;
use crate::application::Named;
use crate::exit::Exit;
use crate::failure::{Failure, OrFailure};
use crate::output::{Format, Output};
use crate::spec::pair;
use crate::{json, words};

/// How many applications one page of an answer holds.
const PAGE: u32 = 500;

/// The arguments that choose one application or many.
#[derive(Debug, clap::Args)]
pub(crate) struct Chosen {
    /// ID or ID@GENERATION
    #[arg(value_name = "ID", required_unless_present = "labels")]
    application: Option<Named>,

    /// All with this label, the latest generation of each; may be repeated
    #[arg(short, long = "label", value_name = "KEY=VALUE", value_parser = pair, conflicts_with = "application")]
    labels: Vec<(String, String)>,
}

/// What the command line chose: one name, or the applications that had the labels.
pub(crate) enum Choice {
    One(Named),
    /// At least one application, newest first.
    Many(Vec<Application>),
}

impl Chosen {
    /// Looks up the applications that have the labels, and fails if there is none.
    pub(crate) async fn choose(self, api: &Api) -> OrFailure<Choice> {
        if let Some(named) = self.application {
            return Ok(Choice::One(named));
        }
        let words: Vec<_> =
            self.labels.iter().map(|(key, value)| format!("{key}={value}")).collect();
        let labels = self.labels.into_iter().collect();
        let request = ListRequest { labels, latest_only: true, ..ListRequest::default() };
        let found = all_pages(api, request, usize::MAX).await?.applications;
        if found.is_empty() {
            let text = format!("no application has the label {}", words.join(" and "));
            return Err(Failure::new(Exit::NOT_FOUND, Reason::ApplicationNotFound, text));
        }
        Ok(Choice::Many(found))
    }
}

/// All pages of a list as one answer, of at most `limit` applications. The token is that of the
/// next page, if there are more than that.
pub(crate) async fn all_pages(
    api: &Api,
    mut request: ListRequest,
    limit: usize,
) -> OrFailure<ListResponse> {
    let mut all = ListResponse::default();
    loop {
        let left = limit.saturating_sub(all.applications.len());
        // A size of 0 would stand for one that the store chooses.
        request.page_size = u32::try_from(left).map_or(PAGE, |left| left.clamp(1, PAGE));
        let page = api.list(request.clone()).await?;
        all.applications.extend(page.applications);
        all.revision = page.revision;
        if page.next_page_token.is_empty() || all.applications.len() >= limit {
            all.applications.truncate(limit);
            all.next_page_token = page.next_page_token;
            return Ok(all);
        }
        request.page_token = page.next_page_token;
    }
}

/// The name of exactly this generation of this application.
pub(crate) fn exactly(application: &Application) -> OrFailure<Named> {
    let id = application.application_id.parse();
    let id =
        id.map_err(|_| Failure::internal("the store answered an application id that is none"))?;
    Ok(Named::exactly(id, application.generation))
}

/// Says one line for each application, before the operator is asked whether these are the ones.
pub(crate) fn say_which(applications: &[Application], out: &Output) {
    for application in applications {
        let (id, generation) = (&application.application_id, application.generation);
        out.talk(format!("{id}@{generation} {}", words::state(application)));
    }
}

/// Answers with many applications at once, in the format that was asked for.
pub(crate) fn answer(applications: Vec<Application>, out: &Output) {
    match out.format {
        Format::Jsonl => {
            applications.iter().for_each(|application| out.answer(json::line(application)))
        }
        Format::Name => {
            for application in &applications {
                out.answer(format!("{}@{}\n", application.application_id, application.generation));
            }
        }
        Format::Json => {
            out.answer(json::document(&ListResponse { applications, ..ListResponse::default() }))
        }
        Format::Yaml => {
            out.answer(json::yaml(&ListResponse { applications, ..ListResponse::default() }, true));
        }
        Format::Table | Format::Wide => {}
    }
}
