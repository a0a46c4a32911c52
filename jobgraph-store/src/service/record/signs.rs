//! Signs of life, and whether a fence holds.

use ::record::Confirmed;
use proto::{ApplicationRef, EpochFence, IncarnationFence, Place, jobgraph};

use crate::error::Error;
use crate::keys::{fence, generation};
use crate::model::Refusal;
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
        Ok(Confirmed { holds, current: known.epoch, place: None })
    }

    /// Whether this incarnation is the current one, which one is, and where. A build that named no
    /// place meant this host.
    pub(super) async fn incarnation_holds(
        &self,
        fence: &IncarnationFence,
    ) -> Result<Confirmed, Error> {
        let view = self
            .metadata
            .read(vec![Read::Key(fence::cluster_key(&fence.application.id))], None)
            .await?;
        let known: fence::ClusterFence = load::one(&view, 0)?.unwrap_or_default();
        let holds = known.admits(fence.application.generation, fence.incarnation);
        let place = Place::read(known.place).map_err(Refusal::from)?;
        let place = place.or_else(|| self.place.clone());
        Ok(Confirmed { holds, current: known.incarnation, place })
    }
}
