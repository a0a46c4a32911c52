//! The cluster's word that a job ended, with the payloads that the end points to.

use proto::{IncarnationFence, JobId, job};

use crate::error::Error;
use crate::keys::payload::Use;
use crate::model::{Refusal, job as job_model};
use crate::service::write::{Extra, Guard, TRIES};
use crate::service::{Service, manifest};

impl Service {
    /// Records a cluster's word that a job ended.
    pub(super) async fn job_ended_by_cluster(
        &self,
        fence: &IncarnationFence,
        id: JobId,
        end: &job::JobEnd,
    ) -> Result<(bool, job::JobEnd), Error> {
        // A superseded cluster is refused before anything is put, so that it leaves no payload
        // behind.
        self.load(&fence.application, None).await?.dossier.check_incarnation(fence)?;
        let mut tries = 0;
        loop {
            tries += 1;
            match self.end_job(fence, id, &self.fitting_end(end).await?).await {
                // An old payload with the same bytes was found, and was swept before the pointer to
                // it committed.
                Err(Error::Refused(Refusal::PayloadMissing(missing)))
                    if tries < TRIES && !missing.contains(&end.result_digest) => {}
                ended => {
                    let (recorded, stands) = ended?;
                    return Ok((recorded, self.whole_end(stands).await?));
                }
            }
        }
    }

    async fn end_job(
        &self,
        fence: &IncarnationFence,
        id: JobId,
        end: &job::JobEnd,
    ) -> Result<(bool, job::JobEnd), Error> {
        let write = self.write_with(&fence.application, Guard::Incarnation, |draft| {
            let answer = job_model::ended(draft, fence, id, end)?;
            let mut extra = Extra::default();
            if answer.0 {
                // A malformed digest was refused above.
                extra
                    .pointers
                    .extend(end.result_digest.parse().ok().map(|digest| (digest, Use::Result)));
                extra.pointers.extend(manifest::pointer(end));
            }
            Ok((answer, extra))
        });
        Ok(write.await?.0)
    }
}
