//! Savepoints that main() asks for: they are wishes in the record like those of users.

use proto::{JobId, Reason, TriggerId, api, job};

use super::MainService;
use crate::error::PortError;
use crate::ports::PortResult;

impl MainService {
    /// Asks for a savepoint of one job. The wish is durable when this returns.
    pub async fn request_savepoint(&self, job: JobId, wish: api::SavepointWish) -> PortResult<()> {
        self.known(job).await?;
        let wish = api::SavepointWish {
            job: job.to_string(),
            reason: "main() asked for it".to_owned(),
            requested_by: "main()".to_owned(),
            ..wish
        };
        self.shared
            .patiently("ask for a savepoint", || {
                self.shared.ports.record.request_savepoint(&self.shared.fence, wish.clone())
            })
            .await?;
        self.shared.refresh().await.map(drop)
    }

    /// The result of a savepoint that was asked for; `None` while the savepoint is being taken.
    pub async fn savepoint(
        &self,
        job: JobId,
        request_id: &str,
    ) -> PortResult<Option<job::Savepoint>> {
        let known = self.known(job).await?;
        let trigger = TriggerId::derive(request_id, job).to_string();
        let settled =
            known.savepoints.into_iter().find(|savepoint| savepoint.trigger_id == trigger);
        if settled.is_some() || self.shared.is_wished(request_id) {
            return Ok(settled);
        }
        let text =
            format!("savepoint {request_id} of job {:?} ({job}) was not asked for", known.name);
        Err(PortError::refused(Reason::JobNotFound, text))
    }
}
