//! An engine's `DescribeService`: what a runner asks the engine of its application.

use chassis::MAX_MESSAGE_BYTES;
use chassis::channel::GrpcChannel;
use proto::engine::describe_service_client::DescribeServiceClient;
use proto::engine::{
    DescribeClusterRequest, DescribeMainRequest, DescribeMainResponse, InfoRequest, InfoResponse, Plan,
    PublishRequest, PublishResponse, SweepRequest,
};
use proto::job::Manifest;
use proto::{ApplicationRef, Incarnation, JobId, Reason, api, engine};
use tonic::Status;

use crate::error::CallError;

/// An application as its engine is told about it.
#[derive(Debug, Clone)]
pub struct Subject {
    /// Which one.
    pub application: ApplicationRef,
    /// As it was submitted.
    pub spec: api::ApplicationSpec,
    /// The verified files in main()'s working directory, the program first.
    pub artifacts: Vec<engine::LocalArtifact>,
    /// Where its clusters may keep what outlives an incarnation, absolute.
    pub state_directory: String,
    /// Where outputs of relative targets go, absolute.
    pub output_directory: String,
    /// The latest one; 0 before the first.
    pub incarnation: Incarnation,
}

/// Client of one engine's `describe` process. All calls may be repeated.
#[derive(Debug, Clone)]
pub struct Describe {
    inner: DescribeServiceClient<GrpcChannel>,
}

impl Describe {
    /// A client over a channel that carries the attempt's token.
    pub fn new(channel: GrpcChannel) -> Self {
        let inner = DescribeServiceClient::new(channel)
            .max_decoding_message_size(MAX_MESSAGE_BYTES)
            .max_encoding_message_size(MAX_MESSAGE_BYTES);
        Self { inner }
    }

    /// The engine's name, version and what it takes.
    pub async fn info(&self) -> Result<InfoResponse, CallError> {
        Ok(self.inner.clone().info(InfoRequest {}).await?.into_inner())
    }

    /// The plan of a cluster for this application.
    pub async fn cluster(&self, subject: &Subject) -> Result<Plan, CallError> {
        let request = DescribeClusterRequest {
            application: Some(subject.application.clone().into()),
            spec: Some(subject.spec.clone()),
            artifacts: subject.artifacts.clone(),
            state_directory: subject.state_directory.clone(),
            output_directory: subject.output_directory.clone(),
            incarnation: subject.incarnation.get(),
        };
        let answer = self.inner.clone().describe_cluster(request).await?.into_inner();
        answer.plan.ok_or_else(|| {
            let problem = proto::Problem::new(
                Reason::PlanInvalid,
                "the engine answered DescribeCluster without a plan",
            );
            CallError::from(Status::from(problem))
        })
    }

    /// How main() is launched.
    pub async fn main(&self, subject: &Subject) -> Result<DescribeMainResponse, CallError> {
        let request = DescribeMainRequest {
            application: Some(subject.application.clone().into()),
            spec: Some(subject.spec.clone()),
            artifacts: subject.artifacts.clone(),
            output_directory: subject.output_directory.clone(),
        };
        Ok(self.inner.clone().describe_main(request).await?.into_inner())
    }

    /// Renames what a committed job staged to its final names. `own_jobs`: all job ids of this generation.
    pub async fn publish(
        &self,
        job: JobId,
        manifest: Manifest,
        own_jobs: &[JobId],
    ) -> Result<PublishResponse, CallError> {
        let request = PublishRequest {
            job_id: job.to_string(),
            manifest: Some(manifest),
            own_job_ids: own_jobs.iter().map(JobId::to_string).collect(),
        };
        Ok(self.inner.clone().publish(request).await?.into_inner())
    }

    /// Removes staging that nobody will commit and checkpoints that nobody needs; answers how many directories there were.
    pub async fn sweep(&self, request: SweepRequest) -> Result<u32, CallError> {
        Ok(self.inner.clone().sweep(request).await?.into_inner().directories_removed)
    }
}
