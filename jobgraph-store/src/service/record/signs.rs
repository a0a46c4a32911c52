//! Signs of life, and whether a fence holds.

use ::record::Confirmed;
use proto::{ApplicationRef, EpochFence, IncarnationFence, Place, jobgraph};

use crate::error::Error;
use crate::keys::{fence, generation};
use crate::model::{Refusal, place};
use crate::service::{Service, load};
use crate::store::Read;

impl Service {
    /// Takes a beat of the leader. `false`: the leader is superseded.
    pub(crate) async fn heard(
        &self,
        fence: &EpochFence,
        beat: &jobgraph::BeatRequest,
    ) -> Result<bool, Error> {
        let holds = self.epoch_holds(fence).await?.holds;
        if holds && self.live.beat(&fence.application, fence.epoch.get(), beat) {
            self.forget_if_clean(&fence.application).await?;
        }
        Ok(holds)
    }

    /// Forgets a leader that was heard of for the first time if its application is clean. The word
    /// may be the last one of a leader whose application has become clean meanwhile and was
    /// forgotten here; nothing would ever take such a leader out of memory again. The record is
    /// asked after the word was noted, so that either this question or the commit that makes the
    /// application clean comes last.
    pub(in crate::service) async fn forget_if_clean(
        &self,
        application: &ApplicationRef,
    ) -> Result<(), Error> {
        let view =
            self.metadata.read(vec![Read::Key(generation::state_key(application))], None).await?;
        let state: Option<generation::GenerationState> = load::one(&view, 0)?;
        if state.is_none_or(|state| state.application().clean) {
            self.live.forget(application);
        }
        Ok(())
    }

    /// Whether this epoch is the one that may write, and which one may.
    pub(super) async fn epoch_holds(&self, fence: &EpochFence) -> Result<Confirmed, Error> {
        let view = self
            .metadata
            .read(vec![Read::Key(fence::attempt_key(&fence.application.id))], None)
            .await?;
        let known: fence::AttemptFence = load::one(&view, 0)?.unwrap_or_default();
        let holds = known.admits(fence.application.generation, fence.epoch);
        Ok(Confirmed { holds, current: known.epoch, ..Confirmed::default() })
    }

    /// Whether this incarnation is the current one of a generation that is not clean, which one is,
    /// and where; and whether a leader needs the cluster still. A build that named no place meant
    /// this host. The record itself is read, because a host ends what it runs on this word.
    pub(super) async fn incarnation_holds(
        &self,
        fence: &IncarnationFence,
    ) -> Result<Confirmed, Error> {
        let (application, id) = (&fence.application, &fence.application.id);
        let keys =
            [fence::cluster_key(id), fence::attempt_key(id), generation::state_key(application)];
        let view = self.metadata.read(keys.map(Read::Key).to_vec(), None).await?;
        let known: fence::ClusterFence = load::one(&view, 0)?.unwrap_or_default();
        let attempt: fence::AttemptFence = load::one(&view, 1)?.unwrap_or_default();
        let state: Option<generation::GenerationState> = load::one(&view, 2)?;
        // A generation that was forgotten was clean before.
        let (ended, clean) = state.as_ref().map_or((true, true), |state| {
            let application = state.application();
            (application.terminal, application.clean)
        });
        let place = Place::read(known.place.clone()).map_err(Refusal::from)?;
        Ok(Confirmed {
            holds: known.admits(application.generation, fence.incarnation) && !clean,
            current: known.incarnation,
            place: place.or_else(|| self.place.clone()),
            application_ended: ended,
            leader_place: place::of_leader(&attempt, self.place.as_ref())?,
        })
    }
}
