//! Whom a verb is about: one application by its name, or all with some labels.

use proto::Reason;
use proto::api::{Application, ListRequest, ListResponse};

use crate::api::Api;
use crate::application::Named;
use crate::exit::Exit;
use crate::failure::{Failure, Outcome};
use crate::output::{Format, Output};
use crate::spec::pair;
use crate::{json, words};

/// Applications on one page of an answer.
const PAGE: u32 = 500;

/// One or many.
#[derive(Debug, clap::Args)]
pub(crate) struct Chosen {
    /// ID or ID@GENERATION
    #[arg(value_name = "ID", required_unless_present = "labels")]
    application: Option<Named>,

    /// All with this label, the latest generation of each; may be repeated
    #[arg(short, long = "label", value_name = "KEY=VALUE", value_parser = pair, conflicts_with = "application")]
    labels: Vec<(String, String)>,
}

/// What the command line chose.
pub(crate) enum Choice {
    One(Named),
    /// At least one, newest first.
    Many(Vec<Application>),
}

impl Chosen {
    /// Looks up what has the labels; an error if nothing does.
    pub(crate) async fn choose(self, api: &Api) -> Outcome<Choice> {
        if let Some(named) = self.application {
            return Ok(Choice::One(named));
        }
        let words: Vec<_> = self.labels.iter().map(|(key, value)| format!("{key}={value}")).collect();
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

/// All that a list has, at most `limit` of it.
pub(crate) async fn all_pages(api: &Api, mut request: ListRequest, limit: usize) -> Outcome<ListResponse> {
    request.page_size = PAGE;
    let mut all = ListResponse::default();
    loop {
        let page = api.list(request.clone()).await?;
        all.applications.extend(page.applications);
        all.revision = page.revision;
        request.page_token = page.next_page_token;
        if request.page_token.is_empty() || all.applications.len() >= limit {
            all.applications.truncate(limit);
            return Ok(all);
        }
    }
}

/// Which life of which application.
pub(crate) fn exactly(application: &Application) -> Outcome<Named> {
    let id = application.application_id.parse();
    let id = id.map_err(|_| Failure::internal("the store answered an application id that is none"))?;
    Ok(Named::exactly(id, application.generation))
}

/// One line for each, for those who are asked whether they mean these.
pub(crate) fn say_which(applications: &[Application], out: &Output) {
    for application in applications {
        let (id, generation) = (&application.application_id, application.generation);
        out.talk(format!("{id}@{generation} {}", words::state(application)));
    }
}

/// Many applications as one answer.
pub(crate) fn answer(applications: Vec<Application>, out: &Output) {
    match out.format {
        Format::Jsonl => applications.iter().for_each(|application| out.answer(json::line(application))),
        Format::Name => {
            for application in &applications {
                out.answer(format!("{}@{}\n", application.application_id, application.generation));
            }
        }
        Format::Json => out.answer(json::document(&ListResponse { applications, ..ListResponse::default() })),
        Format::Yaml => {
            out.answer(json::yaml(&ListResponse { applications, ..ListResponse::default() }, true));
        }
        Format::Table | Format::Wide => {}
    }
}
