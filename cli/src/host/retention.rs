//! Has the record forget applications that are over for long, and removes what they left below the
//! state directory: a while after the start of the host, then every hour, a bounded part at a time.

use std::collections::HashSet;
use std::time::Duration;

use chassis::BoxError;
use chassis::clock::{Clock as _, SharedClock};
use client::error::CallError;
use client::places::Places;
use proto::api::{ListRequest, Phase};
use proto::{ApplicationRef, Reason};

use super::leftovers;
use crate::api::{Api, is_forgotten};
use crate::application::Named;
use crate::retain::{Newest, Past, Rule, beyond};
use crate::usage;

/// The first look comes late enough for the command that started the host to be served first.
const FIRST: Duration = Duration::from_secs(2);

/// The time between looks.
const EVERY: Duration = Duration::from_secs(3600);

/// The time between looks while something is left to do.
const SOON: Duration = Duration::from_secs(30);

/// How many generations one look forgets.
const AT_ONCE: usize = 500;

/// The pause after each of them, so that other callers have the record in between.
const PAUSE: Duration = Duration::from_millis(5);

/// How many applications one page holds.
const PAGE: u32 = 500;

/// How long applications that are over are kept.
#[derive(Debug, Clone, Copy, clap::Args)]
#[command(next_help_heading = "What is over")]
pub(crate) struct RetentionArgs {
    /// Keep what ended less than so long ago (30d, 12h); what is older is forgotten, as `forget`
    /// does it
    #[arg(long, value_name = "DURATION", value_parser = crate::duration::parse, default_value = "30d")]
    retain_for: Duration,

    /// Keep the last so many that ended, however old
    #[arg(long, value_name = "N", default_value_t = 100)]
    retain_last: usize,
}

impl RetentionArgs {
    fn rule(self) -> Rule {
        Rule { younger_than: self.retain_for, newest: Newest::OfAll(self.retain_last) }
    }
}

/// Keeps one state directory from growing.
pub(crate) struct Retention {
    pub(crate) api: Api,
    pub(crate) places: Places,
    pub(crate) clock: SharedClock,
    pub(crate) args: RetentionArgs,
}

impl Retention {
    /// Looks again and again; what fails at one look is tried at the next.
    pub(crate) async fn run(self) -> Result<(), BoxError> {
        self.clock.sleep(FIRST).await;
        loop {
            let pause = match self.look().await {
                Ok(true) => SOON,
                Ok(false) => EVERY,
                Err(error) => {
                    tracing::warn!("what is over for long stays for now: {error}");
                    EVERY
                }
            };
            // The pauses vary, so that hosts that were started together do not look together.
            self.clock.sleep(pause.mul_f64(rand::random_range(0.9..1.1))).await;
        }
    }

    /// Looks once. True if there is more to be done.
    async fn look(&self) -> Result<bool, BoxError> {
        let past = self.past().await?;
        let mut kept: HashSet<ApplicationRef> =
            past.iter().map(|past| past.application.clone()).collect();
        let over = beyond(self.args.rule(), past, self.clock.wall());
        let mut forgotten = 0;
        for past in &over {
            // What is refused does not count. A lost host that was not given up keeps what it had
            // contenders of, and those come first, because they are the oldest.
            if forgotten == AT_ONCE {
                break;
            }
            match self.api.forget(&past.application, past.revision, false).await {
                Ok(_) => {
                    kept.remove(&past.application);
                    forgotten += 1;
                }
                // The next look tries it again: its processes are being ended, or it has changed.
                Err(error) if is_for_later(&error) => {
                    tracing::debug!("{}: {error}", past.application)
                }
                Err(error) => return Err(error.into()),
            }
            self.clock.sleep(PAUSE).await;
        }
        if forgotten > 0 {
            tracing::info!(forgotten, "forgot what is over for long");
        }
        self.remove_leftovers(&kept).await?;
        self.note_usage().await;
        Ok(forgotten == AT_ONCE)
    }

    /// All applications that are clean.
    async fn past(&self) -> Result<Vec<Past>, CallError> {
        let phases = vec![Phase::Ended.into()];
        let mut request = ListRequest { phases, page_size: PAGE, ..ListRequest::default() };
        let mut past = Vec::new();
        loop {
            let page = self.api.list(request.clone()).await?;
            past.extend(page.applications.iter().filter_map(Past::of));
            request.page_token = page.next_page_token;
            if request.page_token.is_empty() {
                return Ok(past);
            }
        }
    }

    /// Removes directories of generations that the record has forgotten, whether at this look, by
    /// `forget`, or before the host died.
    async fn remove_leftovers(&self, kept: &HashSet<ApplicationRef>) -> Result<(), BoxError> {
        for application in leftovers::of_others(&self.places, kept)? {
            let named = Named::exactly(application.id.clone(), application.generation.get());
            match self.api.get(&named).await {
                Err(error) if is_forgotten(&error) => {}
                // The application is not clean, or belongs to another record; then its directories
                // are not to be removed from here.
                Ok(_) => continue,
                Err(error) if error.reason() == Some(Reason::ApplicationNotFound) => continue,
                Err(error) => return Err(error.into()),
            }
            let places = self.places.clone();
            let removed =
                tokio::task::spawn_blocking(move || leftovers::remove(&places, &application))
                    .await?;
            if let Err(error) = removed {
                tracing::warn!("what a forgotten application has left stays: {error}");
            }
        }
        Ok(())
    }

    async fn note_usage(&self) {
        let (places, now) = (self.places.clone(), self.clock.wall());
        let noted = tokio::task::spawn_blocking(move || usage::note(&places, now)).await;
        if let Ok(Err(error)) = noted {
            tracing::debug!("how much there is is not noted: {error}");
        }
    }
}

fn is_for_later(error: &CallError) -> bool {
    let later =
        [Reason::TreeAlive, Reason::RevisionMoved, Reason::NotClean, Reason::ApplicationNotFound];
    error.reason().is_some_and(|reason| later.contains(&reason))
}
