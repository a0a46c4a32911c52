//! `status` shows one application, with the source and age of what is said. An application whose
//! leader cannot be asked is STALE, with an age that grows.

use std::fmt::Write as _;
use std::io::IsTerminal as _;
use std::time::{Duration, SystemTime};

use chassis::clock::{Boot, Clock as _};
use proto::api::{Application, Bookmark, ClusterState, MainState};

use super::jobs;
use crate::api::Api;
use crate::application::Named;
use crate::exit::Exit;
use crate::failure::OrFailure;
use crate::live::follow::{Following, Heard};
use crate::live::waiting;
use crate::output::{Format, Output};
use crate::session::Session;
use crate::table::ordinal;
use crate::{duration, interrupt, json, words};

/// How long a silence lasts until the last known state is stale.
const STALE: Duration = Duration::from_millis(2200);

/// How often the picture on a terminal is drawn again, so that ages grow.
const DRAW: Duration = Duration::from_millis(500);

/// One application: state, leader, cluster, jobs, and how old the answer is.
#[derive(Debug, clap::Args)]
#[command(before_help = "  mainspring status orders --watch")]
pub(crate) struct StatusArgs {
    /// ID or ID@GENERATION
    #[arg(value_name = "ID")]
    application: Named,

    /// Go on until it is clean; never cancels anything
    #[arg(short, long)]
    watch: bool,
}

pub(crate) async fn run(args: StatusArgs, session: &Session) -> OrFailure<Exit> {
    let api = session.api().await?;
    let application = api.get(&args.application).await?;
    if args.watch {
        return watch(args.application, application, session, api).await;
    }
    print(&application, session);
    Ok(Exit::SUCCEEDED)
}

fn print(application: &Application, session: &Session) {
    let out = &session.out;
    match out.format {
        Format::Json => out.answer(json::document(application)),
        Format::Jsonl => out.answer(json::line(application)),
        Format::Yaml => out.answer(json::yaml(application, true)),
        Format::Name => out.answer(format!("{}\n", words::state(application))),
        Format::Table | Format::Wide => out.answer(render(application, session.clock.wall(), out)),
    }
}

async fn watch(named: Named, first: Application, session: &Session, api: Api) -> OrFailure<Exit> {
    let named = Named::exactly(named.id, first.generation);
    let mut following = Following::new(api, session.clock.clone(), named.clone());
    following.state();
    let interrupts = interrupt::Interrupts::new()?;
    let clock = &session.clock;
    let mut view = View::new(session, first, clock.boot());
    view.show();
    let mut draw_at = clock.boot() + DRAW;
    while !view.known.clean && !session.out.is_closed() {
        tokio::select! {
            heard = following.next() => match heard {
                Heard::State(application) => view.learn(*application),
                Heard::Beat(beat) => view.beat(beat),
                Heard::Away(_) => session.keep_host().await,
                Heard::Refused(error) => return Err(error.into()),
                _ => {}
            },
            () = clock.sleep_until(draw_at) => {
                draw_at = clock.boot() + DRAW;
                view.tick();
            }
            () = interrupts.any() => return Ok(Exit::DETACHED),
        }
    }
    Ok(Exit::SUCCEEDED)
}

/// What is on the screen: on a terminal a picture that is drawn again, elsewhere one block or
/// document for each change.
struct View<'a> {
    session: &'a Session,
    known: Application,
    last_word: Boot,
    said: String,
    drawn_lines: usize,
    terminal: bool,
}

impl<'a> View<'a> {
    fn new(session: &'a Session, known: Application, now: Boot) -> Self {
        let terminal = session.out.format.is_table() && std::io::stdout().is_terminal();
        Self { session, known, last_word: now, said: String::new(), drawn_lines: 0, terminal }
    }

    fn learn(&mut self, application: Application) {
        self.known = application;
        self.last_word = self.session.clock.boot();
        self.show();
    }

    fn beat(&mut self, beat: Bookmark) {
        self.last_word = self.session.clock.boot();
        if beat.observation.is_some() {
            self.known.observation = beat.observation;
        }
        waiting::note(&mut self.known, beat.queue);
        self.show();
    }

    /// Notes that nothing was heard: the last known state grows older, and becomes stale.
    fn tick(&mut self) {
        let silent = self.session.clock.boot().saturating_duration_since(self.last_word);
        let stale = silent > STALE && !self.known.clean;
        if stale {
            let seen = self.known.observation.get_or_insert_default();
            seen.stale = true;
            seen.age_millis =
                seen.age_millis.max(u64::try_from(silent.as_millis()).unwrap_or(u64::MAX));
        }
        if stale || self.terminal {
            self.show();
        }
    }

    fn show(&mut self) {
        let out = &self.session.out;
        if self.terminal {
            let text = render(&self.known, self.session.clock.wall(), out);
            // The cursor goes back to the picture's first line, and everything from there on is
            // cleared.
            let up = if self.drawn_lines > 0 {
                format!("\x1b[{}A", self.drawn_lines)
            } else {
                String::new()
            };
            out.answer(format!("{up}\r\x1b[J{text}"));
            self.drawn_lines = text.lines().count();
            return;
        }
        // Each change is printed once; the passing of time is no change.
        let essence = essence(&self.known);
        if essence != self.said {
            self.said = essence;
            print(&self.known, self.session);
        }
    }
}

/// The parts of a state whose change is worth another block.
fn essence(application: &Application) -> String {
    let stale = application.observation.as_ref().is_some_and(|seen| seen.stale);
    let jobs: Vec<_> = application.jobs.iter().map(words::job_state).collect();
    let epoch = application.leadership.as_ref().map_or(0, |leadership| leadership.epoch);
    let incarnation = application.cluster.as_ref().map_or(0, |cluster| cluster.incarnation);
    format!(
        "{stale} {} {epoch} {incarnation} {} {} {jobs:?}",
        words::state(application),
        words::why(application),
        words::died(application).map_or("", |died| &died.message)
    )
}

/// The picture.
fn render(application: &Application, now: SystemTime, out: &Output) -> String {
    let mut text = head(application, now, &|word: &str| out.paint_answer(words::style(word), word));
    if !application.jobs.is_empty() {
        let paint = |word: &str| out.paint_answer(words::style(word), word);
        let table = jobs::render(&application.jobs, now, out.format == Format::Wide, paint);
        for line in table.lines() {
            let _ = writeln!(text, " {line}");
        }
        for failure in jobs::failures(&application.jobs) {
            let _ = writeln!(text, " {failure}");
        }
    }
    text
}

/// Everything but the jobs.
fn head(application: &Application, now: SystemTime, paint: &dyn Fn(&str) -> String) -> String {
    let mut text = format!("{}@{} ", application.application_id, application.generation);
    let seen = application.observation.clone().unwrap_or_default();
    let age = duration::show(Duration::from_millis(seen.age_millis));
    let stale = seen.stale && !application.clean;
    if stale {
        let _ = write!(text, "{} {age}  last known {}", paint("STALE"), words::state(application));
    } else {
        text.push_str(&paint(words::state(application)));
    }
    let since = if application.terminal {
        words::between(application.submitted_at.as_ref(), application.ended_at.as_ref())
    } else {
        words::age(application.submitted_at.as_ref(), now)
    };
    if let Some(since) = since {
        let _ = write!(text, " {}", duration::show(since));
    }
    let source = if seen.source.is_empty() { "record" } else { &seen.source };
    let _ = write!(text, "   as of {age} ago, from {source}");
    let leadership = application.leadership.clone().unwrap_or_default();
    if leadership.epoch > 0 {
        let _ = write!(
            text,
            ", epoch {} ({} leader)",
            leadership.epoch,
            ordinal(leadership.ordinal.max(1))
        );
    }
    text.push('\n');
    let why = words::why(application);
    if !why.is_empty() {
        let _ = writeln!(text, " {why}");
    }
    for way_out in
        words::troubles(application).filter_map(|trouble| words::way_out(&trouble.message).1)
    {
        let _ = writeln!(text, " help: {way_out}");
    }
    if application.clean {
        return text;
    }
    if leadership.epoch > 0 {
        let warm = if leadership.standbys.is_empty() {
            "none".to_owned()
        } else {
            leadership.standbys.join(", ")
        };
        let _ = writeln!(
            text,
            " leader {} (pid {})   warm: {warm}",
            leadership.leader, leadership.leader_pid
        );
    }
    if let Some(cluster) = application.cluster.as_ref().filter(|cluster| cluster.incarnation > 0) {
        let mut roles: Vec<_> =
            cluster.ready_roles.iter().map(|(role, count)| format!("{count} {role}")).collect();
        roles.sort();
        let state = match cluster.state() {
            ClusterState::Ready => format!("{} ready", roles.join(", ")),
            ClusterState::Starting => "starting".to_owned(),
            ClusterState::Gone => "gone".to_owned(),
            ClusterState::Unspecified => "unknown".to_owned(),
        };
        // The name of the leader says its host already, where there are several.
        let host = if words::has_several_hosts(application) && !cluster.host.is_empty() {
            format!(" on {}", cluster.host)
        } else {
            String::new()
        };
        let _ = writeln!(
            text,
            " cluster incarnation {}{host}, {state}   {} {}",
            cluster.incarnation, cluster.engine, cluster.engine_version
        );
        if let Some(died) = words::died(application) {
            let ago = words::age(died.observed_at.as_ref(), now).map(duration::show);
            let ago = ago.map(|ago| format!("   {ago} ago")).unwrap_or_default();
            let _ = writeln!(text, " {}{ago}", died.message);
        }
    }
    if let Some(main) = &application.main {
        let state = match main.state() {
            MainState::Starting if main.pid == 0 => "is started".to_owned(),
            MainState::Running | MainState::Starting => format!("runs (pid {})", main.pid),
            MainState::Ended => match (main.exit_code, main.signal) {
                (Some(code), _) => format!("exit {code}"),
                (None, Some(signal)) => format!("killed by signal {signal}"),
                (None, None) => "ended".to_owned(),
            },
            MainState::Unspecified => "not started".to_owned(),
        };
        let mut times = String::new();
        if main.executions > 1 {
            let _ = write!(times, "   executed {} times", main.executions);
        }
        match main.kills {
            0 => {}
            1 => times.push_str(", killed by somebody else once"),
            kills => {
                let _ = write!(times, ", killed by somebody else {kills} times");
            }
        }
        let _ = writeln!(text, " main() {state}{times}");
    }
    text
}

#[cfg(test)]
mod tests {
    use proto::api::{Leadership, Observation, Phase};

    use super::*;

    fn running() -> Application {
        Application {
            application_id: "orders".into(),
            generation: 4,
            phase: Phase::Running.into(),
            submitted_at: Some(prost_types::Timestamp { seconds: 1_000, nanos: 0 }),
            leadership: Some(Leadership {
                epoch: 48213,
                ordinal: 2,
                leader: "runner-0".into(),
                leader_pid: 7,
                standbys: vec!["runner-1".into()],
                since: None,
                host: String::new(),
            }),
            observation: Some(Observation {
                source: "runner-0".into(),
                age_millis: 400,
                ..Observation::default()
            }),
            ..Application::default()
        }
    }

    #[test]
    fn every_answer_says_where_it_comes_from_and_how_old_it_is() {
        let now = SystemTime::UNIX_EPOCH + Duration::from_secs(1_000 + 6 * 86_400 + 7200);
        assert_eq!(
            head(&running(), now, &str::to_owned),
            "orders@4 RUNNING 6d02h   as of 0.40 s ago, from runner-0, epoch 48213 (2nd leader)\n leader runner-0 (pid 7)   \
             warm: runner-1\n"
        );
    }

    #[test]
    fn where_there_are_several_hosts_the_leader_and_the_cluster_name_theirs() {
        let mut application = running();
        let host = "node-8".to_owned();
        application.cluster =
            Some(proto::api::Cluster { incarnation: 3, host, ..Default::default() });
        let shown =
            |application: &Application| head(application, SystemTime::UNIX_EPOCH, &str::to_owned);
        assert!(!shown(&application).contains("node-8"), "the only host is not worth a word");
        application.leadership.as_mut().expect("it is led").leader = "node-7/runner-0".into();
        let text = shown(&application);
        assert!(text.contains("\n leader node-7/runner-0 (pid 7)"), "{text}");
        assert!(text.contains("\n cluster incarnation 3 on node-8, "), "{text}");
    }

    #[test]
    fn a_main_that_was_killed_and_is_started_again_is_said_to_be() {
        let main = proto::api::Main { executions: 2, kills: 1, ..proto::api::Main::default() };
        let shown = |state: MainState, pid| {
            let main = proto::api::Main { state: state.into(), pid, ..main.clone() };
            head(
                &Application { main: Some(main), ..running() },
                SystemTime::UNIX_EPOCH,
                &str::to_owned,
            )
        };
        let again = "executed 2 times, killed by somebody else once";
        assert!(
            shown(MainState::Starting, 0).ends_with(&format!(" main() is started   {again}\n"))
        );
        assert!(
            shown(MainState::Running, 7).ends_with(&format!(" main() runs (pid 7)   {again}\n"))
        );
    }

    #[test]
    fn a_process_that_died_is_told_with_its_cause_and_when() {
        let died = "taskmanager-0: restart 3; cause: exit code 1 (java.lang.OutOfMemoryError: Java heap space)";
        let mut application = running();
        application.cluster = Some(proto::api::Cluster { incarnation: 1, ..Default::default() });
        let mut condition = proto::api::Condition {
            r#type: "ProcessesLive".into(),
            status: proto::api::ConditionStatus::False.into(),
            message: died.into(),
            observed_at: Some(prost_types::Timestamp { seconds: 1_005, nanos: 0 }),
            ..Default::default()
        };
        application.conditions = vec![condition.clone()];
        let now = SystemTime::UNIX_EPOCH + Duration::from_secs(1_007);
        let text = head(&application, now, &str::to_owned);
        assert!(text.contains(&format!("\n {died}   2.00 s ago\n")), "{text}");
        condition.status = proto::api::ConditionStatus::True.into();
        application.conditions = vec![condition];
        assert!(!head(&application, now, &str::to_owned).contains(died));
    }

    #[test]
    fn what_cannot_be_asked_is_stale_and_never_an_old_running() {
        let mut silent = running();
        silent.observation = Some(Observation {
            source: "runner-0".into(),
            stale: true,
            age_millis: 240_000,
            ..Observation::default()
        });
        let now = SystemTime::UNIX_EPOCH + Duration::from_secs(1_300);
        let text = head(&silent, now, &str::to_owned);
        assert!(
            text.starts_with(
                "orders@4 STALE 4m  last known RUNNING 5m   as of 4m ago, from runner-0"
            ),
            "{text}"
        );
    }
}
