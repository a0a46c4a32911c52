//! The campaign for the leadership, by `mainspring.election.v1`.

use std::os::unix::fs::DirBuilderExt as _;
use std::path::PathBuf;
use std::time::Duration;

use async_trait::async_trait;
use chassis::backoff::Backoff;
use chassis::clock::{Clock as _, SharedClock};
use chassis::failpoint;
use chassis::tasks::{OwnedTask, owned};
use chassis::telemetry::trace;
use client::election::{self as elector, Candidacy, Lease};
use futures::stream::BoxStream;
use futures::{StreamExt as _, stream};
use proto::{ApplicationRef, Epoch};
use tokio::sync::watch;

use super::PortResult;

/// The pauses, shortest and longest, before an elector that is away is asked again which contenders
/// stand by.
const OBSERVE_AGAIN: (Duration, Duration) = (Duration::from_millis(200), Duration::from_secs(5));

/// The elector, as a contender for the leadership of one application calls it.
#[async_trait]
pub trait Election: Send + Sync {
    /// Waits until this contender is elected, for as long as that takes. Dropping the future
    /// withdraws from the campaign. The epoch that is granted is above `at_least`.
    async fn campaign(
        &self,
        application: &ApplicationRef,
        at_least: Epoch,
    ) -> PortResult<Box<dyn Leadership>>;
}

/// One leadership. The lease is renewed in the background for as long as this value lives, so a
/// leader that has left its work and dropped the value is succeeded when the lease runs out.
#[async_trait]
pub trait Leadership: Send + Sync {
    /// The epoch of this leadership.
    fn epoch(&self) -> Epoch;
    /// Why the previous leadership ended; empty for the first one.
    fn cause(&self) -> String;
    /// What is known of the lease: until when the leader may act, or that the leadership is lost.
    fn lease(&self) -> watch::Receiver<Lease>;
    /// The contenders that stand by, in the elector's order.
    fn standbys(&self) -> watch::Receiver<Vec<String>>;
    /// Ties the renewals to the loop that takes from this stream. From now on each renewal waits
    /// until its turn was taken, so that a loop that hangs loses its lease although its process
    /// lives.
    fn turns(&self) -> Turns;
    /// Gives the leadership up, which is durable when this returns. The call is bounded, and a
    /// leadership that cannot be given up runs out.
    async fn resign(&self);
}

/// Yields each time that a renewal is due. Taking the item allows the renewal. The stream never
/// ends.
pub type Turns = BoxStream<'static, ()>;

/// The elector as one contender calls it.
#[derive(Clone)]
pub struct ElectorElection {
    elector: elector::Election,
    clock: SharedClock,
    holder: String,
    lock_file: PathBuf,
}

impl ElectorElection {
    /// A contender with the name `holder`. `lock_file` is the lock that main() and its descendants
    /// hold.
    pub fn new(
        elector: elector::Election,
        clock: SharedClock,
        holder: String,
        lock_file: PathBuf,
    ) -> Self {
        Self { elector, clock, holder, lock_file }
    }
}

impl ElectorElection {
    /// Makes the lock's file, also before any main() has held the lock, because the elector regards
    /// a lock as free only if its file is there.
    fn make_lock_file(&self) {
        let parent = self.lock_file.parent().map_or(Ok(()), |directory| {
            std::fs::DirBuilder::new().recursive(true).mode(0o700).create(directory)
        });
        let made = parent.and_then(|()| {
            std::fs::OpenOptions::new().create(true).append(true).open(&self.lock_file)
        });
        if let Err(error) = made {
            tracing::warn!(
                "without {} a successor waits for the end of the lease: {error}",
                self.lock_file.display()
            );
        }
    }
}

#[async_trait]
impl Election for ElectorElection {
    async fn campaign(
        &self,
        application: &ApplicationRef,
        at_least: Epoch,
    ) -> PortResult<Box<dyn Leadership>> {
        self.make_lock_file();
        let campaign = self.elector.campaign(Candidacy {
            application: application.clone(),
            holder: self.holder.clone(),
            at_least,
            lock_file: Some(self.lock_file.clone()),
        });
        let leadership = campaign.elected().await?;
        let (names, standbys) = watch::channel(Vec::new());
        let observed =
            observe(self.elector.clone(), self.clock.clone(), application.clone(), names);
        let observed = owned("standbys", trace::carry(observed));
        Ok(Box::new(ElectorLeadership { leadership, standbys, _observed: observed }))
    }
}

/// Tells which contenders stand by, until no receiver is left. The names are for people, so an
/// elector that is away is asked again without hurry.
async fn observe(
    elector: elector::Election,
    clock: SharedClock,
    application: ApplicationRef,
    names: watch::Sender<Vec<String>>,
) {
    let mut backoff = Backoff::new(OBSERVE_AGAIN.0, OBSERVE_AGAIN.1);
    let follow = async {
        loop {
            if let Ok(mut views) = elector.observe(&application.id).await {
                while let Some(Ok(view)) = views.next().await {
                    backoff.reset();
                    names.send_replace(view.standbys);
                }
            }
            clock.sleep(backoff.next_delay()).await;
        }
    };
    tokio::select! {
        () = names.closed() => {}
        () = follow => {}
    }
}

/// A leadership that the elector granted, with the contenders that stand by meanwhile.
struct ElectorLeadership {
    leadership: elector::Leadership,
    standbys: watch::Receiver<Vec<String>>,
    _observed: OwnedTask<()>,
}

#[async_trait]
impl Leadership for ElectorLeadership {
    fn epoch(&self) -> Epoch {
        self.leadership.epoch()
    }

    fn cause(&self) -> String {
        self.leadership.cause().to_owned()
    }

    fn lease(&self) -> watch::Receiver<Lease> {
        self.leadership.lease()
    }

    fn standbys(&self) -> watch::Receiver<Vec<String>> {
        self.standbys.clone()
    }

    fn turns(&self) -> Turns {
        let turn = |mut pulse: elector::Pulse| async {
            pulse.due().await;
            Some(((), pulse))
        };
        stream::unfold(self.leadership.pulse(), turn).boxed()
    }

    async fn resign(&self) {
        failpoint::hit("runner.before-resign").await;
        if !self.leadership.resign().await {
            tracing::warn!("the leadership was not given up: lost before, or left to run out");
        }
        failpoint::hit("runner.after-resign").await;
    }
}

#[cfg(test)]
mod tests;
