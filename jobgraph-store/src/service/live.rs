//! What only memory knows: when each leader was last heard of, and its latest counters. None of
//! this is a revision, and all of it is gone with the process.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};

use chassis::clock::{Boot, SharedClock};
use chassis::telemetry::metrics;
use proto::{ApplicationRef, api, jobgraph};

use crate::model::timestamp;

/// A leader that was not heard of for longer than this is stale.
pub const STALE_AFTER: Duration = Duration::from_secs(2);

/// When each leader was last heard of.
///
/// Leaders beat twice a second; if each beat were a commit, a host at rest would write to its disk
/// as often. So beats stay here, and an answer about an application says how old the leader's last
/// word is.
#[derive(Clone)]
pub struct Live {
    heard: Arc<Mutex<HashMap<ApplicationRef, Heard>>>,
    clock: SharedClock,
    /// Nothing was heard before this instant: after a restart, the last word of every leader is
    /// older than the process.
    since: (Boot, SystemTime),
}

#[derive(Debug, Clone)]
struct Heard {
    /// Whether the leader spoke to this store, and not to the store of another host.
    own: bool,
    epoch: u64,
    source: String,
    at: Boot,
    wall: SystemTime,
    progress: Vec<api::JobProgress>,
    activity: String,
    standbys: Vec<String>,
}

impl Live {
    /// An empty value: no leader was heard of yet.
    pub fn new(clock: SharedClock) -> Self {
        let since = (clock.boot(), clock.wall());
        Self { heard: Arc::default(), clock, since }
    }

    fn heard(&self) -> MutexGuard<'_, HashMap<ApplicationRef, Heard>> {
        self.heard.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes a beat of the leader. `true`: nothing was known of the application before, so the
    /// caller has to look whether the application is still alive or clean already.
    pub fn beat(
        &self,
        application: &ApplicationRef,
        epoch: u64,
        beat: &jobgraph::BeatRequest,
    ) -> bool {
        let heard = Heard {
            own: true,
            epoch,
            source: beat.source.clone(),
            at: self.clock.boot(),
            wall: self.clock.wall(),
            progress: beat.progress.clone(),
            activity: beat.activity.clone(),
            standbys: beat.standbys.clone(),
        };
        self.heard().insert(application.clone(), heard).is_none()
    }

    /// Takes note of a leader's write, which is as good as a beat but says nothing of the counters.
    /// The answer is the same as that of [`beat`](Self::beat).
    pub fn wrote(&self, application: &ApplicationRef, epoch: u64, source: &str) -> bool {
        let (at, wall) = (self.clock.boot(), self.clock.wall());
        let mut heard = self.heard();
        match heard.get_mut(application).filter(|known| known.epoch == epoch) {
            Some(known) => {
                (known.at, known.wall, known.own) = (at, wall, true);
                false
            }
            None => {
                let new = Heard {
                    own: true,
                    epoch,
                    source: source.into(),
                    at,
                    wall,
                    progress: Vec::new(),
                    activity: String::new(),
                    standbys: Vec::new(),
                };
                heard.insert(application.clone(), new).is_none()
            }
        }
    }

    /// Takes what the store of another host has heard of a leader of its host, which it told when
    /// asked at `asked`. What is known here of a later leader, or was heard later, stays.
    pub(crate) fn heard_elsewhere(&self, leader: jobgraph::HeardLeader, asked: Boot) {
        let Ok(application) = ApplicationRef::try_from(leader.application) else { return };
        let age = Duration::from_millis(leader.age_millis);
        let now = self.clock.boot();
        // The answer was on its way for a part of the time since it was asked for. All of that time
        // counts, so that nothing looks younger than it is.
        let at = asked - age;
        let ago = now.saturating_duration_since(at);
        let wall = self.clock.wall().checked_sub(ago).unwrap_or(SystemTime::UNIX_EPOCH);
        let mut heard = self.heard();
        let known = heard.get(&application);
        if known.is_some_and(|known| (known.epoch, known.at) >= (leader.epoch, at)) {
            return;
        }
        let new = Heard {
            own: false,
            epoch: leader.epoch,
            source: leader.source,
            at,
            wall,
            progress: leader.progress,
            activity: leader.activity,
            standbys: leader.standbys,
        };
        heard.insert(application, new);
    }

    /// The leaders that spoke to this store.
    pub(crate) fn of_own_leaders(&self) -> Vec<jobgraph::HeardLeader> {
        let now = self.clock.boot();
        let heard = self.heard();
        let own = heard.iter().filter(|(_, heard)| heard.own);
        let told = own.map(|(application, heard)| {
            let age = now.saturating_duration_since(heard.at).as_millis();
            jobgraph::HeardLeader {
                application: Some(application.clone().into()),
                epoch: heard.epoch,
                source: heard.source.clone(),
                age_millis: u64::try_from(age).unwrap_or(u64::MAX),
                progress: heard.progress.clone(),
                activity: heard.activity.clone(),
                standbys: heard.standbys.clone(),
            }
        });
        told.collect()
    }

    /// How long ago that leader was heard which has spoken to this store and is silent for longest;
    /// zero if there is none.
    fn longest_silence(&self) -> Duration {
        let now = self.clock.boot();
        let heard = self.heard();
        let own = heard.values().filter(|heard| heard.own);
        own.map(|heard| now.saturating_duration_since(heard.at)).max().unwrap_or_default()
    }

    /// Shows the longest silence among the numbers of this process.
    pub fn show_silence(&self) {
        let live = self.clone();
        let help = "How long ago the leader was heard that is silent for longest, of this host's";
        metrics::look_up("mainspring.observation.age", "s", help, move |say| {
            say(live.longest_silence().as_secs_f64(), &[]);
        });
    }

    #[cfg(test)]
    pub(crate) fn len(&self) -> usize {
        self.heard().len()
    }

    /// The applications whose leaders were not heard of for so long.
    pub(crate) fn silent_for(&self, long: Duration) -> Vec<ApplicationRef> {
        let now = self.clock.boot();
        let heard = self.heard();
        let silent = heard
            .iter()
            .filter(|(_, heard)| now.saturating_duration_since(heard.at) >= long)
            .map(|(application, _)| application.clone());
        silent.collect()
    }

    /// Forgets the leader of an application of which nothing more will be heard.
    pub fn forget(&self, application: &ApplicationRef) {
        self.heard().remove(application);
    }

    /// Where an answer about this application comes from, and how old it is.
    pub fn observation(
        &self,
        application: &ApplicationRef,
        shown: &api::Application,
    ) -> api::Observation {
        let epoch = shown.leadership.as_ref().map_or(0, |leadership| leadership.epoch);
        if shown.clean || epoch == 0 {
            let observed_at = Some(timestamp(self.clock.wall()));
            return api::Observation {
                source: "record".into(),
                observed_at,
                epoch,
                stale: false,
                age_millis: 0,
            };
        }
        let heard = self.heard().get(application).filter(|heard| heard.epoch == epoch).cloned();
        let (source, at, wall, known) = match heard {
            Some(heard) => (heard.source, heard.at, heard.wall, true),
            None => match self.began_here(shown) {
                // The leader was elected since this process started; it has 2 s to be heard, like
                // any leader.
                Some((at, wall)) => ("record".into(), at, wall, true),
                None => ("record".into(), self.since.0, self.since.1, false),
            },
        };
        let age = self.clock.boot().saturating_duration_since(at);
        api::Observation {
            source,
            observed_at: Some(timestamp(wall)),
            epoch,
            stale: !known || age > STALE_AFTER,
            age_millis: u64::try_from(age.as_millis()).unwrap_or(u64::MAX),
        }
    }

    /// When the present leader began, if this process was there.
    fn began_here(&self, shown: &api::Application) -> Option<(Boot, SystemTime)> {
        let since = SystemTime::try_from(shown.leadership.as_ref()?.since?).ok()?;
        let ago = self.clock.wall().duration_since(since).unwrap_or_default();
        let up = self.clock.boot().saturating_duration_since(self.since.0);
        (ago < up).then(|| (self.since.0 + (up - ago), since))
    }

    /// The leader's latest counters.
    pub fn progress(&self, application: &ApplicationRef) -> Vec<api::JobProgress> {
        self.heard().get(application).map(|heard| heard.progress.clone()).unwrap_or_default()
    }

    /// Adds what memory knows to an answer: the observation, the standbys, and counters of jobs
    /// that have not ended.
    pub fn complete(&self, application: &ApplicationRef, shown: &mut api::Application) {
        shown.observation = Some(self.observation(application, shown));
        if shown.terminal {
            return;
        }
        let heard = self.heard();
        let Some(heard) = heard.get(application) else { return };
        if let Some(leadership) =
            shown.leadership.as_mut().filter(|known| known.epoch == heard.epoch)
        {
            leadership.standbys.clone_from(&heard.standbys);
        }
        for job in shown.jobs.iter_mut().filter(|job| job.end.is_none()) {
            if let Some(counters) =
                heard.progress.iter().find(|counters| counters.job_id == job.job_id)
            {
                job.progress = counters.progress;
                job.last_failure.clone_from(&counters.last_failure);
            }
        }
        if shown.reason.is_empty() && shown.message.is_empty() {
            shown.message.clone_from(&heard.activity);
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use ::record::{ApplicationEnd, Holder, Record as _};
    use chassis::clock::ManualClock;
    use proto::{Epoch, EpochFence};

    use super::*;
    use crate::blobs::memory::MemoryBlobs;
    use crate::service::Service;
    use crate::service::sample::submitted;
    use crate::store::memory::MemoryMetadata;

    #[tokio::test]
    async fn a_beat_after_clean_leaves_nothing_behind() {
        let (metadata, blobs) =
            (Arc::new(MemoryMetadata::default()), Arc::new(MemoryBlobs::default()));
        let service = Service::new(metadata, blobs, Arc::new(ManualClock::new()));
        let application = submitted(&service, "live").await;
        let fence = EpochFence { application, epoch: Epoch(1) };
        service.begin_attempt(&fence, &Holder::new("runner-0", 7), "").await.unwrap();
        let beat = jobgraph::BeatRequest::default();
        assert!(service.heard(&fence, &beat).await.unwrap());
        assert_eq!(service.live.len(), 1);
        let end = ApplicationEnd {
            outcome: api::Outcome::Failed,
            reason: "MAIN_EXITED".into(),
            message: String::new(),
        };
        service.end(&fence, end, 0).await.unwrap();
        service.mark_clean(&fence, Vec::new()).await.unwrap();
        assert_eq!(service.live.len(), 0);
        // This beat was on its way when the application became clean.
        assert!(service.heard(&fence, &beat).await.unwrap());
        assert_eq!(service.live.len(), 0);
        // So was this event of the leader.
        let event =
            api::Event { kind: "warning".into(), message: "late".into(), ..Default::default() };
        service.append_events(&fence, vec![event], Vec::new()).await.unwrap();
        assert_eq!(service.live.len(), 0);
    }
}
