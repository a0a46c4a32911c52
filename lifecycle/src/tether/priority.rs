//! What runs under a tether yields to the services of its host.

use std::fs;
use std::io;
use std::path::Path;
use std::time::Duration;

use chassis::backoff::Backoff;
use chassis::clock::{Clock as _, SharedClock};

/// How much nicer `main()` and the processes of clusters are than the host's services.
///
/// All that an application does passes through the host's few services, and so does every question
/// about the application. Where more processes want to run than there are cores, a service that
/// waits for its turn behind each `main()` makes all of them wait, and `mainspring list` too. Each
/// step of niceness takes a fifth of the share: five steps leave a third of what a service gets
/// while both want to run, and all of it while no service does. More steps would help the services
/// further, but were measured to let an application stand almost still beside other work of the
/// same machine.
const YIELDED: i32 = 5;

/// The greatest niceness of a process.
const NICEST: i32 = 19;

/// The kernel's scheduling group of this session.
const GROUP: &str = "/proc/self/autogroup";

/// How often to ask the kernel, at most. The kernel takes one such wish every 100 ms from all users
/// but root together.
const TRIES: u32 = 8;

/// Lowers the calling thread, and with it the processes that the thread starts from here on.
pub(crate) fn lower_thread() -> io::Result<()> {
    let now = rustix::process::getpriority_process(None)?;
    Ok(rustix::process::setpriority_process(None, (now + YIELDED).min(NICEST))?)
}

/// Lowers the whole session. Where no control group shares out the cores, the kernel shares them
/// out by session before it looks at single processes, and niceness counts within one session only.
/// The tether is in the session, too, and does little.
pub(crate) async fn lower_session(clock: SharedClock) {
    if rustix::process::getsid(None).ok() != Some(rustix::process::getpid()) {
        // The session belongs to the process that started the tether, and other processes are in
        // it.
        return tracing::warn!("what runs here yields only within its session");
    }
    let group = Path::new(GROUP);
    let mut backoff = Backoff::new(Duration::from_millis(100), Duration::from_secs(2));
    for _ in 0..TRIES {
        match fs::write(group, YIELDED.to_string()) {
            Ok(()) => return,
            // This kernel has no such groups.
            Err(error) if error.kind() == io::ErrorKind::NotFound => return,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                clock.sleep(backoff.next_delay()).await;
            }
            Err(error) => return tracing::warn!("what runs here does not yield: {GROUP}: {error}"),
        }
    }
    tracing::warn!("what runs here does not yield: {GROUP}: still refused after {TRIES} tries");
}
