//! `list` prints applications, newest first.

use std::collections::{BTreeMap, HashSet};
use std::time::{Duration, SystemTime};

use chassis::clock::Clock as _;
use proto::api::{Application, ListRequest, ListResponse, Phase};

use crate::api::{Api, unclean_phases};
use crate::chosen::all_pages;
use crate::duration;
use crate::exit::Exit;
use crate::failure::{Failure, OrFailure};
use crate::output::{Format, Output};
use crate::session::Session;
use crate::spec::pair;
use crate::table::Table;
use crate::{json, words};

/// How many lines a table has unless a limit is given: more than a person reads.
const SHOWN: usize = 500;

/// Applications, newest first.
#[derive(Debug, clap::Args)]
#[command(before_help = "  mainspring list --since 24h -l team=orders")]
pub(crate) struct ListArgs {
    /// Submitted, or not yet clean, within so long (24h, 7d)
    #[arg(long, value_name = "DURATION", value_parser = duration::parse)]
    since: Option<Duration>,

    /// Only with this label; may be repeated
    #[arg(short, long = "label", value_name = "KEY=VALUE", value_parser = pair)]
    labels: Vec<(String, String)>,

    /// Only in this state: submitted (also the queued ones), queued, starting, running, finishing,
    /// cleaning, ended; may be repeated
    #[arg(long = "phase", value_name = "PHASE", value_parser = phase)]
    phases: Vec<Phase>,

    /// All generations, not only the latest of each id
    #[arg(short, long)]
    all: bool,

    /// At most so many; a table has the newest 500, and all that are not clean, unless this says
    /// otherwise
    #[arg(long, value_name = "N")]
    limit: Option<usize>,
}

fn phase(text: &str) -> Result<Phase, String> {
    Phase::from_str_name(&format!("PHASE_{}", text.to_uppercase()))
        .filter(|&phase| phase != Phase::Unspecified)
        .ok_or_else(|| {
            "expected submitted, queued, starting, running, finishing, cleaning or ended".to_owned()
        })
}

pub(crate) async fn run(args: ListArgs, session: &Session) -> OrFailure<Exit> {
    let now = session.clock.wall();
    let since = match args.since {
        None => None,
        Some(age) => {
            let at = now
                .checked_sub(age)
                .ok_or_else(|| Failure::usage("--since reaches before the beginning of time"))?;
            Some(prost_types::Timestamp::from(at))
        }
    };
    let request = ListRequest {
        labels: args.labels.into_iter().collect(),
        phases: args.phases.into_iter().map(i32::from).collect(),
        since,
        latest_only: !args.all,
        ..ListRequest::default()
    };
    let api = session.api().await?;
    let is_table = session.out.format.is_table();
    let (listed, more) = newest(&api, request, args.limit, is_table).await?;
    print(&listed, &session.out, now);
    if more && is_table {
        session.out.talk("there are more: --since 24h, --limit N, or -o name for all of them");
    }
    Ok(Exit::SUCCEEDED)
}

/// As many applications as are asked for, or as a table has; and whether there are more.
async fn newest(
    api: &Api,
    request: ListRequest,
    asked: Option<usize>,
    is_table: bool,
) -> OrFailure<(ListResponse, bool)> {
    let limit = asked.unwrap_or(if is_table { SHOWN } else { usize::MAX });
    let mut listed = all_pages(api, request.clone(), limit).await?;
    // The token is no part of the answer, which is not asked for page by page.
    let more = !std::mem::take(&mut listed.next_page_token).is_empty();
    if more && asked.is_none() {
        add_unclean(&mut listed, request, api).await?;
    }
    Ok((listed, more))
}

/// Adds the applications that are not clean, which are shown however old they are.
async fn add_unclean(
    listed: &mut ListResponse,
    mut request: ListRequest,
    api: &Api,
) -> OrFailure<()> {
    if !request.phases.is_empty() {
        return Ok(());
    }
    request.phases = unclean_phases();
    let name = |shown: &Application| (shown.application_id.clone(), shown.generation);
    let known: HashSet<_> = listed.applications.iter().map(name).collect();
    let older = all_pages(api, request, usize::MAX).await?.applications.into_iter();
    listed.applications.extend(older.filter(|shown| !known.contains(&name(shown))));
    Ok(())
}

fn print(listed: &ListResponse, out: &Output, now: SystemTime) {
    match out.format {
        Format::Json => out.answer(json::document(listed)),
        Format::Yaml => out.answer(json::yaml(listed, true)),
        Format::Jsonl => {
            listed.applications.iter().for_each(|application| out.answer(json::line(application)))
        }
        Format::Name => {
            for application in &listed.applications {
                out.answer(format!("{}@{}\n", application.application_id, application.generation));
            }
        }
        Format::Table | Format::Wide => {
            out.answer(render(&listed.applications, now, out.format == Format::Wide, |word| {
                out.paint_answer(words::style(word.split(' ').next().unwrap_or(word)), word)
            }));
            out.talk(summary(&listed.applications));
        }
    }
}

/// The table of applications.
fn render(
    applications: &[Application],
    now: SystemTime,
    wide: bool,
    paint: impl Fn(&str) -> String,
) -> String {
    let mut header = vec!["APPLICATION", "GEN", "STATE", "AGE", "TAKE-OVERS"];
    if wide {
        header.extend(["LEADER", "ENGINE", "JOBS"]);
    }
    header.push("WHY");
    let mut table = Table::new(&header);
    for application in applications {
        let leadership = application.leadership.clone().unwrap_or_default();
        let mut row = vec![
            application.application_id.clone(),
            application.generation.to_string(),
            paint(&state(application)),
            words::age_or_dash(application.submitted_at.as_ref(), now),
            leadership.ordinal.saturating_sub(1).to_string(),
        ];
        if wide {
            let engine = application.spec.as_ref().map_or("-", |spec| spec.engine.as_str());
            row.extend([leadership.leader, engine.to_owned(), application.jobs.len().to_string()]);
        }
        row.push(words::cut(&why(application), if wide { 400 } else { 100 }));
        table.row(row);
    }
    table.render()
}

/// The state, or that it is no longer known, and for how long.
fn state(application: &Application) -> String {
    match &application.observation {
        Some(seen) if seen.stale && !application.clean => {
            format!("STALE {}", duration::short(Duration::from_millis(seen.age_millis)))
        }
        _ => words::state(application).to_owned(),
    }
}

fn why(application: &Application) -> String {
    let why = words::why(application);
    match &application.observation {
        Some(seen) if seen.stale && !application.clean => {
            let known =
                format!("no word from {}; last known {}", seen.source, words::state(application));
            if why.is_empty() { known } else { format!("{known}; {why}") }
        }
        _ => why,
    }
}

/// The counts by state, such as `203: 188 running, 12 succeeded, 1 stale`.
fn summary(applications: &[Application]) -> String {
    let mut counts: BTreeMap<String, usize> = BTreeMap::new();
    for application in applications {
        let state = state(application);
        let word = state.split(' ').next().unwrap_or_default().to_lowercase().replace('_', " ");
        *counts.entry(word).or_default() += 1;
    }
    let mut counts: Vec<_> = counts.into_iter().collect();
    counts.sort_by_key(|(_, count)| std::cmp::Reverse(*count));
    let parts: Vec<_> = counts.iter().map(|(word, count)| format!("{count} {word}")).collect();
    if parts.is_empty() {
        "no applications".to_owned()
    } else {
        format!("{}: {}", applications.len(), parts.join(", "))
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::sync::Arc;

    use chassis::clock::SystemClock;
    use proto::api::{Leadership, Observation, Outcome};

    use super::*;
    use crate::api::tests::puppet::Puppet;

    fn application(id: &str, generation: u64, age_seconds: i64, now: i64) -> Application {
        Application {
            application_id: id.into(),
            generation,
            submitted_at: Some(prost_types::Timestamp { seconds: now - age_seconds, nanos: 0 }),
            leadership: Some(Leadership {
                ordinal: 1,
                leader: "runner-0".into(),
                ..Leadership::default()
            }),
            ..Application::default()
        }
    }

    #[tokio::test]
    async fn a_table_has_the_newest_500_and_whatever_is_not_clean() {
        let record = Puppet::new(Arc::new(SystemClock)).await;
        let held = |n: usize, phase: Phase| {
            let mut held = application(&format!("a-{n}"), 1, 0, 0);
            held.phase = phase.into();
            held
        };
        (0..600).for_each(|n| {
            record.holds(held(n, if n == 7 { Phase::Running } else { Phase::Ended }))
        });
        record.holds(held(600, Phase::Cleaning));
        let names = async |phases: Vec<Phase>, asked, is_table| {
            let phases = phases.into_iter().map(i32::from).collect();
            let request = ListRequest { phases, ..ListRequest::default() };
            let (listed, more) = newest(&record.api, request, asked, is_table).await.ok().unwrap();
            (
                listed.applications.into_iter().map(|one| one.application_id).collect::<Vec<_>>(),
                more,
            )
        };
        let named = |numbers: &mut dyn Iterator<Item = usize>| -> Vec<String> {
            numbers.map(|n| format!("a-{n}")).collect()
        };

        assert_eq!(names(vec![], None, true).await, (named(&mut (0..500).chain([600])), true));
        let (ended, first) = (vec![Phase::Ended], named(&mut (0..=500).filter(|&n| n != 7)));
        assert_eq!(names(ended, None, true).await, (first, true), "no other phase was asked for");
        assert_eq!(
            names(vec![], Some(2), true).await,
            (named(&mut (0..2)), true),
            "so many and no more"
        );
        assert_eq!(names(vec![], Some(550), true).await, (named(&mut (0..550)), true));
        assert_eq!(
            names(vec![], None, false).await,
            (named(&mut (0..=600)), false),
            "for a program: all"
        );
    }

    #[test]
    fn the_next_morning_is_seen_at_a_glance() {
        let now = 1_000_000_000;
        let mut failed = application("daily-load", 91, 5 * 3600, now);
        failed.phase = Phase::Ended.into();
        failed.outcome = Outcome::Failed.into();
        failed.clean = true;
        failed.terminal = true;
        failed.message = "main() exit 3: no column \"dep_dely\"".into();
        let mut stale = application("dedupe", 12, 2 * 86_400, now);
        stale.phase = Phase::Running.into();
        stale.observation = Some(Observation {
            source: "runner-0".into(),
            stale: true,
            age_millis: 240_000,
            ..Observation::default()
        });
        let mut cleaning = application("scores", 3, 40 * 60, now);
        cleaning.phase = Phase::Cleaning.into();
        cleaning.outcome = Outcome::Succeeded.into();
        cleaning.terminal = true;
        cleaning.leadership.as_mut().unwrap().ordinal = 2;
        let all = [failed, stale, cleaning];
        let at = SystemTime::UNIX_EPOCH + Duration::from_secs(now.unsigned_abs());
        assert_eq!(
            render(&all, at, false, str::to_owned),
            "APPLICATION  GEN  STATE     AGE  TAKE-OVERS  WHY\n\
             daily-load    91  FAILED    5h            0  main() exit 3: no column \"dep_dely\"\n\
             dedupe        12  STALE 4m  2d            0  no word from runner-0; last known RUNNING\n\
             scores         3  CLEANING  40m           1  succeeded\n"
        );
        assert_eq!(summary(&all), "3: 1 cleaning, 1 failed, 1 stale");
    }
}
