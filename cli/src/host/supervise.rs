//! Keeps one service running: waits for its end, ends it when it hangs, starts it again with
//! backoff, and writes that into `host.json`.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use chassis::BoxError;
use chassis::backoff::Backoff;
use chassis::clock::{Clock as _, SharedClock};
use chassis::telemetry::metrics::Count;
use rustix::process::Signal;

use super::file::HostFile;
use super::service::{self, Reach, RunningService};
use super::{SERVICES, log_file};

static RESTARTS: Count =
    Count::new("mainspring.service.restarts", "Services that ended and were started again");

/// How long a service has to have lived to be started again at once.
const STEADY: Duration = Duration::from_secs(30);

/// How long a service is left alone between two questions for its health, and how many of them in
/// a row it may leave unanswered. A leader whose store hangs keeps its lease and comes to nothing,
/// so a service that hangs has to end. Questions are counted, and not the time, because a machine
/// that slept has asked none.
const ASK_AGAIN: Duration = Duration::from_secs(5);
const UNANSWERED: u32 = 12;

/// How often the services whose endpoint was given are asked whether they serve.
const LOOK_AT_GIVEN: Duration = Duration::from_secs(2);

/// How often the logs are looked at.
const CAP_LOGS: Duration = Duration::from_secs(30);

/// `host.json`, which is rewritten when a service is started again.
#[derive(Clone)]
pub(crate) struct SharedHostFile(Arc<Mutex<HostFile>>);

impl SharedHostFile {
    pub(crate) fn new(file: HostFile) -> Self {
        Self(Arc::new(Mutex::new(file)))
    }

    /// Writes the file with the service that runs now.
    pub(crate) fn note(&self, reach: &Reach, running: &RunningService) -> std::io::Result<()> {
        let mut file = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        file.services.insert(running.name.to_owned(), running.entry(&reach.places));
        file.write(&reach.places.host_file())
    }
}

/// Supervises one service until it is dropped, after which the service lives on.
pub(crate) async fn keep(
    reach: Reach,
    executable: PathBuf,
    mut running: RunningService,
    file: SharedHostFile,
) -> Result<(), BoxError> {
    let name = running.name;
    let mut backoff = Backoff::new(Duration::from_millis(20), Duration::from_secs(5));
    loop {
        let started_at = reach.clock.boot();
        let how = end_of(&reach, &mut running).await;
        let lived = reach.clock.boot().saturating_duration_since(started_at);
        if lived >= STEADY {
            backoff.reset();
        }
        let delay = backoff.next_delay();
        tracing::warn!(
            service = name,
            pid = running.process.pid,
            "{name} ended ({how}); starting it again in {delay:?}"
        );
        reach.clock.sleep(delay).await;
        RESTARTS.add(1, &[("service", name)]);
        running = loop {
            match restart(&reach, &executable, name, &file).await {
                Ok(running) => break running,
                Err(error) => {
                    let delay = backoff.next_delay();
                    tracing::error!(service = name, "{error}; again in {delay:?}");
                    reach.clock.sleep(delay).await;
                }
            }
        };
        tracing::info!(service = name, pid = running.process.pid, "{name} runs again");
    }
}

/// Waits until the service has ended or hangs; then it is killed. Answers how it ended.
async fn end_of(reach: &Reach, running: &mut RunningService) -> String {
    let (name, process, is_ours) = (running.name, running.process, running.is_ours());
    tokio::select! {
        how = running.ended(&reach.clock) => return how,
        () = hangs(reach, name), if is_ours => {}
    }
    tracing::error!(
        service = name,
        pid = process.pid,
        "{name} does not answer and is killed: {UNANSWERED} questions for its health in a row"
    );
    process.signal(Signal::KILL);
    running.ended(&reach.clock).await
}

/// Returns once a service has left so many questions for its health unanswered.
async fn hangs(reach: &Reach, name: &str) {
    let mut unanswered = 0;
    while unanswered < UNANSWERED {
        reach.clock.sleep(ASK_AGAIN).await;
        unanswered = if reach.is_ready(name).await { 0 } else { unanswered + 1 };
    }
}

async fn restart(
    reach: &Reach,
    executable: &std::path::Path,
    name: &'static str,
    file: &SharedHostFile,
) -> Result<RunningService, String> {
    let mut running = service::start(reach, name, executable)?;
    if let Err(error) = service::ready(reach, &mut running).await {
        service::end(&reach.clock, &running.process).await;
        return Err(error);
    }
    file.note(reach, &running).map_err(|error| format!("host.json cannot be written: {error}"))?;
    Ok(running)
}

/// Logs when a service whose endpoint was given stops answering, and when it answers again. Nothing
/// else is done for it, because the host neither starts nor ends it.
pub(crate) async fn watch_given(reach: Reach) -> Result<(), BoxError> {
    let mut away = BTreeSet::new();
    loop {
        reach.clock.sleep(LOOK_AT_GIVEN).await;
        for (name, endpoint) in &reach.given {
            let answers = reach.is_ready(name).await;
            if !answers && away.insert(name.clone()) {
                tracing::warn!(
                    service = name,
                    "{name} does not answer at {endpoint}; it is not ours to start"
                );
            } else if answers && away.remove(name) {
                tracing::info!(service = name, "{name} answers again at {endpoint}");
            }
        }
    }
}

/// Keeps the services' logs below their limit.
pub(crate) async fn cap_logs(reach: Reach, clock: SharedClock) -> Result<(), BoxError> {
    loop {
        clock.sleep(CAP_LOGS).await;
        for name in SERVICES {
            if let Err(error) =
                log_file::cap(&service::log(&reach.places, name), log_file::MAX_BYTES)
            {
                tracing::warn!(service = name, "its log cannot be capped: {error}");
            }
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::disallowed_methods)]
    use std::process::Command;

    use chassis::clock::{ManualClock, SystemClock};
    use chassis::transport::OsTransport;
    use client::places::Places;
    use client::process_tree::Process;

    use super::*;
    use crate::host::file::{Given, KeptBy};
    use crate::host::service::ServiceProcess;

    /// Red where only the end of a service is waited for.
    #[tokio::test]
    async fn a_service_that_hangs_is_killed_and_one_of_somebody_s_own_is_not() {
        for (kept_by, is_killed) in [(KeptBy::Up, true), (KeptBy::Hand, false)] {
            let (state, clock) = (tempfile::tempdir().unwrap(), Arc::new(ManualClock::new()));
            let places = Places::new(state.path());
            let transport = Arc::new(OsTransport);
            let reach = Reach::new(places, transport, clock.clone(), Given::new()).unwrap();
            let mut child = Command::new("sleep").arg("600").spawn().unwrap();
            let process = Process::of(child.id()).unwrap();
            let found = ServiceProcess { process, kept_by };
            let mut running = RunningService::adopted(SERVICES[0], found);
            let began = clock.boot();
            let pass = async {
                while clock.boot() < began + ASK_AGAIN * (UNANSWERED + 4) {
                    tokio::task::yield_now().await;
                    clock.advance(Duration::from_millis(50));
                }
                // The kernel needs a moment for a kill.
                for _ in 0..if is_killed { 5_000 } else { 0 } {
                    SystemClock.sleep(Duration::from_millis(1)).await;
                    clock.advance(Duration::from_millis(1));
                }
            };
            let has_ended = tokio::select! {
                _ = end_of(&reach, &mut running) => true,
                () = pass => false,
            };
            child.kill().unwrap();
            child.wait().unwrap();
            assert_eq!(has_ended, is_killed, "a service that was started by {kept_by:?}");
        }
    }
}
