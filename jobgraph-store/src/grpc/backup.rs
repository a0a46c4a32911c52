//! `mainspring.jobgraph.v1.BackupService`: the deployment only.

use chassis::server::require_deployment;
use proto::jobgraph::backup_service_server::BackupService;
use proto::jobgraph::{ReadBackupRequest, ReadBackupResponse};
use tonic::{Request, Response};

use super::{Answer, Answers, Wire, answers};

#[tonic::async_trait]
impl BackupService for Wire {
    type ReadBackupStream = Answers<ReadBackupResponse>;

    async fn read_backup(
        &self,
        request: Request<ReadBackupRequest>,
    ) -> Answer<Self::ReadBackupStream> {
        require_deployment(&request)?;
        let parts = self.0.backup().await?;
        Ok(Response::new(answers(parts, |part| ReadBackupResponse { part: Some(part) })))
    }
}
