//! Keeps one service running: waits for its end, starts it again with backoff, and writes that into
//! `host.json`.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use chassis::BoxError;
use chassis::backoff::Backoff;
use chassis::clock::{Clock as _, SharedClock};
use chassis::telemetry::metrics::Count;

use super::file::HostFile;
use super::service::{self, Reach, RunningService};
use super::{SERVICES, log_file};

static RESTARTS: Count =
    Count::new("mainspring.service.restarts", "Services that ended and were started again");

/// How long a service has to have lived to be started again at once.
const STEADY: Duration = Duration::from_secs(30);

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
        let how = running.ended(&reach.clock).await;
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
