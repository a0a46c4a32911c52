//! A reader of the applications' output, who reads what is there, again and again, while hosts die.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use super::application::Application;
use super::table::{Verdict, judge};

/// How often the reader reads.
const LOOK: Duration = Duration::from_millis(50);

/// Reads the tables of one application on a thread of its own, until it is asked what it saw.
pub(super) struct Reader {
    seen: Arc<Mutex<BTreeSet<String>>>,
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Reader {
    /// A reader of the tables of an application.
    pub(super) fn start(application: &Application) -> Self {
        let seen = Arc::<Mutex<BTreeSet<String>>>::default();
        let stop = Arc::<AtomicBool>::default();
        let thread = std::thread::spawn({
            let (seen, stop, application) = (seen.clone(), stop.clone(), application.clone());
            move || {
                let mut whole = BTreeSet::new();
                while !stop.load(Ordering::Relaxed) {
                    for table in application.program.tables() {
                        let verdict = judge(&application.directory(table), table);
                        let objection = match verdict {
                            Verdict::Whole => {
                                whole.insert(table.name);
                                continue;
                            }
                            Verdict::Unmarked if whole.contains(table.name) => "its mark is gone",
                            Verdict::Unmarked => continue,
                            Verdict::Torn(ref why) => why.as_str(),
                        };
                        let told = format!("a reader of {}: {objection}", table.name);
                        seen.lock().unwrap_or_else(PoisonError::into_inner).insert(told);
                    }
                    std::thread::sleep(LOOK);
                }
            }
        });
        Self { seen, stop, thread: Some(thread) }
    }

    /// What the reader has seen so far that must not be.
    pub(super) fn objections(&self) -> Vec<String> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner).iter().cloned().collect()
    }
}

impl Drop for Reader {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        self.thread.take().map(JoinHandle::join);
    }
}
