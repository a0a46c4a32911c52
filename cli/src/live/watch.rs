//! Watches one application to its end: tells its story on stderr, passes main()'s output on,
//! answers Ctrl-C, and mirrors how the application ended. The watch goes on from where it was after
//! any process of the host was killed.

use std::time::Duration;

use chassis::backoff::Backoff;
use chassis::clock::{Boot, Clock as _};
use chassis::telemetry::trace;
use client::error::CallError;
use proto::api::{Application, Observation, QueuePlace, ReadLogsRequest};
use tokio::task::JoinSet;

use super::follow::{Following, Heard};
use super::story::{Line, Story};
use super::waiting::LastPlace;
use crate::api::Api;
use crate::application::Named;
use crate::exit::Exit;
use crate::failure::{Failure, OrFailure};
use crate::interrupt::{Interrupt, Interrupts};
use crate::live::story::left_over;
use crate::main_output::MainOutput;
use crate::output::{Format, Output, Style};
use crate::session::Session;
use crate::{ending, json, words};

/// How long a silence lasts until the last known state is stale: by then two bookmarks were missed.
const STALE: Duration = Duration::from_millis(2200);

/// How often the watch looks for silence.
const TICK: Duration = Duration::from_millis(500);

/// How long the last output may take after the application is clean. The output is in the record by
/// then, so that the watch waits only for a store that was just killed.
const LAST_OUTPUT: Duration = Duration::from_secs(30);

/// How long an application may take from its end until it is clean before the two are told in two
/// lines.
const CLEANING: Duration = Duration::from_secs(1);

/// How often a change is tried while the host is away.
const TRIES: u32 = 20;

/// What Ctrl-C does to the application.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum OnInterrupt {
    /// The first Ctrl-C asks for a cancel, the second stops waiting.
    Cancel,
    /// Ctrl-C ends the watch, and the application goes on.
    Detach,
}

/// The application that is watched, and how.
pub(crate) struct Watched {
    pub(crate) application: Application,
    pub(crate) on_interrupt: OnInterrupt,
    /// SIGTERM and SIGHUP do what Ctrl-C does (Flink's `-sae`); otherwise they end the watch.
    pub(crate) gone_is_interrupt: bool,
    /// The exit code is main()'s own.
    pub(crate) exit_from_main: bool,
    /// How many of the lines that main() has already written are shown; 0 is all.
    pub(crate) tail: u32,
}

/// Watches until the application is clean, or until a signal ends the watch.
pub(crate) async fn watch(watched: Watched, session: &Session, api: Api) -> OrFailure<Exit> {
    let Ok(id) = watched.application.application_id.parse() else {
        return Err(Failure::internal("the store answered an application id that is none"));
    };
    let named = Named::exactly(id, watched.application.generation);
    let mut following = Following::new(api.clone(), session.clock.clone(), named.clone());
    following.events(0);
    following.state();
    following.logs(ReadLogsRequest {
        application_id: named.id.to_string(),
        generation: watched.application.generation,
        roles: vec!["main".to_owned()],
        tail: watched.tail,
        follow: true,
        ..ReadLogsRequest::default()
    });
    let directory = std::env::current_dir().unwrap_or_default();
    let now = session.clock.boot();
    let mut watch = Watch {
        story: Story::new(&watched.application, directory),
        main_output: MainOutput::new(session.out.format.is_table()),
        last_known: watched.application.clone(),
        events_ended: None,
        logs_ended: false,
        told_end: false,
        ended_at: None,
        last_word: now,
        last_fresh: now,
        stale_since: None,
        last_place: LastPlace::default(),
        cancels: 0,
        calls: JoinSet::new(),
        session,
        api,
        named,
        watched,
    };
    watch.run(&mut following).await
}

struct Watch<'a> {
    session: &'a Session,
    api: Api,
    named: Named,
    watched: Watched,
    story: Story,
    main_output: MainOutput,
    last_known: Application,
    /// When it became known here that the application is clean.
    events_ended: Option<Boot>,
    logs_ended: bool,
    told_end: bool,
    /// When it became known here that the application has ended.
    ended_at: Option<Boot>,
    last_word: Boot,
    /// When the leader was last heard of.
    last_fresh: Boot,
    stale_since: Option<Boot>,
    last_place: LastPlace,
    cancels: u32,
    /// The cancels that are under way, and the attempt to start the host again.
    calls: JoinSet<Option<String>>,
}

impl<'a> Watch<'a> {
    async fn run(&mut self, following: &mut Following) -> OrFailure<Exit> {
        let interrupts = Interrupts::new()?;
        let clock = self.session.clock.clone();
        let mut tick_at = clock.boot() + TICK;
        loop {
            tokio::select! {
                heard = following.next() => self.hear(heard)?,
                interrupt = interrupts.next() => if let Some(exit) = self.interrupted(interrupt) {
                    return Ok(exit);
                },
                Some(done) = self.calls.join_next() => if let Ok(Some(text)) = done {
                    self.out().talk(text);
                },
                () = clock.sleep_until(tick_at) => {
                    tick_at = clock.boot() + TICK;
                    self.tick();
                }
            }
            let waited = self.events_ended.map(|at| clock.boot().saturating_duration_since(at));
            if waited.is_some_and(|waited| self.logs_ended || waited > LAST_OUTPUT) {
                return self.finish().await;
            }
        }
    }

    fn out(&self) -> &'a Output {
        &self.session.out
    }

    fn hear(&mut self, heard: Heard) -> OrFailure<()> {
        match heard {
            Heard::Event(event) => {
                if self.out().format == Format::Jsonl {
                    self.out().answer(json::line(&event));
                }
                for line in self.story.tell(&event) {
                    self.tell(&line);
                }
                if event.kind == "ended" {
                    self.ended_at = Some(self.session.clock.boot());
                }
                self.word(None);
            }
            Heard::State(application) => {
                self.word(application.observation.as_ref());
                self.in_line(application.queue.as_ref());
                self.last_known = *application;
            }
            Heard::Beat(beat) => {
                self.word(beat.observation.as_ref());
                self.in_line(beat.queue.as_ref());
            }
            Heard::Lines(lines) => self.main_output.show(&lines, self.out()),
            Heard::EventsEnded => {
                let now = self.session.clock.boot();
                self.events_ended = Some(now);
                self.ended_at.get_or_insert(now);
            }
            Heard::LogsEnded => self.logs_ended = true,
            Heard::Away(error) => self.away(&error),
            Heard::Refused(error) => return Err(error.into()),
        }
        Ok(())
    }

    /// Notes a sign of life of the store, and of the leader if the observation that comes with it
    /// is not stale.
    fn word(&mut self, observation: Option<&Observation>) {
        let now = self.session.clock.boot();
        self.last_word = now;
        let Some(seen) = observation else { return };
        if !seen.stale || self.last_known.clean {
            self.last_fresh = now;
            if let Some(since) = self.stale_since.take() {
                let silent = crate::duration::show(now.saturating_duration_since(since));
                self.tell_now(
                    "again",
                    format!("{}, after {silent}", words::state(&self.last_known)),
                );
            }
            return;
        }
        // The silence counts from when the leader was last heard of, because a leader that has just
        // begun has had no time to say anything.
        let silent = now.saturating_duration_since(self.last_fresh);
        if silent > STALE {
            self.say_stale(
                &seen.source.clone(),
                silent.max(Duration::from_millis(seen.age_millis)),
            );
        }
    }

    /// Says that the application waits for room on its host: at once, and again when the place has
    /// moved.
    fn in_line(&mut self, place: Option<&QueuePlace>) {
        let Some(place) = place else { return };
        if let Some(text) = self.last_place.told(place, self.session.clock.boot()) {
            self.tell_now("queued", text);
        }
    }

    fn tick(&mut self) {
        let silent = self.session.clock.boot().saturating_duration_since(self.last_word);
        if silent > STALE && self.events_ended.is_none() {
            self.say_stale("the store", silent);
        }
        let cleaning = self.ended_at.is_some_and(|at| self.session.clock.boot() > at + CLEANING);
        if cleaning && !self.told_end && self.last_known.terminal && !self.last_known.clean {
            self.told_end = true;
            self.tell(&self.story.end(&self.last_known));
        }
        let here = self.session.elsewhere.is_none();
        if here && !self.last_known.clean && crate::host::is_gone(&self.session.places) {
            self.look_after_host();
        }
        let elapsed = self.elapsed();
        for line in self.story.still_running(elapsed) {
            self.tell(&line);
        }
    }

    fn say_stale(&mut self, source: &str, silent: Duration) {
        if self.stale_since.is_none() {
            self.stale_since = Some(self.session.clock.boot() - silent);
            let (state, silent) = (words::state(&self.last_known), crate::duration::show(silent));
            self.tell_now(
                "STALE",
                format!("no word from {source} for {silent} (last known {state})"),
            );
        }
    }

    /// A stream broke, possibly because no `up` runs; then one is started.
    fn away(&mut self, error: &CallError) {
        tracing::debug!("a stream of {} broke: {error}", self.named);
        self.look_after_host();
    }

    /// Starts this machine's host again if it has gone, because the application needs the processes
    /// that the host keeps. The hosts of a context are kept by others.
    fn look_after_host(&mut self) {
        if self.session.elsewhere.is_none() && self.calls.is_empty() {
            let (places, clock) = (self.session.places.clone(), self.session.clock.clone());
            self.calls.spawn(async move {
                match crate::host::ensure(&places, &clock).await {
                    Ok(_) => None,
                    Err(failure) => Some(failure.message.clone()),
                }
            });
        }
    }

    fn interrupted(&mut self, interrupt: Interrupt) -> Option<Exit> {
        let wants_cancel = match interrupt {
            Interrupt::Key => self.watched.on_interrupt == OnInterrupt::Cancel,
            Interrupt::Gone => self.watched.gone_is_interrupt,
        };
        let named = self.named.clone();
        if wants_cancel && self.cancels == 0 && !self.last_known.terminal {
            self.cancels = 1;
            self.out().talk(format!("cancelling {named}; once more to stop waiting for it"));
            let cancel = cancel(self.api.clone(), self.session.clock.clone(), named, "Ctrl-C");
            self.calls.spawn(trace::carry(cancel));
            return None;
        }
        let rest = if self.cancels > 0 { "cancel stays requested" } else { "it goes on" };
        self.out().talk(format!("no longer watching {named}: {rest}; mainspring attach {named}"));
        Some(Exit::DETACHED)
    }

    async fn finish(&mut self) -> OrFailure<Exit> {
        let application = self.final_state().await?;
        self.main_output.end(self.out());
        if !self.logs_ended {
            let id = &self.named.id;
            let text = format!(
                "-- the end of main()'s output did not come: mainspring logs {id} --role main --"
            );
            self.out().talk(self.out().paint(Style::Warn, &text));
        }
        if self.told_end {
            self.tell_now("clean", left_over(&application.leftovers));
        } else {
            self.tell(&self.story.end(&application));
        }
        match self.out().format {
            Format::Json => self.out().answer(json::document(&application)),
            Format::Yaml => self.out().answer(json::yaml(&application, true)),
            Format::Name => self.out().answer(format!("{}\n", self.named)),
            Format::Jsonl | Format::Table | Format::Wide => {}
        }
        if let Some(where_printed) = ending::printed(&application) {
            self.out().tell(where_printed);
        }
        match ending::failure(&application, &self.main_output) {
            Some(failure) => self.out().fail(&failure),
            None => {
                self.out().tell(format!("next: mainspring status|logs|graph {}", self.named.id))
            }
        }
        let main = application.main.clone().unwrap_or_default();
        if self.watched.exit_from_main && (main.exit_code.is_some() || main.signal.is_some()) {
            return Ok(Exit::of_process(main.exit_code, main.signal));
        }
        Ok(Exit::of(application.outcome()))
    }

    async fn final_state(&mut self) -> OrFailure<Application> {
        let mut backoff = Backoff::new(Duration::from_millis(20), Duration::from_secs(1));
        for _ in 0..TRIES {
            match self.api.get(&self.named).await {
                Ok(application) => return Ok(application),
                Err(error) if error.is_retryable() => {
                    self.away(&error);
                    self.session.clock.sleep(backoff.next_delay()).await;
                }
                Err(error) => return Err(error.into()),
            }
        }
        Ok(self.api.get(&self.named).await?)
    }

    fn tell(&self, line: &Line) {
        let style = if matches!(line.label, "STALE" | "warning" | "left over") {
            Style::Warn
        } else {
            Style::Dim
        };
        self.out().tell(line.render(|label| self.out().paint(style, label)));
    }

    /// Tells something that no event tells.
    fn tell_now(&self, label: &'static str, text: String) {
        self.tell(&Line { elapsed: self.elapsed(), label, text });
    }

    /// The time since the submit.
    fn elapsed(&self) -> Duration {
        words::age(self.last_known.submitted_at.as_ref(), self.session.clock.wall())
            .unwrap_or_default()
    }
}

/// Asks for a cancel until the cancel is durable or refused.
pub(crate) async fn cancel(
    api: Api,
    clock: chassis::clock::SharedClock,
    named: Named,
    reason: &str,
) -> Option<String> {
    let mut backoff = Backoff::new(Duration::from_millis(50), Duration::from_secs(1));
    for _ in 0..TRIES {
        match api.cancel(&named, reason).await {
            // The record's own event tells of the cancel.
            Ok(_) => return None,
            Err(error) if error.is_retryable() => clock.sleep(backoff.next_delay()).await,
            Err(error) => return Some(format!("cancel refused: {error}")),
        }
    }
    Some(format!("the cancel could not be delivered; try: mainspring cancel {named}"))
}

#[cfg(test)]
mod tests;
