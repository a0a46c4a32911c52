//! Panics in one line: a reader of a log or an error wants the sentence, not the frames.

use std::backtrace::{Backtrace, BacktraceStatus};
use std::cell::Cell;
use std::panic::{self, AssertUnwindSafe, PanicHookInfo};
use std::sync::Once;

use crate::tasks::panic_message;

thread_local! {
    /// Whether [`caught`] expects this thread's panic and hands its text on.
    static CAUGHT: Cell<bool> = const { Cell::new(false) };
}

/// Makes a panic one line of the log from here on, with its frames (where `RUST_BACKTRACE` asks for
/// them) as a field of the line. For processes whose stderr is a log.
pub fn log() {
    panic::set_hook(Box::new(|panic| {
        if CAUGHT.get() {
            return;
        }
        let text = line(panic);
        let frames = Backtrace::capture();
        if frames.status() == BacktraceStatus::Captured {
            tracing::error!(%frames, "{text}");
        } else {
            tracing::error!("{text}");
        }
    }));
}

/// What `work` gives, or what its panic said. This is for foreign code that panics over damaged
/// bytes where it should answer an error. What `work` touched is not to be used afterwards, or only
/// with the same care.
pub fn caught<T>(work: impl FnOnce() -> T) -> Result<T, String> {
    static QUIET: Once = Once::new();
    QUIET.call_once(|| {
        let before = panic::take_hook();
        panic::set_hook(Box::new(move |panic| {
            if !CAUGHT.get() {
                before(panic);
            }
        }));
    });
    let outer = CAUGHT.replace(true);
    let outcome = panic::catch_unwind(AssertUnwindSafe(work));
    CAUGHT.set(outer);
    outcome.map_err(|panic| panic_message(&*panic))
}

fn line(panic: &PanicHookInfo<'_>) -> String {
    let text = panic.payload_as_str().unwrap_or("without a message");
    let place = panic.location().map(|place| format!(" at {}:{}", place.file(), place.line()));
    let thread = std::thread::current();
    let name = thread.name().unwrap_or("a thread");
    format!("{name} panicked{}: {text}", place.unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_caught_panic_is_its_text() {
        assert_eq!(caught(|| 7), Ok(7));
        assert_eq!(
            caught(|| -> u8 { panic!("page {} is damaged", 3) }),
            Err("page 3 is damaged".to_owned())
        );
        let nested = caught(|| -> u8 {
            let inner = caught(|| -> u8 { panic!("inner") });
            panic!("outer: {}", inner.unwrap_err());
        });
        assert_eq!(nested, Err("outer: inner".to_owned()));
        assert!(!CAUGHT.get(), "later panics of this thread would be silent");
    }
}
