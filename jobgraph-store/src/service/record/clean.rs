//! `MarkClean`: nothing is left to do for a generation, on any host.
//!
//! Processes of a generation's clusters may live at a place while the record has an intent of that
//! place. The leader has seen the teardown of the current incarnation at its own place, and of
//! nothing else. So the application becomes clean only while nothing else has an intent, and from
//! then on nothing has one. The decision reads the intents and the dossier at one instant; what may
//! happen between that instant and the commit is this:
//!
//! - *Another place forgets its intents.* Then the refusal was right when it was decided, and the
//!   leader asks again.
//! - *Another place writes an intent first.* The record admits it, because the generation is not
//!   clean yet. No compare on the intents that were read could notice a new key. But the intent's
//!   commit writes the mark of what is not clean (`u/`) anew, and this commit compares the mark: it
//!   is not done, and the decision is made again with the new intent.
//! - *This commit comes first.* It removes the mark, which every intent of a cluster compares: an
//!   intent that is on its way does not commit, and is refused when it is decided again.
//! - *The leader's own place writes an intent.* The intent is of the current incarnation, because
//!   no other is admitted, and changes nothing for this leader. So the mark stays as it is, and the
//!   processes of one cluster do not disturb each other's intents. Whose place is the leader's own
//!   cannot change in between: the intent compares the leader's fence, and so does this commit.
//!
//! The argument needs nothing of clocks, nor of what lifecycles remember.

use proto::EpochFence;

use crate::error::Error;
use crate::keys::{process, secrets, unclean};
use crate::model::{ending, place};
use crate::service::to_its_end::to_its_end;
use crate::service::write::{Extra, Guard};
use crate::service::{Service, processes};
use crate::store::{Operation, Read};

impl Service {
    /// Marks the generation clean. The same commit removes its secrets and its mark of what is not
    /// clean; the payloads of artifacts are released right after it.
    pub(super) async fn clean(
        &self,
        fence: &EpochFence,
        leftovers: &[String],
    ) -> Result<(), Error> {
        let application = &fence.application;
        let (mark, own) = (unclean::key(application), self.place.as_ref());
        let intents = Read::all(process::key(&process::of_generation(application)));
        let beside = [intents, Read::Key(mark.clone())];
        let (_, loaded) = self
            .write_beside(application, Guard::Epoch, &beside, |draft, beside| {
                let processes = processes::stored(&beside[0])?;
                let unreleased = place::unreleased(&draft.dossier, &processes, own)?;
                let new = ending::mark_clean(draft, fence, leftovers, &unreleased)?;
                let over = [secrets::key(application), mark.clone()];
                let operations =
                    if new { over.map(Operation::Delete).to_vec() } else { Vec::new() };
                Ok(((), Extra { operations, compares: vec![mark.clone()], ..Extra::default() }))
            })
            .await?;
        self.live.forget(application);
        let (service, dossier) = (self.clone(), loaded.dossier);
        let released =
            to_its_end("release", async move { service.release_artifacts(&dossier).await });
        if let Err(error) = released.await.flatten() {
            // The periodic sweep releases them later.
            tracing::warn!(%error, %application, "payloads of artifacts are not released yet");
        }
        Ok(())
    }
}
