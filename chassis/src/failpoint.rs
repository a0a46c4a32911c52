//! Named places where a test can make this process die, stop or wait, and bugs that a test plants
//! to see that it would notice them. Failpoints are compiled only into builds with debug assertions
//! and armed only by the environment, so a release build has no trace of them.
//!
//! `MAINSPRING_FAILPOINTS="runner.in-main=kill@/tmp/marker,store.before-commit=hold@/tmp/other"`:
//! the first process that reaches a point and creates the marker file fires, once, and every later
//! process passes. A bug (`store.x=bug@/tmp/met`) is there for every process, each time; its marker
//! says that a process met it.

/// The variable that arms points.
pub const VARIABLE: &str = "MAINSPRING_FAILPOINTS";

/// Passes the point called `name`, or does what the point was armed for: `kill` (SIGKILL to this
/// process), `stop` (SIGSTOP), `exit` (exit code 70), `hold` (waits until `<marker>.go` exists, 60
/// s at most), `hang` (never gives its thread back).
#[cfg(debug_assertions)]
pub async fn hit(name: &str) {
    if let Some((action, marker)) = armed::find(name)
        && armed::claim(&marker)
    {
        armed::fire(name, &action, &marker).await;
    }
}

/// Does nothing: this build has no failpoints.
#[cfg(not(debug_assertions))]
#[inline(always)]
pub async fn hit(_name: &str) {}

/// Whether a test planted the bug called `name`.
#[cfg(debug_assertions)]
pub fn is_planted(name: &str) -> bool {
    let Some((_, marker)) = armed::find(name).filter(|(action, _)| action == armed::BUG) else {
        return false;
    };
    armed::claim(&marker);
    true
}

/// Answers no: this build has no planted bugs.
#[cfg(not(debug_assertions))]
#[inline(always)]
pub fn is_planted(_name: &str) -> bool {
    false
}

/// The variable, for a process of mainspring that does not inherit the environment; nothing in a
/// build without failpoints.
pub fn handed_on() -> Option<(String, String)> {
    if !cfg!(debug_assertions) {
        return None;
    }
    Some((VARIABLE.to_owned(), std::env::var(VARIABLE).ok()?))
}

#[cfg(debug_assertions)]
mod armed {
    use std::path::{Path, PathBuf};
    use std::sync::LazyLock;
    use std::time::Duration;

    use rustix::process::{Signal, getpid, kill_process};

    use crate::clock::{Clock as _, SystemClock};

    /// The action of a planted bug.
    pub(super) const BUG: &str = "bug";

    /// `(name, action, marker)` of every armed point, read once.
    static ARMED: LazyLock<Vec<(String, String, PathBuf)>> = LazyLock::new(|| {
        std::env::var(super::VARIABLE).map(|text| parse(&text)).unwrap_or_default()
    });

    pub(super) fn parse(text: &str) -> Vec<(String, String, PathBuf)> {
        text.split(',')
            .filter_map(|entry| {
                let (name, rest) = entry.trim().split_once('=')?;
                let (action, marker) = rest.split_once('@')?;
                Some((name.to_owned(), action.to_owned(), PathBuf::from(marker)))
            })
            .collect()
    }

    pub(super) fn find(name: &str) -> Option<(String, PathBuf)> {
        ARMED
            .iter()
            .find(|(armed, ..)| armed == name)
            .map(|(_, action, marker)| (action.clone(), marker.clone()))
    }

    /// Only the process that creates the marker fires.
    pub(super) fn claim(marker: &Path) -> bool {
        std::fs::OpenOptions::new().write(true).create_new(true).open(marker).is_ok()
    }

    pub(super) async fn fire(name: &str, action: &str, marker: &Path) {
        tracing::warn!(name, action, "failpoint");
        match action {
            "kill" => drop(kill_process(getpid(), Signal::KILL)),
            "stop" => drop(kill_process(getpid(), Signal::STOP)),
            "exit" => std::process::exit(70),
            "hang" => loop {
                std::thread::park();
            },
            "hold" => hold(&marker.with_added_extension("go")).await,
            other => tracing::error!(name, action = other, "no such failpoint action"),
        }
    }

    async fn hold(release: &Path) {
        let clock = SystemClock;
        let end = clock.boot() + Duration::from_secs(60);
        while !release.exists() && clock.boot() < end {
            clock.sleep_until(clock.boot() + Duration::from_millis(5)).await;
        }
    }
}

#[cfg(all(test, debug_assertions))]
mod tests {
    use super::armed;

    #[test]
    fn a_point_is_armed_by_name_action_and_marker() {
        let armed = armed::parse("runner.in-main=kill@/tmp/a, store.x=hold@/tmp/b,nonsense");
        assert_eq!(armed.len(), 2);
        assert_eq!(armed[1].0, "store.x");
        assert_eq!(armed[1].1, "hold");
    }

    #[test]
    fn only_the_first_to_claim_a_marker_fires() {
        let marker = std::env::temp_dir().join(format!("failpoint-{}", std::process::id()));
        assert!(armed::claim(&marker));
        assert!(!armed::claim(&marker));
        let _ = std::fs::remove_file(marker);
    }
}
