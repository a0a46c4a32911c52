//! What `MAINSPRING_FAILPOINTS` arms, and how an armed point fires.

use std::path::{Path, PathBuf};
use std::sync::{LazyLock, OnceLock};
use std::time::Duration;

use rustix::process::{Signal, getpid, kill_process};

use crate::clock::{Clock as _, SystemClock};

/// Exit code of a process that cannot read what is armed (`EX_CONFIG`).
const UNREADABLE: i32 = 78;

/// Every armed point, read once.
static ARMED: LazyLock<Vec<Armed>> = LazyLock::new(|| {
    let text = std::env::var(super::VARIABLE).unwrap_or_default();
    parse(&text).unwrap_or_else(|why| {
        tracing::error!("{}: {why}", super::VARIABLE);
        std::process::exit(UNREADABLE)
    })
});

/// The host that this process has said to be on.
static HOST: OnceLock<String> = OnceLock::new();

/// One entry of the variable.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Armed {
    place: String,
    /// Which hit fires, from 1.
    hit: u32,
    /// The only host where it fires.
    host: Option<String>,
    action: Action,
    marker: PathBuf,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Action {
    Kill,
    Stop,
    Exit,
    Hold,
    Hang,
    Bug,
}

/// The words of the actions.
const ACTIONS: [(&str, Action); 6] = [
    ("kill", Action::Kill),
    ("stop", Action::Stop),
    ("exit", Action::Exit),
    ("hold", Action::Hold),
    ("hang", Action::Hang),
    ("bug", Action::Bug),
];

/// What is armed at this point, on this host.
pub(super) fn at(name: &str) -> impl Iterator<Item = &'static Armed> {
    here(name).filter(|armed| armed.action != Action::Bug)
}

/// The bug of this name, if it is planted on this host.
pub(super) fn bug(name: &str) -> Option<&'static Armed> {
    here(name).find(|armed| armed.action == Action::Bug)
}

fn here(name: &str) -> impl Iterator<Item = &'static Armed> {
    ARMED.iter().filter(move |armed| armed.place == name && armed.is_on(&hosts()))
}

/// The names of the host that this process is on, as far as it knows them.
fn hosts() -> [Option<String>; 2] {
    [std::env::var(super::HOST_VARIABLE).ok(), HOST.get().cloned()]
}

pub(super) fn on_host(name: &str) {
    // It fails where the process has said so before.
    let _ = HOST.set(name.to_owned());
}

/// The point on one side of an arrow: `runner.before-pin` for `before` and `runner.pin`.
pub(super) fn side(side: &str, arrow: &str) -> String {
    let (process, arrow) = arrow.split_once('.').unwrap_or_default();
    format!("{process}.{side}-{arrow}")
}

impl Armed {
    /// Reads `PLACE[@HIT][%HOST]=ACTION@MARKER`.
    fn read(entry: &str) -> Result<Self, String> {
        let wrong = |why: &str| format!("{entry:?}: {why}");
        let (at, what) = entry.split_once('=').ok_or_else(|| wrong("it has no =ACTION"))?;
        let (at, host) = match at.split_once('%') {
            Some((at, host)) => (at, Some(host.to_owned())),
            None => (at, None),
        };
        let is_plain = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-';
        if host.as_ref().is_some_and(|host| host.is_empty() || !host.bytes().all(is_plain)) {
            return Err(wrong("what stands after the % is no host's name"));
        }
        let (place, hit) = match at.split_once('@') {
            Some((place, hit)) => (place, hit.parse().unwrap_or_default()),
            None => (at, 1),
        };
        if hit == 0 {
            return Err(wrong("what stands after the @ of the place is no number from 1 on"));
        }
        let is_word = |word: &str| {
            !word.is_empty() && word.bytes().all(|b| b.is_ascii_lowercase() || b == b'-')
        };
        let (process, moment) = place.split_once('.').unwrap_or_default();
        if !is_word(process) || !is_word(moment) {
            return Err(wrong("a place is called like runner.before-pin"));
        }
        let (action, marker) = what.split_once('@').ok_or_else(|| wrong("it has no @MARKER"))?;
        let action = ACTIONS.iter().find(|(word, _)| *word == action).map(|(_, action)| *action);
        let action = action.ok_or_else(|| wrong("there is no such action"))?;
        if action == Action::Bug && hit != 1 {
            return Err(wrong("a bug is there each time, and not at one hit"));
        }
        let marker = PathBuf::from(marker);
        if !marker.is_absolute() {
            return Err(wrong("the marker is no absolute path"));
        }
        Ok(Self { place: place.to_owned(), hit, host, action, marker })
    }

    /// Whether it is armed on the host of these names.
    fn is_on(&self, hosts: &[Option<String>]) -> bool {
        self.host.is_none() || hosts.contains(&self.host)
    }

    /// Counts a hit, and answers whether this hit is the one that fires. Of several processes that
    /// come at once, each creates another file.
    pub(super) fn is_due(&self) -> bool {
        let number = |hit: u32| self.marker.with_added_extension(hit.to_string());
        let is_earlier = (1..self.hit).any(|hit| claim(&number(hit)));
        !is_earlier && claim(&self.marker)
    }

    /// Notes that a process met the bug.
    pub(super) fn meet(&self) {
        claim(&self.marker);
    }

    pub(super) async fn fire(&self) {
        tracing::warn!(place = self.place, action = ?self.action, "failpoint");
        match self.action {
            Action::Kill => drop(kill_process(getpid(), Signal::KILL)),
            Action::Stop => drop(kill_process(getpid(), Signal::STOP)),
            Action::Exit => std::process::exit(70),
            Action::Hang => loop {
                std::thread::park();
            },
            Action::Hold => hold(&self.marker.with_added_extension("go")).await,
            // A bug is met where it is asked for, and fires nowhere.
            Action::Bug => {}
        }
    }
}

fn parse(text: &str) -> Result<Vec<Armed>, String> {
    if text.trim().is_empty() {
        return Ok(Vec::new());
    }
    text.split(',').map(|entry| Armed::read(entry.trim())).collect()
}

/// Only the process that creates the file is answered yes.
fn claim(file: &Path) -> bool {
    std::fs::OpenOptions::new().write(true).create_new(true).open(file).is_ok()
}

async fn hold(release: &Path) {
    let clock = SystemClock;
    let end = clock.boot() + Duration::from_secs(60);
    while !release.exists() && clock.boot() < end {
        clock.sleep_until(clock.boot() + Duration::from_millis(5)).await;
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_point_is_armed_by_place_hit_host_action_and_marker() {
        let text = "runner.in-main=kill@/tmp/a, store.x@12%node-7=hold@/tmp/b@c,up.y%node-7=bug@/d";
        let armed = parse(text).unwrap();
        let entry = |place: &str, hit, host: Option<&str>, action, marker: &str| Armed {
            place: place.into(),
            hit,
            host: host.map(str::to_owned),
            action,
            marker: marker.into(),
        };
        let expected = [
            entry("runner.in-main", 1, None, Action::Kill, "/tmp/a"),
            entry("store.x", 12, Some("node-7"), Action::Hold, "/tmp/b@c"),
            entry("up.y", 1, Some("node-7"), Action::Bug, "/d"),
        ];
        assert_eq!(armed, expected);
        assert_eq!(parse(""), Ok(Vec::new()));
    }

    #[test]
    fn an_entry_that_cannot_be_read_is_named_with_what_is_wrong_with_it() {
        for (entry, why) in [
            ("nonsense", "no =ACTION"),
            ("runner.x=kill", "no @MARKER"),
            ("runner.x=kil@/tmp/a", "no such action"),
            ("runner.x=kill@a", "no absolute path"),
            ("runner.x=kill@", "no absolute path"),
            ("runner.x@0=kill@/tmp/a", "no number from 1 on"),
            ("runner.x@second=kill@/tmp/a", "no number from 1 on"),
            ("runner.x@=kill@/tmp/a", "no number from 1 on"),
            ("runner.x%=kill@/tmp/a", "no host's name"),
            ("runner.x%node-7@2=kill@/tmp/a", "no host's name"),
            ("runner=kill@/tmp/a", "called like"),
            ("runner.X=kill@/tmp/a", "called like"),
            ("=kill@/tmp/a", "called like"),
            ("store.x@2=bug@/tmp/a", "each time"),
            ("runner.x=kill@/tmp/a,", "no =ACTION"),
        ] {
            let said = parse(entry).unwrap_err();
            assert!(said.contains(why), "{entry}: {said}");
        }
    }

    #[test]
    fn the_hit_that_was_named_fires_and_no_other_one() {
        let directory = tempfile::tempdir().unwrap();
        let due = |hit: u32| {
            let marker = directory.path().join(format!("fired-{hit}"));
            let entry = format!("runner.x@{hit}=kill@{}", marker.display());
            let armed = Armed::read(&entry).unwrap();
            let due = [(); 5].map(|()| (armed.is_due(), marker.exists()));
            due.map(|(is_due, there)| {
                assert!(there || !is_due);
                is_due
            })
        };
        assert_eq!(due(1), [true, false, false, false, false]);
        assert_eq!(due(3), [false, false, true, false, false]);
    }

    #[test]
    fn a_point_of_one_host_is_armed_there_alone() {
        let one = Armed::read("runner.x%node-7=kill@/tmp/a").unwrap();
        let any = Armed::read("runner.x=kill@/tmp/a").unwrap();
        let named = |name: &str| Some(name.to_owned());
        for (hosts, is_there) in [
            ([named("node-7"), None], true),
            ([named("a"), named("node-7")], true),
            ([named("node-70"), None], false),
            ([None, None], false),
        ] {
            assert_eq!(one.is_on(&hosts), is_there, "{hosts:?}");
            assert!(any.is_on(&hosts));
        }
    }

    #[test]
    fn an_arrow_has_two_sides() {
        let sides = ["before", "after"].map(|at| side(at, "runner.put-job-graph"));
        assert_eq!(sides, ["runner.before-put-job-graph", "runner.after-put-job-graph"]);
    }
}
