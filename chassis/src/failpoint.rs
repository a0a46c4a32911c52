//! Named places where a test can make this process die, stop or wait, and bugs that a test plants
//! to see that it would notice them. Failpoints are compiled only into builds with debug assertions
//! and armed only by the environment, so a release build has no trace of them.
//!
//! A place is called `<process>.<place>`. Most places are the two sides of an arrow, which is one
//! call or one write of a run: [`around`] passes `runner.before-adopt` and `runner.after-adopt` for
//! the arrow `runner.adopt`. The others are moments, which [`hit`] passes. Both take the name as it
//! stands, because a test compares its table with the names in the sources (`e2e/tests/arrows.rs`).
//!
//! `MAINSPRING_FAILPOINTS` arms places. Its entries, with commas between them, are
//! `PLACE[@HIT][%HOST]=ACTION@MARKER`:
//!
//! ```text
//! runner.in-main=kill@/tmp/marker              the first process that reaches the place is killed
//! store.before-commit@10=kill@/tmp/tenth       the tenth time that the place is reached
//! runner.before-pin%node-7=hold@/tmp/there     on the host node-7 alone
//! store.x=bug@/tmp/met                         a bug, for every process, each time
//! ```
//!
//! An entry fires once: the process that creates the marker file fires, and all later ones pass.
//! Hits are counted over all processes, by files that are called after the marker (`/tmp/tenth.1`
//! is the first hit). The host of a process is what `MAINSPRING_HOST_NAME` says, and what its state
//! directory says; a hit on another host is not counted. The marker of a bug says that a process
//! met the bug.
//!
//! An entry that cannot be read ends each process that comes to a place, with exit code 78 and a
//! line that says why. Otherwise a test with a slip in it would arm nothing, and might pass.

/// The variable that arms points.
pub const VARIABLE: &str = "MAINSPRING_FAILPOINTS";

/// The variable that says which host a process is on.
pub const HOST_VARIABLE: &str = "MAINSPRING_HOST_NAME";

/// Passes the point called `name`, or does what the point was armed for: `kill` (SIGKILL to this
/// process), `stop` (SIGSTOP), `exit` (exit code 70), `hold` (waits until `<marker>.go` exists, 60
/// s at most), `hang` (never gives its thread back).
#[cfg(debug_assertions)]
pub async fn hit(name: &str) {
    for armed in armed::at(name) {
        if armed.is_due() {
            armed.fire().await;
        }
    }
}

/// Does nothing: this build has no failpoints.
#[cfg(not(debug_assertions))]
#[inline(always)]
pub async fn hit(_name: &str) {}

/// Makes the call that an arrow stands for, and passes the points on both sides of it. The point
/// after the arrow is passed only when the call has done what it was to do.
#[cfg(debug_assertions)]
pub async fn around<T, E>(arrow: &str, call: impl Future<Output = Result<T, E>>) -> Result<T, E> {
    hit(&armed::side("before", arrow)).await;
    let done = call.await?;
    hit(&armed::side("after", arrow)).await;
    Ok(done)
}

/// Makes the call: this build has no failpoints.
#[cfg(not(debug_assertions))]
#[inline(always)]
pub async fn around<T, E>(_arrow: &str, call: impl Future<Output = Result<T, E>>) -> Result<T, E> {
    call.await
}

/// Whether a test planted the bug called `name`.
#[cfg(debug_assertions)]
pub fn is_planted(name: &str) -> bool {
    let Some(bug) = armed::bug(name) else { return false };
    bug.meet();
    true
}

/// Answers no: this build has no planted bugs.
#[cfg(not(debug_assertions))]
#[inline(always)]
pub fn is_planted(_name: &str) -> bool {
    false
}

/// Says which host this process is on, for points that are armed on one host alone. A later word
/// changes nothing.
#[cfg(debug_assertions)]
pub fn on_host(name: &str) {
    armed::on_host(name);
}

/// Does nothing: this build has no failpoints.
#[cfg(not(debug_assertions))]
#[inline(always)]
pub fn on_host(_name: &str) {}

/// The variable, for a process of mainspring that does not inherit the environment; nothing in a
/// build without failpoints.
pub fn handed_on() -> Option<(String, String)> {
    if !cfg!(debug_assertions) {
        return None;
    }
    Some((VARIABLE.to_owned(), std::env::var(VARIABLE).ok()?))
}

#[cfg(debug_assertions)]
mod armed;
